"""The audit queue: what was drawn at random and waits for somebody to say what it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.serve.store.observed import Observed, StreamQuery
from sri_sdk.serve.store.series import matching
from sri_sdk.serve.store.tables import VERDICTS

if TYPE_CHECKING:
    from sri_sdk.serve.store.store import VerdictStore

LOOKED_AT = 10_000
"""Waiting verdicts among which the next ones are picked."""
LOOKED_THROUGH = 5 * LOOKED_AT
"""Waiting verdicts, of whatever deployment and tenant, among which these are looked for."""
_PIECE = 2_000
_WAITS: tuple[ColumnElement[bool], ...] = (literal_column("(audited = 1)"), literal_column("(label IS NULL)"))
"""As the partial index has it."""


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


def waiting(connection: Connection, limit: int, deployment: str | None, tenant: str | None) -> tuple[list[str], bool]:
    """Ids of the latest verdicts on traffic that wait for a label, and whether there may be more of them.

    Args:
        connection: of the database.
        limit: most ids; the newest.
        deployment: see `audit_queue`; so is the next.
        tenant: whose.
    """
    series = matching(connection, StreamQuery(kind="traffic", deployment=deployment)) or {}
    found: list[str] = []
    for looked, row in enumerate(_rows(connection) if series else (), 1):
        # Only those that fit count: a deployment with little traffic waits far behind one with much.
        if row.series in series and tenant in (None, row.tenant):
            if len(found) == limit:
                return found, True
            found.append(bytes(row.digest)[:16].hex())
        if looked == LOOKED_THROUGH:
            return found, True
    return found, False


def _rows(connection: Connection) -> Iterator[Any]:
    """What waits, the newest first, in pieces: most pages need few of them."""
    columns = [VERDICTS.c[name] for name in ("seq", "digest", "series", "tenant")]
    last = None
    while True:
        # With a first number, which none is below, SQLite knows that this is a range of the index.
        query = select(*columns).where(*_WAITS, VERDICTS.c.seq >= 0)
        if last is not None:
            query = query.where(VERDICTS.c.seq < last)
        some = connection.execute(query.order_by(VERDICTS.c.seq.desc()).limit(_PIECE)).all()
        yield from some
        if len(some) < _PIECE:
            return
        last = some[-1].seq
