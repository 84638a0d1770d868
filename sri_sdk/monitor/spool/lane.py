"""What the threads of a spool share: per sink its counts and its room, and how far the spool has come with closing."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from sri_sdk.observation import LOSS_MS, SinkState
from sri_sdk.sink import Sink

log = logging.getLogger("sri_sdk.monitor")

LATE_S = 10.0
"""Seconds in one `deliver` after which a sink is said to hang; it is waited for all the same."""


@dataclass(slots=True)
class Losses:
    """When observations were lost, by the machine's clock in milliseconds since 1970."""

    since: int | None = None
    """The first of those with less than `LOSS_MS` between two; None = none was lost."""
    at: int | None = None
    """The last one."""

    def note(self) -> None:
        """Some are lost now."""
        now = int(time.time() * 1000)
        if self.since is None or self.at is None or now - self.at > LOSS_MS:
            self.since = now
        self.at = now


@dataclass(slots=True)
class Lane:
    """The part of a spool that belongs to one sink."""

    name: str
    sink: Sink
    number: int
    """Of the sink, in the file."""
    accepted: int = 0
    """Those that an earlier process left in the file included."""
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    size: int = 0
    """Bytes of the observations in the file that are due to it."""
    last: int = 0
    """Number of the last observation in the file that is due to it; 0 = none was yet."""
    done: int = 0
    """Number of the last observation that the sink has done with; the file may not know yet."""
    removed: int = 0
    """Number up to which the file knows."""
    failing: str | None = None
    failures: int = 0
    """In a row."""
    calling_since: float | None = None
    """Monotonic seconds; None = no `deliver` is running."""
    hurry: bool = False
    """Whether the pause after a failure is over at once."""
    ended: bool = False
    """Whether its courier has ended."""
    failing_since: int | None = None
    """When the first of the failures in a row was, in milliseconds since 1970."""
    drops: Losses = field(default_factory=Losses)
    rejections: Losses = field(default_factory=Losses)

    @property
    def waiting(self) -> int:
        """Observations that nothing has become of yet."""
        return self.accepted - self.delivered - self.rejected - self.dropped

    def drop(self, count: int, why: str) -> None:
        """Counts observations that found no room, and says why."""
        self.dropped += count
        if count:
            self.drops.note()
        self._say("dropped", self.dropped, count, why)

    def reject(self, count: int, why: str) -> None:
        """Counts observations that nobody will ever take, and says why."""
        self.rejected += count
        if count:
            self.rejections.note()
        self._say("rejected", self.rejected, count, why)

    def _say(self, what: str, now: int, count: int, why: str) -> None:
        """Logs the first of them and every tenfold: a log must not flood."""
        if count and (now == count or len(str(now)) > len(str(now - count))):
            log.warning("spool: %d observations for sink %s %s: %s", now, self.name, what, why)

    def state(self, fault: str | None) -> SinkState:
        """What became of its observations, and why nothing does now.

        Args:
            fault: what is wrong with the file; None = nothing.
        """
        failing = self.failing
        since = self.failing_since
        if self.calling_since is not None and (late := time.monotonic() - self.calling_since) > LATE_S:
            failing = f"deliver() has not returned for {late:.0f} s"
            since = since or int((time.time() - late) * 1000)
        failing = failing or (fault and f"spool: {fault}")
        return SinkState(
            self.name, self.accepted, self.delivered, self.rejected, self.dropped, self.waiting, failing,
            since if failing else None, self.drops.since, self.drops.at, self.rejections.since, self.rejections.at,
        )  # fmt: skip


@dataclass(slots=True)
class Shared:
    """One lock for all of it: each of the threads holds it for microseconds."""

    lanes: tuple[Lane, ...]
    changed: threading.Condition = field(default_factory=threading.Condition)
    """Guards everything here, the lanes included, and is notified of every change."""
    stage: Literal["open", "draining", "halted"] = "open"
    """`draining` = nothing more is accepted, and what is there gets one more try; `halted` = everybody ends."""
    settled: bool = True
    """Whether everything that was put is in the file, or given up."""
    fault: str | None = None
    """What was wrong with the last transaction; None = it was committed."""
