"""The numbers behind curves and maps: a curve has too many to print, so its tables hold a few places of each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sri_sdk.metrics.results import CLASS_WORDS, ClassBand, Evaluation, GuardResult
from sri_sdk.report import words
from sri_sdk.report.evaluation_words import area, called, class_words, leading, ordered
from sri_sdk.report.tables import Cell, Table, keys

PLACES = 5
"""Cells of a curve that are shown, at even distances; the last is one of them."""
RATES = (0.001, 0.01, 0.05, 0.1, 0.5)
"""False positive rates at which a curve is read."""


def bands(evaluation: Evaluation) -> Table:
    """Mean sigma of each class at a few cells, with the range of its middle 80 %."""
    found = [(model, band) for model in evaluation.models for band in model.bands if band.n and band.mean]
    shown = _cells(max((len(band.mean) for _, band in found), default=0))
    rows = tuple(
        (
            Cell(f"{called(model.name)}: {class_words(band.name)}"),
            Cell(f"{band.n:,}"),
            *(_band_cell(band, at) for at in shown),
        )
        for model, band in found
    )
    columns = ("Model: class", "n", *(f"Step {at + 1}" for at in shown))
    return Table("trajectories-numbers", "σ by class: mean, and 10 to 90 %", columns, rows)


def maps(evaluation: Evaluation) -> Table:
    """How many generations are behind each map's axes, and how many others of each class are in it."""
    found = [(model, projection) for model in evaluation.models for projection in model.projections]
    names = [*CLASS_WORDS, *keys((p.name for p in m.points if p.name not in CLASS_WORDS) for _, m in found)]
    rows = []
    for model, projection in found:
        drawn = {points.name: len(points.x) for points in projection.points}
        rows.append(
            (
                Cell(f"{called(model.name)}: {projection.method}"),
                Cell(", ".join(projection.axes)),
                Cell(f"{projection.fitted_on:,}"),
                *(Cell(f"{drawn.get(name, 0):,}") for name in names),
            )
        )
    columns = ("Model: map", "Axes", "Fitted on", *(f"Shown, {class_words(name)}" for name in names))
    return Table("maps-numbers", "Generations behind the maps", columns, tuple(rows), texts=frozenset({1}))


def roc(evaluation: Evaluation) -> Table:
    """True positive rate read from each guard's curve at a few false positive rates."""
    model = leading(evaluation)
    guards = [guard for guard in ordered(model) if guard.roc is not None] if model else []
    rows = tuple(
        (Cell(called(guard.name)), Cell(area(guard.auroc)), *(_roc_cell(guard, rate) for rate in RATES))
        for guard in guards
    )
    columns = ("Guard", "AUROC", *(f"TPR at {100 * rate:g} % FPR" for rate in RATES))
    note = "Read from the curve. A rate that is rarer than one of the harmless generations cannot be read: a dash."
    return Table("roc-numbers", "Places on the curves", columns, rows, note)


def alarms(evaluation: Evaluation) -> Table:
    """Share of successful attacks alarmed by a few steps."""
    found = [(model, guard) for model in evaluation.models for guard in ordered(model) if guard.alarm_curve]
    shown = _cells(max((len(guard.alarm_curve) for _, guard in found), default=0))
    rows = tuple(
        (
            Cell(f"{called(model.name)}: {called(guard.name)}"),
            *(Cell(_share(guard.alarm_curve, at)) for at in shown),
            Cell(_median(guard)),
        )
        for model, guard in found
    )
    columns = ("Model: guard", *(f"By step {at + 1}" for at in shown), "Median step")
    note = "Shares of all successful attacks; the median step is that of the alarmed ones."
    return Table("alarms-numbers", "Alarmed by step", columns, rows, note)


def counts(evaluation: Evaluation) -> Table:
    """What each model is, its generations by group of prompts, and its speed."""
    groups = keys(model.counts for model in evaluation.models)
    rows = tuple(
        (Cell(group), *(Cell(f"{m.counts[group]:,}" if group in m.counts else words.DASH) for m in evaluation.models))
        for group in groups
    )
    if evaluation.models:
        kinds = tuple(Cell(m.scheme or words.DASH, note=m.describes) for m in evaluation.models)
        speed = tuple(Cell(_seconds(m.seconds_per_generation)) for m in evaluation.models)
        rows = ((Cell("scheme"), *kinds), *rows, (Cell("time per generation"), *speed))
    columns = ("Generations", *(called(model.name) for model in evaluation.models))
    return Table("counts", "Generations", columns, rows)


def _cells(count: int) -> list[int]:
    if count <= 0:
        return []
    return sorted({round(at) for at in np.linspace(0, count - 1, min(PLACES, count)).tolist()})


def _band_cell(band: ClassBand, at: int) -> Cell:
    values = [series[at] if at < len(series) else float("nan") for series in (band.mean, band.low, band.high)]
    mean, low, high = (f"{value:.2f}" if math.isfinite(value) else words.DASH for value in values)
    return Cell(mean, f"{low} to {high}")


def _roc_cell(guard: GuardResult, rate: float) -> Cell:
    assert guard.roc is not None
    points = np.array([guard.roc.fpr, guard.roc.tpr], dtype=np.float64).reshape(2, -1)
    fpr, tpr = points[:, np.isfinite(points).all(axis=0)]
    negatives = guard.auroc.negatives if guard.auroc is not None else 0
    if not len(fpr) or (negatives and rate < 1 / negatives):
        return Cell(words.DASH)
    # The last place at or below the rate: what a threshold reaches without exceeding it.
    below = tpr[fpr <= rate]
    return Cell(words.share(float(below.max())) if len(below) else words.DASH)


def _share(curve: Sequence[float], at: int) -> str:
    return words.share(curve[at]) if at < len(curve) else words.DASH


def _median(guard: GuardResult) -> str:
    step = guard.median_alarm_step
    return f"{step:g}" if step is not None and math.isfinite(step) else words.DASH


def _seconds(value: float | None) -> str:
    return words.DASH if value is None else words.seconds(value)
