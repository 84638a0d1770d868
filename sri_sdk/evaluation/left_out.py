"""A guard judged on each attack by a fit that never saw that attack: several fits, put together.

What they share, such as plain prompts, is judged by the fit that flags most of it: the worst that one of them does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sri_sdk.evaluation.groups import attack_group, twin_group
from sri_sdk.evaluation.guards import GuardScores


def put_together(name: str, fits: Mapping[str, GuardScores], left_out: Mapping[str, str]) -> GuardScores:
    """The guard under all its rules.

    Args:
        name: of the guard.
        fits: map -> the guard with this map.
        left_out: attack -> the map that was fitted without it.
    """
    owners = {group(attack): each for attack, each in left_out.items() for group in (attack_group, twin_group)}
    rules = {rule: _under({each: made.rules()[rule] for each, made in fits.items()}, owners)
             for rule in next(iter(fits.values())).rules()}  # fmt: skip
    first = replace(rules["final"], name=name)
    return replace(first, others={rule: replace(each, name=name) for rule, each in rules.items() if rule != "final"})


def _under(fits: Mapping[str, GuardScores], owners: Mapping[str, str]) -> GuardScores:
    """One rule: scores count from the threshold of the fit they come from, so the common threshold is 0."""
    some = next(iter(fits.values()))
    scores, alarms = {}, {}
    for group in some.scores:
        one = fits.get(owners.get(group, "")) or max(fits.values(), key=lambda each: int(each.flagged(group).sum()))
        scores[group], alarms[group] = one.scores[group] - one.threshold, one.flagged(group)
    return replace(
        some, source=f"{len(fits)} fits, each judged by what it never saw; {some.source.partition(';')[0]}",
        threshold=0.0, scores=scores, alarms=alarms, verdicts={}, others={},
    )  # fmt: skip
