"""What whoever asked is given back."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from sri_sdk.monitor.traffic.traffic import Answered


def answer_of(answered: Answered, recorded: bool) -> dict[str, Any]:
    """An answer as JSON types.

    Args:
        answered: what came of the request.
        recorded: whether its observation is known to be on disk.
    """
    verdict = answered.decision.verdict
    found: dict[str, Any] = {
        "id": verdict.request_id, "status": verdict.status, "reasons": list(verdict.reasons),
        "withheld": answered.decision.withheld, "response": answered.response, "recorded": recorded,
        "observation": answered.observation.id, "verdict": verdict.to_dict(),
    }  # fmt: skip
    if answered.decision.recovered is not None:
        found["recovered"] = answered.decision.recovered
    if answered.failed is not None:
        found["failed"] = answered.failed
    return found


def was_recorded(done: Future[None]) -> bool:
    """Whether what was put is on disk, once that is decided."""
    return not done.cancelled() and done.exception() is None
