"""The figure `maps`: signals in the planes of LDA and PCA, whose axes were fitted on other generations."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sri_sdk.metrics.results import CLASS_WORDS, Evaluation, ModelResult, Points, Projection
from sri_sdk.report.drawing import Sheet, Width, fitted
from sri_sdk.report.evaluation_words import called, leading
from sri_sdk.report.panels import Grid, Place, class_legend, class_look, heading
from sri_sdk.report.themes import Theme

MOST_LARGE, MOST_SMALL = 500, 250
"""Dots of one class on one map; of a larger class, as many at even distances in its order."""

DOTS = 2.0
"""Z-order of the dots; what lies above stays sharp."""


def models(evaluation: Evaluation) -> list[ModelResult]:
    """Models with a map, the one the report begins with before the others."""
    first = leading(evaluation)
    return sorted((m for m in evaluation.models if m.projections), key=lambda m: m is not first)


def draw(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    found = models(evaluation)
    names = [name for name in CLASS_WORDS if any(p.name == name and p.x for p in _all_points(found))]
    legend = class_legend(names, CLASS_WORDS, theme, width, dots=True)
    large, small = _grids(found, width, legend.height + 0.12)
    bottom = small.bottom if small else large.bottom
    sheet = Sheet(width, bottom, theme, "Signals in the plane" if titled else None)
    legend.draw(sheet, 0)
    _draw_model(sheet, found[0], [large[at] for at in range(large.count)], large=True)
    if small:
        at = 0
        for model in found[1:]:
            _draw_model(sheet, model, [small[at + i] for i in range(_pair(found))], large=False)
            at += _pair(found)
    return sheet.figure


def _grids(models: list[ModelResult], width: Width, top: float) -> tuple[Grid, Grid | None]:
    wide = width == "wide"
    count = len(models[0].projections)
    shape: dict[str, Any] = {"left": 0.45, "right": 0.2, "gap": 0.55}
    large = Grid(
        count, width, columns=2 if wide else 1, top=top, head=0.62, plot=3.2 if wide else 2.5, foot=0.4, **shape
    )
    if len(models) == 1:
        return large, None
    pair = _pair(models)
    columns = (pair if pair > 2 else 2 * pair) if wide else pair
    small = Grid(
        pair * (len(models) - 1),
        width,
        columns=columns,
        top=large.bottom + 0.1,
        head=0.56,
        plot=1.6 if wide else 1.5,
        foot=0.34,
        left=0.45,
        right=0.2,
        gap=0.35,
    )
    return large, small


def _pair(models: list[ModelResult]) -> int:
    """Maps of one of the small models: as many as the one with most has."""
    return max(len(model.projections) for model in models[1:])


def _draw_model(sheet: Sheet, model: ModelResult, places: list[Place], *, large: bool) -> None:
    for place, projection in zip(places, model.projections, strict=False):
        axes = sheet.axes(place.left, place.top, place.right, place.height)
        most = MOST_LARGE if large else MOST_SMALL
        shown = sum(min(len(points.x), most) for points in projection.points)
        if large:
            note = f"axes fitted on {projection.fitted_on:,} generations; the {shown:,} drawn are others"
            heading(sheet, place, f"{called(model.name)}: {projection.method}", note, size=10)
        else:
            note = f"{projection.method}, fitted on {projection.fitted_on:,}"
            heading(sheet, place, called(model.name), note, size=9)
        _draw_map(axes, projection, sheet, place, most=most, large=large)


def _draw_map(axes: Any, projection: Projection, sheet: Sheet, place: Place, *, most: int, large: bool) -> None:
    theme = sheet.theme
    axes.set_xticks([])
    axes.set_yticks([])
    # One image for all dots, not one for each class.
    axes.set_rasterization_zorder(DOTS + 0.01)
    for side in ("left", "bottom", "top", "right"):
        axes.spines[side].set_visible(True)
        axes.spines[side].set_color(theme.rule)
    # Small classes last: they would vanish below a large one.
    for points in sorted(projection.points, key=lambda p: -len(p.x)):
        if points.name in CLASS_WORDS:
            _draw_points(axes, points, theme, most, 4.4 if large else 3.2)
    room = sheet.width - place.left - place.right
    size = 8.5 if large else 7.5
    first, second = (*projection.axes, "", "")[:2]
    axes.set_xlabel(fitted(first, room, size), size=size, labelpad=3)
    axes.set_ylabel(fitted(second, place.height, size), size=size, labelpad=3)


def _draw_points(axes: Any, points: Points, theme: Theme, most: int, size: float) -> None:
    tone, look = class_look(points.name)
    xy = np.array([points.x, points.y], dtype=np.float64)
    xy = xy[:, np.isfinite(xy).all(axis=0)]
    if xy.shape[1] > most:
        xy = xy[:, np.linspace(0, xy.shape[1] - 1, most).round().astype(int)]
    axes.plot(
        *xy,
        linestyle="none",
        marker=look.marker,
        markersize=size,
        markeredgewidth=0.3,
        markeredgecolor=theme.paper,
        color=theme.tones[tone],
        alpha=0.62,
        zorder=DOTS,
    )


def _all_points(models: list[ModelResult]) -> list[Points]:
    return [points for model in models for projection in model.projections for points in projection.points]
