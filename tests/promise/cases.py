"""The experiments: two guards and their folds, leaks, and what is counted in a redraw of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.bundle.manifest_v2 import ALL
from sri_sdk.calibrate.conformal import Threshold, conformal_rank
from tests.promise.pool import FIRST, SECOND, Pool
from tests.promise.redraw import Case, Fitted, Folds, Line, Scores, Sizes, detector_class, draw, fit, lines, threshold

SEED = 15
ONE_DETECTOR = Case("one-detector", {"behaviour": "hesitation"}, {ALL: Sizes(300, 200, 2_999, 4_000)})
"""One threshold for mixed traffic. 2,999 calibration prompts are enough for 0.1 % with delta = 5 %."""
TWO_PARTS = Case(
    "two-parts", {"behaviour": "mahalanobis", "asked": "request"},
    {FIRST: Sizes(200, 100, 1_999, 1_500), SECOND: Sizes(100, 100, 1_999, 1_500)},
)  # fmt: skip
"""Two parts with half of alpha each, in two groups: 1,999 calibration prompts per group are the fewest for 0.1 %."""
CASES = (ONE_DETECTOR, TWO_PARTS)
WHOLE, ANY = "whole guard", "any rule"
SHIFTS = (0.05, 0.2)
"""Shares of fresh prompts that come from other traffic, in planted shifts."""

Counts = dict[str, int]
"""Alarms by key; a key names rule, part, group, alpha and delta, and for a planted fault the fault."""


def key(line: Line, *more: str) -> str:
    """`final|behaviour|all|0.01|-`, and more behind it."""
    delta = "-" if line.delta is None else f"{line.delta:g}"
    return "|".join([line.rule, line.part, line.group, f"{line.alpha:g}", delta, *more])


def redraw(case: Case, pool: Pool, number: int, *, planted: bool = True) -> dict[str, Counts]:
    """Alarms on the fresh generations of redraw `number`.

    Returns:
        `alarms`: above the threshold; `exact`: above the score the threshold was taken from, without the tolerance
        beside it; `planted`: above what a faulty threshold would be, or on other traffic.
    """
    assert pool.signals.groups is not None
    groups = np.array(pool.signals.groups)
    rng = np.random.default_rng([SEED, CASES.index(case) if case in CASES else len(CASES), number])
    folds = draw(case, groups, rng)
    fitted = fit(
        case, pool.signals.take(folds.train), pool.signals.take(folds.reference), OnnxExporter()
    )  # fmt: skip
    calibration, fresh = (fitted.score(pool.signals.take(rows)) for rows in (folds.calibration, folds.fresh))
    room = fitted.noise(pool.signals.take(folds.calibration))
    found: dict[str, Counts] = {"alarms": {}, "exact": {}, "planted": {}}
    alarming: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for line in lines(case):
        k = [part.name for part in fitted.parts].index(line.part)
        own, mine = (_of(line.group, groups[rows]) for rows in (folds.calibration, folds.fresh))
        limit = threshold(line, calibration.of(line.rule)[own, k], float(room[line.rule][k]))
        if limit is None:
            continue
        scores = fresh.of(line.rule)[:, k]
        found["alarms"][key(line)] = int((scores[mine] > limit.value).sum())
        found["exact"][key(line)] = int((scores[mine] > limit.scores[limit.rank - 1]).sum())
        if line.group == ALL:
            for group in (FIRST, SECOND):
                at = _of(group, groups[folds.fresh])
                found["alarms"][key(line, group)] = int((scores[at] > limit.value).sum())
        # By guard: what any part, or any rule, says.
        for rule in (line.rule, ANY):
            name = key(replace(line, part=WHOLE)).replace(line.rule, rule, 1)
            above = mine & (scores > limit.value)
            alarming[line.group, name] = alarming.get((line.group, name), np.zeros(len(scores), np.bool_)) | above
        if planted and line.delta is None:
            found["planted"] |= dict(_faults(line, k, limit, calibration, fresh, own, mine))
    found["alarms"] |= {name: int(above.sum()) for (_, name), above in alarming.items()}
    if planted:
        found["planted"] |= dict(_shifted(case, pool, fitted, folds, calibration, fresh, groups, rng))
    return found


def _faults(
    line: Line, k: int, limit: Threshold, calibration: Scores, fresh: Scores, own: NDArray[np.bool_],
    mine: NDArray[np.bool_],
) -> Iterator[tuple[str, int]]:  # fmt: skip
    """Alarms of thresholds as they are often, and wrongly, set."""
    alpha, scores = line.alpha * line.share, fresh.of(line.rule)[mine, k]
    low = float(limit.scores[limit.rank - 2]) + limit.tolerance
    yield key(line, "one rank too low"), int((scores > low).sum())
    yield key(line, "interpolated quantile"), int((scores > np.quantile(limit.scores, 1 - alpha)).sum())
    if line.rule == "online":
        each = np.sort(calibration.running[own, :, k], axis=0)[conformal_rank(int(own.sum()), alpha) - 1]
        above = (fresh.running[mine, :, k] > each).any(axis=1)
        yield key(line, "a threshold per length"), int(above.sum())
    if line.group != ALL:
        everyone = np.sort(calibration.of(line.rule)[:, k])
        shared = everyone[conformal_rank(len(everyone), alpha) - 1] + limit.tolerance
        yield key(line, "one threshold for all groups"), int((scores > shared).sum())


def _shifted(
    case: Case, pool: Pool, fitted: Fitted, folds: Folds, calibration: Scores, fresh: Scores,
    groups: NDArray[np.str_], rng: np.random.Generator,
) -> Iterator[tuple[str, int]]:  # fmt: skip
    """Alarms where some of the fresh prompts are asked in other ways than any calibration prompt."""
    group = ALL if ALL in case.sizes else FIRST
    own, mine = (_of(group, groups[rows]) for rows in (folds.calibration, folds.fresh))
    most = round(max(SHIFTS) * int(mine.sum()))
    other = fitted.score(pool.unusual.take(rng.permutation(len(pool.unusual))[:most]))
    for line in lines(case):
        if line.group != group or line.delta is not None or line.alpha != 0.01:
            continue
        k = [part.name for part in fitted.parts].index(line.part)
        limit = threshold(line, calibration.of(line.rule)[own, k], 0.0)
        if limit is None:
            continue
        usual, strange = fresh.of(line.rule)[mine, k], other.of(line.rule)[:, k]
        for share in SHIFTS:
            count = min(round(share * len(usual)), len(strange))
            scores = np.concatenate([usual[count:], strange[:count]])
            yield key(line, f"{100 * share:g} % of other traffic"), int((scores > limit.value).sum())


LEAKING = ("nearest-neighbours", "mahalanobis")
LEAKS = (0.0, 0.1, 1.0)
"""Shares of the training prompts that stand in the calibration fold, too."""
LEAKY = Sizes(train=300, reference=0, calibration=399, fresh=2_000)


def leak(detector: str, pool: Pool, number: int, share: float) -> tuple[int, int]:
    """Alarms at 1 % where calibration prompts are also in the fit: (alarms, training prompts that leaked).

    Rule `final`, mixed traffic, scored by the detector itself: a guard with leaked folds cannot be fitted with the SDK.
    """
    rng = np.random.default_rng([SEED, 100, number])
    shuffled = rng.permutation(len(pool.signals))
    ends = np.cumsum([LEAKY.train, LEAKY.calibration, LEAKY.fresh])
    train, calibration, fresh = shuffled[: ends[0]], shuffled[ends[0] : ends[1]], shuffled[ends[1] : ends[2]]
    leaked = round(share * len(train))
    fitted = detector_class(detector)().bind(("sri@final",))
    values = pool.signals.domain(fitted.domain)[:, :, :1]
    fitted.fit(values[np.concatenate([train[leaked:], calibration[:leaked]])])
    limit = Threshold.fit(fitted.score(values[calibration]), 0.01)
    return int((fitted.score(values[fresh]) > limit.value).sum()), leaked


AGAIN = 1_200
"""Further redraws of `ONE_DETECTOR`, rule `final` alone: a second opinion that takes seconds."""


def again(pool: Pool, number: int) -> int:
    """Alarms at 1 % in redraw `number` of another series, scored by the detector itself."""
    assert pool.signals.groups is not None
    folds = draw(ONE_DETECTOR, np.array(pool.signals.groups), np.random.default_rng([SEED, 400, number]))
    (part,) = ONE_DETECTOR.parts()
    values = pool.signals.domain(part.detector.domain)[:, :, :1]
    part.detector.fit(values[folds.train])
    limit = Threshold.fit(part.detector.score(values[folds.calibration]), 0.01)
    return int((part.detector.score(values[folds.fresh]) > limit.value).sum())


def splits(pool: Pool) -> Iterator[dict[str, Any]]:
    """Whether two splits of the lab's world are the same traffic: p-values of Kolmogorov and Smirnov, per group.

    A redraw shuffles them, so it cannot tell. Scores of rule `final`, of a detector fitted on other generations.
    """
    groups, rng = np.array(pool.signals.groups), np.random.default_rng([SEED, 300])
    for name in LEAKING:
        detector = detector_class(name)().bind(("sri@final",))
        values = pool.signals.domain(detector.domain)[:, :, :1]
        shuffled = rng.permutation(len(values))
        scores = detector.fit(values[shuffled[: LEAKY.train]]).score(values)
        fresh = np.isin(np.arange(len(values)), shuffled[LEAKY.train :])
        for group in (FIRST, SECOND):
            one, other = (
                scores[fresh & (groups == group) & (pool.split == split)] for split in dict.fromkeys(pool.split)
            )
            found = float(ks_2samp(one, other).pvalue)
            yield {"detector": name, "group": group, "n": [len(one), len(other)], "p_value": round(found, 4)}


def _of(group: str, groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """[N] bool: which generations belong to a group."""
    return np.ones(len(groups), np.bool_) if group == ALL else np.asarray(groups == group)
