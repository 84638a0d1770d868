"""A second guard says what it thinks of the same generations; nothing follows from it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sri_sdk.bundle.manifest_v2 import AnyManifest
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.policy import Policy
from sri_sdk.records import Signals, Verdict
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.serve.settings import ShadowSection

log = logging.getLogger("sri_sdk.monitor")

_WORDS = {
    "same": "judged alike",
    "only_live": "flagged by the live guard alone",
    "only_shadow": "flagged by the shadow alone",
    "unscored": "that one of them could not judge",
    "failed": "not judged, since it failed",
}


class ShadowGuard:
    """The bundle of a guard that is calibrated anew, say, beside the live one.

    Any thread may call it. It reads the live guard's signals, so it must have been made with the same anchors.
    """

    def __init__(self, scorer: Scorer, policy: Policy, accept: Collection[str] = ()) -> None:
        """Use `open`."""
        self._scorer, self._policy, self._accept = scorer, policy, tuple(accept)
        self._lock, self._counts = threading.Lock(), Counter[str]()
        self._failing = False

    @classmethod
    def open(
        cls, section: ShadowSection, live: AnyManifest, policy: Policy, accept: Collection[str] = ()
    ) -> ShadowGuard:  # fmt: skip
        """Loads the bundle.

        Args:
            section: where it is, and what it must prove.
            live: manifest of the live guard.
            policy: whose rule, and debouncing, the live guard decides by.
            accept: soft fields of the fingerprint that may differ.

        Raises:
            BundleError: see `Scorer.open`.
            ConfigError: it reads other signals than the live guard does, or does not have its rule.
        """
        trust = section.trust
        scorer = Scorer.open(section.path, public_key=trust.public_key, digest=trust.digest)
        mine, its = _reads(scorer.manifest), _reads(live)
        if other := [name for name in its if mine[name] != its[name]]:
            raise ConfigError(
                f"shadow.path: {section.path}: differs from the live guard in {', '.join(other)}, so it cannot read "
                "the same signals. A guard that was calibrated anew with `sri fit --recalibrate` can be a shadow; one "
                "with other anchors is compared offline, see docs/when-the-model-changes.md."
            )
        if policy.rule not in scorer.rules:
            raise ConfigError(
                f"shadow.path: {section.path}: has no rule {policy.rule!r}, by which the policy decides; it has: "
                f"{', '.join(scorer.rules)}."
            )
        return cls(scorer, policy, accept)

    @property
    def digest(self) -> str:
        """Of its bundle."""
        return self._scorer.bundle.digest

    @property
    def counts(self) -> Mapping[str, int]:
        """Outcome -> generations: `same`; `only_live` and `only_shadow` = flagged by that one alone; `unscored` = one
        of the two could not say; `failed` = the shadow raised."""
        with self._lock:
            return dict(self._counts)

    @property
    def words(self) -> str:
        """The counts in a line for the log; empty as long as it has judged nothing."""
        with self._lock:
            counts = self._counts.copy()
        parts = [f"{counts[name]} {words}" for name, words in _WORDS.items() if counts[name]]
        return f"shadow {self.digest[:12]}: {', '.join(parts)}" if parts else ""

    def score(self, live: Sequence[Verdict], signals: Signals) -> list[Verdict]:
        """What it says of generations that the live guard has judged, and counts where the two differ.

        A generation that the live guard could not judge is unmonitored here as well, for the same reasons. An error is
        logged and counted, never raised.

        Args:
            live: verdicts, one per row.
            signals: of the same generations.

        Returns:
            One verdict per row; empty where it failed.
        """
        try:
            found = self._scorer.score(
                signals, rule=self._policy.rule, accept=self._accept, debounce=self._policy.debounce
            )
        except Exception as err:
            if not self._failing:
                # Its message may name the signals of somebody; those of the SDK's own do not.
                log.error("shadow: fails (%s)", err if isinstance(err, SriError) else type(err).__name__)
            self._failing = True
            with self._lock:
                self._counts["failed"] += len(live)
            return []
        self._failing = False
        verdicts = [self._after(mine, its) for mine, its in zip(live, found, strict=True)]
        with self._lock:
            self._counts.update(outcome(mine, its) for mine, its in zip(live, verdicts, strict=True))
        return verdicts

    def _after(self, live: Verdict, own: Verdict) -> Verdict:
        """Its verdict, with what only the tap knows of the generation."""
        found = replace(
            own, steps_seen=live.steps_seen, steps_expected=live.steps_expected, judged_steps=live.judged_steps,
            ended=live.ended,
        )  # fmt: skip
        if live.status not in ("clear", "flagged"):
            # What was not seen whole has signals as well, and they say nothing.
            return replace(
                found, status=live.status, reasons=live.reasons, score=None, p_value=None, first_alarm_step=None,
                parts=(),
            )  # fmt: skip
        return found


def outcome(live: Verdict, shadow: Verdict) -> str:
    """How two verdicts on one generation differ; see `ShadowGuard.counts`."""
    if live.status not in ("clear", "flagged") or shadow.status not in ("clear", "flagged"):
        return "unscored"
    if live.status == shadow.status:
        return "same"
    return "only_live" if live.status == "flagged" else "only_shadow"


def _reads(manifest: AnyManifest) -> dict[str, object]:
    """What makes the signals that a bundle reads."""
    request = getattr(manifest.anchors, "request", None)
    return {
        "anchors": manifest.anchors.sha256,
        "request map": None if request is None else request.sha256,
        "cells": manifest.signal.cells,
        "columns": len(manifest.ranges[0]),
        "tau": manifest.tau,
        "eps": manifest.eps,
    }
