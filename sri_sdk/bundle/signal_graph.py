"""The SRI signal as a graph: the same formula as `signal.py`, for exported bundles that take activations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sri_sdk.graph.builder import Graph, Value
from sri_sdk.signal import EPS, SMALLEST_NORM_SQUARED, TAU, unit

BLOCK = 64
"""Sums over D run in two stages of this width: as accurate as pairwise summation, in every runtime."""
LARGEST = 3e38
"""Just below the largest float32; a comparison with it is false for NaN and for infinity."""


def draw_signal(
    graph: Graph, phi: Value, harmless: NDArray[np.float32], harmful: NDArray[np.float32],
    *, tau: float = TAU, eps: float = EPS, cell: Value | None = None,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """Draws sigma, logit and validity of pooled states.

    Args:
        graph: what to draw into.
        phi: [B, T, C, D] float32; with `cell`, [B, 1, C, D].
        harmless: [T, C, D] float32 anchor, stored in the graph as unit vectors.
        harmful: [T, C, D] float32 anchor, stored in the graph as unit vectors.
        tau: temperature.
        eps: keeps the logarithm finite.
        cell: [B] int64 in 0..T-1: the one cell each row of `phi` belongs to; None = `phi` has all cells.

    Returns:
        sigma [B, T, C], logit [B, T, C], and usable [B, T, C], 1.0 or 0.0; all float32. With `cell`, 1 instead of T.
    """
    width = harmless.shape[-1]
    anchors = [unit(anchor) for anchor in (harmful, harmless)]
    towards = [
        graph.constant(anchor) if cell is None else graph.unsqueeze(graph.gather(anchor, cell), [1])
        for anchor in anchors
    ]
    squared = sum_over_width(graph, phi * phi, width)
    small, large = squared > SMALLEST_NORM_SQUARED, squared < LARGEST
    usable = graph.cast(small, "float32") * graph.cast(large, "float32")
    length = graph.sqrt(graph.maximum(squared, SMALLEST_NORM_SQUARED))
    direction = phi / graph.unsqueeze(length, [3])
    refusal, answer = (_distance(graph, direction, anchor, width) for anchor in towards)
    logit = graph.log((refusal + eps) / (answer + eps)) * (1.0 / tau)
    return graph.sigmoid(logit), logit, usable


def _distance(graph: Graph, direction: Value, anchor: Value, width: int) -> Value:
    gap = direction - anchor
    return sum_over_width(graph, gap * gap, width) * 0.5


def sum_over_width(graph: Graph, x: Value, width: int) -> Value:
    """[B, T, C, D] -> [B, T, C]."""
    if width % BLOCK or width == BLOCK:
        return graph.reduce_sum(x, [3])
    blocked = graph.reshape(x, [0, 0, 0, width // BLOCK, BLOCK])
    return graph.reduce_sum(graph.reduce_sum(blocked, [4]), [3])
