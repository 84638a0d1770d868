"""Drawing the prompts of a fold from the mix of traffic that it stands for.

The kind of each prompt is drawn at random and apart from all others, so prompts of two folds with one mix are
exchangeable, as the false-alarm promise wants them. Which request it becomes follows the order of the dataset.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from sri_sdk.config.mix import MixKind, MixSection
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.records import Label, Prompt

_FIRST = 256
"""Prompts of a kind that are asked for at first; then twice as many, and so on."""


def draw_kinds(count: int, mix: MixSection, *, seed: int | str) -> tuple[MixKind, ...]:
    """The kind of each of `count` prompts: independent draws with the shares of the mix, the same for one seed."""
    kinds = mix.kinds()
    return tuple(random.Random(f"mix {seed}").choices(kinds, [each.share for each in kinds], k=count))


def draw_mix(
    dataset: Dataset, split: str, count: int, mix: MixSection, *, seed: int | str, label: Label = "harmless",
    taken: AbstractSet[str] = frozenset(),
) -> tuple[Prompt, ...]:  # fmt: skip
    """Prompts of a mix, in random order of kinds; prompt i is of kind `draw_kinds(count, mix, seed=seed)[i]`.

    Args:
        dataset: where the prompts come from.
        split: of the plain and of the wrapped ones.
        count: of prompts, which is the number of requests too: one variant of each.
        mix: kinds and shares.
        seed: of the kinds.
        label: of all prompts.
        taken: ids of requests that are not used, see `bases_of`; those of all other folds.

    Raises:
        ConfigError: a kind does not exist with this label, or has too few requests that are not taken; every such kind
            is a problem of its own.
    """
    kinds = draw_kinds(count, mix, seed=seed)
    streams = {each: _Stream(dataset, split, label, each) for each in dict.fromkeys(kinds)}
    used, found, wanted = set(taken), list[Prompt](), Counter(kinds)
    lacking: Counter[MixKind] = Counter()
    # In the order of the draws: prompts of one kind do not get first choice of the requests.
    for each in kinds:
        if (prompt := streams[each].next(used)) is None:
            lacking[each] += 1
            continue
        used |= bases_of([prompt])
        found.append(prompt)
    if lacking:
        problems = [
            f"mix.{each.path}: {wanted[each]} {label} prompts are drawn, each made of a request that no other prompt "
            f"is made of, and {wanted[each] - missing} are there"
            f"{f' ({none})' if (none := streams[each].why_none) else ''}. Lower the number of prompts or this share, "
            "or add prompts."
            for each, missing in lacking.items()
        ]
        raise ConfigError(problems[0], problems)
    return tuple(found)


def bases_of(prompts: Sequence[Prompt]) -> set[str]:
    """Ids of the plain requests that prompts are made of; a plain one is made of itself."""
    return {prompt.base or prompt.id for prompt in prompts}


class _Stream:
    """The prompts of one kind, one after the other, without knowing how many there are."""

    def __init__(self, dataset: Dataset, split: str, label: Label, kind: MixKind) -> None:
        self._dataset, self._label = dataset, label
        self._split = kind.name if kind.kind == "unusual" else split
        self._attack = kind.name if kind.kind == "wrapped" else None
        self._prompts: list[Prompt] = []
        self._at, self._ended = 0, False
        self._refusal = ""

    def next(self, used: AbstractSet[str]) -> Prompt | None:
        """The next prompt that is made of no used request; None = there is none left."""
        while True:
            while self._at < len(self._prompts):
                prompt = self._prompts[self._at]
                self._at += 1
                if not bases_of([prompt]) & used:
                    return prompt
            if self._ended:
                return None
            self._grow()

    def _grow(self) -> None:
        """Asks for twice as many; where there are fewer, for as many as there are."""
        known, wanted = len(self._prompts), max(_FIRST, 2 * len(self._prompts))
        if self._ask(wanted):
            return
        # A dataset says to people only how many it has.
        self._ended = True
        while wanted - known > 1:
            middle = (known + wanted) // 2
            if self._ask(middle):
                known = middle
            else:
                wanted = middle

    def _ask(self, count: int) -> bool:
        """Whether there are so many; then they are here."""
        try:
            self._prompts = self._dataset.prompts(self._split, self._label, count, attack=self._attack)
        except ConfigError as err:
            self._refusal = str(err)
            return False
        self._ended |= len(self._prompts) < count
        return True

    @property
    def why_none(self) -> str:
        """What the dataset says where it has none at all; else empty."""
        return "" if self._prompts else self._refusal
