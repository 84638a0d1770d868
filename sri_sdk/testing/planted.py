"""Made-up signals with a known answer, the same on every machine: what detectors and exporters are checked with.

Harmless generations are smooth and above 0 in logits; in an attack the middle of the generation dips below, as a
jailbreak does. Needs no torch and no plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.detector import Detector
from sri_sdk.errors import ScoringError
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.graph.builder import Graph, Value
from sri_sdk.records import Signals
from sri_sdk.signal import sigmoid

CELLS, LAYERS, WIDTH = 16, 2, 8
"""T, C, D: small, and all different, so that a mixed-up axis shows."""
DIP = 3.0
"""Depth of an attack, in logits; harmless signals lie around 2."""

Floats = NDArray[np.float32]


class NotChecked(UserWarning):
    """A check passed, but could not look at everything its promise says."""


def planted_fingerprint() -> Fingerprint:
    """Of the model that no one has: it fits the planted signals and anchors, and nothing else."""
    hard = {
        "architecture": "Planted", "hidden_size": WIDTH, "layers": [-2, -1], "pooling": "response",
        "grid": {"cells": CELLS, "mapping": "step", "budget": CELLS}, "sampler": {"name": "planted"},
        "config_digest": "0" * 64, "weights_digest": "0" * 64,
    }  # fmt: skip
    return Fingerprint(hard, {"dtype": "float32"})


def planted_anchors(seed: int = 0) -> Anchors:
    """[T, C, D] each, close together as in real models."""
    rng = np.random.default_rng(seed)
    harmless = rng.normal(size=(CELLS, LAYERS, WIDTH)).astype(np.float32)
    harmful = harmless + 0.1 * rng.normal(size=harmless.shape).astype(np.float32)
    return Anchors(harmless, harmful, planted_fingerprint(), {"judge": "planted"})


def planted_signals(count: int, seed: int, *, dip: float = 0.0, at: float = 0.5) -> Signals:
    """`count` generations [N, T, C] in both domains.

    `dip` is the depth of the planted attack, in logits, 0 = harmless; `at` is where it is, from 0 to 1.
    """
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, CELLS)[:, None]
    level = 2 + 0.4 * rng.normal(size=(count, 1, 1)) + 0.3 * np.arange(LAYERS)
    wave = 0.4 * rng.normal(size=(count, 1, LAYERS)) * np.sin(4 * t)
    noise = 0.15 * rng.normal(size=(count, CELLS, LAYERS))
    logit = (level + wave + noise - dip * np.exp(-(((t - at) / 0.12) ** 2))).astype(np.float32)
    ids = tuple(f"planted-{seed}-{i}" for i in range(count))
    return Signals(ids, sigmoid(logit), logit, planted_fingerprint().to_dict())


class PlantedDetector(Detector):
    """Squared distance from the harmless mean: the smallest detector that keeps every promise."""

    _mean: Floats = np.empty((0, 0), dtype=np.float32)
    """[T, C]; [0, 0] = not fitted."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Learns the mean of [N, T, C]."""
        if not len(signals) or not np.isfinite(signals).all():
            raise ScoringError("planted: fit() needs at least one signal, all finite. Leave out what is not.")
        self._mean = signals.mean(axis=0, dtype=np.float64).astype(np.float32)
        return self

    def score(self, signals: Floats) -> Floats:
        """[N, T, C] -> [N], in sigma squared."""
        if signals.shape[1:] != self._mean.shape or not np.isfinite(signals).all():
            raise ScoringError(
                f"planted: signals {list(signals.shape)}, finite [N, *{list(self._mean.shape)}] are needed."
            )
        distance: Floats = ((signals - self._mean) ** 2).sum(axis=(1, 2), dtype=np.float32)
        return distance

    def export(self, graph: Graph, signals: Value) -> Value:
        """The same, drawn."""
        gap = signals - self._mean
        return graph.reduce_sum(gap * gap, [1, 2])

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What `fit` learnt: `mean` [T, C] float32, in sigma."""
        return {"mean": self._mean}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `state`: takes `mean` [T, C] float32."""
        self._mean = state["mean"]
        return self
