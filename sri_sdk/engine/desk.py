"""Where vectors wait until their request has ended, and become verdicts: in a thread, so that no pass waits for it."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.conclude import HOOK_FAILED, INCOMPLETE, SCORER_FAILED
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.client.client import VerdictClient
from sri_sdk.emitter import Emitter
from sri_sdk.engine.canvas import CanvasBook, Place
from sri_sdk.engine.conclude import Concluded, Ended, batches, conclude, most_vectors, unjudged
from sri_sdk.engine.pooling import Pooled
from sri_sdk.sink import Sink

log = logging.getLogger("sri_sdk.engine")

WAKES_AT = 64
"""Passes that may wait before the thread looks at them."""
WAITING_BYTES = 2**30
"""Passes that may wait for the thread. One that finds no room is dropped, and its requests are not trusted."""
WAKES_AT_BYTES = 2**26
"""Passes of this size are looked at, however few they are."""
PASS_BYTES = 2**10
"""What a pass takes beside its tensors, about."""
FIRST_ROOM = 16
LINGERS_S = 0.05
"""How long an ended request waits for others: many are judged in hardly more time than one."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that the engine has begun."""

    key: str
    """The engine's own id, unique."""
    request_id: str
    """Under which its verdict is looked for."""
    located: bool = False
    """Whether somebody knows where the request is in its prompt."""
    reasons: tuple[str, ...] = ()
    """Why it cannot be judged, as far as its arguments show."""
    stated: tuple[str, ...] = ()
    """What is stated of it and was not checked."""


@dataclass(frozen=True, slots=True)
class End:
    """A request that the engine has ended."""

    key: str
    tokens: int | None
    """Generated; None = the engine does not say."""
    ended: bool
    """By the model itself, or by a token that its caller named."""
    interrupted: bool
    """By somebody else: a client that went away, an error."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the requests of an engine."""

    begun: int
    concluded: int
    flagged: int
    unmonitored: int
    running: int
    passes: int


@dataclass(slots=True)
class _Open:
    begun: Begun
    seen: int = 0
    kept: int = 0
    room: NDArray[np.float32] | None = None
    request: NDArray[np.float32] | None = None
    book: CanvasBook | None = None
    """Of a canvas model's request."""
    failed: list[str] = field(default_factory=list)
    announced: tuple[contextvars.Context, AbstractContextManager[object]] | None = None


class _Dropped:
    """Passes for which there was no room."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys = set[str]()


class _OnHost:
    """A pass whose tensors are on their way to the host."""

    __slots__ = ("_arrived", "marks", "means", "pooled", "size", "vectors")

    def __init__(self, pooled: Pooled, size: int) -> None:
        self.pooled, self.size = pooled, size
        self._arrived: Any = None
        self.vectors, self.means, self.marks = map(self._sent, (pooled.vectors, pooled.means, pooled.marks))

    def _sent(self, tensor: torch.Tensor | None) -> torch.Tensor | None:
        if tensor is None or tensor.device.type == "cpu":
            return tensor
        here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        here.copy_(tensor, non_blocking=True)
        self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types here
        self._arrived.record()
        return here

    def wait(self) -> None:
        """Until they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()


class Desk:
    """Takes what an engine's passes gave, and says what became of its requests.

    Attributes:
        told: called in the desk's thread with what was concluded; for tests and measurements.
    """

    def __init__(
        self, settings: WatchSettings, sinks: Sequence[Sink] = (), *, client: VerdictClient | None = None,
        canvas: bool = False,
    ) -> None:  # fmt: skip
        """Takes what requests are measured against and where verdicts go.

        Args:
            settings: of the guard.
            sinks: take verdicts; the desk closes them.
            client: of the store, which also takes heartbeats; the desk closes it.
            canvas: whether the model works on canvases: steps are then passes, and not tokens.
        """
        self._settings, self._client, self._canvas = settings, client, canvas
        self._emitter = Emitter([*sinks, *([client] if client is not None else [])])
        self._most = most_vectors(settings)
        self._open: dict[str, _Open] = {}
        self._inbox: deque[_Item] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._busy = self._closing = self._urgent = self._now = False
        self._thread: threading.Thread | None = None
        self._begun = self._concluded = self._flagged = self._unmonitored = self._passes = 0
        self.told: Callable[[Concluded], None] | None = None

    def begin(self, request: Begun) -> None:
        """A request runs for the first time."""
        self._put(request, urgent=False)

    def passed(self, pooled: Pooled) -> None:
        """A pass has run. Where the thread is far behind it is dropped, and its requests are not trusted."""
        size = PASS_BYTES + sum(4 * tensor.numel() for tensor in (pooled.vectors, pooled.means) if tensor is not None)
        with self._changed:
            room = not self._waiting or self._waiting + size <= WAITING_BYTES
            if not room:
                self._drop(pooled)
        if room:
            self._put(_OnHost(pooled, size), urgent=False)

    def end(self, end: End) -> None:
        """A request has ended; one that is not known is left aside."""
        self._put(end, urgent=True)

    def flush(self, timeout_s: float) -> bool:
        """Waits until every ended request has its verdict and the sinks have it; says whether that was reached."""
        until = time.monotonic() + timeout_s
        with self._changed:
            if self._inbox or self._busy:
                self._alive()
            self._urgent = self._now = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._inbox and not self._busy, timeout_s)
        return self._emitter.flush(max(until - time.monotonic(), 0)) and done

    def close(self, timeout_s: float = 5.0) -> None:
        """Ends all requests that still run as interrupted, delivers, and closes the sinks."""
        self.flush(timeout_s)
        for key in list(self._open):
            self.end(End(key, None, ended=False, interrupted=True))
        self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._emitter.close(timeout_s)

    @property
    def counts(self) -> Counts:
        """So far."""
        return Counts(
            self._begun, self._concluded, self._flagged, self._unmonitored, len(self._open), self._passes
        )  # fmt: skip

    # -- the thread ------------------------------------------------------------------------------------------

    def _put(self, item: _Item, *, urgent: bool) -> None:
        with self._changed:
            self._inbox.append(item)
            self._waiting += _size(item)
            self._alive()
            # Woken for each pass, it would take the interpreter from the engine each time.
            if urgent or len(self._inbox) >= WAKES_AT or self._waiting >= WAKES_AT_BYTES:
                self._urgent = True
                self._changed.notify_all()

    def _alive(self) -> None:
        """Sees to it that there is a thread; one that died had items in hand, which are lost."""
        if self._closing or (self._thread is not None and self._thread.is_alive()):
            return
        thread = threading.Thread(
            target=self._run, args=(self._thread is not None,), name="sri-engine-desk", daemon=True
        )  # fmt: skip
        try:
            thread.start()
        except RuntimeError as err:
            # None may be had now; the next item asks again.
            self._say("no thread for verdicts", err)
            return
        self._thread = thread

    def _drop(self, pooled: Pooled) -> None:
        """Remembers whose pass it was, in the order of the inbox."""
        if not self._inbox or not isinstance(self._inbox[-1], _Dropped):
            self._inbox.append(_Dropped())
            log.warning("passes are dropped, since verdicts are made too slowly; their requests are unmonitored")
        last = self._inbox[-1]
        assert isinstance(last, _Dropped)
        last.keys.update(_keys(pooled))
        self._alive()

    @staticmethod
    def _say(what: str, err: BaseException) -> None:
        """The type only: what is raised may hold the text of a request."""
        log.error("%s: %s", what, type(err).__name__)

    def _run(self, after_another: bool) -> None:
        if after_another:
            log.error("the thread for verdicts had died; requests that run are unmonitored")
            self._distrust(self._open, HOOK_FAILED)
            with self._changed:
                self._waiting = sum(map(_size, self._inbox))
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: (self._urgent and self._inbox) or self._closing)
                if not self._now:
                    self._changed.wait_for(lambda: self._now or self._closing, LINGERS_S)
                if self._closing:
                    return
                items, self._busy, self._urgent, self._now = list(self._inbox), True, False, False
                self._inbox.clear()
            ended: list[Ended] = []
            for item in items:
                try:
                    self._take(item, ended)
                except Exception as err:
                    self._say("a pass could not be taken; its requests are unmonitored", err)
                    if isinstance(item, _OnHost):
                        self._distrust(_keys(item.pooled), HOOK_FAILED)
            with self._changed:
                self._waiting -= sum(map(_size, items))
            items = []
            for batch in batches(ended):
                try:
                    self._hand_on(conclude(self._settings, batch))
                except Exception as err:
                    self._say("verdicts could not be made or handed on; their requests are unmonitored", err)
                    self._give_up(batch)

    def _take(self, item: _Item, ended: list[Ended]) -> None:
        if isinstance(item, Begun):
            self._begun += 1
            book = CanvasBook() if self._canvas else None
            self._open[item.key] = _Open(item, book=book, announced=self._announce(item.request_id))
        elif isinstance(item, End):
            entry = self._open.pop(item.key, None)
            if entry is not None:
                ended.append(self._ended(entry, item))
        elif isinstance(item, _Dropped):
            self._distrust(item.keys, HOOK_FAILED)
        else:
            item.wait()
            self._passes += 1
            for key, why in item.pooled.failed.items():
                self._distrust((key,), why)
            if item.vectors is not None:
                self._keep(item.pooled.steps, item.vectors.numpy(), None if item.marks is None else item.marks.tolist())
            for row, (key, _, whole) in enumerate(item.pooled.requests):
                entry = self._open.get(key)
                if entry is not None and whole and item.means is not None:
                    entry.request = item.means[row].numpy().copy()

    def _distrust(self, keys: Iterable[str], why: str) -> None:
        for key in keys:
            entry = self._open.get(key)
            if entry is not None and why not in entry.failed:
                entry.failed.append(why)

    def _keep(self, steps: Sequence[str], vectors: NDArray[np.float32], marks: Sequence[Sequence[int]] | None) -> None:
        """Copies [R, C, D], each row to its request: a view would keep all rows of the pass for the longest of them.

        `marks` are those of the rows, where the model works on canvases.
        """
        for row, key in enumerate(steps):
            entry = self._open.get(key)
            # Behind a pass that was lost, a vector would stand where an earlier step belongs.
            if entry is None or entry.failed:
                continue
            if entry.book is not None:
                place = Place(None, gap=True) if marks is None else entry.book.take(marks[row])
                if place.gap:
                    self._distrust((key,), INCOMPLETE)
                if place.gap or place.step is None:
                    continue
                entry.seen, entry.kept = place.step, min(entry.kept, place.step)
            entry.seen += 1
            if self._most is not None and entry.kept >= self._most:
                continue
            if entry.room is None or entry.kept == len(entry.room):
                size = FIRST_ROOM if entry.room is None else 2 * len(entry.room)
                room = np.empty((size if self._most is None else min(size, self._most), *vectors.shape[1:]), np.float32)
                if entry.room is not None:
                    room[: entry.kept] = entry.room
                entry.room = room
            entry.room[entry.kept] = vectors[row]
            entry.kept += 1

    def _ended(self, entry: _Open, end: End) -> Ended:
        if entry.announced is not None:
            context, generation = entry.announced
            try:
                context.run(generation.__exit__, None, None, None)
            except Exception as err:
                self._say("the end of a request was not announced to the store", err)
        seen, kept, steps, failed, ended = entry.seen, entry.kept, end.tokens, list(entry.failed), end.ended
        if entry.book is not None:
            steps = None
            if not end.interrupted:
                ended = ended or entry.book.fills(self._settings)
                # An engine that runs ahead begins a canvas of which nothing is given out.
                seen = steps = entry.book.closed
                kept = min(kept, seen)
                if not entry.book.accounts_for(end.tokens) and not failed:
                    failed.append(INCOMPLETE)
        elif end.tokens is not None and seen > end.tokens:
            # An engine that runs ahead computes one more token before it learns that the last one was the end.
            seen, kept = end.tokens, min(kept, end.tokens)
        vectors = None if entry.room is None or not kept else torch.from_numpy(entry.room[:kept])
        begun = entry.begun
        reasons = (*begun.reasons, *failed)
        if end.interrupted and end.tokens is None and not seen:
            reasons = (*reasons, INCOMPLETE)
        return Ended(
            begun.request_id, vectors, seen, steps, ended, interrupted=end.interrupted,
            located=begun.located, request=entry.request, reasons=reasons, stated=begun.stated, canvas=self._canvas,
        )  # fmt: skip

    def _announce(self, request_id: str) -> tuple[contextvars.Context, AbstractContextManager[object]] | None:
        """Tells the store's client that a generation runs, so that one without a verdict shows."""
        if self._client is None:
            return None
        # A context each: generations of an engine do not end in the order in which they began.
        context = contextvars.copy_context()
        try:
            generation = self._client.generation(request_id)
            context.run(generation.__enter__)
        except Exception as err:
            log.warning("a request was not announced to the store: %s", type(err).__name__)
            return None
        return context, generation

    def _give_up(self, ended: Sequence[Ended]) -> None:
        """Says `unmonitored` of requests whose verdicts could not be made or handed on."""
        try:
            self._hand_on(unjudged(self._settings, ended, (SCORER_FAILED,)))
        except Exception as err:
            # They stay without a verdict, which the store does not take for a clear one.
            self._say("requests are left without a verdict", err)

    def _hand_on(self, found: Concluded) -> None:
        self._emitter.emit(found.verdicts)
        self._concluded += len(found.traces)
        self._flagged += sum(verdict.status == "flagged" for verdict in found.verdicts)
        self._unmonitored += sum(verdict.status == "unmonitored" for verdict in found.verdicts)
        if self.told is not None:
            self.told(found)


_Item = Begun | End | _OnHost | _Dropped


def _size(item: _Item) -> int:
    """Bytes of a pass that waits."""
    return item.size if isinstance(item, _OnHost) else 0


def _keys(pooled: Pooled) -> set[str]:
    """The requests that a pass says something of."""
    return {*pooled.steps, *pooled.failed, *(key for key, _, _ in pooled.requests)}
