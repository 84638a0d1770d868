"""The figure `recovery`: how often attacked generations turn back, inside (IRR) and in their drafts (HRR, FRR)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import Evaluation, ModelResult
from sri_sdk.report import words
from sri_sdk.report.drawing import Sheet, Width, fitted
from sri_sdk.report.evaluation_words import called, percent
from sri_sdk.report.panels import Grid, Place, heading
from sri_sdk.report.themes import Theme

BAR, GAP, NAME = 0.24, 0.16, 0.26
"""Inches of a bar, of the space after a model's bars, and of its name above them."""

LABEL = 1.55
"""Inches before a panel, for the names of its bars."""


def models(evaluation: Evaluation) -> list[ModelResult]:
    """Models whose recovery was measured."""
    return [model for model in evaluation.models if model.internal_recovery or model.recovery]


def draw(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    found = models(evaluation)
    parts = []
    internal = [(f"σ ends < {name}", name) for name in _names(found, "internal_recovery")]
    drafts = [(name, name) for name in _names(found, "recovery")]
    if internal:
        parts.append(("Inside: internal recovery (IRR)", "internal_recovery", internal))
    if drafts:
        parts.append(("In the drafts", "recovery", drafts))
    places, bottom = _places([len(rows) for *_, rows in parts], len(found), width)
    sheet = Sheet(width, bottom, theme, "Recovery of attacked generations" if titled else None)
    for place, (title, attribute, rows) in zip(places, parts, strict=True):
        heading(sheet, place, title)
        axes = sheet.axes(place.left, place.top, place.right, place.height)
        axes.set_xlim(0, 100)
        axes.set_ylim(place.height, 0)
        axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(False)
        axes.grid(axis="x", color=theme.rule, linewidth=1)
        for at, model in enumerate(found):
            top = at * place.height / len(found)
            name = fitted(called(model.name), sheet.width - place.left - place.right, 9, bold=True)
            behind = {"boxstyle": "square,pad=0.1", "facecolor": theme.paper, "edgecolor": "none"}
            axes.text(0, top + NAME / 2, name, size=9, weight="bold", va="center", bbox=behind)
            rates: dict[str, Rate] = dict(getattr(model, attribute))
            for row, (label, key) in enumerate(rows):
                _draw_bar(axes, top + NAME + BAR * (row + 0.5), label, rates.get(key), theme, row / max(len(rows), 1))
    return sheet.figure


def _places(bars: list[int], models: int, width: Width) -> tuple[list[Place], float]:
    """Where the panels stand, and where they end: side by side and equally tall, or one below the other."""
    shape: dict[str, Any] = {"left": LABEL, "gap": LABEL + 0.7, "right": 0.75, "head": 0.3, "foot": 0.45}

    def tall(count: int) -> float:
        return models * (count * BAR + GAP + NAME)

    if width == "wide":
        grid = Grid(len(bars), width, columns=2, top=0, plot=tall(max(bars)), **shape)
        return [grid[at] for at in range(len(bars))], grid.bottom
    places, bottom = [], 0.0
    for count in bars:
        one = Grid(1, width, columns=1, top=bottom, plot=tall(count), **shape)
        places.append(one[0])
        bottom = one.bottom
    return places, bottom


def _names(models: list[ModelResult], attribute: str) -> list[str]:
    return list(dict.fromkeys(name for model in models for name in getattr(model, attribute)))


def _draw_bar(axes: Any, y: float, label: str, rate: Rate | None, theme: Theme, fade: float) -> None:
    place = {"transform": axes.get_yaxis_transform(), "va": "center", "clip_on": False, "size": 8.5}
    axes.text(-0.02, y, fitted(label, LABEL - 0.15, 8.5), ha="right", color=theme.quiet, **place)
    known = rate is not None and rate.n > 0
    axes.text(1.03, y, percent(rate) if rate is not None else words.DASH, ha="left", **place)
    if rate is None or not known:
        return
    axes.barh(y, 100 * rate.value, BAR * 0.72, color=theme.tones["refusal"], alpha=0.85 - 0.5 * fade, linewidth=0)
    axes.plot(
        [100 * rate.low, 100 * rate.high], [y, y], color=theme.ink, linewidth=1.3, solid_capstyle="butt", clip_on=False
    )
    for end in (rate.low, rate.high):
        axes.plot([100 * end] * 2, [y - 0.05, y + 0.05], color=theme.ink, linewidth=1.3, clip_on=False)
