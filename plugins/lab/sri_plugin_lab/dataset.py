"""The lab's prompts, through the SDK's door."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from pydantic import Field, field_validator

import sri_sdk
from sri_plugin_lab import world
from sri_plugin_lab.subsets import Name, Subset
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1

Label = Literal["harmless", "harmful"]
_Place = tuple[str, Label, int, str | None]
"""Split, label, rank among the requests of its pool, and attack."""


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

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        # Folds ask for the first prompts of a slice again and again, for more of them each time.
        self._made: dict[_Place, sri_sdk.Prompt] = {}
        self._parts: dict[tuple[str, Label], tuple[list[int], Iterator[int]]] = {}

    def splits(self) -> Sequence[str]:
        """The world's splits, and the parts of them that the options name."""
        return (*world.SPLITS, *self.config.subsets)

    def attacks(self) -> Sequence[str]:
        """The world's attacks; `infill` and `parallel` need a masked model."""
        return tuple(world.ATTACKS)

    def prompts(
        self, split: str, label: Label, count: int, *, attack: str | None = None
    ) -> list[sri_sdk.Prompt]:  # fmt: skip
        """The first `count` prompts."""
        try:
            world.refuse_unknown_attack(attack)
            part = self.config.subsets.get(split)
            ranks = world.ranks(split, label, count) if part is None else self._ranks(split, part, label, count)
        except (ValueError, KeyError) as err:
            raise ConfigError(f"dataset lab: {err}") from err
        home = split if part is None else part.split
        return [self._prompt((home, label, rank, attack)) for rank in ranks]

    def _ranks(self, name: str, part: Subset, label: Label, count: int) -> list[int]:
        """The ranks of the first requests of a part.

        Raises:
            ValueError: it has fewer.
        """
        found, rest = self._parts.setdefault((name, label), ([], part.ranks(label)))
        found += islice(rest, max(0, count - len(found)))
        if len(found) < count:
            raise ValueError(f"{count} {label} prompts asked of a part of split {part.split!r}, which has {len(found)}")
        return found[:count]

    def _prompt(self, place: _Place) -> sri_sdk.Prompt:
        if (found := self._made.get(place)) is None:
            split, label, rank, attack = place
            p = world.prompt_at(split, label, rank, attack=attack)
            found = sri_sdk.Prompt(p.id, p.text, p.label, p.attack, p.base, p.prefill, _language(p))
            self._made[place] = found
        return found


def _language(prompt: world.LabPrompt) -> str:
    return "second" if world.is_second(prompt.text) else "first"
