"""`Monitor`: watches generations by one file of settings, in the operator's own process or under `sri monitor`."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from sri_sdk.capture.request import Span
from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.hook import Hook
from sri_sdk.monitor.accounts import Accounts, Balance
from sri_sdk.monitor.board import Board
from sri_sdk.monitor.canaries import CanaryPrompt
from sri_sdk.monitor.live import Live, lookout_key, lookout_of
from sri_sdk.monitor.lookout import Lookout
from sri_sdk.monitor.observing import drawn, shadowed
from sri_sdk.monitor.outlet import Outlet
from sri_sdk.monitor.reading import Told, checked, read_monitor
from sri_sdk.monitor.settings import MonitorSettings
from sri_sdk.monitor.since import Since
from sri_sdk.monitor.watched import Watched
from sri_sdk.observation import RELOAD_CANNOT, Kind, Observation, Pulse
from sri_sdk.policy import Decision
from sri_sdk.records import Signals

log = logging.getLogger("sri_sdk.monitor")

CLOSE_S = 10.0
"""Seconds that `close` waits for the sinks, unless somebody says otherwise."""
FIXED = ("name", "config", "requests", "spool", "sinks")
"""What a reload cannot change: the model, whoever asks it, and where observations wait."""


class Monitor:
    """Watches generations and writes down what it sees: verdicts, what followed, and who should look at it.

        monitor = sri_sdk.Monitor.open("monitor.yaml")
        with monitor.watch(model, request_ids=["r1"]) as run:
            model.generate(**inputs)
        print(run.decisions)
        monitor.close()

    Its sinks are fed by threads of its own, from a spool on disk; none of them delays or breaks a generation. Any
    thread may call `watch`.

    Attributes:
        accounts: what became of every generation.
        board: what runs right now.
    """

    def __init__(self, live: Live, outlet: Outlet, model: str, *, check: bool = False) -> None:
        """Use `open`."""
        self._live, self._outlet, self._model = live, outlet, model
        self.accounts, self.board = Accounts(), Board()
        self._lookout, self._looks_for = lookout_of(live, check=check), lookout_key(live)
        self._reloading = threading.Lock()
        self._reload_failed: str | None = None
        self._since = Since()
        self._started_at = int(time.time() * 1000)
        self._closed, self._process = False, os.getpid()
        if not check:
            outlet.start(self.board.running, lambda: self.pulse)

    @classmethod
    def open(
        cls, source: Path | str | MonitorSettings | Told, *, model: str = "", check: bool = False,
        outlet: Outlet | None = None,
    ) -> Self:  # fmt: skip
        """Loads the guard, opens the sinks, and goes on with what an earlier process left in the spool.

        Args:
            source: the YAML file, or the settings.
            model: name of the model, as a person would say it.
            check: only to see whether everything can be loaded, also beside the monitor that runs: spool and sinks are
                left alone, and nothing is written down.
            outlet: of the same settings, where somebody has opened it, and closes it; None = open it.

        Raises:
            ConfigError: `problems` holds one `file: path: problem` per mistake.
            SriError: the guard may not be loaded, or a sink cannot be built.
        """
        if isinstance(source, MonitorSettings):
            source = checked(source)
        told = source if isinstance(source, Told) else read_monitor(source)
        with ExitStack() as opened:
            # First, since it is quick to say that another process has the spool, or a sink's port.
            if outlet is None:
                outlet = Outlet.open(told.settings, check=check)
                opened.callback(outlet.close, 0.0)
            live = Live.open(told, model)
            opened.callback(live.retire)
            monitor = cls(live, outlet, model, check=check)
            opened.pop_all()
        return monitor

    @property
    def settings(self) -> MonitorSettings:
        """What holds now."""
        return self._live.told.settings

    @property
    def live(self) -> Live:
        """Guard and policy that the next generation begins with."""
        return self._live

    @contextmanager
    def in_use(self) -> Iterator[Live]:
        """Guard and policy of one generation, which stay open also where a reload replaces them meanwhile.

        Raises:
            ConfigError: it is closed, or belongs to another process.
        """
        self._usable()
        while not (live := self._live).begin():
            # Retired: a reload puts the next one in its place, `close` does not.
            self._usable()
        try:
            yield live
        finally:
            live.end()

    def _usable(self) -> None:
        if os.getpid() != self._process:
            raise ConfigError(
                f"monitor {self.settings.name}: opened by process {self._process}, and this is {os.getpid()}, a fork "
                "without its threads, so nothing would reach a sink. Open a monitor of its own, with another `spool`, "
                "after the fork."
            )
        if self._closed:
            raise ConfigError(f"monitor {self.settings.name}: closed; open it again to watch.")

    @property
    def balance(self) -> Balance:
        """What became of every generation so far."""
        return self.accounts.balance()

    @property
    def lookout(self) -> Lookout:
        """Canaries and drift."""
        return self._lookout

    @property
    def shows(self) -> bool:
        """Whether any sink shows what runs, so that the signal is wanted at every step."""
        return self._outlet.shows

    @property
    def pulse(self) -> Pulse:
        """How the monitor is."""
        live, balance, now = self._live, self.accounts.balance(), int(time.time() * 1000)
        lookout, scoring = self._lookout, live.told.settings.scoring.where
        wrong = {
            "canary_missed": lookout.missed, "drift": lookout.drift, "reload_failed": self._reload_failed,
            "scorer": live.trouble,
        }  # fmt: skip
        more: dict[str, Any] = {**wrong, **lookout.pulse}
        more |= self._since.of({**wrong, "looks": more["looks"] or None}, now)
        return Pulse(
            self.settings.name, now, self._started_at, os.getpid(), self.settings.mode, self._model, live.digest,
            live.promised, balance.generated, balance.clear, balance.flagged, balance.unmonitored, balance.not_sampled,
            balance.canaries, sinks=self._outlet.states(), ended=self._closed, scoring=scoring, **more,
        )  # fmt: skip

    # -- the user's own process ------------------------------------------------------------------------------

    @contextmanager
    def watch(
        self, model: Any, *, request_ids: Sequence[str], tenant: str = "", hook: Hook | str | None = None,
        tokenizer: Any = None, system_prompt: str | None = None, request_spans: Sequence[Span | None] | None = None,
        groups: Sequence[str | None] | None = None, hold_first_token: bool = False, canary: bool = False,
    ) -> Iterator[Watched]:  # fmt: skip
        """Watches one generation of a model, as `sri_sdk.watch` does, by the settings of the monitor.

        A share of the batches is not sampled: for these nothing is installed on the model, and `run` is None.

        Args:
            model: the loaded model.
            request_ids: one per row of the batch.
            tenant: whose requests they are; empty = not said.
            hook: see `sri_sdk.watch`; so are all others.
            tokenizer: of the model.
            system_prompt: in use, if any.
            request_spans: where each request stands in its prompt.
            groups: of the requests.
            hold_first_token: decide before the first token, with the rule `request`.
            canary: these are prompts that `canaries` gave: always watched, and nothing follows from their verdicts.

        Yields:
            The batch; its `verdicts` and `decisions` are there when the block has ended.

        Raises:
            ModelMismatch, ConfigError: as `sri_sdk.watch`, or the monitor is closed, or another process opened it;
                nothing is counted then.
            GenerationAborted: in the mode enforce, where the policy stops a generation that runs.
        """
        watched = Watched(request_ids)
        with self.in_use() as live:
            if not canary and not drawn(live.told.settings.sample):
                self.accounts.begin(len(request_ids))
                try:
                    yield watched
                finally:
                    self._not_sampled(live, watched, tenant)
                return
            began = time.perf_counter()
            try:
                with watch(
                    model, live.guard, hook=hook, request_ids=request_ids,
                    policy=live.canary_policy if canary else live.policy, accept=live.told.accept,
                    system_prompt=system_prompt, tokenizer=tokenizer, request_spans=request_spans, groups=groups,
                    hold_first_token=hold_first_token,
                ) as run:  # fmt: skip
                    self.accounts.begin(len(request_ids))
                    watched.run = run
                    cells = live.guard.anchors.harmless.shape[0]
                    with self.board.shows(
                        request_ids, self.settings.name, steps=None, cells=cells, tenants=[tenant] * len(request_ids)
                    ) as entry:
                        entry.watches(run)
                        yield watched
            finally:
                if watched.run is not None:
                    kind: Kind = "canary" if canary else "traffic"
                    self._watched(live, watched, tenant, time.perf_counter() - began, kind)

    def canaries(self) -> list[CanaryPrompt]:
        """Prompts that are due now, for the thread that generates; `sri monitor` asks them itself.

        for each in monitor.canaries():
            with monitor.watch(model, request_ids=[each.prompt.id], canary=True):
                model.generate(**encode(each.prompt.text))
        """
        return self._lookout.due(time.monotonic())

    def _not_sampled(self, live: Live, watched: Watched, tenant: str) -> None:
        found = live.circumstances.not_sampled(watched.request_ids, [tenant] * len(watched.request_ids))
        watched._decided = tuple(Decision(each.verdict, withheld=False) for each in found)
        watched.observations, watched.recorded = tuple(found), self.record(found)

    def _watched(self, live: Live, watched: Watched, tenant: str, seconds: float, kind: Kind) -> None:
        run = watched.run
        assert run is not None
        texts = watched._texts if live.told.settings.store_texts else None
        # Rows that the caller did not name are rows all the same: one observation per verdict.
        found = live.circumstances.observed(
            run.decisions, run.signals, kind=kind, tenants=[tenant] * len(run.decisions), generation_s=seconds,
            scoring_s=live.took(), texts=texts,
        )  # fmt: skip
        watched.observations, watched.recorded = tuple(found), self.record(found)
        if kind == "canary":
            self._lookout.ran(found, run.signals)
        else:
            self.follow_up(live, found, run.signals)

    # -- what every way of running shares --------------------------------------------------------------------

    def record(self, observations: Sequence[Observation]) -> Future[None]:
        """Counts generations that have ended, and hands their observations to the spool.

        Args:
            observations: one per generation.

        Returns:
            Done once they are on disk; raises where they are not.
        """
        self.accounts.end(len(observations), observations)
        return self._outlet.put(observations)

    def follow_up(self, live: Live, observations: Sequence[Observation], signals: Signals | None) -> None:
        """What nobody waits for: traffic is compared with the calibration, and the shadow says what it thinks.

        Args:
            live: what they ran under.
            observations: of traffic.
            signals: row i is observation i; None = there are none.
        """
        for each in observations:
            self._lookout.add(each)
        if live.shadow is None or signals is None:
            return
        verdicts = live.shadow.score([each.verdict for each in observations], signals)
        if verdicts:
            beside = [shadowed(each, verdict) for each, verdict in zip(observations, verdicts, strict=True)]
            self._outlet.put(beside)

    def load_again(self) -> Future[Live]:
        """Reads the file again and loads what it names in a thread of its own, while everything goes on as it is.

        Returns:
            What `reload` takes once it is done; it raises what `reload` refuses.
        """
        loaded: Future[Live] = Future()
        loaded.set_running_or_notify_cancel()
        told = self._live.told

        def load() -> None:
            try:
                loaded.set_result(self._read_again(told))
            # Whatever it is: who waits for it is in another thread.
            except BaseException as err:
                loaded.set_exception(err)

        threading.Thread(target=load, name="sri-reload", daemon=True).start()
        return loaded

    def reload(
        self, fits: Callable[[Live], object] | None = None, loaded: Future[Live] | None = None
    ) -> str | None:  # fmt: skip
        """Reads the file again. Generations that run keep what they began with.

        Args:
            fits: called with what is new; raises an `SriError` where it does not suit the model.
            loaded: of `load_again`, so that nothing is loaded now; None = load it now.

        Returns:
            Why it was refused, on one line, and everything stays as it was; None = it holds from now on.
        """
        with self._reloading:
            before = self._live
            try:
                after = self._read_again(before.told) if loaded is None else loaded.result()
                try:
                    if fits is not None:
                        fits(after)
                    self._look_anew(after)
                except BaseException:
                    after.retire()
                    raise
            except SriError as err:
                problems = err.problems if isinstance(err, ConfigError) and err.problems else (str(err),)
                self._reload_failed = " ".join("; ".join(problems).split())
                log.error("reload refused, everything stays as it was: %s", self._reload_failed)
                return self._reload_failed
            self._live, self._reload_failed = after, None
            _say_shadow(before)
            before.retire()
            log.info("reloaded: mode %s, guard %s", after.told.settings.mode, after.digest[:12])
            return None

    def _look_anew(self, after: Live) -> None:
        """Canaries and drift as the new settings have them; what they have not changed goes on as it is."""
        if (key := lookout_key(after)) == self._looks_for:
            return
        lookout = lookout_of(after, self._lookout)
        before, self._lookout = self._lookout, lookout
        before.yields(lookout)
        self._looks_for = key

    def _read_again(self, before: Told) -> Live:
        if before.source is None:
            raise ConfigError("reload: these settings come from no file. Open the monitor with the path of one.")
        told = read_monitor(before.source)
        changed = [each for each in FIXED if getattr(told.settings, each) != getattr(before.settings, each)]
        if told.config != before.config:
            changed.append("config")
        if changed:
            raise ConfigError(
                f"{before.source}: {', '.join(dict.fromkeys(changed))}: {RELOAD_CANNOT} {', '.join(FIXED)}. "
                "Restart the monitor, or put these back."
            )
        return Live.open(told, self._model)

    def flush(self, timeout: float = CLOSE_S) -> bool:
        """Waits until every sink has what was recorded, at most `timeout` seconds; says whether."""
        return self._outlet.flush(timeout)

    def close(self, timeout: float = CLOSE_S) -> bool:
        """Delivers for at most `timeout` seconds and lets go of everything; what is left stays in the spool.

        Returns:
            Whether every sink has everything. Calling it twice is fine. In a forked child it does nothing.
        """
        if os.getpid() != self._process:
            # Files, locks and threads are the parent's, which goes on.
            return False
        if self._closed:
            return True
        self._closed = True
        done = self._outlet.close(timeout)
        self._lookout.close()
        _say_shadow(self._live)
        self._live.retire()
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _say_shadow(live: Live) -> None:
    """How its shadow differed, since its counts end with it."""
    if live.shadow is not None and (words := live.shadow.words):
        log.info("%s", words)
