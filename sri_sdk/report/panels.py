"""Small multiples: where the panels of a sheet stand, a legend that wraps, and the marks that several figures share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sri_sdk.report.data import Tone
from sri_sdk.report.drawing import INCHES, Sheet, Width, fitted, text_width
from sri_sdk.report.themes import Theme

SAMPLE = 0.38
"""Inches of a legend's sample, with the space after it."""
LINE = 0.22
"""Inches of one line of a legend."""


@dataclass(frozen=True, slots=True)
class Look:
    """How one class or series is drawn, apart from its colour: it is told from others also without it."""

    dash: Any
    """As matplotlib's `linestyle`."""
    marker: str


SOLID, DASHED, DOTTED, MIXED, LONG = "-", (0, (5, 1.8)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2.2))

CLASSES: Mapping[str, tuple[Tone, Look]] = {
    "answered_harmless": ("harmless", Look(SOLID, "o")),
    "refused_harmless": ("other", Look(DOTTED, "D")),
    "refused_harmful": ("refusal", Look(DASHED, "s")),
    "successful_attack": ("attack", Look(SOLID, "^")),
}
"""Class of `results.CLASS_WORDS` -> its tone and look."""

_LOOKS = (
    Look(SOLID, "o"),
    Look(DASHED, "s"),
    Look(DOTTED, "^"),
    Look(MIXED, "D"),
    Look(LONG, "v"),
)


def series(place: int, theme: Theme) -> tuple[str, Look]:
    """Colour and look of one guard or model, by its place among them; the first is ours, in the accent."""
    colours = (theme.accent, *theme.series)
    return colours[place % len(colours)], _LOOKS[place % len(_LOOKS)]


def class_look(name: str) -> tuple[Tone, Look]:
    """Tone and look of a class; one nobody knows is drawn like `other`."""
    return CLASSES.get(name, ("other", Look(MIXED, "v")))


@dataclass(frozen=True, slots=True)
class Place:
    """One panel of a grid, in inches: from the left, from below the title, from the right, and its height."""

    row: int
    column: int
    left: float
    top: float
    right: float
    height: float


class Grid:
    """Panels of equal size, row by row."""

    def __init__(
        self,
        count: int,
        width: Width,
        *,
        columns: int,
        top: float,
        left: float,
        gap: float,
        right: float,
        head: float,
        plot: float,
        foot: float,
    ) -> None:
        """Measures the grid.

        Args:
            count: panels.
            width: of the sheet.
            columns: panels in a row.
            top: inches above the first row.
            left: inches before the first column.
            gap: inches between columns.
            right: inches after the last column.
            head: inches for the heading above a panel.
            plot: inches of a panel.
            foot: inches below a panel.
        """
        self.count, self.columns = count, max(1, min(columns, count))
        self.rows = -(-count // self.columns)
        self._top = top
        self._sheet, self._left, self._gap, self._right = INCHES[width], left, gap, right
        self._head, self._plot, self._foot = head, plot, foot
        self.panel = (self._sheet - left - right - gap * (self.columns - 1)) / self.columns
        """Inches of a panel's width."""
        self.bottom = top + self.rows * (head + plot + foot)
        """Inches from below the title to the end of the grid."""

    def __iter__(self) -> Iterator[Place]:
        return (self[at] for at in range(self.count))

    def __getitem__(self, at: int) -> Place:
        if not 0 <= at < self.count:
            raise IndexError(at)
        row, column = divmod(at, self.columns)
        left = self._left + column * (self.panel + self._gap)
        top = self._top + row * (self._head + self._plot + self._foot) + self._head
        return Place(row, column, left, top, self._sheet - left - self.panel, self._plot)


def columns_for(count: int, width: Width) -> int:
    """How many panels to put in a row: one on a narrow sheet, at most four on a wide one, in rows that fill."""
    if width == "narrow":
        return 1
    return count if count <= 4 else 3 if count <= 6 else 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a legend."""

    label: str
    style: Mapping[str, Any]
    """Of its sample, as matplotlib's Line2D takes it."""


class Legend:
    """Samples with their labels, one after the other, on as many lines as they need."""

    def __init__(
        self, entries: Sequence[Entry], width: Width, *, left: float = 0.2, size: float = 9, dots: bool = False
    ) -> None:
        """Measures the legend.

        Args:
            entries: in the order to show them.
            width: of the sheet.
            left: inches before the first sample.
            size: of the text, in points.
            dots: whether the samples are dots, which need less room than lines.
        """
        self._shift = 0.12 if dots else 0.0
        self._sample = SAMPLE - 2 * self._shift
        room = INCHES[width] - left - 0.15
        self._left, self._size = left, size
        self._placed: list[tuple[Entry, str, int, float]] = []
        row, at = 0, 0.0
        for entry in entries:
            label = fitted(entry.label, room - self._sample, size)
            needed = self._sample + text_width(label, size)
            if at and at + needed > room:
                row, at = row + 1, 0.0
            self._placed.append((entry, label, row, at))
            at += needed + 0.28
        self.height = LINE * (row + 1) if entries else 0.0

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws it, its first line `top` inches below the title."""
        for entry, label, row, at in self._placed:
            y = top + LINE * (row + 0.5)
            sheet.line(self._left + at - self._shift, y, **entry.style)
            sheet.text(self._left + at + self._sample, y, label, size=self._size)


def class_legend(names: Sequence[str], words: Mapping[str, str], theme: Theme, width: Width, *, dots: bool) -> Legend:
    """The legend of classes.

    Args:
        names: of the classes.
        words: class -> what a person calls it.
        theme: the colours.
        width: of the sheet.
        dots: whether the figure shows them as dots; else as lines.
    """
    entries = []
    for name in names:
        tone, look = class_look(name)
        style: dict[str, Any] = {"color": theme.tones[tone], "linewidth": 2.2, "linestyle": look.dash}
        if dots:
            style |= {"linestyle": "none", "marker": look.marker, "markersize": 6, "markeredgewidth": 0}
        entries.append(Entry(words.get(name, name), style))
    return Legend(entries, width, dots=dots)


def heading(sheet: Sheet, place: Place, text: str, note: str = "", *, size: float = 9.5) -> None:
    """A panel's heading: its name, and a quieter line below it."""
    room = sheet.width - place.left - place.right
    sheet.text(
        place.left,
        place.top - (0.36 if note else 0.17),
        fitted(text, room, size, bold=True),
        size=size,
        weight="bold",
    )
    if note:
        sheet.text(
            place.left, place.top - 0.17, fitted(note, room, size - 1.5), size=size - 1.5, color=sheet.theme.quiet
        )


def whisker(axes: Any, low: float, high: float, y: float, colour: str, **style: Any) -> None:
    """An interval as a thick, pale line."""
    axes.plot(
        [low, high],
        [y, y],
        **{"color": colour, "linewidth": 4, "alpha": 0.38, "solid_capstyle": "butt", "clip_on": False, **style},
    )
