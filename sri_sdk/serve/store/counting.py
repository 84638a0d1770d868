"""Keeps counts per hour and per day, in the transaction that stores, labels or deletes: so that no page counts rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from sri_sdk.serve.store.latency import bucket_of
from sri_sdk.serve.store.tables import COUNTS, LATENCIES

HOUR_MS = 3_600_000
DAY = 24
SPANS = (1, DAY)
"""Hours that a row of counts is about: pages of months read days."""
NUMBERS = ("generations", "drawn", "benign", "attack", "gone")


@dataclass(slots=True)
class Change:
    """What is added to one hour of one series."""

    generations: int = 0
    drawn: int = 0
    benign: int = 0
    attack: int = 0
    gone: int = 0


Changes = dict[tuple[int, int], Change]
"""(hour, series) -> what is added."""


def hour_of(at_ms: int) -> int:
    """The hour of a time: hours since 1970, UTC."""
    return at_ms // HOUR_MS


def place_of(row: Row[Any]) -> tuple[int, int]:
    """The hour and the series that a row of verdicts was counted in."""
    return hour_of(row.received_at if row.at is None else row.at), row.series


def count_rows(connection: Connection, rows: Sequence[Mapping[str, Any]], first_seq: int, last_seq: int) -> None:
    """Counts new rows of verdicts, whose numbers are between the two."""
    changes: Changes = {}
    latencies: Counter[tuple[int, str, int]] = Counter()
    for row in rows:
        hour = hour_of(row["received_at"] if row["at"] is None else row["at"])
        change = changes.setdefault((hour, row["series"]), Change())
        change.generations += 1
        change.drawn += row["audited"] or 0
        if row["scoring_s"] is not None and row["severity"] >= 0:
            latencies[hour, row["source"], bucket_of(row["scoring_s"])] += 1
    for span in SPANS:
        _add(connection, _by(span, changes), span, first_seq, last_seq)
        _add_latencies(connection, span, latencies)


def recount(connection: Connection, changes: Changes) -> None:
    """Adds to hours that are there; an hour that was deleted meanwhile stays deleted."""
    for span in SPANS if changes else ():
        _change(connection, _by(span, changes), span, {})


def count_gone(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    """Counts those of deleted rows that were drawn for the audit sample, and that nobody had labelled."""
    changes: Changes = {}
    for row in rows:
        if row.audited and row.label is None:
            changes.setdefault(place_of(row), Change()).gone += 1
    recount(connection, changes)


def forget_before(connection: Connection, hour: int) -> None:
    """Deletes the counts of whole days before this hour."""
    for table in (COUNTS, LATENCIES):
        for span in SPANS:
            connection.execute(delete(table).where(table.c.span == span, table.c.hour < hour - hour % DAY))


def _by(span: int, changes: Changes) -> Changes:
    """Changes of hours as changes of the spans that they are in."""
    if span == 1:
        return changes
    found: Changes = {}
    for (hour, series), change in changes.items():
        total = found.setdefault((hour - hour % span, series), Change())
        for name in NUMBERS:
            setattr(total, name, getattr(total, name) + getattr(change, name))
    return found


def _add(connection: Connection, changes: Changes, span: int, first_seq: int, last_seq: int) -> None:
    known: set[tuple[int, int]] = set()
    # Hour by hour: after a clock that was wrong, there may be years between the first and the last.
    for hour in {hour for hour, _ in changes}:
        query = select(COUNTS.c.series).where(COUNTS.c.span == span, COUNTS.c.hour == hour)
        known.update((hour, series) for series in connection.scalars(query))
    new = [key for key in changes if key not in known]
    if new:
        fixed = {"span": span, "first_seq": first_seq, "last_seq": last_seq, **dict.fromkeys(NUMBERS, 0)}
        connection.execute(insert(COUNTS), [{"hour": hour, "series": series, **fixed} for hour, series in new])
    _change(connection, changes, span, {"last_seq": last_seq})


def _change(connection: Connection, changes: Changes, span: int, fixed: Mapping[str, int]) -> None:
    values = {name: COUNTS.c[name] + bindparam(f"more_{name}") for name in NUMBERS}
    query = update(COUNTS).where(
        COUNTS.c.span == span, COUNTS.c.hour == bindparam("of_hour"), COUNTS.c.series == bindparam("of_series")
    )
    rows = [
        {"of_hour": hour, "of_series": series, **{f"more_{name}": getattr(change, name) for name in NUMBERS}}
        for (hour, series), change in changes.items()
    ]
    connection.execute(query.values({**values, **fixed}), rows)


def _add_latencies(connection: Connection, span: int, counts: Counter[tuple[int, str, int]]) -> None:
    spans: Counter[tuple[int, str, int]] = Counter()
    for (hour, source, bucket), count in counts.items():
        spans[hour - hour % span, source, bucket] += count
    known: set[tuple[int, str, int]] = set()
    for hour in {hour for hour, *_ in spans}:
        query = select(LATENCIES.c.source, LATENCIES.c.bucket).where(LATENCIES.c.span == span, LATENCIES.c.hour == hour)
        known.update((hour, row.source, row.bucket) for row in connection.execute(query))
    # Two statements, however many buckets there are: one for each would cost more than all the rest of a commit.
    old = [key for key in spans if key in known]
    if old:
        rows = [{**dict(zip(_OF_LATENCY, (span, *key), strict=True)), "more": spans[key]} for key in old]
        connection.execute(_MORE_LATENCIES, rows)
    if len(old) < len(spans):
        new = [(*key, count) for key, count in spans.items() if key not in known]
        connection.execute(insert(LATENCIES), [dict(zip(_LATENCY, (span, *row), strict=True)) for row in new])


_LATENCY = tuple(column.name for column in LATENCIES.columns)
_OF_LATENCY = ("of_span", "of_hour", "of_source", "of_bucket")
_MORE_LATENCIES = (
    update(LATENCIES)
    .where(*(LATENCIES.c[name] == bindparam(of) for name, of in zip(_LATENCY, _OF_LATENCY, strict=False)))
    .values(generations=LATENCIES.c.generations + bindparam("more"))
)
