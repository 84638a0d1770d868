"""The figure `trajectories`: sigma over step, before the bands of the classes it belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from sri_sdk.records import Status
from sri_sdk.report import words
from sri_sdk.report.data import Band, Report, Trajectory, tone_of
from sri_sdk.report.drawing import Sheet, Width, fitted, spread
from sri_sdk.report.themes import Theme

END_MARKER: dict[Status, str] = {"clear": "o", "flagged": "^", "unmonitored": "s", "not_sampled": "D"}
DASHES = ("-", (0, (5, 1.6)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Of lines that share a tone."""


def draw(report: Report, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    items = report.trajectories
    legend = _band_rows(report.bands, wide)
    header = 0.0 if wide else 0.42 * len(items) + 0.08
    plot = 3.9 if wide else 2.5
    sheet = Sheet(width, header + plot + 0.66 + 0.24 * legend, theme, "SRI signal at each step" if titled else None)
    axes = sheet.axes(1.15 if wide else 0.98, header, 2.75 if wide else 0.25, plot)
    cells = max([len(t.sigma) for t in items] + [len(b.mean) for b in report.bands] + [2])
    _signal_axes(axes, cells, theme)
    for place, band in enumerate(report.bands):
        colour = theme.tones[tone_of(band, place)]
        steps = np.arange(1, len(band.mean) + 1)
        axes.fill_between(steps, band.low, band.high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(steps, band.mean, color=colour, alpha=0.55, linewidth=1, linestyle=(0, (2, 2)))
    styles = _line_styles(items, theme)
    for item, style in zip(items, styles, strict=True):
        _draw_line(axes, item, style, theme)
    if wide:
        _label_ends(axes, items, styles, cells, theme, plot)
    else:
        _label_above(sheet, items, styles)
    _band_legend(sheet, report, legend, header + plot + 0.64)
    return sheet.figure


def _signal_axes(axes: Any, cells: int, theme: Theme) -> None:
    axes.set_xlim(0.5, cells + 0.7)
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0, 0.5, 1], ["refusal-\naligned  0", "0.5", "internally\ncompliant  1"])
    axes.set_xticks(sorted({1, *range(max(cells // 4, 1), cells + 1, max(cells // 4, 1))}))
    axes.set_xlabel("step", labelpad=2)
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="y", color=theme.rule, linewidth=1)


def _line_styles(items: tuple[Trajectory, ...], theme: Theme) -> list[dict[str, Any]]:
    tones = [tone_of(item, place) for place, item in enumerate(items)]
    return [
        {"color": theme.tones[tone], "linestyle": DASHES[tones[:place].count(tone) % len(DASHES)]}
        for place, tone in enumerate(tones)
    ]


def _draw_line(axes: Any, item: Trajectory, style: dict[str, Any], theme: Theme) -> None:
    seen = np.flatnonzero(np.isfinite(item.sigma))
    if not len(seen):
        return
    # A halo keeps lines apart where signals saturate and lie on each other.
    halo = [Stroke(linewidth=5, foreground=theme.paper), Normal()]
    axes.plot(np.arange(1, len(item.sigma) + 1), item.sigma, linewidth=2.4, path_effects=halo, clip_on=False, **style)
    alarm = item.verdict.first_alarm_step
    if alarm is not None and np.isfinite(item.sigma[item.cell(alarm)]):
        cell = item.cell(alarm)
        axes.plot(cell + 1, item.sigma[cell], clip_on=False, **_alarm_marker(style["color"], theme))


def _verdict_marker(status: Status, style: dict[str, Any], theme: Theme) -> dict[str, Any]:
    colour = style["color"]
    filled = status in ("clear", "flagged")
    return {
        "marker": END_MARKER[status],
        "markersize": 9 if status == "flagged" else 8,
        "markerfacecolor": colour if filled else theme.paper,
        "markeredgecolor": theme.paper if filled else colour,
        "markeredgewidth": 1.4,
        "linestyle": "none",
    }


def _alarm_marker(colour: str, theme: Theme) -> dict[str, Any]:
    return {
        "marker": "o",
        "markersize": 11,
        "markerfacecolor": theme.paper,
        "markeredgecolor": colour,
        "markeredgewidth": 2.4,
        "linestyle": "none",
        "zorder": 6,
    }


def _label_ends(
    axes: Any, items: tuple[Trajectory, ...], styles: list[dict[str, Any]], cells: int, theme: Theme, plot: float
) -> None:
    titles = [fitted(words.title(item), 2.05, 10, bold=True, lines=2) for item in items]
    lines = max([title.count("\n") + 2 for title in titles], default=2)
    # Inches to units of sigma: the axes show 1.1 of them.
    gap = (0.19 * lines + 0.12) * 1.1 / plot
    ends = [item.sigma[np.isfinite(item.sigma)] for item in items]
    wanted = [float(end[-1]) if len(end) else 0.5 for end in ends]
    placed = spread(wanted, gap, low=0.02, high=0.98)
    # The verdict stands at the label, not on the line: lines that end together would hide each other's.
    beyond = cells * 1.05 + 0.7
    for item, title, style, end, start, place in zip(items, titles, styles, ends, wanted, placed, strict=True):
        if len(end):
            axes.plot(
                [cells + 0.1, cells + 0.5, beyond],
                [start, start, place],
                color=style["color"],
                linewidth=1,
                alpha=0.7,
                clip_on=False,
            )
        axes.plot(beyond, place, clip_on=False, zorder=5, **_verdict_marker(item.verdict.status, style, theme))
        anchor = {
            "xy": (beyond + cells * 0.022, place),
            "xycoords": "data",
            "textcoords": "offset points",
            "annotation_clip": False,
        }
        axes.annotate(title, xytext=(0, 1), va="bottom", weight="bold", size=10, color=style["color"], **anchor)
        axes.annotate(
            fitted(words.verdict(item.verdict), 2.05, 9), xytext=(0, -2), va="top", size=9, color=theme.ink, **anchor
        )


def _label_above(sheet: Sheet, items: tuple[Trajectory, ...], styles: list[dict[str, Any]]) -> None:
    for row, (item, style) in enumerate(zip(items, styles, strict=True)):
        top = 0.08 + 0.42 * row
        marker = _verdict_marker(item.verdict.status, style, sheet.theme)
        sheet.line(0.2, top, **marker | style | {"linewidth": 2.4})
        sheet.text(
            0.6, top, fitted(words.title(item), 3.5, 9.5, bold=True), weight="bold", size=9.5, color=style["color"]
        )
        sheet.text(0.6, top + 0.17, fitted(words.verdict(item.verdict), 3.5, 9), size=9)


def _band_rows(bands: tuple[Band, ...], wide: bool) -> int:
    if not wide:
        return len(bands) + 1
    return 1 + (len(bands) > 3)


def _band_legend(sheet: Sheet, report: Report, rows: int, top: float) -> None:
    theme = sheet.theme
    keys: list[Any] = [
        Patch(
            facecolor=theme.tones[tone_of(band, place)],
            alpha=0.3,
            linewidth=0,
            label=f"{fitted(band.name, 1.9, 9)} (n = {band.n:,})",
        )
        for place, band in enumerate(report.bands)
    ]
    if any(item.verdict.first_alarm_step is not None for item in report.trajectories):
        keys.append(Line2D([], [], label="first alarm", **_alarm_marker(theme.quiet, theme) | {"markersize": 8}))
    if not keys:
        return
    intro = "Shaded, 80 % of:" if report.bands else ""
    sheet.text(0.2, top, intro, size=9, color=theme.quiet)
    left, below = (1.35, 0.0) if sheet.wide and report.bands else (0.2, 0.0 if sheet.wide else 0.2)
    sheet.figure.legend(
        handles=keys,
        loc="upper left",
        bbox_to_anchor=(left / sheet.width, 1 - (sheet.top + top + below - 0.12) / sheet.height),
        borderaxespad=0,
        ncols=-(-len(keys) // rows) if sheet.wide else 1,
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        columnspacing=1.4,
    )
