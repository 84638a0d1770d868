"""Storing deliveries in an open transaction: each different verdict, and each observation, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from sri_sdk.serve.store.chunks import chunks
from sri_sdk.serve.store.counting import count_rows
from sri_sdk.serve.store.keys import Keys
from sri_sdk.serve.store.prepared import DETAILS, Given, Prepared, prepare_delivered
from sri_sdk.serve.store.rows import Added
from sri_sdk.serve.store.series import ids_of, note_last
from sri_sdk.serve.store.sources import note_verdicts
from sri_sdk.serve.store.tables import TEXTS, TOTALS, TRAJECTORIES, VERDICTS

_DETAILS: dict[str, Table] = dict(zip(DETAILS, (TRAJECTORIES, TEXTS), strict=True))
_COLUMNS = tuple(column.name for column in VERDICTS.columns if column.name not in ("seq", "label"))


def insert_all(
    connection: Connection, deliveries: Sequence[Sequence[Given]], *, keys: Keys, now_ms: int
) -> list[Added]:
    """Stores what is not known yet; the transaction excludes other writers, so nothing appears in between.

    Returns:
        What became of each delivery, in their order.
    """
    made = [[_row(each, keys, now_ms) for each in delivery] for delivery in deliveries]
    known = _known(connection, list({row["digest"] for rows in made for row in rows}))
    new: list[dict[str, Any]] = []
    results = []
    for rows in made:
        before = len(new)
        for row in rows:
            if row["digest"] not in known:
                known.add(row["digest"])
                new.append(row)
        stored = len(new) - before
        results.append(Added(stored, len(rows) - stored))
    if new:
        _insert(connection, new, now_ms)
    return results


def count_in(connection: Connection, rows: int, size: int) -> None:
    """Adds to the totals; negative = deleted."""
    connection.execute(update(TOTALS).values(rows=TOTALS.c.rows + rows, size=TOTALS.c.size + size))


def _insert(connection: Connection, new: list[dict[str, Any]], now_ms: int) -> None:
    numbers = ids_of(connection, {row["series"] for row in new})
    beside: dict[bytes, dict[str, Any]] = {}
    for row in new:
        row["series"] = numbers[row["series"]]
        if more := {name: row.pop(name) for name in _DETAILS if row.get(name)}:
            beside[row["digest"]] = more
    # Nobody else writes meanwhile: what lies behind the last number afterwards is what was inserted here.
    before = _last(connection)
    connection.execute(insert(VERDICTS), [{name: row[name] for name in _COLUMNS} for row in new])
    last = _last(connection)
    _insert_details(connection, beside, before)
    note_last(connection, set(numbers.values()), last)
    count_rows(connection, new, before + 1, last)
    count_in(connection, len(new), sum(row["size"] for row in new))
    note_verdicts(connection, [row for row in new if row["at"] is None], now_ms)


def _insert_details(connection: Connection, beside: Mapping[bytes, Mapping[str, Any]], before: int) -> None:
    if not beside:
        return
    rows = connection.execute(select(VERDICTS.c.seq, VERDICTS.c.digest).where(VERDICTS.c.seq > before))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in _DETAILS}
    for row in rows:
        for name, values in beside.get(bytes(row.digest), {}).items():
            found[name].append({"seq": row.seq, **values})
    for name, table in _DETAILS.items():
        if found[name]:
            connection.execute(insert(table), found[name])


def _last(connection: Connection) -> int:
    return connection.scalar(select(func.max(VERDICTS.c.seq))) or 0


def _known(connection: Connection, digests: Sequence[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for some in chunks(digests):
        found.update(map(bytes, connection.scalars(select(VERDICTS.c.digest).where(VERDICTS.c.digest.in_(some)))))
    return found


def _row(given: Given, keys: Keys, now_ms: int) -> dict[str, Any]:
    prepared = given if isinstance(given, Prepared) else prepare_delivered(given, keys)
    return {**prepared.values, "received_at": now_ms}
