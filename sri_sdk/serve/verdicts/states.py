"""How many sources are in which state, for `/metrics`. Looked at beside the scrapes: none waits for a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

from sri_sdk.serve.http import Refusal
from sri_sdk.serve.store.rows import State
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.asking import ask

EVERY_S = 10.0
"""Seconds between two looks."""


class SourceStates:
    """Part of a server, and a collector of prometheus_client."""

    def __init__(self, store: VerdictStore) -> None:
        self._store = store
        self._found: Counter[str] | None = None
        """None = never looked, or the store cannot be read: then nothing is shown, rather than what was."""

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._follow())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def look(self) -> None:
        """Counts them anew."""
        try:
            self._found = Counter(each.state for each in await ask(self._store, self._store.sources))
        except Refusal:
            self._found = None

    async def _follow(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    def collect(self) -> Iterator[Any]:
        """As prometheus_client asks for them."""
        from prometheus_client.core import GaugeMetricFamily

        gauge = GaugeMetricFamily("sri_sources", "Sources by state, as some seconds ago.", labels=["state"])
        if self._found is not None:
            for state in get_args(State):
                gauge.add_metric([state], self._found[state])
        yield gauge
