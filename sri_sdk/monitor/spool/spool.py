"""`Spool`: what a monitor puts is on disk before it counts, and stays there until every sink has it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Self

from sri_sdk.errors import ConfigError
from sri_sdk.files import claimed
from sri_sdk.monitor.spool import disk
from sri_sdk.monitor.spool.courier import Courier
from sri_sdk.monitor.spool.lane import Lane, Shared
from sri_sdk.monitor.spool.writer import NotSpooled, Writer
from sri_sdk.observation import Observation, SinkState
from sri_sdk.sink import Sink
from sri_sdk.strict_json import JsonError, write

log = logging.getLogger("sri_sdk.monitor")

MAX_BYTES = 2**30
"""Bytes of observations that may wait for one sink, unless somebody says otherwise."""
PATIENCE_S = 10.0
"""Seconds that `close` waits, unless somebody says otherwise."""


def claim_spool(file: Path) -> ExitStack:
    """Keeps other processes from a spool, also before it is opened; let go of when what is returned is closed.

    Raises:
        ConfigError: another process has it.
    """
    with ExitStack() as claim:
        if not claim.enter_context(claimed(file)):
            raise ConfigError(
                f"spool: {file} is in use by another monitor. Is this one running already? If not, give each monitor a "
                "file of its own, by spool.path."
            )
        return claim.pop_all()


class Spool:
    """Observations on their way to sinks: on disk, in order, bounded and counted. Any thread may call it.

        with Spool.open(path, {"sql": sink}) as spool:
            spool.put(observations)

    What is on disk survives the end of the process, however it ends, and is delivered by the next one. A sink may then
    get it twice, with the same ids.
    """

    def __init__(self, shared: Shared, writer: Writer, claim: ExitStack) -> None:
        """Takes threads that run; `open` starts them."""
        self._shared, self._writer, self._claim = shared, writer, claim
        self._process = os.getpid()
        self._closed = False

    @classmethod
    def open(
        cls, path: Path | str, sinks: Mapping[str, Sink], *, max_bytes: int = MAX_BYTES, claim: ExitStack | None = None
    ) -> Self:  # fmt: skip
        """Opens the file, or makes it, and begins to deliver what an earlier process left there.

        Args:
            path: of the file; SQLite puts others beside it. One process at a time has it.
            sinks: by the name under which the file keeps what waits for them. What waits for a sink that is not named
                any more stays in the file.
            max_bytes: of the observations that wait for one sink; what comes then is dropped for this sink. The file
                takes up to twice as much, for each sink whose observations no other one still needs.
            claim: of `claim_spool`, where somebody has it already; the spool takes it over.

        Raises:
            ConfigError: another process has the file, or it is not a spool of this release; it cannot be read or
                written; one sink under two names.
        """
        file = Path(path)
        if len({id(sink) for sink in sinks.values()}) != len(sinks):
            raise ConfigError("spool: one sink under two names; every observation would arrive twice. Name each once.")
        with claim or claim_spool(file) as held:
            left = disk.prepare(file, sinks)
            with closing(disk.connect(file)) as connection:
                last = disk.last_number(connection)
            for name in left.keys() - sinks.keys():
                if left[name].count:
                    log.warning(
                        "spool: %s: %d observations wait for sink %s, which is not named any more; they stay there, "
                        "until it is named again or `sri monitor FILE --forget %s` drops them",
                        file, left[name].count, name, name,
                    )  # fmt: skip
            lanes = tuple(
                Lane(name, sink, left[name].number, left[name].count, size=left[name].size, last=left[name].last)
                for name, sink in sinks.items()
            )
            shared = Shared(lanes)
            writer = Writer(file, shared, last=last, max_bytes=max_bytes)
            for lane in lanes:
                Courier(file, shared, lane)
            return cls(shared, writer, held.pop_all())

    def put(self, observations: Sequence[Observation]) -> Future[None]:
        """Accepts observations, and returns before they are on disk.

        Returns:
            Done when each of them is on disk for every sink that has room. It raises `NotSpooled` where some are on
            disk for no sink; these are counted as dropped, as are those of a sink without room.
        """
        done: Future[None] = Future()
        # Nobody can take back what may be on disk already.
        done.set_running_or_notify_cancel()
        if os.getpid() != self._process:
            # In a forked child: the threads are the parent's, and locks may have been held.
            done.set_exception(NotSpooled(len(observations), "this process has not opened the spool"))
            return done
        bodies = []
        for each in observations:
            # Half of a surrogate pair in an id, say, is not JSON. The other observations are not to blame.
            with suppress(JsonError):
                bodies.append(write(each.to_dict(), separators=(",", ":"), ensure_ascii=False).encode())
        self._writer.put(bodies, len(observations) - len(bodies), done)
        return done

    def states(self) -> tuple[SinkState, ...]:
        """What became of the observations so far, one entry per sink."""
        with self._shared.changed:
            return tuple(lane.state(self._shared.fault) for lane in self._shared.lanes)

    @property
    def fault(self) -> str | None:
        """What is wrong with the file; None = nothing. It is tried again with every `put`."""
        return self._shared.fault

    def flush(self, timeout: float) -> bool:
        """Waits until every sink has what was put, at most `timeout` seconds; says whether. Failed ones try at once."""
        with self._shared.changed:
            for lane in self._shared.lanes:
                lane.hurry = True
            self._shared.changed.notify_all()
            return self._shared.changed.wait_for(self._is_empty, timeout)

    def close(self, timeout: float = PATIENCE_S) -> bool:
        """Writes what was put, lets each sink try once more, and closes the sinks; calling it twice is fine.

        What is not delivered in time stays on disk, for the next process.

        Returns:
            Whether everything is delivered and closed.
        """
        if self._closed or os.getpid() != self._process:
            return self._is_empty()
        self._closed, until, shared = True, time.monotonic() + timeout, self._shared
        with shared.changed:
            shared.stage = "draining"
            shared.changed.notify_all()
            shared.changed.wait_for(
                lambda: shared.settled and all(lane.ended for lane in shared.lanes), until - time.monotonic()
            )
            shared.stage = "halted"
            shared.changed.notify_all()
            # What only waited for its turn ends at once; what hangs in deliver() is left to its thread.
            shared.changed.wait_for(lambda: all(lane.ended for lane in shared.lanes), 0.2)
        done = all([self._close_sink(lane, until) for lane in shared.lanes])
        done &= self._writer.end(max(until - time.monotonic(), 1.0))
        self._claim.close()
        return done and self._is_empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_empty(self) -> bool:
        return self._shared.settled and not any(lane.waiting for lane in self._shared.lanes)

    def _close_sink(self, lane: Lane, until: float) -> bool:
        if not lane.ended:
            log.warning("sink %s: not closed, its deliver() has not returned", lane.name)
            return False
        # In a thread, since close() of a sink may hang as well.
        closing_it = threading.Thread(target=_close, args=[lane], name=f"sri-sink-{lane.name}-close", daemon=True)
        closing_it.start()
        closing_it.join(max(until - time.monotonic(), 0.2))
        return not closing_it.is_alive()


def _close(lane: Lane) -> None:
    try:
        lane.sink.close()
    except BaseException as err:
        log.warning("sink %s: close() raised %s", lane.name, type(err).__name__)
