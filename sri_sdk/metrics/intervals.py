"""Exact intervals of a share without scipy, which a monitor does not install."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

_FAR = 20
"""Standard deviations beyond which a binomial has nothing left that a float could tell from zero."""
_FEW = 10_000
"""Successes, or failures, up to which binomial coefficients are summed up."""
_MOST_STEPS, _CLOSE = 100, 1e-13
"""Most steps of Newton's method, and the relative change of a share that ends it; about seven steps do."""


@lru_cache(maxsize=4096)
def exact_interval(k: int, n: int, error: float) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share.

    Args:
        k: successes.
        n: trials; 0 = nothing is known.
        error: probability, at most, with which the interval misses the share, half of it at each end.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: k is not within 0 and n, or the error not between 0 and 1.
    """
    if not 0 <= k <= n or not 0 < error < 1:
        raise ValueError(f"interval: {k} of {n} with error {error}; k must be in 0 to n, the error between 0 and 1")
    # P(X >= k) rises with the share; the lower end is where it is as rare as half the error.
    low = 0.0 if k == 0 else _share_at(k, n, error / 2)
    high = 1.0 if k == n else 1 - _share_at(n - k, n, error / 2)
    return low, high


def _share_at(k: int, n: int, tail: float) -> float:
    """The share p at which P(X >= k) of n trials is `tail`, below one half; k > 0.

    By Newton's method on the logarithm of the probability against that of p. It rises and is concave, so every step but
    the first comes from below the solution and stays there.
    """
    if k == n:
        return math.exp(math.log(tail) / n)
    # What lies further above k than this is nothing beside P(X >= k), for k is above the mean.
    reach = min(n - k, int(_FAR * math.sqrt(k * (1 - k / n))) + 100)
    steps = np.arange(k, k + reach, dtype=np.float64)
    # Logarithms of pmf(k + j) / pmf(k), without the part that depends on p.
    ratios = np.concatenate([[0.0], np.cumsum(np.log(n - steps) - np.log(steps + 1))])
    choose, along, wanted = _log_choose(k, n), np.arange(len(ratios)), math.log(tail)
    at = math.log(k / n)
    for _ in range(_MOST_STEPS):
        rest = math.log(-math.expm1(at))
        terms = ratios + along * (at - rest)
        top = float(terms.max())
        of_k = choose + k * at + (n - k) * rest
        reached = of_k + top + math.log(float(np.exp(terms - top).sum()))
        # P(X >= k) is a beta distribution's, whose density at p is k pmf(k) / p.
        step = (reached - wanted) / (k * math.exp(of_k - reached))
        at -= step
        if abs(step) < _CLOSE:
            break
    return math.exp(at)


def _log_choose(k: int, n: int) -> float:
    few = min(k, n - k)
    if few < _FEW:
        # Of large n the difference of two of lgamma's values has few digits.
        return float(np.log(np.arange(n - few + 1, n + 1, dtype=np.float64)).sum()) - math.lgamma(few + 1)
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
