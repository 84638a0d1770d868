"""What monitors generate right now, and how they are: few rows, each replaced as soon as there is news."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, exists, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.files import canonical_json
from sri_sdk.observation import Pulse, Running, SinkState
from sri_sdk.serve.store.observed import Process
from sri_sdk.serve.store.tables import PULSES, RUNNING
from sri_sdk.strict_json import parse

RUNNING_MS = 15_000
"""Age at which what a monitor showed is left out: it has ended, or cannot be reached."""
BESIDE_MS = 60_000
"""Age of a pulse, against the newest of its deployment, from which its process is silent beside others."""
MISSED_MS = 86_400_000
"""Age from which nobody misses it any more."""
REPLACED_MS = 3_600_000
"""Age of a pulse from which its process is taken for replaced, where one of its deployment started later."""


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
    """Replaces the last pulse of its process."""
    key = {"deployment": pulse.deployment, "started_at": pulse.started_at, "pid": pulse.pid}
    _replace(connection, PULSES, key, asdict(pulse), now_ms)


def all_pulses(connection: Connection, now_ms: int) -> tuple[Pulse, ...]:
    """The last of each process, by deployment and start, without those that were replaced."""
    return tuple(each.pulse for each in processes(connection, now_ms))


def pulses(connection: Connection, now_ms: int) -> tuple[Pulse, ...]:
    """One of each deployment, by name: of the processes that still speak, the one in the worst state, else the last
    that started.
    """
    return tuple(each.pulse for each in _speakers(connection, now_ms))


def heard(connection: Connection, now_ms: int) -> dict[str, int]:
    """Deployment -> when the pulse that `pulses` has of it was kept."""
    return {each.pulse.deployment: each.heard_at for each in _speakers(connection, now_ms)}


def processes(connection: Connection, now_ms: int) -> tuple[Process, ...]:
    """As `all_pulses`, with when each was kept, and which of them are missing."""
    order = (PULSES.c.deployment, PULSES.c.started_at, PULSES.c.pid)
    query = select(PULSES.c.at, PULSES.c.content).where(~_replaced(now_ms)).order_by(*order)
    found = [Process(row.at, _pulse(parse(row.content))) for row in connection.execute(query)]
    return tuple(each for some in _by_name(found) for each in _with_missing(some))


def _by_name(found: Iterable[Process]) -> list[list[Process]]:
    """The processes of each deployment; they come in the order of its name."""
    return [list(some) for _, some in groupby(found, key=lambda each: each.pulse.deployment)]


def _alive(some: Sequence[Process]) -> list[Process]:
    newest = max(each.heard_at for each in some)
    return [each for each in some if newest - each.heard_at <= BESIDE_MS]


def _speakers(connection: Connection, now_ms: int) -> list[Process]:
    """The process that speaks for each deployment."""
    found = []
    for some in _by_name(processes(connection, now_ms)):
        alive = _alive(some)
        # One that ended on purpose says nothing beside one that goes on.
        going = [each for each in alive if not each.pulse.ended] or alive
        found.append(max(going, key=lambda each: (_trouble(each.pulse), each.pulse.started_at, each.pulse.pid)))
    return found


def _with_missing(some: Sequence[Process]) -> Iterator[Process]:
    """The processes of one deployment, and which of them are missing: see `Process`.

    A process takes the place of one at most, and of one whose last pulse is from before its own start: of two replicas
    of which one ends and is not started again, the other takes no place.
    """
    newest = max(each.heard_at for each in some)
    missed = any(not each.pulse.ended for each in _alive(some))
    starts = sorted(each.pulse.started_at for each in some)
    missing = set[Process]()
    for each in sorted(some, key=lambda one: one.pulse.at):
        if each.pulse.ended or not missed or not BESIDE_MS < newest - each.heard_at <= MISSED_MS:
            continue
        later = next((start for start in starts if start > each.pulse.at), None)
        if later is None:
            missing.add(each)
        else:
            starts.remove(later)
    return (each._replace(missing=each in missing) for each in some)


def _pulse(content: Mapping[str, Any]) -> Pulse:
    """What JSON has as lists, as it was."""
    found = _record(Pulse, content)
    made: Pulse = replace(
        found, sinks=tuple(_record(SinkState, dict(sink)) for sink in found.sinks), looks=tuple(found.looks),
        canaries_proven=None if found.canaries_proven is None else tuple(found.canaries_proven),
    )  # fmt: skip
    return made


def _replaced(now_ms: int) -> ColumnElement[bool]:
    later = PULSES.alias()
    newer = exists().where(later.c.deployment == PULSES.c.deployment, later.c.started_at > PULSES.c.started_at)
    return and_(PULSES.c.at < now_ms - REPLACED_MS, newer)


def _trouble(pulse: Pulse) -> tuple[bool, ...]:
    """What is wrong, the worst first: blind, unasked whether it is, without scores, losing verdicts, drifting, with old
    settings, with gaps from before."""
    losing = any(sink.failing is not None or sink.is_losing(pulse.at) for sink in pulse.sinks)
    return (
        pulse.canary_missed is not None, pulse.canary_stopped is not None, pulse.scorer is not None, losing,
        pulse.drift is not None, pulse.reload_failed is not None,
        any(sink.dropped or sink.rejected for sink in pulse.sinks),
    )  # fmt: skip


def hide(connection: Connection, gone: Callable[[Mapping[str, Any]], bool]) -> None:
    """Takes generations out of what is shown, because they are to be erased."""
    for source, at, content in connection.execute(select(RUNNING.c.source, RUNNING.c.at, RUNNING.c.content)).all():
        shown = parse(content)
        left = [each for each in shown if not gone(each)]
        if len(left) < len(shown):
            _replace(connection, RUNNING, {"source": source}, left, at)


def forget_before(connection: Connection, oldest_ms: int | None, now_ms: int) -> None:
    """Deletes what was shown minutes ago, pulses of processes that were replaced, and those from before `oldest_ms`."""
    connection.execute(delete(RUNNING).where(~RUNNING.c.at.between(now_ms - 4 * RUNNING_MS, now_ms + 4 * RUNNING_MS)))
    connection.execute(delete(PULSES).where(_replaced(now_ms)))
    if oldest_ms is not None:
        connection.execute(delete(PULSES).where(PULSES.c.at < oldest_ms))


def _replace(connection: Connection, table: Table, key: Mapping[str, Any], content: Any, at_ms: int) -> None:
    values = {"at": at_ms, "content": canonical_json(content).decode()}
    which = [table.c[name] == value for name, value in key.items()]
    if not connection.execute(update(table).where(*which).values(values)).rowcount:
        connection.execute(insert(table).values({**key, **values}))


def _record(kind: Any, found: Mapping[str, Any]) -> Any:
    """A record without what this release does not know."""
    return kind(**{name: value for name, value in found.items() if name in kind.__slots__})
