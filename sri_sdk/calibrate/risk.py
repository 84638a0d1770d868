"""Conformal risk control: a threshold that bounds an expected *loss*, where an alarm or a miss is more than yes or no.

A loss is a number in [0, B] per generation and threshold, monotone in the threshold. One that falls as the threshold
rises: the share of a harmless answer that was cut off. One that rises: the share of an attack that was out before its
alarm. Of n exchangeable generations with mean loss R(t), take the candidate t with the largest loss that still has

    n / (n + 1) R(t) + B / (n + 1) <= alpha

Its expected loss on the next generation is at most alpha (arXiv 2208.02814): B stands for the loss not seen yet. Of a
0/1 loss this is split conformal. With `delta`, tail bounds of Hoeffding and of Bentkus take the place of B / (n + 1),
whichever is tighter, and the expected loss of *this* threshold exceeds alpha with probability at most delta (arXiv
2101.02703, 2110.01052). Losses are monotone, so candidates are tried in order up to the first that fails, and trying
many costs nothing.

The promise is an average over generations like the n. What bounds the loss of attacks does so for attacks like the
labelled ones, and says nothing about others.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError, MissingExtra

Floats = NDArray[np.float64]
SLACK = 1e-12
"""Means of losses are sums in floating point; this share of alpha above it is alpha."""


@dataclass(frozen=True, slots=True)
class RiskThreshold:
    """A threshold with a bound on an expected loss."""

    value: float
    """One of the candidates, in the unit of the scores. Flagged when score > value."""
    alpha: float
    """Bound on the expected loss of one generation, in the unit of the losses."""
    delta: float | None
    """Probability that this threshold's own expected loss exceeds alpha; None = alpha holds on average over sets of n
    generations."""
    n: int
    """Generations behind it."""
    mean: float
    """Their mean loss at `value`."""

    @classmethod
    def fit(
        cls, thresholds: NDArray[Any], losses: NDArray[Any], alpha: float, delta: float | None = None, *,
        bound: float = 1.0,
    ) -> Self:  # fmt: skip
        """Chooses the lowest candidate that meets alpha if losses fall with the threshold, the highest if they rise.

        Args:
            thresholds: [M] candidates, rising; chosen without a look at these generations.
            losses: [n, M] loss of each generation at each candidate, from 0 to `bound`.
            alpha: bound on the expected loss, in the unit of the losses.
            delta: see the field.
            bound: B, the largest loss there can be.

        Raises:
            ConfigError: losses are not as said, or no candidate meets alpha.
            MissingExtra: scipy is not installed, and there is a delta.
        """
        candidates, found = np.asarray(thresholds, dtype=np.float64), np.asarray(losses, dtype=np.float64)
        rising = _rising(candidates, found, alpha, delta, bound)
        if not rising:
            candidates, found = candidates[::-1], found[:, ::-1]
        # From here on the loss rises from candidate to candidate, so what fails fails for all behind it.
        n, mean = len(found), found.mean(axis=0)
        count = bisect_left(mean, True, key=lambda value: not _met(float(value), n, alpha, delta, bound))
        if not count:
            least = bound / (n + 1) if delta is None else upper_bound(0.0, n, delta, bound)
            raise ConfigError(
                f"risk: an expected loss of at most {alpha:g} is out of reach with n = {n} generations: their mean "
                f"loss is {mean[0]:.3g} at threshold {candidates[0]:g}, the best candidate, and even losses of 0 would "
                f"show no less than {least:.3g}. Use more generations, candidates further out, or a larger alpha."
            )
        return cls(float(candidates[count - 1]), alpha, delta, n, float(mean[count - 1]))


def upper_bound(mean: float, n: int, delta: float, bound: float = 1.0) -> float:
    """The expected loss is at most this with probability 1 - delta, given the mean of n losses in [0, bound].

    Raises:
        MissingExtra: scipy is not installed.
    """
    try:
        from scipy.optimize import brentq
    except ImportError as err:
        raise MissingExtra("A bound on a loss with `delta`", extra="train") from err
    share, highest = min(max(mean / bound, 0.0), 1.0), 1 - SLACK
    if share >= highest or tail(share, n, highest) > delta:
        return bound
    return bound * float(brentq(lambda risk: tail(share, n, risk) - delta, max(share, SLACK), highest, xtol=SLACK))


def tail(mean: float, n: int, risk: float) -> float:
    """Probability, at most, that n losses in [0, 1] have a mean of `mean` or less, if `risk` or more is expected.

    Hoeffding's bound by relative entropy, or Bentkus' by the binomial tail times e, whichever is smaller.

    Raises:
        MissingExtra: scipy is not installed.
    """
    try:
        from scipy.stats import binom
    except ImportError as err:
        raise MissingExtra("A bound on a loss with `delta`", extra="train") from err
    low = min(mean, risk)
    entropy = low * math.log(low / risk) if low > 0 else 0.0
    entropy += (1 - low) * math.log((1 - low) / (1 - risk)) if low < 1 else 0.0
    # Losses are sums in floating point: 3 of 10 must not become 4.
    bentkus = math.e * float(binom.cdf(math.ceil(n * mean - 1e-9), n, risk))
    return min(1.0, math.exp(-n * entropy), bentkus)


def shown_before_alarm(scores: NDArray[Any], thresholds: NDArray[Any]) -> Floats:
    """Share of a generation that is out when it alarms, 1 where it does not: a loss of attacks that rises.

    One minus it is what an alarm cuts off, a loss of harmless generations that falls. It is for services that show a
    response while it grows; one that is withheld whole is lost whole.

    Args:
        scores: [N, T] of the online rule, one per cell; see `prefix.py`.
        thresholds: [M].

    Returns:
        [N, M] in (0, 1].
    """
    highest = np.maximum.accumulate(np.asarray(scores), axis=1)
    before = np.stack([np.searchsorted(row, thresholds, side="right") for row in highest])
    shown: Floats = np.minimum(before + 1, highest.shape[1]) / highest.shape[1]
    return shown


def _met(mean: float, n: int, alpha: float, delta: float | None, bound: float) -> bool:
    """Whether n losses with that mean show that alpha is met."""
    if delta is None:
        return (n * mean + bound) / (n + 1) <= alpha * (1 + SLACK)
    return tail(mean / bound, n, alpha / bound) <= delta


def _rising(thresholds: Floats, losses: Floats, alpha: float, delta: float | None, bound: float) -> bool:
    """Whether losses [n, M] float64 rise with the thresholds [M]; refuses what is not as `RiskThreshold.fit` says."""
    if thresholds.ndim != 1 or losses.shape[1:] != thresholds.shape or not losses.size:
        raise ConfigError(
            f"risk: {list(thresholds.shape)} thresholds and losses {list(losses.shape)}; allowed: [M] and [n, M]."
        )
    if not (np.diff(thresholds) > 0).all():
        raise ConfigError("risk: thresholds must rise from one to the next.")
    if not 0 < alpha < bound or (delta is not None and not 0 < delta < 1):
        raise ConfigError(
            f"risk: alpha is {alpha:g} with losses up to {bound:g}, and delta is {delta}; allowed: alpha between 0 and "
            "that bound, and delta a share between 0 and 1, or None."
        )
    if not ((losses >= 0) & (losses <= bound)).all():
        raise ConfigError(f"risk: losses from {losses.min():g} to {losses.max():g}; allowed: 0 to {bound:g}.")
    steps = np.diff(losses, axis=1)
    rising, falling = (steps >= 0).all(axis=1), (steps <= 0).all(axis=1)
    if not (rising.all() or falling.all()):
        odd = int((~(rising if rising.sum() > falling.sum() else falling)).argmax())
        raise ConfigError(
            f"risk: losses must rise with the threshold in every generation, or fall in every one; generation {odd} "
            "does not as the others do. Such losses need another method."
        )
    return bool(rising.all())
