"""What one guard is worth on one model: separation, operating points, flags, removed attacks, alarms and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.groups import HARMFUL, HARMLESS, attack_group, set_group
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.overhead import Overhead
from sri_sdk.evaluation.separate import area
from sri_sdk.metrics.alarm import alarm_times
from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.bootstrap import ClusterRate
from sri_sdk.metrics.guard_rates import CLASSES
from sri_sdk.metrics.operating import roc, tpr_at_fpr
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.metrics.removal import Removal, removal
from sri_sdk.metrics.results import GuardResult, Roc
from sri_sdk.records import Prompt

FPRS = (0.01, 0.001)
"""False positive rates at which the true positive rate is reported."""
ROC_POINTS = 400
"""Most points of a curve."""


def guard_result(
    guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str], sets: Sequence[str],
    overhead: Overhead | None, budget: int,
) -> GuardResult:  # fmt: skip
    """One guard's row: separation, operating points, flags, removal, cost.

    Args:
        guard: its scores and threshold.
        found: group -> generations.
        attacks: names of those that were run.
        sets: names of the sets of unusual harmless prompts.
        overhead: what the tap costs; None = not measured.
        budget: steps of one generation at most.
    """
    groups = [HARMLESS, HARMFUL, *(attack_group(name) for name in attacks)]
    kinds = np.concatenate([found[g].classes[: len(guard.scores[g])] for g in groups])
    flags = np.concatenate([guard.flagged(g) for g in groups])
    flagged = {
        name: exact_rate(f"flagged:{name}", int(flags[kinds == name].sum()), int((kinds == name).sum()))
        for name in CLASSES
    }
    benign = guard.flagged(HARMLESS)
    took = _removal(guard, found, attacks)
    tpr, notes, curve = _operating(guard, found, attacks)
    alarm = _alarms(guard, found, attacks, budget)
    share, how = _cost(guard, overhead)
    unscored = sum(int(np.isnan(guard.scores[g]).sum()) for g in groups)
    return GuardResult(
        name=guard.name,
        source=guard.source,
        reads=guard.reads,
        auroc=guard_area(guard, found, attacks),
        tpr=tpr,
        tpr_notes=notes,
        threshold_rule=guard.threshold_rule,
        false_alarm=exact_rate("false_alarm", int(benign.sum()), len(benign)),
        flagged=flagged,
        removed=_clustered(took.removed),
        remaining=_clustered(took.after) if attacks else None,
        removed_by_attack=took.by_attack,
        harmless_sets={
            name: exact_rate(
                f"flagged:{name}", int(guard.flagged(set_group(name)).sum()), len(guard.scores[set_group(name)])
            )
            for name in sets
        },
        overhead=share,
        overhead_note=how,
        unscored=unscored,
        alarm_curve=alarm[0],
        median_alarm_step=alarm[1],
        roc=curve,
    )


def guard_area(guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str]) -> Auroc | None:
    """AUROC of a guard: successful attacks, of these attacks, against harmless test generations."""
    return area(*_sides(guard, found, attacks))


def _removal(guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str]) -> Removal:
    """Over what the guard scored, which may be the first of each group only."""
    scored = {name: found[attack_group(name)].first(len(guard.scores[attack_group(name)])) for name in attacks}
    return removal(
        [name for name, part in scored.items() for _ in part.prompts],
        [p.base or p.id for part in scored.values() for p in part.prompts],
        np.array([o == "harmful" for part in scored.values() for o in part.outcomes], dtype=bool),
        np.concatenate([np.empty(0, dtype=bool), *(guard.flagged(attack_group(name)) for name in attacks)]),
    )


def _clustered(found: ClusterRate) -> Rate:
    """The rate with the interval to quote."""
    return replace(found.rate, low=found.low, high=found.high)


def _sides(
    guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Prompt], list[Prompt]]:
    """Scores of successful attacks [P] and of harmless test generations [N], float64, and the prompts of both.

    Higher = more suspicious.
    """
    scores, prompts = [np.empty(0)], []
    for name in attacks:
        part, own = found[attack_group(name)], guard.scores[attack_group(name)]
        won = np.flatnonzero(part.classes[: len(own)] == "successful_attack")
        scores.append(own[won])
        prompts += [part.prompts[i] for i in won]
    benign = guard.scores[HARMLESS]
    return np.concatenate(scores), benign, prompts, list(found[HARMLESS].prompts[: len(benign)])


def _operating(
    guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str]
) -> tuple[dict[str, Rate], dict[str, str], Roc | None]:
    positive, negative, *prompts = _sides(guard, found, attacks)
    bases = [[p.base or p.id for p in side] for side in prompts]
    rates: dict[str, Rate] = {}
    notes: dict[str, str] = {}
    for fpr in FPRS:
        if not len(positive):
            notes[f"{fpr:g}"] = "no attack succeeded"
            continue
        try:
            point = tpr_at_fpr(positive, negative, fpr, (bases[0], bases[1]))
            rates[f"{fpr:g}"] = replace(point.tpr, low=point.low, high=point.high)
        except ConfigError as err:
            notes[f"{fpr:g}"] = str(err)
    try:
        points = roc(positive, negative)
    except ConfigError:
        return rates, notes, None
    keep = np.unique(np.linspace(0, len(points.false_alarms) - 1, ROC_POINTS).astype(int))
    return (
        rates,
        notes,
        Roc(guard.name, tuple(points.false_alarms[keep].tolist()), tuple(points.detections[keep].tolist())),
    )


def _alarms(
    guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str], budget: int
) -> tuple[tuple[float, ...], float | None]:
    online = guard.verdicts.get("online")
    if online is None:
        return (), None
    rows = [
        (verdict.first_alarm_step, prompt.base or prompt.id)
        for name in attacks
        for verdict, prompt, outcome in zip(
            online[attack_group(name)],
            found[attack_group(name)].prompts,
            found[attack_group(name)].outcomes,
            strict=True,
        )
        if outcome == "harmful"
    ]
    if not rows:
        return (), None
    times = alarm_times("successful_attack", [step for step, _ in rows], budget, [base for _, base in rows])
    # Steps are counted from 0 in verdicts, and from 1 by people.
    median = None if times.median is None else times.median.value + 1
    return tuple(rate.value for rate in times.by_step), median


def _cost(guard: GuardScores, overhead: Overhead | None) -> tuple[float | None, str]:
    if overhead is None:
        return None, "not measured"
    scoring = guard.seconds / overhead.seconds
    if not guard.tapped:
        return scoring, f"{1e3 * guard.seconds:.3g} ms per generation, in batches, of {1e3 * overhead.seconds:.3g} ms"
    return max(overhead.share, 0.0) + scoring, (
        f"tap {100 * overhead.share:.2g} % (shortest of {overhead.pairs}; pairs {100 * overhead.low:.2g} to "
        f"{100 * overhead.high:.2g}), scoring one by one {100 * scoring:.2g} % of {1e3 * overhead.seconds:.3g} ms"
    )
