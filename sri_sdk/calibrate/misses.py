"""Bounds on missed attacks, given labelled ones: split conformal from the other side.

Of n attacks, k may lie at or below the threshold if (k + 1) / (n + 1) <= misses: the next attack of the same kind is
then missed with probability at most `misses`, on average over sets of n. It is conformal risk control of the loss
"missed"; with `delta`, the exact Beta law takes the place of its tail bounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.calibrate.conformal import fewest, threshold_rank
from sri_sdk.errors import ConfigError


def miss_threshold(scores: NDArray[Any], misses: float, delta: float | None = None) -> float:
    """The highest threshold at which attacks like these are missed with probability at most `misses`.

    Args:
        scores: [n] of attacks that neither trained nor selected the detector; not finite = could not be scored.
        misses: bound on the miss rate.
        delta: the bound holds for the set at hand with probability 1 - delta; None = on average over such sets.

    Returns:
        A float32 number in the unit of the scores, just below one of them. Flagged when score > value.

    Raises:
        ConfigError: so few attacks, or with so many that were not scored, cannot bound it.
        MissingExtra: scipy is not installed, and there is a delta.
    """
    if not 0 < misses < 1:
        raise ConfigError(f"misses is {misses:g}; allowed: a share between 0 and 1, such as 0.2 for one in five.")
    found = np.asarray(scores, dtype=np.float32)
    n, needed = len(found), fewest(misses, delta)
    if n < needed:
        raise ConfigError(
            f"misses: at most {misses:g} is out of reach with n = {n} attacks; at least {needed} are needed. Use more "
            "attacks, or allow more misses."
        )
    allowed = n - threshold_rank(n, misses, delta)
    first_found = np.sort(np.where(np.isfinite(found), found, np.float32(-np.inf)))[allowed]
    if not np.isfinite(first_found):
        raise ConfigError(
            f"misses: {int((~np.isfinite(found)).sum())} of {n} attacks have no score, and for {misses:g} at most "
            f"{allowed} may be missed. Find out why they were not scored."
        )
    return float(np.nextafter(first_found, np.float32(-np.inf)))
