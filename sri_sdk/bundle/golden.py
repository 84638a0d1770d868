"""Golden vectors: the answers every runtime must give before it may score anything.

A runtime can be silently wrong (one released version answered 1e13 to 1e34 for a valid graph), so a bundle carries a
dozen inputs and outputs, and a reader refuses to start if its answers differ. Real calibration signals spread over the
score quantiles check the numbers; rows with NaN, infinity and out-of-range values check `valid`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.guard_graphs import RANGE
from sri_sdk.detector import Domain

REAL_ROWS = 9
PROBE_ROWS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Inputs of one graph, and what onnxruntime answered when the guard was made."""

    inputs: dict[str, NDArray[np.float32] | NDArray[np.int64]]
    score: NDArray[np.float32]
    """[G] float32, in the detector's unit."""
    valid: NDArray[np.bool_]
    """[G] bool."""
    tolerance: NDArray[np.float32]
    """[G] float32: how far the score of another runtime may differ; 0 where invalid."""


def golden_signals(
    calibration: NDArray[np.float32], scores: NDArray[np.float32], domain: Domain
) -> NDArray[np.float32]:
    """[N, T, C] float32 calibration signals and [N] scores -> [G, T, C]: nine real rows, then four broken ones."""
    order = np.argsort(scores, kind="stable")
    spread = order[np.linspace(0, len(order) - 1, REAL_ROWS).round().astype(np.int64)]
    broken = np.repeat(calibration[spread[:1]], 4, axis=0)
    low, high = RANGE[domain]
    for row, bad in enumerate((np.nan, np.inf, 2 * low - high, 2 * high - low)):
        broken[row, row % broken.shape[1], row % broken.shape[2]] = bad
    return np.concatenate([calibration[spread], broken])


def golden_prefixes(signals: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """[G, T, C] golden signals -> the inputs of the graph `prefix`, [G + 2, T, C] float32 and [G + 2] int64.

    The real rows are cut at spread lengths, with NaN beyond; the broken rows stay whole; two more rows have impossible
    lengths.
    """
    cells = signals.shape[1]
    lengths = np.full(len(signals) + 2, cells, dtype=np.int64)
    lengths[:REAL_ROWS] = np.linspace(1, cells, REAL_ROWS).round()
    lengths[-2:] = -1, cells + 1
    rows = np.concatenate([signals, signals[:2]])
    unseen = np.arange(cells) >= lengths[:REAL_ROWS, None]
    rows[:REAL_ROWS][unseen] = np.nan
    return rows, lengths


def golden_steps(signals: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """[G, T, C] golden signals -> inputs of the graph `step`: `step` [G + 6] int64, `state` [G + 6, T, C] float32.

    The rows of `golden_prefixes` stand at their last cell, which `phi` overwrites. Then come a step before the first,
    one that overflows, and two for unusable states.
    """
    state, lengths = golden_prefixes(signals)
    steps = np.concatenate([lengths - 1, [-1, 2**62, 0, 0]])
    return steps, np.concatenate([state, state[:4]])


def probe(shape: tuple[int, ...], count: int = PROBE_ROWS) -> NDArray[np.float32]:
    """Golden hidden states [count, *shape] float32, made by a rule: stored ones would be large and reveal the model.

    The graph `full` takes 4 rows of [T, C, D], the graph `step` as many rows of [C, D] as it has golden steps. Value i
    of row r, counted over the flattened row, is (((i * 7919 + r * 104729) mod 2001) - 1000) / 1000 in float32. The
    second but last row starts with NaN and the last is all zeros: both are invalid.
    """
    index = np.arange(int(np.prod(shape)), dtype=np.int64) * 7919
    values = np.empty((count, len(index)), dtype=np.float32)
    for row in range(count):
        values[row] = ((index + row * 104729) % 2001 - 1000).astype(np.float32) / np.float32(1000)
    values[-2, 0] = np.nan
    values[-1] = 0
    return values.reshape(count, *shape)
