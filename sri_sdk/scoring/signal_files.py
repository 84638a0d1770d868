"""Signals in files: .npz (ours, complete), .npy (a bare array), .jsonl and standard input (one object per line).

    {"sri_signals": 1, "fingerprint": {...}}                       optional first line
    {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}      one number per cell; a list per cell for C > 1

`logit` may come with `sigma` or replace it. `null` and NaN mean "not finite" and become `unmonitored`. Without
`length` the generation is finished.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.detector import Domain
from sri_sdk.errors import ScoringError
from sri_sdk.files import json_from_array, json_to_array, save_arrays
from sri_sdk.records import Signals
from sri_sdk.signal import sigmoid

SIGNALS_FORMAT = 1
STDIN = "-"
_KEYS = {"id", "sigma", "logit", "length"}
_HEAD = {"sri_signals", "fingerprint"}

Floats = NDArray[np.float32]


def write_signals(target: Path | str, signals: Signals) -> None:
    """Writes an .npz without pickle, whole or not at all; `read_signals` gives it back bit for bit.

    Raises:
        ScoringError: the name does not end in .npz, from which readers know the format.
    """
    target = Path(target)
    if target.suffix != ".npz":
        raise ScoringError(f"{target}: signals are written as .npz. Name the file {target.with_suffix('.npz').name}.")
    head = {"sri_signals": SIGNALS_FORMAT, "fingerprint": signals.fingerprint and dict(signals.fingerprint)}
    arrays: dict[str, NDArray[Any]] = {"ids": np.array(signals.ids, dtype=np.str_), "head": json_to_array(head)}
    if signals.lengths is not None:
        arrays["lengths"] = signals.lengths
    save_arrays(target, {**arrays, "sigma": signals.sigma, "logit": signals.logit})


def read_signals(source: Path | str, domain: Domain = "sigma") -> Signals:
    """Reads signals.

    Args:
        source: a .npz, .npy or .jsonl file; `-` reads JSON lines from standard input.
        domain: what a bare array contains, and which form is required; a bundle's `signal.domain`.

    Raises:
        ScoringError: missing, unreadable, inconsistent, or without the form that is needed; names file and line.
    """
    subject = "standard input" if str(source) == STDIN else str(source)
    if str(source) == STDIN:
        return _from_lines(sys.stdin, subject, domain)
    path = Path(source)
    try:
        if path.suffix == ".npz":
            return _from_npz(path, domain)
        if path.suffix == ".npy":
            return _from_npy(path, domain)
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as lines:
                return _from_lines(lines, subject, domain)
    except FileNotFoundError as err:
        raise ScoringError(f"{path}: does not exist. Give the path of a .npz, .npy or .jsonl file, or -.") from err
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as err:
        brief = str(err).splitlines()[0][:160] if str(err) else type(err).__name__
        raise ScoringError(f"{path}: cannot be read as signals ({brief}). Write it again.") from err
    raise ScoringError(
        f"{path}: unknown kind of file; allowed: .npz, .npy, .jsonl, or - for JSON lines on standard input."
    )


def _from_npz(path: Path, domain: Domain) -> Signals:
    with np.load(path, allow_pickle=False) as arrays:
        names = set(arrays.files)
        head = json_from_array(arrays["head"]) if "head" in names else {}
        sigma, logit = (_cells(arrays[name], str(path)) if name in names else None for name in ("sigma", "logit"))
        ids = [str(x) for x in arrays["ids"]] if "ids" in names else None
        lengths = arrays["lengths"].astype(np.int64) if "lengths" in names else None
    if head.get("sri_signals", SIGNALS_FORMAT) != SIGNALS_FORMAT:
        raise ScoringError(
            f"{path}: signals format {head['sri_signals']}, this SDK reads {SIGNALS_FORMAT}. Write it again."
        )
    return _signals(str(path), domain, sigma, logit, ids, lengths, head.get("fingerprint"))


def _from_npy(path: Path, domain: Domain) -> Signals:
    array = _cells(np.load(path, allow_pickle=False), str(path))
    sigma, logit = (None, array) if domain == "logit" else (array, None)
    return _signals(str(path), domain, sigma, logit, None, None, None)


def _from_lines(lines: Iterable[str], subject: str, domain: Domain) -> Signals:
    fingerprint: dict[str, Any] | None = None
    ids: list[str] = []
    lengths: list[int] = []
    columns: dict[str, list[Floats]] = {"sigma": [], "logit": []}
    form: tuple[str, ...] | None = None
    shape: tuple[int, ...] | None = None
    for number, line in enumerate(lines, start=1):
        where = f"{subject}, line {number}"
        if not line.strip():
            continue
        value = _object(line, where)
        if "sri_signals" in value:
            if ids or value["sri_signals"] != SIGNALS_FORMAT or value.keys() - _HEAD:
                raise ScoringError(
                    f'{where}: a header {{"sri_signals": {SIGNALS_FORMAT}, "fingerprint": {{...}}}} is allowed on the '
                    "first line only, with these keys. Start a new file for other signals."
                )
            fingerprint = value.get("fingerprint")
            continue
        given = tuple(name for name in columns if name in value)
        if value.keys() - _KEYS or not isinstance(value.get("id"), str) or not given or given != (form or given):
            raise ScoringError(
                f"{where}: found keys {sorted(value)}; a line needs a text `id`, and `sigma` or `logit` or both "
                "(the same in every line), and may have `length`."
            )
        for name in given:
            cells = _numbers(value[name], f"{where}, {name}")
            if cells.shape != (shape or cells.shape):
                raise ScoringError(
                    f"{where}: {name} has [T, C] = {list(cells.shape)}, the lines before have {list(shape or ())}. "
                    "Give every line all cells, and let `length` say how many are filled."
                )
            shape = cells.shape
            columns[name].append(cells)
        form = given
        ids.append(value["id"])
        lengths.append(_length(value.get("length", len(columns[given[0]][-1])), where))
    sigma, logit = (np.stack(column) if column else None for column in columns.values())
    return _signals(subject, domain, sigma, logit, ids, np.array(lengths, dtype=np.int64), fingerprint)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ScoringError(f"{where}: not JSON ({err}). Write one JSON object per line.") from err
    if not isinstance(value, dict):
        raise ScoringError(f"{where}: a {type(value).__name__}, not an object. Write one JSON object per line.")
    return value


def _numbers(value: Any, where: str) -> Floats:
    """A list of T numbers, or of T lists of C numbers -> [T, C] float32; null becomes NaN."""
    try:
        # Via float64, where None becomes NaN; text and ragged lists raise.
        array = np.array(value, dtype=object)
        if any(not isinstance(x, int | float | None) or isinstance(x, bool) for x in array.ravel()):
            raise ValueError("not numbers")
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as err:
        raise ScoringError(f"{where}: not a list of T numbers, or of T lists of C numbers each.") from err
    if numbers.ndim not in (1, 2) or not numbers.size:
        raise ScoringError(f"{where}: shape {list(numbers.shape)}, allowed: T numbers, or T lists of C numbers.")
    with np.errstate(over="ignore"):
        return numbers.reshape(len(numbers), -1).astype(np.float32)


def _length(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ScoringError(f"{where}: length is {value!r}; allowed: a whole number of filled cells.")
    return value


def _cells(array: NDArray[Any], subject: str) -> Floats:
    """[N, T] or [N, T, C] of numbers -> [N, T, C] float32."""
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3):
        raise ScoringError(
            f"{subject}: an array of {array.dtype} with shape {list(array.shape)}; "
            "allowed: numbers of shape [N, T] or [N, T, C]."
        )
    with np.errstate(over="ignore"):
        return array.reshape(*array.shape[:2], -1).astype(np.float32, copy=False)


def _signals(
    subject: str, domain: Domain, sigma: Floats | None, logit: Floats | None, ids: list[str] | None,
    lengths: NDArray[np.int64] | None, fingerprint: dict[str, Any] | None,
) -> Signals:  # fmt: skip
    """Checks that the parts of a file fit, and adds the form it lacks: sigma and logit [N, T, C], lengths [N]."""
    one = sigma if sigma is not None else logit
    if one is None or not len(one):
        raise ScoringError(f"{subject}: contains no signals. Give `sigma` or `logit` of at least one generation.")
    ids = ids or [str(row) for row in range(len(one))]
    for name, found in [("sigma", sigma), ("logit", logit), ("ids", ids), ("lengths", lengths)]:
        if found is not None and (
            len(found) != len(one) or (name in ("sigma", "logit") and np.shape(found) != one.shape)
        ):
            raise ScoringError(
                f"{subject}: {name} has {list(np.shape(found))}, expected {list(one.shape)}. Write it again."
            )
    if logit is None:
        logit = _logit(one, ids, subject, needed=domain == "logit")
    if sigma is None:
        with np.errstate(invalid="ignore"):
            sigma = sigmoid(logit)
    return Signals(tuple(ids), sigma, logit, fingerprint, lengths)


def _logit(sigma: Floats, ids: list[str], subject: str, *, needed: bool) -> Floats:
    saturated = (sigma <= 0) | (sigma >= 1)
    if needed and saturated.any():
        row, cell, _ = (int(x) for x in np.argwhere(saturated)[0])
        raise ScoringError(
            f"{subject}: the bundle reads logits, the file has only sigma, and sigma of {ids[row]!r} is "
            f"{float(sigma[row, cell].max()):g} at cell {cell}, which has no logit. Write `logit` into the file."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = sigma.astype(np.float64)
        return np.asarray(np.log(wide) - np.log1p(-wide), dtype=np.float32)
