"""The figure `roc`: guards on the model the report begins with, whole and where false alarms are rare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sri_sdk.metrics.results import Evaluation, GuardResult
from sri_sdk.report import words
from sri_sdk.report.drawing import Sheet, Width
from sri_sdk.report.evaluation_words import area, called, leading, ordered, ours
from sri_sdk.report.panels import Entry, Grid, Legend, Look, heading, series
from sri_sdk.report.themes import Theme

LEAST = 1e-3
"""Left end of the logarithmic axis, unless more harmless generations reach further."""


def guards(evaluation: Evaluation) -> tuple[GuardResult, ...]:
    """Guards of the leading model that have a curve to draw."""
    model = leading(evaluation)
    return () if model is None else tuple(g for g in ordered(model) if g.roc is not None and len(_curve(g)[0]))


def draw(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    model, found = leading(evaluation), guards(evaluation)
    assert model is not None
    looks = [series(ordered(model).index(guard), theme) for guard in found]
    legend = Legend(
        [
            Entry(f"{called(guard.name)}, AUROC {area(guard.auroc)}", _style(colour, look, mine=guard is ours(model)))
            for guard, (colour, look) in zip(found, looks, strict=True)
        ],
        width,
    )
    grid = Grid(
        2,
        width,
        columns=2 if wide else 1,
        top=legend.height + 0.14,
        left=0.75,
        gap=0.75,
        right=0.25,
        head=0.56,
        plot=3.4 if wide else 2.7,
        foot=0.62,
    )
    title = f"Successful attacks found against false alarms, {called(model.name)}"
    sheet = Sheet(width, grid.bottom, theme, title if titled else None)
    legend.draw(sheet, 0)
    harmless = max((g.auroc.negatives for g in found if g.auroc is not None), default=0)
    reach = f"Shaded: below 1 of {harmless:,}, not measurable" if harmless else ""
    panels = (
        ("All false alarm rates", "Dot: the guard at its own threshold", 0.0),
        ("Where false alarms are rare", reach, min(LEAST, 0.7 / max(harmless, 1))),
    )
    for place, (name, note, left) in zip(grid, panels, strict=True):
        heading(sheet, place, name, note)
        axes = sheet.axes(place.left, place.top, place.right, place.height)
        _frame(axes, left, theme, named=place.column == 0)
        if left:
            _reach(axes, left, harmless, theme)
        for guard, (colour, look) in reversed(list(zip(found, looks, strict=True))):
            _draw_guard(axes, guard, left, colour, look, theme, mine=guard is ours(model))
    return sheet.figure


def _style(colour: str, look: Look, *, mine: bool) -> dict[str, Any]:
    return {"color": colour, "linestyle": look.dash, "linewidth": 2.6 if mine else 1.6}


def _curve(guard: GuardResult) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    assert guard.roc is not None
    both = np.array([guard.roc.fpr, guard.roc.tpr], dtype=np.float64).reshape(2, -1)
    fpr, tpr = both[:, np.isfinite(both).all(axis=0)]
    return fpr, tpr


def _frame(axes: Any, left: float, theme: Theme, *, named: bool) -> None:
    ticks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks(ticks, [f"{100 * tick:g}" if tick < 1 else "100 %" for tick in ticks])
    axes.set_ylabel("successful attacks found", labelpad=3)
    axes.set_xlabel("false alarms among harmless generations", labelpad=3)
    axes.grid(color=theme.rule, linewidth=1)
    chance = np.geomspace(left, 1, 100) if left else np.array([0.0, 1.0])
    axes.plot(chance, chance, color=theme.quiet, linewidth=1, linestyle=(0, (2, 2)))
    if not left:
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks(ticks, [f"{100 * tick:g}" if tick < 1 else "100 %" for tick in ticks])
        axes.text(0.6, 0.55, "chance", color=theme.quiet, size=8.5, va="top")
        return
    axes.set_xscale("log")
    axes.set_xlim(left, 1.0)
    decades = [10.0**power for power in range(math.ceil(math.log10(left)), 1)]
    axes.set_xticks(decades, [words.share(tick).replace(".0 ", " ") for tick in decades])
    axes.minorticks_off()


def _reach(axes: Any, left: float, harmless: int, theme: Theme) -> None:
    """Marks the smallest rate that so many harmless generations can show at all."""
    if not harmless:
        return
    smallest = 1 / harmless
    axes.axvspan(left, max(smallest, left), color=theme.rule, alpha=0.55, linewidth=0)
    axes.axvline(smallest, color=theme.quiet, linewidth=1)


def _draw_guard(
    axes: Any, guard: GuardResult, left: float, colour: str, look: Look, theme: Theme, *, mine: bool
) -> None:
    fpr, tpr = _curve(guard)
    axes.plot(np.maximum(fpr, left), tpr, zorder=4 if mine else 3, **_style(colour, look, mine=mine))
    if guard.removed.n and guard.false_alarm.n:
        axes.plot(
            max(guard.false_alarm.value, left),
            guard.removed.value,
            marker="o",
            markersize=8 if mine else 6,
            markerfacecolor=colour,
            markeredgecolor=theme.paper,
            markeredgewidth=1.4,
            linestyle="none",
            zorder=6,
            clip_on=False,
        )
