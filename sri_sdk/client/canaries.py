"""Canaries: generations that must be flagged, run by the service itself. They tell an absent tap from a quiet one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sri_sdk.client.board import Board
from sri_sdk.observation import CANARY_ID


class Canaries:
    """Remembers the last one, and what the guard said of it."""

    def __init__(self, board: Board, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._board, self._patience, self._clock = board, patience_s, clock
        self._lock = threading.Lock()
        self._count = 0
        self._last: tuple[str, float, int] | None = None
        """Id, when it ended, and when that was in UTC milliseconds."""

    def new(self) -> str:
        """A request id for the next one; no other process has it."""
        with self._lock:
            self._count += 1
            return f"{CANARY_ID}{os.getpid()}-{time.time_ns() // 1_000_000}-{self._count}"

    def ran(self, request_id: str) -> None:
        """It has been generated: a verdict is due."""
        with self._lock:
            self._last = request_id, self._clock(), time.time_ns() // 1_000_000

    def told(self, news: Mapping[str, Any] | None) -> None:
        """The store knows this news."""
        with self._lock:
            if news is not None and self._last is not None and self._last[0] == news["request_id"]:
                self._last = None

    def news(self) -> dict[str, Any] | None:
        """What came of the last one, for a heartbeat; None = nothing that was not told, or its verdict is still due.

        `status` is that of its verdict, which should be `flagged`; null = there is no verdict, so no tap.
        """
        with self._lock:
            last = self._last
        if last is None:
            return None
        request_id, ended, at = last
        verdict = self._board.find(request_id)
        if verdict is None and self._clock() - ended < self._patience:
            return None
        return {
            "request_id": request_id,
            "at": at,
            "status": None if verdict is None else verdict.status,
            "reasons": [] if verdict is None else list(verdict.reasons),
            "found": verdict is not None and verdict.status == "flagged",
        }
