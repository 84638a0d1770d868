"""The stream of observations, the newest first: filters of every kind, and a bounded number of rows looked at."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, repeat
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

SCANNED = 5_000
"""Rows that one page looks at; it ends there, and the next one goes on."""
_PIECES = (8, 32, 128, 512)
"""Rows read at once while a page is filled: few at first, where many series are asked for their next row."""
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
    candidates, sure = _candidates(connection, query, key, series, *bounds)
    found: list[int] = []
    looked = 0
    while looked < SCANNED:
        asked = min(max(query.limit + 1, 2 * looked), _PIECES[-1], SCANNED - looked)
        some = list(islice(candidates, asked))
        looked += len(some)
        found += some if sure else _fitting(connection, some, query, series)
        if len(found) > query.limit:
            found = found[: query.limit]
            return StreamPage(_read(connection, found, query.trajectories), found[-1])
        if len(some) < asked:
            return StreamPage(_read(connection, found, query.trajectories), None)
    return StreamPage(_read(connection, found, query.trajectories), some[-1])


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
) -> tuple[Iterator[int], bool]:  # fmt: skip
    """Numbers that may fit, the newest first, from the index that leaves out most; and whether all of them fit."""

    def backwards(*which: ColumnElement[bool]) -> Iterator[int]:
        return _backwards(connection, *which, first=first, last=last)

    if query.id is not None and key is not None:
        return _alike(connection, query.id, key, first, last), False
    if query.unlabelled:
        return backwards(_written("audited = 1"), _written("label IS NULL")), False
    if query.label is not None:
        words = LABELS if query.label == "any" else (query.label,)
        some = [backwards(VERDICTS.c.label == LABELS.index(word), _written("label IS NOT NULL")) for word in words]
        return heapq.merge(*some, reverse=True), False
    if query.tenant:
        return backwards(VERDICTS.c.tenant == query.tenant, _written("tenant <> ''")), False
    sure = query.tenant is None and query.since_ms is None and query.until_ms is None
    if series is None:
        return backwards(), sure
    bounds = {number: its if last is None else min(its, last) for number, its in series.items()}
    return _merged({number: (its, backwards(VERDICTS.c.series == number)) for number, its in bounds.items()}), sure


def _merged(series: Mapping[int, tuple[int, Iterator[int]]]) -> Iterator[int]:
    """Numbers of some series. Each is asked once the number that it may end with says that it could be next."""
    heap = [(-last, number, False) for number, (last, _) in series.items()]
    heapq.heapify(heap)
    while heap:
        seq, number, is_one = heap[0]
        if is_one:
            yield -seq
        after = next(series[number][1], None)
        if after is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (-after, number, True))


def _backwards(connection: Connection, *which: ColumnElement[bool], first: int, last: int | None) -> Iterator[int]:
    """Numbers in falling order, read from an index in pieces as they are asked for."""
    for size in chain(_PIECES, repeat(_PIECES[-1])):
        query = select(VERDICTS.c.seq).where(*which, VERDICTS.c.seq >= first)
        if last is not None:
            query = query.where(VERDICTS.c.seq <= last)
        seqs = connection.scalars(query.order_by(VERDICTS.c.seq.desc()).limit(size)).all()
        yield from seqs
        if len(seqs) < size:
            return
        last = seqs[-1] - 1


def _alike(connection: Connection, id: str, key: str, first: int, last: int | None) -> Iterator[int]:
    # Each in the order of the index that finds it. Without an order, a database may read another index from its start
    # until it has met enough of them.
    ways: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = [(VERDICTS.c.key == key, VERDICTS.c.key)]
    if key == id:
        ways.append(_begins(connection, id))
    if (begins := digest_begins(id)) is not None:
        ways.append((begins, VERDICTS.c.digest))
    found: set[int] = set()
    for way, order in ways:
        found.update(connection.scalars(select(VERDICTS.c.seq).where(way).order_by(order).limit(MOST_ALIKE)))
    return iter(sorted((seq for seq in found if seq >= first and (last is None or seq <= last)), reverse=True))


def _begins(connection: Connection, id: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    """The condition that a request's id begins so, and the order of such ids: that of bytes, and so of characters."""
    if connection.dialect.name == "postgresql":
        begins = and_(VERDICTS.c.key.op("~>=~")(id), VERDICTS.c.key.op("~<~")(id + _BEHIND))
        return begins, literal_column("sri_verdicts.key USING ~<~")
    return and_(VERDICTS.c.key >= id, VERDICTS.c.key < id + _BEHIND), VERDICTS.c.key


def _written(condition: str) -> ColumnElement[bool]:
    """A condition as the partial index has it: with a parameter in it, the database would not know that they agree."""
    return literal_column(f"({condition})")


def _fitting(
    connection: Connection, seqs: Sequence[int], query: StreamQuery, series: Mapping[int, int] | None
) -> list[int]:
    """Those that fit, in the same order."""
    found: set[int] = set()
    for some in chunks(seqs):
        names = ("seq", "series", "received_at", "at", "tenant", "audited", "label")
        rows = connection.execute(select(*(VERDICTS.c[name] for name in names)).where(VERDICTS.c.seq.in_(some)))
        found.update(row.seq for row in rows if _fits(row, query, series))
    return [seq for seq in seqs if seq in found]


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
