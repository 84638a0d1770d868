"""Models' processes that take turns at one database, transaction by transaction.

Each monitor with the sink `sql` writes what waits in its spool, 100 rows at most at once; what runs right now, twice a
second; and a pulse every five seconds. In the database a transaction excludes all others, and one that waits for its
turn longer than the store does fails and is tried again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.scale.measured import Measured
from benchmarks.scale.minute import arrivals
from benchmarks.scale.plan import Plan
from sri_sdk.monitor.outlet import PULSE_S, SHOW_S
from sri_sdk.monitor.spool.courier import FIRST_PAUSE_S, LONGEST_PAUSE_S
from sri_sdk.serve.store.engines import PATIENCE_S as LOCK_S
from sri_sdk.sink import Sink

Floats = NDArray[np.float64]
Kind = Literal["rows", "show", "pulse"]
RARE = 1e-3
"""Share of transactions that may fail for want of a turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Commits:
    """How long transactions take."""

    empty_s: float
    """Of one with rows, whatever their number."""
    row_s: float
    """More of it for each row."""
    show_s: float
    pulse_s: float
    shape: Floats
    """How long they take beside their mean, to draw from."""

    @classmethod
    def of(cls, plan: Plan, measured: Measured, database: str = "postgresql") -> Commits:
        """As measured, in a store that is as large as the plan says."""
        empty, row = measured.commit_s(database, plan.slower)
        one, shape = measured[f"{database}_1"] / 1e3, measured.commit_shape[database]
        return cls(empty, row, one * measured[f"{database}_show"], one * measured[f"{database}_pulse"], shape)


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What became of the rows."""

    waits: Floats
    """[N] seconds from the spool to the disk, of those that were stored."""
    came: int
    left: int
    """In spools at the end."""
    rows_per_commit: float
    failed: float
    """Share of the transactions that waited for their turn too long."""
    busy: float

    @property
    def steady(self) -> bool:
        """Whether it could go on like this: hardly a transaction fails, and no spool fills."""
        return self.failed <= RARE and self.left <= 0.1 * self.came


@dataclass(slots=True)
class _Process:
    spool: deque[float] = field(default_factory=deque)
    due: deque[Kind] = field(default_factory=deque)
    """Each at most once: what is newer takes the place of what waits."""
    asks: bool = False
    """Whether it is in the queue."""
    failures: int = 0
    resumes: float = 0.0
    """When rows may be tried again."""


class _Database:
    """One writer at a time, in the order in which they ask."""

    def __init__(self, commits: Commits, processes: int, events: Sequence[tuple[float, Kind, int]], seed: int) -> None:
        """Takes everything that will happen, in the order of time."""
        self.commits, self.processes = commits, [_Process() for _ in range(processes)]
        self.events, self.next = events, 0
        self.later: list[tuple[float, Kind, int]] = []
        """Rows that are tried again."""
        self.turns: deque[tuple[float, int]] = deque()
        self.chance = np.random.default_rng(seed)
        self.waits: list[float] = []
        self.tries = self.failed = self.deliveries = 0
        self.now = self.worked = 0.0

    def run(self, seconds: float) -> None:
        """Everything that happens until then."""
        while True:
            self._until(self.now)
            if not self.turns:
                coming = [each[0] for each in (*self.events[self.next : self.next + 1], *self.later[:1])]
                if not coming or min(coming) >= seconds:
                    return
                self.now = max(self.now, min(coming))
                continue
            since, who = self.turns.popleft()
            if max(self.now, since) >= seconds:
                return
            self._turn(since, self.processes[who], who)

    def _turn(self, since: float, process: _Process, who: int) -> None:
        kind = process.due.popleft()
        self.tries += 1
        if self.now - since > LOCK_S:
            self.failed += 1
            asks_again = since + LOCK_S
            if kind == "rows":
                process.failures += 1
                pause = min(FIRST_PAUSE_S * 2.0 ** min(process.failures - 1, 16), LONGEST_PAUSE_S)
                process.resumes = asks_again + pause * self.chance.uniform(0.5, 1)
                heapq.heappush(self.later, (process.resumes, "rows", who))
        else:
            took = {"show": self.commits.show_s, "pulse": self.commits.pulse_s}.get(kind, 0.0)
            taken: list[float] = []
            if kind == "rows":
                taken = [process.spool.popleft() for _ in range(min(len(process.spool), Sink.batch))]
                took = self.commits.empty_s + self.commits.row_s * len(taken)
                process.failures, self.deliveries = 0, self.deliveries + 1
            took *= float(self.chance.choice(self.commits.shape))
            self.now, self.worked = self.now + took, self.worked + took
            self.waits += [self.now - each for each in taken]
            if process.spool and kind == "rows":
                process.due.append("rows")
            asks_again = self.now
        self._until(self.now)
        process.asks = bool(process.due)
        if process.due:
            self.turns.append((asks_again, who))

    def _until(self, now: float) -> None:
        """What has come meanwhile."""
        while True:
            first = self.events[self.next] if self.next < len(self.events) else None
            if self.later and (first is None or self.later[0] < first):
                if self.later[0][0] > now:
                    return
                self._due(*heapq.heappop(self.later))
            elif first is not None and first[0] <= now:
                self.next += 1
                if first[1] == "rows":
                    self.processes[first[2]].spool.append(first[0])
                self._due(*first)
            else:
                return

    def _due(self, at: float, kind: Kind, who: int) -> None:
        process = self.processes[who]
        if kind in process.due or (kind == "rows" and at < process.resumes):
            return
        process.due.append(kind)
        if not process.asks:
            process.asks = True
            self.turns.append((at, who))


def written(rate: float, processes: int, seconds: float, commits: Commits, seed: int = 0) -> Written:
    """Some time at one database.

    Args:
        rate: rows a second, of all processes.
        processes: that write.
        seconds: that are looked at.
        commits: how long each takes.
        seed: of everything that is drawn.
    """
    chance = np.random.default_rng([seed, processes])
    at = arrivals(rate, seconds, chance)
    events: list[tuple[float, Kind, int]] = [
        (float(t), "rows", int(who)) for t, who in zip(at, chance.integers(0, processes, len(at)), strict=True)
    ]
    regular: tuple[tuple[Kind, float], ...] = (("show", SHOW_S), ("pulse", PULSE_S))
    for kind, every in regular:
        for who, first in enumerate(chance.uniform(0, every, processes)):
            events += [(float(t), kind, who) for t in np.arange(first, seconds, every)]
    database = _Database(commits, processes, sorted(events), seed)
    database.run(seconds)
    left = sum(len(each.spool) for each in database.processes)
    return Written(
        np.array(database.waits), len(database.waits) + left, left, len(database.waits) / max(database.deliveries, 1),
        database.failed / max(database.tries, 1), database.worked / max(database.now, 1e-9),
    )  # fmt: skip


def most_processes(rate: float, seconds: float, commits: Commits, runs: int, seed: int = 0) -> int:
    """The largest number of processes at one database that could go on in every run; 0 = not even one.

    Args:
        rate: rows a second of each.
        seconds: of a run.
        commits: how long each takes.
        runs: how many.
        seed: of the first one.
    """

    def fine(count: int) -> bool:
        return all(written(rate * count, count, seconds, commits, seed + each).steady for each in range(runs))

    low, high = 0, 1
    while fine(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fine(middle) else (low, middle)
    return low
