"""The figures of a period: alarms, and what was not monitored, over time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sri_sdk.report.drawing import Drawing, Panel
from sri_sdk.report.looks import Theme
from sri_sdk.report.period import Period

MOST_TICKS = 8


def drawings(period: Period) -> dict[str, Drawing]:
    """Name -> figure, in the order of the page."""
    return {"alarms": _alarms(period), "coverage": _coverage(period)}


def _alarms(period: Period) -> Drawing:
    flagged = [span.flagged for span in period.spans]

    def draw(axes: Axes, theme: Theme) -> None:
        _time(axes, period)
        axes.bar(range(len(flagged)), flagged, color=theme.tones["attack"], width=0.8, label="flagged")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("generations")

    most = max(flagged, default=0)
    alt = f"Bar chart of flagged generations per {_unit(period)}: {sum(flagged):,} in all, at most {most:,} at once."
    return Drawing(f"Alarms per {_unit(period)}", alt, (Panel(draw),), 2.4)


def _coverage(period: Period) -> Drawing:
    kinds = ("clear", "flagged", "not_sampled", "unmonitored")
    counts = np.array([[getattr(span, kind) for span in period.spans] for kind in kinds], dtype=float)
    total = counts.sum(0)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)

    def draw(axes: Axes, theme: Theme) -> None:
        _time(axes, period)
        colours = {
            "clear": theme.tones["harmless"], "flagged": theme.tones["attack"], "not_sampled": theme.rule,
            "unmonitored": theme.tones["other"],
        }  # fmt: skip
        hatches = {"unmonitored": "///"}
        below = np.zeros(len(total))
        for kind, row in zip(kinds, shares, strict=True):
            axes.bar(
                range(len(row)), row, bottom=below, width=0.92, color=colours[kind], hatch=hatches.get(kind),
                edgecolor=theme.paper, linewidth=0, label=kind.replace("_", " "),
            )  # fmt: skip
            below = below + row
        # A gap is no share of anything: what sent nothing at all stays empty, and is said.
        for at in np.flatnonzero(total == 0):
            axes.plot(at, 0.02, "x", color=theme.quiet, markersize=5, clip_on=False)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))

    silent = int((total == 0).sum())
    alt = (
        f"Stacked bars of what became of traffic per {_unit(period)}, in shares: "
        + ", ".join(f"{kind.replace('_', ' ')} {int(row.sum()):,}" for kind, row in zip(kinds, counts, strict=True))
        + f". Without any generation: {silent} of {len(total)}."
    )
    caption = f"A cross: no generation at all in that {_unit(period)}."
    return Drawing("What was monitored", alt, (Panel(draw),), 2.4, caption)


def _time(axes: Axes, period: Period) -> None:
    """The x axis: times in UTC."""
    count = len(period.spans)
    axes.set_xlim(-0.6, count - 0.4)
    every = max(-(-count // MOST_TICKS), 1)
    form = "%m-%d" if period.span_hours >= 24 else "%m-%d %Hh"
    at = range(0, count, every)
    labels = [datetime.fromtimestamp(period.spans[i].begin_ms / 1000, UTC).strftime(form) for i in at]
    axes.set_xticks(list(at), labels)
    axes.set_xlabel("time, UTC")
    axes.grid(axis="y")


def _unit(period: Period) -> str:
    return _UNITS.get(period.span_hours, f"{period.span_hours:,} hours")


_UNITS = {1: "hour", 24: "day", 168: "week", 8_766: "year"}
