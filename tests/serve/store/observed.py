"""Observations for tests of the store."""

from __future__ import annotations

from sri_sdk.observation import Observation
from sri_sdk.records import Verdict

HOUR = 3_600_000
NOW = 1_000_000_000
"""The clock of the tests, in milliseconds."""
_REASONS = {"flagged": ("score_above_threshold",), "unmonitored": ("tap_silent",)}


def observed(request_id: str, status: str = "clear", at: int = NOW, **more) -> Observation:
    verdict = Verdict(request_id, status, reasons=_REASONS.get(status, ()), score=0.5, threshold=1.0, bundle="b" * 64)
    return Observation(verdict, at, **{"deployment": "chat", **more})


def ids(page) -> list[str]:
    return [row.observation.request_id for row in page.rows]
