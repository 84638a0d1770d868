"""From verdicts to sinks: one bounded queue and one thread per sink, so that no sink delays or breaks a generation.

A sink that is slow, raises or hangs costs its own verdicts, which are counted, and nobody else's.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from sri_sdk.errors import ConfigError
from sri_sdk.records import RecoveryAction, Verdict
from sri_sdk.sink import Sink

log = logging.getLogger("sri_sdk.sinks")

CAPACITY = 10_000
"""Verdicts that may wait for one sink."""
PATIENCE_S = 5.0
"""Seconds that `close` and the end of the process wait for verdicts on their way."""
IDLE_S = 1.0
"""Seconds after which the thread of a sink with nothing to do ends; the next verdict starts another."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the verdicts for one sink, and of recoveries if it takes them; `accepted` is the sum of the other
    four."""

    sink: str
    """Class name."""
    accepted: int
    delivered: int
    """Taken by the sink's `emit`."""
    failed: int
    """Its `emit` raised."""
    dropped: int
    """The queue was full, or the emitter closed."""
    waiting: int
    """Still on their way."""


class _Lane:
    """The queue of one sink. Kept on the sink itself, so that every watch that names the sink shares it."""

    def __init__(self, sink: Sink, capacity: int) -> None:
        self._sink, self._capacity = sink, capacity
        self._begin()

    def _begin(self) -> None:
        self._queue: deque[Verdict | RecoveryAction] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = self._closed = False
        self._accepted = self._delivered = self._failed = self._dropped = 0

    def forked(self) -> None:
        """In a forked child: the thread is the parent's, and so is what waits for it; locks may have been held."""
        closed = self._closed
        self._begin()
        self._closed = closed

    def put(self, verdict: Verdict | RecoveryAction) -> None:
        with self._changed:
            self._accepted += 1
            if self._closed or len(self._queue) >= self._capacity:
                self._dropped += 1
                # Once, and then at every power of ten: a log that floods is a fault of its own.
                if str(self._dropped).strip("0") == "1":
                    log.warning("%s: %d verdicts dropped: %s", self._name, self._dropped, self._why_dropped())
                return
            self._queue.append(verdict)
            if self._thread is None:
                self._begin_delivery()
            self._changed.notify_all()

    def _begin_delivery(self) -> None:
        thread = threading.Thread(target=self._deliver, name=f"sri-sink-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as err:
            # The verdict waits, and whoever generates has no part in it.
            log.warning("%s: no thread to deliver in (%s); tried again with the next verdict", self._name, err)
        else:
            self._thread = thread

    def flush(self, until: float) -> bool:
        """Waits until nothing is on its way, or `until` (monotonic seconds); says whether that was reached."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, max(until - time.monotonic(), 0))

    def close(self, until: float) -> bool:
        """Delivers what was accepted, then closes the sink; a sink that hangs is left to its thread, and said so."""
        done = self.flush(until)
        with self._changed:
            if self._closed:
                return done
            self._closed = True
            lost, waiting = len(self._queue), len(self._queue) + self._busy
            self._dropped += lost
            self._queue.clear()
        if not done:
            log.warning("%s: not closed, its emit() has not returned; %d verdicts not delivered", self._name, waiting)
            return False
        # In a thread, since close() of a sink may hang as well as its emit().
        closing = threading.Thread(target=self._close_sink, name=f"sri-sink-{self._name}-close", daemon=True)
        closing.start()
        closing.join(max(until - time.monotonic(), 0.1))
        return not closing.is_alive()

    def state(self) -> Delivery:
        with self._changed:
            waiting = len(self._queue) + self._busy
            return Delivery(self._name, self._accepted, self._delivered, self._failed, self._dropped, waiting)

    @property
    def takes_recoveries(self) -> bool:
        """Whether the sink does anything with the actions of recoveries."""
        return type(self._sink).emit_recovery is not Sink.emit_recovery

    @property
    def _name(self) -> str:
        return type(self._sink).__name__

    def _why_dropped(self) -> str:
        return "the emitter is closed" if self._closed else f"{self._capacity} are waiting, the sink is too slow"

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: self._queue, IDLE_S):
                    self._thread = None
                    return
                verdict, self._busy = self._queue.popleft(), True
            try:
                if isinstance(verdict, RecoveryAction):
                    self._sink.emit_recovery(verdict)
                else:
                    self._sink.emit(verdict)
            # A sink that calls sys.exit() must not take the verdicts behind it along.
            except BaseException as err:
                self._failed += 1
                if str(self._failed).strip("0") == "1":
                    log.warning(
                        "%s: emit() raised %d times, last %s: %s", self._name, self._failed, type(err).__name__, err
                    )
            else:
                self._delivered += 1

    def _close_sink(self) -> None:
        try:
            self._sink.close()
        except BaseException as err:
            log.warning("%s: close() raised %s: %s", self._name, type(err).__name__, err)


class Emitter:
    """Hands verdicts to sinks, each in its own time.

        with Emitter([sink]) as emitter:
            with sri_sdk.watch(model, guard, sinks=emitter) as run:
                model.generate(**inputs)

    Closing it delivers what was accepted and closes the sinks. `watch(..., sinks=[sink])` does without one: the sinks
    are then the caller's to close, after `flush`.
    """

    def __init__(self, sinks: Sequence[Sink], *, capacity: int = CAPACITY) -> None:
        """Takes the sinks, and how many verdicts may wait for each.

        Raises:
            ConfigError: something that is no sink, or the same sink twice.
        """
        if isinstance(sinks, str | Sink) or not all(isinstance(sink, Sink) for sink in sinks):
            raise ConfigError(f"sinks: {sinks!r}; pass a list of sri_sdk.Sink objects, or an Emitter.")
        if len({id(sink) for sink in sinks}) != len(sinks):
            raise ConfigError("sinks: the same sink twice; every verdict would arrive twice. Name each once.")
        self._lanes = [_lane_of(sink, capacity) for sink in sinks]

    def emit(self, verdicts: Iterable[Verdict]) -> None:
        """Accepts verdicts, and returns at once: what a full queue cannot take is dropped and counted."""
        for verdict in verdicts:
            for lane in self._lanes:
                lane.put(verdict)

    def emit_recoveries(self, actions: Iterable[RecoveryAction]) -> None:
        """Accepts actions of recoveries, for sinks that take them, as `emit` does verdicts.

        They count as deliveries only where a sink takes them.
        """
        for action in actions:
            for lane in self._lanes:
                if lane.takes_recoveries:
                    lane.put(action)

    def flush(self, timeout: float = PATIENCE_S) -> bool:
        """Waits until everything accepted has been handed to the sinks, at most `timeout` seconds; says whether."""
        until = time.monotonic() + timeout
        return all([lane.flush(until) for lane in self._lanes])

    def close(self, timeout: float = PATIENCE_S) -> bool:
        """Flushes, then closes the sinks; says whether all of that was done within `timeout` seconds."""
        until = time.monotonic() + timeout
        return all([lane.close(until) for lane in self._lanes])

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """What became of the verdicts so far, one entry per sink."""
        return tuple(lane.state() for lane in self._lanes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_lock = threading.Lock()
_lanes: weakref.WeakSet[_Lane] = weakref.WeakSet()


def _lane_of(sink: Sink, capacity: int) -> _Lane:
    with _lock:
        lane: _Lane | None = vars(sink).get("_sri_lane")
        if lane is None:
            lane = vars(sink)["_sri_lane"] = _Lane(sink, capacity)
            _lanes.add(lane)
        return lane


@atexit.register
def _flush_all() -> None:
    until = time.monotonic() + PATIENCE_S
    for lane in list(_lanes):
        lane.flush(until)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for lane in list(_lanes):
        lane.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
