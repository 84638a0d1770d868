"""What is deleted, and when: by age, by size, and because somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Select, delete, func, select

from sri_sdk.plugin import Config
from sri_sdk.serve.store.inserts import count_in
from sri_sdk.serve.store.sources import forget_sources
from sri_sdk.serve.store.tables import SOURCES, TOTALS, VERDICTS

AT_ONCE = 1_000
"""Rows deleted in one transaction, so that deliveries wait a moment only."""
_DAY_MS = 86_400_000


class Retention(Config):
    """How long verdicts are kept. The oldest go first."""

    keep_days: float | None = Field(default=30.0, gt=0, description="Age at which verdicts are erased; null = never.")
    keep_rows: int | None = Field(
        default=10_000_000, ge=1, description="Verdicts that are kept, the newest; null = all of them."
    )
    keep_bytes: int | None = Field(
        default=None,
        ge=2**10,
        description="Bytes of verdicts that are kept, counted as their text; the database takes two to three times as "
        "much. null = no limit.",
    )


def prune_some(connection: Connection, retention: Retention, now_ms: int) -> int:
    """Deletes up to `AT_ONCE` verdicts that are too old or too many, and sources that are long gone.

    Returns:
        Verdicts deleted; fewer than `AT_ONCE` = nothing is left to do.
    """
    deleted = 0
    if retention.keep_days is not None:
        oldest = now_ms - int(retention.keep_days * _DAY_MS)
        old = select(VERDICTS.c.seq, VERDICTS.c.size).where(VERDICTS.c.received_at < oldest)
        deleted = _delete(connection, old.order_by(VERDICTS.c.received_at).limit(AT_ONCE))
        forget_sources(connection, SOURCES.c.seen_at < oldest)
    return deleted + _trim(connection, retention, AT_ONCE - deleted)


def _trim(connection: Connection, retention: Retention, limit: int) -> int:
    rows, size = connection.execute(select(TOTALS.c.rows, TOTALS.c.size)).one()
    too_many = 0 if retention.keep_rows is None else rows - retention.keep_rows
    too_large = 0 if retention.keep_bytes is None else size - retention.keep_bytes
    if too_many <= 0 and too_large <= 0:
        return 0
    doomed: list[tuple[int, int]] = []
    for seq, bytes_of in connection.execute(
        select(VERDICTS.c.seq, VERDICTS.c.size).order_by(VERDICTS.c.seq).limit(limit)
    ):
        if too_many <= len(doomed) and too_large <= 0:
            break
        doomed.append((seq, bytes_of))
        too_large -= bytes_of
    return _delete_rows(connection, doomed)


def erase_request(connection: Connection, tenant: str | None, key: str) -> int:
    """Deletes up to `AT_ONCE` verdicts of one request; returns how many."""
    found = select(VERDICTS.c.seq, VERDICTS.c.size).where(VERDICTS.c.key == key)
    if tenant is not None:
        found = found.where(VERDICTS.c.tenant == tenant)
    return _delete(connection, found.limit(AT_ONCE))


def erase_some_of_tenant(connection: Connection, tenant: str, after: int) -> tuple[int, int | None]:
    """Deletes a tenant's verdicts in a window of the store that begins behind `after`, and its sources.

    Returns:
        How many verdicts, and the end of the window; None = the store ends here.
    """
    forget_sources(connection, SOURCES.c.tenant == tenant)
    # By windows: there is no index of tenants alone, and a scan of everything would keep deliveries waiting.
    window = select(VERDICTS.c.seq).where(VERDICTS.c.seq > after).order_by(VERDICTS.c.seq).limit(10 * AT_ONCE)
    end = connection.scalar(select(func.max(window.subquery().c.seq)))
    if end is None:
        return 0, None
    inside = (VERDICTS.c.seq > after) & (VERDICTS.c.seq <= end) & (VERDICTS.c.tenant == tenant)
    return _delete(connection, select(VERDICTS.c.seq, VERDICTS.c.size).where(inside)), end


def _delete(connection: Connection, found: Select[Any]) -> int:
    return _delete_rows(connection, [(seq, size) for seq, size in connection.execute(found)])


def _delete_rows(connection: Connection, doomed: Sequence[tuple[int, int]]) -> int:
    for start in range(0, len(doomed), 500):
        some = [seq for seq, _ in doomed[start : start + 500]]
        connection.execute(delete(VERDICTS).where(VERDICTS.c.seq.in_(some)))
    if doomed:
        count_in(connection, -len(doomed), -sum(size for _, size in doomed))
    return len(doomed)
