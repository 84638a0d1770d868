"""The figure `rates`: shares with exact intervals."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from sri_sdk.report import words
from sri_sdk.report.data import Report
from sri_sdk.report.drawing import Sheet, Width, fitted
from sri_sdk.report.themes import Theme


def draw(report: Report, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    row = 0.46 if wide else 0.62
    rows = max(len(report.rates), 1)
    sheet = Sheet(width, row * rows + 0.42, theme, "Rates with exact 95 % intervals" if titled else None)
    axes = sheet.axes(2.75 if wide else 0.25, 0, 3.35 if wide else 0.25, row * rows)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(axis="x", color=theme.rule, linewidth=1)
    axes.spines["bottom"].set_visible(False)
    for place, rate in enumerate(report.rates):
        y = place if wide else place + 0.16
        if rate.n:
            style = {"color": theme.accent, "clip_on": False, "solid_capstyle": "butt"}
            axes.plot([100 * rate.low, 100 * rate.high], [y, y], linewidth=4.5, alpha=0.38, **style)
            axes.plot(100 * rate.value, y, marker="o", markersize=7.5, markeredgecolor=theme.paper, zorder=5, **style)
        _rate_text(axes, place, rate, theme, wide)
    if not report.rates:
        axes.text(50, 0, "no rates were measured", ha="center", va="center", color=theme.quiet)
    return sheet.figure


def _rate_text(axes: Any, row: int, rate: Any, theme: Theme, wide: bool) -> None:
    place = {"transform": axes.get_yaxis_transform(), "va": "center", "clip_on": False}
    value = words.share(rate.value) if rate.n else "no cases"
    detail = f"{rate.k:,} of {rate.n:,}"
    if wide:
        axes.text(-0.03, row, fitted(rate.name, 2.45, 9.5, lines=2), ha="right", size=9.5, **place)
        axes.text(1.19, row, value, ha="right", weight="bold", size=9.5, **place)
        axes.text(
            1.22, row, f"{detail}  ({words.interval(rate)})" if rate.n else "", size=9, color=theme.quiet, **place
        )
        return
    behind = {"bbox": {"boxstyle": "square,pad=0.12", "facecolor": theme.paper, "edgecolor": "none"}}
    axes.text(0, row - 0.24, fitted(rate.name, 2.2, 9), ha="left", size=9, **behind, **place)
    shown = f"{value} · {detail}" if rate.n else value
    axes.text(1, row - 0.24, shown, ha="right", weight="bold", size=9, **behind, **place)
