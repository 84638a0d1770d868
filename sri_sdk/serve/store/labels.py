"""What people say that generations were: a history that only grows, and the last word on each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from sri_sdk.serve.store.chunks import chunks
from sri_sdk.serve.store.counting import Change, place_of, recount
from sri_sdk.serve.store.lookups import rows_of
from sri_sdk.serve.store.observed import LABELS, LabelEntry, LabelWord
from sri_sdk.serve.store.tables import LABELS as TABLE
from sri_sdk.serve.store.tables import VERDICTS

MOST_LABELS = 1_000
"""Entries that one look-up answers."""


def label_rows(
    connection: Connection, id: str, key: str, tenant: str | None, label: LabelWord, by: str, note: str, now_ms: int
) -> int:
    """Labels the observation of this id, or all traffic of this request; returns how many rows."""
    rows = rows_of(connection, id, key, tenant, traffic=True)
    number = LABELS.index(label)
    changes: dict[tuple[int, int], Change] = {}
    for row in rows:
        if row.audited:
            change = changes.setdefault(place_of(row), Change())
            for each, more in ((row.label, -1), (number, 1)):
                if each is not None:
                    setattr(change, LABELS[each], getattr(change, LABELS[each]) + more)
    if rows:
        seqs = [row.seq for row in rows]
        for some in chunks(seqs):
            connection.execute(update(VERDICTS).where(VERDICTS.c.seq.in_(some)).values(label=number))
        entry = {"at": now_ms, "label": number, "by": by, "note": note}
        connection.execute(insert(TABLE), [{"seq": seq, **entry} for seq in seqs])
        recount(connection, changes)
    return len(rows)


def entries_of(connection: Connection, seq: int) -> tuple[LabelEntry, ...]:
    """Everything said of one row, the oldest first."""
    return tuple(map(_entry, connection.execute(_entries().where(TABLE.c.seq == seq).order_by(TABLE.c.id))))


def entries(connection: Connection, limit: int) -> tuple[LabelEntry, ...]:
    """Everything said of any row, the newest first."""
    # From the end of the primary key: by itself SQLite might begin with the rows.
    query = _entries().where(TABLE.c.id > 0).order_by(TABLE.c.id.desc())
    return tuple(map(_entry, connection.execute(query.limit(limit))))


def forget(connection: Connection, seqs: Sequence[int]) -> None:
    """Deletes what was said of rows that go."""
    for some in chunks(seqs):
        connection.execute(delete(TABLE).where(TABLE.c.seq.in_(some)))


def _entries() -> Select[Any]:
    columns = [TABLE.c[name] for name in ("at", "label", "by", "note")]
    query = select(VERDICTS.c.digest, VERDICTS.c.key, *columns)
    return query.join_from(TABLE, VERDICTS, TABLE.c.seq == VERDICTS.c.seq)


def _entry(row: Row[Any]) -> LabelEntry:
    return LabelEntry(bytes(row.digest)[:16].hex(), row.key, row.at, LABELS[row.label], row.by, row.note)
