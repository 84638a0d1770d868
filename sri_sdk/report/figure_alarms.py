"""The figure `alarms`: share of successful attacks alarmed by each step, by the rule that runs while text is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sri_sdk.metrics.results import Evaluation, GuardResult
from sri_sdk.report.drawing import Sheet, Width, fitted, spread
from sri_sdk.report.evaluation_words import called, leading, ordered, ours
from sri_sdk.report.panels import Grid, heading, series
from sri_sdk.report.themes import Theme

LABELS = 1.75
"""Inches for the names at the ends of the lines."""


@dataclass(frozen=True, slots=True)
class Line:
    """One guard on one model."""

    name: str
    guard: GuardResult
    place: int
    """Among the models, or among the guards: it decides how the line is drawn."""
    budget: int
    """Steps of one generation at most."""


def lines(evaluation: Evaluation) -> list[tuple[str, list[Line]]]:
    """Panels with something to draw: our guard on every model, every guard on the first one."""
    model = leading(evaluation)
    if model is None:
        return []
    mine = [(at, m, ours(m)) for at, m in enumerate(evaluation.models)]
    panels = [
        (
            "Our guard, model by model",
            [Line(called(m.name), g, at, m.budget) for at, m, g in mine if g is not None and _drawn(g)],
        )
    ]
    others = [Line(called(g.name), g, at, model.budget) for at, g in enumerate(ordered(model)) if _drawn(g)]
    panels.append((f"Guards on {called(model.name)}", others))
    found = [(title, made) for title, made in panels if made]
    # One model and one guard: both panels would show the same line.
    return found[:1] if len(found) == 2 and len(found[0][1]) == len(found[1][1]) == 1 else found


def draw(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    panels = lines(evaluation)
    grid = Grid(
        len(panels),
        width,
        columns=2 if wide else 1,
        top=0,
        left=0.6,
        gap=LABELS + 0.35,
        right=LABELS if wide else LABELS - 0.2,
        head=0.34,
        plot=2.7 if wide else 2.2,
        foot=0.55,
    )
    sheet = Sheet(width, grid.bottom, theme, "Successful attacks alarmed by step" if titled else None)
    for (title, made), place in zip(panels, grid, strict=True):
        heading(sheet, place, title)
        axes = sheet.axes(place.left, place.top, place.right, place.height)
        _frame(axes, max(len(line.guard.alarm_curve) for line in made), theme)
        for line in made:
            _draw_line(axes, line, theme, size=8 if len(made) <= 4 else 6)
        _label_ends(axes, made, theme, place.height)
    return sheet.figure


def _drawn(guard: GuardResult) -> bool:
    return bool(np.isfinite(np.asarray(guard.alarm_curve, dtype=np.float64)).any())


def _frame(axes: Any, cells: int, theme: Theme) -> None:
    axes.set_xlim(0.5, cells + 0.5)
    axes.set_ylim(-3, 103)
    axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    axes.set_xticks(sorted({1, *range(max(cells // 4, 1), cells + 1, max(cells // 4, 1))}))
    axes.set_xlabel("step", labelpad=1)
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="y", color=theme.rule, linewidth=1)


def _draw_line(axes: Any, line: Line, theme: Theme, *, size: float) -> None:
    colour, look = series(line.place, theme)
    curve = 100 * np.asarray(line.guard.alarm_curve, dtype=np.float64)
    steps = np.arange(1, len(curve) + 1)
    axes.plot(
        steps,
        curve,
        drawstyle="steps-post",
        color=colour,
        linestyle=look.dash,
        linewidth=2.4 if not line.place else 1.8,
    )
    median = line.guard.median_alarm_step
    if median is not None and math.isfinite(median) and line.budget:
        # The median counts steps, the curve has cells.
        cell = min(max(median * len(curve) / line.budget, 1.0), float(len(curve)))
        reached = curve[int(cell) - 1]
        if math.isfinite(reached):
            marks = {"marker": look.marker, "markersize": size, "markeredgewidth": 1.4, "zorder": 5}
            axes.plot(cell, reached, color=colour, markeredgecolor=theme.paper, clip_on=False, **marks)


def _label_ends(axes: Any, made: Sequence[Line], theme: Theme, height: float) -> None:
    ends = [_last(line.guard) for line in made]
    placed = spread(ends, 0.19 * 106 / height, low=0, high=100)
    cells = axes.get_xlim()[1] - 0.5
    for line, end, place in zip(made, ends, placed, strict=True):
        colour, _ = series(line.place, theme)
        axes.plot(
            [cells + 0.2, cells + 0.6, cells * 1.04 + 0.6], [end, end, place],
            color=colour, linewidth=1, alpha=0.7, clip_on=False,
        )  # fmt: skip
        axes.annotate(
            fitted(f"{end:.0f} %  {line.name}", LABELS - 0.4, 8.5),
            (cells * 1.04 + 0.6, place),
            (3, 0),
            textcoords="offset points",
            va="center",
            size=8.5,
            color=colour,
            annotation_clip=False,
        )


def _last(guard: GuardResult) -> float:
    curve = np.asarray(guard.alarm_curve, dtype=np.float64)
    return float(100 * curve[np.isfinite(curve)][-1])
