"""What a false-alarm rate costs before anything is generated: prompts, alarms per day, how many of them are attacks.

Everything follows from n, the number of calibration generations, and the rank of the score that the threshold is taken
from (see `conformal.py`). The rate that one calibration set realises follows a Beta(n - rank + 1, rank) law exactly,
whatever the distribution of the scores; over calibration sets it is (n + 1 - rank) / (n + 1) on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sri_sdk.calibrate.conformal import conformal_rank, exact_rank
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

    @classmethod
    def of(cls, n: int, alpha: float, delta: float | None = None) -> Self:
        """The promise that a calibration on n generations makes.

        Args:
            n: harmless generations; ties between their scores make the rates lower than those given here.
            alpha: bound on the rate.
            delta: see `sri_sdk.calibrate.conformal.Threshold.delta`.

        Raises:
            ConfigError: n is too small for alpha, and delta if there is one.
            MissingExtra: scipy is not installed.
        """
        rank = conformal_rank(n, alpha) if delta is None else exact_rank(n, alpha, delta)
        try:
            from scipy.stats import beta
        except ImportError as err:
            raise MissingExtra("A plan", extra="train") from err
        outside = (1 - BAND) / 2
        low, high = (float(beta.ppf(share, n - rank + 1, rank)) for share in (outside, 1 - outside))
        return cls(alpha, n, rank, (n + 1 - rank) / (n + 1), low, high)


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
