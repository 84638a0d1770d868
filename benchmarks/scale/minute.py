"""A busy minute, one request after the other: scoring processes, with the server's own micro-batching.

`day.py` counts whole seconds; what takes milliseconds is here, at the full rate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk.serve.batching import MOST_ROWS
from sri_sdk.serve.settings import LimitsSection

Floats = NDArray[np.float64]
QUEUE = int(LimitsSection().queue)
"""Generations that may wait for a slow bundle; what comes then is refused with 503."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What became of requests to a scoring process."""

    waits: Floats
    """Seconds from the arrival of each request to the end of its call; infinite = refused."""
    busy: float
    """Share of the time in which the process worked."""
    rows_per_call: float

    def late(self, patience_s: float) -> float:
        """Share without an answer in time."""
        return float((self.waits > patience_s).mean())


def arrivals(rate: float, seconds: float, chance: np.random.Generator) -> Floats:
    """Times in [0, seconds) of a Poisson process, in order."""
    return np.sort(chance.uniform(0, seconds, chance.poisson(rate * seconds)))


def inline(at: Floats, service: Floats) -> Served:
    """One process that answers requests one after the other, as a bundle is served that takes less than half a
    millisecond.

    Args:
        at: [N] seconds at which requests come, in order.
        service: [N] seconds that each takes.
    """
    # Each begins when it has come and the one before is done: the largest of all that may keep it waiting.
    done = np.cumsum(service)
    ends = done + np.maximum.accumulate(at - (done - service))
    return Served(ends - at, float(service.sum() / max(ends[-1] - at[0], 1e-9)), 1.0)


def batched(at: Floats, handler: Floats, call_s: float, row_s: float, most_rows: int = MOST_ROWS) -> Served:
    """One process with a bundle whose calls take long: a thread takes all requests that wait, as `_Lane` does.

    Args:
        at: [N] seconds at which requests of one generation come, in order.
        handler: [N] seconds of each before it waits for the thread.
        call_s: of a call, whatever its rows.
        row_s: more of it for each row.
        most_rows: of one call.
    """
    ready = at + inline(at, handler).waits
    ends = np.full(len(at), np.inf)
    waiting, taken, free, worked, calls, first = deque[int](), list[int](), 0.0, 0.0, 0, 0
    while first < len(at) or waiting:
        begin = max(free, ready[waiting[0]] if waiting else ready[first])
        while first < len(at) and ready[first] <= begin:
            # Those that wait count, and those in the call that runs when it comes.
            if len(waiting) + (len(taken) if ready[first] < free else 0) < QUEUE:
                waiting.append(first)
            first += 1
        taken = [waiting.popleft() for _ in range(min(len(waiting), most_rows))]
        took = call_s + row_s * len(taken)
        free, calls, worked = begin + took, calls + 1, worked + took
        ends[taken] = free
    known = np.isfinite(ends)
    return Served(ends - at, worked / max(free - at[0], 1e-9), float(known.sum() / max(calls, 1)))
