"""What detectors share that read a logit signal as one row of cells: checks, clipping, distances."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.finite import refuse_non_finite
from sri_sdk.errors import ScoringError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int64] | None

SOFTENING = 0.1
"""Logits, added in quadrature to a standard deviation: a cell that is saturated in every harmless signal has none, and
must not outweigh all others."""
MOST_PRODUCTS = 2**18
"""Cells of all reference points together that a graph compares one row with: a quarter of what a bundle may do."""
_AT_ONCE = 2**22
"""Cells that `squared_distances` compares at once, 16 MiB."""


class CellsDetector(sri_sdk.Detector):
    """A signal is a row [T * C] of logits, clipped. Unless its class says otherwise, all that it learns from are
    harmless."""

    domain: ClassVar = "logit"
    called: ClassVar[str]
    """The detector, as messages call it."""

    class Config(sri_sdk.Config):
        """Options."""

        clip: float = Field(30.0, gt=0, description="Logits beyond this, in either direction, are clipped to it.")

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._shape = (0, 0)
        """T and C of the fit."""
        self._learnt: Mapping[str, NDArray[Any]] = {}
        """What `learn` returned; empty = not fitted."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Learns what harmless signals look like, and attacks where the class says that it takes labels.

        Args:
            signals: [N, T, C] float32 logits; N is `fewest` or more.
            labels: [N] int64, 0 = harmless, 1 = attack; most classes ignore them.

        Raises:
            ScoringError: too few signals, NaN or infinity in one, or all of them equal.
            MissingExtra: scikit-learn is not installed, and the detector learns with it.
        """
        if len(signals) < self.fewest:
            raise ScoringError(
                f"{self.called}: {len(signals)} signals, at least {self.fewest} are needed and a few hundred are "
                "better. Give the training fold more harmless prompts."
            )
        refuse_non_finite(self.called, signals)
        # A fit that fails leaves a detector that is not fitted.
        self._learnt, self._shape = {}, (signals.shape[1], signals.shape[2])
        rows = self._rows(signals)
        if (rows == rows[0]).all():
            raise ScoringError(
                f"{self.called}: all {len(rows)} signals are equal, at least within the clip of {self.config.clip:g}. "
                "Check anchors and model with `sri doctor`."
            )
        self._learnt = self.learn(rows.astype(np.float64), labels)
        return self

    def score(self, signals: Floats) -> Floats:
        """Scores each signal by itself.

        Args:
            signals: [N, T, C] float32 logits; T and C as in the fit.

        Returns:
            [N] float32 in the unit that the class names; higher = more suspicious.

        Raises:
            ScoringError: not fitted, another T or C, or NaN or infinity in a signal.
        """
        if not self._learnt:
            raise ScoringError(f"{self.called}: not fitted. Call fit(), or restore() a saved state.")
        if signals.shape[1:] != self._shape:
            raise ScoringError(
                f"{self.called}: signals {list(signals.shape)}, fitted on [N, {self._shape[0]}, {self._shape[1]}]."
            )
        refuse_non_finite(self.called, signals)
        return self.measure(self._rows(signals)).astype(np.float32, copy=False)

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `score` into a graph: `signals` [B, T, C] float32 logits -> [B] float32."""
        rows = graph.reshape(signals, [-1, self._shape[0] * self._shape[1]])
        return self.draw(graph, draw_clipped(graph, rows, self.config.clip))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What the fit learnt: `shape` [2] int64 = T and C, and the arrays [...] of `learn`."""
        if not self._learnt:
            raise ScoringError(f"{self.called}: not fitted, so there is nothing to save. Call fit() first.")
        return {"shape": np.array(self._shape), **self._learnt}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Takes what `state()` gave: `shape` [2], and the arrays [...] of `learn`."""
        self._shape = (int(state["shape"][0]), int(state["shape"][1]))
        self._learnt = {name: array for name, array in state.items() if name != "shape"}
        return self

    @abstractmethod
    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C] float64, clipped logits, and `labels` [N] as `fit` was given them, to arrays [...] by
        name; `_shape` is known."""

    @abstractmethod
    def measure(self, rows: Floats) -> Floats:
        """Scores rows [N, T * C] float32, clipped logits, by what was learnt: [N] float32."""

    @abstractmethod
    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32, clipped logits -> [B] float32."""

    def _rows(self, signals: Floats) -> Floats:
        """[N, T, C] -> [N, T * C] float32, clipped, and laid out alike whatever the layout of the input."""
        flat = np.ascontiguousarray(signals, dtype=np.float32).reshape(len(signals), self._shape[0] * self._shape[1])
        rows: Floats = np.clip(flat, -self.config.clip, self.config.clip, dtype=np.float32)
        return rows


def draw_clipped(graph: sri_sdk.Graph, rows: sri_sdk.Value, clip: float) -> sri_sdk.Value:
    """Draws rows [B, T * C] between -clip and clip."""
    # min(x, c) = -max(-x, -c): the builder offers maximum alone.
    return graph.maximum(graph.maximum(rows, -clip) * -1, -clip) * -1


def standard(rows: Doubles) -> tuple[Floats, Floats]:
    """Mean and one over the softened standard deviation of each cell, [T * C] float32 each, of rows [N, T * C]."""
    inverse: Floats = (1 / np.sqrt(rows.var(axis=0) + SOFTENING**2)).astype(np.float32)
    return rows.mean(axis=0).astype(np.float32), inverse


def some(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Which of `count` rows to keep where there may be `most`: [M] int64, in order; the same for the same seed."""
    if count <= most:
        return np.arange(count)
    chosen: NDArray[np.int64] = np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
    return chosen


def times(rows: Floats, matrix: Floats) -> Floats:
    """Rows [N, I] times a matrix [I, O] -> [N, O], one product per row: a row's last bit does not depend on others."""
    product: Floats = np.matmul(rows[:, None, :], matrix)[:, 0]
    return product


def squared_distances(rows: Floats, points: Floats) -> Floats:
    """Squared distances [N, K] float32 from rows [N, D] to points [K, D].

    From the differences, not as |x|^2 - 2 x.y + |y|^2: that one loses all digits where both are far out and close to
    each other, as saturated signals are.
    """
    found = np.empty((len(rows), len(points)), dtype=np.float32)
    step = max(1, _AT_ONCE // points.size)
    for start in range(0, len(rows), step):
        gap = rows[start : start + step, None, :] - points
        found[start : start + step] = (gap * gap).sum(axis=2)
    return found


def draw_squared_distances(graph: sri_sdk.Graph, rows: sri_sdk.Value, points: Floats) -> sri_sdk.Value:
    """Draws `squared_distances`: rows [B, D] to points [K, D] -> [B, K] float32."""
    gap = graph.unsqueeze(rows, [1]) - points
    return graph.reduce_sum(gap * gap, [2])


def soft_minimum(costs: Floats) -> Floats:
    """-log(sum(exp(-cost))) over costs [N, K] -> [N] float32; finite however large the costs are."""
    low = costs.min(axis=1, keepdims=True)
    least: Floats = low[:, 0] - np.log(np.exp(low - costs).sum(axis=1))
    return least


def draw_soft_minimum(graph: sri_sdk.Graph, costs: sri_sdk.Value) -> sri_sdk.Value:
    """Draws `soft_minimum`: costs [B, K] -> [B] float32."""
    low = graph.smallest(costs, 1)
    total = graph.reduce_sum(graph.exp(low - costs), [1])
    return graph.squeeze(low, [1]) - graph.log(total)
