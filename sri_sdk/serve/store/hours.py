"""Reads counts per hour, or per several hours, as pages and estimates need them. Months are read from days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from sqlalchemy import BigInteger, Connection, Subquery, Table, and_, cast, func, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.observation import Kind
from sri_sdk.serve.store.counting import DAY, HOUR_MS, NUMBERS, hour_of
from sri_sdk.serve.store.latency import limits_of
from sri_sdk.serve.store.observed import HourCount, LatencyCount, Stratum
from sri_sdk.serve.store.series import equal
from sri_sdk.serve.store.tables import COUNTS, LATENCIES, SERIES

_NAMES = ("source", "bundle", "model", "kind", "status", "reason", "consequence", "audit_rate")

_NEVER_MS = 1 << 53
"""Later than any clock can be: the largest number that JSON holds."""


def hour_counts(
    connection: Connection, since_ms: int, until_ms: int, deployment: str | None, bundle: str | None, hours: int
) -> tuple[HourCount, ...]:
    """Counts from the hour of `since_ms` on, before `until_ms`, with `hours` hours together."""
    some = _counts(COUNTS, ("series", *NUMBERS), since_ms, until_ms, days=hours % DAY == 0)
    begin = (some.c.hour - some.c.hour % hours).label("begin")
    # By number first: names are long, and each number has its own.
    sums = [_sum(some.c[name]).label(name) for name in NUMBERS]
    by = select(begin, some.c.series, *sums).group_by(begin, some.c.series).subquery()
    query = select(by.c.begin, *(SERIES.c[name] for name in _NAMES), *(by.c[name] for name in NUMBERS))
    query = query.join_from(by, SERIES, by.c.series == SERIES.c.id)
    query = query.where(*equal({"source": deployment, "bundle": bundle})).order_by(by.c.begin, by.c.series)
    rows = connection.execute(query)
    return tuple(HourCount(row[0] * HOUR_MS, *row[1:9], *row[9:]) for row in rows)


def latency_counts(
    connection: Connection, since_ms: int, until_ms: int, deployment: str | None, hours: int
) -> tuple[LatencyCount, ...]:
    """As `hour_counts`, of latencies."""
    names = ("source", "bucket", "generations")
    some = _counts(LATENCIES, names, since_ms, until_ms, days=hours % DAY == 0)
    begin = (some.c.hour - some.c.hour % hours).label("begin")
    which = [begin, some.c.source, some.c.bucket]
    query = select(*which, _sum(some.c.generations)).group_by(*which).order_by(*which)
    if deployment is not None:
        query = query.where(some.c.source == deployment)
    rows = connection.execute(query)
    return tuple(LatencyCount(row[0] * HOUR_MS, row[1], *limits_of(row[2]), row[3]) for row in rows)


def strata(
    connection: Connection, since_ms: int, until_ms: int, deployment: str | None, bundle: str | None
) -> tuple[Stratum, ...]:
    """Traffic by status and audit rate; as `hour_counts` otherwise."""
    some = _counts(COUNTS, ("series", *NUMBERS), since_ms, until_ms, days=True)
    which = [SERIES.c.status, SERIES.c.audit_rate]
    query = select(*which, *(_sum(some.c[name]) for name in NUMBERS))
    query = query.join_from(some, SERIES, some.c.series == SERIES.c.id)
    query = query.where(*equal({"kind": get_args(Kind)[0], "source": deployment, "bundle": bundle}))
    rows = connection.execute(query.group_by(*which).order_by(*which))
    return tuple(Stratum(row[0], row[1], *row[2:]) for row in rows)


def seqs_between(connection: Connection, since_ms: int | None, until_ms: int | None) -> tuple[int, int] | None:
    """Numbers between which all verdicts of a time are, both ends included; None = there are none."""
    # Whole days as one row each: a time without an end has years of hours.
    names = ("first_seq", "last_seq")
    some = _counts(COUNTS, names, since_ms or 0, _NEVER_MS if until_ms is None else until_ms, days=True)
    row = connection.execute(select(func.min(some.c.first_seq), func.max(some.c.last_seq))).one()
    return None if row[0] is None else (row[0], row[1])


def by_series(since_ms: int, until_ms: int) -> Subquery:
    """Per series: `generations`, and `first_seq` and `last_seq` between which they are."""
    some = _counts(COUNTS, ("series", "generations", "first_seq", "last_seq"), since_ms, until_ms, days=True)
    sums = (_sum(some.c.generations), func.min(some.c.first_seq), func.max(some.c.last_seq))
    labelled = [each.label(name) for each, name in zip(sums, ("generations", "first_seq", "last_seq"), strict=True)]
    return select(some.c.series, *labelled).group_by(some.c.series).subquery()


def _sum(column: ColumnElement[int]) -> ColumnElement[int]:
    """PostgreSQL makes decimals of sums."""
    return cast(func.sum(column), BigInteger)


def _counts(table: Table, names: Sequence[str], since_ms: int, until_ms: int, *, days: bool) -> Subquery:
    """The rows of a time, with their hour; whole days as one row each where `days` says so."""
    columns = [table.c[name] for name in ("hour", *names)]
    last_hour = hour_of(until_ms - 1) if until_ms > since_ms else hour_of(since_ms) - 1
    pieces = [
        select(*columns).where(and_(table.c.span == span, table.c.hour.between(first, last)))
        for span, first, last in _pieces(hour_of(since_ms), last_hour, days)
    ]
    return union_all(*pieces).subquery() if len(pieces) > 1 else pieces[0].subquery()


def _pieces(first: int, last: int, days: bool) -> Iterator[tuple[int, int, int]]:
    """Hours from `first` to `last`, both included, as (span, first, last)."""
    begin, end = -(-first // DAY) * DAY, (last + 1) // DAY * DAY
    if not days or end <= begin:
        yield 1, first, last
        return
    yield DAY, begin, end - DAY
    if first < begin:
        yield 1, first, begin - 1
    if end <= last:
        yield 1, end, last
