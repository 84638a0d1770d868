"""Storing deliveries in an open transaction: each different verdict once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, insert, select, update

from sri_sdk.files import canonical_json
from sri_sdk.serve.store.keys import Keys
from sri_sdk.serve.store.rows import SEVERITY, Added, Delivered
from sri_sdk.serve.store.sources import note_verdicts
from sri_sdk.serve.store.tables import TOTALS, VERDICTS

_AT_ONCE = 500
"""Digests in one query; SQLite takes a limited number of parameters."""


def insert_all(
    connection: Connection, deliveries: Sequence[Sequence[Delivered]], *, keys: Keys, now_ms: int
) -> list[Added]:
    """Stores what is not known yet; the transaction excludes other writers, so nothing appears in between.

    Returns:
        What became of each delivery, in their order.
    """
    made = [[_row(each, keys, now_ms) for each in delivery] for delivery in deliveries]
    known = _known(connection, list({row["digest"] for rows in made for row in rows}))
    new: list[Mapping[str, Any]] = []
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
        connection.execute(insert(VERDICTS), new)
        count_in(connection, len(new), sum(row["size"] for row in new))
        note_verdicts(connection, new, now_ms)
    return results


def count_in(connection: Connection, rows: int, size: int) -> None:
    """Adds to the totals; negative = deleted."""
    connection.execute(update(TOTALS).values(rows=TOTALS.c.rows + rows, size=TOTALS.c.size + size))


def _known(connection: Connection, digests: Sequence[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        found.update(map(bytes, connection.scalars(select(VERDICTS.c.digest).where(VERDICTS.c.digest.in_(some)))))
    return found


def _row(delivered: Delivered, keys: Keys, now_ms: int) -> dict[str, Any]:
    verdict = delivered.verdict
    key = keys.key_of(verdict.request_id)
    written = canonical_json({**verdict.to_dict(), "request_id": key})
    return {
        "tenant": delivered.tenant,
        "key": key,
        "source": delivered.source,
        "received_at": now_ms,
        "status": verdict.status,
        "severity": SEVERITY[verdict.status],
        "rule": verdict.rule,
        "bundle": verdict.bundle,
        "score": verdict.score,
        "p_value": verdict.p_value,
        "verdict": written.decode(),
        "digest": sha256(canonical_json(delivered.tenant) + b"\n" + written).digest(),
        "size": len(written) + len(key) + len(delivered.tenant) + len(delivered.source),
    }
