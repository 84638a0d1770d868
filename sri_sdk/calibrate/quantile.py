"""The papers' threshold, for comparison: the interpolated (1 - alpha) quantile of the calibration scores.

It does not promise alpha. It lies between two order statistics, and how often a new score exceeds those is known on
average, for any distribution. Of 200 scores, the 99 % quantile lies a hundredth of the way from the 198th, which 1.49 %
exceed, to the 199th, which 1.00 % exceed: a new score counts among n + 1, and the quantile only among n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError


@dataclass(frozen=True, slots=True)
class InterpolatedQuantile:
    """A threshold by the papers' rule, and what can be said of it."""

    value: float
    """In the unit of the scores. Flagged when score > value."""
    alpha: float
    """Rate that the rule aims at, and does not promise."""
    n: int
    """Number of calibration scores."""
    least: float
    """Expected false-alarm rate is at least this, if no scores are equal."""
    most: float
    """Expected false-alarm rate is at most this, whatever the distribution. That may be above alpha."""

    @classmethod
    def fit(cls, scores: NDArray[Any], alpha: float) -> Self:
        """From scores [n] of harmless generations; -inf for those that could not be scored.

        Raises:
            ConfigError: alpha is not a share, or there are no scores.
        """
        n = len(scores)
        if not 0 < alpha < 1 or not n:
            raise ConfigError(
                f"interpolated quantile: alpha is {alpha:g} and there are {n} scores; allowed: a share between 0 and "
                "1, and at least one score."
            )
        below = math.floor((n - 1) * (1 - alpha)) + 1
        above = min(below + 1, n)
        value = float(np.quantile(scores, 1 - alpha))
        return cls(value, alpha, n, (n + 1 - above) / (n + 1), (n + 1 - below) / (n + 1))

    @property
    def words(self) -> str:
        """The rule in a table: what it is, and what may be expected of it."""
        expected = f"{100 * self.least:.3g} to {100 * self.most:.3g} % expected"
        return f"interpolated {1 - self.alpha:.1%} quantile, which promises nothing: {expected}"
