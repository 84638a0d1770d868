"""The one thread that writes the spool. What waits is committed together: a disk takes few syncs a second."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sri_sdk.errors import SriError
from sri_sdk.monitor.spool import disk
from sri_sdk.monitor.spool.lane import Shared

log = logging.getLogger("sri_sdk.monitor")

MOST_IN_MEMORY = 64 * 2**20
"""Bytes that may wait for the disk; what comes then is dropped. A disk that hangs must not eat the memory."""
MOST_PER_COMMIT = 8 * 2**20
"""Bytes in one transaction."""
REMOVE_S, RETRY_S = 0.25, 1.0
"""Seconds until what was delivered is removed, where no `put` has it done sooner: a sync of the disk for each delivery
would be one too many. What a process leaves is delivered twice, which is harmless. And the same after a failure."""


class NotSpooled(SriError):
    """Some observations are in the spool for no sink; they are counted as dropped.

    Attributes:
        count: how many of those that were put together.
    """

    def __init__(self, count: int, why: str) -> None:
        super().__init__(f"spool: {count} observations dropped: {why}.")
        self.count = count


@dataclass(frozen=True, slots=True)
class _Put:
    bodies: Sequence[bytes]
    size: int
    """Bytes."""
    unfit: int
    """Those that were put with them and cannot be written; counted when they came."""
    done: Future[None]

    def settle(self, lost: int, why: str) -> None:
        """Tells whoever waits; without the lock, since callbacks run here."""
        if lost + self.unfit:
            self.done.set_exception(NotSpooled(lost + self.unfit, why if lost else "they cannot be written as JSON"))
        else:
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one transaction adds."""

    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    due: list[tuple[int, int, int]] = field(default_factory=list)
    """(sink, number, bytes)."""
    lost: list[int] = field(default_factory=list)
    """Of each put: observations that no sink has room for."""
    dropped: dict[int, int] = field(default_factory=dict)
    """Sink -> observations that it has no room for."""


class Writer:
    """Takes bodies from any thread, and says when they are on disk."""

    def __init__(self, file: Path, shared: Shared, *, last: int, max_bytes: int) -> None:
        """Starts the thread.

        Args:
            file: where `disk.prepare` was.
            shared: what the threads of the spool share.
            last: number of the last observation in the file.
            max_bytes: of what waits for one sink.
        """
        self._file, self._shared, self._last, self._max_bytes = file, shared, last, max_bytes
        self._queue: deque[_Put] = deque()
        self._waiting = 0
        """Bytes in the queue, and in the transaction that runs."""
        self._ending = False
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="sri-spool", daemon=True)
        self._thread.start()

    def put(self, bodies: Sequence[bytes], unfit: int, done: Future[None]) -> None:
        """Accepts bodies; `done` is done when they are committed, or raises `NotSpooled`.

        Args:
            bodies: one of each observation.
            unfit: observations that were put with them and have no body.
            done: not cancelled, and running.
        """
        put, shared = _Put(bodies, sum(map(len, bodies)), unfit, done), self._shared
        with shared.changed:
            for lane in shared.lanes:
                lane.accepted += len(bodies) + unfit
                lane.drop(unfit, "cannot be written as JSON")
            # One is always taken where nothing waits, or a large one would never be.
            fits = not self._waiting or self._waiting + put.size <= MOST_IN_MEMORY
            why = None if fits else "the disk is too slow"
            why = why if shared.stage == "open" else "the spool is closed"
            if why is None:
                self._queue.append(put)
                self._waiting += put.size
                shared.settled = False
                shared.changed.notify_all()
            else:
                self._drop(len(bodies), why)
        if why is not None:
            put.settle(len(bodies), why)

    def end(self, timeout: float) -> bool:
        """Writes what the sinks have done with, and ends the thread; says whether it ended in time.

        What is not written then is delivered again by the next process.
        """
        with self._shared.changed:
            self._ending = True
            self._shared.changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        shared = self._shared
        while True:
            with shared.changed:
                shared.changed.wait_for(lambda: self._queue or self._ending or self._done_with())
                shared.changed.wait_for(lambda: self._queue or self._ending, RETRY_S if shared.fault else REMOVE_S)
                if self._ending and not self._queue and (shared.fault or not self._done_with()):
                    break
                puts, done_with = self._take(), self._done_with()
            if puts or done_with:
                self._commit(puts, done_with)
        self._disconnect()

    def _done_with(self) -> dict[int, int]:
        """Number of a sink -> number of its last observation that the file may forget."""
        return {lane.number: lane.done for lane in self._shared.lanes if lane.done > lane.removed}

    def _take(self) -> list[_Put]:
        """What fits into one transaction, at least one."""
        puts: list[_Put] = []
        size = 0
        while self._queue and (not puts or size + self._queue[0].size <= MOST_PER_COMMIT):
            puts.append(self._queue.popleft())
            size += puts[-1].size
        return puts

    def _commit(self, puts: list[_Put], done_with: dict[int, int]) -> None:
        try:
            plan, freed = self._write(puts, done_with)
        # Whatever it is, the thread goes on: without it, nothing would be taken any more, and nobody told.
        except Exception as err:
            self._failed(disk.words_of(err))
            self._lose(puts)
            return
        with self._shared.changed:
            for lane in self._shared.lanes:
                lane.size -= freed.get(lane.number, 0)
                lane.removed = max(lane.removed, done_with.get(lane.number, 0))
                lane.drop(plan.dropped.get(lane.number, 0), f"{self._max_bytes} bytes wait, the sink is too slow")
            lanes = {lane.number: lane for lane in self._shared.lanes}
            for sink, number, size in plan.due:
                lanes[sink].size += size
                lanes[sink].last = number
            if self._shared.fault:
                log.info("spool: %s is written again", self._file)
            self._shared.fault = None
            self._settled(puts)
        for put, lost in zip(puts, plan.lost, strict=True):
            put.settle(lost, "no sink has room")

    def _write(self, puts: list[_Put], done_with: Mapping[int, int]) -> tuple[_Plan, dict[int, int]]:
        """One transaction. On disk when it returns; nothing of it is where it raises."""
        if self._connection is None:
            self._connection = disk.connect(self._file)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            freed = disk.remove(self._connection, done_with)
            plan = self._plan(puts, freed)
            disk.insert(self._connection, plan.bodies, plan.due)
            self._connection.execute("COMMIT")
        except BaseException:
            # A connection that saw the disk fail is not used again.
            self._disconnect()
            raise
        return plan, freed

    def _plan(self, puts: list[_Put], freed: Mapping[int, int]) -> _Plan:
        """Which bodies go to whom. Only this thread changes sizes, so no lock is needed to read them."""
        plan, lanes = _Plan(), self._shared.lanes
        room = {lane.number: self._max_bytes - lane.size + freed.get(lane.number, 0) for lane in lanes}
        for put in puts:
            lost = 0
            for body in put.bodies:
                takers = [sink for sink, bytes_left in room.items() if len(body) <= bytes_left]
                for sink in room.keys() - takers:
                    plan.dropped[sink] = plan.dropped.get(sink, 0) + 1
                if not takers:
                    lost += bool(lanes)
                    continue
                # Numbers of a transaction that failed are not used again.
                self._last += 1
                plan.bodies.append((self._last, body))
                for sink in takers:
                    room[sink] -= len(body)
                    plan.due.append((sink, self._last, len(body)))
            plan.lost.append(lost)
        return plan

    def _failed(self, why: str) -> None:
        with self._shared.changed:
            if why != self._shared.fault:
                log.warning("spool: %s is not written: %s", self._file, why)
            self._shared.fault = why

    def _lose(self, puts: list[_Put]) -> None:
        why = f"the spool is not written: {self._shared.fault}"
        with self._shared.changed:
            self._drop(sum(len(put.bodies) for put in puts), why)
            self._settled(puts)
        for put in puts:
            put.settle(len(put.bodies), why)

    def _drop(self, count: int, why: str) -> None:
        for lane in self._shared.lanes:
            lane.drop(count, why)

    def _settled(self, puts: list[_Put]) -> None:
        self._waiting -= sum(put.size for put in puts)
        self._shared.settled = not self._queue
        self._shared.changed.notify_all()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
