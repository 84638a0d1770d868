"""What became of everything that the client was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sri_sdk.client.circuit import State


@dataclass(frozen=True, slots=True)
class ClientCounts:
    """Counts since the process began; in a forked process since the fork.

    `accepted` is the sum of `sent`, `waiting` and all of `dropped`: no verdict leaves without being counted.
    """

    accepted: int
    """Verdicts that `emit` was given."""
    sent: int
    """Verdicts that the store has acknowledged."""
    stored: int
    """Those of them that were new to it."""
    known: int
    """Those of them that it had already: a post whose answer was lost is sent again."""
    waiting: int
    """Verdicts on their way."""
    dropped: Mapping[str, int]
    """By reason: `queue_full`, `refused` = the store does not take it, `closed` = not delivered when the client was
    closed, or given to it afterwards."""
    retried: int
    """Posts that failed and were made again."""
    generations: int
    """Generations that were announced, without canaries."""
    without_verdict: int
    """Those of them that ended without a verdict: the tap is absent, or in another process."""
    heartbeats: int
    """Heartbeats that the store has acknowledged."""
    calls: int
    """Calls of `score` and `lookup`."""
    unavailable: int
    """Those of them that nobody answered: the scorer is down, or the circuit open."""
    late: int
    """Those of them that were not answered within the budget."""
    circuit: State
    """Whether the scorer is asked at all."""
    opened: int
    """How often the circuit has opened."""
