"""Who delivers verdicts, and whether somebody who should has stopped: an absent tap is not a quiet one.

A source is one service; its processes are told apart by their pids, so that one that lives hides none that does not. A
row belongs to a tenant. The heartbeats of a service that serves many come under no tenant, and count for all its rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.files import canonical_json
from sri_sdk.serve.store.rows import Heartbeat, Source, State
from sri_sdk.serve.store.tables import PROCESSES, SOURCES
from sri_sdk.strict_json import parse

SILENT_AFTER_S = 30.0
"""Seconds without a heartbeat and without a verdict after which a source is `silent`, and without a verdict `quiet`."""
FORGOTTEN_AFTER_MS = 600_000
"""After which a process that says nothing is no part of its source any more, if another one of it still speaks."""


def note_verdicts(connection: Connection, rows: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    """Counts new verdicts for the sources that named themselves."""
    for (tenant, source), count in Counter((row["tenant"], row["source"]) for row in rows if row["source"]).items():
        found = _known(connection, tenant, source)
        values = {"seen_at": now_ms, "verdict_at": now_ms, "verdicts": (found.verdicts if found else 0) + count}
        _save(connection, tenant, source, {**values, "ended_at": None}, new=found is None)


def note_heartbeat(connection: Connection, beat: Heartbeat, now_ms: int) -> None:
    """Keeps what a process says of itself, and since when its generations have had no verdicts."""
    known, mine = _known(connection, beat.tenant, beat.source), _of(beat.tenant, beat.source)
    this = mine & (PROCESSES.c.pid == beat.pid)
    if beat.ended:
        connection.execute(delete(PROCESSES).where(this))
    else:
        connection.execute(delete(PROCESSES).where(mine & (PROCESSES.c.seen_at < now_ms - FORGOTTEN_AFTER_MS) & ~this))
        found = connection.execute(select(PROCESSES).where(this)).one_or_none()
        values: dict[str, Any] = {
            "seen_at": now_ms,
            "sent": beat.sent,
            "dropped": beat.dropped,
            "waiting": beat.waiting,
            "generations": beat.generations,
            "without_verdict": beat.without_verdict,
            "unwatched_since": _unwatched(found, beat, now_ms),
        }
        if beat.canary is not None:
            values |= {"canary": canonical_json(dict(beat.canary)).decode(), "canary_at": now_ms}
        if found is None:
            key = {"tenant": beat.tenant, "source": beat.source, "pid": beat.pid}
            connection.execute(insert(PROCESSES).values(**key, **values))
        else:
            connection.execute(update(PROCESSES).where(this).values(**values))
    left = connection.scalar(select(func.count()).select_from(PROCESSES).where(mine))
    said = {"seen_at": now_ms, "heartbeat_at": now_ms, "ended_at": None if left else now_ms}
    _save(connection, beat.tenant, beat.source, said | ({} if known else {"verdicts": 0}), new=known is None)


def _unwatched(found: Row[Any] | None, beat: Heartbeat, now_ms: int) -> int | None:
    """Since when generations have had no verdict, though they should; None = they have."""
    if not beat.without_verdict:
        return None
    if found is None or found.sent is None:
        return now_ms
    if beat.without_verdict > (found.without_verdict or 0):
        return now_ms if found.unwatched_since is None else found.unwatched_since
    said, before = beat.sent + beat.dropped + beat.waiting, found.sent + found.dropped + found.waiting
    return None if said > before else found.unwatched_since


def list_sources(connection: Connection, tenant: str | None, now_ms: int, silent_s: float) -> tuple[Source, ...]:
    """All sources, of one tenant or of everybody (None), by name."""
    query, heard = select(SOURCES).order_by(SOURCES.c.tenant, SOURCES.c.source), select(PROCESSES)
    if tenant is not None:
        query = query.where(SOURCES.c.tenant.in_((tenant, "")))
        heard = heard.where(PROCESSES.c.tenant.in_((tenant, "")))
    processes: defaultdict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(heard.order_by(PROCESSES.c.pid)):
        processes[row.tenant, row.source].append(row)
    rows = list(connection.execute(query))
    homes = {row.source: row for row in rows if row.tenant == "" and row.heartbeat_at is not None}
    silent_ms, found = int(silent_s * 1000), []
    for row in rows:
        if tenant not in (None, row.tenant):
            continue
        home = row if row.heartbeat_at is not None else homes.get(row.source, row)
        its = processes[home.tenant, home.source]
        found.append(_source(row, its, _state(row, home, its, now_ms, silent_ms)))
    return tuple(found)


def forget_sources(
    connection: Connection, *, tenant: str | None = None, source: str | None = None, before: int | None = None
) -> int:
    """Deletes the sources that all arguments fit, and what is known of their processes.

    Args:
        connection: in a transaction.
        tenant: whose; None = everybody's.
        source: its name; None = any.
        before: neither seen nor heard since then, in milliseconds; None = whenever.

    Returns:
        How many.
    """
    for table in (PROCESSES, SOURCES):
        which: list[ColumnElement[bool]] = []
        which += [] if tenant is None else [table.c.tenant == tenant]
        which += [] if source is None else [table.c.source == source]
        which += [] if before is None else [table.c.seen_at < before]
        gone = connection.execute(delete(table).where(*which)).rowcount
    return gone


Judged = tuple[State, str | None, Row[Any] | None]
"""State, why, and the process that it comes from."""


def _source(row: Row[Any], processes: Sequence[Row[Any]], judged: Judged) -> Source:
    state, why, worst = judged
    # A row without heartbeats of its own belongs to a tenant, who learns nothing of what others do there.
    own = processes if row.heartbeat_at is not None else ()
    shown = worst if worst is not None and own else None

    def total(name: str) -> int | None:
        numbers = [number for each in own if (number := getattr(each, name)) is not None]
        return sum(numbers) if numbers else None

    newest = max((each for each in own if each.canary_at is not None), key=lambda each: each.canary_at, default=None)
    canary = shown if shown is not None and shown.canary is not None else newest
    return Source(
        row.source, row.tenant, state, why, None if shown is None else shown.pid, len(own), total("sent"),
        total("dropped"), total("waiting"), total("generations"), total("without_verdict"), row.verdicts,
        row.heartbeat_at, row.verdict_at, None if canary is None else canary.canary_at,
        None if canary is None else parse(canary.canary),
    )  # fmt: skip


def _state(row: Row[Any], home: Row[Any], processes: Sequence[Row[Any]], now_ms: int, silent_ms: int) -> Judged:
    """How a source is: as its worst process. `home` has the heartbeats that count for it."""
    silent = [each for each in processes if now_ms - each.seen_at > silent_ms]
    speaking = [each for each in processes if each not in silent]
    for each in speaking:
        if each.canary is not None and parse(each.canary).get("status") != "flagged":
            return "tap_missing", "canary_not_flagged", each
    for each in speaking:
        if each.unwatched_since is not None:
            return "tap_missing", "generations_without_verdicts", each
    delivers = row.verdict_at is not None and now_ms - row.verdict_at <= silent_ms
    if silent and (speaking or not delivers):
        return "silent", None, silent[0]
    if home.ended_at is not None and not delivers:
        return "ended", None, None
    if not processes and not delivers:
        return "silent", None, None
    return "alive" if delivers else "quiet", None, processes[0] if processes else None


def _known(connection: Connection, tenant: str, source: str) -> Row[Any] | None:
    return connection.execute(select(SOURCES).where(_is(tenant, source))).one_or_none()


def _is(tenant: str, source: str) -> ColumnElement[bool]:
    return and_(SOURCES.c.tenant == tenant, SOURCES.c.source == source)


def _of(tenant: str, source: str) -> ColumnElement[bool]:
    return and_(PROCESSES.c.tenant == tenant, PROCESSES.c.source == source)


def _save(connection: Connection, tenant: str, source: str, values: dict[str, Any], *, new: bool) -> None:
    if new:
        connection.execute(insert(SOURCES).values(tenant=tenant, source=source, **values))
    else:
        connection.execute(update(SOURCES).where(_is(tenant, source)).values(**values))
