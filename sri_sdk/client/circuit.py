"""A circuit breaker: a scorer that is down is asked seldom, so that being down costs a generation nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]
"""`closed` = the scorer answers; `open` = it is not asked; `half_open` = one request tries whether it answers again."""
LONGEST_PAUSE_S = 30.0


class Circuit:
    """Opens after a number of failures in a row, and lets one request through when its pause is over."""

    def __init__(self, failures: int, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._first_pause, self._clock = failures, pause_s, clock
        self._lock = threading.Lock()
        self._failed, self._pause = 0, pause_s
        self._until: float | None = None
        """When the pause ends; None = closed."""
        self._trying = False
        self.opened = 0
        """How often it has opened."""

    @property
    def state(self) -> State:
        """What it does with the next request."""
        with self._lock:
            if self._until is None:
                return "closed"
            return "half_open" if self._trying or self._clock() >= self._until else "open"

    def admits(self) -> bool:
        """Whether a request may be made now. A caller that gets True says afterwards how it went."""
        with self._lock:
            if self._until is None:
                return True
            if self._trying or self._clock() < self._until:
                return False
            self._trying = True
            return True

    def wait_s(self) -> float:
        """Seconds until a request may be tried; 0 = now."""
        with self._lock:
            return 0.0 if self._until is None else max(self._until - self._clock(), 0.0)

    def succeeded(self) -> None:
        """The scorer answered, whatever it said."""
        with self._lock:
            self._failed, self._pause, self._until, self._trying = 0, self._first_pause, None, False

    def failed(self) -> None:
        """No answer came, or the scorer said that it is broken."""
        with self._lock:
            self._failed += 1
            if self._until is not None and not self._trying:
                return  # Asked before it opened, and late.
            if self._until is None and self._failed < self._most:
                return
            if self._until is None:
                self.opened += 1
            else:
                self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            self._until, self._trying = self._clock() + self._pause, False

    def unknown(self) -> None:
        """The request was given up before anybody knew how it went."""
        with self._lock:
            self._trying = False
