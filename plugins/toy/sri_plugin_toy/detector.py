"""Detector `toy`: how far a signal is from the mean harmless one. Copy this file to start your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import sri_sdk
from sri_sdk.errors import ScoringError

SRI_PLUGIN_API = 1  # The plugin API this module was written for; compared before anything is built.

Floats = NDArray[np.float32]


class ToyDetector(sri_sdk.Detector):
    """Mean squared distance from the benign mean, in units of sigma squared; higher = more suspicious."""

    # Everything the fit learns is a plain array; [0, 0] = not fitted.
    _mean: Floats = np.empty((0, 0), dtype=np.float32)

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Learns the mean [T, C] of harmless signals [N, T, C]."""
        # NaN in the training data is an error here, because later it would be a silent wrong threshold.
        if not len(signals) or not np.isfinite(signals).all():
            raise ScoringError("toy: fit() needs at least one signal, all finite. Leave out what is not.")
        # Summed in float64, so that the order of the signals does not show.
        self._mean = signals.mean(axis=0, dtype=np.float64).astype(np.float32)
        return self

    def score(self, signals: Floats) -> Floats:
        """[N, T, C] -> [N]."""
        if signals.shape[1:] != self._mean.shape or not np.isfinite(signals).all():
            raise ScoringError(f"toy: signals {list(signals.shape)}, finite [N, *{list(self._mean.shape)}] are needed.")
        distance: Floats = ((signals - self._mean) ** 2).mean(axis=(1, 2), dtype=np.float32)
        return distance

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """The same formula, drawn: operators on `signals` become nodes of the graph."""
        gap = signals - self._mean
        return graph.reduce_sum(gap * gap, [1, 2]) * (1.0 / self._mean.size)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What `fit` learnt: `mean` [T, C] float32, in sigma."""
        return {"mean": self._mean}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `state`: takes `mean` [T, C] float32."""
        self._mean = state["mean"]
        return self
