"""Detector `mahalanobis`: how far a signal is from the usual one, given how harmless signals vary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.cells import SOFTENING, CellsDetector, Doubles, Floats, Labels, times
from sri_sdk.errors import MissingExtra, ScoringError

SRI_PLUGIN_API = 1

MOST_CELLS = 1536
"""T * C for which a number per pair of cells still fits into a bundle, with room for the rest of the file."""


class MahalanobisDetector(CellsDetector):
    """The distance from the mean harmless signal in units of the harmless covariance (Mahalanobis 1936).

    The covariance has one number per pair of cells, more than a few hundred signals can tell. So it is shrunk towards
    that of equal, independent cells. The score is in standard deviations: about sqrt(T * C) for a harmless signal.
    """

    called: ClassVar = "mahalanobis"
    fewest: ClassVar = 2

    class Config(CellsDetector.Config):
        """Options."""

        shrinkage: Literal["ledoit-wolf", "oas"] = Field(
            "ledoit-wolf",
            description="Which estimate says how much to shrink; oas suits fewer signals, if they are Gaussian.",
        )

    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C]: `mean` [T * C] float32 logits, and `whiten` [T * C, T * C] float32 per logit.

        Raises:
            ScoringError: there are too many cells.
        """
        if rows.shape[1] > MOST_CELLS:
            raise ScoringError(
                f"mahalanobis: {rows.shape[1]} cells per signal, allowed: up to {MOST_CELLS}, because a bundle holds a "
                "number for each pair. Choose fewer `columns`, or another detector."
            )
        try:
            from sklearn.covariance import ledoit_wolf, oas
        except ImportError as err:
            raise MissingExtra("Fitting the detector mahalanobis", extra="train") from err
        estimate = {"ledoit-wolf": ledoit_wolf, "oas": oas}[self.config.shrinkage]
        covariance = estimate(rows)[0] + SOFTENING**2 * np.eye(rows.shape[1])
        whiten = np.linalg.cholesky(np.linalg.inv(covariance))
        return {"mean": rows.mean(axis=0).astype(np.float32), "whiten": whiten.astype(np.float32)}

    def measure(self, rows: Floats) -> Floats:
        """Distances [N] float32 of rows [N, T * C], in standard deviations."""
        white = times(rows - self._learnt["mean"], self._learnt["whiten"])
        distance: Floats = np.sqrt((white * white).sum(axis=1))
        return distance

    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32 -> [B] float32."""
        whiten = self._learnt["whiten"]
        white = graph.gemm(rows - self._learnt["mean"], whiten, np.zeros(len(whiten)))
        return graph.sqrt(graph.reduce_sum(white * white, [1]))
