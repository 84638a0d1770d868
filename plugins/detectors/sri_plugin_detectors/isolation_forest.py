"""Detector `isolation-forest`: how few random cuts separate a signal from the harmless ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.cells import CellsDetector, Doubles, Floats, Labels
from sri_sdk.errors import MissingExtra

SRI_PLUGIN_API = 1

NODES = ("tree", "feature", "threshold", "left", "right", "value")
"""Arrays [K] over the nodes of all trees, as `sri_sdk.Graph.tree_ensemble` takes them."""


class IsolationForestDetector(CellsDetector):
    """An isolation forest (Liu, Ting and Zhou 2008). The score is 2 ** -(mean depth, normalised), between 0 and 1.

    Each tree cuts a few signals at random places of random cells until each is alone. What is unusual is alone early.
    A cut looks at one cell and knows only the range of harmless signals there: beyond that range all values are the
    same to it, and cells that do not go together are nothing to it.
    """

    called: ClassVar = "isolation-forest"
    fewest: ClassVar = 16

    class Config(CellsDetector.Config):
        """Options."""

        trees: int = Field(100, ge=1, le=1000, description="Number of trees; a bundle grows with it.")
        samples: int = Field(128, ge=4, le=1024, description="Most training signals per tree.")
        seed: int = Field(0, ge=0, description="Seed of signals, cells and cuts.")

    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C] to the `NODES` [K] of trees whose values add up to a depth, normalised."""
        try:
            from sklearn.ensemble import IsolationForest
        except ImportError as err:
            raise MissingExtra("Fitting the detector isolation-forest", extra="train") from err
        forest = IsolationForest(
            n_estimators=self.config.trees,
            max_samples=min(self.config.samples, len(rows)),
            random_state=self.config.seed,
        ).fit(rows)
        trees = [each.tree_ for each in forest.estimators_]
        depth = np.concatenate([_depths(tree.children_left, tree.children_right) for tree in trees])
        left = _joined(trees, "children_left")
        # The signals that end in one leaf would take so many more cuts.
        depth = depth + _average_depth(_joined(trees, "n_node_samples"))
        scale = len(trees) * _average_depth(np.array([forest.max_samples_]))[0]
        return {
            "tree": np.repeat(np.arange(len(trees)), [tree.node_count for tree in trees]),
            # A leaf looks at nothing; scikit-learn has -2 there.
            "feature": np.maximum(_joined(trees, "feature"), 0),
            "threshold": _joined(trees, "threshold"),
            "left": left,
            "right": _joined(trees, "children_right"),
            "value": np.where(left < 0, depth / scale, 0).astype(np.float32),
        }

    def measure(self, rows: Floats) -> Floats:
        """Scores [N] float32 between 0 and 1 of rows [N, T * C]; no unit."""
        nodes = self._learnt
        first = np.flatnonzero(np.diff(nodes["tree"], prepend=-1))
        at = np.tile(first, (len(rows), 1))
        while (inner := nodes["left"][at] >= 0).any():
            goes_left = np.take_along_axis(rows, nodes["feature"][at], axis=1) <= nodes["threshold"][at]
            at = np.where(inner, first + np.where(goes_left, nodes["left"][at], nodes["right"][at]), at)
        depth: Floats = nodes["value"][at].sum(axis=1, dtype=np.float32)
        score: Floats = np.exp(depth * np.float32(-np.log(2)))
        return score

    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32 -> [B] float32."""
        return graph.exp(graph.tree_ensemble(rows, **{name: self._learnt[name] for name in NODES}) * -np.log(2))


def _joined(trees: list[Any], name: str) -> NDArray[Any]:
    """One array [K] over the nodes of all of scikit-learn's trees."""
    return np.concatenate([getattr(tree, name) for tree in trees])


def _average_depth(samples: NDArray[Any]) -> Doubles:
    """c(n) of the paper: mean cuts until one of n signals [K] is alone, in a tree of them all."""
    n = np.maximum(samples.astype(np.float64), 2)
    depth = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, depth))


def _depths(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cuts above each node [K] of one tree, whose children come after their parents."""
    depth = np.zeros(len(left), dtype=np.int64)
    for node in np.flatnonzero(left >= 0):
        depth[[left[node], right[node]]] = depth[node] + 1
    return depth
