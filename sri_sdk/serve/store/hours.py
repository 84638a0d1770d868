"""Counts per hour: kept in the transaction that stores, labels or deletes, so that no page counts rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, get_args

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, select, update

from sri_sdk.observation import Kind
from sri_sdk.serve.store.latency import bucket_of, limits_of
from sri_sdk.serve.store.observed import HourCount, LatencyCount, Stratum
from sri_sdk.serve.store.series import equal
from sri_sdk.serve.store.tables import HOURS, LATENCIES, SERIES

HOUR_MS = 3_600_000
_COUNTS = ("generations", "drawn", "benign", "attack", "gone")
_NAMES = ("source", "bundle", "model", "kind", "status", "reason", "consequence", "audit_rate")


@dataclass(slots=True)
class Change:
    """What is added to one hour of one series."""

    generations: int = 0
    drawn: int = 0
    benign: int = 0
    attack: int = 0
    gone: int = 0


def hour_of(at_ms: int) -> int:
    """The hour of a time: hours since 1970, UTC."""
    return at_ms // HOUR_MS


def count_rows(connection: Connection, rows: Sequence[Mapping[str, Any]], first_seq: int, last_seq: int) -> None:
    """Counts new rows of verdicts, whose numbers are between the two."""
    changes: dict[tuple[int, int], Change] = {}
    latencies: Counter[tuple[int, str, int]] = Counter()
    for row in rows:
        hour = hour_of(row["received_at"] if row["at"] is None else row["at"])
        change = changes.setdefault((hour, row["series"]), Change())
        change.generations += 1
        change.drawn += row["audited"] or 0
        if row["scoring_s"] is not None and row["severity"] >= 0:
            latencies[hour, row["source"], bucket_of(row["scoring_s"])] += 1
    _add(connection, changes, first_seq, last_seq)
    _add_latencies(connection, latencies)


def recount(connection: Connection, changes: Mapping[tuple[int, int], Change]) -> None:
    """Adds to hours that are there; an hour that was deleted meanwhile stays deleted."""
    if not changes:
        return
    values = {name: HOURS.c[name] + bindparam(f"more_{name}") for name in _COUNTS}
    query = update(HOURS).where(HOURS.c.hour == bindparam("of_hour"), HOURS.c.series == bindparam("of_series"))
    connection.execute(
        query.values(values),
        [
            {"of_hour": hour, "of_series": series} | {f"more_{name}": getattr(change, name) for name in _COUNTS}
            for (hour, series), change in changes.items()
        ],
    )


def count_gone(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    """Counts those of deleted rows that were drawn for the audit sample, and that nobody had labelled."""
    changes: dict[tuple[int, int], Change] = {}
    for row in rows:
        if row.audited and row.label is None:
            changes.setdefault(place_of(row), Change()).gone += 1
    recount(connection, changes)


def place_of(row: Row[Any]) -> tuple[int, int]:
    """The hour and the series that a row of verdicts was counted in."""
    return hour_of(row.received_at if row.at is None else row.at), row.series


def _add(connection: Connection, changes: Mapping[tuple[int, int], Change], first_seq: int, last_seq: int) -> None:
    known: set[tuple[int, int]] = set()
    # Hour by hour: after a clock that was wrong, there may be years between the first and the last.
    for hour in {hour for hour, _ in changes}:
        of_hour = select(HOURS.c.series).where(HOURS.c.hour == hour)
        known.update((hour, series) for series in connection.scalars(of_hour))
    new = [
        dict(zip(_COUNTS, astuple(change), strict=True))
        | {"hour": hour, "series": series, "first_seq": first_seq, "last_seq": last_seq}
        for (hour, series), change in changes.items()
        if (hour, series) not in known
    ]
    old = {key: change for key, change in changes.items() if key in known}
    if new:
        connection.execute(insert(HOURS), new)
    recount(connection, old)
    if old:
        query = update(HOURS).where(HOURS.c.hour == bindparam("of_hour"), HOURS.c.series == bindparam("of_series"))
        connection.execute(
            query.values(last_seq=last_seq), [{"of_hour": hour, "of_series": series} for hour, series in old]
        )


def _add_latencies(connection: Connection, counts: Counter[tuple[int, str, int]]) -> None:
    for (hour, source, bucket), count in counts.items():
        which = and_(LATENCIES.c.hour == hour, LATENCIES.c.source == source, LATENCIES.c.bucket == bucket)
        more = update(LATENCIES).where(which).values(generations=LATENCIES.c.generations + count)
        if not connection.execute(more).rowcount:
            values = {"hour": hour, "source": source, "bucket": bucket, "generations": count}
            connection.execute(insert(LATENCIES).values(values))


def forget_before(connection: Connection, hour: int) -> None:
    """Deletes the counts of hours before this one."""
    for table in (HOURS, LATENCIES):
        connection.execute(delete(table).where(table.c.hour < hour))


def hour_counts(
    connection: Connection, since_ms: int, until_ms: int, deployment: str | None, bundle: str | None, hours: int
) -> tuple[HourCount, ...]:
    """Counts from the hour of `since_ms` on, before `until_ms`, with `hours` hours together."""
    begin = (HOURS.c.hour - HOURS.c.hour % hours).label("begin")
    names = [SERIES.c[name] for name in _NAMES]
    counts = [func.sum(HOURS.c[name]) for name in _COUNTS]
    query = select(begin, *names, *counts).join_from(HOURS, SERIES, HOURS.c.series == SERIES.c.id)
    query = query.where(_inside(HOURS, since_ms, until_ms), *equal({"source": deployment, "bundle": bundle}))
    rows = connection.execute(query.group_by(begin, *names).order_by(begin, *names))
    return tuple(HourCount(row[0] * HOUR_MS, *row[1:9], *map(int, row[9:])) for row in rows)


def latency_counts(
    connection: Connection, since_ms: int, until_ms: int, deployment: str | None, hours: int
) -> tuple[LatencyCount, ...]:
    """As `hour_counts`, of latencies."""
    begin = (LATENCIES.c.hour - LATENCIES.c.hour % hours).label("begin")
    which = [begin, LATENCIES.c.source, LATENCIES.c.bucket]
    query = select(*which, func.sum(LATENCIES.c.generations)).where(_inside(LATENCIES, since_ms, until_ms))
    if deployment is not None:
        query = query.where(LATENCIES.c.source == deployment)
    rows = connection.execute(query.group_by(*which).order_by(*which))
    return tuple(LatencyCount(row[0] * HOUR_MS, row[1], *limits_of(row[2]), int(row[3])) for row in rows)


def strata(
    connection: Connection, since_ms: int, until_ms: int, deployment: str | None, bundle: str | None
) -> tuple[Stratum, ...]:
    """Traffic by status and audit rate; as `hour_counts` otherwise."""
    which = [SERIES.c.status, SERIES.c.audit_rate]
    counts = [func.sum(HOURS.c[name]) for name in _COUNTS]
    query = select(*which, *counts).join_from(HOURS, SERIES, HOURS.c.series == SERIES.c.id)
    traffic = {"kind": get_args(Kind)[0], "source": deployment, "bundle": bundle}
    query = query.where(_inside(HOURS, since_ms, until_ms), *equal(traffic))
    rows = connection.execute(query.group_by(*which).order_by(*which))
    return tuple(Stratum(row[0], row[1], *map(int, row[2:])) for row in rows)


def seqs_between(connection: Connection, since_ms: int | None, until_ms: int | None) -> tuple[int, int] | None:
    """Numbers between which all verdicts of a time are, both ends included; None = there are none."""
    where = _inside(HOURS, since_ms or 0, until_ms)
    row = connection.execute(select(func.min(HOURS.c.first_seq), func.max(HOURS.c.last_seq)).where(where)).one()
    return None if row[0] is None else (row[0], row[1])


def _inside(table: Any, since_ms: int, until_ms: int | None) -> Any:
    """From the hour of `since_ms` on; hours that begin before `until_ms`."""
    after = table.c.hour >= hour_of(since_ms)
    return after if until_ms is None else and_(after, table.c.hour <= hour_of(until_ms - 1))
