"""A figure is described once, as panels. Here it becomes files: light and dark, for a page and for a phone.

The same figure gives the same bytes. Text on it may come from a prompt's author: it is drawn as it is, never read as
a formula, and cut where it is long.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from io import BytesIO
from typing import Any, Literal

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from sri_sdk.metrics.cells import called
from sri_sdk.report import words
from sri_sdk.report.looks import Theme

WIDE, NARROW = 10.0, 4.3
"""Inches. A page 1120 pixels wide shows the first a little larger than it is, a phone the second."""
DPI = {"png": 160, "svg": 150}
"""Of a PNG, which is 1600 pixels wide, and of the dots inside an SVG: as outlines they would be most of the page."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes."""

    draw: Callable[[Axes, Theme], None]
    """Draws it. What it labels stands in the legend."""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure, for every theme and width."""

    title: str
    """Above a picture that is read on its own."""
    alt: str
    """What it shows, for those who do not see it."""
    panels: tuple[Panel, ...]
    height: float
    """Inches of a panel with its title and the labels of its x axis."""
    caption: str = ""
    columns: int | None = None
    """Panels in a row; a phone has one. None = as many as fill their rows."""
    same_rows: bool = False
    """Whether panels beside each other have the same labels on their y axes; the first one's are shown."""
    own_legends: bool = False
    """Whether each panel has a legend of its own; else all share one."""


def render(drawing: Drawing, theme: Theme, form: Literal["svg", "png"], *, wide: bool = True) -> bytes:
    """The figure as a file: an SVG to stand below a heading, a PNG with its title to be read on its own."""
    style = files("sri_sdk.report") / "figures.mplstyle"
    colours = {
        **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), theme.paper),
        **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), theme.quiet),
        **dict.fromkeys(("text.color", "ytick.labelcolor"), theme.ink),
        **dict.fromkeys(("grid.color", "hatch.color"), theme.rule),
        "lines.markeredgecolor": theme.paper,
    }
    stream = BytesIO()
    with as_file(style) as path, matplotlib.style.context([path, colours]), warnings.catch_warnings():
        # A title in a script the font lacks is drawn as boxes; the page beside it has the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = _laid_out(drawing, theme, wide=wide)
        if form == "png":
            figure.suptitle(short(drawing.title, 90), x=0.012, ha="left")
            figure.set_figheight(figure.get_figheight() + 0.4)
        # Neither date nor version: the same figure gives the same file.
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, dpi=DPI[form], metadata=metadata)
    return stream.getvalue()


def short(text: str, most: int = 26) -> str:
    """As much of an untrusted text as there is room for, in one line. Never empty."""
    shown = " ".join(words.printable(called(text[:400])).split())
    shown = shown if len(shown) <= most else shown[: most - 1].rstrip() + "…"
    return f" {shown}" if shown.startswith("_") else shown  # A legend leaves out labels that begin with "_".


def wrapped(text: str, width: int = 24) -> str:
    """The same on two lines, or three where words are long."""
    return "\n".join(textwrap.wrap(short(text, 2 * width - 4), width))


def _laid_out(drawing: Drawing, theme: Theme, *, wide: bool) -> Figure:
    count = len(drawing.panels)
    columns = min(count, drawing.columns or (3 if count in (5, 6) else 4)) if wide else 1
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDE if wide else NARROW, 1), layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    # Ten bold letters take an inch; names of rows take two.
    letters = int(10 * (figure.get_figwidth() - (2 if drawing.same_rows else 0.6)) / columns) - 2
    for at, (panel, axes) in enumerate(zip(drawing.panels, places, strict=False)):
        panel.draw(axes, theme)
        if panel.title:
            axes.set_title(short(panel.title, letters))
        if drawing.same_rows and at % columns:
            axes.tick_params(labelleft=False)
    for unused in places[count:]:
        unused.set_axis_off()
    lines = _legends(figure, places[:count], wide=wide, own=drawing.own_legends)
    figure.set_figheight(rows * (drawing.height + lines[1]) + lines[0] + 0.1)
    return figure


def _legends(figure: Figure, places: list[Axes], *, wide: bool, own: bool) -> tuple[float, float]:
    """Draws legends; returns the inches they take, of the figure and of each row of panels."""
    labelled = [axes.get_legend_handles_labels() for axes in places]
    if own:
        for axes, (handles, labels) in zip(places, labelled, strict=True):
            below = axes.transAxes + ScaledTranslation(0, -0.4, figure.dpi_scale_trans)
            axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below)
        return 0.0, 0.2 * max(len(labels) for _, labels in labelled)
    shown: dict[str, Any] = {text: mark for marks, texts in labelled for mark, text in zip(marks, texts, strict=True)}
    if not shown:
        return 0.0, 0.0
    across = max(1, int((WIDE if wide else NARROW) / (0.6 + 0.075 * max(map(len, shown)))))
    figure.legend(shown.values(), shown.keys(), loc="outside lower left", ncols=across, fontsize=9 if wide else 8)
    return 0.2 * -(-len(shown) // across) + 0.15, 0.0
