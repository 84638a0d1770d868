"""A store with a day of traffic that never was, the same in every run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from sri_sdk.observation import Observation, Pulse, SinkState, Trajectory
from sri_sdk.records import Verdict
from sri_sdk.serve.store.store import VerdictStore

HOUR_MS = 3_600_000
BEGIN_MS = 1_800_000_000_000 // HOUR_MS * HOUR_MS
BUNDLE = "ab" * 32


def observation(
    at_ms: int, number: int, status: str = "clear", *, reason: str = "", kind: str = "traffic", audited: bool = False,
    audit_rate: float = 0.0, bundle: str = BUNDLE, cells: int = 4,
) -> Observation:  # fmt: skip
    """One of them; its id follows from its number."""
    reasons = (reason,) if reason else ()
    score = {"clear": 0.1, "flagged": 2.0}.get(status)
    verdict = Verdict(f"req-{number}", status, reasons, score, 1.0, None if score is None else 0.5, bundle=bundle)
    logit = np.linspace(3, -3 if status == "flagged" else 2, cells, dtype=np.float32)[:, None]
    return Observation(
        verdict, at_ms, id=hashlib.sha256(str(number).encode()).hexdigest()[:32], kind=kind, deployment="chat",
        model="lab", audit_rate=audit_rate, audited=audited, scoring_s=0.002, consequence="released",
        trajectory=Trajectory(("sri@final",), logit, cells),
    )  # fmt: skip


def a_day(hours: int = 24, each: int = 50) -> list[Observation]:
    """Traffic in which one in 25 is flagged, and in one hour nothing is seen; a tenth of the clear ones is drawn."""
    made = []
    for hour in range(hours):
        for i in range(each):
            number = hour * each + i
            at = BEGIN_MS + hour * HOUR_MS + i * 1000
            if hour == 7:
                made.append(observation(at, number, "unmonitored", reason="tap_silent"))
            elif i % 25 == 3:
                made.append(
                    observation(at, number, "flagged", reason="score_above_threshold", audited=True, audit_rate=1.0)
                )
            else:
                made.append(observation(at, number, audited=i % 10 == 0, audit_rate=0.1))
    return made


def pulse(**changes: object) -> Pulse:
    """A monitor that is well, unless `changes` say otherwise."""
    known: dict[str, object] = {
        "deployment": "chat", "at": BEGIN_MS + 24 * HOUR_MS, "started_at": BEGIN_MS, "pid": 4711, "mode": "observe",
        "model": "lab", "bundle": BUNDLE, "promised": 0.01, "generated": 1200,
        "sinks": (SinkState("sql", 1200, 1200, 0, 0, 0),),
    }  # fmt: skip
    return Pulse(**{**known, **changes})  # type: ignore[arg-type]


def filled(path: Path, observations: list[Observation]) -> VerdictStore:
    """A store with these in it; the caller closes it."""
    store = VerdictStore.open(f"sqlite:///{path}", clock=lambda: (BEGIN_MS + 24 * HOUR_MS) / 1000)
    store.observe(observations)
    return store
