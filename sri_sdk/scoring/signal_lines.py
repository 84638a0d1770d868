"""Signals as JSON lines, read one line at a time: a line is numbers in memory before the next is read."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from sri_sdk.detector import Domain
from sri_sdk.errors import ScoringError
from sri_sdk.records import Signals
from sri_sdk.scoring.signal_parts import (
    LONGEST_LINE,
    MOST_BYTES,
    MOST_ROWS,
    SIGNALS_FORMAT,
    Floats,
    assemble,
    check_id,
    columns_of,
    group_of,
    head_of,
    length_of,
    short,
    within,
)  # fmt: skip
from sri_sdk.strict_json import JsonError, parse

_KEYS = {"id", "sigma", "logit", "length", "group"}
_FORMS = ("sigma", "logit")
_MARK = b"\xef\xbb\xbf"
"""The byte-order mark that some editors write in front."""


def read_lines(stream: IO[bytes], subject: str, domain: Domain) -> Signals:
    """Reads a stream of JSON lines.

    Args:
        stream: bytes; `readline` is all that is asked of it.
        subject: where they come from, for messages.
        domain: the form that is required.

    Raises:
        ScoringError: a line is wrong, or there are too many; names the line.
    """
    fingerprint: dict[str, Any] | None = None
    ids: list[str] = []
    lengths = array("q")
    # Not a list of arrays: a million small ones take four times the memory of their numbers.
    columns = {name: bytearray() for name in _FORMS}
    form: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    groups: dict[int, str | None] = {}
    shape: tuple[int, ...] = ()
    for first, where, line in _lines(stream, subject):
        value = _object(line, where)
        if "sri_signals" in value:
            if not first:
                raise ScoringError(
                    f'{where}: a header {{"sri_signals": {SIGNALS_FORMAT}, "fingerprint": {{...}}}} is allowed on the '
                    "first line only. Start a new file for other signals."
                )
            names = columns_of(value.pop("columns", None), where)
            fingerprint = head_of(value, where)
            continue
        given = tuple(name for name in _FORMS if name in value)
        if value.keys() - _KEYS or not isinstance(value.get("id"), str) or not given or given != (form or given):
            raise ScoringError(
                f"{where}: found keys {short(sorted(value))}; a line needs a text `id`, and `sigma` or `logit` or both "
                "(the same in every line), and may have `length` and `group`."
            )
        for name in given:
            cells = _numbers(value[name], f"{where}, {name}")
            if cells.shape != (shape or cells.shape):
                raise ScoringError(
                    f"{where}: {name} has [T, C] = {list(cells.shape)}, the lines before have {list(shape)}. "
                    "Give every line all cells, and let `length` say how many are filled."
                )
            shape = cells.shape
            columns[name] += cells.tobytes()
        form = given
        if "group" in value:
            groups[len(ids)] = group_of(value["group"], where)
        ids.append(check_id(value["id"], where))
        lengths.append(length_of(value.get("length", shape[0]), shape[0], where))
        within(where, len(ids), len(ids) * shape[0] * shape[1])
    sigma, logit = (
        np.frombuffer(column, dtype=np.float32).reshape(len(ids), *shape) if column else None
        for column in columns.values()
    )
    named = tuple(groups.get(row) for row in range(len(ids))) if groups else None
    filled = np.frombuffer(lengths, dtype=np.int64)
    return assemble(subject, domain, sigma, logit, ids, filled, fingerprint, names, named)


def _lines(stream: IO[bytes], subject: str) -> Iterator[tuple[bool, str, bytes]]:
    """Whether it is the first, where it stands, and its bytes: for every line that is not blank."""
    number = read = 0
    first = True
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        read += len(line)
        where = f"{subject}, line {number}"
        if len(line) > LONGEST_LINE:
            raise ScoringError(
                f"{where}: more than {LONGEST_LINE:,} bytes; allowed: that many in a line. Write one JSON object, of "
                "one generation, per line."
            )
        # Blank lines count too, or an endless stream of them would be read for ever.
        if number > MOST_ROWS + 1 or read > MOST_BYTES:
            raise ScoringError(
                f"{where}: too much at once; allowed: up to {MOST_ROWS + 1:,} lines and {MOST_BYTES:,} bytes. "
                "Split the file."
            )
        if number == 1:
            line = line.removeprefix(_MARK)
        if line.strip(b" \t\r\n"):
            yield first, where, line
            first = False


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = parse(line, not_finite=True)
    except JsonError as err:
        raise ScoringError(f"{where}: {err}. Write one JSON object per line, in UTF-8.") from err
    if not isinstance(value, dict):
        raise ScoringError(f"{where}: a {type(value).__name__}, not an object. Write one JSON object per line.")
    return value


def _numbers(value: Any, where: str) -> Floats:
    """A list of T numbers, or of T lists of C numbers -> [T, C] float32; null becomes NaN."""
    rows = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    kinds = {type(x) for row in rows if isinstance(row, list) for x in row}
    if not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows) or kinds - {int, float, type(None)}:
        raise ScoringError(f"{where}: not a list of T numbers, or of T lists of C numbers each.")
    # Via float64, where None becomes NaN.
    numbers = np.array(value, dtype=np.float64)
    if not numbers.size:
        raise ScoringError(f"{where}: shape {list(numbers.shape)}, allowed: T numbers, or T lists of C numbers.")
    with np.errstate(over="ignore"):
        return numbers.reshape(len(numbers), -1).astype(np.float32)
