"""Calls around the passes of one generation: the methods that generate, those a hook observes, and other watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sri_sdk.capture.conclude import INTERRUPTED, OTHER_WATCH, TWICE
from sri_sdk.capture.coverage import CoverageTracker, returned_tokens
from sri_sdk.capture.faults import Faults
from sri_sdk.errors import CaptureError, SriError
from sri_sdk.hook import Hook
from sri_sdk.records import RunView
from sri_sdk.structure import with_older_name


class WatchedCalls:
    """Of one run.

    Attributes:
        ended: whether the run is over; calls no longer count.
    """

    def __init__(
        self, hook: Hook, view: RunView, coverage: CoverageTracker, faults: Faults, returned: Callable[[Any], Any],
        called: Callable[[tuple[Any, ...], Mapping[str, Any]], None], catch_up: Callable[[], Any],
    ) -> None:  # fmt: skip
        """Takes the run's parts; `returned` gets the tokens [R, L] that a generation method returns, `called` the
        arguments it was given. `catch_up` has passes told that so far only a tape knows of."""
        self._hook, self._view, self._coverage, self._faults, self._returned = hook, view, coverage, faults, returned
        self._called, self._catch_up = called, catch_up
        self._calling: int | None = None
        self._other_watch: str | None = None
        self.ended = False

    @property
    def running(self) -> bool:
        """Whether a generation method has begun and not ended."""
        return self._calling is not None

    def enter_call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """One of the model's own generation methods is about to run.

        Returns:
            Whether it is the outermost one; what it calls in turn does not count.

        Raises:
            SriError: it cannot be watched.
        """
        if self._calling is not None or self.ended:
            return False
        self._catch_up()
        with self._faults.isolated(but=(SriError,)):
            self._hook.on_call(name, args, with_older_name(kwargs), self._view)
        if self._view.steps:
            self._faults.isolate(
                CaptureError(
                    "a second generation in one watch; watch one generation at a time. A pipeline that is given a list "
                    "makes one call per text: pass batch_size=len(texts), or watch text by text"
                )
            )
        self._called(args, kwargs)
        self._calling = self._view.forwards
        return True

    def leave_call(self, result: Any, *, raised: bool = False) -> None:
        """The outermost generation method ends; `result` is what it returned."""
        before, self._calling = self._calling, None
        if raised:
            self._catch_up()
            # Whoever catches the error inside the block goes on, but not this generation.
            if self._view.forwards != before:
                self._faults.add(INTERRUPTED)
            return
        tokens = returned_tokens(result)
        with self._faults.isolated():
            if tokens is not None and not self._coverage.end_reported:
                self._returned(tokens)

    def method_returned(self, name: str, result: Any) -> None:
        """One of the methods that the hook observes has returned."""
        if self.ended:
            return
        with self._faults.isolated():
            self._hook.on_method_result(name, result, self._view)

    def enter_forward_call(self) -> int:
        """Counts a call of the model's own forward, whether or not the tap sees the pass.

        Returns:
            Steps so far, for `leave_forward_call`.
        """
        if not self.ended:
            self._coverage.forward_calls += 1
        return self._view.steps

    def leave_forward_call(self, before: int) -> None:
        """The model's own forward returns; it began after `before` steps. One pass is at most one step."""
        if not self.ended and self._view.steps > before + 1:
            self._faults.add(TWICE)

    def count_unowned(self, passes: int) -> None:
        """Notes how many passes of this model ran meanwhile that belong to no run."""
        self._coverage.unowned_passes = passes

    def beside_another_watch(self, *, inner: bool) -> None:
        """Notes that this model has two watches in one context; `inner` = this is the one that was entered second."""
        self._other_watch = (
            "another watch of this model was active when this one began, inside it"
            if inner
            else "another watch of this model was entered inside this one, and takes the passes that run in it"
        )

    def explain(self, *, whole: bool) -> None:
        """Says where missing passes may have gone, of a run that was not seen `whole`."""
        if whole:
            return
        causes = []
        if self._other_watch is not None:
            self._faults.add(OTHER_WATCH)
            causes.append(f"{self._other_watch}; leave one of the two out, or let one end before the other begins")
        if strays := self._coverage.unowned_passes:
            causes.append(
                f"{strays} forward passes of this model ran meanwhile in other threads or contexts. If they were this "
                "generation's, as with a streamer whose generate() runs in a thread: enter the watch inside the "
                "thread, or start it with Thread(target=contextvars.copy_context().run, args=(generate, ...))"
            )
        if causes:
            self._faults.explain(causes)
