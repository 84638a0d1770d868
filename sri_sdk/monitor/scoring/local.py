"""Scoring in a process of its own on this machine: started, watched, and started again when it ends."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from pathlib import Path

from sri_sdk.client.client import VerdictClient
from sri_sdk.monitor.scoring.child import NAME, READY
from sri_sdk.monitor.scoring.place import Place
from sri_sdk.monitor.scoring.remote import RemotePlace
from sri_sdk.monitor.settings import GuardSection
from sri_sdk.reason_words import SCORER_UNAVAILABLE
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.guard import BUNDLE
from sri_sdk.serve.settings import BundleSection, ServeSettings

log = logging.getLogger("sri_sdk.monitor")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
"""Seconds before it is started again: the first time, doubled with each that did not live, and the most."""
LIVED_S = 30.0
"""Seconds after which one that ends has lived, and the pauses begin anew."""


class LocalPlace(Place):
    """A supervised child that has the guard's bundle."""

    def __init__(self, guard: GuardSection, budget_s: float) -> None:
        """Starts it, and returns before it is ready.

        Args:
            guard: whose bundle it has, and what that must prove: it checks for itself.
            budget_s: most seconds that a call takes.
        """
        # Sockets have short paths; the working directory of an operator may not.
        self._folder = Path(tempfile.mkdtemp(prefix="sri-scorer-"))
        self._socket = self._folder / "socket"
        settings = ServeSettings(
            bundles={NAME: BundleSection(path=_bundle_of(guard.path), trust=guard.trust)}, uds=self._socket
        )
        self._told = settings.model_dump_json()
        self._budget_s = budget_s
        self._lock = threading.Condition()
        self._scorer: RemotePlace | None = None
        self._process: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self.restarts = 0
        """How often it was started again."""
        self._thread = threading.Thread(target=self._supervise, name="sri-local-scorer", daemon=True)
        self._thread.start()

    def score(self, signals: Signals, rule: Rule, accept: Collection[str]) -> list[Verdict]:
        """See `Place.score`; while it is started again, nobody waits for it."""
        with self._lock:
            scorer = self._scorer
        if scorer is None:
            return [Verdict(each, "unmonitored", (SCORER_UNAVAILABLE,), rule=rule) for each in signals.ids]
        return scorer.score(signals, rule, accept)

    def wait_ready(self, timeout: float) -> bool:
        """See `Place.wait_ready`."""
        with self._lock:
            return self._lock.wait_for(lambda: self._scorer is not None, timeout)

    @property
    def trouble(self) -> str | None:
        """See `Place.trouble`."""
        with self._lock:
            return SCORER_UNAVAILABLE if self._scorer is None else self._scorer.trouble

    @property
    def pid(self) -> int | None:
        """Of the child; None = none runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def close(self) -> None:
        """Ends the child."""
        if self._closing.is_set():
            return
        self._closing.set()
        if (process := self._process) is not None:
            process.terminate()
        self._thread.join(5.0)
        if self._thread.is_alive() and (process := self._process) is not None:
            process.kill()
            self._thread.join(5.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- the thread ------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._run_once()
            except OSError as err:
                log.error("the scorer cannot be started: %s", err.strerror or type(err).__name__)
            if self._closing.is_set():
                return
            pause = FIRST_PAUSE_S if time.monotonic() - began > LIVED_S else pause
            log.warning("the local scorer has ended; it is started again in %.1f s", pause)
            if self._closing.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)
            self.restarts += 1

    def _run_once(self) -> None:
        """Starts the child, and returns when it has ended."""
        command = [sys.executable, "-m", "sri_sdk.monitor.scoring.child", self._told]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        with process:
            self._process = process
            if self._closing.is_set():
                process.terminate()
            assert process.stdout is not None
            if process.stdout.readline().strip() == READY:
                client = VerdictClient(f"unix:{self._socket}", budget_s=self._budget_s, heartbeat_s=0.0, failures=100)
                with self._lock:
                    self._scorer = RemotePlace(client, NAME)
                    self._lock.notify_all()
            # Its output ends with it.
            process.stdout.read()
            process.wait()
        with self._lock:
            scorer, self._scorer = self._scorer, None
        if scorer is not None:
            scorer.close()


def _bundle_of(guard: Path) -> Path:
    """The bundle of a guard's folder; a bundle that was named itself stays as it is."""
    inside = (guard / BUNDLE).resolve()
    return inside if inside.exists() else guard.resolve()
