"""Buckets of seconds, ten to a decade: the same in every store and release, so that counts can be added."""

from __future__ import annotations

import math

PER_DECADE = 10
_FIRST, _LAST = -4 * PER_DECADE, 3 * PER_DECADE
"""The first bucket has everything up to 0.1 ms, the last everything above 1,000 s."""


def bucket_of(seconds: float) -> int:
    """The bucket of a time; its width is a quarter of it."""
    if not seconds > 10.0 ** (_FIRST / PER_DECADE):
        return _FIRST
    if math.isinf(seconds):
        return _LAST + 1
    return min(math.ceil(math.log10(seconds) * PER_DECADE - 1e-9), _LAST + 1)


def limits_of(bucket: int) -> tuple[float, float]:
    """More than the first number of seconds, at most the second."""
    low = 0.0 if bucket <= _FIRST else 10.0 ** ((bucket - 1) / PER_DECADE)
    return low, math.inf if bucket > _LAST else 10.0 ** (bucket / PER_DECADE)
