"""A table as plain text cells, which the page and the Markdown file both show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.rates import Rate
from sri_sdk.report import words
from sri_sdk.report.evaluation_words import area, area_interval, measured, percent


@dataclass(frozen=True, slots=True)
class Cell:
    """One number, and what it rests on."""

    value: str
    detail: str = ""
    """Interval and n, or why there is none."""
    note: str = ""
    """Source or method: shown on the page, too long for a README."""


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


def rate_cell(rate: Rate | None) -> Cell:
    """A share with its interval and k of n; a dash for None, `no cases` for n = 0."""
    if rate is None or not rate.n:
        return Cell(percent(rate))
    return Cell(percent(rate), _joined(f"{100 * rate.low:.1f} to {100 * rate.high:.1f}", f"{rate.k:,} of {rate.n:,}"))


def area_cell(found: Auroc | None, note: str = "") -> Cell:
    """An AUROC with its interval, n and note; a dash with the note if there is none."""
    if found is None or not measured(found):
        return Cell(words.DASH, note)
    detail = _joined(area_interval(found), f"n = {found.positives:,} + {found.negatives:,}")
    return Cell(area(found), f"{detail}; {note}" if note else detail)


def _joined(interval: str, counts: str) -> str:
    """Both in one line, or one in each of two: no-break spaces keep either whole."""
    return f"{interval}; {counts}".replace(" ", "\u00a0").replace(";\u00a0", "; ")


def keys(found: Iterable[Iterable[str]]) -> list[str]:
    """All keys, each once, in the order they appear."""
    return list(dict.fromkeys(key for some in found for key in some))
