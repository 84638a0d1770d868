"""Intervals that resample base prompts, not generations.

Attacks made of one request succeed or fail together. Resampling them one by one would treat them as independent, and
the interval would be too short. So whole clusters (a base prompt with all that was made of it) are drawn with
replacement. A draw is a weight per row, how often its cluster was drawn: nothing is copied, no score is sorted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.rates import CONFIDENCE, Rate, exact_rate

RESAMPLES = 1000
"""Draws per interval; the ends then move by a few percent of the interval's length from seed to seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Rows, grouped by their base prompt."""

    index: NDArray[np.int64]
    """[N] cluster of each row, numbered in the order of first appearance."""
    count: int
    """Number of clusters."""

    @classmethod
    def of(cls, bases: Sequence[str], rows: int) -> Self:
        """From the base prompt of each row.

        Raises:
            ValueError: not one base prompt per row.
        """
        if len(bases) != rows:
            raise ValueError(f"clusters: {len(bases)} base prompts for {rows} rows; give the base prompt of each row")
        numbers: dict[str, int] = {}
        index = np.array([numbers.setdefault(base, len(numbers)) for base in bases], dtype=np.int64)
        return cls(index, len(numbers))

    def weights(self, random: np.random.Generator) -> NDArray[np.int64]:
        """One draw: [N], how often each row is in it. Rows of one cluster have the same weight."""
        drawn = np.bincount(random.integers(self.count, size=self.count), minlength=self.count)
        return drawn[self.index]


@dataclass(frozen=True, slots=True)
class ClusterRate:
    """A share over generations that are not independent, because several were made of one base prompt."""

    rate: Rate
    """k of n; its own exact interval assumes independent generations, and is too short if they are not."""
    low: float
    """Lower end of the 95 % interval that resamples base prompts, a share. This is the one to quote."""
    high: float
    """Upper end."""
    clusters: int
    """Base prompts behind it."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def clustered_rate(name: str, successes: NDArray[np.bool_], bases: Sequence[str], *, seed: int = 0) -> ClusterRate:
    """The share of successes with an interval that resamples base prompts.

    Args:
        name: of the rate.
        successes: [N] bool: whether each generation counts.
        bases: base prompt of each row.
        seed: of the resampling.

    Raises:
        MissingExtra: scipy is not installed.
    """
    clusters = Clusters.of(bases, len(successes))
    rate = exact_rate(name, int(successes.sum()), len(successes))
    low, high = rate_interval(_shares(successes, clusters, seed), rate.value, clusters.count)
    return ClusterRate(rate, low, high, clusters.count)


def rate_interval(draws: Iterator[float], value: float, clusters: int) -> tuple[float, float]:
    """95 % percentile interval of a share, also where resampling has nothing to vary.

    With fewer than two clusters nothing is known about how they differ: 0 to 1. Where all draws are 0, or all are 1,
    the percentiles would claim certainty; the exact interval of as many trials as there are clusters takes their place.
    """
    if clusters < 2:
        return 0.0, 1.0
    low, high = percentiles(draws)
    if low == high and value in (0, 1):
        exact = exact_rate("", round(value) * clusters, clusters)
        return exact.low, exact.high
    return low, high


def percentiles(draws: Iterator[float]) -> tuple[float, float]:
    """The middle 95 % of the draws; a draw with nothing to measure is NaN and does not count."""
    half = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(np.fromiter(draws, dtype=np.float64), [half, 1 - half])
    return float(low), float(high)


def _shares(successes: NDArray[np.bool_], clusters: Clusters, seed: int) -> Iterator[float]:
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        weights = clusters.weights(random)
        yield float(weights[successes].sum() / weights.sum())
