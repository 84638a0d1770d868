"""Detector `one-class-svm`: how far a signal is outside a boundary drawn around most harmless ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.cells import (
    MOST_PRODUCTS,
    CellsDetector,
    Doubles,
    Floats,
    Labels,
    draw_soft_minimum,
    draw_squared_distances,
    soft_minimum,
    some,
    squared_distances,
    standard,
)
from sri_sdk.errors import MissingExtra

SRI_PLUGIN_API = 1


class OneClassSvmDetector(CellsDetector):
    """A one-class support vector machine with Gaussian kernels (Schoelkopf and others 2001), in logarithms.

    The machine compares a sum of kernels around its support vectors with a bound. Far out that sum is 0 for every
    signal, in float32 soon exactly 0, and all of them would tie. The score is log(bound / sum) instead: signals are in
    the machine's own order, 0 is its boundary, and far out the score grows with the squared distance. The guard carries
    the support vectors, which are training signals.
    """

    called: ClassVar = "one-class-svm"
    fewest: ClassVar = 2

    class Config(CellsDetector.Config):
        """Options."""

        nu: float = Field(0.1, gt=0, lt=1, description="Share of the training signals that may be outside, about.")
        width: float = Field(
            1.0,
            gt=0,
            description="Where a kernel falls to 1/e: at this mean squared distance per cell, in harmless variances.",
        )
        most: int = Field(
            4096,
            ge=2,
            description="Most training signals to learn from; of more, some are drawn at random. Fewer are taken where "
            f"signals are so large that most * cells * layers exceeds {MOST_PRODUCTS}.",
        )
        seed: int = Field(0, ge=0, description="Seed of that draw.")

    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C] to float32 arrays, with S support vectors.

        `centre` and `inverse` [T * C]; `points` [S, T * C], standardised; `cost` [S], log(bound / weight) of each;
        `steep` [1], 1 over width times cells.
        """
        try:
            from sklearn.svm import OneClassSVM
        except ImportError as err:
            raise MissingExtra("Fitting the detector one-class-svm", extra="train") from err
        centre, inverse = standard(rows)
        # Each may become a support vector.
        most = max(self.fewest, min(self.config.most, MOST_PRODUCTS // rows.shape[1]))
        points = (rows[some(len(rows), most, self.config.seed)] - centre) * inverse
        steep = 1 / (self.config.width * rows.shape[1])
        machine = OneClassSVM(nu=self.config.nu, gamma=steep)
        # It has no such argument, and would draw a seed from everybody's random numbers.
        machine.random_state = self.config.seed
        machine.fit(points)
        weights = machine.dual_coef_[0]
        used = weights > 0
        return {
            "centre": centre,
            "inverse": inverse,
            "points": machine.support_vectors_[used].astype(np.float32),
            "cost": np.log(machine.offset_[0] / weights[used]).astype(np.float32),
            "steep": np.array([steep], np.float32),
        }

    def measure(self, rows: Floats) -> Floats:
        """log(bound / sum of kernels) [N] float32 of rows [N, T * C]; 0 = on the boundary, no unit."""
        learnt = self._learnt
        squared = squared_distances((rows - learnt["centre"]) * learnt["inverse"], learnt["points"])
        return soft_minimum(squared * learnt["steep"] + learnt["cost"])

    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32 -> [B] float32."""
        learnt = self._learnt
        squared = draw_squared_distances(graph, (rows - learnt["centre"]) * learnt["inverse"], learnt["points"])
        return draw_soft_minimum(graph, squared * learnt["steep"] + learnt["cost"])
