"""Everything that leaves a monitor: observations through the spool, and what runs and how it is, at once or never."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TypeVar

from sri_sdk import registry
from sri_sdk.monitor.settings import MonitorSettings
from sri_sdk.monitor.spool.spool import Spool, claim_spool
from sri_sdk.observation import Observation, Pulse, Running, SinkState
from sri_sdk.sink import Sink

log = logging.getLogger("sri_sdk.monitor")

_T = TypeVar("_T")

SHOW_S, PULSE_S = 0.5, 5.0
"""Seconds between two looks at what runs, and between two pulses."""


class Outlet:
    """The sinks of a monitor, the spool before them, and a thread for each that shows it what runs."""

    def __init__(self, sinks: dict[str, Sink], spool: Spool | None) -> None:
        """Use `open`; without a spool there is nothing to leave it, nor anywhere to go."""
        self._sinks, self._spool = sinks, spool
        self._onlookers: list[_Onlooker] = []

    @classmethod
    def open(cls, settings: MonitorSettings, *, check: bool = False, claim: ExitStack | None = None) -> Outlet:
        """Builds the sinks and opens the spool, which goes on with what an earlier process left.

        Args:
            settings: checked.
            check: open nothing: the spool, and ports that sinks listen on, may be those of a monitor that runs.
            claim: of `claim_spool`, where somebody has it already; None = claim it here, before any sink is built.

        Raises:
            PluginError, ConfigError: a sink does not exist or refuses its options; another monitor has the spool.
        """
        if check:
            return cls({}, None)
        with ExitStack() as opened:
            held = opened.enter_context(claim or claim_spool(settings.spool_path))
            sinks: dict[str, Sink] = {}
            for each in settings.sinks:
                sinks[each.called] = registry.build("sinks", each.name, each.options)
                opened.callback(sinks[each.called].close)
            settings.spool_path.parent.mkdir(parents=True, exist_ok=True)
            spool = Spool.open(settings.spool_path, sinks, max_bytes=settings.spool.max_bytes, claim=held)
            opened.pop_all()
        return cls(sinks, spool)

    @property
    def shows(self) -> bool:
        """Whether any sink does something with what runs."""
        return any(type(sink).show is not Sink.show for sink in self._sinks.values())

    def start(self, running: Callable[[], Sequence[Running]], pulse: Callable[[], Pulse]) -> None:
        """Begins to show, each sink in its own time: one that hangs costs the others nothing.

        Args:
            running: gives what runs now.
            pulse: gives how the monitor is.
        """
        self._onlookers = [_Onlooker(name, sink, running, pulse) for name, sink in self._sinks.items()]

    def put(self, observations: Sequence[Observation]) -> Future[None]:
        """Accepts observations; the future is done once they are on disk."""
        if self._spool is None:
            raise RuntimeError("a monitor that is only checked watches nothing")
        return self._spool.put(observations)

    def states(self) -> tuple[SinkState, ...]:
        """What became of the observations, sink by sink."""
        return () if self._spool is None else self._spool.states()

    def flush(self, timeout: float) -> bool:
        """Waits until every sink has what was put, at most `timeout` seconds; says whether."""
        return self._spool is None or self._spool.flush(timeout)

    def close(self, timeout: float) -> bool:
        """Shows a last pulse, delivers for at most `timeout` seconds, and closes; what is left stays in the spool."""
        if self._spool is None:
            return True
        until = time.monotonic() + timeout
        # First what waits, so that the last pulse says what became of it.
        self._spool.flush(max(timeout - 1.0, 0.0))
        for each in self._onlookers:
            each.end()
        for each in self._onlookers:
            each.join(max(until - time.monotonic(), 0.1))
        return self._spool.close(max(until - time.monotonic(), 1.0))


class _Onlooker:
    """Shows one sink what runs, and how the monitor is."""

    def __init__(
        self, name: str, sink: Sink, running: Callable[[], Sequence[Running]], pulse: Callable[[], Pulse]
    ) -> None:
        self._name, self._sink, self._running, self._pulse = name, sink, running, pulse
        self._ending, self._failed = threading.Event(), 0
        self._looks, self._beats = type(sink).show is not Sink.show, type(sink).pulse is not Sink.pulse
        self._thread = threading.Thread(target=self._show, name=f"sri-onlooker-{name}", daemon=True)
        if self._looks or self._beats:
            self._thread.start()

    def end(self) -> None:
        self._ending.set()

    def join(self, timeout: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _show(self) -> None:
        due, shown = time.monotonic(), False
        while True:
            ending = self._ending.wait(SHOW_S)
            running = () if ending or not self._looks else self._asked(self._running) or ()
            # Nothing runs, and the sink knows: there is nothing to say.
            if running or shown:
                self._call(self._sink.show, running)
                shown = bool(running)
            if self._beats and (ending or time.monotonic() >= due):
                if (pulse := self._asked(self._pulse)) is not None:
                    self._call(self._sink.pulse, pulse)
                due = time.monotonic() + PULSE_S
            if ending:
                return

    def _asked(self, ask: Callable[[], _T]) -> _T | None:
        """What the monitor says; None where it cannot: the next look may be better, and this thread goes on."""
        try:
            return ask()
        except Exception as err:
            self._count("what the monitor says of itself", err)
            return None

    def _call(self, tell: Callable[..., None], what: object) -> None:
        try:
            tell(what)
        # A sink that calls sys.exit() must not end this thread.
        except BaseException as err:
            self._count(f"{tell.__name__}()", err)

    def _count(self, what: str, err: BaseException) -> None:
        self._failed += 1
        if str(self._failed).strip("0") == "1":
            log.warning("sink %s: %s failed %d times, last %s", self._name, what, self._failed, type(err).__name__)
