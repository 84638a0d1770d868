"""Detector `autoencoder`: what cannot be rebuilt from eight numbers is unusual (arXiv 2602.02600, section 3.3)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.finite import refuse_non_finite
from sri_sdk.errors import MissingExtra, ScoringError

SRI_PLUGIN_API = 1

FEWEST = 16
"""Signals below which eight hidden units remember instead of learn."""
SOFTENING = 0.05
"""Added in quadrature to each cell's standard deviation: a cell that is saturated in every harmless signal has none,
and must not outweigh all others."""
ROUNDING = 1e-6
"""Relative: scores that differ by less are the same score, computed twice."""

Floats = NDArray[np.float32]


class AutoencoderDetector(sri_sdk.Detector):
    """Rebuilds a signal through a narrow middle, T-32-8-32-T by default; the score is the mean squared error.

    Learns from harmless signals alone. Cells are standardised first, so the error is in (softened) standard
    deviations squared.
    """

    class Config(sri_sdk.Config):
        """Options."""

        hidden: tuple[int, ...] = Field((32, 8, 32), min_length=1, description="Widths of the hidden layers.")
        epochs: int = Field(300, ge=1, description="Passes over the training signals.")
        seed: int = Field(0, ge=0, description="Seed of the initial weights and of the order of training.")

    fewest: ClassVar = FEWEST

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._shape: tuple[int, int] | None = None
        self._centre: Floats
        """(T * C,) float32: mean of each cell over the harmless signals, sigma units."""
        self._inverse: Floats
        """(T * C,) float32: one over each cell's softened standard deviation, per sigma unit."""
        self._layers: list[tuple[Floats, Floats]]
        """Per layer, weights (in, out) and bias (out,), float32; ReLU between layers."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Trains on harmless signals.

        Args:
            signals: [N, T, C] float32, sigma in [0, 1]; N is 16 or more.
            labels: not used.

        Raises:
            ScoringError: too few signals, NaN or infinity in one, or all of them equal.
            MissingExtra: scikit-learn is not installed.
        """
        if len(signals) < self.fewest:
            raise ScoringError(
                f"autoencoder: {len(signals)} signals, at least {self.fewest} are needed and a few hundred are better. "
                "Give the training fold more harmless prompts."
            )
        refuse_non_finite("autoencoder", signals)
        self._shape = None
        flat = signals.reshape(len(signals), -1).astype(np.float64)
        self._centre = flat.mean(axis=0).astype(np.float32)
        self._inverse = (1 / np.sqrt(flat.var(axis=0) + SOFTENING**2)).astype(np.float32)
        self._layers = self._train((flat - self._centre) * self._inverse)
        # Last: a fit that fails leaves a detector that is not fitted.
        self._shape = (signals.shape[1], signals.shape[2])
        scores = self.score(signals)
        # Equal but for the last bits: some processors' matrix products round the rows of one batch differently.
        if np.ptp(scores) <= ROUNDING * np.abs(scores).max():
            self._shape = None
            raise ScoringError(
                f"autoencoder: every one of {len(signals)} signals gets the same score. The signals are all equal; "
                "check anchors and model with `sri doctor`."
            )
        return self

    def score(self, signals: Floats) -> Floats:
        """Says how badly each signal is rebuilt.

        Args:
            signals: [N, T, C] float32, sigma in [0, 1]; T and C as in the fit.

        Returns:
            [N] float32: mean squared error over the cells, in softened standard deviations squared; higher = more
            suspicious.

        Raises:
            ScoringError: not fitted, another T or C, or NaN or infinity in a signal.
        """
        if self._shape is None:
            raise ScoringError("autoencoder: not fitted. Call fit(), or restore() a saved state.")
        if signals.shape[1:] != self._shape:
            raise ScoringError(
                f"autoencoder: signals {list(signals.shape)}, fitted on [N, {self._shape[0]}, {self._shape[1]}]."
            )
        refuse_non_finite("autoencoder", signals)
        x = (signals.reshape(len(signals), -1).astype(np.float32, copy=False) - self._centre) * self._inverse
        rebuilt = x
        for weight, bias in self._layers[:-1]:
            rebuilt = np.maximum(rebuilt @ weight + bias, 0)
        weight, bias = self._layers[-1]
        error: Floats = ((rebuilt @ weight + bias - x) ** 2).mean(axis=1)
        return error

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `score` into a graph: `signals` [B, T, C] float32 -> [B] float32."""
        size = len(self._centre)
        x = (graph.reshape(signals, [-1, size]) - self._centre) * self._inverse
        rebuilt = x
        for weight, bias in self._layers[:-1]:
            rebuilt = graph.relu(graph.gemm(rebuilt, weight, bias))
        gap = graph.gemm(rebuilt, *self._layers[-1]) - x
        return graph.reduce_mean(gap * gap, 1, size)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What the fit learnt: `shape` (2,) int64 = T and C; `centre`, `inverse` (T * C,) float32; and per layer i,
        `w<i>` (in, out) and `b<i>` (out,) float32."""
        if self._shape is None:
            raise ScoringError("autoencoder: not fitted, so there is nothing to save. Call fit() first.")
        layers = {
            f"{kind}{i}": array for i, pair in enumerate(self._layers) for kind, array in zip("wb", pair, strict=True)
        }
        return {"shape": np.array(self._shape), "centre": self._centre, "inverse": self._inverse, **layers}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Takes what `state()` gave: `shape` [2], `centre` and `inverse` [T * C], and `w<i>` and `b<i>` per layer."""
        self._shape = (int(state["shape"][0]), int(state["shape"][1]))
        self._centre, self._inverse = state["centre"], state["inverse"]
        count = sum(name.startswith("w") for name in state)
        self._layers = [(state[f"w{i}"], state[f"b{i}"]) for i in range(count)]
        return self

    def _train(self, x: NDArray[np.float64]) -> list[tuple[Floats, Floats]]:
        """From standardised signals [N, T * C] to weights and bias per layer."""
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.neural_network import MLPRegressor
        except ImportError as err:
            raise MissingExtra("Fitting the autoencoder", extra="train") from err
        network = MLPRegressor(
            hidden_layer_sizes=self.config.hidden,
            batch_size=min(32, len(x)),
            max_iter=self.config.epochs,
            random_state=self.config.seed,
        )
        with warnings.catch_warnings():
            # The number of epochs is the user's choice, not a failure to converge.
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(x, x)
        pairs = zip(network.coefs_, network.intercepts_, strict=True)
        return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in pairs]
