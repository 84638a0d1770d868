"""Whether harmless canaries, and clear traffic, still score as the calibration did."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.manifest_v2 import AnyManifest, thresholds_of
from sri_sdk.calibrate.drift import Canaries, Exchangeability, PartDrift
from sri_sdk.config.fit import ONLY_PART
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.canary_state import canary_of
from sri_sdk.monitor.canary_book import CanaryBook
from sri_sdk.observation import Observation
from sri_sdk.records import Prompt, Rule, Verdict

LOOK = 5000
"""Scores of traffic that one look compares; then the next look begins with the calibration alone."""
PER_SECOND, BURST = 5.0, 50.0
"""Scores of traffic that are compared at most, on average and at once; which ones does not depend on what they are."""


class DriftWatch:
    """Canaries of one guard, those of earlier processes included."""

    def __init__(self, calibration: Mapping[str, NDArray[Any]], book: CanaryBook) -> None:
        """Takes up what the book holds.

        Args:
            calibration: part of the guard -> its calibration scores [n] under the rule final.
            book: of the guard's canaries.
        """
        self._book = book
        state = book.state
        self._stream = Canaries(calibration, rate=state.rate, window=state.window, seed=state.bundle)
        for canary in state.canaries:
            if canary.scores is not None:
                self._stream.add(canary.prompt, canary.scores)

    def add(self, prompt: Prompt, verdict: Verdict) -> None:
        """Takes one canary, and writes it down.

        Args:
            prompt: as the dataset has it.
            verdict: by the rule final, with the steps that were seen.
        """
        canary = canary_of(prompt, verdict)
        if canary.scores is not None:
            self._stream.add(canary.prompt, canary.scores)
        self._book.add(canary)

    @property
    def scored(self) -> int:
        """Canaries since the calibration that say something."""
        return len(self._stream)

    @property
    def unmonitored(self) -> Mapping[str, int]:
        """Reason -> canaries that could not be scored."""
        return self._book.unmonitored

    @property
    def findings(self) -> tuple[PartDrift, ...]:
        """Part by part."""
        return self._stream.findings()

    @property
    def drifted(self) -> str | None:
        """The first part that has drifted; it stays found until the guard is calibrated anew. None = none has."""
        return next((each.name for each in self.findings if each.drift), None)


class TrafficWatch:
    """Scores of clear traffic against the calibration scores that are not above the threshold.

    If requests are exchangeable with the calibration, those that are clear are exchangeable with the calibration scores
    that would be. Requests change without any fault, and an attack that is missed is clear, so a finding says that
    somebody should look, not that the guard is broken.

    Looks follow one another; look j may spend 1 / (j (j + 1)) of the rate, which adds up to all of it. A process that
    begins takes the next look, so restarts cost power and never the promise.
    """

    def __init__(
        self, calibration: Mapping[str, NDArray[Any]], *, rate: float, window: int, look: int = 1,
        clock: Callable[[], float] = time.monotonic, seed: int | None = None, found: str | None = None,
    ) -> None:  # fmt: skip
        """Takes what clear traffic is compared with.

        Args:
            calibration: part -> its calibration scores [n] at or below the threshold, under the rule of the traffic.
            rate: how often a change may be found that is none, over the life of the calibration.
            window: scores per window.
            look: number of the first look, from 1.
            clock: seconds that never go back.
            seed: of the random numbers that break ties; None = of the system.
            found: part that an earlier look of this guard has found; None = none has.
        """
        self._calibration, self._rate, self._window = dict(calibration), rate, window
        self.look, self._clock = look, clock
        self._allowed, self._then = BURST, clock()
        self._random = np.random.default_rng(seed)
        self._found = found
        self.looked = 0
        """Observations compared so far, in all looks of this process."""
        self._begin()

    @classmethod
    def of(
        cls, manifest: AnyManifest, rule: Rule, *, rate: float, window: int, look: int = 1, found: str | None = None
    ) -> TrafficWatch:  # fmt: skip
        """The watch of a guard's traffic.

        Raises:
            ConfigError: the guard has thresholds by group.
        """
        thresholds = [each for each in thresholds_of(manifest) if each.rule == rule]
        if any(each.group for each in thresholds):
            raise ConfigError(
                "drift.traffic: the guard has thresholds by group, whose traffic is not compared yet. Set it to false."
            )
        clear = {}
        for each in thresholds:
            scores = np.asarray(each.threshold.scores, dtype=np.float64)
            clear[each.part or ONLY_PART] = scores[scores <= each.threshold.value]
        return cls(clear, rate=rate, window=window, look=look, found=found)

    def add(self, observation: Observation) -> None:
        """Takes one observation; all but traffic, and parts that are not clear, are left out."""
        verdict = observation.verdict
        if observation.kind != "traffic" or verdict.status not in ("clear", "flagged"):
            return
        parts = {part.name: part.score for part in verdict.parts if part.status == "clear"}
        if not verdict.parts and verdict.status == "clear":
            parts = {ONLY_PART: verdict.score}
        known = {
            name: score
            for name, score in parts.items()
            if score is not None and math.isfinite(score) and name in self._streams
        }
        if not known or not self._may():
            return
        for name, score in known.items():
            # 0 and 1 are no ties.
            self._streams[name].add(score, float(self._random.uniform(1e-9, 1 - 1e-9)))
            if self._found is None and self._streams[name].finding().drift:
                self._found = name
        self._taken += 1
        self.looked += 1
        if self._taken >= LOOK:
            self.look += 1
            self._begin()

    @property
    def changed(self) -> str | None:
        """The first part whose clear traffic scores otherwise than the calibration did; it stays found."""
        return self._found

    @property
    def findings(self) -> tuple[PartDrift, ...]:
        """Of the look that is on, part by part."""
        return tuple(stream.finding() for stream in self._streams.values())

    @property
    def compared(self) -> int:
        """Scores in the look that is on."""
        return self._taken

    def _begin(self) -> None:
        self._taken = 0
        share = self._rate / (self.look * (self.look + 1)) / max(len(self._calibration), 1)
        self._streams = {
            name: Exchangeability(name, scores, rate=share, window=self._window)
            for name, scores in self._calibration.items()
        }

    def _may(self) -> bool:
        now = self._clock()
        self._allowed = min(self._allowed + (now - self._then) * PER_SECOND, BURST)
        self._then = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True
