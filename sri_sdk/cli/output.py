"""How commands print: aligned tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns aligned to the left, two spaces apart; None prints as `-`."""
    cells = [list(headers), *[["-" if cell is None else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def emit_json(value: Any) -> None:
    """One JSON document on standard output. NaN and infinity are refused: JSON has neither."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
