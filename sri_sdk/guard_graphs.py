"""The graphs of a bundle, drawn with the core graph builder.

    signal    signals [B, T, C]                  -> score [B], valid [B]      a finished generation
    prefix    signals [B, T, C], length [B]      -> score [B], valid [B]      a running one, standardised per length
    full      activations [B, T, C, D]           -> score, valid, sigma, logit   anchors inside: sensitive

`signals` are in the detector's domain. `valid` is true only where every cell that counts is finite and in range; the
comparisons are drawn so that NaN is never in range. An invalid row scores `INVALID_SCORE`, above any threshold: a
caller that forgets to read `valid` raises a false alarm, and never calls an unreadable generation clear.
"""

from __future__ import annotations

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector, Domain
from sri_sdk.graph import Graph, Value
from sri_sdk.signal import EPS, TAU
from sri_sdk.signal_graph import LARGEST, draw_signal

INVALID_SCORE = float(np.float32(3e38))
"""Score of a row that cannot be scored. A detector's own score is below it, or the row counts as invalid."""
RANGE: dict[Domain, tuple[float, float]] = {"sigma": (-1e-3, 1 + 1e-3), "logit": (-1e4, 1e4)}
"""Open interval a cell must lie in. Sigma has room for rounding; logits beyond 1e4 come from no real model."""


def signal_graph(detector: Detector, cells: int, layers: int) -> Graph:
    """The detector on finished generations: `signals` [B, T, C] -> `score` [B], `valid` [B]."""
    graph = Graph("signal")
    signals = graph.input("signals", "float32", ("B", cells, layers))
    _finish(graph, detector.export(graph, signals), _in_range(graph, signals, detector.domain), cells * layers)
    return graph


def prefix_graph(detector: Detector, cells: int, layers: int, scale: PrefixScale | None) -> Graph:
    """The detector on running generations: `signals` [B, T, C] and `length` [B] int64 -> `score` [B], `valid` [B].

    Args:
        detector: a fitted detector.
        cells: T. Unseen cells hold the newest seen one; what the caller puts there, NaN included, is never read.
        layers: C.
        scale: what a score is standardised with; None draws the raw score, which the scale is fitted on.
    """
    graph = Graph("prefix")
    signals = graph.input("signals", "float32", ("B", cells, layers))
    length = graph.input("length", "int64", ("B",))
    seen = graph.unsqueeze(graph.unsqueeze(length, [1]) > np.arange(cells), [2])
    newest = graph.unsqueeze(
        graph.equal(graph.unsqueeze(length - 1, [1]), graph.constant(np.arange(cells), "int64")), [2]
    )
    held = graph.reduce_sum(graph.where(newest, signals, 0.0), [1], keepdims=True)
    filled = graph.where(seen, signals, held)
    score = detector.export(graph, filled)
    possible = graph.cast(length > 0, "float32") * graph.cast(length < cells + 1, "float32")
    if scale is not None:
        # A length outside 1..T reads row 0 of the tables (Gather fails or wraps on a bad index) and is invalid anyway.
        index = graph.where(possible > 0.5, length - 1, 0)
        score = (score - graph.gather(scale.middle, index)) / graph.gather(scale.spread, index)
    _finish(graph, score, _in_range(graph, filled, detector.domain), cells * layers, possible)
    return graph


def full_graph(detector: Detector, anchors: Anchors, *, tau: float = TAU, eps: float = EPS) -> Graph:
    """From pooled hidden states to the score: `activations` [B, T, C, D] -> `score`, `valid`, `sigma`, `logit`.

    The anchors are inside, and their difference is close to the model's refusal direction: treat the file as a secret.
    """
    cells, layers, width = anchors.harmless.shape
    graph = Graph("full")
    activations = graph.input("activations", "float32", ("B", cells, layers, width))
    sigma, logit, usable = draw_signal(graph, activations, anchors.harmless, anchors.harmful, tau=tau, eps=eps)
    signals = logit if detector.domain == "logit" else sigma
    good = _in_range(graph, signals, detector.domain) * usable
    _finish(graph, detector.export(graph, signals), good, cells * layers)
    graph.output("sigma", sigma, ("B", cells, layers))
    graph.output("logit", logit, ("B", cells, layers))
    return graph


def _in_range(graph: Graph, signals: Value, domain: Domain) -> Value:
    """[B, T, C] -> [B, T, C] float32: 1.0 where a cell can be scored. Drawn as products: AND is not portable."""
    low, high = RANGE[domain]
    return graph.cast(signals > low, "float32") * graph.cast(signals < high, "float32")


def _finish(graph: Graph, score: Value, good: Value, size: int, possible: Value | None = None) -> None:
    """Draws the outputs: valid where all `size` cells are good and the score itself is a finite number."""
    every = graph.cast(graph.reduce_sum(good, [1, 2]) > size - 0.5, "float32")
    sound = every * graph.cast(score > -LARGEST, "float32") * graph.cast(score < LARGEST, "float32")
    valid = (sound if possible is None else sound * possible) > 0.5
    graph.output("score", graph.where(valid, score, INVALID_SCORE), ("B",))
    graph.output("valid", valid, ("B",))
