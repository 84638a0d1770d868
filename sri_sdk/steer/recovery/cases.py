"""One flagged generation on its way through a recovery: what may be tried for it, and what that has cost so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sri_sdk.bundle.manifest import Manifest
from sri_sdk.policy import Decision
from sri_sdk.reason_words import TAMPERING
from sri_sdk.records import RecoveryAction, RecoveryName, Verdict
from sri_sdk.recovery_plan import RecoveryBudget

if TYPE_CHECKING:
    from sri_sdk.scoring.scorer import Scorer

ALARM, REQUEST_ALARM = "alarm", "request_alarm"
NOT_ACCEPTED, TAMPERED, NOT_SEEN = "not_accepted", "tampered", "not_seen_whole"
AGAIN = frozenset({"remask", "steer"})
"""Actions that generate again, and count as rounds."""


@dataclass(slots=True)
class Case:
    """Of one row."""

    row: int
    decision: Decision
    budget: RecoveryBudget
    why: str
    """Code of why the next action is taken."""
    may: frozenset[RecoveryName]
    """Actions that make sense for it."""
    rounds: int = 0
    forwards: int = 0
    seconds: float = 0.0
    actions: list[RecoveryAction] = field(default_factory=list)

    def spent(self, action: RecoveryName, *, forwards: int = 1) -> str | None:
        """The part of the budget that leaves no room for an action, as a code; None = there is room.

        Args:
            action: what is to be done.
            forwards: passes that it takes at least.
        """
        if action in AGAIN and self.rounds >= self.budget.rounds:
            return "budget_rounds"
        if self.forwards + forwards > self.budget.forwards:
            return "budget_forwards"
        return "budget_seconds" if self.seconds >= self.budget.seconds else None


def open_case(row: int, decision: Decision, reasons: tuple[str, ...], scorer: Scorer, budget: RecoveryBudget) -> Case:
    """What may be tried for a flagged generation.

    Args:
        row: of the batch.
        decision: about it.
        reasons: why its trace cannot be trusted; empty = it can.
        scorer: of the guard.
        budget: what it may cost.
    """
    verdict = decision.verdict
    if TAMPERING.intersection((*verdict.reasons, *reasons)):
        return Case(row, decision, budget, TAMPERED, frozenset({"refuse"}))
    if reasons:
        # What could not be seen cannot be seen to have recovered either.
        return Case(row, decision, budget, NOT_SEEN, frozenset({"refuse"}))
    if behaviour_alarms(verdict, scorer):
        return Case(row, decision, budget, ALARM, frozenset({"remask", "steer", "judge", "refuse"}))
    return Case(row, decision, budget, REQUEST_ALARM, frozenset({"judge", "refuse"}))


def behaviour_alarms(verdict: Verdict, scorer: Scorer) -> bool:
    """Whether a part alarms that reads how the generation goes; what was asked stays the same whatever is answered."""
    if verdict.rule == "request":
        return False
    if isinstance(scorer.manifest, Manifest):
        return verdict.status == "flagged"
    asked = scorer.manifest.request_parts
    return any(part.status == "flagged" and part.name not in asked for part in verdict.parts)


def behaviour_seen(verdict: Verdict, scorer: Scorer) -> bool:
    """Whether every part that reads how the generation goes could judge it."""
    if isinstance(scorer.manifest, Manifest):
        return verdict.status in ("clear", "flagged")
    asked = scorer.manifest.request_parts
    parts = [part for part in verdict.parts if part.name not in asked]
    return bool(parts) and all(part.status in ("clear", "flagged") for part in parts)
