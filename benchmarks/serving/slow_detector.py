"""A detector whose call takes milliseconds, because it reads one large matrix several times; it judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import sri_sdk

SRI_PLUGIN_API = 1
WIDTH, TIMES = 1700, 4
"""11.5 MB of weights, the most that a portable bundle may have, read four times per call."""
Floats = NDArray[np.float32]


class SlowDetector(sri_sdk.Detector):
    """Mean square of random features, TIMES deep; higher = larger signals."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        rng = np.random.default_rng(0)
        self._first = np.empty((0, 0), np.float32)
        self._deep = (rng.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH / 2)).astype(np.float32)

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Knows the size of a signal [T, C] afterwards, and nothing else."""
        size = int(np.prod(signals.shape[1:]))
        self._first = np.random.default_rng(1).normal(size=(size, WIDTH)).astype(np.float32)
        return self

    def score(self, signals: Floats) -> Floats:
        """[N, T, C] -> [N]."""
        x = np.maximum(signals.reshape(len(signals), -1) @ self._first, 0)
        for _ in range(TIMES):
            x = np.maximum(x @ self._deep, 0)
        return np.asarray((x * x).mean(axis=1), np.float32)

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """The same, drawn."""
        deep = graph.constant(self._deep)
        x = graph.relu(graph.reshape(signals, [-1, len(self._first)]) @ self._first)
        for _ in range(TIMES):
            x = graph.relu(x @ deep)
        return graph.reduce_sum(x * x, [1]) * (1.0 / WIDTH)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """`first` [T * C, WIDTH] float32."""
        return {"first": self._first}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `state`."""
        self._first = state["first"]
        return self
