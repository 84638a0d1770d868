"""The stream of observations, the newest first: filters of every kind, and a bounded number of rows looked at."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, and_, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.observation import Observation, Trajectory
from sri_sdk.serve.store import details, labels
from sri_sdk.serve.store.chunks import chunks
from sri_sdk.serve.store.hours import seqs_between
from sri_sdk.serve.store.lookups import MOST_ALIKE, digest_begins, rows_of
from sri_sdk.serve.store.observed import LABELS, Observed, StreamPage, StreamQuery
from sri_sdk.serve.store.series import matching
from sri_sdk.serve.store.tables import SERIES, VERDICTS
from sri_sdk.strict_json import parse
from sri_sdk.verdict_json import read_verdict

SCANNED = 10_000
"""Rows that one page looks at; it ends there, and the next one goes on."""
_PIECE = 200
"""Rows read at once while a page is filled."""
_SMALL = [VERDICTS.c[name] for name in ("seq", "series", "received_at", "at", "tenant", "audited", "label")]
_BEHIND = "\U0010ffff"


def stream(connection: Connection, query: StreamQuery, key: str | None) -> StreamPage:
    """One page.

    Args:
        connection: of the database.
        query: what it has; its limit was checked.
        key: of `query.id`, read as the whole id of a request; None = no id was asked for.
    """
    series = matching(connection, query)
    bounds = _bounds(connection, query)
    if bounds is None or series == {}:
        return StreamPage((), None)
    first, last = bounds
    found: list[int] = []
    for looked, row in enumerate(_candidates(connection, query, key, series, first, last), 1):
        if _fits(row, query, series):
            found.append(row.seq)
        if len(found) == query.limit or looked == SCANNED:
            return StreamPage(_read(connection, found, query.trajectories), row.seq)
    return StreamPage(_read(connection, found, query.trajectories), None)


def observation(connection: Connection, id: str, key: str, tenant: str | None) -> Observed | None:
    """One observation with everything that is kept of it; of a request, the most severe and latest."""
    rows = rows_of(connection, id, key, tenant, traffic=False)
    if not rows:
        return None
    seq = rows[0].seq
    read = _read(connection, [seq], trajectories=True)
    if not read:
        # Deleted meanwhile.
        return None
    (found,) = read
    texts = details.texts(connection, seq)
    return replace(found, observation=replace(found.observation, **texts), labels=labels.entries_of(connection, seq))


def _bounds(connection: Connection, query: StreamQuery) -> tuple[int, int | None] | None:
    """Numbers between which the page is; None = nothing is."""
    last = None if query.before is None else query.before - 1
    if query.since_ms is None and query.until_ms is None:
        return 0, last
    between = seqs_between(connection, query.since_ms, query.until_ms)
    if between is None:
        return None
    return between[0], between[1] if last is None else min(last, between[1])


def _candidates(
    connection: Connection, query: StreamQuery, key: str | None, series: Mapping[int, int] | None, first: int,
    last: int | None,
) -> Iterator[Row[Any]]:  # fmt: skip
    """Rows that may fit, the newest first, from the index that leaves out most."""
    if query.id is not None and key is not None:
        return _alike(connection, query.id, key, first, last)
    if query.unlabelled:
        return _backwards(connection, _written("audited = 1"), _written("label IS NULL"), first=first, last=last)
    if query.label is not None:
        words = LABELS if query.label == "any" else (query.label,)
        each = [VERDICTS.c.label == LABELS.index(word) for word in words]
        some = [_backwards(connection, one, _written("label IS NOT NULL"), first=first, last=last) for one in each]
        return heapq.merge(*some, key=lambda row: row.seq, reverse=True)
    if query.tenant:
        of_tenant = VERDICTS.c.tenant == query.tenant
        return _backwards(connection, of_tenant, _written("tenant <> ''"), first=first, last=last)
    if series is not None:
        return _merged(connection, series, first, last)
    return _backwards(connection, first=first, last=last)


def _merged(connection: Connection, series: Mapping[int, int], first: int, last: int | None) -> Iterator[Row[Any]]:
    """Rows of some series. Each is opened once its last number says that its rows could be next."""
    heap: list[tuple[int, int, Row[Any] | None, Iterator[Row[Any]]]] = []
    for number, its_last in series.items():
        rows = _backwards(connection, VERDICTS.c.series == number, first=first, last=last)
        heap.append((-(its_last if last is None else min(its_last, last)), number, None, rows))
    heapq.heapify(heap)
    while heap:
        _, number, row, rows = heap[0]
        if row is not None:
            yield row
        after = next(rows, None)
        if after is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (-after.seq, number, after, rows))


def _backwards(connection: Connection, *which: ColumnElement[bool], first: int, last: int | None) -> Iterator[Row[Any]]:
    """Rows in falling order, read in pieces as they are asked for."""
    while True:
        query = select(*_SMALL).where(*which, VERDICTS.c.seq >= first)
        if last is not None:
            query = query.where(VERDICTS.c.seq <= last)
        rows = connection.execute(query.order_by(VERDICTS.c.seq.desc()).limit(_PIECE)).all()
        yield from rows
        if len(rows) < _PIECE:
            return
        last = rows[-1].seq - 1


def _alike(connection: Connection, id: str, key: str, first: int, last: int | None) -> Iterator[Row[Any]]:
    ways: list[ColumnElement[bool]] = [VERDICTS.c.key == key]
    if key == id:
        ways.append(_begins(connection, id))
    if (begins := digest_begins(id)) is not None:
        ways.append(begins)
    found: dict[int, Row[Any]] = {}
    for way in ways:
        rows = connection.execute(select(*_SMALL).where(way).limit(MOST_ALIKE))
        found |= {row.seq: row for row in rows}
    some = (row for row in found.values() if row.seq >= first and (last is None or row.seq <= last))
    return iter(sorted(some, key=lambda row: row.seq, reverse=True))


def _begins(connection: Connection, id: str) -> ColumnElement[bool]:
    """The condition that a request's id begins so, in the order of bytes, which is that of characters as well."""
    if connection.dialect.name == "postgresql":
        return and_(VERDICTS.c.key.op("~>=~")(id), VERDICTS.c.key.op("~<~")(id + _BEHIND))
    return and_(VERDICTS.c.key >= id, VERDICTS.c.key < id + _BEHIND)


def _written(condition: str) -> ColumnElement[bool]:
    """A condition as the partial index has it: with a parameter in it, the database would not know that they agree."""
    return literal_column(f"({condition})")


def _fits(row: Row[Any], query: StreamQuery, series: Mapping[int, int] | None) -> bool:
    at = row.received_at if row.at is None else row.at
    return (
        (series is None or row.series in series)
        and (query.tenant is None or row.tenant == query.tenant)
        and (not query.unlabelled or (row.audited == 1 and row.label is None))
        and (query.label is None or (row.label is not None and query.label in ("any", LABELS[row.label])))
        and (query.since_ms is None or at >= query.since_ms)
        and (query.until_ms is None or at < query.until_ms)
    )


_COLUMNS = [
    *(VERDICTS.c[name] for name in ("seq", "tenant", "source", "received_at", "verdict", "digest", "at")),
    *(VERDICTS.c[name] for name in ("audited", "label", "generation_s", "scoring_s")),
    *(SERIES.c[name] for name in ("kind", "consequence", "model", "audit_rate")),
]


def _read(connection: Connection, seqs: Sequence[int], trajectories: bool) -> tuple[Observed, ...]:
    """Whole rows, the newest first; what was deleted meanwhile is left out."""
    signals = details.trajectories(connection, seqs) if trajectories else {}
    rows: list[Observed] = []
    for some in chunks(seqs):
        query = select(*_COLUMNS).join_from(VERDICTS, SERIES, VERDICTS.c.series == SERIES.c.id)
        rows += [
            _observed(row, signals.get(row.seq)) for row in connection.execute(query.where(VERDICTS.c.seq.in_(some)))
        ]
    return tuple(sorted(rows, key=lambda row: row.seq, reverse=True))


def _observed(row: Row[Any], trajectory: Trajectory | None) -> Observed:
    made = Observation(
        read_verdict(parse(row.verdict)), row.received_at if row.at is None else row.at,
        id=bytes(row.digest)[:16].hex(), kind=row.kind, consequence=row.consequence, deployment=row.source,
        model=row.model, tenant=row.tenant, audit_rate=row.audit_rate, audited=row.audited == 1,
        generation_s=row.generation_s, scoring_s=row.scoring_s, trajectory=trajectory,
    )  # fmt: skip
    return Observed(row.seq, row.received_at, made, None if row.label is None else LABELS[row.label])
