"""Who delivers verdicts, and whether somebody who should has stopped: an absent tap is not a quiet one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.files import canonical_json
from sri_sdk.serve.store.rows import Heartbeat, Source, State
from sri_sdk.serve.store.tables import SOURCES
from sri_sdk.strict_json import parse

SILENT_AFTER_S = 30.0
"""Seconds without a heartbeat and without a verdict after which a source is `silent`, and without a verdict `quiet`."""


def note_verdicts(connection: Connection, rows: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    """Counts new verdicts for the sources that named themselves."""
    for (tenant, source), count in Counter((row["tenant"], row["source"]) for row in rows if row["source"]).items():
        found = _known(connection, tenant, source)
        values = {"seen_at": now_ms, "verdict_at": now_ms, "verdicts": (found.verdicts if found else 0) + count}
        _save(connection, tenant, source, values, new=found is None)


def note_heartbeat(connection: Connection, beat: Heartbeat, now_ms: int) -> None:
    """Keeps what a source says of itself, and since when its generations have had no verdicts."""
    found = _known(connection, beat.tenant, beat.source)
    values: dict[str, Any] = {
        "seen_at": now_ms,
        "heartbeat_at": now_ms,
        "pid": beat.pid,
        "sent": beat.sent,
        "dropped": beat.dropped,
        "waiting": beat.waiting,
        "generations": beat.generations,
        "without_verdict": beat.without_verdict,
        "unwatched_since": _unwatched(found, beat, now_ms),
    }
    if beat.canary is not None:
        values |= {"canary": canonical_json(dict(beat.canary)).decode(), "canary_at": now_ms}
    _save(connection, beat.tenant, beat.source, values | ({} if found else {"verdicts": 0}), new=found is None)


def _unwatched(found: Row[Any] | None, beat: Heartbeat, now_ms: int) -> int | None:
    """Since when generations have had no verdict, though they should; None = they have."""
    if not beat.without_verdict:
        return None
    # A new process begins to count at 0.
    if found is None or found.pid != beat.pid or found.sent is None:
        return now_ms
    if beat.without_verdict > (found.without_verdict or 0):
        return now_ms if found.unwatched_since is None else found.unwatched_since
    said, before = beat.sent + beat.dropped + beat.waiting, found.sent + found.dropped + found.waiting
    return None if said > before else found.unwatched_since


def list_sources(connection: Connection, tenant: str | None, now_ms: int, silent_s: float) -> tuple[Source, ...]:
    """All sources, of one tenant or of everybody (None), by name."""
    query = select(SOURCES).order_by(SOURCES.c.tenant, SOURCES.c.source)
    if tenant is not None:
        query = query.where(SOURCES.c.tenant == tenant)
    return tuple(_source(row, now_ms, silent_s) for row in connection.execute(query))


def forget_sources(connection: Connection, which: ColumnElement[bool]) -> int:
    """Deletes sources; returns how many."""
    return connection.execute(delete(SOURCES).where(which)).rowcount


def _source(row: Row[Any], now_ms: int, silent_s: float) -> Source:
    canary = None if row.canary is None else parse(row.canary)
    state, why = _state(row, canary, now_ms, int(silent_s * 1000))
    return Source(
        row.source, row.tenant, state, why, row.pid, row.sent, row.dropped, row.waiting, row.generations,
        row.without_verdict, row.verdicts,
        row.heartbeat_at, row.verdict_at, row.canary_at, canary,
    )  # fmt: skip


def _state(row: Row[Any], canary: Mapping[str, Any] | None, now_ms: int, silent_ms: int) -> tuple[State, str | None]:
    if now_ms - row.seen_at > silent_ms:
        return "silent", None
    if canary is not None and canary.get("status") != "flagged":
        return "tap_missing", "canary_not_flagged"
    if row.unwatched_since is not None:
        return "tap_missing", "generations_without_verdicts"
    if row.verdict_at is None or now_ms - row.verdict_at > silent_ms:
        return "quiet", None
    return "alive", None


def _known(connection: Connection, tenant: str, source: str) -> Row[Any] | None:
    return connection.execute(select(SOURCES).where(_is(tenant, source))).one_or_none()


def _is(tenant: str, source: str) -> ColumnElement[bool]:
    return and_(SOURCES.c.tenant == tenant, SOURCES.c.source == source)


def _save(connection: Connection, tenant: str, source: str, values: dict[str, Any], *, new: bool) -> None:
    if new:
        connection.execute(insert(SOURCES).values(tenant=tenant, source=source, **values))
    else:
        connection.execute(update(SOURCES).where(_is(tenant, source)).values(**values))
