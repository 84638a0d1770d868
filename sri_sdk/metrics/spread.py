"""Where the signals of a class lie, step by step: the band behind a single trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.classes import rows_of
from sri_sdk.metrics.guard_rates import CLASSES
from sri_sdk.metrics.results import ClassBand

Floats = NDArray[np.float64]
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Mean and quantiles of one class per cell, float, in the unit of the signals."""

    n: int
    """Generations behind it."""
    unseen: int
    """Generations of the class that were left out because their signal is not finite."""
    mean: Floats
    """[T]; this and all that follow are NaN where n = 0."""
    p05: Floats
    """[T] 5 % of the generations lie below."""
    p10: Floats
    """[T]"""
    p25: Floats
    """[T]"""
    median: Floats
    """[T]"""
    p75: Floats
    """[T]"""
    p90: Floats
    """[T]"""
    p95: Floats
    """[T]"""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; empty lists where n = 0."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: (value.tolist() if self.n else []) if isinstance(value, np.ndarray) else value
            for name, value in values.items()
        }


def spread(signals: NDArray[np.floating], classes: Sequence[str | None]) -> dict[str, Spread]:
    """Mean and spread per class and cell.

    Args:
        signals: [N, T] sigma or logit of one layer; NaN = not seen.
        classes: [N] class of each; None or `""` = none, left out.

    Returns:
        Class -> its spread. A spread over generations, not an interval of the mean.

    Raises:
        ValueError: shapes do not fit.
    """
    if signals.ndim != 2 or len(classes) != len(signals):
        raise ValueError(
            f"spread: signals {signals.shape}, {len(classes)} classes; needed: [N, T], and a class for each"
        )
    return {name: _spread(signals[rows].astype(np.float64)) for name, rows in rows_of(classes).items()}


def class_bands(sigma: NDArray[np.floating], classes: Sequence[str | None]) -> tuple[ClassBand, ...]:
    """Mean and middle 80 % of sigma per class and cell.

    Args:
        sigma: [N, T] of one layer; NaN = not seen.
        classes: [N] class of each, a key of `CLASSES`; None or `""` = none, left out.
    """
    found = spread(sigma, classes)
    return tuple(
        ClassBand(name, one.n, *(tuple(values.tolist()) for values in (one.mean, one.p10, one.p90)))
        for name in CLASSES
        if (one := found.get(name)) is not None
    )


def _spread(signals: Floats) -> Spread:
    seen = signals[np.isfinite(signals).all(axis=1)]
    unseen = len(signals) - len(seen)
    if not len(seen):
        nothing = np.full(signals.shape[1], np.nan)
        return Spread(0, unseen, nothing, *(nothing for _ in QUANTILES))
    return Spread(len(seen), unseen, seen.mean(axis=0), *np.quantile(seen, QUANTILES, axis=0))
