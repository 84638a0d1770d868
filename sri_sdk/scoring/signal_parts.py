"""What the forms of a signals file share: limits of work and memory, the head, and how parts become `Signals`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ScoringError
from sri_sdk.records import Domain, Signals
from sri_sdk.signal import sigmoid

SIGNALS_FORMAT = 1
HEAD_KEYS = {"sri_signals", "fingerprint"}
LONGEST_NAME = 64
"""Most characters in the name of a column or a group."""
MOST_ROWS = 1_000_000
"""Most generations in one file."""
MOST_CELLS = 2**25
"""Most numbers of one form: generations times cells times layers. Both forms in float32 take 256 MiB."""
MOST_BYTES = 2**30
"""Most bytes that are read from one file or stream, or unpacked from one .npz member."""
LONGEST_LINE = 2**24
"""Most bytes in one JSON line."""
LARGEST_HEAD = 2**20
"""Most bytes in the head of an .npz."""
LONGEST_ID = 1024
"""Most characters in an id."""
_BLOCK = 2**20

Floats = NDArray[np.float32]


def within(subject: str, rows: int, cells: int) -> None:
    """Refuses more than is read at once: `cells` = N * T * C."""
    if rows > MOST_ROWS or cells > MOST_CELLS:
        raise ScoringError(
            f"{subject}: {_count(rows)} generations with {_count(cells)} numbers; allowed: up to {MOST_ROWS:,} "
            f"generations and {MOST_CELLS:,} numbers at once. Split the file."
        )


def head_of(value: Any, where: str) -> dict[str, Any] | None:
    """The fingerprint in a head `{"sri_signals": 1, "fingerprint": {...}}`; None = it has none.

    Raises:
        ScoringError: another format, or not a head.
    """
    if not isinstance(value, dict) or value.keys() - HEAD_KEYS:
        found = f"the keys {short(sorted(value))}" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise ScoringError(f"{where}: the head has {found}; allowed: sri_signals, fingerprint. Write the file again.")
    version, fingerprint = value.get("sri_signals", SIGNALS_FORMAT), value.get("fingerprint")
    if type(version) is not int or version != SIGNALS_FORMAT:  # True and 1.0 equal 1.
        raise ScoringError(
            f"{where}: signals format {short(version)}, this SDK reads {SIGNALS_FORMAT}. Write the file again."
        )
    if fingerprint is None:
        return None
    if not isinstance(fingerprint, dict) or not all(isinstance(fingerprint.get(x), dict) for x in ("hard", "soft")):
        raise ScoringError(
            f"{where}: the fingerprint is {short(fingerprint)}; it must be an object with the objects `hard` and "
            "`soft`, or null. Write the file again with this SDK."
        )
    return fingerprint


def columns_of(value: Any, where: str) -> tuple[str, ...] | None:
    """Names of columns, as a head of JSON lines has them; None = not named.

    Raises:
        ScoringError: not a list of names.
    """
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in value):
        raise ScoringError(f"{where}: columns is {short(value)}; allowed: a list of names, or null. Write it again.")
    return tuple(value)


def group_of(value: Any, where: str) -> str | None:
    """The group of a generation; None = none is named.

    Raises:
        ScoringError: not a name.
    """
    if value is not None and (not isinstance(value, str) or len(value) > LONGEST_NAME or "\0" in value):
        raise ScoringError(
            f"{where}: group is {short(value)}; allowed: a name of up to {LONGEST_NAME} characters without NUL, or "
            "null. Write it anew, or leave it out."
        )
    return value


def short(value: Any) -> str:
    """What was found, for a message: escaped, and never long."""
    text = ascii(value) if not isinstance(value, dict | list) or len(value) < 20 else f"{ascii(value)[:200]}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def assemble(
    subject: str, domain: Domain, sigma: Floats | None, logit: Floats | None, ids: list[str] | None,
    lengths: Sequence[int] | NDArray[Any] | None, fingerprint: dict[str, Any] | None,
    columns: tuple[str, ...] | None = None, groups: tuple[str | None, ...] | None = None,
) -> Signals:  # fmt: skip
    """Checks that the parts of a file fit, and adds the form it lacks.

    Args:
        subject: the file, for messages.
        domain: the form that is required.
        sigma: [N, T, C] float32 in [0, 1], or None.
        logit: [N, T, C] float32, or None.
        ids: N of them; None = numbered from 0.
        lengths: N whole numbers, or [N] int64: filled cells; None = all.
        fingerprint: what made them.
        columns: C names; None = not named.
        groups: N of them; None = not named.

    Raises:
        ScoringError: nothing there, parts of different sizes, a length outside 0..T, or no logit can be made.
    """
    one = sigma if sigma is not None else logit
    if one is None or not one.size:
        raise ScoringError(f"{subject}: contains no signals. Give `sigma` or `logit` of at least one generation.")
    ids = ids if ids is not None else [str(row) for row in range(len(one))]
    for name, found in [("sigma", sigma), ("logit", logit), ("ids", ids), ("lengths", lengths)]:
        if found is not None and (
            len(found) != len(one) or (name in ("sigma", "logit") and np.shape(found) != one.shape)
        ):
            raise ScoringError(
                f"{subject}: {name} has {list(np.shape(found))}, expected {list(one.shape)}. Write it again."
            )
    if groups is not None and len(groups) != len(one):
        raise ScoringError(f"{subject}: {len(groups)} groups for {len(one)} generations. Write it again.")
    if columns is not None and len(columns) != one.shape[2]:
        raise ScoringError(
            f"{subject}: {len(columns)} columns are named, and there are {one.shape[2]}. Write it again."
        )
    filled = None if lengths is None else _lengths(np.asarray(lengths), ids, one.shape[1], subject)
    if logit is None:
        logit = _logit(one, ids, subject, needed=domain == "logit")
    if sigma is None:
        sigma = _by_block(_sigma, logit)
    return Signals(tuple(ids), sigma, logit, fingerprint, filled, columns, groups)


def length_of(value: Any, cells: int, where: str) -> int:
    """A length, if it is a whole number from 0 to `cells`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= cells:
        raise ScoringError(
            f"{where}: length is {short(value)}; allowed: a whole number of filled cells, from 0 to {cells}."
        )
    return value


def check_id(found: str, where: str) -> str:
    """An id, if it can be printed and is not a text of its own."""
    if len(found) > LONGEST_ID:
        raise ScoringError(f"{where}: the id has {len(found)} characters, allowed: {LONGEST_ID}. Give a shorter one.")
    if "\0" in found:
        # Other languages end a text there, and numpy drops it at the end of one: two ids would become the same.
        raise ScoringError(f"{where}: the id {short(found)} contains a NUL character. Write the id anew.")
    try:
        found.encode()
    except UnicodeEncodeError as err:
        raise ScoringError(
            f"{where}: the id {short(found)} contains half of a surrogate pair, which is not a character. "
            "Write the id anew."
        ) from err
    return found


def _lengths(found: NDArray[Any], ids: list[str], cells: int, subject: str) -> NDArray[np.int64]:
    wrong = (found < 0) | (found > cells)
    if wrong.any():
        row = int(np.argmax(wrong))
        length_of(int(found[row]), cells, f"{subject}, row {row} (id {short(ids[row])})")
    return found.astype(np.int64)


def _sigma(logit: Floats) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        return sigmoid(logit)


def _logit(sigma: Floats, ids: list[str], subject: str, *, needed: bool) -> Floats:
    saturated = (sigma <= 0) | (sigma >= 1)
    if needed and saturated.any():
        row, cell, _ = np.unravel_index(int(np.argmax(saturated)), saturated.shape)
        raise ScoringError(
            f"{subject}: the bundle reads logits, the file has only sigma, and sigma of {short(ids[row])} is "
            f"{float(sigma[row, cell].max()):g} at cell {cell}, which has no logit. Write `logit` into the file."
        )
    return _by_block(_log_odds, sigma)


def _log_odds(sigma: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = sigma.astype(np.float64)
        return np.asarray(np.log(wide) - np.log1p(-wide), dtype=np.float32)


def _by_block(function: Callable[[Floats], Floats], values: Floats) -> Floats:
    """`function` of [N, T, C] float32, some rows at a time: its float64 in between would take twice the memory."""
    rows = max(_BLOCK // max(values[0].size, 1), 1)
    made = np.empty(values.shape, dtype=np.float32)
    for first in range(0, len(values), rows):
        made[first : first + rows] = function(values[first : first + rows])
    return made


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**15 else "more than 10^15"
