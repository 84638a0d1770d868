"""How much at once, and for how long: requests are shed before they pile up.

Nothing is timed request by request. One task looks at those under way, four times a second, and ends the late ones.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from sri_sdk.serve.http import Refusal, Request

LOOKS = 0.25
"""Seconds between two looks at the running requests."""
RETRY_AFTER = 1
"""Seconds, as a shed client is told."""


@dataclass(slots=True, eq=False)
class UnderWay:
    """One request that is being answered."""

    request: Request
    since: float
    late: bool = False


@dataclass(slots=True, eq=False)
class Limits:
    """The limits of one server, and who is under way."""

    concurrency: int = 256
    waiting: int = 1024
    seconds: float = 30.0
    under_way: dict[asyncio.Task[Any], UnderWay] = field(default_factory=dict)
    """Requests that have a time limit."""
    waits: int = 0
    """Requests that wait for something to happen."""
    shed: int = 0
    """Requests that were turned away, since the start."""
    timed_out: int = 0

    def begin(self, request: Request) -> asyncio.Task[Any]:
        """Counts a request in.

        Raises:
            Refusal: 429, too many are under way.
        """
        if len(self.under_way) >= self.concurrency:
            raise self._shed(f"{self.concurrency} requests are being answered")
        task = asyncio.current_task()
        assert task is not None
        self.under_way[task] = UnderWay(request, time.monotonic())
        return task

    def begin_waiting(self) -> None:
        """Counts in a request that may wait.

        Raises:
            Refusal: 429, too many are waiting.
        """
        if self.waits >= self.waiting:
            raise self._shed(f"{self.waiting} requests are waiting")
        self.waits += 1

    def late(self, found: UnderWay) -> Refusal:
        """What a request is told that took too long."""
        self.timed_out += 1
        if found.request.reading:
            return Refusal(408, f"body: not complete after {self.seconds:g} s. Send it faster, or fewer rows at once.")
        return Refusal(503, f"server: no answer within {self.seconds:g} s. Try again later.", retry_after=RETRY_AFTER)

    async def look(self) -> None:
        """Ends requests that are late, for as long as the server runs."""
        while True:
            await asyncio.sleep(min(LOOKS, self.seconds / 4))
            due = time.monotonic() - self.seconds
            for task, found in list(self.under_way.items()):
                if found.since < due and not found.late:
                    found.late = True
                    task.cancel()

    async def __aenter__(self) -> None:
        self._looking = asyncio.create_task(self.look())

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()

    _looking: asyncio.Task[None] = field(init=False, repr=False)

    def _shed(self, why: str) -> Refusal:
        self.shed += 1
        return Refusal(429, f"server: busy, {why}. Try again in {RETRY_AFTER} s.", retry_after=RETRY_AFTER)
