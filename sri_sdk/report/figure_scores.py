"""The figure `scores`: calibration scores, the threshold, and the test groups against it."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sri_sdk.report import words
from sri_sdk.report.data import Report, ScoreGroup, tone_of
from sri_sdk.report.drawing import Sheet, Width, fitted
from sri_sdk.report.themes import Theme

MOST_DOTS = 2000
"""Dots per group of scores; of a larger group, as many evenly spaced order statistics: the same distribution."""


def draw(report: Report, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    calibration = _finite(report.calibration)
    row = 0.62 if wide else 0.74
    rows = len(report.score_groups) + 1.6
    sheet = Sheet(width, 0.3 + row * rows + 0.62, theme, "Scores against the threshold" if titled else None)
    axes = sheet.axes(2.35 if wide else 0.2, 0.3, 1.75 if wide else 0.2, row * rows)
    axes.set_ylim(rows - 1, -1)
    axes.set_yticks([])
    everything = np.concatenate([calibration, *(_finite(group.scores) for group in report.score_groups)])
    bins = _score_scale(axes, everything, report.threshold)
    axes.set_xlabel("score (higher = more suspicious)", labelpad=4)
    axes.grid(axis="x", color=theme.rule, linewidth=1)
    _row_text(axes, 0, "calibration, harmless", f"n = {len(calibration):,}", theme.quiet, theme, wide)
    if len(calibration):
        heights, edges = np.histogram(calibration, bins=bins)
        tall = 1.1 if wide else 0.5
        axes.bar(
            edges[:-1],
            -tall * heights / heights.max(),
            np.diff(edges),
            bottom=0.35,
            align="edge",
            color=theme.quiet,
            alpha=0.6,
            edgecolor=theme.paper,
            linewidth=0.5,
        )
    for place, group in enumerate(report.score_groups):
        _draw_group(axes, place + 1, group, report.threshold, theme.tones[tone_of(group, place)], theme, wide)
    if np.isfinite(report.threshold):
        axes.axvline(report.threshold, color=theme.ink, linewidth=1.4, zorder=4)
        _threshold_label(axes, report, theme, wide)
    return sheet.figure


def _draw_group(
    axes: Any, row: int, group: ScoreGroup, threshold: float, colour: str, theme: Theme, wide: bool
) -> None:
    scores = np.sort(_finite(group.scores))
    above = int((scores > threshold).sum())
    shown = f"{above:,} of {len(scores):,} above" if len(scores) else "no scores"
    _row_text(axes, row, group.name, shown, colour, theme, wide)
    if len(scores) > MOST_DOTS:
        scores = scores[np.linspace(0, len(scores) - 1, MOST_DOTS).round().astype(int)]
    # The golden ratio spreads neighbours evenly over the height of the row, and is the same in every run.
    heights = row + (0.05 if wide else 0.14) + (np.arange(len(scores)) * 0.618034 % 1 - 0.5) * 0.46
    for chosen, alpha in ((scores <= threshold, 0.4), (scores > threshold, 0.9)):
        axes.plot(
            scores[chosen],
            heights[chosen],
            linestyle="none",
            marker="o",
            markersize=3.4 if len(scores) < 400 else 2.8,
            rasterized=True,
            markeredgewidth=0,
            color=colour,
            alpha=alpha,
            clip_on=False,
        )


def _row_text(axes: Any, row: int, name: str, value: str, colour: str, theme: Theme, wide: bool) -> None:
    place = {"transform": axes.get_yaxis_transform(), "va": "center", "clip_on": False}
    if wide:
        axes.text(
            -0.025,
            row,
            fitted(name, 2.0, 9.5, bold=True, lines=2),
            ha="right",
            color=colour,
            weight="bold",
            size=9.5,
            **place,
        )
        axes.text(1.025, row, value, ha="left", color=theme.ink, size=9.5, **place)
        return
    behind = {"boxstyle": "square,pad=0.12", "facecolor": theme.paper, "edgecolor": "none"}
    style = {"bbox": behind, "zorder": 5, **place}
    axes.text(0, row - 0.34, fitted(name, 2.4, 9, bold=True), ha="left", color=colour, weight="bold", size=9, **style)
    axes.text(1, row - 0.34, value, ha="right", color=theme.ink, size=9, **style)


def _threshold_label(axes: Any, report: Report, theme: Theme, wide: bool) -> None:
    promise = f", at most {100 * report.alpha:g} % of harmless above" if wide and report.alpha is not None else ""
    where = axes.transAxes.inverted().transform(axes.transData.transform((report.threshold, 0)))[0]
    # The longest side of the axes takes the text, so it is never cut.
    side: Literal["left", "right"] = "right" if where > 0.5 else "left"
    axes.annotate(
        f"threshold {words.number(report.threshold)}{promise}",
        xy=(report.threshold, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        ha=side,
        va="bottom",
        size=9.5,
        weight="bold",
        color=theme.ink,
        annotation_clip=False,
    )


def _score_scale(axes: Any, scores: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Sets the x scale, and returns 60 bins that look equally wide on it.

    Linear unless a few scores are so large that the others would share one pixel: then logarithmic, or, where scores
    reach zero or less, linear around zero and logarithmic beyond.
    """
    reach = np.r_[scores, threshold] if np.isfinite(threshold) else scores
    if not len(reach):
        reach = np.array([0.0, 1.0])
    low, high = float(reach.min()), float(reach.max())
    middle, spread = float(np.median(reach)), float(np.subtract(*np.quantile(reach, [0.75, 0.25]))) or 1.0
    if high - middle <= 12 * spread:
        pad = 0.03 * (high - low) or 0.5
        axes.set_xlim(low - pad, high + pad)
        return np.linspace(low, max(high, low + pad), 61)

    def place(score: float) -> float:
        return math.log(score) if low > 0 else math.asinh(score / spread)

    def score(place: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.exp(place) if low > 0 else np.sinh(place) * spread
        return values

    axes.set_xscale("log") if low > 0 else axes.set_xscale("asinh", linear_width=spread)
    first, last = place(low), place(high)
    pad = 0.03 * (last - first)
    axes.set_xlim(*score(np.array([first - pad, last + pad])))
    wanted = score(np.linspace(first, last, 7))
    # Powers of ten if there are enough of them, else one digit; ticks that become equal are one tick.
    tens = {math.copysign(10.0 ** round(math.log10(abs(tick))), tick) for tick in wanted if tick}
    ticks = sorted(tick for tick in tens if low <= tick <= high)
    if len(ticks) < 4:
        ticks = sorted({float(f"{tick:.0e}") for tick in wanted})
    axes.set_xticks(ticks, [words.number(tick) for tick in ticks])
    axes.minorticks_off()
    return score(np.linspace(first, last, 61))


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64).ravel()
    return numbers[np.isfinite(numbers)]
