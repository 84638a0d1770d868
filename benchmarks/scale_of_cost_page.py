"""The page and the picture of `scale_of_cost.py`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes

from sri_sdk.report.drawing import Drawing, Panel, render
from sri_sdk.report.looks import LIGHT, Theme

LINEAR = 0.15
"""Of a value: what a straight line may be off by."""


def page(found: dict[str, Any]) -> str:
    """The results as a page."""
    big, usual, mib = found["memory"], found["asked"]["usual"], 2**20
    shared = found["asked"]["shared"]
    rows = "\n".join(_row(name, each) for name, each in found["time"].items())
    resident = ", ".join(f"{count}: {value / mib:.0f}" for count, value in big["resident"].items())
    size = big["big"]
    return f"""# How the cost of watching grows

A masked model of random weights under a guard with the final rule. Usual size: {usual["steps"]} steps, {usual["rows"]} request, {usual["columns"]} column, width {usual["width"]}, {usual["blocks"]} blocks, {usual["tokens"]} tokens.
One dimension grows at a time. Milliseconds of processor time inside the tap per generation, verdicts included; with threads, of all of them together, each a generation of {shared["steps"]} steps on one model of {shared["blocks"]} blocks: what
the process needed beyond the same generations without a watch. The model does as little as a model can, so caches stay warm: between the layers of a large model each call costs more ([The tap in each family's shape](README.md)).
Medians (95 % bootstrap interval) of n rounds in which all sizes take turns; the line is fitted to each round, in shares of the value. Numbers: `scale_of_cost.json`.

    python benchmarks/scale_of_cost.py --fresh --keep

| what grows | milliseconds | n | each one more costs | and at none | linear? |
|---|---|---|---|---|---|
{rows}

Linear: the line through the medians is off by no more than {LINEAR:.0%} of any of them.

![Milliseconds against each dimension, with the straight lines](scale_of_cost.svg)

Memory at {size["steps"]} steps, {size["rows"]} requests, {size["columns"]} columns of width {size["width"]}: the process rose by {big["with"] / mib:.0f} MiB with the watch and {big["without"] / mib:.0f} MiB without; the vectors themselves take {big["vectors"] / mib:.0f} MiB.
Resident memory in MiB after so many watched generations of one process: {resident}.
"""  # noqa: E501


def _row(name: str, each: dict[str, Any]) -> str:
    cost = ", ".join(f"{size}: {_spread(point)}" for size, point in each["points"].items())
    verdict = "yes" if each["off"] <= LINEAR else f"no: {_why(each)}"
    return (
        f"| {name} | {cost} | {each['n']} | {_spread(each['slope'])} | {_spread(each['base'])} | {verdict}, off by "
        f"{each['off']:.0%} |"
    )


def _why(each: dict[str, Any]) -> str:
    """How the cost bends, from its slopes between neighbours."""
    sizes = [float(size) for size in each["points"]]
    costs = [point["median"] for point in each["points"].values()]
    pairs = list(zip(sizes, costs, strict=True))
    slopes = [(d - b) / (c - a) for (a, b), (c, d) in pairwise(pairs)]
    told = " then ".join(f"{slope:.2g}" for slope in slopes)
    bend = "steeper" if slopes[-1] > slopes[0] else "flatter"
    return f"{bend} as it grows ({told} ms each)"


def _spread(each: dict[str, Any]) -> str:
    return f"{_number(each['median'])} ({_number(each['low'])} to {_number(each['high'])})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 10 else f"{value:.2g}"


def picture(found: dict[str, Any]) -> bytes:
    """One panel for each dimension, as SVG."""
    panels = tuple(Panel(_panel(each), name) for name, each in found["time"].items())
    alt = "Milliseconds against each dimension, with the straight lines"
    return render(Drawing("How the cost of watching grows", alt, panels, height=2.2, columns=4), LIGHT, "svg")


def _panel(each: dict[str, Any]) -> Callable[[Axes, Theme], None]:
    def draw(axes: Axes, theme: Theme) -> None:
        sizes = [int(size) for size in each["points"]]
        for size, point in zip(sizes, each["points"].values(), strict=True):
            axes.plot([size, size], [point["low"], point["high"]], color=theme.accent, linewidth=4, alpha=0.38)
            axes.plot(size, point["median"], "o", color=theme.accent, zorder=5)
        base, slope = each["base"]["median"], each["slope"]["median"]
        ends = [0, max(sizes)]
        axes.plot(ends, [base + slope * end for end in ends], color=theme.quiet, linewidth=1, linestyle=(0, (2, 2)))
        axes.set(xlim=(0, 1.06 * max(sizes)), xticks=sizes if len(sizes) < 4 else sizes[-3:], ylabel="ms")
        axes.set_ylim(bottom=0)

    return draw
