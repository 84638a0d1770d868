"""k alarms in m consecutive cells, instead of one: a passing peak is no alarm then.

The score at a cell becomes the k-th largest of the last m, so "above the threshold" means that k of them are. It is
never above the largest score, so with the threshold of the single alarm every promise stands: alarms become rarer, of
harmless generations and of attacks. A threshold calibrated on the debounced score would give that power back, but a
reader of the same bundle that does not debounce would then alarm too often, and no bundle says that it must.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.float32, np.float64)


def debounced(scores: NDArray[Number], alarms: int, of: int) -> NDArray[Number]:
    """Scores [N, T] float -> [N, T]: the `alarms`-th largest of the last `of` cells, -inf where there are fewer.

    Args:
        scores: one per cell, -inf where there is none.
        alarms: k, at least 1.
        of: m, at least k.
    """
    if alarms == 1 and of == 1:
        return scores
    before = np.full((len(scores), of - 1), -np.inf, dtype=scores.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, scores], axis=1), of, axis=1)
    found: NDArray[Number] = np.sort(windows, axis=2)[:, :, of - alarms]
    return found
