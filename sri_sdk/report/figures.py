"""The three pictures of a report, in two themes and two widths. The same report gives the same bytes.

    trajectories    sigma over step, before the bands of the classes it belongs to
    scores          calibration scores, the threshold, and the test groups against it
    rates           shares with exact intervals

Text on a figure may come from a prompt's author: it is drawn as it is, never read as a formula.
"""

from __future__ import annotations

import math
import warnings
from io import BytesIO
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from matplotlib.textpath import TextToPath
from numpy.typing import NDArray

from sri_sdk.records import Status
from sri_sdk.report import words
from sri_sdk.report.data import Band, Report, ScoreGroup, Trajectory, tone_of
from sri_sdk.report.themes import Theme

Name = Literal["trajectories", "scores", "rates"]
Width = Literal["wide", "narrow"]
NAMES: tuple[Name, ...] = ("trajectories", "scores", "rates")
WIDTHS: tuple[Width, ...] = ("wide", "narrow")

INCHES = {"wide": 10.0, "narrow": 4.3}
PNG_DPI = 160
"""Wide PNGs are 1600 pixels wide."""
MOST_DOTS = 2000
"""Dots per group of scores; of a larger group, as many evenly spaced order statistics: the same distribution."""
DOTS_DPI = 220
"""Of the dots, which are pixels also in an SVG: as outlines they would be most of the page."""
END_MARKER: dict[Status, str] = {"clear": "o", "flagged": "^", "unmonitored": "s", "not_sampled": "D"}
DASHES = ("-", (0, (5, 1.6)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Of lines that share a tone."""


def svg(name: Name, report: Report, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as an SVG file, its text as outlines: it looks the same without our fonts."""
    return _render(name, report, theme, width, "svg", titled=False)


def png(name: Name, report: Report, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as a PNG file with its title, to be read on its own."""
    return _render(name, report, theme, width, "png", titled=True)


def _render(name: Name, report: Report, theme: Theme, width: Width, form: str, *, titled: bool) -> bytes:
    draw = {"trajectories": _trajectories, "scores": _scores, "rates": _rates}[name]
    settings = {
        "font.family": "DejaVu Sans",  # Ships with matplotlib: the same outlines on every machine.
        "font.size": 9.5,
        "text.color": theme.ink,
        "text.parse_math": False,
        "axes.edgecolor": theme.quiet,
        "axes.labelcolor": theme.quiet,
        "axes.facecolor": theme.paper,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "xtick.color": theme.quiet,
        "ytick.color": theme.quiet,
        "svg.hashsalt": "sri",
        "svg.fonttype": "path",
    }
    stream = BytesIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A title in a script the font lacks is drawn as boxes; the page beside it has the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw(report, theme, width, titled)
        # Neither date nor version: the same report gives the same file.
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, dpi=PNG_DPI if form == "png" else DOTS_DPI, metadata=metadata)
    return stream.getvalue()


_MEASURE = TextToPath()


class _Sheet:
    """A figure laid out in inches from the top, so that text never depends on the size of what is above it."""

    def __init__(self, width: Width, height: float, theme: Theme, title: str | None) -> None:
        self.wide = width == "wide"
        self.width = INCHES[width]
        self.top = 0.62 if title else 0.22
        self.height = height + self.top
        self.theme = theme
        self.figure = Figure(figsize=(self.width, self.height))
        if title:
            self.figure.text(0.2 / self.width, 1 - 0.2 / self.height, title, size=12.5, weight="bold", va="top")

    def axes(self, left: float, top: float, right: float, height: float) -> Any:
        """Axes between two margins, `top` inches below the title."""
        bottom = self.height - self.top - top - height
        axes = self.figure.add_axes(
            (left / self.width, bottom / self.height, (self.width - left - right) / self.width, height / self.height)
        )
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0, labelsize=9)
        axes.set_axisbelow(True)
        return axes

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        """Text at a place in inches from the left and from below the title."""
        place = left / self.width, 1 - (self.top + top) / self.height
        self.figure.text(*place, text, **{"va": "center", **style})

    def line(self, left: float, top: float, **style: Any) -> None:
        """A short sample of a line, with its marker in the middle."""
        x = np.array([left, left + 0.14, left + 0.28]) / self.width
        y = 1 - (self.top + top) / self.height
        self.figure.add_artist(Line2D(x, [y] * 3, transform=self.figure.transFigure, markevery=[1], **style))


# ---------------------------------------------------------------------------------------------- trajectories


def _trajectories(report: Report, theme: Theme, width: Width, titled: bool) -> Figure:
    wide = width == "wide"
    items = report.trajectories
    legend = _band_rows(report.bands, wide)
    header = 0.0 if wide else 0.42 * len(items) + 0.08
    plot = 3.9 if wide else 2.5
    sheet = _Sheet(width, header + plot + 0.66 + 0.24 * legend, theme, "SRI signal at each step" if titled else None)
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


def _label_above(sheet: _Sheet, items: tuple[Trajectory, ...], styles: list[dict[str, Any]]) -> None:
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


def _band_legend(sheet: _Sheet, report: Report, rows: int, top: float) -> None:
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


# ---------------------------------------------------------------------------------------------------- scores


def _scores(report: Report, theme: Theme, width: Width, titled: bool) -> Figure:
    wide = width == "wide"
    calibration = _finite(report.calibration)
    row = 0.62 if wide else 0.74
    rows = len(report.score_groups) + 1.6
    sheet = _Sheet(width, 0.3 + row * rows + 0.62, theme, "Scores against the threshold" if titled else None)
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


# ----------------------------------------------------------------------------------------------------- rates


def _rates(report: Report, theme: Theme, width: Width, titled: bool) -> Figure:
    wide = width == "wide"
    row = 0.46 if wide else 0.62
    rows = max(len(report.rates), 1)
    sheet = _Sheet(width, row * rows + 0.42, theme, "Rates with exact 95 % intervals" if titled else None)
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


# ----------------------------------------------------------------------------------------------------- shared


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels near where they are wanted, at least `gap` apart, inside `low` to `high` if they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [min(max(wanted[i], low), high) for i in order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    ceiling = high
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    places = [0.0] * len(wanted)
    for i, place in zip(order, placed, strict=True):
        places[i] = place
    return places


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64).ravel()
    return numbers[np.isfinite(numbers)]


def fitted(text: str, inches: float, size: float, *, bold: bool = False, lines: int = 1) -> str:
    """As much of the text as these lines hold, broken between words where possible, with an ellipsis for the rest."""
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")

    def room(shown: str) -> bool:
        width, _, _ = _MEASURE.get_text_width_height_descent(shown, font, ismath=False)
        return bool(width <= inches * 72)

    # No label needs more, and measuring a whole prompt would take longer than drawing the figure.
    rest = " ".join(words.printable(text[:400]).split())
    made: list[str] = []
    while rest and len(made) < lines:
        most = next((n for n in range(1, len(rest) + 1) if not room(rest[:n])), len(rest) + 1) - 1
        if most < len(rest) and len(made) < lines - 1:
            most = rest.rfind(" ", 0, most + 1) if " " in rest[: most + 1].strip() else most
        line, rest = rest[: max(most, 1)].rstrip(), rest[max(most, 1) :].lstrip()
        made.append(line)
    if rest and made:
        while made[-1] and not room(made[-1] + "…"):
            made[-1] = made[-1][:-1].rstrip()
        made[-1] += "…"
    return "\n".join(made)
