"""The lab's prompts, through the SDK's door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sri_sdk
from sri_plugin_lab import world
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1


class LabDataset(sri_sdk.Dataset):
    """Prompts of the lab world; only those of `train` were seen in training.

    `borderline` and `unusual` hold harmless prompts only: requests that look unkind, and unknown ways of asking. The
    group of a prompt is its language, `first` or `second`.
    """

    def splits(self) -> Sequence[str]:
        """The world's splits."""
        return world.SPLITS

    def attacks(self) -> Sequence[str]:
        """The world's attacks; `infill` and `parallel` need a masked model."""
        return tuple(world.ATTACKS)

    def prompts(
        self, split: str, label: Literal["harmless", "harmful"], count: int, *, attack: str | None = None
    ) -> list[sri_sdk.Prompt]:
        """The first `count` prompts."""
        try:
            made = world.prompts(split, label, count, attack=attack)
        except (ValueError, KeyError) as err:
            raise ConfigError(f"dataset lab: {err}") from err
        return [sri_sdk.Prompt(p.id, p.text, p.label, p.attack, p.base, p.prefill, _language(p)) for p in made]


def _language(prompt: world.LabPrompt) -> str:
    return "second" if world.is_second(prompt.text) else "first"
