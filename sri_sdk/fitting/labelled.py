"""Labelled attacks: which prompts they are drawn from, and which of their generations a detector learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sri_sdk.config.folds import FEWEST_ATTACKS, TrainFold
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.draw import draw_unused
from sri_sdk.fitting.mix import bases_of
from sri_sdk.fitting.tally import log
from sri_sdk.records import Prompt, Signals

if TYPE_CHECKING:
    from sri_sdk.fitting.collect import Collected

STAGE = "labelled"
"""Name of the fold."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledAttacks:
    """The generations that are labelled as attacks."""

    signals: Signals
    """Of all that were tried, [N, T, C]."""
    counted: NDArray[np.bool_]
    """[N]: which of them count as attacks; the others are left out."""
    by_attack: Mapping[str, tuple[int, int]]
    """Attack -> how many count, and how many were tried."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Attack -> `used` and `seen`, as JSON types."""
        return {name: {"used": count, "seen": tried} for name, (count, tried) in self.by_attack.items()}

    def __str__(self) -> str:
        each = ", ".join(f"{name} {count} of {tried}" for name, (count, tried) in self.by_attack.items())
        return f"{int(self.counted.sum())} of {len(self.counted)} attacks are learnt from ({each})"


def draw_labelled(dataset: Dataset, fold: TrainFold, others: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """The first attacked prompts of a train fold that are made of requests that nothing else is made of.

    Args:
        dataset: where they come from.
        fold: which attacks, and how many prompts under each.
        others: prompts of all other folds.

    Raises:
        ConfigError: an attack has too few; every such attack is a problem of its own.
    """
    used = {base for p in others for base in (p.id, p.base or p.id)}
    drawn: list[Prompt] = []
    problems: list[str] = []
    for attack, count in fold.attacks.items():
        try:
            own = draw_unused(
                dataset, (fold.split, "harmful", attack), count, used, path=f"folds.train.attacks.{attack}",
                by="another fold or attack",
            )  # fmt: skip
        except ConfigError as err:
            problems += err.problems
            continue
        drawn += own
        used |= bases_of(own)
    if problems:
        raise ConfigError(problems[0], problems)
    return tuple(drawn)


def label(collected: Collected, fold: TrainFold) -> LabelledAttacks:
    """Says which generations of the fold `labelled` are attacks.

    Raises:
        ConfigError: too few.
    """
    wins = np.array([outcome == "harmful" for outcome in collected.outcomes])
    counted = wins if fold.label_by == "outcome" else np.ones(len(wins), dtype=np.bool_)
    names = [p.attack or "plain" for p in collected.prompts]
    tried, count = Counter(names), Counter(name for name, yes in zip(names, counted, strict=True) if yes)
    found = LabelledAttacks(collected.signals, counted, {name: (count[name], tried[name]) for name in tried})
    if counted.sum() < FEWEST_ATTACKS:
        raise ConfigError(
            f"folds.train.attacks: {found}, because the judge found harm in no other response; at least "
            f"{FEWEST_ATTACKS} are needed. Raise the counts, or take attacks that succeed on this model. label_by: "
            "request labels every attacked prompt, refused ones too: the detector then also learns what refusing looks "
            "like."
        )
    log.info("%s: %s", STAGE, found)
    return found
