"""Which generation a pass belongs to, for steerings that must tell passes apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sri_sdk.capture.run import Run
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import SteeringError
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardCall
from sri_sdk.steer.passes import PassReader, SeenPass


class Generations:
    """One generation after the other, as calls of the model, drives and watches show them.

    Attributes:
        requests: how many a generation has, where the caller of the steering says so; None = not known.
    """

    def __init__(self, hook: Hook, *, strict: bool) -> None:
        """Takes the family; `strict` = a pass that cannot be told apart is an error."""
        self._hook, self._strict = hook, strict
        self._reader = PassReader(hook, strict=strict)
        self._run: Run | None = None
        self._calls = 0
        self._between = True
        self.requests: int | None = None

    def read(self, call: ForwardCall) -> SeenPass:
        """What a pass is that has just begun; see `PassReader.read`."""
        self._follow()
        return self._reader.read(call)

    def read_prompt(self, call: ForwardCall) -> SeenPass:
        """What a pass is of a part that only reads prompts; see `PassReader.read_prompt`."""
        self._follow()
        return self._reader.read_prompt(call)

    def around_call(self, name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One generation method of the model; the outermost begins a generation, and ends it."""
        if not self._calls:
            self._run = tap_of(self._hook.model).owner()
            self._renew(told=True)
            self._reader.start(name, args, kwargs)
        self._calls += 1
        try:
            return original(*args, **kwargs)
        finally:
            self._calls -= 1
            self._between = not self._calls

    def method_returned(self, name: str, result: Any) -> None:
        """One of the methods that the hook observes has returned."""
        self._reader.method_returned(name, result)

    def begins(self) -> None:
        """The caller says that another one begins."""
        self._between = True

    def check(self) -> None:
        """Whether the last one was one; see `PassReader.check`."""
        self._reader.check()

    def forget(self) -> None:
        """Lets go of the run and of what was remembered."""
        self._run = None
        self._reader.renew()

    def _follow(self) -> None:
        """Notices that the pass is of another generation than the one before."""
        run = tap_of(self._hook.model).owner()
        if run is self._run and not self._between:
            return
        if run is None and self._run is not None and self._run.driven and not self._run.finished:
            if self._strict:
                raise SteeringError(
                    "steer: a pass between two steps of a driven generation, which would be taken for one of its own. "
                    "Run it inside steering.paused()."
                )
            return
        self._run = run
        self._renew(told=run is not None and run.driven)

    def _renew(self, *, told: bool) -> None:
        run, requests = self._run, self.requests
        if run is not None and run.request_ids is not None:
            requests = len(run.request_ids)
        self._reader.check()
        self._reader.renew(requests, None if run is None else run.started, told=told)
        self._between = False
