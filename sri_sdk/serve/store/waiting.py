"""What waits for a label: found by its index, without building what nobody will see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.series import matching
from sri_sdk.serve.store.tables import VERDICTS

LOOKED_THROUGH = 50_000
"""Waiting verdicts, of whatever deployment and tenant, among which these are looked for."""
_PIECE = 2_000
_WAITS: tuple[ColumnElement[bool], ...] = (literal_column("(audited = 1)"), literal_column("(label IS NULL)"))
"""As the partial index has it."""


def waiting_ids(
    connection: Connection, limit: int, deployment: str | None, tenant: str | None
) -> tuple[list[str], bool]:
    """Ids of the latest verdicts on traffic that wait for a label, and whether there may be more of them.

    Args:
        connection: of the database.
        limit: most ids; the newest.
        deployment: of this one alone; None = of all.
        tenant: only this one's; None = everybody's.
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
