"""Looking verdicts up: by request, and in the order they came."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, literal_column, select

from sri_sdk.records import Status
from sri_sdk.serve.store.rows import Found, Page, Stored
from sri_sdk.serve.store.tables import VERDICTS
from sri_sdk.strict_json import parse

COUNTED = 1_000
"""Different verdicts of one request that are counted; more is shown as this many."""
SCANNED = 10_000
"""Rows that one page looks at. Without an index for each filter, a page costs this at most and goes on from there."""

_COLUMNS = [VERDICTS.c[name] for name in ("seq", "tenant", "key", "source", "received_at", "verdict")]


def most_severe(tenant: str | None, key: str) -> Select[Any]:
    """The query for the most severe verdict of a request, the latest among equals, and how many there are; tenant
    None = of everybody.
    """
    # Canaries and shadows have none: they never answer for a request.
    which = (VERDICTS.c.key == key) & (VERDICTS.c.severity >= 0)
    if tenant is not None:
        which &= VERDICTS.c.tenant == tenant
    some = select(literal_column("1").label("one")).select_from(VERDICTS).where(which).limit(COUNTED).subquery()
    counted = select(func.count()).select_from(some).scalar_subquery().label("verdicts")
    query = select(*_COLUMNS, counted).where(which)
    return query.order_by(VERDICTS.c.severity.desc(), VERDICTS.c.seq.desc()).limit(1)


def find(connection: Connection, tenant: str | None, key: str) -> Found | None:
    """What is known about one request; None = nothing."""
    row = connection.execute(most_severe(tenant, key)).one_or_none()
    return None if row is None else Found(_stored(row), row.verdicts)


def last_seq(connection: Connection) -> int:
    """Number of the verdict that was committed last; 0 = the store is empty."""
    return connection.scalar(select(func.max(VERDICTS.c.seq))) or 0


def keys_after(connection: Connection, after: int) -> list[tuple[int, str]]:
    """Numbers and keys of verdicts behind `after`, in order, at most `SCANNED`."""
    query = select(VERDICTS.c.seq, VERDICTS.c.key).where(VERDICTS.c.seq > after).order_by(VERDICTS.c.seq)
    return [(seq, key) for seq, key in connection.execute(query.limit(SCANNED))]


def page(connection: Connection, after: int, limit: int, tenant: str | None, status: Status | None) -> Page:
    """Up to `limit` verdicts on traffic behind `after`, in the order of their commits."""
    window = select(*_COLUMNS, VERDICTS.c.severity).where(VERDICTS.c.seq > after).order_by(VERDICTS.c.seq)
    if tenant is None and status is None:
        found = connection.execute(window.limit(limit)).all()
        return Page(tuple(_stored(row) for row in found if row.severity >= 0), found[-1].seq if found else after)
    # Its end first: what is committed meanwhile lies behind it.
    inner = select(VERDICTS.c.seq).where(VERDICTS.c.seq > after).order_by(VERDICTS.c.seq).limit(SCANNED).subquery()
    end = connection.scalar(select(func.max(inner.c.seq)))
    if end is None:
        return Page((), after)
    query = window.where(VERDICTS.c.seq <= end, VERDICTS.c.severity >= 0)
    if tenant is not None:
        query = query.where(VERDICTS.c.tenant == tenant)
    if status is not None:
        query = query.where(VERDICTS.c.status == status)
    rows = [_stored(row) for row in connection.execute(query.limit(limit))]
    return Page(tuple(rows), rows[-1].seq if len(rows) == limit else end)


def _stored(row: Any) -> Stored:
    return Stored(row.seq, row.tenant, row.key, row.source, row.received_at, parse(row.verdict))
