"""Rates and areas as table cells: the words that a page, a Markdown file and a terminal all show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import CLASS_WORDS

DASH = "–"
"""What was not measured. Never a zero."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One number, and what it rests on."""

    value: str
    interval: str = ""
    """95 % interval, in the unit of the value."""
    counts: str = ""
    """k of n, or the sizes of both sides."""
    remark: str = ""
    """How it was measured, or why it was not."""
    note: str = ""
    """Source or method: shown on the page, too long for a README."""

    @property
    def detail(self) -> str:
        """Interval, counts and remark in one line. No-break spaces keep the first two whole where it wraps."""
        numbers = (part.replace(" ", "\u00a0") for part in (self.interval, self.counts))
        return "; ".join(part for part in (*numbers, self.remark) if part)


@dataclass(frozen=True, slots=True)
class Table:
    """One table; the first column names the rows."""

    name: str
    """Lower case with hyphens, unique on a page."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    texts: frozenset[int] = frozenset()
    """Columns of words; the others hold numbers."""


Named = Sequence[tuple[str, Mapping[str, Cell]]]
"""Name of a row or a column -> its cells, by the name of the other side."""


def called(name: str) -> str:
    """A name, also where there is none."""
    return name.strip() or "unnamed"


def share(value: float) -> str:
    """A share as a percentage with one digit, more where a false-alarm rate needs them."""
    if not math.isfinite(value):
        return DASH
    return f"{100 * value:.2g} %" if 0 < value < 0.001 else f"{100 * value:.1f} %"


def percent(rate: Rate | None) -> str:
    """A rate's share, or what to say instead."""
    if rate is None:
        return DASH
    return share(rate.value) if rate.n else "no cases"


def rate_cell(rate: Rate | None) -> Cell:
    """A share with its interval and k of n; a dash for None, `no cases` for n = 0."""
    if rate is None or not rate.n:
        return Cell(percent(rate))
    return Cell(percent(rate), f"{100 * rate.low:.1f} to {100 * rate.high:.1f}", f"{rate.k:,} of {rate.n:,}")


def area(found: Auroc | None) -> str:
    """An AUROC with three digits, or a dash."""
    return f"{found.value:.3f}" if found is not None and math.isfinite(found.value) else DASH


def area_interval(found: Auroc) -> str:
    """Its 95 % interval, or a dash."""
    known = math.isfinite(found.low) and math.isfinite(found.high)
    return f"{found.low:.3f} to {found.high:.3f}" if known else DASH


def area_cell(found: Auroc | None, remark: str = "") -> Cell:
    """An AUROC with its interval, n and remark; a dash with the remark if there is none."""
    if found is None or not math.isfinite(found.value):
        return Cell(DASH, remark=remark)
    return Cell(area(found), area_interval(found), f"n = {found.positives:,} + {found.negatives:,}", remark)


def step_of(median: float | None) -> str:
    """A median step, or a dash."""
    return f"{median:g}" if median is not None and math.isfinite(median) else DASH


def keys(found: Iterable[Iterable[str]]) -> list[str]:
    """All keys, each once, in the order they appear."""
    return list(dict.fromkeys(key for some in found for key in some))


def by_row(name: str, title: str, corner: str, rows: Named, note: str = "") -> Table:
    """A table of named rows; a cell that a row does not have is a dash."""
    names = keys(cells for _, cells in rows)
    made = tuple((Cell(row), *(cells.get(key, Cell(DASH)) for key in names)) for row, cells in rows)
    return Table(name, title, (corner, *(CLASS_WORDS.get(name, called(name)) for name in names)), made, note)


def by_column(name: str, title: str, corner: str, columns: Named, note: str = "", last: str = "") -> Table:
    """The same for named columns. The row called `last` stands below the others."""
    names = sorted(keys(cells for _, cells in columns), key=lambda key: key == last)
    made = tuple((Cell(called(key)), *(cells.get(key, Cell(DASH)) for _, cells in columns)) for key in names)
    return Table(name, title, (corner, *(column for column, _ in columns)), made, note)


def rate_cells(rates: Mapping[str, Rate]) -> dict[str, Cell]:
    """Rates by name as cells."""
    return {name: rate_cell(rate) for name, rate in rates.items()}
