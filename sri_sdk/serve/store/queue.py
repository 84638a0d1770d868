"""The audit queue: what was drawn at random and waits for somebody to say what it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sri_sdk.serve.store.observed import Observed, StreamQuery

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
    """Whether more of them wait than were looked at."""


def audit_queue(
    store: VerdictStore, count: int, *, deployment: str | None = None, tenant: str | None = None,
    trajectories: bool = False,
) -> Queue:  # fmt: skip
    """The next verdicts to label.

    Ordered by their ids, which are random: whoever stops in the middle of the queue has labelled a random part of it.
    Ordered by time or by score, the labels would be of a kind, and the measured rate would be wrong.

    Args:
        store: with the sample.
        count: how many.
        deployment: of this one alone; None = of all.
        tenant: only this one's; None = everybody's.
        trajectories: whether rows come with their trajectories, and labels.
    """
    found: list[Observed] = []
    before = None
    while len(found) < LOOKED_AT:
        page = store.stream(
            StreamQuery(
                before=before, limit=1_000, kind="traffic", unlabelled=True, deployment=deployment, tenant=tenant
            )
        )  # fmt: skip
        found += page.rows
        before = page.next
        if before is None:
            break
    rows = sorted(found, key=lambda row: row.observation.id)[:count]
    if trajectories:
        # One by one, as few are shown of the thousands that were looked at.
        whole = (store.observation(row.observation.id, tenant=tenant) for row in rows)
        rows = [row for row in whole if row is not None]
    return Queue(tuple(rows), len(found), before is not None)
