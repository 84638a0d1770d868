"""Wakes whoever waits for a verdict once it is there, whichever process stored it.

One task follows the store, and only while somebody waits: with a thousand waiting look-ups, it still asks once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sri_sdk.serve.http import Refusal
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.asking import ask

log = logging.getLogger("sri_sdk.serve")

Arrived = asyncio.Event
POLL_S = 0.1
"""Seconds between two looks for what other processes stored; this one's own commits are heard of at once."""


class Arrivals:
    """Part of a server: entered before the first request, left after the last."""

    def __init__(self, store: VerdictStore) -> None:
        self._store = store
        self._by_key: defaultdict[str, set[Arrived]] = defaultdict(set)
        self._anything: set[Arrived] = set()

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._wanted, self._nudge, self._ready = asyncio.Event(), asyncio.Event(), asyncio.Event()

        def heard() -> None:
            with suppress(RuntimeError):  # The loop has ended, the writer has not.
                loop.call_soon_threadsafe(self._nudge.set)

        self._deaf = self._store.listen(heard)
        self._task = asyncio.create_task(self._follow())

    async def __aexit__(self, *_: object) -> None:
        self._deaf()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @asynccontextmanager
    async def of(self, request_id: str) -> AsyncIterator[Arrived]:
        """An event that is set by every later verdict on a request. Look once inside, before waiting for it."""
        key = self._store.key_of(request_id)
        event = Arrived()
        self._by_key[key].add(event)
        try:
            await self._followed()
            yield event
        finally:
            self._by_key[key].discard(event)
            if not self._by_key[key]:
                del self._by_key[key]

    @asynccontextmanager
    async def any(self) -> AsyncIterator[Arrived]:
        """An event that is set by every later verdict; as `of` otherwise."""
        event = Arrived()
        self._anything.add(event)
        try:
            await self._followed()
            yield event
        finally:
            self._anything.discard(event)

    async def _followed(self) -> None:
        self._wanted.set()
        await self._ready.wait()

    async def _follow(self) -> None:
        after: int | None = None
        failing = False
        while True:
            try:
                if not self._by_key and not self._anything:
                    after = None
                    self._ready.clear()
                    self._wanted.clear()
                    await self._wanted.wait()
                if after is None:
                    after = await ask(self._store, self._store.last_seq)
                    self._ready.set()
                # Not `wait_for`: until Python 3.12 it may swallow a cancellation, and the server never ends.
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._nudge.wait()
                self._nudge.clear()
                after = await self._look(after)
                failing = False
            except Exception as err:
                # Whatever it was, those who wait must be woken again once it is over.
                if not failing:
                    why = err.message if isinstance(err, Refusal) else type(err).__name__
                    log.warning("verdict store: waiting look-ups are not woken: %s", why)
                failing = True
                await asyncio.sleep(POLL_S)

    async def _look(self, after: int) -> int:
        found = await ask(self._store, self._store.keys_after, after)
        for _, key in found:
            for event in self._by_key.get(key, ()):
                event.set()
        if found:
            for event in self._anything:
                event.set()
        return found[-1][0] if found else after
