"""What a sink under check is handed: verdicts and observations of every sort, and what a monitor says of itself."""

from __future__ import annotations

import numpy as np

from sri_sdk.observation import Consequence, Kind, Observation, Pulse, Running, SinkState, Trajectory
from sri_sdk.records import Verdict

COUNT = 50
"""Verdicts, or observations, per check."""
NOON = 1_790_000_000_000
"""When they were made, in milliseconds since 1970."""


def planted_verdicts(count: int = COUNT) -> list[Verdict]:
    """Verdicts of every status, with and without numbers, and with ids no one expects."""
    verdicts = []
    for i in range(count):
        match i % 4:
            case 0:
                verdict = Verdict(f"clear-{i}", "clear", (), 0.1, 0.5, 0.7)
            case 1:
                above = ("score_above_threshold",)
                verdict = Verdict(f"flagged-{i}", "flagged", above, 3e38, 0.5, 0.01, 7, 16, 16, "online", "0" * 64)
            case 2:
                verdict = Verdict(f"ungesehen «{i}» \u2028\n", "unmonitored", ("non_finite_signal", "tap_silent"))
            case _:
                verdict = Verdict(f"skipped/{i}", "not_sampled")
        verdicts.append(verdict)
    return verdicts


def planted_observations(count: int = COUNT, *, first: int = 0, traffic: bool = False) -> list[Observation]:
    """Observations of every status, kind and consequence, bare and with all that one may carry.

    Args:
        count: how many.
        first: number of the first, so that several lists share no id.
        traffic: leave out canaries and shadows, which a sink may have no use for.
    """
    trajectory = Trajectory(("sri@final",), np.array([[0.5], [np.nan]], dtype=np.float32), 1)
    kinds: tuple[Kind, ...] = ("traffic",) if traffic else ("traffic", "canary", "shadow")
    consequences: tuple[Consequence, ...] = ("released", "withheld", "would_withhold", "recovered")
    observations = []
    for i, verdict in enumerate(planted_verdicts(count)):
        known = f"{first + i:032x}"
        if i % 2:
            observations.append(Observation(verdict, NOON + i, known))
            continue
        observations.append(
            Observation(
                verdict, NOON - i, known, kinds[i % len(kinds)], consequences[i // 2 % 4], "chat", "a model", "tenant",
                0.5, True, 1.5, 0.01, trajectory, "«prompt» \u2028", "response\n", ("draft", "response\n"),
            )
        )  # fmt: skip
    return observations


def planted_running() -> list[Running]:
    """Generations that run, one of them as much as unknown."""
    known = Running("r", "chat", NOON, 3, 16, (0.5, 0.25), 32, "draft", "tenant")
    return [known, Running("ü\u2028", "chat", NOON, 0, None)]


def planted_pulses() -> list[Pulse]:
    """One that says little and one that says all."""
    state = SinkState("own", 6, 1, 1, 2, 2, "TimeoutError", NOON, NOON, NOON, NOON, NOON)
    full = Pulse(
        "chat", NOON, NOON, 1, "enforce", "a model", "b" * 64, 0.01, 10, 5, 1, 2, 2, 1, "clear", "sri@final",
        "not YAML", "scorer_late", (state,), NOON, 600.0, NOON, 3, (1, 50), 7, ("no prompt is left",), True,
        NOON, NOON, NOON, NOON, NOON, "local",
    )  # fmt: skip
    return [Pulse("chat", NOON, NOON, 1, "observe"), full]
