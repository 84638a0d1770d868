"""Finding rows by an id: of an observation, or of a request; whole, or how it begins."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, Row, and_, select
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.serve.store.tables import VERDICTS

MOST_ALIKE = 1_000
"""Rows of one id, or that begin alike, that are looked at."""
ID_LENGTH = 32
_HEX = re.compile(r"[0-9a-f]{1,32}")
_ROW = [VERDICTS.c[name] for name in ("seq", "received_at", "at", "series", "audited", "label", "severity")]


def rows_of(connection: Connection, id: str, key: str, tenant: str | None, *, traffic: bool) -> list[Row[Any]]:
    """The row of an observation's id; where there is none, those of a request, the most severe and latest first.

    Args:
        connection: of the database.
        id: what was asked for.
        key: the key of it, read as a request's id.
        tenant: only this tenant's; None = everybody's.
        traffic: of a request, neither canaries nor shadows.
    """
    if (
        len(id) == ID_LENGTH
        and (where := digest_begins(id)) is not None
        and (found := _rows(connection, where, tenant))
    ):
        return found
    of_key = VERDICTS.c.key == key
    return _rows(connection, and_(of_key, VERDICTS.c.severity >= 0) if traffic else of_key, tenant)


def digest_begins(id: str) -> ColumnElement[bool] | None:
    """The condition that the id of an observation begins so; None = no id does."""
    if not _HEX.fullmatch(id):
        return None
    first = bytes.fromhex(id.ljust(ID_LENGTH, "0"))
    # A digest of a delivery goes on behind its id.
    last = bytes.fromhex(id.ljust(ID_LENGTH, "f")) + b"\xff" * 17
    return VERDICTS.c.digest.between(first, last)


def _rows(connection: Connection, where: ColumnElement[bool], tenant: str | None) -> list[Row[Any]]:
    query = select(*_ROW).where(where)
    if tenant is not None:
        query = query.where(VERDICTS.c.tenant == tenant)
    found = connection.execute(query.limit(MOST_ALIKE))
    return sorted(found, key=lambda row: (row.severity, row.seq), reverse=True)
