"""What is deleted, and when: by age, by size, and because somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, select

from sri_sdk.serve.store import counting, details, labels, live
from sri_sdk.serve.store.chunks import chunks
from sri_sdk.serve.store.inserts import count_in
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.sources import forget_sources
from sri_sdk.serve.store.tables import TOTALS, VERDICTS

AT_ONCE = 1_000
"""Rows deleted in one transaction, so that deliveries wait a moment only."""
WINDOW = 10 * AT_ONCE
"""Rows of the store that one transaction looks through for a tenant."""
_DAY_MS = 86_400_000
_ROW = [
    VERDICTS.c[name]
    for name in ("seq", "size", "tenant", "key", "severity", "received_at", "at", "series", "audited", "label")
]


def prune_some(connection: Connection, retention: Retention, now_ms: int) -> int:
    """Deletes up to `AT_ONCE` verdicts that are too old or too many, and sources that are long gone.

    Returns:
        Verdicts deleted; fewer than `AT_ONCE` = nothing is left to do.
    """
    deleted = 0
    oldest = None if retention.keep_days is None else now_ms - int(retention.keep_days * _DAY_MS)
    live.forget_before(connection, oldest, now_ms)
    if retention.keep_counts_days is not None:
        counting.forget_before(connection, counting.hour_of(now_ms - int(retention.keep_counts_days * _DAY_MS)))
    if oldest is not None:
        old = select(*_ROW).where(VERDICTS.c.received_at < oldest)
        deleted = _delete(connection, old.order_by(VERDICTS.c.received_at).limit(AT_ONCE))
        forget_sources(connection, before=oldest)
    return deleted + _trim(connection, retention, max(AT_ONCE - deleted, 0))


def _trim(connection: Connection, retention: Retention, limit: int) -> int:
    rows, size = connection.execute(select(TOTALS.c.rows, TOTALS.c.size)).one()
    too_many = 0 if retention.keep_rows is None else rows - retention.keep_rows
    too_large = 0 if retention.keep_bytes is None else size - retention.keep_bytes
    if too_many <= 0 and too_large <= 0:
        return 0
    doomed: list[Row[Any]] = []
    for row in connection.execute(select(*_ROW).order_by(VERDICTS.c.seq).limit(limit)):
        if too_many <= len(doomed) and too_large <= 0:
            break
        doomed.append(row)
        too_large -= row.size
    return _delete_rows(connection, doomed)


def erase_request(connection: Connection, tenant: str | None, key: str) -> int:
    """Deletes up to `AT_ONCE` verdicts of one request, the mildest first; returns how many."""
    live.hide(connection, lambda shown: shown["request_id"] == key and tenant in (None, shown["tenant"]))
    found = select(*_ROW).where(VERDICTS.c.key == key)
    if tenant is not None:
        found = found.where(VERDICTS.c.tenant == tenant)
    return _delete(connection, found.order_by(VERDICTS.c.severity).limit(AT_ONCE))


def erase_some_of_tenant(connection: Connection, tenant: str, after: int) -> tuple[int, int | None]:
    """Deletes a tenant's verdicts in a window of the store that begins behind `after`, and its sources.

    Returns:
        How many verdicts, and the end of the window; None = the store ends here.
    """
    forget_sources(connection, tenant=tenant)
    live.hide(connection, lambda shown: shown["tenant"] == tenant)
    # By windows: there is no index of tenants alone, and a scan of everything would keep deliveries waiting.
    window = select(VERDICTS.c.seq).where(VERDICTS.c.seq > after).order_by(VERDICTS.c.seq).limit(WINDOW)
    end = connection.scalar(select(func.max(window.subquery().c.seq)))
    if end is None:
        return 0, None
    inside = (VERDICTS.c.seq > after) & (VERDICTS.c.seq <= end) & (VERDICTS.c.tenant == tenant)
    return _delete(connection, select(*_ROW).where(inside)), end


def _delete(connection: Connection, found: Select[Any]) -> int:
    return _delete_rows(connection, list(connection.execute(found)))


def _delete_rows(connection: Connection, doomed: Sequence[Row[Any]]) -> int:
    """Deletes rows with all that belongs to them, and what would speak for their requests in their place."""
    gone = {row.seq: row for row in [*doomed, *_milder(connection, doomed)]}
    if not gone:
        return 0
    seqs = list(gone)
    details.forget(connection, seqs)
    labels.forget(connection, seqs)
    for some in chunks(seqs):
        connection.execute(delete(VERDICTS).where(VERDICTS.c.seq.in_(some)))
    count_in(connection, -len(gone), -sum(row.size for row in gone.values()))
    counting.count_gone(connection, gone.values())
    return len(gone)


def _milder(connection: Connection, doomed: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Milder verdicts on the same requests: left alone, they would make a request clear that was flagged."""
    worst: dict[tuple[str, str], int] = {}
    for row in doomed:
        worst[row.tenant, row.key] = max(row.severity, worst.get((row.tenant, row.key), 0))
    found: list[Row[Any]] = []
    for keys in chunks(list({key for (_, key), severity in worst.items() if severity})):
        same = connection.execute(select(*_ROW).where(VERDICTS.c.key.in_(keys)))
        found += [row for row in same if row.severity < worst.get((row.tenant, row.key), 0)]
    return found
