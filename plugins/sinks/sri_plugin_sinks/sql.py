"""Observations in the database that servers, people who label, reports and the dashboard read: SQLite or PostgreSQL."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pydantic import Field

import sri_sdk
from sri_plugin_sinks.queued import QueuedSink
from sri_sdk.errors import ConfigError, MissingExtra, SriError

SRI_PLUGIN_API = 1

log = logging.getLogger("sri_sdk.sinks")

_NUMBERS = itertools.count(1)
"""Of the sinks of this process: two monitors in one show each their own generations."""


class SqlSink(QueuedSink):
    """Stores each observation once, by its id: what is delivered again counts as known. Several monitors and servers
    may use one database.

    What runs right now, and how the monitor is, take the place of what it said before.
    """

    class Config(sri_sdk.Retention):
        """Where to, and how long verdicts are kept there: `store` of `sri serve` has the same options."""

        url: str = Field(
            description="sqlite:///path/to/file, or postgresql://user@host/database; its password better in the "
            "file of libpq, which PGPASSFILE names."
        )
        hash_key: Path | None = Field(
            default=None,
            description="File with the key of hashes of request ids, which are then kept instead of the ids; made "
            "where there is none. null = ids are kept as they are.",
        )

    def __init__(self, config: Any = None) -> None:
        """Takes the options; `url` is required. A database that does not answer is tried again with each delivery.

        Raises:
            ConfigError: the URL is wrong, a newer release wrote the database, or its ids are kept another way.
            MissingExtra: a package that the database needs is not installed.
        """
        super().__init__(config)
        self._opening = threading.Lock()
        self._store: sri_sdk.VerdictStore | None = None
        self._shown: Future[None] | None = None
        self._pulsed: Future[None] | None = None
        self._opener: threading.Thread | None = None
        self._gone = False
        """Whether it was let go of: what is opened later is closed again."""
        self._source = f"{socket.gethostname()}/{os.getpid()}/{next(_NUMBERS)}"
        try:
            self._opened()
        except (ConfigError, MissingExtra):
            raise
        except SriError as err:
            log.warning("sink sql: %s It is tried again.", err)

    @classmethod
    def check(cls, config: Any, timeout_s: float) -> str:
        """Looks into the database, and makes and changes nothing: it answers, it is ours, and may be written.

        Raises:
            SriError: as the constructor, or the database does not answer within 3 s.
        """
        return f"verdict store: {sri_sdk.VerdictStore.look(config.url, secret=config.hash_key)}"

    def deliver(self, observations: Sequence[sri_sdk.Observation]) -> None:
        """Stores them; they are on the database's disk when it returns.

        Raises:
            SinkRejected: some can never be stored; the others are.
            SriError: the database cannot be written right now.
        """
        self._opened().observe(observations)

    def show(self, running: Sequence[sri_sdk.Running]) -> None:
        """Has the store replace what runs, unless it is busy with what was shown before."""
        if (store := self._store) is not None and (self._shown is None or self._shown.done()):
            self._shown = store.show(running, self._source)

    def pulse(self, pulse: sri_sdk.Pulse) -> None:
        """Has the store replace the last pulse, unless it is busy with it.

        Where the database did not answer before, a thread tries it again: a monitor without traffic delivers nothing,
        and would seem dead.
        """
        if (store := self._store) is not None:
            if self._pulsed is None or self._pulsed.done():
                self._pulsed = store.pulse(pulse)
        elif not self._closed and (self._opener is None or not self._opener.is_alive()):
            self._opener = threading.Thread(target=self._open_for, args=[pulse], name="sri-sql-open", daemon=True)
            self._opener.start()

    def _open_for(self, pulse: sri_sdk.Pulse) -> None:
        try:
            store = self._opened()
        except Exception as err:
            # `deliver` says more, if there is something to deliver; the next pulse tries again.
            log.debug("sink sql: still closed (%s)", type(err).__name__)
            return
        if self._gone:
            self._let_go()
        else:
            self._pulsed = store.pulse(pulse)

    def _opened(self) -> sri_sdk.VerdictStore:
        with self._opening:
            if self._store is None:
                self._store = sri_sdk.VerdictStore.open(self.config.url, kept=self.config, secret=self.config.hash_key)
            return self._store

    def _let_go(self) -> None:
        with self._opening:
            self._gone = True
            store, self._store = self._store, None
        if store is not None:
            store.close()

    @classmethod
    def example(cls) -> Any:
        """A sink with a new SQLite file, and one whose file is no database."""
        import shutil
        import tempfile
        import weakref

        from sri_sdk.testing import SinkCase

        folder = Path(tempfile.mkdtemp(prefix="sri-sink-"))
        url, damaged = f"sqlite:///{folder}/verdicts.db", folder / "damaged.db"
        damaged.write_bytes(b"This was a database once. " * 100)
        sink = cls(cls.Config(url=url))

        def request_ids() -> list[str]:
            with sri_sdk.VerdictStore.open(url) as store:
                return [row.verdict["request_id"] for row in store.page(limit=1000).rows]

        def ids() -> list[str]:
            # The newest 50, which is as many as the kit sends.
            with sri_sdk.VerdictStore.open(url) as store:
                return [row.observation.id for row in store.stream().rows]

        weakref.finalize(request_ids, shutil.rmtree, folder, ignore_errors=True)
        return SinkCase(
            sink, delivered=request_ids, dead=lambda: cls(cls.Config(url=f"sqlite:///{damaged}")), observed=ids,
            refused=sri_sdk.Observation(sri_sdk.Verdict("r", "clear"), 1, id="not what an id is"),
        )  # fmt: skip
