"""Golden vectors: the answers every runtime must give before it may score anything.

A runtime can be silently wrong (one released version answered 1e13 to 1e34 for a valid graph), so a bundle carries some
inputs and outputs, and a reader refuses to start if its answers differ. Real calibration signals spread over the score
quantiles check the numbers where they matter; made-up ones reach what no real one does, such as the other side of a
ReLU, at every length; rows with NaN, infinity and out-of-range values check `valid`.

They find damage. They do not stop anybody who changes a graph on purpose: a signature or a digest does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.ranges import RANGE
from sri_sdk.records import Domain

REAL_ROWS, BROKEN_ROWS = 9, 4
PROBE_ROWS = 4
Broken = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From a real signal [T, C] to signals [M, T, C] that cannot be scored."""


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Inputs of one graph, and what onnxruntime answered when the guard was made."""

    inputs: dict[str, NDArray[Any]]
    """By name, [G, ...] float32 or int64 each."""
    score: NDArray[np.float32]
    """[G] float32, in the detector's unit; [G, K] of a guard with K parts, as the next two."""
    valid: NDArray[np.bool_]
    """[G] bool."""
    tolerance: NDArray[np.float32]
    """[G] float32: how far the score of another runtime may differ; 0 where invalid."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the golden vectors of one graph would notice."""

    tried: int = 0
    """Numbers among the constants that were changed, one at a time."""
    of: int = 0
    """Numbers that the constants have."""
    unmoved: dict[str, int] = field(default_factory=dict)
    """Constant -> numbers of it that moved no answer, whatever they became. A detector's constants are numbered in the
    order in which it draws them."""
    learnt: int = 0
    """Numbers in trees and support vectors, which are not tried."""

    @property
    def share(self) -> float:
        """Share of the numbers tried that move an answer."""
        return 1.0 if not self.tried else 1 - sum(self.unmoved.values()) / self.tried


def golden_signals(
    calibration: NDArray[np.float32], scores: NDArray[np.float32], more: NDArray[np.float32], broken: Broken
) -> NDArray[np.float32]:
    """[N, T, C] float32 calibration signals, [N] scores and [K, T, C] made-up signals -> [G, T, C] float32.

    Nine real rows, then the made-up ones, then those that `broken` makes of the first.
    """
    order = np.argsort(scores, kind="stable")
    spread = order[np.linspace(0, len(order) - 1, REAL_ROWS).round().astype(np.int64)]
    return np.concatenate([calibration[spread], more, broken(calibration[spread[0]])])


def broken_cells(real: NDArray[np.float32], domain: Domain) -> NDArray[np.float32]:
    """A real signal [T, C] -> four [4, T, C] with one cell each that cannot be scored."""
    broken = np.repeat(real[None], BROKEN_ROWS, axis=0)
    for row, bad in enumerate(_unusable(domain)):
        broken[row, row % broken.shape[1], row % broken.shape[2]] = bad
    return broken


def broken_columns(real: NDArray[np.float32], domain: Domain, request: bool) -> NDArray[np.float32]:
    """A real signal [T, C] -> [4 or 6, T, C], so that every part fails somewhere, and not always with the others.

    Four rows have a cell in which no column can be scored. Of the last column, if that is the `request` and not alone,
    two rows follow: one has only that, and one has everything else.
    """
    broken = np.repeat(real[None], BROKEN_ROWS, axis=0)
    for row, bad in enumerate(_unusable(domain)):
        broken[row, row % broken.shape[1], :] = bad
    if not request or real.shape[1] == 1:
        return broken
    torn = np.repeat(real[None], 2, axis=0)
    torn[0, :, :-1] = np.nan
    torn[1, :, -1] = np.nan
    return np.concatenate([broken, torn])


def _unusable(domain: Domain) -> tuple[float, ...]:
    low, high = RANGE[domain]
    return (np.nan, np.inf, 2 * low - high, 2 * high - low)


def golden_prefixes(
    signals: NDArray[np.float32], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """[G, T, C] golden signals, [K] int64 lengths of the made-up ones -> inputs of the graph `prefix`: [G + 2, T, C]
    float32 and [G + 2] int64.

    The real rows are cut at spread lengths, the made-up ones at theirs, with NaN beyond; the broken rows stay whole;
    two more rows have impossible lengths.
    """
    cells = signals.shape[1]
    real = np.linspace(1, cells, REAL_ROWS).round().astype(np.int64)
    cut = REAL_ROWS + len(lengths)
    whole = np.concatenate([real, lengths, [cells] * (len(signals) - cut)])
    rows = np.concatenate([signals, signals[:2]])
    rows[:cut][np.arange(cells) >= whole[:cut, None]] = np.nan
    return rows, np.concatenate([whole, [-1, cells + 1]])


def golden_steps(
    rows: NDArray[np.float32], lengths: NDArray[np.int64], most: int, broken: int = BROKEN_ROWS
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Inputs [G, T, C] float32 and [G] int64 of the graph `prefix` -> inputs of the graph `step`: `step` [K] int64,
    `state` [K, T, C] float32, where K is `most` if there are more rows, but at least 19.

    `broken` rows are at the end of `rows`. All stand at their last cell, which `phi` overwrites. Then come a step
    before the first, one that overflows, and two for unusable states.
    """
    ends = broken + 2  # Broken rows and impossible lengths.
    made_up = max(0, min(len(rows) - ends, most - ends - 4) - REAL_ROWS)
    kept = np.r_[: REAL_ROWS + made_up, len(rows) - ends : len(rows)]
    return np.concatenate([lengths[kept] - 1, [-1, 2**62, 0, 0]]), np.concatenate([rows[kept], rows[:4]])


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
