"""Two doors to one database: one connection that writes, a few that read. SQLite and PostgreSQL differ only here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sri_sdk.errors import ConfigError, MissingExtra
from sri_sdk.files import write_new

READERS = 4
"""Connections that read, and threads that use them."""
PATIENCE_S = 2
"""Seconds that a write waits for somebody else's lock before it is refused."""
LONGEST_READ_S = 5
"""Seconds after which PostgreSQL gives up on a query."""
_LOCK = 0x5352_4956
"""The advisory lock of all writers of this SDK in a PostgreSQL database; a number that nobody else is likely to use."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The two doors."""

    writing: Engine
    """One connection. A transaction on it excludes all other writers from its first statement on, in every process:
    so `seq` rises in the order of commits, and a reader that follows it misses nothing."""
    reading: Engine
    """Every statement sees what was committed before it."""
    name: str
    """The URL without its password, for messages."""

    def close(self) -> None:
        """Closes all connections."""
        self.writing.dispose()
        self.reading.dispose()


def open_engines(url: str) -> Engines:
    """Opens nothing yet: connections are made when they are used.

    Args:
        url: `sqlite:///path/to/file`, or `postgresql://user:password@host/database`.

    Raises:
        ConfigError: another kind of URL; the folder of the file cannot be made.
        MissingExtra: PostgreSQL's driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as err:
        # The text may hold a password, so it is not repeated.
        raise ConfigError(
            "store.url: not a URL; allowed: sqlite:///path/to/file, postgresql://user:password@host/database."
        ) from err
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return _sqlite(parsed)
    if kind == "postgresql":
        return _postgresql(parsed)
    raise ConfigError(
        f"store.url: databases of kind {kind!r}; allowed: sqlite:///path/to/file, "
        "postgresql://user:password@host/database."
    )


def _sqlite(url: URL) -> Engines:
    if not url.database or url.database == ":memory:" or url.query:
        raise ConfigError(
            f"store.url: {url.render_as_string()} names no file, or has options; allowed: sqlite:///path/to/file. "
            "Verdicts that only stand in memory would be lost with the process."
        )
    file = Path(url.database)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Its owner's alone; what SQLite puts beside it takes the same permissions.
        with suppress(FileExistsError):
            write_new(file, b"", mode=0o600)
    except OSError as err:
        raise ConfigError(f"store.url: {file}: {err.strerror or err}. Name a file in a folder that is yours.") from err
    options: dict[str, Any] = {"connect_args": {"timeout": PATIENCE_S, "check_same_thread": False}}
    url = url.set(drivername="sqlite+pysqlite")
    writing = create_engine(url, pool_size=1, max_overflow=0, **options)
    reading = create_engine(url, pool_size=READERS, max_overflow=0, pool_timeout=LONGEST_READ_S, **options)
    for engine in (writing, reading):
        # The driver's own idea of transactions begins them late; here `_begin` does, or nobody.
        event.listen(engine, "connect", _sqlite_connected)
    event.listen(reading, "connect", lambda raw, _: raw.execute("PRAGMA query_only = ON"))
    event.listen(writing, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return Engines(writing, reading, url.set(drivername="sqlite").render_as_string())


def _sqlite_connected(raw: Any, _: Any) -> None:
    raw.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        # Every commit reaches the disk before it is acknowledged.
        "synchronous = FULL",
        # What is erased is overwritten.
        "secure_delete = ON",
        "journal_size_limit = 67108864",
    ):
        raw.execute(f"PRAGMA {pragma}")


def _postgresql(url: URL) -> Engines:
    url = url.set(drivername="postgresql+psycopg")
    limits = f"-c lock_timeout={PATIENCE_S * 1000} -c statement_timeout={LONGEST_READ_S * 1000}"
    options: dict[str, Any] = {
        "connect_args": {"connect_timeout": 3, "options": limits, "application_name": "sri"},
        "pool_pre_ping": True,
        "max_overflow": 0,
    }
    try:
        writing = create_engine(url, pool_size=1, **options)
        reading = create_engine(
            url, pool_size=READERS, pool_timeout=LONGEST_READ_S, isolation_level="AUTOCOMMIT", **options
        )
    except ModuleNotFoundError as err:
        raise MissingExtra("A verdict store on PostgreSQL", extra="postgres") from err
    event.listen(writing, "begin", _postgresql_begins)
    return Engines(writing, reading, url.set(drivername="postgresql").render_as_string(hide_password=True))


def _postgresql_begins(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
