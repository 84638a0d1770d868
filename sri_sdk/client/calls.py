"""Questions with a budget: whoever asks gets an answer, or a word that there is none, and never waits longer.

A socket's own timeout counts between bytes and leaves out the look-up of a name, so each question is asked in a thread
of its own kind; who waits for it leaves when the budget is spent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Literal

from sri_sdk.client.circuit import Circuit
from sri_sdk.client.connection import Answer, Connection, Unreachable

BROKEN_FROM = 500
"""Status from which an answer says that the scorer is broken, and counts as a failure."""
IDLE_S = 30.0
"""Seconds after which a thread with nothing to ask ends."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why nobody answered."""

    kind: Literal["late", "unavailable"]
    why: str


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]


class Calls:
    """A few threads, each with a connection of its own that stays open."""

    def __init__(self, connect: Callable[[], Connection], circuit: Circuit, most: int) -> None:
        self._connect, self._circuit, self._most = connect, circuit, most
        self._lock = threading.Lock()
        self._idle: list[_Asker] = []
        self._askers: set[_Asker] = set()
        self._closed = False

    def ask(self, question: Question, budget_s: float) -> Answer | NoAnswer:
        """Asks within a budget. Answers with a status below 500 are answers, whatever they say."""
        until = time.monotonic() + budget_s
        if not self._circuit.admits():
            return NoAnswer("unavailable", "the circuit is open: it failed lately, and is asked again soon")
        asker = self._taken()
        if asker is None:
            self._circuit.unknown()
            return NoAnswer("unavailable", f"{self._most} calls are on their way already, or the client is closed")
        found = asker.ask(question, until)
        if isinstance(found, Answer) and found.status < BROKEN_FROM:
            self._circuit.succeeded()
            return found
        self._circuit.failed()
        return NoAnswer("unavailable", f"status {found.status}") if isinstance(found, Answer) else found

    def close(self) -> None:
        """Ends the threads; questions on their way are cut off."""
        with self._lock:
            self._closed = True
            askers, self._askers, self._idle = list(self._askers), set(), []
        for asker in askers:
            asker.end()

    def forget(self) -> None:
        """In a forked child: lets go of sockets that belong to the parent, whose threads are not here."""
        for asker in self._askers:
            asker.connection.forget()

    def _taken(self) -> _Asker | None:
        with self._lock:
            if self._closed:
                return None
            while self._idle:
                if (asker := self._idle.pop()).alive:
                    return asker
            if len(self._askers) >= self._most:
                return None
            asker = _Asker(self._connect(), self._free, self._gone)
            self._askers.add(asker)
        asker.start()
        return asker

    def _free(self, asker: _Asker) -> bool:
        with self._lock:
            if asker not in self._askers:
                return False
            self._idle.append(asker)
            return True

    def _gone(self, asker: _Asker) -> bool:
        """Whether an idle asker may end; one that was just taken may not."""
        with self._lock:
            if asker in self._askers and asker not in self._idle:
                return False
            self._askers.discard(asker)
            self._idle = [each for each in self._idle if each is not asker]
            asker.alive = False
            return True


@dataclass(eq=False, slots=True)
class _Job:
    """One question that is on its way."""

    question: Question
    until: float
    answered: SimpleQueue[Answer | NoAnswer] = field(default_factory=SimpleQueue)


class _Asker:
    """One thread and its connection."""

    def __init__(self, connection: Connection, free: Callable[[_Asker], bool], gone: Callable[[_Asker], bool]) -> None:
        self.connection, self._free, self._gone = connection, free, gone
        self._todo: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._job: _Job | None = None
        self.alive = True

    def start(self) -> None:
        threading.Thread(target=self._serve, name="sri-client-call", daemon=True).start()

    def ask(self, question: Question, until: float) -> Answer | NoAnswer:
        job = _Job(question, until)
        with self._lock:
            self._job = job
        self._todo.put(job)
        try:
            return job.answered.get(timeout=max(until - time.monotonic(), 0))
        except Empty:
            # The thread then ends its wait, and takes the next question with a new connection. Only if it is still at
            # this one: it may have been given to somebody else meanwhile.
            with self._lock:
                if self._job is job:
                    self.connection.cut()
            return NoAnswer("late", "no answer within the budget")

    def end(self) -> None:
        self._todo.put(None)
        self.connection.cut()

    def _serve(self) -> None:
        try:
            while True:
                try:
                    job = self._todo.get(timeout=IDLE_S)
                except Empty:
                    if self._gone(self):
                        return
                    continue
                if job is None:
                    return
                found = self._asked(job.question, job.until)
                with self._lock:
                    self._job = None
                job.answered.put(found)
                if not self._free(self):
                    return
        finally:
            self.connection.close()

    def _asked(self, question: Question, until: float) -> Answer | NoAnswer:
        left = until - time.monotonic()
        if left <= 0:
            return NoAnswer("late", "no answer within the budget")
        try:
            return self.connection.ask(question.method, question.path, question.body, question.headers, left)
        except Unreachable as err:
            late = time.monotonic() >= until
            return NoAnswer("late" if late else "unavailable", str(err))
        except Exception as err:
            # A bug of ours is no reason for this thread to end, and for its caller to wait.
            return NoAnswer("unavailable", type(err).__name__)
