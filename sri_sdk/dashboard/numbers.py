"""Sums of the store's counts per hour, as pages and findings need them. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sri_sdk.dashboard.words import HOUR_MS
from sri_sdk.serve.store.observed import HourCount, LatencyCount

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(slots=True)
class Counts:
    """Generations of some hours by what became of them."""

    clear: int = 0
    flagged: int = 0
    unmonitored: int = 0
    not_sampled: int = 0
    withheld: int = 0
    would_withhold: int = 0
    recovered: int = 0
    unmonitored_by: Counter[str] = field(default_factory=Counter)
    """Reason code -> generations without a verdict because of it."""

    @classmethod
    def of(cls, hours: Iterable[HourCount]) -> Counts:
        """Adds up; whoever calls chooses kind, deployment and time."""
        made = cls()
        for each in hours:
            setattr(made, each.status, getattr(made, each.status) + each.generations)
            if each.consequence != "released":
                setattr(made, each.consequence, getattr(made, each.consequence) + each.generations)
            if each.status == "unmonitored":
                made.unmonitored_by[each.reason] += each.generations
        return made

    @property
    def generations(self) -> int:
        """All of them."""
        return self.judged + self.unmonitored + self.not_sampled

    @property
    def judged(self) -> int:
        """Those with a verdict that says something."""
        return self.clear + self.flagged


def of_guard(hours: Sequence[HourCount], bundle: str | None) -> tuple[Sequence[HourCount], int]:
    """Counts of one guard, and of what was not judged where it ran.

    A generation that nobody judged names no guard. Left out, a guard that sees nothing would look like one that has
    nothing to see; so it counts for every guard that its deployment ran in this time.

    Args:
        hours: of all guards.
        bundle: digest of the one in question; None = all of them.

    Returns:
        The counts, and how many generations of traffic among them name no guard.
    """
    if bundle is None:
        return hours, 0
    ran = {each.deployment for each in hours if each.bundle == bundle}
    kept = [each for each in hours if each.bundle == bundle or (not each.bundle and each.deployment in ran)]
    return kept, sum(each.generations for each in kept if not each.bundle and each.kind == "traffic")


def runs_since(hours: Sequence[HourCount], fits: Callable[[HourCount], bool], share: float) -> int | None:
    """Since which hour at least this share of the generations fits, without a break; hours without any are skipped.

    Args:
        hours: of one deployment, traffic alone.
        fits: which counts are meant.
        share: of all generations of an hour.
    """
    by_hour: dict[int, list[HourCount]] = {}
    for each in hours:
        by_hour.setdefault(each.hour_ms, []).append(each)
    since = None
    for hour_ms in sorted(by_hour, reverse=True):
        found = by_hour[hour_ms]
        whole = sum(each.generations for each in found if each.status != "not_sampled")
        if not whole:
            continue
        if sum(each.generations for each in found if fits(each)) < share * whole:
            break
        since = hour_ms
    return since


def quantile(buckets: Iterable[LatencyCount], share: float) -> float | None:
    """Seconds within which this share of the verdicts came, read inside its bucket; None = there are none."""
    sums: Counter[tuple[float, float]] = Counter()
    for each in buckets:
        sums[each.over_s, each.to_s] += each.generations
    total, below = sum(sums.values()), 0
    for low, high in sorted(sums):
        count = sums[low, high]
        if below + count >= share * total:
            if not low or math.isinf(high):
                return low if low else high
            # Buckets are even on a scale of logarithms.
            return float(low * (high / low) ** ((share * total - below) / count))
        below += count
    return None


def bucket_of(hour_ms: int, together: int) -> int:
    """Begin of the bucket that an hour is in, where `together` hours are one."""
    return hour_ms - hour_ms % (together * HOUR_MS)


def buckets_of(since_ms: int, until_ms: int, together: int) -> list[int]:
    """Begins of the buckets of a chart, in milliseconds."""
    return list(range(bucket_of(since_ms, together), until_ms, together * HOUR_MS))
