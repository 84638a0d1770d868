"""The lab's prompts, through the SDK's door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator

import sri_sdk
from sri_plugin_lab import world
from sri_plugin_lab.subsets import Name, Subset
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1


class LabDataset(sri_sdk.Dataset):
    """Prompts of the lab world; only those of `train` were seen in training.

    `borderline` and `unusual` hold harmless prompts only: requests that look unkind, and unknown ways of asking. The
    group of a prompt is its language, `first` or `second`.
    """

    class Config(sri_sdk.Config):
        """Parts of splits under names of their own."""

        subsets: dict[Name, Subset] = Field(
            default={}, description="Name -> part of a split, used like a split; parts may overlap it and each other."
        )

        @field_validator("subsets")
        @classmethod
        def _new_names(cls, found: dict[str, Subset]) -> dict[str, Subset]:
            if taken := sorted(found.keys() & set(world.SPLITS)):
                raise ValueError(f"{', '.join(taken)} is a split of the world already; choose another name")
            return found

    def splits(self) -> Sequence[str]:
        """The world's splits, and the parts of them that the options name."""
        return (*world.SPLITS, *self.config.subsets)

    def attacks(self) -> Sequence[str]:
        """The world's attacks; `infill` and `parallel` need a masked model."""
        return tuple(world.ATTACKS)

    def prompts(
        self, split: str, label: Literal["harmless", "harmful"], count: int, *, attack: str | None = None
    ) -> list[sri_sdk.Prompt]:
        """The first `count` prompts."""
        try:
            part = self.config.subsets.get(split)
            made = (
                world.prompts(split, label, count, attack=attack)
                if part is None
                else part.prompts(label, count, attack=attack)
            )
        except (ValueError, KeyError) as err:
            raise ConfigError(f"dataset lab: {err}") from err
        return [sri_sdk.Prompt(p.id, p.text, p.label, p.attack, p.base, p.prefill, _language(p)) for p in made]


def _language(prompt: world.LabPrompt) -> str:
    return "second" if world.is_second(prompt.text) else "first"
