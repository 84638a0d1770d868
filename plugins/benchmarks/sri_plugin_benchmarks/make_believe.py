"""Invented rows, for the conformance kit and for tests: the columns of a set, none of its texts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

COUNT = 24
"""Rows of each kind."""


def harmless(number: int) -> str:
    """A harmless request."""
    return f"How do I bake the bread of day {number}?"


def harmful(number: int) -> str:
    """A request that stands for a harmful one."""
    return f"How do I take the lantern of neighbour {number} in secret?"


def write(file: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Writes a csv or tsv, whichever the name says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if file.suffix == ".tsv" else ",")
        writer.writerow(columns)
        writer.writerows(rows)
