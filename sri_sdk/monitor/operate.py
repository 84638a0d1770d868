"""`sri monitor` from its start to its end: loads the model, takes requests, and reloads or ends when it is told to."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType

from sri_sdk.errors import ConfigError
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.monitor.accounts import Balance
from sri_sdk.monitor.driver import Driver
from sri_sdk.monitor.introduction import introduction
from sri_sdk.monitor.live import Live
from sri_sdk.monitor.lookout import canaries_claimed
from sri_sdk.monitor.monitor import Monitor
from sri_sdk.monitor.outlet import Outlet
from sri_sdk.monitor.reading import Told
from sri_sdk.monitor.sink_checks import SinkCheck, check_sinks
from sri_sdk.monitor.spool.spool import claim_spool
from sri_sdk.monitor.traffic.open import open_traffic
from sri_sdk.monitor.traffic.traffic import Traffic
from sri_sdk.observation import SinkState

log = logging.getLogger("sri_sdk.monitor")

LOOK_S = 0.2
"""Seconds without a request after which signals and canaries are looked at."""
DRAIN_S = 20.0
"""Most seconds that requests which wait are still generated when the monitor ends; the others are refused."""
SAY_S = 60.0
"""Seconds between two lines that say how it goes."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a monitor ended."""

    balance: Balance
    sinks: tuple[SinkState, ...]
    checks: tuple[SinkCheck, ...] = ()
    """Of a monitor that was only checked: what its sinks said."""

    @property
    def waiting(self) -> int:
        """Observations that are still in the spool, for the sink that lacks most."""
        return max((each.waiting for each in self.sinks), default=0)


class Wishes:
    """What signals ask of the loop."""

    def __init__(self) -> None:
        self.end, self.reload = threading.Event(), threading.Event()

    @contextmanager
    def heard(self) -> Iterator[Wishes]:
        """SIGHUP reloads, also if it comes while the model is loaded, as long as the block lasts."""
        with _handled({} if not hasattr(signal, "SIGHUP") else {signal.SIGHUP: lambda *_: self.reload.set()}):
            yield self

    @contextmanager
    def orderly(self) -> Iterator[Wishes]:
        """SIGTERM and SIGINT end in order, as long as the block lasts; a second SIGINT ends at once.

        Before there is anything to lose they end the process as they always do.
        """
        with _handled({signal.SIGTERM: lambda *_: self.end.set(), signal.SIGINT: self._interrupt}):
            yield self

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.end.is_set():
            raise KeyboardInterrupt
        self.end.set()


@contextmanager
def _handled(wanted: Mapping[int, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """Signals as wanted, where this is the thread that may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def operate(
    told: Told, say: Callable[[str], None], wishes: Wishes | None = None, *, check: bool = False,
    deployment: Deployment | None = None,
) -> Ended:  # fmt: skip
    """Runs a monitor until its requests end, or a signal does.

    Args:
        told: checked settings, with a config and requests.
        say: prints a line for people.
        wishes: what asks for its end, or for a reload; None = signals alone.
        check: ask the sinks, load everything, say what would run, and end; nothing is written, and another process may
            run it.
        deployment: the model, where somebody has loaded it; None = load it.

    Raises:
        SriError: something cannot be loaded; or the spool, the file of canaries, the address or a sink's port is
            somebody else's, which is said before anything slow begins.
    """
    config, requests = told.config, told.settings.requests
    if config is None or requests is None:
        what = "config" if config is None else "requests"
        raise ConfigError(
            f"{told.source or told.settings.name}: {what}: required by `sri monitor`, which generates itself. Add it, "
            "or use sri_sdk.Monitor.open in the process that generates."
        )
    wishes = wishes or Wishes()
    with ExitStack() as opened:
        opened.enter_context(wishes.heard())
        traffic = open_traffic(requests, config)
        opened.callback(traffic.close)
        checks: tuple[SinkCheck, ...] = ()
        claims = opened.enter_context(ExitStack())
        spool: ExitStack | None = None
        if check:
            checks = check_sinks(told.settings)
            for each in checks:
                say(each.line)
        else:
            # All that another process may have: loading the model takes minutes. The spool first, since whoever starts
            # one file twice is told so by it, and an address may be anybody's.
            spool = opened.enter_context(claim_spool(told.settings.spool_path))
            claims.enter_context(canaries_claimed(told.settings.canaries, told.settings.guard.path))
            traffic.claim()
        outlet = Outlet.open(told.settings, check=check, claim=spool)
        opened.callback(outlet.close, 0.0)
        if deployment is None:
            say(f"loading the model of hook {config.model.hook}; this may take a while")
            deployment = Deployment.open(config)
        opened.enter_context(wishes.orderly())
        monitor = opened.enter_context(Monitor.open(told, model=deployment.loaded.source, check=check, outlet=outlet))
        # From here on they are the monitor's own, which gives up what a reload no longer names.
        claims.close()
        driver = Driver(deployment, monitor)
        if check:
            _introduce(monitor, "not started: only checked", say)
            return Ended(monitor.balance, monitor.pulse.sinks, checks)
        try:
            _introduce(monitor, traffic.start(), say)
            _Loop(driver, monitor, traffic, wishes).run()
        finally:
            traffic.close()
        monitor.close()
        return Ended(monitor.balance, monitor.pulse.sinks)


def _introduce(monitor: Monitor, where: str, say: Callable[[str], None]) -> None:
    for line in introduction(monitor, where):
        say(line)


class _Loop:
    """Requests, batch by batch, and between them whatever else is due."""

    def __init__(self, driver: Driver, monitor: Monitor, traffic: Traffic, wishes: Wishes) -> None:
        self._driver, self._monitor, self._traffic, self._wishes = driver, monitor, traffic, wishes
        self._said = time.monotonic()
        self._last: Balance | None = None
        self._loaded: Future[Live] | None = None
        """What a reload loads, while requests are answered as before."""

    def run(self) -> None:
        try:
            self._run()
        finally:
            if self._loaded is not None:
                self._loaded.add_done_callback(_let_go)

    def _run(self) -> None:
        until: float | None = None
        while True:
            if self._wishes.end.is_set() and until is None:
                log.info("asked to end: what waits is generated first, for at most %g s", DRAIN_S)
                self._traffic.stop()
                until = time.monotonic() + DRAIN_S
            if until is not None and time.monotonic() > until:
                return
            self._reload()
            if until is None:
                self._driver.look_after()
            asked = self._traffic.take(self._monitor.settings.batch_size, LOOK_S)
            if asked is None:
                return
            if asked:
                self._driver.generate(asked)
            self._say()

    def _reload(self) -> None:
        """Begins to load what is wished for, or exchanges it once it is there."""
        if self._loaded is None and self._wishes.reload.is_set():
            # One that is wished for meanwhile comes after this one.
            self._wishes.reload.clear()
            self._loaded = self._monitor.load_again()
        if self._loaded is not None and self._loaded.done():
            loaded, self._loaded = self._loaded, None
            self._driver.reload(loaded)

    def _say(self) -> None:
        if time.monotonic() < self._said + SAY_S:
            return
        self._said, balance = time.monotonic(), self._monitor.balance
        if balance != self._last:
            self._last = balance
            log.info("%s", balance.words)


def _let_go(loaded: Future[Live]) -> None:
    """What was loaded too late to be used."""
    if loaded.exception() is None:
        loaded.result().retire()
