"""How far a reader's verdicts are from Python's, and whether they may be.

Two runtimes round differently, so a score may differ by the room that golden rows have (`Threshold.allowed`), and a
score within that room of the threshold may be flagged by one and clear to the other. Nothing else may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.runtime import score_prefixes, score_rows
from sri_sdk.scoring.scorer import Scorer

EXACT = "request_id", "threshold", "steps_seen", "steps_expected", "rule", "bundle", "accepted", "schema"
"""Fields of a verdict that no rounding moves."""


@dataclass(frozen=True)
class Differences:
    """Of one reader, over rows, rules and bundles."""

    rows: int = 0
    """Verdicts compared."""
    gap: float = 0.0
    """Largest difference of a score."""
    in_tolerances: float = 0.0
    """The same in units of the rule's tolerance."""
    in_spreads: float = 0.0
    """The same in units of the calibration scores' spread (99 % quantile less median)."""
    in_rooms: float = 0.0
    """The same in units of the room each score has; above 1 = not within what golden rows may differ by."""
    in_band: int = 0
    """Rows that one flags and the other does not, with a score so close to the threshold that they may."""
    flipped: int = 0
    """Rows with another status that may not have it."""
    reasons: int = 0
    """Rows with the same status and other reasons."""
    steps: int = 0
    """Rows with another first alarm, whose scores are not close enough to the threshold to explain it."""
    p_values: int = 0
    """Rows with a p-value outside the range that the score's room makes of it."""
    others: int = 0
    """Rows in which anything else differs."""
    believed: int = 0
    """Rows that cannot be read and were judged, or give another reason for it."""

    def __add__(self, other: Differences) -> Differences:
        """Of both."""
        largest = {"gap", "in_tolerances", "in_spreads", "in_rooms"}
        values = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Differences(**{name: max(two) if name in largest else sum(two) for name, two in values.items()})

    @property
    def wrong(self) -> int:
        """How much may not be; 0 = the readers agree."""
        forbidden = self.flipped, self.reasons, self.steps, self.p_values, self.others, self.believed
        return sum(forbidden) + (self.in_rooms > 1)


@dataclass(frozen=True)
class Expected:
    """What Python says of some signals under one rule."""

    rule: Rule
    verdicts: tuple[Verdict, ...]
    scorer: Scorer
    unreadable: tuple[str | None, ...]
    """[N] the reason why a row cannot be read to its end, or None; worked out from the cells, not from verdicts."""
    from_the_start: NDArray[np.bool_]
    """[N] rows of which nothing can be read."""
    closest: NDArray[np.float64]
    """[N] distance to the threshold of the closest score of a row that counts, in units of its room."""
    room: NDArray[np.float64]
    """[N] how far another reader's score may be; 0 = there is no score."""
    p_range: NDArray[np.float64]
    """[N, 2] the p-values that the room allows."""
    spread: float
    """Of the calibration scores: 99 % quantile less median."""

    @classmethod
    def of(cls, scorer: Scorer, signals: Signals, rule: Rule) -> Self:
        """Of signals in the form the guard reads."""
        signal = scorer.manifest.signal
        values, lengths = signals.domain(signal.domain), np.asarray(signals.lengths)
        found = [_why(row[:length], length, rule, signal) for row, length in zip(values, lengths, strict=True)]
        started = [_why(row[:1], 1, "online", signal) is None for row in values]
        none = lengths == 0 if rule == "online" else np.array([why is not None for why in found])
        threshold, verdicts = scorer.thresholds[rule], tuple(scorer.score(signals, rule=rule))
        scores = np.array([np.nan if verdict.score is None else verdict.score for verdict in verdicts], np.float32)
        room = np.nan_to_num(threshold.allowed(scores))
        ends = np.stack([threshold.p_values((scores + way * room).astype(np.float32)) for way in (1, -1)], axis=1)
        spread = float(np.quantile(threshold.scores, 0.99) - np.median(threshold.scores))
        return cls(
            rule, verdicts, scorer, tuple(found), none | ~np.array(started), _closest(scorer, values, lengths, rule),
            room, ends, spread,
        )  # fmt: skip

    def kinds(self) -> dict[str, int]:
        """How many rows there are of each kind."""
        statuses = Counter(str(verdict.status) for verdict in self.verdicts)
        return {**statuses, "within a room of the threshold": int((self.closest <= 1).sum())}

    def differences(self, found: Sequence[dict[str, Any]]) -> Differences:
        """Of a reader's verdicts on the same rows."""
        assert len(found) == len(self.verdicts), f"{len(found)} verdicts of {len(self.verdicts)} rows"
        total = Differences()
        for row, verdict in enumerate(found):
            total += self._difference(row, verdict)
        return total

    def _difference(self, row: int, found: dict[str, Any]) -> Differences:
        threshold, ours, room = self.scorer.thresholds[self.rule], self.verdicts[row].to_dict(), float(self.room[row])
        score = ours["score"]
        if score is None and found["score"] is not None:
            score, room = found["score"], float(threshold.allowed(np.array([found["score"]]))[0])
        same, gap, p_value = ours["status"] == found["status"], 0.0, False
        near = score is not None and abs(score - threshold.value) <= room
        if ours["score"] is not None and found["score"] is not None:
            gap = abs(found["score"] - ours["score"])
            low, high = self.p_range[row]
            p_value = bool(not low <= found["p_value"] <= high)
        return Differences(
            rows=1,
            gap=gap,
            in_tolerances=gap / threshold.tolerance,
            in_spreads=gap / self.spread,
            in_rooms=gap / room if room else 0.0,
            in_band=not same and near,
            flipped=not same and not near,
            reasons=same and ours["reasons"] != found["reasons"],
            steps=same and ours["first_alarm_step"] != found["first_alarm_step"] and self.closest[row] > 1,
            p_values=p_value,
            others=any(ours[name] != found[name] for name in EXACT) or list(ours) != list(found),
            believed=self._believed(row, found),
        )

    def _believed(self, row: int, found: dict[str, Any]) -> bool:
        why = self.unreadable[row]
        if why is None:
            return False
        # What was seen before may have raised an alarm, which stands.
        allowed = {"unmonitored"} if self.from_the_start[row] else {"unmonitored", "flagged"}
        return found["status"] not in allowed or found["reasons"][-1:] != [why]


def _why(seen: NDArray[np.float32], length: int, rule: Rule, signal: Any) -> str | None:
    if length == 0 or (rule == "final" and length < signal.cells):
        return "incomplete_signal"
    if not np.isfinite(seen).all():
        return "non_finite_signal"
    fine = (seen > np.float32(signal.low)) & (seen < np.float32(signal.high))
    return None if fine.all() else "signal_out_of_range"


def _closest(scorer: Scorer, values: NDArray[Any], lengths: NDArray[np.int64], rule: Rule) -> NDArray[np.float64]:
    threshold = scorer.thresholds[rule]
    if rule == "final":
        scores, valid = (each[:, None] for each in score_rows(scorer._signal, values))
        due = valid & (lengths == values.shape[1])[:, None]
    else:
        scores, valid = score_prefixes(scorer._prefix, values)
        due = valid & (np.arange(values.shape[1]) < lengths[:, None])
    room = threshold.allowed(scores.ravel()).reshape(scores.shape)
    apart: NDArray[np.float64] = np.where(due, np.abs(scores.astype(np.float64) - threshold.value) / room, np.inf)
    return np.asarray(apart.min(axis=1))
