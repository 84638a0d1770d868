"""Axes and marks that several figures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.cells import DASH, area, percent
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import CLASS_WORDS, ClassBand
from sri_sdk.report import looks
from sri_sdk.report.drawing import short, wrapped
from sri_sdk.report.looks import Theme

QUARTERS = (0, 0.25, 0.5, 0.75, 1)


def dots(
    rows: Sequence[tuple[str, Rate | Auroc | None]], *, low: float = 0.0, chance: float | None = None
) -> Callable[[Axes, Theme], None]:
    """A chart with one row for each value: a dot, its interval as a pale line, and the number at the right.

    Args:
        rows: name and value, from the top to the bottom.
        low: left end of the axis; its right end is 1.
        chance: where chance lies, dashed; None = the values are shares, shown in percent.
    """

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set(xlim=(low, 1), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [wrapped(name) for name, _ in rows])
        if chance is None:
            shares(axes.xaxis)
        else:
            axes.set_xticks([tick for tick in QUARTERS if tick >= low])
        axes.spines["bottom"].set_visible(False)
        axes.grid(axis="x")
        if chance is not None:
            axes.axvline(chance, color=theme.quiet, linewidth=1, linestyle=(0, (2, 2)))
        for y, (_, found) in enumerate(rows):
            shown = area(found) if isinstance(found, Auroc) else percent(found)
            axes.text(1.03, y, shown, transform=axes.get_yaxis_transform(), va="center", clip_on=False)
            if found is not None and (isinstance(found, Auroc) or found.n):
                axes.plot([found.low, found.high], [y, y], color=theme.accent, linewidth=4, alpha=0.38, clip_on=False)
                axes.plot(found.value, y, "o", color=theme.accent, clip_on=False, zorder=5)

    return draw


def shares(axis: Axis) -> None:
    """Ticks of an axis of shares from 0 to 1, in percent."""
    axis.set_ticks(QUARTERS)
    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def steps(axes: Axes, cells: int) -> None:
    """The x axis of a generation: steps, counted from 1."""
    quarter = max(cells // 4, 1)
    axes.set_xlim(0.5, cells + 0.5)
    axes.set_xticks(sorted({1, *range(quarter, cells + 1, quarter)}))
    axes.set_xlabel("step")
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="y")


def sigma(axes: Axes, cells: int) -> None:
    """Axes for sigma over step."""
    steps(axes, cells)
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0, 0.5, 1], ["refusal-\naligned  0", "0.5", "internally\ncompliant  1"])


def drawn(band: ClassBand) -> bool:
    """Whether a band has something to draw."""
    return bool(band.n) and band.name in CLASS_WORDS and bool(np.isfinite(band.mean).any())


def band(axes: Axes, found: ClassBand, theme: Theme, *, label: str, line: bool) -> None:
    """The middle 80 % of one class, shaded, and its mean as a line."""
    at = np.arange(1, len(found.mean) + 1)
    look = looks.of_class(found.name, theme) | {"marker": ""}
    shade = axes.fill_between(at, found.low, found.high, color=look["color"], alpha=0.14, linewidth=0)
    if line:
        axes.plot(at, found.mean, linewidth=2, clip_on=False, label=label, **look)
    else:
        shade.set_label(label)
        axes.plot(at, found.mean, linewidth=1, alpha=0.55, **look | {"linestyle": (0, (2, 2))})


def heat_map(
    shares: Sequence[Sequence[Rate | None]], rows: Sequence[str], columns: Sequence[str]
) -> Callable[[Axes, Theme], None]:
    """A table of shares in percent, coloured by share; hatched where there is none.

    Args:
        shares: row by row.
        rows: their names; the last row sums up the others.
        columns: their names.
    """

    values = [[rate.value if rate is not None and rate.n else None for rate in row] for row in shares]
    return value_map(values, rows, columns)


def value_map(
    values: Sequence[Sequence[float | None]], rows: Sequence[str], columns: Sequence[str]
) -> Callable[[Axes, Theme], None]:
    """The same for shares that are means, from 0 to 1, and not counts."""

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        axes.set_xticks(np.arange(len(columns)) + 0.5, [short(name, 20) for name in columns])
        axes.set_yticks(np.arange(len(rows)) + 0.5, [short(name) for name in rows])
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", labelrotation=90 if sum(map(len, columns)) > 24 else 0)
        axes.spines["bottom"].set_visible(False)
        for y, x in np.ndindex(len(rows), len(columns)):
            given = values[y][x]
            known = given is not None and np.isfinite(given)
            value = given if given is not None and known else 0.0
            look = {"facecolor": shade(value, theme)} if known else {"facecolor": theme.paper, "hatch": "////"}
            axes.add_patch(Rectangle((x + 0.02, y + 0.04), 0.96, 0.92, linewidth=0, **look))  # type: ignore[arg-type]
            exact = value in (0, 1) or 0.005 <= value < 0.995
            shown = f"{100 * value:.0f}" if exact else "<1" if value < 0.5 else ">99"
            axes.text(x + 0.5, y + 0.52, shown if known else DASH, ha="center", va="center")

    return draw


def shade(value: float, theme: Theme) -> str:
    """Colour of a share from 0 to 1, never so strong that the ink on it has a contrast below 4.5."""
    mixed = 0.05 + (theme.strongest - 0.05) * value
    low, high = to_rgb(theme.paper), to_rgb(theme.tones["attack"])
    return to_hex([a + (b - a) * mixed for a, b in zip(low, high, strict=True)])
