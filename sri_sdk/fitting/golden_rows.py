"""Which made-up signals the golden vectors have, so that a wrong constant shows.

Real signals look alike: a weight behind a ReLU that none of them opens may have any value. So each row asks other
questions: cells at random, cells at the edges, real rows with a hole, every length. Then every constant is replaced,
one number at a time, and a number that moves no answer gets rows chosen for it. What is left is counted.
"""

from __future__ import annotations

from functools import partial
from math import gcd
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.golden import (
    REAL_ROWS,
    Broken,
    Coverage,
    Golden,
    broken_cells,
    golden_prefixes,
    golden_signals,
)  # fmt: skip
from sri_sdk.detector import Domain
from sri_sdk.fitting.adjustable import Adjustable
from sri_sdk.scoring.runtime import RunGraph
from sri_sdk.scoring.self_test import MOST_TIME

Floats = NDArray[np.float32]
Inputs = dict[str, NDArray[Any]]


class Allowing(Protocol):
    """A threshold, or those of all parts."""

    def allowed(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """How far another runtime may differ from scores: [G] or [G, K], and [...] of the same shape."""


Ready = tuple[bytes, RunGraph, Allowing]
"""A graph as ONNX and as a session, and what its scores are compared with."""
Change = tuple[str, int, float]
"""A constant, a position in it, counted over its flat numbers, and the new value."""

NOISE_MOVES = 8
"""Moves of the last bit that two runtimes may differ by."""
SIZE = 2**17
"""Bytes of the golden signals of one graph, but never fewer than `FEWEST` made-up rows."""
FEWEST, PLAIN, MOST = 4, 20, 128
"""Made-up rows: at least, to begin with, and at most."""
POOL = 200
"""Rows among which those for single numbers are chosen."""
CHANGES = 4000
"""Changes tried per graph. More numbers than that are tried at regular distances."""
SOUGHT = 400
"""Changes that no row notices for which others are tried."""
WORK = 2**25
"""Golden cells scored per graph for all changes together: bounds the time where signals are large."""
EDGE: dict[Domain, tuple[float, float]] = {"sigma": (0.0, 1.0), "logit": (-60.0, 60.0)}
"""Lowest and highest cell that is made up."""
HUGE = 1e36
LARGEST = float(np.finfo(np.float32).max)


def golden_of_signals(
    finished: Ready, running: Ready, values: Floats, scores: Floats, domain: Domain, broken: Broken | None = None
) -> tuple[dict[str, Golden], dict[str, Coverage]]:
    """Golden vectors of the graphs `signal` and `prefix`, and what they notice.

    Args:
        finished: the graph `signal`.
        running: the graph `prefix`.
        values: [N, T, C] float32 calibration signals.
        scores: [N] float32, theirs; the rows that are taken spread over them.
        domain: of the signals.
        broken: makes the rows that cannot be scored; None = those of format 1.
    """
    cells = values.shape[1]
    broken = broken or partial(broken_cells, domain=domain)
    others = REAL_ROWS + len(broken(values[0])) + 2
    made = made_up(values, domain, MOST + POOL)
    made = made[steady(answers(finished[1], {"signals": made}, finished[2]), finished[2])]
    # Every length once before one comes again, and the first few far apart.
    stride = next(each for each in range(1 + int(0.61 * cells), 2 * cells + 2) if gcd(each, cells) == 1)
    lengths = np.arange(1, len(made) + 1) * stride % cells + 1

    def signal(which: NDArray[np.int64]) -> Inputs:
        return {"signals": golden_signals(values, scores, made[which], broken)}

    def prefix(which: NDArray[np.int64]) -> Inputs:
        rows, whole = golden_prefixes(signal(which)["signals"], lengths[which])
        return {"signals": rows, "length": whole}

    golden, noticed = {}, {}
    for name, (content, run, threshold), inputs in (("signal", finished, signal), ("prefix", running, prefix)):
        graph = Adjustable.of(content, f"graph {name}")
        most = room(values.shape[1:])
        if run.work is not None:
            most = max(0, min(most, MOST_TIME // run.work.time - others))
        # One row per length, where there is room.
        plain = np.arange(min(len(made), most, PLAIN + (cells if name == "prefix" else 0)))
        pool: Inputs = {"signals": made} if name == "signal" else {"signals": made, "length": lengths}
        asked = answers(run, inputs(plain), threshold)
        changes = _changes(graph, asked)
        missed = missed_by(graph, changes, asked)
        extra = choose(graph, missed, answers(run, pool, threshold), most - len(plain))
        which = np.union1d(plain, extra)
        if graph.learnt:
            # A branch that moves a little shows only in rows near it: all there is room for.
            which = np.union1d(which, np.setdiff1d(np.arange(len(made)), which)[: most - len(which)])
        golden[name] = answers(run, inputs(which), threshold)
        noticed[name] = _coverage(graph, changes, missed_by(graph, missed, golden[name]))
    return golden, noticed


def made_up(calibration: Floats, domain: Domain, count: int) -> Floats:
    """[N, T, C] float32 calibration signals -> [count, T, C] float32, always the same."""
    rng = np.random.default_rng(0)
    low, high = EDGE[domain]
    shape = calibration.shape[1:]
    centre, spread = calibration.mean(axis=0), calibration.std(axis=0) + 1e-3 * (high - low)
    rows = np.empty((count, *shape))
    for row in range(count):
        real = calibration[rng.integers(len(calibration))]
        match row % 6:
            case 5:
                rows[row] = real
            case 0:
                rows[row] = rng.uniform(low, high, shape)
            case 1:
                rows[row] = centre + spread * rng.normal(size=shape) * 2 ** rng.uniform(0, 6)
            case 2:
                rows[row] = np.where(rng.random(shape) < 0.5, low, high)
            case 3:
                start, end = np.sort(rng.integers(0, shape[0] + 1, 2))
                hole = np.arange(shape[0])[:, None]
                rows[row] = np.where((hole >= start) & (hole < end), rng.choice([low, high]), real)
            case _:
                rows[row] = np.where(rng.random(shape) < 0.2, rng.choice([low, high]), real)
    return np.clip(rows, low, high).astype(np.float32)


def room(shape: tuple[int, ...]) -> int:
    """Made-up rows of [T, C] that a graph's golden vectors have room for."""
    return int(np.clip(SIZE // (4 * shape[0] * shape[1]), FEWEST, MOST))


def answers(run: RunGraph, stored: Inputs, threshold: Allowing, by_rule: Inputs | None = None) -> Golden:
    """Asks a graph about G golden rows: `score` [G] float32, in the detector's unit, and `valid` [G] bool; with parts
    [G, K].

    Args:
        run: the graph in onnxruntime.
        stored: inputs by name, [G, ...] each, that the bundle stores.
        threshold: says how far a score may differ in another runtime.
        by_rule: inputs [G, ...] float32 that every reader makes again by rule, so the bundle does not store them.
    """
    inputs = {**stored, **(by_rule or {})}
    score, valid = run(["score", "valid"], inputs)
    rounding = np.zeros(score.shape)
    for name in ("signals", "state", "prompt"):
        if name in inputs:
            # A made-up row may cancel numbers that are much larger than its score.
            values = inputs[name].astype(np.float32)
            signs = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.float32), size=values.shape)
            step = signs * np.finfo(np.float32).eps * np.clip(np.abs(np.nan_to_num(values)), 1, HUGE)
            for moved in (values - step, values + step):
                other, fine = run(["score", "valid"], {**inputs, name: moved})
                gap = NOISE_MOVES * np.abs(other.astype(np.float64) - score.astype(np.float64))
                rounding = np.maximum(rounding, np.where(valid & fine, gap, 0))
    tolerance = np.where(valid, np.maximum(threshold.allowed(score), rounding), 0).astype(np.float32)
    return Golden(stored, score, valid, tolerance)


def steady(golden: Golden, threshold: Allowing) -> NDArray[np.int64]:
    """[K] int64: the rows that are valid and whose score rounding hardly moves; with parts, any part's."""
    fine = golden.valid & (golden.tolerance <= 10 * threshold.allowed(golden.score)) & np.isfinite(golden.tolerance)
    return np.flatnonzero(fine.reshape(len(fine), -1).all(axis=1))


def missed_by(graph: Adjustable, changes: list[Change], golden: Golden) -> list[Change]:
    """The changes that no golden row notices."""
    return [change for change in changes if not _notices(graph, golden, change).any()]


def choose(graph: Adjustable, missed: list[Change], pool: Golden, most: int) -> NDArray[np.int64]:
    """[K] int64: rows of `pool` that notice changes which no row notices so far, at most `most` of them."""
    # What nothing moves would be tried for nothing: some at regular distances tell.
    missed = missed[:: -(-len(missed) // SOUGHT) or 1]
    notices = np.array([_notices(graph, pool, change) for change in missed]).reshape(len(missed), len(pool.score))
    chosen: list[int] = []
    while len(chosen) < most and len(notices := notices[notices.any(axis=1)]):
        chosen.append(int(notices.sum(axis=0).argmax()))
        notices = notices[~notices[:, chosen[-1]]]
    return np.array(chosen, dtype=np.int64)


def _coverage(graph: Adjustable, changes: list[Change], missed: list[Change]) -> Coverage:
    """A number counts as moved if one of the values tried moves an answer."""
    tried = {(name, at) for name, at, _ in changes}
    moved = {(name, at) for name, at, _ in set(changes) - set(missed)}
    unmoved: dict[str, int] = {}
    for name, _ in sorted(tried - moved):
        unmoved[name] = unmoved.get(name, 0) + 1
    return Coverage(len(tried), sum(array.size for array in graph.constants.values()), unmoved, graph.learnt)


def _changes(graph: Adjustable, golden: Golden) -> list[Change]:
    """Every change that is tried. Their number depends on sizes alone, so the same guard gives the same bundle."""
    total = sum(array.size for array in graph.constants.values())
    most = min(CHANGES, WORK // sum(array.size for array in golden.inputs.values()))
    distance = max(1, -(-4 * total // max(1, most)))
    found: list[Change] = []
    for name, array in graph.constants.items():
        flat = array.ravel()
        for at in range(0, flat.size, distance):
            old = float(flat[at])
            step = max(float(np.ptp(np.clip(flat, -HUGE, HUGE))), abs(old), 1e-3)
            found += [(name, at, new) for new in (old + step, old - step, HUGE, -HUGE) if new != old]
    return found


def _notices(graph: Adjustable, golden: Golden, change: Change) -> NDArray[np.bool_]:
    """[G] bool: which rows answer outside of their tolerance after one change."""
    name, at, new = change
    changed = graph.constants[name].copy()
    changed.reshape(-1)[at] = np.clip(new, -LARGEST, LARGEST)
    try:
        score, valid = graph.run.session_run(["score", "valid"], {**golden.inputs, name: changed})
    except Exception:  # onnxruntime raises a dozen unrelated types; the self-test fails for each.
        return np.ones(len(golden.score), dtype=np.bool_)
    gap = np.abs(score.astype(np.float64) - golden.score)
    found: NDArray[np.bool_] = (valid != golden.valid) | ~(gap <= golden.tolerance)
    return np.asarray(found.reshape(len(found), -1).any(axis=1))
