"""Signals as the JSON lines that `sri score` and `sri serve` read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.records import Signals
from sri_sdk.scoring.signal_parts import SIGNALS_FORMAT
from sri_sdk.strict_json import write


def signal_lines(signals: Signals) -> bytes:
    """A header, then one line per generation. float32 numbers come back bit for bit; what is not finite becomes null.

    Raises:
        JsonError: an id or the fingerprint cannot be written.
    """
    head: dict[str, Any] = {"sri_signals": SIGNALS_FORMAT}
    if signals.fingerprint is not None:
        head["fingerprint"] = dict(signals.fingerprint)
    if signals.columns is not None:
        head["columns"] = signals.columns
    lines = [head]
    for row, name in enumerate(signals.ids):
        line: dict[str, Any] = {
            "id": name, "sigma": _cells(signals.sigma[row]), "logit": _cells(signals.logit[row]),
        }  # fmt: skip
        if signals.lengths is not None:
            line["length"] = int(signals.lengths[row])
        if signals.groups is not None:
            line["group"] = signals.groups[row]
        lines.append(line)
    return "".join(write(line, separators=(",", ":")) + "\n" for line in lines).encode()


def _cells(numbers: NDArray[np.float32]) -> list[list[float | None]]:
    """[T, C] float32 -> T lists of C numbers."""
    return [[x if math.isfinite(x) else None for x in cell] for cell in numbers.tolist()]
