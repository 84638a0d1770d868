"""Detector `nearest-neighbours`: how far a signal is from those harmless signals that are most like it."""

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
    draw_squared_distances,
    some,
    squared_distances,
    standard,
)
from sri_sdk.errors import ScoringError

SRI_PLUGIN_API = 1


class NearestNeighboursDetector(CellsDetector):
    """The mean distance to the k nearest harmless signals (Ramaswamy, Rastogi and Shim 2000).

    Distances are over standardised cells, divided by sqrt(T * C): the unit is the softened standard deviation of a
    cell. It expects no shape of the harmless signals, so several kinds of harmless traffic may lie far apart. The
    guard carries the signals it compares with; they are derived from the training prompts.
    """

    called: ClassVar = "nearest-neighbours"
    fewest: ClassVar = 6

    class Config(CellsDetector.Config):
        """Options."""

        neighbours: int = Field(5, ge=1, description="Over how many of the nearest harmless signals to average.")
        most: int = Field(
            512,
            ge=1,
            description="Most training signals to compare with; of more, some are drawn at random. Fewer are kept "
            f"where signals are so large that most * cells * layers exceeds {MOST_PRODUCTS}.",
        )
        seed: int = Field(0, ge=0, description="Seed of that draw.")

    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C]: `centre` and `inverse` [T * C], and the standardised `points` [K, T * C]; float32.

        Raises:
            ScoringError: fewer signals are kept than are to be averaged over.
        """
        most = min(self.config.most, MOST_PRODUCTS // rows.shape[1])
        centre, inverse = standard(rows)
        kept = some(len(rows), most, self.config.seed)
        if len(kept) < self.config.neighbours:
            raise ScoringError(
                f"nearest-neighbours: neighbours is {self.config.neighbours}, but of {len(rows)} signals {len(kept)} "
                f"are compared with; with {rows.shape[1]} cells per signal, up to {most} could be. Lower `neighbours`, "
                "raise `most`, or give the training fold more harmless prompts."
            )
        # In float32, as signals are standardised when they are scored: the same signal is at distance 0.
        points = (rows[kept].astype(np.float32) - centre) * inverse
        return {"centre": centre, "inverse": inverse, "points": points}

    def measure(self, rows: Floats) -> Floats:
        """Mean distances [N] float32 of rows [N, T * C], in softened standard deviations of a cell."""
        x = (rows - self._learnt["centre"]) * self._learnt["inverse"]
        squared = squared_distances(x, self._learnt["points"])
        nearest = np.sort(squared, axis=1)[:, : self.config.neighbours]
        mean: Floats = np.sqrt(nearest).sum(axis=1) * self._unit
        return mean

    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32 -> [B] float32."""
        x = (rows - self._learnt["centre"]) * self._learnt["inverse"]
        squared = draw_squared_distances(graph, x, self._learnt["points"])
        nearest = graph.smallest(squared, self.config.neighbours)
        return graph.reduce_sum(graph.sqrt(nearest), [1]) * self._unit

    @property
    def _unit(self) -> np.float32:
        """From a sum of distances to their mean, per root of the number of cells."""
        return np.float32(1 / (self.config.neighbours * np.sqrt(self._learnt["centre"].size)))
