"""A place that scores, and a scorer that asks it: what a watched generation is given instead of the bundle's own."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from sri_sdk.policy import Debounce
from sri_sdk.reason_words import SCORER_LATE, SCORER_OTHER_GUARD, SCORER_UNAVAILABLE
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.scorer import Scorer

NO_ANSWER = frozenset({SCORER_UNAVAILABLE, SCORER_LATE})
"""What a place says of signals that it could not score."""


class Place(ABC):
    """Scores signals, or says within its budget that it does not."""

    @abstractmethod
    def score(self, signals: Signals, rule: Rule, accept: Collection[str]) -> list[Verdict]:
        """One verdict per generation, in order; `unmonitored` with a code of `NO_ANSWER` where there was no answer."""

    def wait_ready(self, timeout: float) -> bool:
        """Waits until it scores, at most `timeout` seconds; says whether. The default is ready at once."""
        return True

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, as a code of `NO_ANSWER`; None = nothing."""
        return None

    def close(self) -> None:
        """Lets go of everything; calling it twice is fine."""


class PlacedScorer(Scorer):
    """A bundle whose final verdicts come from a place; what a generation is asked meanwhile is scored here.

    It also measures how long verdicts take.
    """

    def __init__(self, scorer: Scorer, place: Place | None) -> None:
        """Takes the bundle as it is loaded here, and where it scores; None = here."""
        super().__init__(scorer.bundle, {"signal": scorer._signal, "prefix": scorer._prefix})
        self._judge = scorer._judge
        self._place, self._other = place, False
        self._last = threading.local()

    def score(
        self, signals: Signals, *, rule: Rule = "final", accept: Collection[str] = (), unverified: bool = False,
        subject: str = "signals", debounce: Debounce | None = None,
    ) -> Sequence[Verdict]:  # fmt: skip
        """As `Scorer.score`; where a place scores, verdicts may be `unmonitored` because it gave no answer, or because
        another guard gave it."""
        began = time.perf_counter()
        try:
            if self._place is not None and rule == "final":
                return self._own(self._place.score(signals, rule, accept))
            return super().score(
                signals, rule=rule, accept=accept, unverified=unverified, subject=subject, debounce=debounce
            )
        finally:
            self._last.seconds = time.perf_counter() - began

    @property
    def trouble(self) -> str | None:
        """What is wrong with where scores are made, as a code; None = nothing."""
        if self._place is None:
            return None
        return self._place.trouble or (SCORER_OTHER_GUARD if self._other else None)

    def _own(self, verdicts: list[Verdict]) -> list[Verdict]:
        """The verdicts of this bundle; those of another one say nothing, whose thresholds are not the promised ones."""
        digest = self.bundle.digest
        others = {
            row
            for row, each in enumerate(verdicts)
            if each.bundle != digest and (each.bundle or each.status in ("clear", "flagged"))
        }
        self._other = bool(others)
        return [
            Verdict(each.request_id, "unmonitored", (SCORER_OTHER_GUARD,), rule=each.rule) if row in others else each
            for row, each in enumerate(verdicts)
        ]

    def took(self) -> float | None:
        """Seconds of the last call in this thread, and forgets it; None = there was none."""
        found: float | None = getattr(self._last, "seconds", None)
        self._last.seconds = None
        return found
