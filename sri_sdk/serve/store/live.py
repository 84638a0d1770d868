"""What monitors generate right now, and how they are: few rows, each replaced as soon as there is news."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from sri_sdk.files import canonical_json
from sri_sdk.observation import Pulse, Running, SinkState
from sri_sdk.serve.store.tables import PULSES, RUNNING
from sri_sdk.strict_json import parse

RUNNING_MS = 15_000
"""Age at which what a monitor showed is left out: it has ended, or cannot be reached."""


def is_text(running: Running) -> bool:
    """Whether it can be written down: half of a surrogate pair in one would keep all the others from being shown."""
    return not any(
        "\ud800" <= character <= "\udfff"
        for text in (running.request_id, running.deployment, running.tenant, running.draft or "")
        for character in text
    )


def show(connection: Connection, running: Sequence[Running], source: str, now_ms: int) -> None:
    """Replaces what a source has shown."""
    _replace(connection, RUNNING, {"source": source}, [asdict(each) for each in running], now_ms)


def running(connection: Connection, tenant: str | None, now_ms: int) -> tuple[Running, ...]:
    """What is running, the oldest first. A clock that was set back hides it until the next time it is shown."""
    fresh = select(RUNNING.c.content).where(RUNNING.c.at.between(now_ms - RUNNING_MS, now_ms + RUNNING_MS))
    found = [_record(Running, each) for content in connection.scalars(fresh) for each in parse(content)]
    shown = [replace(each, sigma=tuple(each.sigma)) for each in found if tenant in (None, each.tenant)]
    return tuple(sorted(shown, key=lambda each: (each.started_at, each.request_id)))


def pulse(connection: Connection, pulse: Pulse, now_ms: int) -> None:
    """Replaces the last pulse of its deployment."""
    _replace(connection, PULSES, {"deployment": pulse.deployment}, asdict(pulse), now_ms)


def pulses(connection: Connection) -> tuple[Pulse, ...]:
    """The last of each deployment, by name."""
    rows = connection.scalars(select(PULSES.c.content).order_by(PULSES.c.deployment))
    found = [_record(Pulse, parse(content)) for content in rows]
    return tuple(
        replace(
            each, sinks=tuple(_record(SinkState, dict(sink)) for sink in each.sinks), looks=tuple(each.looks),
            canaries_proven=None if each.canaries_proven is None else tuple(each.canaries_proven),
        )
        for each in found
    )  # fmt: skip


def heard(connection: Connection) -> dict[str, int]:
    """Deployment -> when its last pulse was kept."""
    rows = connection.execute(select(PULSES.c.deployment, func.max(PULSES.c.at)).group_by(PULSES.c.deployment))
    return {deployment: at for deployment, at in rows.all()}


def hide(connection: Connection, gone: Callable[[Mapping[str, Any]], bool]) -> None:
    """Takes generations out of what is shown, because they are to be erased."""
    for source, at, content in connection.execute(select(RUNNING.c.source, RUNNING.c.at, RUNNING.c.content)).all():
        shown = parse(content)
        left = [each for each in shown if not gone(each)]
        if len(left) < len(shown):
            _replace(connection, RUNNING, {"source": source}, left, at)


def forget_before(connection: Connection, oldest_ms: int | None, now_ms: int) -> None:
    """Deletes what was shown minutes ago, and pulses from before `oldest_ms`."""
    connection.execute(delete(RUNNING).where(~RUNNING.c.at.between(now_ms - 4 * RUNNING_MS, now_ms + 4 * RUNNING_MS)))
    if oldest_ms is not None:
        connection.execute(delete(PULSES).where(PULSES.c.at < oldest_ms))


def _replace(connection: Connection, table: Table, key: dict[str, str], content: Any, at_ms: int) -> None:
    values = {"at": at_ms, "content": canonical_json(content).decode()}
    which = [table.c[name] == value for name, value in key.items()]
    if not connection.execute(update(table).where(*which).values(values)).rowcount:
        connection.execute(insert(table).values({**key, **values}))


def _record(kind: Any, found: Mapping[str, Any]) -> Any:
    """A record without what this release does not know."""
    return kind(**{name: value for name, value in found.items() if name in kind.__slots__})
