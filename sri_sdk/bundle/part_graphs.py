"""The graphs of format 2: K parts, each on columns of its own.

    signal    signals [B, T, C]                               -> score [B, K], valid [B, K]
    prefix    signals [B, T, C], length [B]                   -> score, valid
    full      activations [B, T, S, D], prompt [B, L, D]      -> score, valid, sigma [B, T, C], logit [B, T, C]
    step      phi [B, S, D], step [B], state [B, T, C],       -> score, valid, sigma [B, C], state_out [B, T, C]
              prompt [B, L, D]

S of the C columns are SRI signals; the last may be the request. `valid` of a part depends on its own columns alone: a
request that nobody could locate costs the parts that read it, and no other. As in format 1, an invalid score is
`INVALID_SCORE`, and `full` and `step` hold the anchors: secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.guard_graphs import INVALID_SCORE, begin_step, drawn, held, in_range, sound, standardised
from sri_sdk.bundle.request_graph import draw_log_odds, placed, widened
from sri_sdk.bundle.signal_graph import LARGEST, draw_signal
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector, Domain
from sri_sdk.graph.builder import Graph, Value
from sri_sdk.signal import EPS, TAU

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


def domain_of(detectors: Sequence[Detector]) -> Domain:
    """The form of the signals that all parts are given: sigma follows from the logit, but not the other way round."""
    return "logit" if any(detector.domain == "logit" for detector in detectors) else "sigma"


def parts_signal_graph(parts: Sequence[DrawnPart], cells: int, columns: int) -> Graph:
    """The parts on finished generations: `signals` [B, T, C] -> `score` and `valid` [B, K]."""
    graph = Graph("signal")
    signals = graph.input("signals", "float32", ("B", cells, columns))
    _output(graph, parts, _finished(graph, parts, signals, cells, columns))
    return graph


def parts_prefix_graph(parts: Sequence[DrawnPart], cells: int, columns: int) -> Graph:
    """The parts on running generations: `signals` [B, T, C] and `length` [B] int64 -> `score` and `valid` [B, K]."""
    graph = Graph("prefix")
    signals = graph.input("signals", "float32", ("B", cells, columns))
    length = graph.input("length", "int64", ("B",))
    possible = graph.cast(length > 0, "float32") * graph.cast(length < cells + 1, "float32")
    # A length outside 1..T is read as 1, as in format 1; the row is invalid anyway.
    last = graph.where(possible > 0.5, length - 1, 0)
    _output(graph, parts, _running(graph, parts, signals, last, possible, columns, cells))
    return graph


def parts_full_graph(
    parts: Sequence[DrawnPart], anchors: Anchors, *, tau: float = TAU, eps: float = EPS
) -> Graph:  # fmt: skip
    """From pooled hidden states to the scores.

    `activations` [B, T, S, D] and `prompt` [B, L, D], those that the columns need, -> `score` and `valid` [B, K],
    `sigma` and `logit` [B, T, C], NaN where a state cannot be used.
    """
    cells, layers, width = anchors.harmless.shape
    graph = Graph("full")
    columns, logit = len(anchors.columns), graph.constant(np.zeros((1, cells, 1)))
    if layers:
        states = graph.input("activations", "float32", ("B", cells, layers, width))
        _, found, usable = draw_signal(graph, states, anchors.harmless, anchors.harmful, tau=tau, eps=eps)
        logit = graph.where(usable > 0.5, found, np.nan)
    if anchors.request is not None:
        prompt = graph.input("prompt", "float32", ("B", *anchors.request.weight.shape))
        odds = draw_log_odds(graph, prompt, anchors.request)
        logit = placed(graph, widened(graph, logit, layers) if layers else logit, odds, layers)
    sigma = graph.sigmoid(logit)
    signals = logit if domain_of([part.detector for part in parts]) == "logit" else sigma
    _output(graph, parts, _finished(graph, parts, signals, cells, columns))
    graph.output("sigma", sigma, ("B", cells, columns))
    graph.output("logit", logit, ("B", cells, columns))
    return graph


def parts_step_graph(
    parts: Sequence[DrawnPart], anchors: Anchors, *, tau: float = TAU, eps: float = EPS
) -> Graph:  # fmt: skip
    """One step of a running generation: `phi` [B, S, D], `step` [B] int64, `state` [B, T, C] and, if there is such a
    column, `prompt` [B, L, D] -> `score` and `valid` [B, K], `sigma` [B, C], `state_out` [B, T, C].

    As in format 1: begin with NaN everywhere, and pass `state_out` on. Where `prompt` is not finite, the number that
    `state` has for the request stands, so it may be given once. The scores are those of the graph `prefix`.
    """
    cells, layers, _ = anchors.harmless.shape
    columns, domain = len(anchors.columns), domain_of([part.detector for part in parts])
    graph = Graph("step")
    here = begin_step(graph, anchors, columns, tau=tau, eps=eps)
    found = graph.where(here.fine, here.logit, np.nan)
    now = found if domain == "logit" else graph.sigmoid(found)
    if anchors.request is not None:
        now = widened(graph, now, layers)
    filled = here.filled(graph, now)
    if anchors.request is not None:
        prompt = graph.input("prompt", "float32", ("B", *anchors.request.weight.shape))
        odds = draw_log_odds(graph, prompt, anchors.request)
        read = odds if domain == "logit" else graph.sigmoid(odds)
        request = graph.where(read > -LARGEST, read, _picked(graph, _picked(graph, here.state, [0], 1), [layers], 2))
        # Into every cell: the request is one number.
        now, filled = placed(graph, now, request, layers), placed(graph, filled, request, layers)
    sigma = graph.squeeze(now, [1])
    _output(graph, parts, _running(graph, parts, filled, here.cell, here.possible, columns, cells))
    graph.output("sigma", sigma if domain == "sigma" else graph.sigmoid(sigma), ("B", columns))
    graph.output("state_out", filled, ("B", cells, columns))
    return graph


def _finished(graph: Graph, parts: Sequence[DrawnPart], signals: Value, cells: int, columns: int) -> list[Scored]:
    """Of each part, on finished generations [B, T, C]."""
    domain = domain_of([part.detector for part in parts])

    def scored(part: DrawnPart) -> Scored:
        mine = _chosen(graph, signals, part.columns, columns)
        found, good = drawn(graph, part.detector, _read(graph, part, mine, domain)), in_range(graph, mine, domain)
        return found, sound(graph, found, good, cells * len(part.columns))

    return [scored(part) for part in parts]


def _running(
    graph: Graph, parts: Sequence[DrawnPart], signals: Value, last: Value, possible: Value, columns: int, cells: int
) -> list[Scored]:  # fmt: skip
    """Of each part, on running generations [B, T, C] whose newest known cell is `last` [B]."""
    domain = domain_of([part.detector for part in parts])

    def scored(part: DrawnPart) -> Scored:
        filled = held(graph, _chosen(graph, signals, part.columns, columns), last, cells)
        score = drawn(graph, part.detector, _read(graph, part, filled, domain))
        found, good = standardised(graph, score, part.scale, last), in_range(graph, filled, domain)
        return found, sound(graph, found, good, cells * len(part.columns), possible)

    return [scored(part) for part in parts]


def _read(graph: Graph, part: DrawnPart, signals: Value, domain: Domain) -> Value:
    """Signals [B, T, C] of a domain, as a part's detector reads them."""
    return signals if part.detector.domain == domain else graph.sigmoid(signals)


def _chosen(graph: Graph, signals: Value, wanted: tuple[int, ...], columns: int) -> Value:
    """The wanted columns of [B, T, C]; picked, not multiplied, since the others may hold NaN."""
    return signals if wanted == tuple(range(columns)) else _picked(graph, signals, wanted, 2)


def _picked(graph: Graph, values: Value, which: Sequence[int], axis: int) -> Value:
    return graph.node("Gather", values, graph.constant(list(which), "int64"), axis=axis)


def _output(graph: Graph, parts: Sequence[DrawnPart], scored: Sequence[Scored]) -> None:
    """Draws the outputs [B, K], one column per part."""
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
