"""Verdicts of this process, for those who wait for one: they need no network."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from sri_sdk.client.rarely import log
from sri_sdk.records import Status, Verdict

KEPT = 10_000
"""Verdicts that are kept; the oldest are forgotten first."""
SEVERITY: dict[Status, int] = {"flagged": 3, "unmonitored": 2, "not_sampled": 1, "clear": 0}
"""Of several verdicts on one request the most severe counts, as in the store of `sri serve`."""


class Board:
    """The most severe verdict by request id."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._verdicts: OrderedDict[str, Verdict] = OrderedDict()
        self._listeners: dict[str, list[Callable[[Verdict], None]]] = {}

    def pin(self, verdict: Verdict) -> None:
        """Takes a verdict, and tells those who listen for it."""
        with self._changed:
            before = self._verdicts.get(verdict.request_id)
            if before is None or SEVERITY[verdict.status] >= SEVERITY[before.status]:
                self._verdicts[verdict.request_id] = verdict
            self._verdicts.move_to_end(verdict.request_id)
            if len(self._verdicts) > KEPT:
                self._verdicts.popitem(last=False)
            listeners = list(self._listeners.get(verdict.request_id, ()))
            self._changed.notify_all()
        for each in listeners:
            try:
                each(verdict)
            except Exception as err:
                # One who listens must not cost the others their verdict.
                log.warning("a listener for verdicts raised %s", type(err).__name__)

    def find(self, request_id: str, wait_s: float = 0) -> Verdict | None:
        """The verdict on a request, once it is there; None = it was not within `wait_s` seconds."""
        until = time.monotonic() + wait_s
        with self._changed:
            while request_id not in self._verdicts:
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            return self._verdicts[request_id]

    def listen(self, request_id: str, tell: Callable[[Verdict], None]) -> Callable[[], None]:
        """Calls `tell` with every verdict on a request that comes from now on. The result ends that."""
        with self._changed:
            self._listeners.setdefault(request_id, []).append(tell)

        def stop() -> None:
            with self._changed:
                others = [each for each in self._listeners.get(request_id, ()) if each is not tell]
                if others:
                    self._listeners[request_id] = others
                else:
                    self._listeners.pop(request_id, None)

        return stop
