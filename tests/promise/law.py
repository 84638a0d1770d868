"""The law of false alarms, and tests of it whose own error is known.

A threshold is the score of rank r among n calibration scores, and m fresh scores come from the same traffic. Then the
number of fresh scores above it follows a beta-binomial law (m, n + 1 - r, r), whatever the distribution of the scores:
it depends on ranks alone, and all orders of n + m exchangeable scores are equally likely.

Calibration and fresh prompts are drawn from one pool, without replacement, again and again. A redraw shuffles what is
left of the pool when the detector has its own prompts; given the pool and the detector, all orders are again equally
likely. So each redraw follows the law *exactly*, and redraws are independent although they share a pool, because
their shuffles are. Counts of R redraws are then R independent draws from a known law, and every statistic of them can
be simulated: no asymptotics, no variance to estimate. (This is about the guard's arithmetic and its folds. Whether
tomorrow's prompts are exchangeable with today's is another question, and no shuffle can answer it.)
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

SIMULATED = 20_000
"""Experiments that are simulated under the law; the smallest p-value is 1 / (SIMULATED + 1)."""
RARE = 1e-9
"""Counts beyond which less than this is left are one count, in simulations."""

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Law:
    """Number of false alarms among fresh generations, if a promise is kept to the letter."""

    terms: tuple[tuple[int, int, int], ...]
    """(m, n, rank) of independent groups whose alarms are added."""

    @classmethod
    def of(cls, m: int, n: int, rank: int) -> Self:
        """Of m fresh generations and the score of a rank among n."""
        return cls(((m, n, rank),))

    def __add__(self, other: Law) -> Law:
        """Of the alarms of two independent groups together."""
        return Law((*self.terms, *other.terms))

    @property
    def chance(self) -> Doubles:
        """[m + 1]: probability of 0, 1, ... m alarms."""
        return _chance(self.terms)

    @property
    def mean(self) -> float:
        """Expected alarms."""
        return sum(m * (n + 1 - rank) / (n + 1) for m, n, rank in self.terms)

    def quantile(self, share: float) -> int:
        """Fewest alarms that are not exceeded with this probability."""
        return int(np.searchsorted(np.cumsum(self.chance), share * (1 - 1e-12)))

    def above(self, alarms: float) -> float:
        """Probability of more alarms than that."""
        return float(self.chance[np.arange(len(self.chance)) > alarms].sum())


@dataclass(frozen=True, slots=True)
class Agreement:
    """How R counts agree with their law."""

    mean: float
    """Alarms per redraw."""
    expected: float
    p_mean: float
    """Two-sided: how often the mean of R draws from the law is as far off."""
    p_shape: float
    """How often the largest gap between their distribution function and the law's is as large."""
    inside: float
    """Share of redraws between the law's 2.5 % and 97.5 % quantiles."""

    @property
    def p_value(self) -> float:
        """Of both tests together (Bonferroni)."""
        return min(1.0, 2 * min(self.p_mean, self.p_shape))


def agreement(counts: Sequence[int] | Counts, law: Law) -> Agreement:
    """Compares R independent counts with a law, by simulation: both p-values are exact for any R."""
    found = np.asarray(counts, dtype=np.int64)
    totals, gaps = _simulated(law, len(found))
    last = _last(law)
    seen = np.bincount(np.minimum(found, last), minlength=last + 1)
    # More than `last` alarms are rarer than any p-value here; as one count they are still far off.
    total = int(np.minimum(found, last).sum())
    p_mean = min(1.0, 2 * min(_share(totals <= total), _share(totals >= total)))
    low, high = law.quantile(0.025), law.quantile(0.975)
    return Agreement(
        float(found.mean()), law.mean, p_mean, _share(gaps >= _gap(seen, law) - 1e-12),
        float(((found >= low) & (found <= high)).mean()),
    )  # fmt: skip


def holm(p_values: Sequence[float], error: float) -> list[bool]:
    """Which of several tests fail, if the chance that any fails by accident is to be `error` (Holm 1979)."""
    failed = [False] * len(p_values)
    for place, at in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[at] > error / (len(p_values) - place):
            break
        failed[at] = True
    return failed


@functools.cache
def _chance(terms: tuple[tuple[int, int, int], ...]) -> Doubles:
    chances = [betabinom.pmf(np.arange(m + 1), m, n + 1 - rank, rank) for m, n, rank in terms]
    return functools.reduce(np.convolve, chances)


@functools.cache
def _simulated(law: Law, redraws: int) -> tuple[Counts, Doubles]:
    """Totals and gaps of experiments under the law, [SIMULATED] each."""
    last = _last(law)
    chance = np.append(law.chance[:last], law.above(last - 1))
    seen = np.random.default_rng(0).multinomial(redraws, chance / chance.sum(), size=SIMULATED)
    return seen @ np.arange(last + 1), _gap(seen, law)


def _last(law: Law) -> int:
    """The count that stands for all larger ones."""
    return law.quantile(1 - RARE)


def _gap(seen: Counts, law: Law) -> Doubles:
    """[..., K] redraws with 0, 1, ... K - 1 alarms -> [...]: largest gap between the distribution functions."""
    below = np.cumsum(law.chance)[: seen.shape[-1] - 1]
    redraws = seen.sum(axis=-1, keepdims=True)
    gap: Doubles = np.abs(np.cumsum(seen, axis=-1)[..., :-1] / redraws - below).max(axis=-1)
    return gap


def _share(as_extreme: NDArray[np.bool_]) -> float:
    # The experiment itself counts, so that the test is exact: with B simulated ones, p is at least 1 / (B + 1).
    return float((1 + as_extreme.sum()) / (1 + as_extreme.size))
