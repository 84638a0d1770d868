"""When the online rule alarms: how much of a class is caught by each step, and the median step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.bootstrap import RESAMPLES, Clusters, percentiles
from sri_sdk.metrics.rates import Rate, exact_rate


@dataclass(frozen=True, slots=True)
class MedianStep:
    """Median step of the generations that alarmed; half a step where two share the middle."""

    value: float
    """A step, counted from 0."""
    low: float
    """Lower end of the 95 % interval, which resamples base prompts."""
    high: float
    """Upper end."""
    clusters: int
    """Base prompts behind it; with only one the interval has no length and says nothing."""


@dataclass(frozen=True, slots=True)
class AlarmTimes:
    """First alarms of one class."""

    by_step: tuple[Rate, ...]
    """One per step of the budget: entry t is the share of all generations whose first alarm came at step t or before.
    It never falls. Each interval is exact for its own step, not for the curve as a whole."""
    alarmed: Rate
    """At any step, also beyond the budget."""
    beyond: int
    """Alarms at a step beyond the budget; counted in `alarmed`, not in `by_step`."""
    median: MedianStep | None
    """Of the generations that alarmed; None = none did."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "by_step": [asdict(rate) for rate in self.by_step]}


def alarm_times(
    name: str, first_alarms: Sequence[int | None], budget: int, bases: Sequence[str], *, seed: int = 0
) -> AlarmTimes:
    """First alarms of one class of generations.

    Args:
        name: of the class, for the rates.
        first_alarms: [N] step that was done when the online rule first alarmed, counted from 0
            (`Verdict.first_alarm_step`); None = no alarm, which includes what was not monitored.
        budget: steps of a whole generation.
        bases: base prompt of each generation.
        seed: of the resampling.

    Raises:
        ValueError: a step below 0, a budget below 1, or lengths that differ.
        MissingExtra: scipy is not installed.
    """
    if len(bases) != len(first_alarms):
        raise ValueError(f"alarms: {len(first_alarms)} first alarms and {len(bases)} base prompts; one of each per row")
    steps = np.array([step for step in first_alarms if step is not None], dtype=np.int64)
    if budget < 1 or (len(steps) and steps.min() < 0):
        raise ValueError(
            f"alarms: budget {budget}, earliest step {steps.min() if len(steps) else 'none'}; the budget is at least 1 "
            "and steps count from 0"
        )
    n = len(first_alarms)
    counts = np.cumsum(np.bincount(np.minimum(steps, budget), minlength=budget + 1))
    by_step = tuple(exact_rate(f"alarmed_by:{step}:{name}", int(counts[step]), n) for step in range(budget))
    mine = [base for base, step in zip(bases, first_alarms, strict=True) if step is not None]
    return AlarmTimes(
        by_step,
        exact_rate(f"alarmed:{name}", len(steps), n),
        int((steps >= budget).sum()),
        _median(steps, Clusters.of(mine, len(steps)), seed) if len(steps) else None,
    )


def _median(steps: NDArray[np.int64], clusters: Clusters, seed: int) -> MedianStep:
    random = np.random.default_rng(seed)

    def draws() -> Iterator[float]:
        for _ in range(RESAMPLES):
            yield float(np.median(np.repeat(steps, clusters.weights(random))))

    low, high = percentiles(draws())
    return MedianStep(float(np.median(steps)), low, high, clusters.count)
