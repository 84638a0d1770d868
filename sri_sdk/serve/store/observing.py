"""The part of `VerdictStore` that monitors write to, and that operators read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import Connection

from sri_sdk.errors import SinkRejected
from sri_sdk.observation import Kind, Observation, Pulse, Running
from sri_sdk.serve.store import hours, labels, live, scores, series, streams, waiting
from sri_sdk.serve.store.engines import Engines
from sri_sdk.serve.store.faults import DATABASE_ERRORS, StoreUnavailable, fault_of
from sri_sdk.serve.store.keys import Keys
from sri_sdk.serve.store.newest import Newest
from sri_sdk.serve.store.observed import (
    LABELS,
    Choices,
    HourCount,
    LabelEntry,
    LabelWord,
    LatencyCount,
    Observed,
    Process,
    ScorePoint,
    Stratum,
    StreamPage,
    StreamQuery,
)  # fmt: skip
from sri_sdk.serve.store.prepared import Prepared, Unstorable, prepare_observation
from sri_sdk.serve.store.rows import Added
from sri_sdk.serve.store.writer import Writer

T = TypeVar("T")

LONGEST_BY, LONGEST_NOTE = 200, 10_000
"""Characters of who labelled, and of what they add."""
LARGEST_PAGE = 1_000


class Observing:
    """Observations, what runs, how monitors are, labels, and the counts of all that."""

    _engines: Engines
    _keys: Keys
    _writer: Writer
    _shown: Newest[Sequence[Running]]
    _pulses: Newest[Pulse]
    _clock: Callable[[], float]
    _closed = False

    def observe(self, observations: Sequence[Observation]) -> Added:
        """Stores observations, all or none; they are on disk when it returns. One that is known by its id is counted
        as `known`, and changes nothing.

        Only traffic answers look-ups of `find` and `page`; canaries and shadows never speak for a request.

        Raises:
            StoreUnavailable: nothing was acknowledged. What is delivered again is stored once all the same.
            SinkRejected: some can never be stored: an id that is not 32 hexadecimal characters, a name with a zero
                byte or of too many characters, a number that is not finite. The others are on disk.
        """
        rows: list[Prepared] = []
        refused: dict[str, str] = {}
        for each in observations:
            try:
                rows.append(prepare_observation(each, self._keys))
            except Unstorable as err:
                refused[each.id] = str(err)
        added = self._stored(rows, refused)
        if refused:
            raise SinkRejected(refused, "; ".join(sorted(set(refused.values()))))
        return added

    def _stored(self, rows: Sequence[Prepared], refused: dict[str, str]) -> Added:
        """Writes rows; those that the database itself refuses are found by halves, and noted by their ids."""
        try:
            return self._writer.deliver(rows).result()
        except StoreUnavailable as err:
            if err.fault != "content":
                raise
        if len(rows) == 1:
            refused[rows[0].values["digest"].hex()] = "a row that the database does not take"
            return Added(0, 0)
        half = len(rows) // 2
        one, other = self._stored(rows[:half], refused), self._stored(rows[half:], refused)
        return Added(one.stored + other.stored, one.known + other.known)

    def show(self, running: Sequence[Running], source: str) -> Future[None]:
        """Keeps what a monitor generates right now, in the place of what it showed before; returns at once.

        The future may be left alone: it fails with `StoreUnavailable` where this is not written, and the next call
        comes soon.

        Args:
            running: all of it; what is not named has ended. One that is no text, such as an id with half of a
                surrogate pair, is left out.
            source: name of what shows it, the same at every call.
        """
        shown = [each for each in running if live.is_text(each)]
        kept = [replace(each, request_id=self._keys.key_of(each.request_id)) for each in shown]
        return self._shown.put(source, kept)

    def running(self, tenant: str | None = None) -> tuple[Running, ...]:
        """What is running right now, everybody's or one tenant's; what was not shown again within 15 s is left out.

        Raises:
            StoreUnavailable: it cannot be read. So do all methods that read.
        """
        return self._read(lambda connection: live.running(connection, tenant, self._now_ms()))

    def pulse(self, pulse: Pulse) -> Future[None]:
        """Keeps how a monitor is, in the place of the last pulse of its process; as `show` otherwise."""
        return self._pulses.put(f"{pulse.deployment}\0{pulse.started_at}\0{pulse.pid}", pulse)

    def pulses(self) -> tuple[Pulse, ...]:
        """One pulse of each deployment, by name, however old it is: compare its `at`.

        Where several processes of one name speak, it is that of the one in the worst state, so that no healthy replica
        hides a blind one; where none is in trouble, of the one that started last. Processes that fell silent beside
        them: see `processes`.
        """
        return self._read(lambda connection: live.pulses(connection, self._now_ms()))

    def all_pulses(self) -> tuple[Pulse, ...]:
        """The last pulse of each process, by deployment and start. Left out are processes that have said nothing for an
        hour while one of their deployment started later: they were replaced.
        """
        return self._read(lambda connection: live.all_pulses(connection, self._now_ms()))

    def processes(self) -> tuple[Process, ...]:
        """As `all_pulses`, with when each was kept, and which are missing: silent beside one that lives."""
        return self._read(lambda connection: live.processes(connection, self._now_ms()))

    def heard(self) -> dict[str, int]:
        """Deployment -> when the pulse that `pulses` has of it was kept, in milliseconds by the clock of whoever wrote
        it into the store: that of the monitor itself may be another."""
        return self._read(lambda connection: live.heard(connection, self._now_ms()))

    def label(self, id: str, label: LabelWord, by: str, note: str = "", *, tenant: str | None = None) -> int:
        """Says what a generation was. It is added to the history; the last word counts.

        Args:
            id: of an observation, or of a request: then all its observations of kind `traffic` are labelled.
            label: what it was.
            by: who says so, 1 to 200 characters.
            note: why, up to 10,000 characters.
            tenant: only where it is this tenant's; None = everybody's.

        Returns:
            Observations labelled; 0 = the id is unknown.

        Raises:
            ValueError: another word, or a text that is too long or has a zero byte.
            StoreUnavailable: nothing was labelled.
        """
        if label not in LABELS:
            raise ValueError(f"label: {label!r}; allowed: {', '.join(LABELS)}.")
        for name, text, longest in (("by", by, LONGEST_BY), ("note", note, LONGEST_NOTE)):
            if len(text) > longest or "\0" in text or (name == "by" and not text.strip()):
                raise ValueError(f"{name}: {len(text)} characters; allowed: up to {longest}, without zero bytes.")
        key = self._keys.key_of(id)
        work = self._writer.do(
            lambda connection: labels.label_rows(connection, id, key, tenant, label, by, note, self._now_ms())
        )
        return work.result()

    def labels(self, limit: int = 100) -> tuple[LabelEntry, ...]:
        """The latest things that people said of any observation, the newest first, 1,000 at most."""
        return self._read(lambda connection: labels.entries(connection, min(limit, labels.MOST_LABELS)))

    def stream(self, query: StreamQuery | None = None) -> StreamPage:
        """One page of observations, the newest first; None = the newest 50 of all.

        A page looks at a limited number of rows, so that no filter makes it slow: it may be short, or empty, although
        others follow. `StreamPage.next` says so.

        Raises:
            ValueError: a limit that is not between 1 and 1,000.
        """
        wanted = query or StreamQuery()
        if not 1 <= wanted.limit <= LARGEST_PAGE:
            raise ValueError(f"limit: {wanted.limit}; allowed: 1 to {LARGEST_PAGE}.")
        key = None if wanted.id is None else self._keys.key_of(wanted.id)
        return self._read(lambda connection: streams.stream(connection, wanted, key))

    def waiting_ids(
        self, limit: int, *, deployment: str | None = None, tenant: str | None = None
    ) -> tuple[list[str], bool]:  # fmt: skip
        """Ids of the latest traffic that was drawn for the audit sample and that nobody has labelled, and whether there
        may be more; `queue.audit_queue` picks from them.

        Args:
            limit: how many at most.
            deployment: of this one alone; None = of all.
            tenant: only this one's; None = everybody's.
        """
        return self._read(lambda connection: waiting.waiting_ids(connection, limit, deployment, tenant))

    def observation(self, id: str, *, tenant: str | None = None) -> Observed | None:
        """One observation with its trajectory, texts where they are kept, and labels; None = the id is unknown.

        Args:
            id: of an observation, or of a request: then the most severe and latest of its observations, and canaries
                and shadows only where there is no traffic.
            tenant: only where it is this tenant's; None = everybody's.
        """
        key = self._keys.key_of(id)
        found = self._read(lambda connection: streams.observation(connection, id, key, tenant))
        if found is None or found.observation.request_id != key:
            return found
        verdict = replace(found.observation.verdict, request_id=id)
        return replace(found, observation=replace(found.observation, verdict=verdict))

    def hours(
        self, since_ms: int, until_ms: int, *, deployment: str | None = None, bundle: str | None = None,
        together: int = 1,
    ) -> tuple[HourCount, ...]:  # fmt: skip
        """How many observations there were, by everything that filters ask for, from counts: no row is read.

        The time is of the verdict, by the clock of its monitor. Counts stay when verdicts are deleted.

        Args:
            since_ms: milliseconds since 1970, UTC; the whole hour that it is in counts.
            until_ms: hours that begin before it count.
            deployment: only this one's; None = all.
            bundle: only of this guard; None = all.
            together: hours that are counted as one: 24 = days in UTC.
        """
        return self._read(
            lambda connection: hours.hour_counts(connection, since_ms, until_ms, deployment, bundle, together)
        )

    def latencies(
        self, since_ms: int, until_ms: int, *, deployment: str | None = None, together: int = 1
    ) -> tuple[LatencyCount, ...]:
        """How long verdicts on traffic took after the last step, as a histogram; as `hours` otherwise."""
        return self._read(lambda connection: hours.latency_counts(connection, since_ms, until_ms, deployment, together))

    def audit_counts(
        self, since_ms: int, until_ms: int, *, deployment: str | None = None, bundle: str | None = None
    ) -> tuple[Stratum, ...]:
        """Traffic by status and by the rate it was drawn with, and what its audit sample was labelled; as `hours`
        otherwise. Labels of generations that were not drawn do not count.
        """
        return self._read(lambda connection: hours.strata(connection, since_ms, until_ms, deployment, bundle))

    def scores(
        self, since_ms: int, until_ms: int, *, deployment: str | None = None, bundle: str | None = None,
        kind: Kind = "traffic", limit: int = 1_000,
    ) -> tuple[ScorePoint, ...]:  # fmt: skip
        """Scores of about `limit` observations that are clear or flagged, spread over a time, of each part of the
        guard, by time. A sample for pictures: each hour and status has about its share, but it is not a random one.
        """
        return self._read(
            lambda connection: scores.sample(connection, since_ms, until_ms, deployment, bundle, kind, limit)
        )

    def choices(self) -> Choices:
        """What filters may ask for."""
        return self._read(series.choices)

    def _write_running(self, connection: Connection, source: str, running: Sequence[Running]) -> None:
        live.show(connection, running, source, self._now_ms())

    def _write_pulse(self, connection: Connection, _: str, pulse: Pulse) -> None:
        live.pulse(connection, pulse, self._now_ms())

    def _read(self, query: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailable("closed")
        try:
            with self._engines.reading.connect() as connection:
                return query(connection)
        except DATABASE_ERRORS as err:
            raise StoreUnavailable(fault_of(err)) from err

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
