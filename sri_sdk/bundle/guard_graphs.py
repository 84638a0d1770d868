"""The graphs of a bundle, drawn with the core graph builder.

    signal    signals [B, T, C]                  -> score [B], valid [B]      a finished generation
    prefix    signals [B, T, C], length [B]      -> score [B], valid [B]      a running one, standardised per length
    full      activations [B, T, C, D]           -> score, valid, sigma, logit   anchors inside: sensitive
    step      phi [B, C, D], step [B],           -> score, valid, sigma [B, C], state_out [B, T, C]   sensitive as well
              state [B, T, C]                       one more step of a running one

`signals` are in the detector's domain. `valid` is true only where every cell that counts is finite and in range; the
comparisons are drawn so that NaN is never in range. An invalid row scores `INVALID_SCORE`, above any threshold: a
caller that forgets to read `valid` raises a false alarm, but never calls an unreadable generation clear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.ranges import INVALID_SCORE as INVALID_SCORE
from sri_sdk.bundle.ranges import RANGE as RANGE
from sri_sdk.bundle.signal_graph import LARGEST, draw_signal
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector, Domain
from sri_sdk.errors import BundleError
from sri_sdk.graph.builder import Graph, Value
from sri_sdk.signal import EPS, TAU


def signal_graph(detector: Detector, cells: int, layers: int) -> Graph:
    """The detector on finished generations: `signals` [B, T, C] -> `score` [B], `valid` [B]."""
    graph = Graph("signal")
    signals = graph.input("signals", "float32", ("B", cells, layers))
    _finish(graph, drawn(graph, detector, signals), in_range(graph, signals, detector.domain), cells * layers)
    return graph


def prefix_graph(detector: Detector, cells: int, layers: int, scale: PrefixScale | None) -> Graph:
    """The detector on running generations: `signals` [B, T, C] and `length` [B] int64 -> `score` [B], `valid` [B].

    Args:
        detector: a fitted detector.
        cells: T. Unseen cells repeat the newest seen one; what the caller puts there, NaN included, is never read.
        layers: C.
        scale: standardises the score; None draws the raw score, on which the scale is fitted.
    """
    graph = Graph("prefix")
    signals = graph.input("signals", "float32", ("B", cells, layers))
    length = graph.input("length", "int64", ("B",))
    possible = graph.cast(length > 0, "float32") * graph.cast(length < cells + 1, "float32")
    # A length outside 1..T is read as 1 (Gather fails or wraps on a bad index); the row is invalid anyway.
    last = graph.where(possible > 0.5, length - 1, 0)
    score, good = running(graph, detector, signals, last, cells, scale)
    _finish(graph, score, good, cells * layers, possible)
    return graph


def step_graph(
    detector: Detector, anchors: Anchors, scale: PrefixScale, *, tau: float = TAU, eps: float = EPS
) -> Graph:
    """One step of a running generation: `phi` [B, C, D], `step` [B] int64 and `state` [B, T, C] -> `score`, `valid`,
    `sigma` [B, C], `state_out` [B, T, C].

    `step` is the cell to fill now, counted from 0. `state` has the signal of the cells before it, in the detector's
    domain, and NaN elsewhere; begin with NaN everywhere, and pass `state_out` on. A `phi` that cannot be
    used writes NaN, so neither it nor a skipped cell is forgotten later. A step that does not exist changes nothing and
    is invalid. The score is that of the graph `prefix`. The anchors are inside, as in `full`.
    """
    cells, layers, _ = anchors.harmless.shape
    graph = Graph("step")
    here = begin_step(graph, anchors, layers, tau=tau, eps=eps)
    filled = here.filled(
        graph, graph.where(here.fine, here.logit if detector.domain == "logit" else here.sigma, np.nan)
    )
    score, good = running(graph, detector, filled, here.cell, cells, scale)
    _finish(graph, score, good, cells * layers, here.possible)
    graph.output("sigma", graph.squeeze(graph.where(here.fine, here.sigma, np.nan), [1]), ("B", layers))
    graph.output("state_out", filled, ("B", cells, layers))
    return graph


@dataclass(frozen=True, slots=True)
class DrawnStep:
    """One step of a running generation, as far as both formats draw it alike."""

    step: Value
    """[B], as the caller gave it."""
    state: Value
    """[B, T, C], the signal of the cells before."""
    cell: Value
    """[B], the cell to fill; 0 where the step does not exist."""
    possible: Value
    """[B], 1.0 where it exists."""
    sigma: Value
    """[B, 1, S], of `phi`; meaningless where not `fine`."""
    logit: Value
    """[B, 1, S]"""
    fine: Value
    """[B, 1, S] bool, where `phi` can be used and the step exists."""
    cells: int
    """T."""

    def filled(self, graph: Graph, now: Value) -> Value:
        """[B, T, C]: the state with `now` [B, 1, C] in the cell of this step."""
        # Not `cell`: a step that does not exist must not be written into cell 0.
        here = graph.equal(graph.unsqueeze(self.step, [1]), graph.constant(np.arange(self.cells), "int64"))
        return graph.where(graph.unsqueeze(here, [2]), now, self.state)


def begin_step(graph: Graph, anchors: Anchors, columns: int, *, tau: float, eps: float) -> DrawnStep:
    """Draws the inputs of `step`, and the signal of `phi`, for a state of that many columns."""
    cells, layers, width = anchors.harmless.shape
    phi = graph.input("phi", "float32", ("B", layers, width))
    step = graph.input("step", "int64", ("B",))
    state = graph.input("state", "float32", ("B", cells, columns))
    possible = graph.cast(step > -1, "float32") * graph.cast(step < cells, "float32")
    cell = graph.where(possible > 0.5, step, 0)
    sigma, logit, usable = draw_signal(
        graph, graph.unsqueeze(phi, [1]), anchors.harmless, anchors.harmful, tau=tau, eps=eps, cell=cell
    )
    fine = usable * graph.unsqueeze(possible, [1, 2]) > 0.5
    return DrawnStep(step, state, cell, possible, sigma, logit, fine, cells)


def full_graph(detector: Detector, anchors: Anchors, *, tau: float = TAU, eps: float = EPS) -> Graph:
    """From pooled hidden states to the score: `activations` [B, T, C, D] -> `score`, `valid`, `sigma`, `logit`.

    The anchors are inside, and their difference is close to the model's refusal direction: treat the file as a secret.
    """
    cells, layers, width = anchors.harmless.shape
    graph = Graph("full")
    activations = graph.input("activations", "float32", ("B", cells, layers, width))
    sigma, logit, usable = draw_signal(graph, activations, anchors.harmless, anchors.harmful, tau=tau, eps=eps)
    signals = logit if detector.domain == "logit" else sigma
    good = in_range(graph, signals, detector.domain) * usable
    _finish(graph, drawn(graph, detector, signals), good, cells * layers)
    graph.output("sigma", sigma, ("B", cells, layers))
    graph.output("logit", logit, ("B", cells, layers))
    return graph


def drawn(graph: Graph, detector: Detector, signals: Value) -> Value:
    """The detector's score [B] of signals [B, T, C].

    Raises:
        BundleError: a portable detector embeds a model.
    """
    score = detector.export(graph, signals)
    if graph.embeds and detector.tier != "python":
        raise BundleError(
            f"graph {graph.name}: {type(detector).__name__}.export embeds a ready-made model, but the tier of the "
            f'detector is {detector.tier!r}, which every runtime must be able to read. Write `tier = "python"` in the '
            "class, or draw the score with the operators of sri_sdk.Graph."
        )
    return score


def running(
    graph: Graph, detector: Detector, signals: Value, last: Value, cells: int, scale: PrefixScale | None
) -> tuple[Value, Value]:
    """Score [B] and 1.0 per good cell [B, T, C] of [B, T, C], where `last` [B], in 0..T-1, is the newest known cell."""
    filled = held(graph, signals, last, cells)
    score = standardised(graph, drawn(graph, detector, filled), scale, last)
    return score, in_range(graph, filled, detector.domain)


def held(graph: Graph, signals: Value, last: Value, cells: int) -> Value:
    """[B, T, C] -> [B, T, C]: cells beyond `last` [B], in 0..T-1, repeat the cell there, and are never read."""
    at = graph.unsqueeze(last, [1])
    seen = graph.unsqueeze(at > np.arange(cells) - 1, [2])
    newest = graph.unsqueeze(graph.equal(at, graph.constant(np.arange(cells), "int64")), [2])
    repeated = graph.reduce_sum(graph.where(newest, signals, 0.0), [1], keepdims=True)
    return graph.where(seen, signals, repeated)


def standardised(graph: Graph, score: Value, scale: PrefixScale | None, last: Value) -> Value:
    """Scores [B] of generations whose newest known cell is `last` [B], unitless; raw without a scale."""
    if scale is None:
        return score
    return (score - graph.gather(scale.middle, last)) / graph.gather(scale.spread, last)


def in_range(graph: Graph, signals: Value, domain: Domain) -> Value:
    """[B, T, C] -> [B, T, C] float32: 1.0 where a cell can be scored. Drawn as products: AND is not portable."""
    low, high = RANGE[domain]
    return graph.cast(signals > low, "float32") * graph.cast(signals < high, "float32")


def sound(graph: Graph, score: Value, good: Value, size: int, possible: Value | None = None) -> Value:
    """1.0 [B] where all `size` cells are good ([B, T, C], 1.0 each) and the score [B] itself is a finite number."""
    every = graph.cast(graph.reduce_sum(good, [1, 2]) > size - 0.5, "float32")
    found = every * graph.cast(score > -LARGEST, "float32") * graph.cast(score < LARGEST, "float32")
    return found if possible is None else found * possible


def _finish(graph: Graph, score: Value, good: Value, size: int, possible: Value | None = None) -> None:
    """Draws the outputs: valid where `sound` says so."""
    valid = sound(graph, score, good, size, possible) > 0.5
    graph.output("score", graph.where(valid, score, INVALID_SCORE), ("B",))
    graph.output("valid", valid, ("B",))
