"""One running generation, scored again and again where its signals lie.

A call of onnxruntime looks at its inputs, wraps them, and makes its results anew. That costs as much as a small graph
between two passes of a model. Memory that stays where it is needs this once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.ranges import INVALID_SCORE
from sri_sdk.scoring.runtime import RunGraph, Scored


class GrowingSignals:
    """Signals [1, T, C] that their owner writes into; made by `Scorer.growing`, and read by `Scorer.score_prefix`.

    Attributes:
        length: [1] int64, cells that are known; the owner writes it before each call.
    """

    def __init__(self, run: RunGraph, signals: NDArray[np.float32], parts: int | None) -> None:
        """Takes the graph, signals [1, T, C] float32, and how many parts it scores; None = it gives one score."""
        shape = (1,) if parts is None else (1, parts)
        self.length = np.zeros(1, dtype=np.int64)
        self._score, self._valid = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
        # Where a graph mixes rows, its results do not fit, and onnxruntime says so.
        self._run = run.bound({"signals": signals, "length": self.length}, {"score": self._score, "valid": self._valid})

    def score(self) -> Scored:
        """As `Scorer.score_prefix`, [1] or with K parts [1, K]; the next call writes into the same arrays.

        Raises:
            BundleError: onnxruntime fails.
        """
        self._run()
        if self._score.size > 1 or not abs(self._score.item()) < INVALID_SCORE:
            self._valid &= np.abs(self._score) < INVALID_SCORE
        return self._score, self._valid
