"""How commands print: aligned tables for people, JSON for programs, and foreign text that cannot steer a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import click

from sri_sdk.text import STEERS
from sri_sdk.text import visible as visible

_LINES_AT_ONCE = 256
_LINES = re.compile(f"(?!\n)[{STEERS}]")


def say(line: str, *, err: bool = False) -> None:
    """Prints one line for a person; whatever is in it, it stays one line."""
    click.echo(visible(line), err=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Prints several lines, such as a table. Foreign parts went through `visible` before: line feeds are obeyed."""
    click.echo(visible(text, lines=True), err=err)


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns aligned to the left, two spaces apart; None prints as `-`, and what a cell holds stays in its cell."""
    cells = [list(headers), *[["-" if cell is None else visible(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def say_json(value: Any) -> None:
    """One JSON document in one line."""
    click.echo(json_text(value))


def say_json_lines(values: Iterable[Any]) -> None:
    """One JSON document per line, some hundred lines at a time: each call of the terminal costs as much as a line."""
    waiting = iter(values)
    while lines := [json_text(value) for value in islice(waiting, _LINES_AT_ONCE)]:
        click.echo("\n".join(lines))


def emit_json(value: Any) -> None:
    """One JSON document on standard output. NaN and infinity are refused: JSON has neither."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON with its characters as they are, but escaped where a terminal would obey them or UTF-8 has none."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    # The C0 controls are escaped already, but for the line feeds between values. Only strings hold the others.
    return _LINES.sub(lambda found: json.dumps(found[0])[1:-1], text)
