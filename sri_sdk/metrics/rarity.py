"""One number for a guard of several parts: how rare the rarest of its scores is, beside what its part may flag.

Such a guard has no score of its own. For a curve, or a threshold moved on test prompts, its parts must move together:
every part by the same factor of its share of alpha.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rarity(scores: NDArray[Any], calibration: NDArray[Any], alpha: float) -> NDArray[np.float64]:
    """How rare each score of one part is among harmless ones.

    Args:
        scores: [N] of generations, higher = more suspicious; NaN = not scored.
        calibration: [n] of harmless generations, at least two different ones.
        alpha: what the part may flag, a share.

    Returns:
        [N] float64: log(alpha / p), strictly rising with the score; about 0 at the part's threshold, above it where the
        part alarms. p is the share of calibration scores that are as high, interpolated between them; beyond the
        highest one it goes on falling at the pace of the upper half. NaN stays NaN.
    """
    values, counts = np.unique(np.asarray(calibration, dtype=np.float64), return_counts=True)
    n = len(calibration)
    reach = np.cumsum(counts[::-1])[::-1]
    logs = np.log((reach + 1) / (n + 1))
    found = np.interp(np.asarray(scores, dtype=np.float64), values, logs)
    middle = int(np.searchsorted(values, np.median(calibration)))
    middle = min(middle, len(values) - 2)
    pace = (logs[middle] - logs[-1]) / (values[-1] - values[middle])
    beyond = np.maximum(scores - values[-1], 0) - np.maximum(values[0] - scores, 0)
    rare: NDArray[np.float64] = np.log(alpha) - found + pace * beyond
    return rare
