"""Storing deliveries in an open transaction: each different verdict, and each observation, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from sri_sdk.files import canonical_json
from sri_sdk.observation import Observation
from sri_sdk.serve.store import details
from sri_sdk.serve.store.chunks import chunks
from sri_sdk.serve.store.hours import count_rows
from sri_sdk.serve.store.keys import Keys
from sri_sdk.serve.store.rows import SEVERITY, Added, Delivered
from sri_sdk.serve.store.series import Series, ids_of, note_last, reason_of
from sri_sdk.serve.store.sources import note_verdicts
from sri_sdk.serve.store.tables import TEXTS, TOTALS, TRAJECTORIES, VERDICTS

SPEAKS_NOT = -1
"""Severity of what never answers for its request: canaries and shadows."""
_DETAILS: dict[str, Table] = {"trajectory": TRAJECTORIES, "texts": TEXTS}


def insert_all(
    connection: Connection, deliveries: Sequence[Sequence[Delivered | Observation]], *, keys: Keys, now_ms: int
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


_COLUMNS = tuple(column.name for column in VERDICTS.columns if column.name not in ("seq", "label"))


def _row(given: Delivered | Observation, keys: Keys, now_ms: int) -> dict[str, Any]:
    verdict = given.verdict
    key = keys.key_of(verdict.request_id)
    written = canonical_json({**verdict.to_dict(), "request_id": key})
    row = _delivered(given, written) if isinstance(given, Delivered) else _observed(given)
    series = Series(
        row["source"], verdict.bundle or "", row.pop("model"), row.pop("kind"), verdict.status,
        reason_of(verdict.reasons), row.pop("consequence"), row.pop("audit_rate"),
    )  # fmt: skip
    return {
        "tenant": given.tenant,
        "key": key,
        "received_at": now_ms,
        "status": verdict.status,
        "severity": SEVERITY[verdict.status] if series.kind == "traffic" else SPEAKS_NOT,
        "rule": verdict.rule,
        "bundle": verdict.bundle,
        "score": verdict.score,
        "p_value": verdict.p_value,
        "verdict": written.decode(),
        "size": len(written) + len(key) + len(given.tenant) + len(row["source"]) + _size(row),
        "series": series,
        **row,
    }


def _delivered(given: Delivered, written: bytes) -> dict[str, Any]:
    return {
        "source": given.source, "digest": sha256(canonical_json(given.tenant) + b"\n" + written).digest(),
        "model": "", "kind": "traffic", "consequence": "released", "audit_rate": 0.0,
        "at": None, "audited": None, "generation_s": None, "scoring_s": None,
    }  # fmt: skip


def _observed(given: Observation) -> dict[str, Any]:
    return {
        "source": given.deployment, "digest": bytes.fromhex(given.id),
        "model": given.model, "kind": given.kind, "consequence": given.consequence, "audit_rate": given.audit_rate,
        "at": given.at, "audited": 1 if given.audited else None,
        "generation_s": given.generation_s, "scoring_s": given.scoring_s,
        "trajectory": None if given.trajectory is None else details.trajectory_row(given.trajectory),
        "texts": details.texts_row(given),
    }  # fmt: skip


def _size(row: Mapping[str, Any]) -> int:
    """Bytes of its trajectory and texts."""
    some: Iterable[Mapping[str, Any]] = filter(None, (row.get(name) for name in _DETAILS))
    return sum(len(value) for each in some for value in each.values() if not isinstance(value, int))
