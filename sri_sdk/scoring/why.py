"""Why generations could not be judged completely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sri_sdk.scoring.reasons import INCOMPLETE, NOT_FINITE, OUT_OF_RANGE, UNSCORABLE
from sri_sdk.scoring.runtime import CHUNK

TOO_FEW, BROKEN, OUTSIDE, NO_SCORE = 1, 2, 3, 4
WHY: tuple[str | None, ...] = (None, INCOMPLETE, NOT_FINITE, OUT_OF_RANGE, UNSCORABLE)
"""Reason codes by the numbers above; 0 = judged."""

Bounds = tuple[NDArray[np.float32], NDArray[np.float32]]


def why_not(
    values: NDArray[np.float32], seen: NDArray[np.int64], few: NDArray[np.bool_], judged: NDArray[np.bool_],
    bounds: Bounds, columns: list[int] | None = None,
) -> NDArray[np.int8]:  # fmt: skip
    """[N] int8: for each generation, its place in `WHY`.

    Args:
        values: [N, T, C] float32 signals.
        seen: [N] cells that were read; those behind them say nothing.
        few: [N], those with too few cells.
        judged: [N], those that were judged completely.
        bounds: lower and upper, one number per column that is read: a cell must lie between them.
        columns: those that are read; None = all.
    """
    why, unjudged = np.zeros(len(values), dtype=np.int8), np.flatnonzero(~judged)
    (low, high), cells = bounds, np.arange(values.shape[1])
    for at in range(0, len(unjudged), CHUNK):
        rows = unjudged[at : at + CHUNK]
        read = values[rows] if columns is None else values[rows][:, :, columns]
        behind = (cells >= seen[rows, None])[..., None]
        finite = (np.isfinite(read) | behind).all(axis=(1, 2))
        inside = (((read > low) & (read < high)) | behind).all(axis=(1, 2))
        why[rows] = np.select([few[rows], ~finite, ~inside], [TOO_FEW, BROKEN, OUTSIDE], NO_SCORE)
    return why
