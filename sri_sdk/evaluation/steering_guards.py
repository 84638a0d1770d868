"""Guards that were fitted on a model as it is, against the same model without its refusal direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.groups import HARMFUL, HARMLESS, attack_group
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.metrics.bootstrap import clustered_rate
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.metrics.steering import SteeredGuard

STEERED_HARMFUL, STEERED_HARMLESS = "steered harmful", "steered harmless"
"""Groups of the test prompts under ablation."""


def guards_on(
    guards: Sequence[GuardScores], found: Mapping[str, Generations], attacks: Sequence[str]
) -> tuple[SteeredGuard, ...]:
    """What each guard flags at the threshold that ships.

    Args:
        guards: which have scored all groups.
        found: group -> generations.
        attacks: names of those that were run.
    """
    return tuple(_one(guard, found, attacks) for guard in guards)


def _one(guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str]) -> SteeredGuard:
    def flagged(group: str, *, harm: bool = False) -> Rate:
        rows = _harm(found[group])[: len(guard.flagged(group))] if harm else slice(None)
        alarms = guard.flagged(group)[rows]
        return exact_rate(group, int(alarms.sum()), len(alarms))

    alarms, bases = list[NDArray[np.bool_]](), list[str]()
    for name in map(attack_group, attacks):
        # A guard that costs a generation each scores the first ones only.
        mine = guard.flagged(name)
        rows = _harm(found[name])[: len(mine)]
        alarms.append(mine[rows])
        bases += [p.base or p.id for p, yes in zip(found[name].prompts, rows, strict=False) if yes]
    removed = np.concatenate(alarms) if alarms else np.zeros(0, dtype=bool)
    attacked = exact_rate("attacked", 0, 0)
    if len(removed):
        resampled = clustered_rate("attacked", removed, bases)
        attacked = Rate("attacked", resampled.rate.k, resampled.rate.n, resampled.low, resampled.high)
    unscored = sum(int(np.isnan(guard.scores[group]).sum()) for group in (STEERED_HARMFUL, STEERED_HARMLESS))
    return SteeredGuard(
        guard.name, guard.reads, flagged(STEERED_HARMFUL, harm=True), attacked, flagged(STEERED_HARMFUL),
        flagged(HARMFUL), flagged(STEERED_HARMLESS), flagged(HARMLESS), unscored,
    )  # fmt: skip


def _harm(part: Generations) -> NDArray[np.bool_]:
    """[N] bool: which responses do harm."""
    return np.array([outcome == "harmful" for outcome in part.outcomes], dtype=bool)
