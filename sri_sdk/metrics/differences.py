"""Differences of two shares, with 95 % intervals: of different prompts, and of the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.bootstrap import RESAMPLES, Clusters, percentiles
from sri_sdk.metrics.rates import Rate, exact_rate


@dataclass(frozen=True, slots=True)
class Difference:
    """One share minus another."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""


@dataclass(frozen=True, slots=True)
class Paired:
    """What one guard flags more than another of the same generations, as a difference of shares."""

    value: float
    low: float
    """Lower end of the 95 % interval, which resamples base prompts; both guards see the same draw."""
    high: float
    """Upper end."""
    n: int
    """Generations."""
    only_own: int
    """Of these, flagged by this guard alone."""
    only_other: int
    """Flagged by the other alone."""
    clusters: int
    """Base prompts behind them."""


def difference(one: Rate, other: Rate) -> Difference | None:
    """`one` - `other`, counted on different prompts; None where one of them has no case.

    The interval is made of those of the two shares (Newcombe, Statistics in Medicine 17, 1998, method 10, with the
    intervals that the rates have), so it has a length also where both are 0 or 1.
    """
    if not one.n or not other.n:
        return None
    value = one.value - other.value
    return Difference(
        value,
        max(-1.0, value - math.hypot(one.value - one.low, other.high - other.value)),
        min(1.0, value + math.hypot(one.high - one.value, other.value - other.low)),
    )


def paired(
    own: NDArray[np.bool_], other: NDArray[np.bool_], bases: Sequence[str], *, seed: int = 0
) -> Paired | None:  # fmt: skip
    """Share flagged by one guard minus share flagged by another, of the same N generations; None for N = 0.

    Args:
        own: [N] bool: what the one flags.
        other: [N] bool: what the other flags.
        bases: base prompt of each.
        seed: of the resampling.
    """
    if not len(own):
        return None
    clusters = Clusters.of(bases, len(own))
    gaps = own.astype(np.int64) - other.astype(np.int64)
    value = float(gaps.mean())
    random = np.random.default_rng(seed)

    def draws() -> Iterator[float]:
        for _ in range(RESAMPLES):
            weights = clusters.weights(random)
            yield float((weights * gaps).sum() / weights.sum())

    low, high = percentiles(draws())
    if low == high:
        # All base prompts agree. So many more may still hide one that does not.
        room = exact_rate("", 0, clusters.count).high
        low, high = max(-1.0, value - room), min(1.0, value + room)
    return Paired(value, low, high, len(own), int((gaps > 0).sum()), int((gaps < 0).sum()), clusters.count)
