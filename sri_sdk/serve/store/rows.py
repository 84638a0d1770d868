"""What goes into the verdict store and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sri_sdk.records import Status, Verdict

SEVERITY: dict[Status, int] = {"clear": 0, "not_sampled": 1, "unmonitored": 2, "flagged": 3}
"""Of several verdicts on one request, a look-up answers the one with the largest number."""

State = Literal["alive", "quiet", "silent", "ended", "tap_missing"]
"""How a source is: verdicts arrive; it only says that it lives; nothing arrives; it generates, and nobody watches."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One verdict, as a source hands it in."""

    verdict: Verdict
    tenant: str = ""
    source: str = ""
    """Name of the process that watched, as its operator chose it; empty = not said."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a delivery; the sum is its number of verdicts."""

    stored: int
    known: int
    """Delivered before, in every field alike."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One row of the store."""

    seq: int
    """Rises with every verdict that is committed, and is never used again."""
    tenant: str
    key: str
    """The request id, or its keyed hash where the store hashes ids."""
    source: str
    received_at: int
    """Milliseconds since 1970, UTC, when it was committed here."""
    verdict: Mapping[str, Any]
    """As `Verdict.to_dict()`; its `request_id` is `key`."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known about one request."""

    row: Stored
    """The most severe of its verdicts; among equals the latest."""
    verdicts: int
    """How many different ones there are; counted up to 1,000."""
    of_rule: bool
    """Whether one of them is of the rule that was asked for; also where none was."""


@dataclass(frozen=True, slots=True)
class Page:
    """Verdicts in the order they were committed."""

    rows: tuple[Stored, ...]
    next: int
    """Pass it as `after` to go on. It may rise although `rows` is empty: what lies between did not match."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a process of a source says of itself every few seconds. Counts begin with it."""

    source: str
    tenant: str = ""
    pid: int = 0
    sent: int = 0
    """Verdicts it delivered."""
    dropped: int = 0
    """Verdicts it gave up."""
    waiting: int = 0
    """Verdicts it has not delivered yet."""
    generations: int | None = None
    """Generations that ended, with a verdict or without; None = it does not count them."""
    without_verdict: int | None = None
    """Of these, the ones that have no verdict although the time for it is over; None = as above."""
    canary: Mapping[str, Any] | None = None
    """What the watch said of a prompt that it must flag: `status`, and what else the source adds; None = no news."""
    ended: bool = False
    """Whether it is the last one: the process ends, and will not be missed."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is known about one source."""

    source: str
    tenant: str
    state: State
    why: str | None
    """Code of what makes it `tap_missing`: `canary_not_flagged` or `generations_without_verdicts`; else None."""
    pid: int | None
    """Of the process that the state comes from; None = there is none, or it never sent a heartbeat."""
    processes: int
    """That sent heartbeats and have not said that they end; the counts below are their sums."""
    sent: int | None
    dropped: int | None
    waiting: int | None
    generations: int | None
    without_verdict: int | None
    verdicts: int
    """Verdicts from it that were stored here, deleted ones included."""
    heartbeat_at: int | None
    """Milliseconds since 1970, UTC; None = never. So are the next two."""
    verdict_at: int | None
    canary_at: int | None
    canary: Mapping[str, Any] | None
