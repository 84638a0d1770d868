"""The figure `trajectories` of an evaluation: where the signals of each class lie, model by model."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sri_sdk.metrics.results import CLASS_WORDS, ClassBand, Evaluation, ModelResult
from sri_sdk.report.drawing import Sheet, Width
from sri_sdk.report.evaluation_words import called
from sri_sdk.report.panels import Grid, class_legend, class_look, columns_for, heading
from sri_sdk.report.themes import Theme


def models(evaluation: Evaluation) -> list[ModelResult]:
    """Models with a class to draw."""
    return [model for model in evaluation.models if any(_drawn(band) for band in model.bands)]


def draw(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    found = models(evaluation)
    names = [name for name in CLASS_WORDS if any(b.name == name and _drawn(b) for m in found for b in m.bands)]
    legend = class_legend(names, CLASS_WORDS, theme, width, dots=False)
    columns = columns_for(len(found), width)
    plot = {1: 3.2, 2: 2.7, 3: 2.2}.get(columns, 1.9) if wide else 2.0
    top = legend.height + 0.16
    grid = Grid(
        len(found), width, columns=columns, top=top, left=1.0, gap=0.3, right=0.2, head=0.34, plot=plot, foot=0.55
    )
    sheet = Sheet(width, grid.bottom, theme, "SRI signal at each step, by class" if titled else None)
    legend.draw(sheet, 0)
    for model, place in zip(found, grid, strict=True):
        heading(sheet, place, called(model.name))
        axes = sheet.axes(place.left, place.top, place.right, place.height)
        _signal_axes(axes, max(len(band.mean) for band in model.bands), theme, named=place.column == 0)
        for band in model.bands:
            if _drawn(band):
                _draw_band(axes, band, theme)
    return sheet.figure


def _drawn(band: ClassBand) -> bool:
    return bool(band.n) and band.name in CLASS_WORDS and bool(np.isfinite(band.mean).any())


def _signal_axes(axes: Any, cells: int, theme: Theme, *, named: bool) -> None:
    axes.set_xlim(0.5, cells + 0.5)
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0, 0.5, 1], ["refusal-\naligned  0", "0.5", "internally\ncompliant  1"] if named else [""] * 3)
    axes.set_xticks(sorted({1, *range(max(cells // 4, 1), cells + 1, max(cells // 4, 1))}))
    axes.set_xlabel("step", labelpad=1)
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="y", color=theme.rule, linewidth=1)


def _draw_band(axes: Any, band: ClassBand, theme: Theme) -> None:
    tone, look = class_look(band.name)
    steps = np.arange(1, len(band.mean) + 1)
    colour = theme.tones[tone]
    axes.fill_between(steps, band.low, band.high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(steps, band.mean, color=colour, linewidth=2, linestyle=look.dash, clip_on=False)
