"""What a monitor does to know whether its guard still works: canaries, drift, and what it says of both.

lookout = Lookout.open(canaries, drift, scorer=..., folder=..., policy=..., config=..., state=...)
for canary in lookout.due(time.monotonic()): generate canary.prompt under a policy that only reports
lookout.ran(observations, signals)      # of canaries; row i of the signals is observation i
lookout.add(observation)                # of traffic
lookout.missed, lookout.drift           # for the pulse
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from sri_sdk.calibrate.drift import PartDrift
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ConfigError, MissingExtra
from sri_sdk.fitting.canary_state import RATE, STATE, WINDOW, calibration_of
from sri_sdk.monitor.canaries import CanaryPrompt, CanarySchedule, MustFlag, must_flag
from sri_sdk.monitor.canary_book import CanaryBook, book_claimed
from sri_sdk.monitor.drift import DriftWatch, TrafficWatch
from sri_sdk.monitor.lookout_settings import CanariesSection, DriftSection, HarmfulSection
from sri_sdk.monitor.traffic_looks import LOOKS, keep_look, next_look
from sri_sdk.observation import Observation
from sri_sdk.policy import Policy
from sri_sdk.records import Signals, Verdict
from sri_sdk.scoring.scorer import Scorer

log = logging.getLogger("sri_sdk.monitor")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a lookout was made from, so that the next one can take over what has not changed."""

    canaries: CanariesSection | None
    drift: DriftSection
    policy: Policy
    folder: Path
    harmful: MustFlag | None


class Lookout:
    """Canaries and drift of one monitor under one guard; after a reload there is another one.

    `add` may be called by any thread; the others by the one that generates.
    """

    def __init__(
        self, scorer: Scorer, policy: Policy, accept: Collection[str], *, schedule: CanarySchedule | None,
        drift: DriftWatch | None, book: CanaryBook | None, traffic: TrafficWatch | None, looks: Path | None,
        blind: Sequence[str], parts: _Parts,
    ) -> None:  # fmt: skip
        """Use `open`."""
        self._scorer, self._policy, self._accept = scorer, policy, tuple(accept)
        self._schedule, self._drift, self._book = schedule, drift, book
        self._traffic, self._looks, self._parts = traffic, looks, parts
        self.blind = tuple(blind)
        """What is not looked at, and why, in sentences for the operator."""
        self._since = int(time.time() * 1000)
        self._lock = threading.Lock()
        self._said: set[str] = set()

    @classmethod
    def open(
        cls, canaries: CanariesSection | None, drift: DriftSection | None, *, scorer: Scorer, folder: Path,
        policy: Policy, state: Path, config: FitConfig | None = None, accept: Collection[str] = (),
        before: Lookout | None = None, check: bool = False,
    ) -> Self:  # fmt: skip
        """Takes up what earlier processes left, or the lookout that this one is to replace.

        Where it raises, that one and the files are as they were. Otherwise hand the old one the new one with `yields`.

        Args:
            canaries: what is asked; None = nothing.
            drift: when scores count as changed; None = the default for canaries, and traffic is not compared.
            scorer: of the guard.
            folder: of the guard.
            policy: of the operator: its rule and debouncing.
            state: folder of this deployment, for what is its own.
            config: of the fit; needed for canaries.
            accept: soft fields of the fingerprint that may differ.
            before: of the same monitor, which goes on until this one takes its place; None = there is none. What it
                has found stays found while the guard is the same.
            check: only read what is there: no file is claimed or written, and no look is spent.

        Raises:
            ConfigError: the guard, the dataset or the file of canaries does not allow it.
            MissingExtra: drift is looked for, and scipy is not installed.
        """
        digest, section = scorer.bundle.digest, drift or DriftSection(traffic=False)
        if before is not None and before._scorer.bundle.digest != digest:
            before = None
        harmless = None if canaries is None else canaries.harmless
        if harmless is not None or section.traffic:
            _needs_scipy()
        if canaries is not None and config is None:
            raise ConfigError(
                "canaries: need a config, whose dataset they come from. Give `config`, or leave them out."
            )
        harmful = None
        if canaries is not None and canaries.harmful is not None and config is not None:
            harmful = _harmful(canaries.harmful, config, policy, before)
        with ExitStack() as opened:
            schedule, book, watch, fresh = None, None, None, None
            if canaries is not None and config is not None:
                if (path := _state_of(canaries, folder)) is not None:
                    book, watch = _kept(path, canaries, section, scorer, folder, before, opened, check=check)
                    if harmful is not None and (before is None or harmful is not before._parts.harmful):
                        _take_up(harmful, book, policy)
                if book is not None and harmless is not None:
                    fresh = partial(book.fresh, config, harmless.split)
                count = 1 if harmless is None else harmless.count
                schedule = CanarySchedule(canaries.every_s, harmful, fresh, count)
            # Last, since a look that was begun is spent.
            traffic, looks, blind = _traffic(section, scorer, policy, state, before, check=check)
            opened.pop_all()
        parts = _Parts(canaries, section, policy, folder, harmful)
        made = cls(
            scorer, policy, accept, schedule=schedule, drift=watch, book=book, traffic=traffic, looks=looks,
            blind=blind, parts=parts,
        )  # fmt: skip
        if before is not None:
            # Both may have one look at traffic, while threads still come with what began before.
            made._lock = before._lock
        return made

    # -- what the loop calls ---------------------------------------------------------------------------------

    def due(self, now: float) -> list[CanaryPrompt]:
        """Canaries to generate now; see `CanarySchedule.due`. An error is logged, and none is due."""
        if self._schedule is None:
            return []
        try:
            return self._schedule.due(now)
        except Exception as err:
            self._failed("canaries", err)
            return []

    def ran(self, observations: Sequence[Observation], signals: Signals | None) -> None:
        """Takes what came of canaries. An error is logged, never raised.

        Args:
            observations: of canaries; others are left out.
            signals: row i is observation i; None = there are none.
        """
        if self._schedule is None:
            return
        for row, observation in enumerate(observations):
            try:
                canary = self._schedule.ran(observation)
                if canary is not None and canary.kind == "harmless" and self._drift is not None:
                    self._drift.add(canary.source, self._final(observation.verdict, signals, row))
            except Exception as err:
                self._failed("canaries", err)
        self._keep()
        if (part := self.drifted) is not None:
            self._say(f"drift: canaries no longer score as the calibration did ({part})")

    def add(self, observation: Observation) -> None:
        """Takes one observation of traffic; others are left out. An error is logged, never raised."""
        if self._traffic is None or observation.kind != "traffic":
            return
        if observation.verdict.bundle != self._scorer.bundle.digest:
            # It began under a guard that a reload has replaced, whose scores mean something else.
            return
        with self._lock:
            try:
                before = self._traffic.look
                self._traffic.add(observation)
                if self._traffic.look != before and self._looks is not None:
                    keep_look(self._looks, self._scorer.bundle.digest, self._traffic.look)
            except Exception as err:
                self._failed("drift.traffic", err)
        if (part := self.changed) is not None:
            self._say(
                f"drift: clear traffic no longer scores as the calibration did ({part}); requests may have changed, or "
                "the model, or attacks are missed"
            )

    # -- what is known ---------------------------------------------------------------------------------------

    @property
    def missed(self) -> str | None:
        """Why no harmful canary was flagged the last time; None = one was, or none has run."""
        return None if self._schedule is None else self._schedule.missed

    @property
    def exhausted(self) -> bool:
        """Whether no fresh harmless prompt is left, so that drift is no longer looked for by canaries."""
        return self._schedule is not None and self._schedule.exhausted

    @property
    def drifted(self) -> str | None:
        """Part of the guard that canaries have found to have drifted; None = none has, or nobody looks."""
        return None if self._drift is None else self._drift.drifted

    @property
    def changed(self) -> str | None:
        """Part of the guard on which clear traffic scores otherwise than the calibration did; None = none, or nobody
        looks."""
        return None if self._traffic is None else self._traffic.changed

    @property
    def drift(self) -> str | None:
        """What a pulse says: the part that canaries found; else `traffic:` and the part that traffic alone did."""
        if (part := self.drifted) is not None:
            return part
        return None if (part := self.changed) is None else f"traffic:{part}"

    @property
    def looked(self) -> int | None:
        """Scores compared so far, of canaries or else of clear traffic; None = nobody looks for drift."""
        if self._drift is not None:
            return self._drift.scored
        return None if self._traffic is None else self._traffic.looked

    @property
    def looks(self) -> tuple[str, ...]:
        """What is not looked at although somebody asked for it, in sentences."""
        found = list(self.blind)
        if self.exhausted:
            found.append("canaries.harmless: the split has no fresh prompt left, so canaries look for drift no longer")
        if self._book is not None and self._book.trouble is not None:
            found.append(f"canaries.state: {self._book.trouble}")
        return tuple(found)

    @property
    def pulse(self) -> dict[str, Any]:
        """Fields of a pulse that say whether anybody looks at all."""
        schedule = self._schedule
        harmful = None if schedule is None else schedule.harmful
        return {
            "canary_at": None if schedule is None else schedule.flagged_at,
            "canary_every_s": None if schedule is None or harmful is None else schedule.every_s,
            "canaries_since": None if schedule is None or harmful is None else self._since,
            "canaries_wanted": None if harmful is None else harmful.count,
            "canaries_proven": None if harmful is None else harmful.found,
            "drift_looked": self.looked,
            "looks": self.looks,
        }

    @property
    def findings(self) -> tuple[PartDrift, ...]:
        """Of canaries, part by part; empty = nobody looks."""
        return () if self._drift is None else self._drift.findings

    @property
    def traffic_findings(self) -> tuple[PartDrift, ...]:
        """Of the look at traffic that is on, part by part; empty = nobody looks."""
        return () if self._traffic is None else self._traffic.findings

    def yields(self, after: Lookout) -> None:
        """Lets go of what the lookout that takes its place does not go on with, and tells it what it cannot know."""
        if self._schedule is not None and after._schedule is not None and after._schedule.flagged_at is None:
            after._schedule.flagged_at = self._schedule.flagged_at
        if self._book is not after._book:
            self.close()

    def close(self) -> None:
        """Lets go of the file of canaries; calling it twice is fine."""
        if self._book is not None:
            self._book.close()

    # -- internals -------------------------------------------------------------------------------------------

    def _final(self, verdict: Verdict, signals: Signals | None, row: int) -> Verdict:
        """The verdict by the rule final, whose scores canaries are compared by, with the steps that were seen."""
        if verdict.rule == "final" or verdict.status == "unmonitored" or signals is None:
            return verdict if verdict.rule == "final" else replace(verdict, status="unmonitored", parts=())
        (final,) = self._scorer.score(signals.take([row]), rule="final", accept=self._accept)
        return replace(final, steps_seen=verdict.steps_seen)

    def _keep(self) -> None:
        if self._book is None or self._schedule is None or self._schedule.harmful is None:
            return
        try:
            self._book.keep(*self._schedule.harmful.memory, by=_said(self._policy))
        except Exception as err:
            self._failed("canaries.state", err)

    def _failed(self, what: str, err: Exception) -> None:
        self._say(f"{what}: failed with {type(err).__name__}")

    def _say(self, line: str) -> None:
        # Once: these come again with every generation.
        if line not in self._said:
            self._said.add(line)
            log.error("%s", line)


def _harmful(section: HarmfulSection, config: FitConfig, policy: Policy, before: Lookout | None) -> MustFlag:
    """The prompts that must be flagged; those of the same guard go on where nothing of theirs has changed."""
    known = None if before is None else before._parts.harmful
    if before is None or known is None:
        return must_flag(section, config)
    parts = before._parts
    if parts.canaries is not None and parts.canaries.harmful == section and _judges(parts.policy) == _judges(policy):
        return known
    found = must_flag(section, config)
    found.missed = known.missed
    return found


def _take_up(harmful: MustFlag, book: CanaryBook, policy: Policy) -> None:
    """What an earlier process found, if it judged in the same way."""
    state = book.state
    if state.harmful_by == _said(policy):
        harmful.take_up(state.harmful_flagged, state.harmful_tried)


def _said(policy: Policy) -> str:
    return " ".join(map(str, _judges(policy)))


@contextmanager
def canaries_claimed(canaries: CanariesSection | None, folder: Path) -> Iterator[None]:
    """Keeps other processes from the file of canaries, before there is a lookout that does; see `book_claimed`.

    Args:
        canaries: as the settings have them.
        folder: of the guard.

    Raises:
        ConfigError: another process has it.
    """
    path = _state_of(canaries, folder)
    with nullcontext() if path is None else book_claimed(path):
        yield


def _state_of(canaries: CanariesSection | None, folder: Path) -> Path | None:
    """The file of canaries; None = these settings need none."""
    if canaries is None or (canaries.harmless is None and canaries.state is None):
        return None
    return canaries.state or folder / STATE


def _kept(
    path: Path, canaries: CanariesSection, section: DriftSection, scorer: Scorer, folder: Path, before: Lookout | None,
    opened: ExitStack, *, check: bool,
) -> tuple[CanaryBook, DriftWatch | None]:  # fmt: skip
    """The file of canaries, and what harmless ones have found; both go on where nothing of theirs has changed."""
    if before is not None and before._book is not None:
        parts = before._parts
        assert parts.canaries is not None
        same = (canaries.harmless, canaries.state, section.rate, section.window, folder) == (
            parts.canaries.harmless, parts.canaries.state, parts.drift.rate, parts.drift.window, parts.folder,
        )  # fmt: skip
        if same:
            return before._book, before._drift
    calibration = None if canaries.harmless is None else calibration_of(scorer.manifest, folder)
    begin = CanaryBook.read if check else CanaryBook.open
    book = begin(path, scorer.bundle.digest, rate=section.rate, window=section.window)
    opened.callback(book.close)
    return book, None if calibration is None else DriftWatch(calibration, book)


def _traffic(
    section: DriftSection, scorer: Scorer, policy: Policy, state: Path, before: Lookout | None, *, check: bool
) -> tuple[TrafficWatch | None, Path | None, list[str]]:
    """The look at traffic, the file that says which one it is, and what is not looked at."""
    if not section.traffic:
        return None, None, []
    if policy.debounce is not None:
        return None, None, ["drift.traffic: not compared, since debounced scores are not those of the calibration"]
    known = None if before is None else before._traffic
    if before is not None and known is not None:
        parts = before._parts
        if (parts.drift.rate, parts.drift.window, parts.policy.rule) == (section.rate, section.window, policy.rule):
            return known, before._looks, []
    looks, digest = state / LOOKS, scorer.bundle.digest
    number = next_look(looks, digest)
    traffic = TrafficWatch.of(
        scorer.manifest, policy.rule, rate=section.rate or RATE, window=section.window or WINDOW, look=number,
        found=None if known is None else known.changed,
    )  # fmt: skip
    if not check:
        keep_look(looks, digest, number)
    return traffic, looks, []


def _judges(policy: Policy) -> tuple[object, ...]:
    """What decides whether a generation is flagged."""
    return policy.rule, policy.debounce


def _needs_scipy() -> None:
    try:
        import scipy.stats  # noqa: F401
    except ImportError as err:
        raise MissingExtra("Looking for drift", extra="train") from err
