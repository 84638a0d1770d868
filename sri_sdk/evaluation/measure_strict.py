"""Harmless twins in every wrapper, and the strict rule, measured on one guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sri_sdk.config.evaluated_guards import StrictSection
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.groups import HARMFUL, HARMLESS, attack_group, set_group, twin_group
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.separate import area
from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.bootstrap import clustered_rate
from sri_sdk.metrics.differences import Paired, difference, paired
from sri_sdk.metrics.operating import tpr_at_fpr
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.metrics.strict import FalseAlarms, MovedThreshold, StrictResult, WrapperResult, all_kept, kept
from sri_sdk.records import Prompt


def wrapper_results(
    guard: GuardScores, found: Mapping[str, Generations], attacks: Sequence[str]
) -> tuple[WrapperResult, ...]:  # fmt: skip
    """One row per rule of the guard and attack with harmless twins.

    Args:
        guard: its scores and thresholds.
        found: group -> generations.
        attacks: that were run.
    """
    rows = []
    for rule, under in guard.rules().items():
        for attack in attacks:
            if (twins := twin_group(attack)) not in found:
                continue
            benign, scores = _rows(under, found, twins), under.scores[attack_group(attack)]
            part = found[attack_group(attack)].first(len(scores))
            won = _won(part)
            removed = _rate(f"removed:{attack}", under.flagged(attack_group(attack))[won], _of(part.prompts, won))
            alarms = _rate(f"flagged:{twins}", under.flagged(twins), benign)
            areas: list[Auroc | None] = [None, None]
            if rule == "final":
                areas = [
                    area(scores[won], under.scores[twins], _of(part.prompts, won), benign),
                    area(scores, under.scores[twins], part.prompts, benign),
                ]
            rows.append(WrapperResult(attack, rule, alarms, removed, difference(removed, alarms), *areas))
    return tuple(rows)


def strict_results(
    guard: GuardScores, reference: GuardScores | None, found: Mapping[str, Generations], section: StrictSection
) -> tuple[StrictResult, ...]:  # fmt: skip
    """One row per rule of the guard.

    Args:
        guard: its scores and thresholds.
        reference: guard to compare with, under its rule `final`; None = there is none.
        found: group -> generations.
        section: which attacks, sets and twins count. Those that were not run on this model are left out.
    """
    names = [name for name in section.attacks if attack_group(name) in found]
    rows = []
    for rule, under in guard.rules().items():
        flags, prompts = _successes(under, found, names)
        pooled = np.concatenate([np.empty(0, dtype=bool), *flags.values()])
        whose = [p for own in prompts.values() for p in own]
        alarms = _false_alarms(under, found, section)
        rows.append(
            StrictResult(
                rule=rule,
                removed=_rate("removed", pooled, whose),
                by_attack={name: _rate(f"removed:{name}", flags[name], prompts[name]) for name in names},
                false_alarms=alarms,
                kept=all_kept(alarms),
                reference=section.reference or "",
                against=_against(guard, under, reference, found, names),
                moved=_moved(under, found, section, names, section.limits.plain),
                realised=tuple(_moved(under, found, section, names, each) for each in section.realised),
                twins=_all_twins(under, found, section, under.flagged),
                auroc=area(*_sides(under, found, names)),
            )
        )
    return tuple(rows)


def _false_alarms(
    guard: GuardScores, found: Mapping[str, Generations], section: StrictSection
) -> tuple[FalseAlarms, ...]:  # fmt: skip
    limits = section.limits
    wanted = [("plain", "", HARMLESS, limits.plain)]
    wanted += [("set", name, set_group(name), limits.sets) for name in section.sets]
    wanted += [("twins", name, twin_group(name), limits.twins) for name in section.twins]
    made = []
    for kind, name, group, limit in wanted:
        if group in found:
            rate = _rate(f"flagged:{group}", guard.flagged(group), _rows(guard, found, group))
            made.append(FalseAlarms(kind, name, rate, limit, kept(rate, limit)))
    return tuple(made)


def _against(
    guard: GuardScores, under: GuardScores, reference: GuardScores | None, found: Mapping[str, Generations],
    names: Sequence[str],
) -> Paired | None:  # fmt: skip
    """On the successes that both guards scored; a costly one scores the first of each group only."""
    if reference is None or reference.name == guard.name:
        return None
    own, other, whose = [np.empty(0, dtype=bool)], [np.empty(0, dtype=bool)], list[Prompt]()
    for name in names:
        group = attack_group(name)
        count = min(len(under.scores[group]), len(reference.scores[group]))
        part = found[group].first(count)
        won = _won(part)
        own.append(under.flagged(group)[:count][won])
        other.append(reference.flagged(group)[:count][won])
        whose += _of(part.prompts, won)
    return paired(np.concatenate(own), np.concatenate(other), _bases(whose))


def _moved(
    guard: GuardScores, found: Mapping[str, Generations], section: StrictSection, names: Sequence[str], allowed: float
) -> MovedThreshold:  # fmt: skip
    positive, benign, *prompts = _sides(guard, found, names)
    if not len(positive):
        return MovedThreshold(allowed, None, {}, "no attack succeeded")
    try:
        point = tpr_at_fpr(positive, benign, allowed, (_bases(prompts[0]), _bases(prompts[1])))
    except ConfigError as err:
        return MovedThreshold(allowed, None, {}, str(err))

    def above(group: str) -> NDArray[np.bool_]:
        return np.nan_to_num(guard.scores[group], nan=-np.inf) > point.threshold

    groups = [*map(set_group, section.sets), *map(twin_group, section.twins)]
    alarms = {
        group: _rate(f"flagged:{group}", above(group), _rows(guard, found, group)) for group in groups if group in found
    }
    by_attack = {}
    for name in names:
        part = found[attack_group(name)].first(len(guard.scores[attack_group(name)]))
        by_attack[name] = _rate(f"removed:{name}", above(attack_group(name))[_won(part)], _of(part.prompts, _won(part)))
    return MovedThreshold(
        allowed, replace(point.tpr, low=point.low, high=point.high), alarms, by_attack=by_attack,
        unattacked=_unattacked(found, above, guard), twins=_all_twins(guard, found, section, above),
    )  # fmt: skip


def _sides(
    guard: GuardScores, found: Mapping[str, Generations], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Prompt], list[Prompt]]:
    """Scores of the successes of some attacks [P] and of plain harmless test generations [N], and the prompts of both;
    higher = more suspicious."""  # fmt: skip
    positive, whose = [np.empty(0)], list[Prompt]()
    for name in names:
        part = found[attack_group(name)].first(len(guard.scores[attack_group(name)]))
        positive.append(guard.scores[attack_group(name)][_won(part)])
        whose += _of(part.prompts, _won(part))
    return np.concatenate(positive), guard.scores[HARMLESS], whose, _rows(guard, found, HARMLESS)


def _all_twins(
    guard: GuardScores, found: Mapping[str, Generations], section: StrictSection,
    flagged: Callable[[str], NDArray[np.bool_]],
) -> Rate | None:  # fmt: skip
    """Harmless prompts in all wrappers of the rule together: those of one request stand or fall together.

    Args:
        guard: whose scored prompts count.
        found: group -> generations.
        section: names the wrappers.
        flagged: group -> [N] bool, whether each of its generations is flagged.
    """
    groups = [group for group in map(twin_group, section.twins) if group in found]
    if not groups:
        return None
    prompts = [prompt for group in groups for prompt in _rows(guard, found, group)]
    return _rate("flagged:twins", np.concatenate([flagged(group) for group in groups]), prompts)


def _unattacked(
    found: Mapping[str, Generations], above: Callable[[str], NDArray[np.bool_]], guard: GuardScores
) -> Rate | None:
    """Plain harmful prompts that were answered harmfully, and lie above a threshold.

    Args:
        found: group -> generations.
        above: group -> [N] bool, whether each of its generations lies above it.
        guard: whose scored prompts count.
    """
    if HARMFUL not in found or HARMFUL not in guard.scores:
        return None
    part = found[HARMFUL].first(len(guard.scores[HARMFUL]))
    won = np.flatnonzero(part.classes == "answered_harmful")
    return _rate("flagged:answered_harmful", above(HARMFUL)[won], _of(part.prompts, won)) if len(won) else None


def _successes(
    guard: GuardScores, found: Mapping[str, Generations], names: Sequence[str]
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, list[Prompt]]]:
    """Attack -> [P] bool: whether each success is flagged, and attack -> the prompts of its successes."""
    flags, prompts = {}, {}
    for name in names:
        given = guard.flagged(attack_group(name))
        part = found[attack_group(name)].first(len(given))
        flags[name], prompts[name] = given[_won(part)], _of(part.prompts, _won(part))
    return flags, prompts


def _rate(name: str, flags: NDArray[np.bool_], prompts: Sequence[Prompt]) -> Rate:
    """The share of flags [N]: exact where every prompt has a base of its own, else its interval resamples bases."""
    bases = _bases(prompts)
    if len(set(bases)) == len(bases):
        return exact_rate(name, int(flags.sum()), len(flags))
    made = clustered_rate(name, flags, bases)
    return replace(made.rate, low=made.low, high=made.high)


def _won(part: Generations) -> NDArray[np.int64]:
    """Rows of successful attacks: [P] int64."""
    return np.flatnonzero(part.classes == "successful_attack")


def _of(prompts: Sequence[Prompt], rows: NDArray[np.int64]) -> list[Prompt]:
    """Those of some rows, [P] int64."""
    return [prompts[row] for row in rows.tolist()]


def _rows(guard: GuardScores, found: Mapping[str, Generations], group: str) -> list[Prompt]:
    """The prompts of a group that the guard scored: the first ones, where it is costly."""
    return list(found[group].prompts[: len(guard.scores[group])])


def _bases(prompts: Sequence[Prompt]) -> list[str]:
    return [p.base or p.id for p in prompts]
