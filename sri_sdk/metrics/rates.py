"""Rates with exact intervals: a share without its n and its interval is not a result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sri_sdk.metrics.intervals import exact_interval

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """k of n, with a Clopper-Pearson interval."""

    name: str
    k: int
    n: int
    low: float
    """Lower end of the 95 % interval, a share."""
    high: float
    """Upper end."""

    @property
    def value(self) -> float:
        """k / n; NaN for n = 0."""
        return self.k / self.n if self.n else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.n:
            return "no cases"
        low, high = 100 * self.low, 100 * self.high
        return f"{100 * self.value:.1f} % ({self.k} of {self.n}; 95 % interval {low:.1f} to {high:.1f})"


def exact_rate(name: str, k: int, n: int) -> Rate:
    """The Clopper-Pearson interval of k successes in n trials: never shorter than it says, for any true rate."""
    return Rate(name, k, n, *exact_interval(k, n, 1 - CONFIDENCE))
