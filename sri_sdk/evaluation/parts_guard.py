"""Guards of several columns and scores in an evaluation: fitted, calibrated and judged as those of `sri fit`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.bundle.manifest_v2 import ALL
from sri_sdk.bundle.multi_part_guard import GuardPart, MultiPartGuard
from sri_sdk.config.fit import FitConfig
from sri_sdk.evaluation.guards import SINGLE_CALLS, GuardScores, flagged
from sri_sdk.fitting.build_parts import calibrate_parts
from sri_sdk.fitting.parts import fit_parts, parts_of
from sri_sdk.metrics.rarity import rarity
from sri_sdk.metrics.results import HIDDEN_STATES
from sri_sdk.records import Rule, Signals, Verdict


def parts_guard(
    name: str, request_map: str | None, config: FitConfig, signals: Mapping[str, Signals], anchors: Anchors
) -> GuardScores:
    """Fits and calibrates a guard with parts, and scores everything with the graphs of its bundle.

    Args:
        name: of the guard in the config.
        request_map: name of the map in the anchors; None = there is none.
        config: the guard as a deployment of its own.
        signals: by group, with the columns of the anchors; `train`, `reference` and `calibration` among them.
        anchors: what the signals were made with.

    Raises:
        ScoringError, BundleError: see `sri_sdk.fitting.build_parts`.
    """
    wanted = parts_of(config)
    fit_parts(wanted, signals["train"], [column.name for column in anchors.columns])
    calibrated = calibrate_parts(
        wanted, signals["reference"], signals["calibration"], anchors=anchors,
        exporter=registry.build("exporters", config.export.name, config.export.options),
        alpha=config.calibrate.alpha, delta=config.calibrate.delta,
    )  # fmt: skip
    scorer, guard = calibrated.scorer(), calibrated.parts
    verdicts = {
        rule: {group: scorer.score(found, rule=rule, subject=group) for group, found in signals.items()}
        for rule in scorer.rules
    }
    scores = {
        rule: {group: _scores(rows, guard, rule) for group, rows in by_group.items()}
        for rule, by_group in verdicts.items()
    }
    values = signals["calibration"].domain(guard.domain)
    single = [np.ascontiguousarray(values[i % len(values)][None]) for i in range(SINGLE_CALLS)]
    start = time.perf_counter()
    for one in single:
        scorer.score_final(one)
    seconds = (time.perf_counter() - start) / SINGLE_CALLS
    said = ", ".join(f"{part.name} ({part.detector_name})" for part in wanted)
    source = f"parts {said}" + (f"; request map {request_map}" if request_map else "")
    words = f"conformal, alpha {config.calibrate.alpha:g}"
    if len(wanted) > 1:
        words += "; shares " + ", ".join(f"{part.name} {part.share:g}" for part in wanted)
    made = GuardScores(
        name, source, HIDDEN_STATES, _threshold(guard), words, scores["final"], seconds, verdicts,
        alarms=flagged(verdicts["final"]),
    )  # fmt: skip
    others: dict[Rule, GuardScores] = {
        rule: replace(made, scores=scores[rule], alarms=flagged(verdicts[rule])) for rule in verdicts if rule != "final"
    }
    return replace(made, others=others)


def _threshold(guard: MultiPartGuard) -> float:
    """That of its only part, in the unit of the scores; 0 where there are several, see `rarity`."""
    return guard.parts[0].rules["final"][ALL].value if len(guard.parts) == 1 else 0.0


def _scores(verdicts: Sequence[Verdict], guard: MultiPartGuard, rule: Rule) -> NDArray[np.float64]:
    """[N] float64 scores of N verdicts: of the part that judges under this rule, or of the rarest where there are more.

    NaN = nothing can be said of the generation.
    """
    judging = [part for part in guard.parts if rule in part.rules]
    columns = [_column(verdicts, part) for part in judging]
    if len(judging) == 1:
        return columns[0]
    rare = np.stack([
        rarity(column, part.rules[rule][ALL].scores, part.rules[rule][ALL].alpha)
        for column, part in zip(columns, judging, strict=True)
    ])  # fmt: skip
    unknown = np.array([verdict.status == "unmonitored" for verdict in verdicts], dtype=bool)
    return np.where(unknown, np.nan, np.where(np.isnan(rare), -np.inf, rare).max(axis=0))


def _column(verdicts: Sequence[Verdict], part: GuardPart) -> NDArray[np.float64]:
    """[N] float64 scores of one part; NaN = it has none."""
    found = [next((p.score for p in v.parts if p.name == part.name), None) for v in verdicts]
    return np.array([np.nan if score is None else score for score in found], dtype=np.float64)
