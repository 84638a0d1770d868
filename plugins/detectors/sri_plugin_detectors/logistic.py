"""Detector `logistic`: one weight per cell, learnt from harmless signals and a few labelled attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.cells import draw_clipped
from sri_plugin_detectors.finite import refuse_non_finite
from sri_sdk.errors import MissingExtra, ScoringError

SRI_PLUGIN_API = 1

Floats = NDArray[np.float32]


class LogisticDetector(sri_sdk.Detector):
    """A linear model of the standardised logit signal; the score is its log-odds of an attack.

    Without labels every cell weighs the same: the score is how far the signal lies below the usual one, in standard
    deviations, on average over the cells.
    """

    domain: ClassVar = "logit"
    fewest: ClassVar = 2
    labels: ClassVar = "optional"

    class Config(sri_sdk.Config):
        """Options."""

        strength: float = Field(0.1, gt=0, description="Inverse of the L2 penalty: smaller = smoother weights.")
        clip: float = Field(30.0, gt=0, description="Logits beyond this, in either direction, are clipped to it.")

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._shape: tuple[int, int] | None = None
        self._weights: Floats
        """(T * C,) float32: weight of each clipped logit, log-odds per logit unit."""
        self._bias: Floats
        """(1,) float32: log-odds where every clipped logit is 0."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Learns one weight per cell; without labels, or with one class only, from the spread of harmless signals.

        Args:
            signals: [N, T, C] float32 logits; N is 2 or more.
            labels: [N] int64, 0 = harmless, 1 = attack.

        Raises:
            ScoringError: too few signals, NaN or infinity in one, or all of them equal.
            MissingExtra: scikit-learn is not installed, and there are labels of both classes.
        """
        refuse_non_finite("logistic", signals)
        if len(signals) < self.fewest:
            raise ScoringError(
                f"logistic: {len(signals)} signal(s), at least {self.fewest} are needed. Use more prompts."
            )
        self._shape = None
        flat = np.clip(signals.reshape(len(signals), -1).astype(np.float64), -self.config.clip, self.config.clip)
        centre, spread = flat.mean(axis=0), np.sqrt(flat.var(axis=0) + 1e-6)
        if labels is not None and len(set(np.asarray(labels).tolist())) == 2:
            weights, bias = self._learn((flat - centre) / spread, np.asarray(labels))
        else:
            weights, bias = np.full(flat.shape[1], -1 / flat.shape[1]), 0.0
        self._weights = (weights / spread).astype(np.float32)
        self._bias = np.array([bias - float((weights * centre / spread).sum())], dtype=np.float32)
        self._shape = (signals.shape[1], signals.shape[2])
        scores = self.score(signals)
        if np.ptp(scores) <= 1e-6 * max(1.0, float(np.abs(scores).max())):
            self._shape = None
            raise ScoringError(
                f"logistic: every one of {len(signals)} signals gets the same score. The signals are all equal; check "
                "anchors and model with `sri doctor`."
            )
        return self

    def score(self, signals: Floats) -> Floats:
        """Says how much each signal looks like an attack.

        Args:
            signals: [N, T, C] float32 logits; T and C as in the fit.

        Returns:
            [N] float32: log-odds of an attack, or, if fitted without labels, mean standard deviations below the usual
            signal; higher = more suspicious.

        Raises:
            ScoringError: not fitted, another T or C, or NaN or infinity in a signal.
        """
        if self._shape is None:
            raise ScoringError("logistic: not fitted. Call fit(), or restore() a saved state.")
        if signals.shape[1:] != self._shape:
            raise ScoringError(
                f"logistic: signals {list(signals.shape)}, fitted on [N, {self._shape[0]}, {self._shape[1]}]."
            )
        refuse_non_finite("logistic", signals)
        flat = np.clip(signals.reshape(len(signals), -1), -self.config.clip, self.config.clip).astype(np.float32)
        # Row by row, not as a matrix product: a row's last bit must not depend on its company.
        score: Floats = (flat * self._weights).sum(axis=1, dtype=np.float32) + self._bias
        return score

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `score` into a graph: `signals` [B, T, C] float32 logits -> [B] float32."""
        flat = graph.reshape(signals, [-1, len(self._weights)])
        clipped = draw_clipped(graph, flat, self.config.clip)
        return graph.reduce_sum(clipped * self._weights, [1]) + self._bias

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What the fit learnt: `shape` [2] int64 = T and C, `weights` [T * C] and `bias` [1] float32."""
        if self._shape is None:
            raise ScoringError("logistic: not fitted, so there is nothing to save. Call fit() first.")
        return {"shape": np.array(self._shape), "weights": self._weights, "bias": self._bias}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Takes the arrays that `state()` gave: `shape` [2], `weights` [T * C] and `bias` [1]."""
        self._shape = (int(state["shape"][0]), int(state["shape"][1]))
        self._weights, self._bias = state["weights"], state["bias"]
        return self

    def _learn(self, x: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
        """From standardised signals [N, T * C] and labels [N] to weights (T * C,) and bias, in log-odds."""
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError as err:
            raise MissingExtra("Fitting the logistic detector", extra="train") from err
        model = LogisticRegression(C=self.config.strength, class_weight="balanced", max_iter=2000)
        model.fit(x, labels)
        return model.coef_[0], float(model.intercept_[0])
