"""The audit queue: what was drawn at random and waits for somebody to say what it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sri_sdk.serve.store.observed import Observed

if TYPE_CHECKING:
    from sri_sdk.serve.store.store import VerdictStore

LOOKED_AT = 10_000
"""Waiting verdicts among which the next ones are picked."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A part of the audit queue."""

    rows: tuple[Observed, ...]
    """In the order in which they should be labelled."""
    waiting: int
    """Verdicts that wait, as far as was looked."""
    more: bool
    """Whether more of them wait than were looked at, or may: what lies further back was not looked through."""


def audit_queue(
    store: VerdictStore, count: int, *, deployment: str | None = None, tenant: str | None = None
) -> Queue:  # fmt: skip
    """The next verdicts to label.

    Ordered by their ids, which are random: whoever stops in the middle of the queue has labelled a random part of it.
    Ordered by time or by score, the labels would be of a kind, and the measured rate would be wrong.

    Args:
        store: with the sample.
        count: how many.
        deployment: of this one alone; None = of all.
        tenant: only this one's; None = everybody's.

    Returns:
        Rows with their trajectories, texts and labels.
    """
    ids, more = store.waiting_ids(LOOKED_AT, deployment=deployment, tenant=tenant)
    found = (store.observation(id, tenant=tenant) for id in sorted(ids)[:count])
    return Queue(tuple(row for row in found if row is not None), len(ids), more)
