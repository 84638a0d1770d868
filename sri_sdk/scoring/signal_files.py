"""Signals in files: .npz (ours, complete), .npy (a bare array), .jsonl and standard input (one object per line).

    {"sri_signals": 1, "fingerprint": {...}}                       optional first line
    {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}      one number per cell; a list per cell for C > 1

The first line may also name the `columns`, and each other line its `group`, for guards of bundle format 2.

`logit` may come with `sigma` or replace it. `null` and NaN mean "not finite" and become `unmonitored`. Without
`length` the generation is finished. A file holds up to `signal_parts.MOST_ROWS` generations; whatever is written twice,
unknown or of another kind is refused, and a byte-order mark in front of JSON lines is skipped.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.detector import Domain
from sri_sdk.errors import ScoringError
from sri_sdk.files import save_arrays, write_text
from sri_sdk.records import Signals
from sri_sdk.scoring.signal_arrays import read_npy, read_npz
from sri_sdk.scoring.signal_lines import read_lines
from sri_sdk.scoring.signal_parts import SIGNALS_FORMAT, check_id
from sri_sdk.scoring.signal_text import signal_lines
from sri_sdk.strict_json import JsonError, json_to_array

STDIN = "-"


def write_signals(target: Path | str, signals: Signals) -> None:
    """Writes an .npz without pickle, or JSON lines as `POST /v1/signals` of a server takes them; whole or not at all.

    `read_signals` gives an .npz back bit for bit, and of .jsonl all but NaN and infinity, which become missing values.

    Raises:
        ScoringError: the name ends neither in .npz nor in .jsonl, from which readers know the format, or an id or the
            fingerprint could not be read back.
    """
    target = Path(target)
    if target.suffix not in (".npz", ".jsonl"):
        raise ScoringError(
            f"{target}: signals are written as .npz or .jsonl. Name the file {target.with_suffix('.npz').name}."
        )
    head = {"sri_signals": SIGNALS_FORMAT, "fingerprint": signals.fingerprint and dict(signals.fingerprint)}
    for row, name in enumerate(signals.ids):
        check_id(name, f"{target}, row {row}")
    try:
        if target.suffix == ".jsonl":
            write_text(target, signal_lines(signals).decode())
            return
        packed = json_to_array(head)
    except JsonError as err:
        raise ScoringError(f"{target}: {err}. Readers could not take it; change what the fingerprint holds.") from err
    arrays: dict[str, NDArray[Any]] = {"ids": np.array(signals.ids, dtype=np.str_), "head": packed}
    if signals.lengths is not None:
        arrays["lengths"] = signals.lengths
    if signals.columns is not None:
        arrays["columns"] = np.array(signals.columns, dtype=np.str_)
    if signals.groups is not None:
        arrays["groups"] = np.array([group or "" for group in signals.groups], dtype=np.str_)
    save_arrays(target, {**arrays, "sigma": signals.sigma, "logit": signals.logit})


def read_signals(source: Path | str, domain: Domain = "sigma") -> Signals:
    """Reads signals.

    Args:
        source: a .npz, .npy or .jsonl file; `-` reads JSON lines from standard input.
        domain: what a bare array contains, and which form is required; a bundle's `signal.domain`.

    Raises:
        ScoringError: missing, unreadable, inconsistent, or without the form that is needed; names file and line.
    """
    if str(source) == STDIN:
        return _from_stdin(domain)
    path = Path(source)
    try:
        if path.suffix == ".npz":
            return read_npz(path, domain)
        if path.suffix == ".npy":
            return read_npy(path, domain)
        if path.suffix == ".jsonl":
            with path.open("rb") as stream:
                return read_lines(stream, str(path), domain)
    except FileNotFoundError as err:
        raise ScoringError(f"{path}: does not exist. Give the path of a .npz, .npy or .jsonl file, or -.") from err
    except (OSError, ValueError) as err:  # A path with a NUL, a folder, a disk that fails.
        brief = getattr(err, "strerror", None) or str(err)
        raise ScoringError(f"{path}: cannot be read as signals ({brief}). Check the path and its rights.") from err
    raise ScoringError(
        f"{path}: unknown kind of file; allowed: .npz, .npy, .jsonl, or - for JSON lines on standard input."
    )


def _from_stdin(domain: Domain) -> Signals:
    subject = "standard input"
    # None, if the process was started without one.
    if sys.stdin is None or sys.stdin.closed:
        raise ScoringError(f"{subject}: is closed. Pipe JSON lines into the command, or give a file.")
    # Bytes: a locale must not decide how ids are decoded.
    stream: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    try:
        return read_lines(stream or io.BytesIO(sys.stdin.read().encode(errors="surrogatepass")), subject, domain)
    except OSError as err:
        raise ScoringError(
            f"{subject}: cannot be read ({err.strerror or err}). Pipe JSON lines into it, or give a file."
        ) from err
