"""What the figures of a report share: a sheet measured in inches, and text that fits its place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextToPath

from sri_sdk.report import words
from sri_sdk.report.themes import Theme

Width = Literal["wide", "narrow"]
WIDTHS: tuple[Width, ...] = ("wide", "narrow")

INCHES = {"wide": 10.0, "narrow": 4.3}
MOST = 400
"""Characters of a label: none needs more, and measuring a whole prompt would take longer than drawing the figure."""
_MEASURE = TextToPath()


class Sheet:
    """A figure laid out in inches from the top, so that text never depends on the size of what is above it."""

    def __init__(self, width: Width, height: float, theme: Theme, title: str | None) -> None:
        self.wide = width == "wide"
        self.width = INCHES[width]
        self.top = 0.62 if title else 0.22
        self.height = height + self.top
        self.theme = theme
        self.figure = Figure(figsize=(self.width, self.height))
        if title:
            shown = fitted(title, self.width - 0.4, 12.5, bold=True)
            self.figure.text(0.2 / self.width, 1 - 0.2 / self.height, shown, size=12.5, weight="bold", va="top")

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


@lru_cache(maxsize=8192)  # The same names stand in every figure, theme and width.
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Inches that one line of text takes; of a very long one, its beginning."""
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    width, _, _ = _MEASURE.get_text_width_height_descent(words.printable(text[:MOST]), font, ismath=False)
    return float(width) / 72


def fitted(text: str, inches: float, size: float, *, bold: bool = False, lines: int = 1) -> str:
    """As much of the text as these lines hold, broken between words where possible, with an ellipsis for the rest."""

    def room(shown: str) -> bool:
        return text_width(shown, size, bold=bold) <= inches

    rest = " ".join(words.printable(text[:MOST]).split())
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
