"""The states of one step of a few requests, measured number by number.

Between two passes of a model the caches hold the model: an array call then costs 10 to 30 microseconds, and the formula
takes two dozen. So a step that is measured alone is multiplied out vector by vector, and the rest is plain numbers.
Every operation is rounded as in `sri_sdk.signal`, so the bits are the same.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from sri_sdk.capture.states import Formula
from sri_sdk.signal import BLOCK, LARGEST_NORM_SQUARED, SMALLEST_NORM_SQUARED

MOST = 16
"""Numbers of a step that are measured one by one; more of them cost less in arrays."""
# Names of this module are found sooner than those of another.
_dot, _log, _exp, _sqrt = np.dot, np.log, np.exp, math.sqrt
_ONE, _NAN = np.float32(1), float("nan")


class FewStates:
    """Room for the states of one step, filled anew with each."""

    def __init__(self, formula: Formula, requests: int) -> None:
        """Takes what states are measured against, and R."""
        self._formula = formula
        _, columns, _, width = formula.units.pair.shape
        self._shape = torch.Size((requests, columns, width))
        self._most = 0 if requests * columns * width > BLOCK or not formula.eps > 0 else MOST // max(columns, 1)
        self._beside, self._scale = 1 + formula.eps, 1 / formula.tau
        self._each: list[list[np.ndarray[tuple[int], np.dtype[np.float64]]]] = []
        self._room: torch.Tensor | None = None

    def suits(self, numbers: int) -> bool:
        """Whether so many states, each in one cell, are to be measured here."""
        return numbers <= self._most

    def takes(self, phi: torch.Tensor, requests: int) -> bool:
        """Copies the states of a step, [R, C, D] on the host, if those of so many `requests` may be measured here."""
        if requests > self._most or phi.shape != self._shape:
            return False
        if self._room is None:
            wide = np.empty(self._shape)
            self._each = [list(row) for row in wide]
            # Written from inside and outside of inference mode.
            with torch.inference_mode(False):
                self._room = torch.from_numpy(wide)
        self._room.copy_(phi)
        return True

    def logits(self, row: int, start: int, stop: int) -> list[list[float]]:
        """The logits of one request in cells start..stop, C numbers each; NaN = the state is not usable."""
        formula, found = self._formula, list[list[float]]()
        eps, beside, scale = formula.eps, self._beside, self._scale
        states = [(state, float(_dot(state, state))) for state in self._each[row]]
        for pair in formula.units.pair[start:stop]:
            numbers = []
            for (state, squared), (harmless, harmful) in zip(states, pair, strict=True):
                if not SMALLEST_NORM_SQUARED < squared <= LARGEST_NORM_SQUARED:
                    numbers.append(_NAN)
                    continue
                length = _sqrt(squared)
                answer = max(beside - float(_dot(harmless, state)) / length, eps)
                refusal = max(beside - float(_dot(harmful, state)) / length, eps)
                # numpy's logarithm: that of another library may differ in its last bit.
                numbers.append(float(_log(refusal / answer)) * scale)
            found.append(numbers)
        return found


def sigmoid_of(logit: np.float32) -> np.float32:
    """`sri_sdk.signal.sigmoid` of one number."""
    small = _exp(-abs(logit))
    found: np.float32 = (_ONE if logit >= 0 else small) / (_ONE + small)
    return found
