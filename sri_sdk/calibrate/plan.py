"""What a false-alarm rate costs before anything is generated: prompts, alarms per day, how many of them are attacks.

Everything follows from n, the number of calibration generations, and the rank of the score that the threshold is taken
from (see `conformal.py`). The rate that one calibration set realises follows a Beta(n - rank + 1, rank) law exactly,
whatever the distribution of the scores; over calibration sets it is (n + 1 - rank) / (n + 1) on average. Of a
calibration set with m attacks in it, all of them lower than the rest, these are Beta(n - rank + 1, rank - m) and
(n + 1 - rank) / (n + 1 - m).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sri_sdk.calibrate.conformal import most_attacks, threshold_rank
from sri_sdk.errors import ConfigError, MissingExtra

BAND = 0.9
"""Share of calibration sets whose realised rate lies in the band that is shown."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What one part of a guard promises with n calibration generations."""

    alpha: float
    """Bound on its false-alarm rate per generation."""
    n: int
    rank: int
    """Of the score that the threshold is taken from, counted from 1, smallest first."""
    mean: float
    """Expected rate, over calibration sets."""
    low: float
    """Nineteen in twenty calibration sets realise more than this."""
    high: float
    """Nineteen in twenty calibration sets realise less than this."""
    attacks: int = 0
    """How many of the n may be attacks. `mean`, `low` and `high` are for the worst of them: as many as may be, and all
    of them score below every harmless generation."""
    least: float | None = None
    """Expected rate if there are as many as may be and all of them score above every harmless generation: what the
    guard then gives away is the power that goes with the difference. 0 = the threshold is the score of an attack, and
    attacks like these are hardly found. None = there are none."""

    @classmethod
    def of(cls, n: int, alpha: float, delta: float | None = None, contamination: float = 0.0) -> Self:
        """The promise that a calibration on n generations makes.

        Args:
            n: calibration generations; ties between their scores make the rates lower than those given here.
            alpha: bound on the rate of harmless generations.
            delta: see `sri_sdk.calibrate.conformal.Threshold.delta`.
            contamination: largest share of attacks among the n; see `sri_sdk.calibrate.conformal`.

        Raises:
            ConfigError: n is too small for alpha, and delta if there is one.
            MissingExtra: scipy is not installed.
        """
        rank = threshold_rank(n, alpha, delta, contamination)
        try:
            from scipy.stats import beta
        except ImportError as err:
            raise MissingExtra("A plan", extra="train") from err
        outside = (1 - BAND) / 2
        attacks = most_attacks(n, contamination)
        above, harmless = n + 1 - rank, n + 1 - attacks
        low, high = (float(beta.ppf(share, above, rank - attacks)) for share in (outside, 1 - outside))
        least = max(above - attacks, 0) / harmless if contamination else None
        return cls(alpha, n, rank, above / harmless, low, high, attacks, least)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a guard meets in a day."""

    generations: int
    attacks: float
    """Share of generations that are attacks, in [0, 1)."""
    found: float
    """Share of attacks that the guard flags, in [0, 1]: a guess, or what `sri eval` measured."""

    def __post_init__(self) -> None:
        """Refuses what is no share.

        Raises:
            ConfigError: a number is out of its range.
        """
        if self.generations < 1 or not 0 <= self.attacks < 1 or not 0 <= self.found <= 1:
            raise ConfigError(
                f"traffic: {self.generations} generations, {self.attacks:g} of them attacks, {self.found:g} of these "
                "found; allowed: at least 1 generation, and shares from 0 to 1."
            )

    def alarms(self, rate: float) -> Alarms:
        """What follows from a false-alarm rate."""
        false = self.generations * (1 - self.attacks) * rate
        true = self.generations * self.attacks * self.found
        return Alarms(false, true, self.generations * self.attacks - true)


@dataclass(frozen=True, slots=True)
class Alarms:
    """Expected numbers per day."""

    false: float
    true: float
    missed: float

    @property
    def precision(self) -> float | None:
        """Share of the alarms that are attacks; None where there is no alarm."""
        return self.true / (self.true + self.false) if self.true + self.false else None
