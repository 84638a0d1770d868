"""The figure `costs`: what each guard removes against the time it takes, on the model the report begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from sri_sdk.metrics.results import Evaluation, GuardResult
from sri_sdk.report.drawing import INCHES, Sheet, Width, fitted, text_width
from sri_sdk.report.evaluation_words import called, leading, ordered, overhead, percent
from sri_sdk.report.panels import Entry, Legend, series
from sri_sdk.report.themes import Theme

MARKERS = {"hidden states": "o", "prompt": "s", "response": "^", "drafts": "D"}
"""What a guard reads -> its marker."""
LABEL = 1.9
"""Inches of a label at most."""

Box = tuple[float, float, float, float]
"""Left, right, bottom, top, in inches of the axes."""


def guards(evaluation: Evaluation) -> tuple[GuardResult, ...]:
    """Guards of the leading model on which attacks were counted."""
    model = leading(evaluation)
    return () if model is None else tuple(guard for guard in ordered(model) if guard.removed.n)


def draw(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    model, found = leading(evaluation), guards(evaluation)
    assert model is not None
    timed = [guard for guard in found if _timed(guard)]
    others = [guard for guard in found if not _timed(guard)]
    reads = list(dict.fromkeys(guard.reads for guard in timed))
    legend = Legend([Entry(f"reads {name}", _sample(name, theme)) for name in reads], width, dots=True)
    left, right, plot = 0.75, 0.3, 3.0 if wide else 3.2
    top = legend.height + 0.14
    foot = 0.62 if timed else -plot
    lines = 1 if wide else 2
    row = 0.07 + 0.17 * lines
    listed = row * len(others) + 0.3 if others else 0.0
    title = f"What guards remove against what they cost, {called(model.name)}"
    sheet = Sheet(width, top + plot + foot + listed, theme, title if titled else None)
    legend.draw(sheet, 0)
    if timed:
        axes = sheet.axes(left, top, right, plot)
        low, high = _range(timed)
        _frame(axes, low, high, theme)
        room = INCHES[width] - left - right
        spots = [(_x(guard, low, high) * room, guard.removed.value * plot) for guard in timed]
        for guard, spot, box in zip(timed, spots, label_boxes(timed, spots, room, plot), strict=True):
            _draw_guard(axes, guard, series(ordered(model).index(guard), theme)[0], spot, box, theme)
    if others:
        sheet.text(0.2, top + plot + foot + 0.12, "Not on the scale of time:", size=9, color=theme.quiet)
    for at, guard in enumerate(others):
        text = f"{called(guard.name)} removes {percent(guard.removed)}, {_alarms(guard)}; overhead {overhead(guard)}"
        shown = fitted(text, INCHES[width] - 0.4, 9, lines=lines)
        sheet.text(0.2, top + plot + foot + 0.28 + row * at, shown, size=9, va="top")
    return sheet.figure


def _timed(guard: GuardResult) -> bool:
    return guard.overhead is not None and math.isfinite(guard.overhead) and guard.overhead > 0


def _alarms(guard: GuardResult) -> str:
    return f"{percent(guard.false_alarm)} false alarms" if guard.false_alarm.n else "false alarms not counted"


def _sample(reads: str, theme: Theme) -> dict[str, Any]:
    marker = MARKERS.get(reads, "v")
    return {"marker": marker, "markersize": 7, "markeredgewidth": 0, "linestyle": "none", "color": theme.quiet}


def _range(timed: Sequence[GuardResult]) -> tuple[float, float]:
    """Decades of the time axis, as powers of ten; at least two."""
    powers = [math.log10(guard.overhead) for guard in timed if guard.overhead]
    low, high = math.floor(min(powers)), math.ceil(max(powers))
    return float(low), float(max(high, low + 2))


def _x(guard: GuardResult, low: float, high: float) -> float:
    assert guard.overhead is not None
    return (math.log10(guard.overhead) - low) / (high - low)


def _frame(axes: Any, low: float, high: float, theme: Theme) -> None:
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    ticks = range(int(low), int(high) + 1)
    axes.set_xticks(list(ticks), [f"{100 * 10.0**tick:g} %" for tick in ticks])
    axes.tick_params(axis="x", pad=7)
    axes.set_ylabel("successful attacks removed", labelpad=3)
    axes.set_xlabel("time, as a share of the time of generation", labelpad=3)
    axes.grid(color=theme.rule, linewidth=1)


def _lines(guard: GuardResult) -> tuple[str, str]:
    return fitted(called(guard.name), LABEL, 9, bold=True), fitted(_alarms(guard), LABEL, 8.5)


def label_boxes(
    timed: Sequence[GuardResult], spots: Sequence[tuple[float, float]], room: float, plot: float
) -> list[Box]:
    """A box for each label, beside its point, clear of the other points and labels where that can be."""
    taken: list[Box] = [(x - 0.08, x + 0.08, y - 0.08, y + 0.08) for x, y in spots]
    # The intervals, too: a label across one would be hard to read.
    taken += [
        (x - 0.03, x + 0.03, g.removed.low * plot, g.removed.high * plot)
        for g, (x, _) in zip(timed, spots, strict=True)
    ]
    boxes: list[Box] = []
    for guard, (x, y) in zip(timed, spots, strict=True):
        name, alarms = _lines(guard)
        wide, tall = max(text_width(name, 9, bold=True), text_width(alarms, 8.5)), 0.34
        offsets = [0.0, *(sign * step for step in (0.12, 0.24, 0.36, 0.5, 0.7, 0.9, 1.2) for sign in (1, -1))]
        tries = [
            (left, left + wide, y + up - tall / 2, y + up + tall / 2)
            for up in offsets
            for left in (x + 0.14, x - 0.14 - wide)
        ]
        inside = [b for b in tries if b[0] >= 0.02 and b[1] <= room + 0.2 and b[2] >= 0.02 and b[3] <= plot + 0.1]
        free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
        chosen = (free or inside or tries)[0]
        taken.append(chosen)
        boxes.append(chosen)
    return boxes


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def _draw_guard(axes: Any, guard: GuardResult, colour: str, spot: tuple[float, float], box: Box, theme: Theme) -> None:
    assert guard.overhead is not None
    x = math.log10(guard.overhead)
    axes.plot(
        [x, x], [guard.removed.low, guard.removed.high], color=colour, linewidth=4, alpha=0.38, solid_capstyle="butt"
    )
    axes.plot(
        x,
        guard.removed.value,
        marker=MARKERS.get(guard.reads, "v"),
        markersize=9,
        color=colour,
        markeredgecolor=theme.paper,
        markeredgewidth=1.2,
        zorder=5,
        clip_on=False,
    )
    name, alarms = _lines(guard)
    inches = {"textcoords": "offset points", "annotation_clip": False, "zorder": 6}
    left, middle = 72 * (box[0] - spot[0]), 72 * ((box[2] + box[3]) / 2 - spot[1])
    at = (x, guard.removed.value)
    axes.annotate(name, at, (left, middle + 1), va="bottom", size=9, weight="bold", color=colour, **inches)
    axes.annotate(alarms, at, (left, middle - 1), va="top", size=8.5, color=theme.ink, **inches)
    if abs((box[2] + box[3]) / 2 - spot[1]) > 0.2:
        near = 72 * ((box[0] if box[0] > spot[0] else box[1]) - spot[0])
        axes.annotate(
            "", at, (near, middle), arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8}, **inches
        )
