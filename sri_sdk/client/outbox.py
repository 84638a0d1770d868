"""Verdicts on their way to the store: a bounded queue and one thread that posts what waits, and tries again.

A verdict leaves the queue when the store has acknowledged it. A post whose answer is lost is made again, and the store
counts the second copy as known.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sri_sdk.client.answers import noted, status_words, stored_of
from sri_sdk.client.carried import Carried
from sri_sdk.client.connection import Answer, Connection, Unreachable
from sri_sdk.client.rarely import log, warn_rarely
from sri_sdk.client.settings import ClientSettings
from sri_sdk.records import Verdict
from sri_sdk.strict_json import JsonError, write

FIRST_RETRY_S, LONGEST_RETRY_S = 0.2, 10.0
"""Seconds before a post is made again: the first, doubled with each failure, and the most."""
TRY_AGAIN = frozenset({401, 403, 404, 408, 425, 429})
"""Statuses below 500 that another try may mend: a token being replaced, a proxy not ready, too many requests."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One verdict, and what travels with it."""

    verdict: Verdict
    carried: Carried


class Outbox:
    """Takes verdicts at once, and delivers them in its own time."""

    def __init__(
        self, settings: ClientSettings, connection: Connection, headers: Callable[[], Mapping[str, str]],
        beat: Callable[[], Mapping[str, Any]], told: Callable[[Mapping[str, Any]], None],
    ) -> None:  # fmt: skip
        """Takes what to send with.

        Args:
            settings: sizes and times.
            connection: used by the thread alone.
            headers: gives what every request carries.
            beat: gives the body of a heartbeat.
            told: is given that body once the store has it.
        """
        self._settings, self._connection, self._headers = settings, connection, headers
        self._beat, self._told = beat, told
        self.lock = threading.RLock()
        """Guards the counts too."""
        self._changed = threading.Condition(self.lock)
        self._queue: deque[Parcel] = deque()
        self._thread: threading.Thread | None = None
        self._closing = self._closed = False
        self._beat_at: float | None = None
        self._failures, self._why = 0, ""
        self._parting = False
        """Whether a last heartbeat is due."""
        self.accepted = self.sent = self.stored = self.known = self.retried = self.heartbeats = 0
        self.dropped = {"queue_full": 0, "refused": 0, "closed": 0}

    def start(self) -> None:
        """Begins heartbeats, if there are any; verdicts need no start."""
        with self._changed:
            self._begin_beats()

    def put(self, parcel: Parcel) -> None:
        """Takes a verdict and returns at once; one that has no room is dropped and counted."""
        with self._changed:
            self.accepted += 1
            if self._closing:
                self._drop("closed", 1)
            elif len(self._queue) >= self._settings.capacity:
                self._drop("queue_full", 1)
            else:
                self._queue.append(parcel)
                self._begin_beats()
                self._run()
                self._changed.notify_all()

    def beat_soon(self) -> None:
        """Makes the next heartbeat due."""
        with self._changed:
            if self._beat_at is not None:
                self._beat_at = time.monotonic()
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Waits until nothing is on its way, at most `timeout_s` seconds; says whether that was reached."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Delivers what waits, for at most `timeout_s` seconds; what is left is dropped and counted."""
        with self._changed:
            if self._closed:
                return
            self._closing = True
            # Who was never heard of need not say that it ends.
            self._parting = bool(self.heartbeats) and self._thread is not None
            self._changed.notify_all()
        until = time.monotonic() + timeout_s
        self.flush(timeout_s)
        with self._changed:
            self._changed.wait_for(lambda: not self._parting, max(until - time.monotonic(), 0))
        with self._changed:
            self._closed = True
            if self._queue:
                self._drop("closed", len(self._queue))
                self._queue.clear()
            thread = self._thread
            self._changed.notify_all()
        self._connection.cut()
        if thread is not None:
            thread.join(1.0)

    @property
    def waiting(self) -> int:
        """Verdicts on their way."""
        with self._changed:
            return len(self._queue)

    def forget(self) -> None:
        """In a forked child: lets go of the parent's socket."""
        self._connection.forget()

    # -- the thread ------------------------------------------------------------------------------------------

    def _begin_beats(self) -> None:
        """Makes the first heartbeat due; the lock is held."""
        if self._settings.heartbeat_s and self._beat_at is None and not self._closing:
            self._beat_at = time.monotonic()
            self._run()

    def _run(self) -> None:
        """Starts the thread, if it does not run; the lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, name="sri-client", daemon=True)
            self._thread.start()

    def _deliver(self) -> None:
        failures = 0
        while (due := self._next()) is not None:
            try:
                done = {"beat": self._send_beat, "batch": self._send_batch, "farewell": self._part}[due]()
            except Exception as err:
                # A bug of ours must not end deliveries without a word.
                warn_rarely(failures + 1, "delivery to %s failed: %s", self._settings.url, type(err).__name__)
                done = False
            failures = 0 if done else failures + 1
            if failures:
                self._rest(min(FIRST_RETRY_S * 2 ** min(failures - 1, 16), LONGEST_RETRY_S))
        self._connection.close()

    def _next(self) -> str | None:
        """What is due: `batch`, `beat` or `farewell`; waits for any. None = closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._beat_at is not None and self._beat_at <= now and not self._closing:
                    self._beat_at = now + self._settings.heartbeat_s
                    return "beat"
                if self._queue:
                    return "batch"
                if self._parting:
                    return "farewell"
                self._changed.wait(None if self._beat_at is None else max(self._beat_at - now, 0.01))
            return None

    def _rest(self, seconds: float) -> None:
        """Waits before another try, a little shorter or longer than others do; a client that closes waits less."""
        until = time.monotonic() + seconds * random.uniform(0.7, 1.3)
        with self._changed:
            while not self._closed and (left := until - time.monotonic()) > 0:
                if self._closing:
                    self._changed.wait(min(left, FIRST_RETRY_S))
                    return
                # Verdicts that arrive meanwhile wake it, and change nothing.
                self._changed.wait(left)

    def _send_beat(self) -> bool:
        body = self._beat()
        # Under no tenant: it is about the process, whomever it serves.
        answer = self._post("/v1/heartbeats", body, {})
        if answer is None or answer.status >= 300 or not noted(answer.content):
            self._failed(answer)
            return False
        self._told(body)
        self.heartbeats += 1
        return True

    def _part(self) -> bool:
        """Says that this process ends, so that nobody misses it; once, since nobody waits for a second try."""
        try:
            self._post("/v1/heartbeats", {**self._beat(), "ended": True}, {})
        finally:
            with self._changed:
                self._parting = False
                self._changed.notify_all()
        return True

    def _send_batch(self) -> bool:
        with self._changed:
            batch = self._together(self._settings.batch)
        while batch:
            answer = self._post_verdicts(batch)
            counted = stored_of(answer.content, len(batch)) if answer is not None and answer.status < 300 else None
            if counted is not None:
                self._delivered(batch, *counted)
                return True
            if answer is None or not 400 <= answer.status < 500 or answer.status in TRY_AGAIN:
                self._failed(answer)
                self.retried += 1
                return self._wait_as_told(answer)
            # One verdict that the store does not take must not cost the others.
            if len(batch) == 1:
                self._refused(answer)
                return True
            batch = batch[: len(batch) // 2]
        return True

    def _together(self, most: int) -> list[Parcel]:
        """The first ones that belong to one tenant: a post has one."""
        batch: list[Parcel] = []
        for parcel in self._queue:
            if len(batch) == most or (batch and parcel.carried.tenant != batch[0].carried.tenant):
                break
            batch.append(parcel)
        return batch

    def _post_verdicts(self, batch: list[Parcel]) -> Answer | None:
        body: dict[str, Any] = {"source": self._settings.source}
        # Without the trace of a single request: the post is of many.
        return self._post("/v1/verdicts", body, Carried(tenant=batch[0].carried.tenant).headers(), batch)

    def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], verdicts: Sequence[Parcel] = ()
    ) -> Answer | None:
        """Posts JSON. None = no answer came; a body that is no JSON counts as one that the store refused."""
        try:
            if verdicts:
                body = {**body, "verdicts": [parcel.verdict.to_dict() for parcel in verdicts]}
            content = write(body, ensure_ascii=False, separators=(",", ":")).encode()
        except (JsonError, TypeError, ValueError):
            return Answer(400, {}, b"")
        sent = {**self._headers(), **headers, "Content-Type": "application/json"}
        try:
            return self._connection.ask("POST", path, content, sent, self._settings.send_timeout_s)
        except Unreachable as err:
            self._why = str(err)
            return None

    def _failed(self, answer: Answer | None) -> None:
        if answer is None:
            said = self._why
        elif answer.status < 300:
            said = f"status {answer.status} with an answer that no `sri serve` gives; something else may listen there"
        else:
            said = status_words(answer.status, "write")
        self._failures += 1
        warn_rarely(self._failures, "%s: %s; verdicts wait, and are sent again", self._settings.url, said)

    def _wait_as_told(self, answer: Answer | None) -> bool:
        """Waits where the store said how long; says whether that was all the wait there needs to be."""
        told = "" if answer is None else answer.headers.get("retry-after", "")
        if not told.isdecimal():
            return False
        self._rest(min(max(float(told), FIRST_RETRY_S), LONGEST_RETRY_S))
        return True

    def _delivered(self, batch: list[Parcel], stored: int, known: int) -> None:
        with self._changed:
            # Closing may have given them up meanwhile; they are counted then.
            if self._taken(batch):
                self.sent += len(batch)
                self.stored += stored
                self.known += known

    def _refused(self, answer: Answer) -> None:
        with self._changed:
            if self._queue:
                self._queue.popleft()
                self._drop("refused", 1, f"status {answer.status}")
                self._changed.notify_all()

    def _taken(self, batch: list[Parcel]) -> bool:
        if len(self._queue) < len(batch):
            return False
        for _ in batch:
            self._queue.popleft()
        self._changed.notify_all()
        return True

    def _drop(self, reason: str, count: int, why: str = "") -> None:
        """Counts verdicts that will not arrive; the lock is held."""
        before, now = self.dropped[reason], self.dropped[reason] + count
        self.dropped[reason] = now
        if before == 0 or len(str(now)) > len(str(before)):
            log.warning("%d verdicts dropped: %s %s", now, reason, why)
