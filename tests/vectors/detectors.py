"""Two detectors of the field, drawn by hand, for tests of graphs and runtimes. Copy them, but mind what they leave out:
they have no options, and their checks are short."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import sri_sdk
from sri_sdk.errors import ScoringError

Floats = NDArray[np.float32]
TREES, SAMPLES = 16, 32
RIDGE = 1e-3
"""Share of the mean variance that is added to each, so that few signals give a covariance that can be inverted."""

FEWEST = 2
"""Signals that have a spread."""


class IsolationForestDetector(sri_sdk.Detector):
    """How quickly random cuts isolate a signal (Liu, Ting and Zhou 2008), as scikit-learn fits it: one ONNX node."""

    fewest = FEWEST

    _nodes: Mapping[str, NDArray[Any]] = {}
    """Arrays [K] over the nodes of all trees: tree, feature, threshold, left, right, value."""
    _shape: tuple[int, ...] = ()
    """[T, C] it was fitted on."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Grows the trees on [N, T, C]."""
        from sklearn.ensemble import IsolationForest

        rows = _finite(signals)
        forest = IsolationForest(n_estimators=TREES, max_samples=min(SAMPLES, len(rows)), random_state=0).fit(rows)
        return self.restore({**nodes_of(forest), "shape": np.array(signals.shape[1:])})

    def score(self, signals: Floats) -> Floats:
        """[N, T, C] -> [N] in 0..1."""
        if signals.shape[1:] != self._shape or not np.isfinite(signals).all():
            raise ScoringError("isolation-forest: not fitted, another shape, or a signal is not finite.")
        rows, nodes = signals.reshape(len(signals), -1), self._nodes
        first = np.flatnonzero(np.diff(nodes["tree"], prepend=-1))
        at = np.tile(first, (len(rows), 1))
        while (inner := nodes["left"][at] >= 0).any():
            goes_left = np.take_along_axis(rows, np.maximum(nodes["feature"][at], 0), axis=1) <= nodes["threshold"][at]
            at = np.where(inner, first + np.where(goes_left, nodes["left"][at], nodes["right"][at]), at)
        depth: Floats = nodes["value"][at].sum(axis=1, dtype=np.float32)
        return np.exp(depth * np.float32(-np.log(2)))

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """[B, T, C] -> [B]."""
        rows = graph.reshape(signals, [-1, int(np.prod(self._shape))])
        return graph.exp(graph.tree_ensemble(rows, **self._nodes) * -np.log(2))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """The nodes, and the shape of a signal."""
        return {**self._nodes, "shape": np.array(self._shape)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `state`."""
        self._nodes = {name: array for name, array in state.items() if name != "shape"}
        self._shape = tuple(state["shape"].tolist())
        return self


def nodes_of(forest: Any) -> dict[str, NDArray[Any]]:
    """The nodes of a fitted scikit-learn IsolationForest; the sum of their values is its depth, normalised."""
    trees = [each.tree_ for each in forest.estimators_]
    scale = 1 / (len(trees) * average_path(np.array([forest.max_samples_]))[0])

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(tree, name) for tree in trees])

    depth = np.concatenate([_depths(tree) for tree in trees])
    return {
        "tree": np.repeat(np.arange(len(trees)), [tree.node_count for tree in trees]),
        "feature": joined("feature"),
        "threshold": joined("threshold"),
        "left": joined("children_left"),
        "right": joined("children_right"),
        "value": ((depth + average_path(joined("n_node_samples"))) * scale).astype(np.float32),
    }


def average_path(samples: NDArray[Any]) -> NDArray[np.float64]:
    """c(n) of the paper: mean depth of an unsuccessful search in a binary tree of n samples."""
    n = np.maximum(samples.astype(np.float64), 2)
    path = 2 * (np.log(np.maximum(n - 1, 1)) + np.euler_gamma) - 2 * (n - 1) / n
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, path))


def _depths(tree: Any) -> NDArray[np.int64]:
    depth = np.zeros(tree.node_count, dtype=np.int64)
    for node, (left, right) in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        if left >= 0:
            depth[[left, right]] = depth[node] + 1
    return depth


def _finite(signals: Floats) -> Floats:
    """[N, T, C] -> [N, T * C]."""
    if len(signals) < FEWEST or not np.isfinite(signals).all():
        raise ScoringError(f"fit() needs at least {FEWEST} signals, all finite. Leave out what is not.")
    return signals.reshape(len(signals), -1)


class MahalanobisDetector(sri_sdk.Detector):
    """Squared distance from the mean harmless signal in units of the harmless covariance (Mahalanobis 1936)."""

    fewest = FEWEST
    _mean: Floats = np.empty((0, 0), np.float32)
    _whiten: Floats = np.empty((0, 0), np.float32)

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Learns mean and covariance of [N, T, C]."""
        rows = _finite(signals).astype(np.float64)
        centred = rows - rows.mean(axis=0)
        covariance = centred.T @ centred / len(rows)
        covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        self._mean = rows.mean(axis=0).reshape(signals.shape[1:]).astype(np.float32)
        self._whiten = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
        return self

    def score(self, signals: Floats) -> Floats:
        """[N, T, C] -> [N]."""
        if signals.shape[1:] != self._mean.shape or not np.isfinite(signals).all():
            raise ScoringError("mahalanobis: not fitted, another shape, or a signal is not finite.")
        white = (signals - self._mean).reshape(len(signals), -1) @ self._whiten
        distance: Floats = (white * white).sum(axis=1, dtype=np.float32)
        return distance

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """[B, T, C] -> [B]."""
        size = len(self._whiten)
        white = graph.gemm(graph.reshape(signals - self._mean, [-1, size]), self._whiten, np.zeros(size))
        return graph.reduce_sum(white * white, [1])

    def state(self) -> Mapping[str, NDArray[Any]]:
        """What `fit` learnt."""
        return {"mean": self._mean, "whiten": self._whiten}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `state`."""
        self._mean, self._whiten = state["mean"], state["whiten"]
        return self


class LogitMahalanobis(MahalanobisDetector):
    """On logits, whose range is another."""

    domain = "logit"
