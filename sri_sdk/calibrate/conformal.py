"""Split-conformal thresholds: the false-alarm rate is a promise, not an estimate.

Sort the scores of n harmless generations the detector has never seen. The threshold is the order statistic of rank
ceil((n + 1)(1 - alpha)), and a generation is flagged when its score is *above* it. If the next harmless generation
comes from the same traffic, P(flagged) <= alpha, averaged over calibrations, whatever the distribution of the scores.
For comparison, 1.49 % of new scores exceed an interpolated 99 % quantile of 200 scores, in expectation.

"On average over calibrations" is not "for this one". With `delta`, the rank is the smallest for which the rate this
very threshold will realise exceeds alpha with probability at most delta: that rate follows a Beta(n - rank + 1, rank)
law exactly.

"Harmless" may be wrong of a few: live traffic holds attacks. With `contamination` e, the rank is the smallest that
keeps the promise for harmless generations whatever those attacks score, in both senses of e: at most floor(e n) of the
n are attacks, or each is one with probability at most e. Attacks that score low pull the order statistic down, and the
worst is that all of them lie below every harmless score. Then rank r of n is rank r - m of n - m, with m = floor(e n):

    r = rank(n - m) + m = ceil((n + 1)(1 - alpha) + alpha m)

which is met, and the other sense with it, by the rank for alpha (1 - e), higher by one at most. Attacks that score high
push the threshold up: the promise stands, and attacks like them are found less often. `trimming.py` is the other way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError, MissingExtra, ScoringError

PARITY = 1e-4
"""Two runtimes may differ by this share of the spread of the calibration scores (99 % quantile minus median).

Runtimes sum in different orders, so their scores differ in the last digits. The threshold lies this much above the
order statistic, so none of them can flip a verdict on a calibration score. In an exponential tail that lowers the
false-alarm rate by about a twentieth of a percent of itself.
"""
ULPS = 16
"""Floor of the tolerance, in units of the last place of the largest score; it applies if the spread is tiny."""

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Threshold:
    """Where a rule alarms, and what that promises."""

    value: float
    """A float32 number in the unit of the scores. Flagged when score > value."""
    alpha: float
    """Bound on the false-alarm rate per generation."""
    delta: float | None
    """Probability that this threshold's own rate exceeds alpha; None = alpha holds on average over calibrations."""
    n: int
    """Number of calibration scores."""
    rank: int
    """Rank of the score that the threshold was taken from, counted from 1, smallest first."""
    tolerance: float
    """How far the same score may differ between two runtimes; already part of `value`."""
    scores: Scores
    """[n] float32 calibration scores, sorted, smallest first."""

    @classmethod
    def fit(
        cls, scores: NDArray[Any], alpha: float, delta: float | None = None, *, noise: float = 0.0,
        contamination: float = 0.0,
    ) -> Self:  # fmt: skip
        """Calibrates on scores [n] of harmless generations that neither trained nor selected the detector.

        Args:
            scores: [n] numbers in any order, in the detector's unit; rounded to float32.
            alpha: bound on the false-alarm rate per generation.
            delta: see the field.
            noise: how far rounding alone moves a score, in its unit; a floor of the tolerance.
            contamination: largest share of the scores that may be those of attacks; alpha holds for the others.

        Raises:
            ConfigError: alpha is out of reach with n scores.
            ScoringError: a score is not finite, or all are equal.
        """
        calibration = np.sort(np.asarray(scores, dtype=np.float32))
        tolerance = max(parity_tolerance(calibration), noise)
        rank = threshold_rank(len(calibration), alpha, delta, contamination)
        exact = float(calibration[rank - 1]) + tolerance
        value = np.float32(exact)
        if float(value) < exact:  # Rounded down: the next float32 keeps the whole tolerance.
            value = np.nextafter(value, np.float32(np.inf))
        return cls(float(value), alpha, delta, len(calibration), rank, tolerance, calibration)

    def allowed(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """[N] scores -> [N] float64: how far another runtime may differ from each; more, further from the median."""
        scores = np.asarray(scores, dtype=np.float32)
        far = PARITY * np.abs(scores.astype(np.float64) - float(np.median(self.scores)))
        room: NDArray[np.float64] = np.maximum(np.maximum(self.tolerance, far), ULPS * np.spacing(np.abs(scores)))
        return room

    @property
    def tied(self) -> int:
        """Calibration scores equal to the one it was taken from, itself included; many cost alarms of any kind."""
        return int((self.scores == self.scores[self.rank - 1]).sum())

    def p_values(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """[N] scores -> [N] float64 p-values against this calibration."""
        return p_values(scores, self.scores)


def threshold_rank(n: int, alpha: float, delta: float | None = None, contamination: float = 0.0) -> int:
    """Rank of the calibration score that a threshold is taken from, counted from 1, smallest first.

    Args:
        n: calibration scores, attacks among them included.
        alpha: bound on the false-alarm rate of harmless generations.
        delta: see `Threshold.delta`.
        contamination: largest share of attacks among the n.

    Raises:
        ConfigError: alpha is out of reach.
        MissingExtra: scipy is not installed, and there is a delta.
    """
    if not contamination:
        return conformal_rank(n, alpha) if delta is None else exact_rank(n, alpha, delta)
    needed = fewest(alpha, delta, contamination)
    if n < needed:
        raise ConfigError(
            f"alpha {alpha:g} is out of reach with n = {n} calibration scores of which up to {100 * contamination:g} % "
            f"may be those of attacks: {needed} are needed. Calibrate on at least {needed} prompts, raise alpha, or "
            "state a smaller share (calibrate.contamination) if you know it to be smaller."
        )
    tighter = alpha * (1 - contamination)
    if delta is None:
        return conformal_rank(n, tighter)
    attacks = most_attacks(n, contamination)
    # Neither sense of the share contains the other once the law of the realised rate counts.
    return max(exact_rank(n, tighter, delta), exact_rank(n - attacks, alpha, delta) + attacks)


def most_attacks(n: int, contamination: float) -> int:
    """Most attacks among n calibration generations: floor(e n), exactly."""
    if contamination:
        _check_share("contamination", contamination)
    return math.floor(n * _exact(contamination))


def conformal_rank(n: int, alpha: float) -> int:
    """ceil((n + 1)(1 - alpha)), in exact arithmetic: 200 * 0.95 must not become 191 by rounding.

    Raises:
        ConfigError: the rank exceeds n, so no threshold gives this alpha.
    """
    _check_share("alpha", alpha)
    rank = math.ceil((n + 1) * (1 - _exact(alpha)))
    if rank > n:
        raise ConfigError(
            f"alpha {alpha:g} is out of reach with n = {n} calibration scores: the smallest reachable alpha is "
            f"1/(n+1) = {1 / (n + 1):.3g}. Calibrate on at least {fewest(alpha)} harmless "
            "prompts, or raise alpha."
        )
    return rank


def exact_rank(n: int, alpha: float, delta: float) -> int:
    """Smallest rank, and no smaller than the conformal one, with P(Beta(n - rank + 1, rank) > alpha) <= delta.

    Raises:
        ConfigError: not even the largest score is high enough.
        MissingExtra: scipy is not installed.
    """
    _check_share("delta", delta)
    lowest = conformal_rank(n, alpha)
    try:
        from scipy.stats import beta
    except ImportError as err:
        raise MissingExtra("A threshold with `delta`", extra="train") from err
    ranks = np.arange(lowest, n + 1)
    enough = beta.sf(alpha, n - ranks + 1, ranks) <= delta
    if not enough.any():
        raise ConfigError(
            f"alpha {alpha:g} with probability 1 - delta = {1 - delta:g} is out of reach with n = {n} calibration "
            f"scores. Calibrate on at least {fewest(alpha, delta)} harmless prompts, raise alpha, or leave delta out."
        )
    return int(ranks[enough.argmax()])


def fewest(alpha: float, delta: float | None = None, contamination: float = 0.0) -> int:
    """Fewest calibration scores with which alpha, and delta if there is one, can be met.

    With contamination, that many and the attacks among them.
    """
    if contamination:
        _check_share("contamination", contamination)
        harmless, either = fewest(alpha, delta), fewest(alpha * (1 - contamination), delta)
        # The smallest n of which more than harmless - 1 are left when a share of them is taken away.
        return max(either, math.floor((harmless - 1) / (1 - _exact(contamination))) + 1)
    needed = math.ceil(1 / _exact(alpha)) - 1
    if delta is not None:
        # Even the largest calibration score is exceeded more often than alpha with probability (1 - alpha)^n.
        needed = max(needed, math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9))
    return needed


def _exact(alpha: float) -> Fraction:
    """Alpha as it was meant: a third of 3 % is 1 %, and 0.009999999999999998 would need one more prompt."""
    written = Fraction(str(alpha))
    return written.limit_denominator(10**12) or written


def parity_tolerance(calibration: Scores) -> float:
    """How far two runtimes may differ on scores like these: [n] float32, sorted -> one number in their unit.

    Raises:
        ScoringError: a score is not finite, or all are equal: a bug of the detector, never a result.
    """
    if not len(calibration) or not np.isfinite(calibration).all():
        raise ScoringError(
            f"calibration: {int((~np.isfinite(calibration)).sum())} of {len(calibration)} scores are not finite. "
            "The detector must give a finite score to every finite signal."
        )
    if calibration[0] == calibration[-1]:
        raise ScoringError(
            f"calibration: the detector gives {float(calibration[0]):g} to all {len(calibration)} signals; scores "
            "must vary. Check the signals (are all saturated?) or use another detector or domain."
        )
    spread = float(np.quantile(calibration, 0.99) - np.median(calibration))
    return max(PARITY * spread, ULPS * float(np.spacing(np.abs(calibration).max())))


def p_values(scores: NDArray[Any], calibration: Scores) -> NDArray[np.float64]:
    """(1 + #{s_i >= s}) / (n + 1) for scores [N] against sorted calibration scores [n] float32 -> [N] float64."""
    at_least = len(calibration) - np.searchsorted(calibration, np.asarray(scores, dtype=np.float32), side="left")
    values: NDArray[np.float64] = (1 + at_least) / (len(calibration) + 1)
    return values


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{name} is {value:g}; allowed: a share between 0 and 1, such as 0.01 for one in a hundred.")
