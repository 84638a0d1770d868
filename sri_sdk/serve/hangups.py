"""SIGHUP, which kills a process that does not ask for it: minded from the first line to the last, obeyed in between."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class Hangups:
    """While it is entered, a SIGHUP kills nothing. Before the server serves it is noted, and after that ignored.

    Outside the main thread, and where a system has no SIGHUP, it does nothing.
    """

    def __init__(self) -> None:
        self._act: Callable[[], object] | None = None
        self._noted = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGHUP, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGHUP, self._before)

    def obey(self, act: Callable[[], object]) -> None:
        """From here on each SIGHUP calls `act`, in the main thread between two of its instructions; so does an earlier
        one: what it was about may have been read before it came."""
        self._act = act
        if self._noted:
            act()

    def ignore(self) -> None:
        """From here on nothing is done."""
        self._act = None

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._noted = True
        if self._act is not None:
            self._act()
