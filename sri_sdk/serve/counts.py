"""What happened so far, as plain numbers: cheap enough to count with every request. `metrics.py` shows them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of seconds."""


@dataclass(slots=True)
class Timed:
    """Requests of one route."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    """How many took at most so long, each bound by itself; the last = longer than all of them."""
    seconds: float = 0.0
    """In all."""


@dataclass(slots=True)
class Counts:
    """Of one server."""

    statuses: dict[tuple[str, int], int] = field(default_factory=dict)
    """(route, status) -> requests."""
    timed: dict[str, Timed] = field(default_factory=dict)
    """By route."""

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request was answered. `route` is a pattern: no id ends up here."""
        key = route, status
        self.statuses[key] = self.statuses.get(key, 0) + 1
        timed = self.timed.get(route)
        if timed is None:
            timed = self.timed[route] = Timed()
        timed.buckets[bisect_left(BUCKETS, seconds)] += 1
        timed.seconds += seconds
