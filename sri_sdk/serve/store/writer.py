"""The one thread that writes. Deliveries that wait are committed together: a disk takes few commits a second."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from sri_sdk.serve.store.faults import Fault, StoreUnavailable, fault_of
from sri_sdk.serve.store.prepared import Given
from sri_sdk.serve.store.rows import Added

log = logging.getLogger("sri_sdk.serve")
T = TypeVar("T")

MOST_WAITING = 20_000
"""Verdicts that may wait; what comes then is refused, and should be delivered again later."""
MOST_PER_COMMIT = 2_000
"""Verdicts in one transaction."""
RETRY_S = 1.0
"""Seconds between two looks at a database that failed, while nobody delivers anything."""

Insert = Callable[[Connection, Sequence[Sequence[Given]]], list[Added]]


@dataclass(slots=True)
class _Delivery:
    rows: Sequence[Given]
    done: Future[Added] = field(default_factory=Future)


@dataclass(slots=True)
class _Task:
    work: Callable[[Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class Writer:
    """Takes work from any thread, does it in order, and says when it is on disk."""

    def __init__(
        self,
        engine: Engine,
        insert: Insert,
        *,
        committed: Callable[[], None],
        chore: Callable[[], bool],
        every_s: float,
    ) -> None:
        """Starts the thread.

        Args:
            engine: its connection is this thread's alone.
            insert: stores several deliveries in an open transaction.
            committed: called after verdicts were committed, in this thread.
            chore: done in this thread every `every_s` seconds; may raise. True = there is more of it, and it is done
                again as soon as what waits by then has been written: nobody waits for all of it.
        """
        self._engine, self._insert, self._committed = engine, insert, committed
        self._chore, self._every_s = chore, every_s
        self._changed = threading.Condition()
        self._queue: deque[_Delivery | _Task] = deque()
        self._waiting = 0
        self._closed = False
        self.fault: Fault | None = None
        """What was wrong with the last transaction; None = it was committed."""
        self._thread = threading.Thread(target=self._run, name="sri-store-writer", daemon=True)
        self._thread.start()

    def deliver(self, rows: Sequence[Given]) -> Future[Added]:
        """Accepts verdicts; the future is done once they are committed, or raises `StoreUnavailable`.

        Raises:
            StoreUnavailable: too many wait already, or the store is closed.
        """
        delivery = _Delivery(rows)
        self._put(delivery, len(rows))
        return delivery.done

    def do(self, work: Callable[[Connection], T]) -> Future[T]:
        """Accepts other work, for a transaction of its own; as `deliver` otherwise."""
        task = _Task(work)
        self._put(task, 1)
        return task.done

    def close(self) -> None:
        """Does what was accepted, then ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def now(self, work: Callable[[Connection], T]) -> T:
        """Does work at once, for the chore, which runs in this thread."""
        try:
            with self._engine.begin() as connection:
                found = work(connection)
        except Exception as err:
            raise self._failed(err) from err
        self.fault = None
        return found

    def _put(self, item: _Delivery | _Task, rows: int) -> None:
        with self._changed:
            if self._closed:
                raise StoreUnavailable("closed")
            # One delivery is always taken where nothing waits, or a large one would never be.
            if self._waiting and self._waiting + rows > MOST_WAITING:
                raise StoreUnavailable("busy")
            self._waiting += rows
            self._queue.append(item)
            self._changed.notify_all()

    def _run(self) -> None:
        due = time.monotonic() + self._every_s
        while True:
            with self._changed:
                pause = RETRY_S if self.fault else max(due - time.monotonic(), 0)
                self._changed.wait_for(lambda: self._queue or self._closed, pause)
                batch = self._take()
                if not batch and self._closed:
                    return
            if isinstance(batch, _Task):
                self._settle(batch)
            elif batch:
                self._commit(batch)
            if time.monotonic() >= due or (not batch and self.fault):
                more = self._do_chore()
                due = time.monotonic() + (0 if more else self._every_s)

    def _take(self) -> _Task | list[_Delivery]:
        """The next task, or all deliveries before it that fit into one transaction."""
        batch: list[_Delivery] = []
        rows = 0
        while self._queue:
            item = self._queue[0]
            size = len(item.rows) if isinstance(item, _Delivery) else 1
            if batch and (isinstance(item, _Task) or rows + size > MOST_PER_COMMIT):
                break
            self._queue.popleft()
            self._waiting -= size
            # Whoever waits for it may have given up; from here on nobody can.
            if not item.done.set_running_or_notify_cancel():
                continue
            if isinstance(item, _Task):
                return item
            batch.append(item)
            rows += size
        return batch

    def _settle(self, task: _Task) -> None:
        try:
            result = self.now(task.work)
        except StoreUnavailable as err:
            task.done.set_exception(err)
        else:
            task.done.set_result(result)

    def _commit(self, batch: list[_Delivery]) -> None:
        try:
            added = self.now(lambda connection: self._insert(connection, [each.rows for each in batch]))
        except StoreUnavailable as err:
            if err.fault in ("content", "failed") and len(batch) > 1:
                # One delivery that the database cannot take must not cost the others of its transaction.
                for each in batch:
                    self._commit([each])
                return
            for each in batch:
                each.done.set_exception(err)
            return
        for each, result in zip(batch, added, strict=True):
            each.done.set_result(result)
        self._tell()

    def _tell(self) -> None:
        try:
            self._committed()
        except Exception as err:  # They are stored all the same.
            log.warning("verdict store: nobody could be told of new verdicts: %s", type(err).__name__)

    def _do_chore(self) -> bool:
        try:
            return self._chore()
        except StoreUnavailable:
            pass  # Logged where it was noticed.
        except Exception as err:
            log.warning("verdict store: upkeep failed: %s", type(err).__name__)
        return False

    def _failed(self, err: Exception) -> StoreUnavailable:
        fault = fault_of(err)
        if fault != self.fault:
            # The class only: messages of drivers repeat what was to be stored.
            log.warning("verdict store: not written (%s): %s", fault, type(getattr(err, "orig", None) or err).__name__)
        self.fault = fault
        # A connection that saw the disk fail is not used again.
        self._engine.dispose()
        return StoreUnavailable(fault)
