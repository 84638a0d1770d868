"""Where the time of a watched generation goes: exclusive seconds per part of the tap."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from sri_sdk.capture import watch as watch_module
from sri_sdk.capture.passes import Passes
from sri_sdk.capture.pool_canvas import CanvasPooler
from sri_sdk.capture.pool_tokens import RunningPooler
from sri_sdk.capture.recorder import Recorder
from sri_sdk.capture.run import Run
from sri_sdk.capture.steady import SteadyRun
from sri_sdk.capture.stream import SignalStream
from sri_sdk.capture.tap import Tap
from sri_sdk.hook import Hook
from sri_sdk.scoring.scorer import Scorer

PLACES: dict[str, tuple[tuple[Any, str], ...]] = {
    "choosing the hook": ((watch_module, "choose_hook"),),
    "fingerprint": ((watch_module, "watch_settings"),),
    "steady passes": ((SteadyRun, "take"), (SteadyRun, "look")),
    "callbacks": (
        (Tap, "on_root"),
        (Tap, "on_embedding"),
        (Tap, "on_state"),
        (Passes, "enter_forward"),
        (Passes, "begins_fast"),
        (Passes, "takes_fast"),
    ),
    "pooling": tuple((p, name) for p in (CanvasPooler, RunningPooler) for name in ("add", "close_step", "tail")),
    "recorder": ((Recorder, "take_many"), (Recorder, "finish"), (Recorder, "clock"), (Recorder, "phi")),
    "signal": ((SignalStream, "add_states"), (SignalStream, "add_many"), (SignalStream, "finish")),
    "scoring": ((Scorer, "score_prefix"),),
    "verdict": ((Scorer, "score"),),
    "conclusion": ((Run, "finish"), (Run, "returned")),
}
ONCE = ("choosing the hook", "fingerprint", "enter and leave", "verdict", "conclusion")
"""Parts that cost once per generation; the others cost in every step."""


class Stopwatch:
    """Seconds per part; what one part calls in another counts there only."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    @contextmanager
    def on(self, hook: Hook) -> Iterator[None]:
        """Times every part of the tap, as long as the block lasts."""
        places = {**PLACES, "hook.plan": ((type(hook), "plan"),)}
        with ExitStack() as stack:
            for part, functions in places.items():
                for owner, name in functions:
                    stack.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
            yield

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Times a block."""
        start = self._now()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = self._now() - start
            self.seconds[name] += spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        inner, seconds, now = self._inner, self.seconds, self._now

        # `part` written out: as a `with` it would cost more than some of what it times.
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            start = now()
            try:
                return function(*args, **kwargs)
            finally:
                spent = now() - start
                seconds[part] += spent - inner.pop()
                if inner:
                    inner[-1] += spent

        return timed
