"""Generations that began and what came of them: an absent tap shows as generations without a verdict."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from sri_sdk.client.carried import Carried

REMEMBERED = 10_000
"""Requests of which is remembered what they carry; the oldest are forgotten first."""


class Generations:
    """Counts, and remembers by request id whose a request is: a sink is given a verdict, and no context."""

    def __init__(self, grace_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace, self._clock = grace_s, clock
        self._lock = threading.RLock()
        self._carried: OrderedDict[str, tuple[Carried, int]] = OrderedDict()
        """Id -> what it carries, and how many generations it had."""
        self._waiting: OrderedDict[str, float | None] = OrderedDict()
        """Id -> when the generation ended, None = it runs; of those that have no verdict yet."""
        self._running: Counter[str] = Counter()
        """Id -> generations of it that have not ended."""
        self._begun = self._ended = self._without = 0

    def begin(self, request_id: str, known: Carried) -> None:
        """A generation begins."""
        with self._lock:
            self._begun += 1
            self._running[request_id] += 1
            self._carried[request_id] = known, self.times(request_id) + 1
            self._carried.move_to_end(request_id)
            if len(self._carried) > REMEMBERED:
                self._carried.popitem(last=False)
            if len(self._waiting) >= REMEMBERED:
                self._waiting.popitem(last=False)
                self._without += 1
            self._waiting[request_id] = None

    def end(self, request_id: str) -> None:
        """It has ended, however it did: a verdict is due."""
        with self._lock:
            self._ended += 1
            self._running[request_id] -= 1
            if self._running[request_id] <= 0:
                del self._running[request_id]
            if request_id in self._waiting:
                self._waiting[request_id] = self._clock()

    def judged(self, request_id: str) -> Carried | None:
        """A verdict on it is there. Returns what the request carries; None = nobody said."""
        with self._lock:
            self._waiting.pop(request_id, None)
            return self._carried[request_id][0] if request_id in self._carried else None

    def times(self, request_id: str) -> int:
        """How many generations of this id began here, as far as is remembered."""
        with self._lock:
            return self._carried[request_id][1] if request_id in self._carried else 0

    def over(self, request_id: str) -> int:
        """How many of them have ended."""
        with self._lock:
            return max(self.times(request_id) - self._running[request_id], 0)

    @property
    def begun(self) -> int:
        """Generations that began."""
        with self._lock:
            return self._begun

    @property
    def ended(self) -> int:
        """Generations that ended, with a verdict or without."""
        with self._lock:
            return self._ended

    @property
    def without_verdict(self) -> int:
        """Generations that ended longer ago than the time of grace, and have no verdict."""
        with self._lock:
            due = self._clock() - self._grace
            late = [name for name, ended in self._waiting.items() if ended is not None and ended <= due]
            for name in late:
                del self._waiting[name]
            self._without += len(late)
            return self._without
