"""Named parts of the lab's splits: prompts of some cells of harm, or of some ways of asking.

They let an evaluation keep apart what a guard was fitted on and what it is judged by: harm of a kind, or a way of
asking, that no prompt of the fit has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

import sri_sdk
from sri_plugin_lab import world
from sri_plugin_lab.words import FRAMES, UNUSUAL_FRAMES

CELLS = tuple(sorted(f"{group}/{kind}" for group, kinds in world.HARM.items() for kind in kinds))
"""Cells of harm: a group of verbs, and a kind of things that it harms."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Subset(sri_sdk.Config):
    """Part of a split."""

    split: str = Field(description="Split of the world that it is taken from.")
    cells: tuple[str, ...] | None = Field(
        default=None,
        description="Cells of harm that its harmful prompts come from: a group of verbs, a slash, and a kind of "
        "things; null = all. Harmless prompts are not affected.",
    )
    frames: tuple[int, ...] | None = Field(
        default=None, description="Numbers of the ways of asking, counted from 0, that its prompts have; null = all."
    )

    @field_validator("split")
    @classmethod
    def _split(cls, found: str) -> str:
        if found not in world.SPLITS:
            raise ValueError(f"found {found!r}, allowed: {', '.join(world.SPLITS)}")
        return found

    @field_validator("cells")
    @classmethod
    def _cells(cls, found: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if found is not None and (not found or not set(found) <= set(CELLS)):
            raise ValueError(f"found {', '.join(found) or 'none'}; allowed: some of {', '.join(CELLS)}")
        return found

    @model_validator(mode="after")
    def _frames(self) -> Subset:
        count = len(UNUSUAL_FRAMES if self.split == "unusual" else FRAMES)
        if self.frames is not None and (not self.frames or not set(self.frames) <= set(range(count))):
            raise ValueError(f"frames: found {list(self.frames)}; allowed: some of 0 to {count - 1} in {self.split!r}")
        return self

    def prompts(self, label: str, count: int, *, attack: str | None) -> list[world.LabPrompt]:
        """The first `count` prompts of it.

        Raises:
            ValueError: a name is unknown, or there are fewer.
        """
        world.refuse_unknown_attack(attack)
        found = list(islice(self.ranks(label), count))
        if len(found) < count:
            raise ValueError(f"{count} {label} prompts asked of a part of split {self.split!r}, which has {len(found)}")
        return [world.prompt_at(self.split, label, rank, attack=attack) for rank in found]

    def ranks(self, label: str) -> Iterator[int]:
        """The shuffled ranks, within their pool, of all its requests, in an order that does not depend on how many are
        taken."""
        shuffled = _shuffled(world.split_range(self.split, label), f"{self.split}/{label}/subset")
        pool = world.pool_of(self.split, label)
        return (rank for rank in shuffled if self._has(world.request(pool, rank)))

    def _has(self, asked: world.Request) -> bool:
        cell = f"{world.GROUP_OF[asked.verb]}/{world.KIND_OF[asked.object]}"
        if self.cells is not None and asked.label == "harmful" and cell not in self.cells:
            return False
        frames = UNUSUAL_FRAMES if self.split == "unusual" else FRAMES
        return self.frames is None or frames.index(asked.frame) in self.frames


def _shuffled(ranks: range, seed: str) -> Iterator[int]:
    """Every rank once, in an order that does not depend on how many are taken."""
    generator, seen = random.Random(seed), set[int]()
    # Few of millions are wanted as a rule; an evaluation would wait for a whole shuffle.
    while 2 * len(seen) < len(ranks):
        rank = ranks[generator.randrange(len(ranks))]
        if rank not in seen:
            seen.add(rank)
            yield rank
    rest = [rank for rank in ranks if rank not in seen]
    generator.shuffle(rest)
    yield from rest
