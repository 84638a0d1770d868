"""Leaving out the highest calibration scores, on the belief that they are those of attacks: what that promises.

Of n scores the m = floor(e n) highest are dropped, and the threshold has the conformal rank among the n - m that are
left. Two things can be said of it:

* If there are m attacks and each scores above every harmless generation, the rest is a clean calibration set, and the
  threshold keeps alpha and costs no power.
* Whatever is true, the rate on harmless generations is at most (n + 1 - rank) / (n + 1 - m), about alpha + e. It comes
  to that where all m attacks lie below the others, and nearly so (alpha + e (1 - alpha)) where there are none at all.

So trimming is a bet. Where it is lost the false-alarm rate is alpha + e, not alpha, and nothing in the scores tells.
`threshold_rank` of `conformal.py` never exceeds alpha, and is what a guard is calibrated with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sri_sdk.calibrate.conformal import conformal_rank, most_attacks


@dataclass(frozen=True, slots=True)
class Trimming:
    """The threshold that trimming takes from n calibration scores."""

    trimmed: int
    """Number of scores left out, the highest ones."""
    rank: int
    """Of the threshold among all n, counted from 1, smallest first."""
    if_highest: float
    """Expected false-alarm rate if exactly the scores of attacks were left out; at most alpha."""
    if_none: float
    """If there was no attack, and harmless scores were left out."""
    worst: float
    """If all of the attacks score below every harmless generation: nothing is worse."""

    @classmethod
    def of(cls, n: int, alpha: float, contamination: float) -> Self:
        """From n scores of which a share up to `contamination` is left out.

        Raises:
            ConfigError: alpha is out of reach with those that are left.
        """
        trimmed = most_attacks(n, contamination)
        rank, left = conformal_rank(n - trimmed, alpha), n + 1 - trimmed
        return cls(trimmed, rank, (left - rank) / left, (n + 1 - rank) / (n + 1), (n + 1 - rank) / left)
