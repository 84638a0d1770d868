"""`VerdictStore`: what servers, monitors and operators ask of the database; nothing outside this folder knows SQL."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import Connection, select, update

from sri_sdk.errors import ConfigError
from sri_sdk.records import Rule, Status
from sri_sdk.serve.store import reading, retention
from sri_sdk.serve.store.engines import READERS, Engines, open_engines
from sri_sdk.serve.store.faults import DATABASE_ERRORS, Fault, StoreUnavailable, fault_of
from sri_sdk.serve.store.inserts import insert_all
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.keys import Keys, read_secret
from sri_sdk.serve.store.looking import look
from sri_sdk.serve.store.newest import Newest
from sri_sdk.serve.store.observing import Observing
from sri_sdk.serve.store.prepared import Given
from sri_sdk.serve.store.rows import Added, Delivered, Found, Heartbeat, Page, Source
from sri_sdk.serve.store.schema import migrate
from sri_sdk.serve.store.sources import SILENT_AFTER_S, forget_sources, list_sources, note_heartbeat
from sri_sdk.serve.store.tables import TOTALS
from sri_sdk.serve.store.writer import Writer

log = logging.getLogger("sri_sdk.serve")
T = TypeVar("T")

UPKEEP_S = 60.0
"""Seconds between two looks for verdicts that are too old or too many."""


class VerdictStore(Observing):
    """Verdicts by request id, on SQLite or PostgreSQL. Every method may be called from any thread, and all but
    `deliver`, `beat`, `fault` and `listen` wait for the database.
    """

    def __init__(
        self, engines: Engines, keys: Keys, kept: Retention, *, clock: Callable[[], float], silent_s: float
    ) -> None:
        """Takes a database with the tables of this release; `open` makes one."""
        self._engines, self._keys, self._kept = engines, keys, kept
        self._clock, self._silent_s = clock, silent_s
        self._listeners: list[Callable[[], None]] = []
        self.readers = ThreadPoolExecutor(READERS, thread_name_prefix="sri-store-reader")
        """Where an event loop calls the methods that read."""
        self._writer = Writer(
            engines.writing, self._insert, committed=self._announce, chore=self._upkeep, every_s=UPKEEP_S
        )
        self._shown = Newest(self._writer, self._write_running)
        self._pulses = Newest(self._writer, self._write_pulse)

    @classmethod
    def open(
        cls, url: str, *, kept: Retention | None = None, secret: bytes | Path | None = None,
        clock: Callable[[], float] = time.time, silent_s: float = SILENT_AFTER_S,
    ) -> Self:  # fmt: skip
        """Opens a store, makes it where there is none, and brings an older one up to date.

        Args:
            url: `sqlite:///path/to/file`, or `postgresql://user:password@host/database`.
            kept: how long verdicts are kept; None = the defaults of `Retention`.
            secret: keeps request ids as hashes with this key, or with that of a file, which is made where there is
                none; None = as they are.
            clock: seconds since 1970.
            silent_s: seconds after which a source that says nothing is `silent`.

        Raises:
            ConfigError: the URL is wrong, a newer release wrote the store, or its ids were kept another way.
            MissingExtra: PostgreSQL's driver is not installed.
            StoreUnavailable: the database cannot be read or written.
        """
        keys = Keys(read_secret(secret) if isinstance(secret, Path) else secret)
        engines = open_engines(url)
        try:
            migrate(engines)
            _mark(engines, keys)
        except BaseException:
            engines.close()
            raise
        return cls(engines, keys, kept or Retention(), clock=clock, silent_s=silent_s)

    @classmethod
    def look(cls, url: str, *, secret: Path | None = None) -> str:
        """Looks whether a store could be opened, and makes, migrates and writes nothing.

        Args:
            url: as for `open`.
            secret: file with the key of hashed ids, which need not be there yet; None = ids are kept as they are.

        Returns:
            What was found, in a few words.

        Raises:
            ConfigError, MissingExtra, StoreUnavailable: as `open`; or its user may not write there.
        """
        found, mark = look(url)
        if mark is not None:
            keys = Keys() if secret is None else Keys(read_secret(secret)) if secret.exists() else None
            # A key that is not there yet would be a new one.
            _refuse_other_mark(mark, keys.mark if keys else "hashed", "the store")
        return found

    def deliver(self, rows: Sequence[Delivered]) -> Future[Added]:
        """Accepts verdicts and returns at once; the future is done when they are on disk.

        Raises:
            StoreUnavailable: too many wait, or the store is closed. The future raises it too, where writing fails.
        """
        return self._writer.deliver(rows)

    def add(self, rows: Sequence[Delivered]) -> Added:
        """Stores verdicts, all or none; they are on disk when it returns.

        Raises:
            StoreUnavailable: nothing was acknowledged. What is delivered again is stored once all the same.
        """
        return self.deliver(rows).result()

    def find(self, tenant: str | None, request_id: str, rule: Rule | None = None) -> Found | None:
        """What is known about one request; None = nothing.

        Args:
            tenant: whose verdicts; None = everybody's.
            request_id: as it was delivered.
            rule: sets `of_rule` of the answer, which is the most severe of all verdicts either way.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        key = self._keys.key_of(request_id)
        found = self._read(lambda connection: reading.find(connection, tenant, key, rule))
        if found is None or not self._keys.hashed:
            return found
        return replace(found, row=replace(found.row, verdict={**found.row.verdict, "request_id": request_id}))

    def page(
        self, after: int = 0, limit: int = 100, *, tenant: str | None = None, status: Status | None = None
    ) -> Page:
        """Verdicts behind number `after`, in the order they were committed; as `find` otherwise.

        A page that is not full is not the end while its `next` still rises.
        """
        return self._read(lambda connection: reading.page(connection, after, limit, tenant, status))

    def key_of(self, request_id: str) -> str:
        """Under which key verdicts on a request are kept."""
        return self._keys.key_of(request_id)

    def last_seq(self) -> int:
        """Number of the last verdict; 0 = the store is empty. Raises as `find`."""
        return self._read(reading.last_seq)

    def keys_after(self, after: int) -> list[tuple[int, str]]:
        """Numbers and keys of what was committed behind `after`, in order, some thousands at most. Raises as `find`."""
        return self._read(lambda connection: reading.keys_after(connection, after))

    def erase(self, tenant: str | None, request_id: str) -> int:
        """Deletes all verdicts of one request; returns how many. Tenant None = everybody's.

        Raises:
            StoreUnavailable: some may be left; ask again.
        """
        key = self._keys.key_of(request_id)
        return self._in_rounds(lambda connection: retention.erase_request(connection, tenant, key), wipe=True)

    def erase_tenant(self, tenant: str) -> int:
        """Deletes all verdicts and sources of a tenant; returns how many verdicts. Raises as `erase`."""
        erased, after = 0, 0
        while True:
            some, end = self._writer.do(partial(retention.erase_some_of_tenant, tenant=tenant, after=after)).result()
            erased += some
            if end is None:
                self._wipe()
                return erased
            after = end

    def prune(self, now: float | None = None) -> int:
        """Deletes what is too old or too many; returns how many verdicts. The store does so itself every minute.

        Args:
            now: seconds since 1970; None = now.
        """
        now_ms = self._now_ms() if now is None else int(now * 1000)
        return self._in_rounds(lambda connection: retention.prune_some(connection, self._kept, now_ms))

    def beat(self, beat: Heartbeat) -> Future[None]:
        """Keeps what a source says of itself; returns at once, and raises as `deliver`."""
        now_ms = self._now_ms()
        return self._writer.do(lambda connection: note_heartbeat(connection, beat, now_ms))

    def heartbeat(self, beat: Heartbeat) -> None:
        """As `beat`, and waits for it. Raises as `add`."""
        self.beat(beat).result()

    def sources(self, tenant: str | None = None) -> tuple[Source, ...]:
        """Who delivers, and how each of them is; tenant None = everybody's. Raises as `find`."""
        now_ms = self._now_ms()
        return self._read(lambda connection: list_sources(connection, tenant, now_ms, self._silent_s))

    def forget_source(self, source: str, tenant: str | None = None) -> int:
        """Removes a source that is gone for good; returns how many there were. One that lives comes back by itself.

        Args:
            source: its name.
            tenant: whose; None = everybody's.

        Raises:
            StoreUnavailable: nothing was removed.
        """
        return self._writer.do(partial(forget_sources, tenant=tenant, source=source)).result()

    def totals(self) -> tuple[int, int]:
        """Verdicts, and bytes of their text. Raises as `find`."""
        rows, size = self._read(lambda connection: connection.execute(select(TOTALS.c.rows, TOTALS.c.size)).one())
        return rows, size

    @property
    def fault(self) -> Fault | None:
        """Why the last transaction failed; None = it did not. A failed store is tried again every second."""
        return "closed" if self._closed else self._writer.fault

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Has `listener` called after every commit of verdicts, in the writer's thread; returns what ends it.

        Other processes commit too, and are not heard.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Writes what was accepted, and lets go of the database; calling it twice is fine."""
        if not self._closed:
            self._closed = True
            self._writer.close()
            self.readers.shutdown()
            self._engines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _insert(self, connection: Connection, deliveries: Sequence[Sequence[Given]]) -> list[Added]:
        return insert_all(connection, deliveries, keys=self._keys, now_ms=self._now_ms())

    def _announce(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _in_rounds(self, work: Callable[[Connection], int], *, wipe: bool = False) -> int:
        """Repeats `work` until it finds nothing more, each round in a transaction of its own between deliveries."""
        done = 0
        while True:
            some = self._writer.do(work).result()
            done += some
            if some < retention.AT_ONCE:
                if wipe:
                    self._wipe()
                return done

    def _wipe(self) -> None:
        """Has SQLite overwrite its journal, where what was erased still stands. On PostgreSQL that is the server's."""
        if self._engines.writing.dialect.name != "sqlite":
            return
        try:
            with self._engines.reading.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        except DATABASE_ERRORS as err:
            log.warning("verdict store: the journal was not overwritten: %s", type(err).__name__)

    def _upkeep(self) -> bool:
        """One round of deleting, and whether another is due; it also shows whether a failed database can be written
        again."""
        now_ms = self._now_ms()
        self._writer.now(_touch)
        deleted = self._writer.now(lambda connection: retention.prune_some(connection, self._kept, now_ms))
        return deleted >= retention.AT_ONCE


def _touch(connection: Connection) -> None:
    connection.execute(update(TOTALS).values(rows=TOTALS.c.rows))


def _mark(engines: Engines, keys: Keys) -> None:
    """Refuses a store whose ids were kept another way: every look-up would find nothing, and nobody would know why."""
    try:
        with engines.writing.begin() as connection:
            found = connection.scalar(select(TOTALS.c.ids))
            if found is None:
                connection.execute(update(TOTALS).values(ids=keys.mark))
                return
    except DATABASE_ERRORS as err:
        raise StoreUnavailable(fault_of(err)) from err
    _refuse_other_mark(found, keys.mark, engines.name)


def _refuse_other_mark(found: str, wanted: str, name: str) -> None:
    """Compares how ids were kept with how they are to be."""
    if found != wanted:
        kept = (
            "as they are" if found == "plain" else "as hashes of " + ("a key" if wanted == "plain" else "another key")
        )
        raise ConfigError(
            f"store.hash_ids: {name} keeps request ids {kept}. Set `hash_ids` as it was, or name another database."
        )
