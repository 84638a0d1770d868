"""A sink whose other side takes time: `emit` queues in memory, and a thread hands batches to `deliver`."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from typing import Any

import sri_sdk
from sri_sdk.errors import SinkRejected

log = logging.getLogger("sri_sdk.sinks")

MOST_WAITING = 10_000
"""Verdicts that wait in memory; one more is given up."""
FIRST_REST_S, LONGEST_REST_S = 0.2, 30.0
"""Seconds before a batch is tried again: the first time, doubled with each failure, and the most."""
CLOSE_S = 5.0
"""Seconds that `close` waits for what is on its way."""


class QueuedSink(sri_sdk.Sink):
    """Base of sinks that write only `deliver`.

    A monitor calls `deliver` itself, with a queue on disk; nothing of this queue is used then, and no thread started.
    What a watched process hands to `emit` waits here, and does not survive that process.
    """

    def __init__(self, config: Any = None) -> None:
        """Takes the options."""
        super().__init__(config)
        self.lost = 0
        """Verdicts of `emit` given up: refused by the other side, no room, or still waiting at `close`."""
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[sri_sdk.Observation] = deque()
        self._thread: threading.Thread | None = None

    @property
    def _name(self) -> str:
        return type(self).__name__

    def emit(self, verdict: sri_sdk.Verdict) -> None:
        """Queues one verdict. Without its circumstances, which only a monitor knows."""
        if self._pid != os.getpid():
            # A forked child: the thread, what waits and perhaps a lock are the parent's.
            self._begin()
        observation = sri_sdk.Observation(verdict, time.time_ns() // 1_000_000)
        with self._changed:
            if self._closed or len(self._waiting) >= MOST_WAITING:
                self._lose(1, "closed" if self._closed else f"{MOST_WAITING} are waiting")
                return
            self._waiting.append(observation)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"sri-{self._name}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Delivers what `emit` took, and gives it up where that fails or takes more than 5 s."""
        if self._pid != os.getpid():
            self._begin()
        with self._changed:
            if not self._closed:
                self._closed = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._thread is None, CLOSE_S)
                if self._waiting:
                    self._lose(len(self._waiting), "not delivered when it was closed")
                    self._waiting.clear()
        self._let_go()

    def _let_go(self) -> None:
        """Closes what the sink keeps open; twice is fine."""

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while batch := self._next():
            rejected, why = 0, ""
            try:
                self.deliver(batch)
            except SinkRejected as err:
                rejected, why = len(err.ids), err.why
            except BaseException as err:
                failures += 1
                if str(failures).strip("0") == "1":
                    log.warning("%s: failed %d times, last %s: %s", self._name, failures, type(err).__name__, err)
                if self._rest(min(FIRST_REST_S * 2 ** min(failures - 1, 16), LONGEST_REST_S)):
                    continue
                break
            failures = 0
            with self._changed:
                # `close` may have given them up meanwhile, and counted them.
                if self._waiting:
                    for _ in batch:
                        self._waiting.popleft()
                    self._lose(rejected, why)
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def _next(self) -> list[sri_sdk.Observation]:
        """The batch that is due; empty = closed, and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting[i] for i in range(min(self.batch, len(self._waiting)))]

    def _rest(self, seconds: float) -> bool:
        """Waits before another try; says whether there is one, since a sink that closes tries no more."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._closed, seconds * random.uniform(0.7, 1.3))

    def _lose(self, count: int, why: str) -> None:
        """Counts what is given up, and logs it when the count gains a digit; the lock is held."""
        before, self.lost = self.lost, self.lost + count
        if count and (before == 0 or len(str(self.lost)) > len(str(before))):
            log.warning("%s: %d verdicts given up: %s", self._name, self.lost, why)
