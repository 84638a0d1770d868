"""A bounded sample of scores, spread over a time, for pictures of drift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from sri_sdk.serve.store.hours import by_series
from sri_sdk.serve.store.observed import ScorePoint
from sri_sdk.serve.store.series import equal
from sri_sdk.serve.store.tables import SERIES, VERDICTS
from sri_sdk.strict_json import parse

_NEIGHBOURS = 20
"""Rows read from each place: a few places with some rows each are found faster than as many places."""


def sample(
    connection: Connection, since_ms: int, until_ms: int, deployment: str | None, bundle: str | None, kind: str,
    limit: int,
) -> tuple[ScorePoint, ...]:  # fmt: skip
    """Scores of up to about `limit` observations, every series by its share, in the order of their times."""
    wanted = equal({"source": deployment, "bundle": bundle, "kind": kind})
    by = by_series(since_ms, until_ms)
    query = select(by.c.series, by.c.generations, by.c.first_seq, by.c.last_seq)
    query = query.join_from(by, SERIES, by.c.series == SERIES.c.id)
    found = connection.execute(query.where(SERIES.c.status.in_(("clear", "flagged")), *wanted)).all()
    total = sum(row.generations for row in found)
    points: list[ScorePoint] = []
    for series, count, first, last in found:
        places = max(round(limit * count / total / _NEIGHBOURS), 1)
        seen = -1
        for place in range(places):
            start = max(first + (last - first + 1) * place // places, seen + 1)
            which = (VERDICTS.c.series == series, VERDICTS.c.seq >= start, VERDICTS.c.seq <= last)
            query = select(VERDICTS.c.seq, VERDICTS.c.received_at, VERDICTS.c.at, VERDICTS.c.verdict).where(*which)
            for row in connection.execute(query.order_by(VERDICTS.c.seq).limit(_NEIGHBOURS)):
                seen = row.seq
                at = row.received_at if row.at is None else row.at
                if since_ms <= at < until_ms:
                    points += _points(at, parse(row.verdict))
    return tuple(sorted(points, key=lambda point: point.at))


def _points(at: int, verdict: Any) -> Iterator[ScorePoint]:
    whole = {**verdict, "name": ""}
    for part in verdict.get("parts") or [whole]:
        if part["score"] is not None:
            yield ScorePoint(at, part["status"], part["name"], part["score"], part["threshold"])
