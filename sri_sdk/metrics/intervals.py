"""Exact intervals of a share without scipy, which a monitor does not install."""

from __future__ import annotations

import math

import numpy as np

_FAR = 40
"""Standard deviations beyond which a binomial has nothing left that a float could tell from zero."""


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
    """The share p at which P(X >= k) of n trials is `tail`, by halving; k > 0."""
    reach = min(n - k, int(_FAR * math.sqrt(n)) + 100)
    steps = np.arange(k, k + reach, dtype=np.float64)
    # Logarithms of pmf(k + j) / pmf(k), without the part that depends on p.
    ratios = np.concatenate([[0.0], np.cumsum(np.log(n - steps) - np.log(steps + 1))])
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    along, wanted = np.arange(len(ratios)), math.log(tail)
    low, high = 0.0, k / n
    for _ in range(100):
        p = (low + high) / 2
        if p in (low, high):
            break
        terms = ratios + along * (math.log(p) - math.log1p(-p))
        top = float(terms.max())
        reached = choose + k * math.log(p) + (n - k) * math.log1p(-p) + top + math.log(float(np.exp(terms - top).sum()))
        low, high = (p, high) if reached < wanted else (low, p)
    return (low + high) / 2
