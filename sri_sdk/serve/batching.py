"""Calls that take long run in a thread, and all that wait there run as one call.

A bundle that answers in microseconds is scored where the request is read: a queue would cost more than the call. One
that takes longer would keep every other request waiting, so it goes to a thread of its own. The thread never waits for
more work: it takes whatever has come while it computed, so a lone request is as fast as ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from sri_sdk.scoring.runtime import Scored
from sri_sdk.serve.http import Refusal
from sri_sdk.serve.limits import RETRY_AFTER
from sri_sdk.serve.oip.model import Model
from sri_sdk.serve.oip.tensors import Array

INLINE_SECONDS = 5e-4
"""A call that takes less runs where the request is read, and never comes here."""
MOST_ROWS = 1024
"""Rows of one call, if it is made of several requests."""
IDLE_SECONDS = 60.0
"""After which the thread of a model ends that nobody asks."""

Inputs = Mapping[str, Array]


@dataclass(slots=True, eq=False)
class _Waiting:
    inputs: Inputs
    rows: int
    future: Any
    """Of asyncio, whose loop is `loop`; or of a thread, where `loop` is None."""
    loop: asyncio.AbstractEventLoop | None


class Batching:
    """All threads of a server, one per model that needs one.

    Args:
        most_waiting: rows that may wait for one model.
    """

    def __init__(self, most_waiting: int = 4096) -> None:
        self._most_waiting = most_waiting
        self._lanes: dict[Model, _Lane] = {}
        self._lock = threading.Lock()
        self.sizes: dict[tuple[str, int], int] = {}
        """(bundle, rows of a call rounded up to a power of 2) -> calls, of those made in threads."""
        self.refused = 0

    async def run(self, model: Model, inputs: Inputs, rows: int) -> Scored:
        """Scores of a request, [B] or [B, K], computed alone or together with others.

        Raises:
            Refusal: 503, too many rows wait for this model.
            BundleError: onnxruntime fails.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Scored] = loop.create_future()
        self._put(model, _Waiting(inputs, rows, future, loop))
        return await future

    def run_now(self, model: Model, inputs: Inputs, rows: int) -> Scored:
        """The same for a caller in a thread of its own: [B] or [B, K]."""
        future: Future[Scored] = Future()
        self._put(model, _Waiting(inputs, rows, future, None))
        return future.result()

    def waiting(self) -> int:
        """Rows that wait, of all models."""
        with self._lock:
            return sum(lane.rows for lane in self._lanes.values())

    def close(self) -> None:
        """Ends the threads; what waits is computed first."""
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.close()

    def _put(self, model: Model, item: _Waiting) -> None:
        with self._lock:
            lane = self._lanes.get(model)
            if lane is not None and lane.rows + item.rows > max(self._most_waiting, item.rows):
                self.refused += 1
                raise Refusal(
                    503, f"{model.name}: {lane.rows} rows wait; allowed: {self._most_waiting}. Try again later.",
                    retry_after=RETRY_AFTER,
                )  # fmt: skip
            if lane is None:
                lane = self._lanes[model] = _Lane(model, self)
            lane.put(item)

    def forget(self, lane: _Lane) -> bool:
        """Ends an idle thread, unless something came meanwhile."""
        with self._lock:
            if lane.rows:
                return False
            self._lanes.pop(lane.model, None)
            return True

    def count(self, model: Model, rows: int) -> None:
        """One call was made."""
        key = model.bundle, 1 << max(0, rows - 1).bit_length()
        self.sizes[key] = self.sizes.get(key, 0) + 1


class _Lane:
    """One model's thread, and what waits for it."""

    def __init__(self, model: Model, owner: Batching) -> None:
        self.model = model
        self.rows = 0
        """That wait or are computed."""
        self._owner = owner
        self._items: deque[_Waiting] = deque()
        self._come = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"sri-{model.name}", daemon=True)
        self._thread.start()

    def put(self, item: _Waiting) -> None:
        with self._come:
            self._items.append(item)
            self.rows += item.rows
            self._come.notify()

    def close(self) -> None:
        with self._come:
            self._closed = True
            self._come.notify()
        self._thread.join(timeout=IDLE_SECONDS)

    def _work(self) -> None:
        while True:
            with self._come:
                while not self._items and not self._closed:
                    if not self._come.wait(IDLE_SECONDS) and not self._items and not self._closed:
                        break
                taken, rows = self._take()
                closed = self._closed
            if not taken:
                if closed or self._owner.forget(self):
                    return
                continue
            _deliver(taken, self._computed(taken))
            with self._come:
                self.rows -= rows

    def _computed(self, taken: list[_Waiting]) -> list[Scored | Exception]:
        """What each request gets: its own rows of [B] or [B, K], or why there are none; the thread goes on."""
        ends = np.cumsum([item.rows for item in taken]).tolist()
        self._owner.count(self.model, ends[-1])
        try:
            names = taken[0].inputs
            inputs = names if len(taken) == 1 else {n: np.concatenate([x.inputs[n] for x in taken]) for n in names}
            scored = self.model.run(inputs)
        except Exception as err:
            # One by one: what is wrong with one request is not its neighbours'.
            return [err] if len(taken) == 1 else [self._computed([item])[0] for item in taken]
        score, valid = scored
        return [
            (score[end - item.rows : end], valid[end - item.rows : end]) for item, end in zip(taken, ends, strict=True)
        ]

    def _take(self) -> tuple[list[_Waiting], int]:
        taken: list[_Waiting] = []
        rows = 0
        while self._items and (not taken or rows + self._items[0].rows <= MOST_ROWS):
            taken.append(item := self._items.popleft())
            rows += item.rows
        return taken, rows


def _deliver(taken: list[_Waiting], results: list[Scored | Exception]) -> None:
    """Gives each request its own [B] or [B, K], once per event loop: waking one costs more than a result."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Any, Any]]] = {}
    for item, result in zip(taken, results, strict=True):
        if item.loop is None:
            _settle([(item.future, result)])
        else:
            by_loop.setdefault(item.loop, []).append((item.future, result))
    for loop, found in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, found)


def _settle(results: list[tuple[Any, Any]]) -> None:
    for future, result in results:
        if future.done():  # Its request took too long.
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
