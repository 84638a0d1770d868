"""The graphs of format 2: `signal` and `prefix` with K parts, each on columns of its own.

    signal    signals [B, T, C]               -> score [B, K], valid [B, K]
    prefix    signals [B, T, C], length [B]   -> score [B, K], valid [B, K]

`valid` of a part depends on its own columns alone: a request that nobody could locate costs the parts that read it, and
no other. As in format 1, an invalid score is `INVALID_SCORE`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sri_sdk.bundle.guard_graphs import INVALID_SCORE, drawn, in_range, running, sound
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector
from sri_sdk.graph.builder import Graph, Value

Scored = tuple[Value, Value]
"""A part's score [B], and 1.0 [B] where it is valid, else 0.0."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPart:
    """What a graph must know of one part."""

    detector: Detector
    """Fitted on its columns."""
    columns: tuple[int, ...]
    """Which of the C columns it reads, counted from 0, rising."""
    scale: PrefixScale | None = None
    """Standardises its score in the graph `prefix`; None = raw."""


def parts_signal_graph(parts: Sequence[DrawnPart], cells: int, columns: int) -> Graph:
    """The parts on finished generations: `signals` [B, T, C] -> `score` and `valid` [B, K]."""
    graph = Graph("signal")
    signals = graph.input("signals", "float32", ("B", cells, columns))

    def score(part: DrawnPart) -> Scored:
        mine = _chosen(graph, signals, part.columns, columns)
        found, good = drawn(graph, part.detector, mine), in_range(graph, mine, part.detector.domain)
        return found, sound(graph, found, good, cells * len(part.columns))

    _output(graph, parts, score)
    return graph


def parts_prefix_graph(parts: Sequence[DrawnPart], cells: int, columns: int) -> Graph:
    """The parts on running generations: `signals` [B, T, C] and `length` [B] int64 -> `score` and `valid` [B, K]."""
    graph = Graph("prefix")
    signals = graph.input("signals", "float32", ("B", cells, columns))
    length = graph.input("length", "int64", ("B",))
    possible = graph.cast(length > 0, "float32") * graph.cast(length < cells + 1, "float32")
    # A length outside 1..T is read as 1, as in format 1; the row is invalid anyway.
    last = graph.where(possible > 0.5, length - 1, 0)

    def score(part: DrawnPart) -> Scored:
        mine = _chosen(graph, signals, part.columns, columns)
        found, good = running(graph, part.detector, mine, last, cells, part.scale)
        return found, sound(graph, found, good, cells * len(part.columns), possible)

    _output(graph, parts, score)
    return graph


def _chosen(graph: Graph, signals: Value, wanted: tuple[int, ...], columns: int) -> Value:
    """The wanted columns of [B, T, C]; picked, not multiplied, since the others may hold NaN."""
    if wanted == tuple(range(columns)):
        return signals
    return graph.node("Gather", signals, graph.constant(list(wanted), "int64"), axis=2)


def _output(graph: Graph, parts: Sequence[DrawnPart], draw: Callable[[DrawnPart], Scored]) -> None:
    """Draws the outputs [B, K], one column per part."""
    scored = [draw(part) for part in parts]
    order = graph.constant(np.arange(len(parts), dtype=np.float32)[None])
    score, fine = (graph.unsqueeze(each, [1]) for each in scored[0])
    for k, pair in enumerate(scored[1:], start=1):
        before = order < k - 0.5
        score, fine = (
            graph.where(before, old, graph.unsqueeze(new, [1])) for old, new in zip((score, fine), pair, strict=True)
        )
    valid = fine > 0.5
    graph.output("score", graph.where(valid, score, INVALID_SCORE), ("B", len(parts)))
    graph.output("valid", valid, ("B", len(parts)))
