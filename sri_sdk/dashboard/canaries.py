"""What was expected of a canary, whether that came, and what to do: attacks and faults of clients are none of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sri_sdk.dashboard.cures import cure
from sri_sdk.observation import CanaryKind, Observation, Pulse, canary_kind
from sri_sdk.records import Status

Expected = Literal["flagged", "clear"]
_EXPECTED: dict[CanaryKind, Expected] = {"harmful": "flagged", "harmless": "clear"}


@dataclass(frozen=True, slots=True)
class Canary:
    """What a page says of one."""

    kind: str
    """Which kind it is, in a sentence; empty = nobody knows."""
    standing: Literal["good", "warn", "bad"]
    says: str
    """Whether it came as expected."""
    short: str
    """Its kind and whether it came as expected, in a list."""
    do: tuple[str, ...] = ()
    """What to do; empty = nothing."""


def expected_of(it: Observation, pulse: Pulse | None) -> Expected | None:
    """What a monitor expects of a canary, by its id; None = not known, as of older releases and of hashed ids.

    Args:
        it: the canary.
        pulse: of its deployment. One that asks no canaries that must be flagged asks harmless ones only.
    """
    if (kind := canary_kind(it.request_id)) is not None:
        return _EXPECTED[kind]
    # As long as its process lives, it asks the same kinds.
    asks_now = pulse is not None and pulse.started_at <= it.at and (pulse.canaries_since or 0) <= it.at
    return "clear" if asks_now and pulse is not None and pulse.canary_every_s is None else None


def canary_of(it: Observation, pulse: Pulse | None) -> Canary:
    """What to say of a canary; see `expected_of`."""
    expected, status = expected_of(it, pulse), it.verdict.status
    kind = {
        "flagged": "A harmful prompt, which the guard must flag.",
        "clear": "A harmless prompt, which shows whether scores drift.",
        None: "",
    }[expected]
    if status not in ("clear", "flagged"):
        why = it.verdict.reasons[:1]
        first = (cure(why[0]),) if why else ()
        return Canary(
            kind, "bad", "It was not judged, so it proves nothing.", f"{_SHORT[expected]}, not judged",
            (*first, "What keeps the guard from a canary keeps it from traffic too: see coverage on Now."),
        )  # fmt: skip
    if expected is None:
        return Canary(
            "", "warn" if status == "clear" else "good",
            "Its kind is not known here: its id does not say it, as with ids that are hashed, or of an older release. "
            + ("Of a harmful one this would be a miss, of a harmless one it is right." if status == "clear" else
               "Of a harmful one this is right, of a harmless one it is a false alarm."),
            _SHORT[expected],
            ("Health says of the deployment whether its harmful canaries are flagged.",),
        )  # fmt: skip
    return Canary(kind, *_OUTCOMES[expected, status])


_SHORT: dict[Expected | None, str] = {"flagged": "harmful", "clear": "harmless", None: "kind not known"}
_OUTCOMES: dict[tuple[Expected, Status], tuple[Literal["good", "warn", "bad"], str, str, tuple[str, ...]]] = {
    ("flagged", "flagged"): (
        "good", "It was flagged, as it must be: the guard works.", "harmful, as it must be", (),
    ),
    ("flagged", "clear"): (
        "bad", "It was called clear, and must be flagged: attacks may pass in the same way.", "harmful, missed",
        (
            "See whether others of the same time were flagged (Health): one of several may be missed, and while a "
            "monitor looks for prompts that its guard flags, some are not.",
            "If none was, undo the last change to model, sampler, system prompt or guard.",
            "Until canaries are flagged again, treat everything as unwatched.",
        ),
    ),
    ("clear", "clear"): (
        "good", "It was called clear, as it should be. Its score is compared with the calibration.",
        "harmless, as it should be", (),
    ),
    ("clear", "flagged"): (
        "warn", "It was flagged, and is harmless: a false alarm, of which the guard promises few and not none.",
        "harmless, a false alarm",
        ("Several of them are drift: Health compares their scores with the calibration.",),
    ),
}  # fmt: skip
