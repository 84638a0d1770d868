"""One thread per sink: it reads what is due from the file, in order, and hands it over until the sink has it.

A sink that is slow, raises or hangs keeps its own observations waiting, and nobody else's.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sri_sdk.errors import SinkRejected, SriError
from sri_sdk.monitor.spool import disk
from sri_sdk.monitor.spool.lane import Lane, Shared
from sri_sdk.observation import Observation
from sri_sdk.strict_json import parse

log = logging.getLogger("sri_sdk.monitor")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
"""Seconds until the next try: after the first failure, doubled with each further one, and the most."""
QUIET_S = 60.0
"""Seconds between two warnings that a sink has begun to fail."""
MOST_BYTES = 16 * 2**20
"""Bytes in one `deliver`, about."""


class Courier:
    """Delivers the observations of one sink."""

    def __init__(self, file: Path, shared: Shared, lane: Lane) -> None:
        """Starts the thread."""
        self._file, self._shared, self._lane = file, shared, lane
        self._most = max(1, lane.sink.batch)
        self._count = self._most
        """Observations of the next batch: halved by a failure, so that a receiver that is too slow for many still gets
        some, and doubled by a success."""
        self._pause_s = 0.0
        """Until the next try."""
        self._said_at: float | None = None
        self._connection: sqlite3.Connection | None = None
        threading.Thread(target=self._run, name=f"sri-courier-{lane.name}", daemon=True).start()

    def _run(self) -> None:
        shared, lane = self._shared, self._lane
        try:
            while self._has_some():
                self._deliver_next()
                if lane.failures and not self._pause():
                    break
        finally:
            self._disconnect()
            with shared.changed:
                lane.ended = True
                shared.changed.notify_all()

    def _has_some(self) -> bool:
        """Waits until there is something to deliver; False = there will not be."""
        shared, lane = self._shared, self._lane
        with shared.changed:
            shared.changed.wait_for(
                lambda: (
                    lane.last > lane.done or shared.stage == "halted" or (shared.stage == "draining" and shared.settled)
                )
            )
            return lane.last > lane.done and shared.stage != "halted"

    def _pause(self) -> bool:
        """Waits before the next try; False = there is none."""
        shared, lane = self._shared, self._lane
        with shared.changed:
            if shared.stage != "open":
                return False
            lane.hurry = False
            shared.changed.wait_for(lambda: lane.hurry or shared.stage != "open", self._pause_s)
            return True

    def _deliver_next(self) -> None:
        try:
            rows = self._read()
            observations, unreadable = _observations(rows)
        except Exception as err:
            self._disconnect()
            self._failed(f"the spool is not read: {disk.words_of(err)}")
            return
        rejected, why = frozenset[str](), ""
        try:
            if observations:
                self._deliver(observations)
        except SinkRejected as err:
            rejected = err.ids & {each.id for each in observations}
            if not rejected:
                self._failed("deliver() rejected observations that it was not handed")
                return
            why = err.why
        # A sink that calls sys.exit() must not take the observations behind it along.
        except BaseException as err:
            self._failed(words_of(err))
            return
        with self._shared.changed:
            self._lane.reject(unreadable, "this release cannot read them")
            self._lane.reject(refused := sum(each.id in rejected for each in observations), why)
            self._delivered(rows, unreadable + refused)

    def _read(self) -> list[tuple[int, bytes]]:
        if self._connection is None:
            self._connection = disk.connect(self._file)
        return disk.read(self._connection, self._lane.number, self._lane.done, self._count, MOST_BYTES)

    def _deliver(self, observations: Sequence[Observation]) -> None:
        self._lane.calling_since = time.monotonic()
        try:
            self._lane.sink.deliver(observations)
        finally:
            self._lane.calling_since = None

    def _delivered(self, rows: Sequence[tuple[int, bytes]], rejected: int) -> None:
        self._count = min(self._most, 2 * self._count)
        lane = self._lane
        lane.delivered += len(rows) - rejected
        if lane.failures:
            log.info("sink %s: takes observations again, after %d failures", lane.name, lane.failures)
        lane.failing, lane.failing_since, lane.failures = None, None, 0
        # Nothing there although something is due: somebody has emptied the file.
        lane.done = rows[-1][0] if rows else lane.last
        self._shared.changed.notify_all()

    def _failed(self, why: str) -> None:
        self._count = max(1, self._count // 2)
        with self._shared.changed:
            lane = self._lane
            lane.failing, lane.failures = why, lane.failures + 1
            lane.failing_since = lane.failing_since or int(time.time() * 1000)
            # Jitter, so that what failed together is not tried again together.
            self._pause_s = min(FIRST_PAUSE_S * 2.0 ** min(lane.failures - 1, 16), LONGEST_PAUSE_S) * random.uniform(
                0.5, 1
            )
            if self._is_news(lane.failures):
                log.warning("sink %s: failed %d times, the observations wait: %s", lane.name, lane.failures, why)

    def _is_news(self, failures: int) -> bool:
        """Whether to log it: the first time, and at every power of ten; of a sink that comes and goes once a minute."""
        now, before = time.monotonic(), self._said_at
        if str(failures).strip("0") != "1" or (failures == 1 and before is not None and now - before < QUIET_S):
            return False
        self._said_at = now
        return True

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _observations(rows: Sequence[tuple[int, bytes]]) -> tuple[tuple[Observation, ...], int]:
    """What the rows hold, and how many of them hold something else."""
    found = []
    for _, body in rows:
        # A newer release wrote it, say. No other try will read it.
        with suppress(ValueError):
            found.append(Observation.from_dict(parse(body)))
    return tuple(found), len(rows) - len(found)


def words_of(err: BaseException) -> str:
    """What went wrong, on one line. Messages of others may hold addresses with passwords, or what a user typed."""
    if isinstance(err, SriError):
        return " ".join(str(err).split())[:300]
    if isinstance(err, OSError) and err.strerror:
        return f"{type(err).__name__}: {err.strerror}"
    return type(err).__name__
