"""The figures `separation` and `unseen`: AUROC by signal, and on attack families the detector never learnt from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from sri_sdk.metrics.results import Evaluation, ModelResult, Separation
from sri_sdk.report.drawing import Sheet, Width, fitted, text_width
from sri_sdk.report.evaluation_words import area, called
from sri_sdk.report.panels import Grid, columns_for, heading, whisker
from sri_sdk.report.themes import Theme

ROW = 0.29
"""Inches of one row."""


def draw_signals(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """AUROC by signal: text, first step, each tapped layer."""
    title = "Separation of attacks from harmless generations, by signal (AUROC)" if titled else None
    return _draw([(m, m.separations) for m in evaluation.models if m.separations], theme, width, title)


def draw_unseen(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """AUROC by family of attacks, of a detector that learnt from the others."""
    title = "Families of attacks the detector never learnt from (AUROC)" if titled else None
    return _draw([(m, m.unseen) for m in evaluation.models if m.unseen], theme, width, title)


def _draw(
    found: Sequence[tuple[ModelResult, Sequence[Separation]]], theme: Theme, width: Width, title: str | None
) -> Figure:
    names = list(dict.fromkeys(item.name for _, items in found for item in items))
    labels = min(1.75, 0.35 + max(text_width(called(name), 9) for name in names))
    grid = Grid(
        len(found),
        width,
        columns=columns_for(len(found), width),
        top=0,
        left=labels,
        gap=0.75,
        right=0.75,
        head=0.34,
        plot=ROW * len(names),
        foot=0.45,
    )
    sheet = Sheet(width, grid.bottom, theme, title)
    low = _lowest([item for _, items in found for item in items])
    for (model, items), place in zip(found, grid, strict=True):
        heading(sheet, place, called(model.name))
        axes = sheet.axes(place.left, place.top, place.right, place.height)
        _frame(axes, low, len(names), theme)
        by_name = {item.name: item for item in items}
        for row, name in enumerate(names):
            if place.column == 0:
                _label(axes, row, fitted(called(name), labels - 0.3, 9))
            if name in by_name:
                _draw_row(axes, row, by_name[name], theme)
    return sheet.figure


def _lowest(items: Sequence[Separation]) -> float:
    """Left end of the axis: 0.4, or lower where an interval reaches below it."""
    ends = [item.auroc.low for item in items if item.auroc is not None and math.isfinite(item.auroc.low)]
    return max(0.0, math.floor(10 * min([0.4, *ends])) / 10)


def _frame(axes: Any, low: float, rows: int, theme: Theme) -> None:
    axes.set_xlim(low, 1.0)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xticks([tick for tick in (0, 0.25, 0.5, 0.75, 1) if tick >= low])
    axes.set_xticklabels([f"{tick:g}" for tick in axes.get_xticks()])
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="x", color=theme.rule, linewidth=1)
    axes.axvline(0.5, color=theme.quiet, linewidth=1, linestyle=(0, (2, 2)))


def _label(axes: Any, row: int, text: str) -> None:
    axes.annotate(
        text,
        (0, row),
        (-8, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        va="center",
        size=9,
        annotation_clip=False,
    )


def _draw_row(axes: Any, row: int, item: Separation, theme: Theme) -> None:
    found = item.auroc
    axes.annotate(
        area(found),
        (1, row),
        (9, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="left",
        va="center",
        size=8.5,
        annotation_clip=False,
    )
    if found is None or not math.isfinite(found.value):
        return
    if math.isfinite(found.low) and math.isfinite(found.high):
        whisker(axes, found.low, found.high, row, theme.accent)
    axes.plot(
        found.value,
        row,
        marker="o",
        markersize=5.5,
        color=theme.accent,
        markeredgecolor=theme.paper,
        clip_on=False,
        zorder=5,
    )
