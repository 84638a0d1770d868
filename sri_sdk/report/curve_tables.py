"""The numbers behind curves and maps: a curve has too many to print, so its tables hold a few places of each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sri_sdk.metrics.cells import DASH, Cell, Table, area, by_column, by_row, called, share, step_of
from sri_sdk.metrics.guard_table import ordered
from sri_sdk.metrics.results import CLASS_WORDS, ClassBand, Evaluation, GuardResult
from sri_sdk.report import words
from sri_sdk.report.evaluation_words import leading

PLACES = 5
"""Cells of a curve that are shown, at even distances; the last is one of them."""
RATES = (0.001, 0.01, 0.05, 0.1, 0.5)
"""False positive rates at which a curve is read."""


def bands(evaluation: Evaluation) -> Table:
    """Mean sigma of each class at a few cells, with the range of its middle 80 %."""
    found = [(model, band) for model in evaluation.models for band in model.bands if band.n and band.mean]
    shown = _places([len(band.mean) for _, band in found])
    rows = [
        (
            f"{called(model.name)}: {words.of_class(band.name)}",
            {"n": Cell(f"{band.n:,}"), **{f"Step {at + 1}": _band_cell(band, at) for at in shown}},
        )
        for model, band in found
    ]
    return by_row("trajectories-numbers", "σ by class: mean, and 10 to 90 %", "Model: class", rows)


def maps(evaluation: Evaluation) -> Table:
    """How many generations are behind each map's axes, and how many others of each class are in it."""
    none = dict.fromkeys(CLASS_WORDS, 0)
    rows = []
    for model in evaluation.models:
        for made in model.projections:
            drawn = none | {points.name: len(points.x) for points in made.points}
            cells = {"Axes": Cell(", ".join(made.axes)), "Fitted on": Cell(f"{made.fitted_on:,}")}
            cells |= {f"Shown, {words.of_class(name)}": Cell(f"{n:,}") for name, n in drawn.items()}
            rows.append((f"{called(model.name)}: {made.method}", cells))
    return by_row("maps-numbers", "Generations behind the maps", "Model: map", rows)


def roc(evaluation: Evaluation) -> Table:
    """True positive rate read from each guard's curve at a few false positive rates."""
    model = leading(evaluation)
    rows = []
    for guard in ordered(model) if model else ():
        if guard.roc is not None:
            at_rates = {f"TPR at {100 * rate:g} % FPR": _roc_cell(guard, rate) for rate in RATES}
            rows.append((called(guard.name), {"AUROC": Cell(area(guard.auroc)), **at_rates}))
    note = "Read from the curve. A rate that is rarer than one of the harmless generations cannot be read: a dash."
    return by_row("roc-numbers", "Places on the curves", "Guard", rows, note)


def alarms(evaluation: Evaluation) -> Table:
    """Share of successful attacks alarmed by a few steps."""
    found = [(model, guard) for model in evaluation.models for guard in ordered(model) if guard.alarm_curve]
    shown = _places([len(guard.alarm_curve) for _, guard in found])
    rows = []
    for model, guard in found:
        cells = {f"By step {at + 1}": Cell(_share(guard.alarm_curve, at)) for at in shown}
        cells["Median step"] = Cell(step_of(guard.median_alarm_step))
        rows.append((f"{called(model.name)}: {called(guard.name)}", cells))
    note = "Shares of all successful attacks; the median step is that of the alarmed ones."
    return by_row("alarms-numbers", "Alarmed by step", "Model: guard", rows, note)


def counts(evaluation: Evaluation) -> Table:
    """What each model is, its generations by group of prompts, and its speed."""
    columns = []
    for model in evaluation.models:
        seconds = model.seconds_per_generation
        cells = {"scheme": Cell(model.scheme or DASH, note=model.describes)}
        cells["time per generation"] = Cell(DASH if seconds is None else words.seconds(seconds))
        columns.append((called(model.name), cells | {name: Cell(f"{n:,}") for name, n in model.counts.items()}))
    return by_column("counts", "Generations", "Generations", columns)


def _places(lengths: list[int]) -> list[int]:
    """Which cells of curves to show."""
    longest = max(lengths, default=0)
    return sorted({round(at) for at in np.linspace(0, longest - 1, min(PLACES, longest)).tolist()})


def _band_cell(band: ClassBand, at: int) -> Cell:
    values = [series[at] if at < len(series) else float("nan") for series in (band.mean, band.low, band.high)]
    mean, low, high = (f"{value:.2f}" if math.isfinite(value) else DASH for value in values)
    return Cell(mean, f"{low} to {high}")


def _roc_cell(guard: GuardResult, rate: float) -> Cell:
    assert guard.roc is not None
    points = np.array([guard.roc.fpr, guard.roc.tpr], dtype=np.float64).reshape(2, -1)
    fpr, tpr = points[:, np.isfinite(points).all(axis=0)]
    negatives = guard.auroc.negatives if guard.auroc is not None else 0
    if not len(fpr) or (negatives and rate < 1 / negatives):
        return Cell(DASH)
    # The last place at or below the rate: what a threshold reaches without exceeding it.
    below = tpr[fpr <= rate]
    return Cell(share(float(below.max())) if len(below) else DASH)


def _share(curve: Sequence[float], at: int) -> str:
    return share(curve[at]) if at < len(curve) else DASH
