"""Rows of a file: csv, tsv, json or jsonl, told apart by the end of its name. One small reader per form."""

from __future__ import annotations

import csv
import math
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sri_sdk.errors import ConfigError, did_you_mean
from sri_sdk.strict_json import JsonError, parse

LARGEST_FILE = 2**28
"""Bytes of a .json file, which is read at once."""
LONGEST_LINE = 2**24
"""Bytes of a line in a .jsonl file."""
MOST_VALUES = 2**24
SHOWN = 20
"""Mistakes of one file that a message prints; the others are counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    number: int
    """Line of the file where it ends, or its place in a JSON list, counted from 1."""
    cells: Mapping[str, Any]
    """By column: text from csv and tsv, any JSON value else."""

    def text(self, column: str) -> str:
        """A cell as text; empty where it is missing or null."""
        found = self.cells.get(column)
        # Tables in JSON say NaN where a cell is empty.
        empty = found is None or (isinstance(found, float) and math.isnan(found))
        return "" if empty else str(found)


def read_rows(file: Path, columns: Sequence[str], inside: str | None = None) -> Iterator[Row]:
    """The rows of a file, in order, one at a time.

    Args:
        file: its name ends in .csv, .tsv, .json or .jsonl.
        columns: those that must be there.
        inside: key under which a JSON file holds the list of rows.

    Raises:
        ConfigError: the file cannot be read, is of another form, or lacks a column.
    """
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"{file}: its name must end in one of {', '.join(READERS)}. Rename it after its form.")
    checked = False
    try:
        for row in reader(file, inside):
            # All rows of a table have the same columns; in JSON, the first row stands for all.
            if not checked:
                _refuse_missing(file, columns, row)
                checked = True
            yield row
    except OSError as err:
        raise ConfigError(
            f"{file}: cannot be read: {err.strerror or err}. Check the path and its permissions."
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{file}: not UTF-8 text, first at byte {err.start}. Download it again as it is.") from err
    except (csv.Error, JsonError) as err:
        why = f"not {file.suffix[1:].lower()}: {err}" if isinstance(err, csv.Error) else str(err)
        raise ConfigError(f"{file}: {why}. Download it again: it may be cut off, or a web page.") from err


def refuse(file: Path, problems: Sequence[str]) -> None:
    """Raises ConfigError with all mistakes of a file, if there are any.

    Args:
        file: where they are.
        problems: one `row 7: what is wrong` each.
    """
    if problems:
        lines = [f"{file}: {problem}" for problem in problems]
        more = f"\n... and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise ConfigError("\n".join(lines[:SHOWN]) + more, lines)


def _refuse_missing(file: Path, columns: Sequence[str], row: Row) -> None:
    missing = [column for column in columns if column not in row.cells]
    if missing:
        found = [str(column) for column in row.cells]
        raise ConfigError(
            f"{file}: column {', '.join(missing)} is missing; found: {', '.join(found)}."
            f"{did_you_mean(missing[0], found)} This may be another file, or another release of the set; see the "
            "README of sri-plugin-benchmarks."
        )


def _delimited(file: Path, delimiter: str) -> Iterator[Row]:
    # With or without the mark that some editors put in front.
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, delimiter=delimiter)
        for cells in reader:
            if None in cells or None in cells.values():
                raise csv.Error(f"line {reader.line_num} has more or fewer cells than the first line has names")
            yield Row(reader.line_num, cells)


def _json(file: Path, inside: str | None) -> Iterator[Row]:
    with file.open("rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{file}: more than {LARGEST_FILE} bytes. Write one object per line and call it .jsonl.")
    found = _parse(content.removeprefix(BOM_UTF8))
    if inside is not None and isinstance(found, dict):
        found = found.get(inside)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        where = f" under {inside!r}" if inside else ""
        raise ConfigError(f"{file}: must hold a list of objects{where}, found {type(found).__name__}.")
    yield from (Row(number, cells) for number, cells in enumerate(found, 1))


def _parse(content: bytes) -> Any:
    # Larger than what bundles and signals hold, and NaN is what some tables write for nothing.
    return parse(content, not_finite=True, values=MOST_VALUES)


def _jsonl(file: Path) -> Iterator[Row]:
    with file.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), 1):
            if len(line) > LONGEST_LINE:
                raise ConfigError(f"{file}: line {number}: more than {LONGEST_LINE} bytes. Is it one object per line?")
            line = line.removeprefix(BOM_UTF8) if number == 1 else line
            if line.strip():
                try:
                    cells = _parse(line)
                except JsonError as err:
                    raise ConfigError(f"{file}: line {number}: {err}. Download it again as it is.") from err
                if not isinstance(cells, dict):
                    raise ConfigError(f"{file}: line {number}: must be an object, found {type(cells).__name__}.")
                yield Row(number, cells)


READERS: dict[str, Callable[[Path, str | None], Iterator[Row]]] = {
    ".csv": lambda file, inside: _delimited(file, ","),
    ".tsv": lambda file, inside: _delimited(file, "\t"),
    ".json": _json,
    ".jsonl": lambda file, inside: _jsonl(file),
}
"""End of a name -> what reads it."""
