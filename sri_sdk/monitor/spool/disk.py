"""The file of the spool, and the only place that knows its SQL: bodies once, and a list of what is due per sink."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sri_sdk.errors import ConfigError
from sri_sdk.files import write_new

APPLICATION, FORMAT = 0x5352_4953, 1
"""How the file says what it is: SQLite's `application_id` and `user_version`."""
PATIENCE_S = 5.0
"""Seconds that a statement waits for somebody else's lock: a person who looks into the file, say."""
_TABLES = """
CREATE TABLE sinks (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE observations (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE due (
    sink INTEGER NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (sink, number)
) WITHOUT ROWID;
"""
_WORDS = {
    5: "locked by another process",  # SQLITE_BUSY
    8: "read-only",  # SQLITE_READONLY
    10: "the disk is full or fails",  # SQLITE_IOERR: limits and quotas say so too.
    11: "damaged",  # SQLITE_CORRUPT
    13: "the disk is full",  # SQLITE_FULL
    14: "cannot be opened",  # SQLITE_CANTOPEN
    26: "not a database",  # SQLITE_NOTADB
}


@dataclass(frozen=True, slots=True)
class Left:
    """What a file holds for one sink."""

    number: int
    """Of the sink."""
    count: int
    size: int
    """Bytes."""
    last: int
    """Number of the last observation."""


def words_of(err: Exception) -> str:
    """What is wrong with the file, for people; without anything that was to be stored."""
    code = getattr(err, "sqlite_errorcode", None)
    # The lowest byte is the kind; the others say where it happened.
    return _WORDS.get(code & 0xFF, type(err).__name__) if isinstance(code, int) else type(err).__name__


def connect(file: Path) -> sqlite3.Connection:
    """A connection for the calling thread alone. Transactions begin and end where the code says so.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None)
    try:
        for pragma in (
            "journal_mode = WAL",
            # Every commit reaches the disk before it is acknowledged.
            "synchronous = FULL",
            # Texts that were delivered do not stay in the file.
            "secure_delete = ON",
            "journal_size_limit = 67108864",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(file: Path, sinks: Iterable[str]) -> dict[str, Left]:
    """Makes the file where there is none, and says what it holds for each sink, the ones not named included.

    Raises:
        ConfigError: the file is something else, damaged, or of a newer release; it cannot be read or written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Its owner's alone; what SQLite puts beside it takes the same permissions.
        with suppress(FileExistsError):
            write_new(file, b"", mode=0o600)
        # Before anything is set: somebody else's database stays as it is.
        with closing(sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None)) as connection:
            new = _is_new(connection, file)
        with closing(connect(file)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            if new:
                _make(connection)
            connection.executemany("INSERT OR IGNORE INTO sinks (name) VALUES (?)", [(name,) for name in sinks])
            left = _left(connection)
            connection.execute("COMMIT")
            if not any(each.count for each in left.values()):
                # What an outage has blown up shrinks again. Not needed, so not worth an error.
                with suppress(sqlite3.Error):
                    connection.execute("VACUUM")
            return left
    except sqlite3.Error as err:
        raise ConfigError(
            f"spool: {file}: {words_of(err)}. Name another file, or move this one away: what it holds is then not "
            "delivered."
        ) from err
    except OSError as err:
        raise ConfigError(f"spool: {file}: {err.strerror or err}. Name a file in a folder that is yours.") from err


def _is_new(connection: sqlite3.Connection, file: Path) -> bool:
    """Whether the file is empty; one that is neither that nor a spool of this release is refused."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if not application and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return True
    if application != APPLICATION:
        raise ConfigError(f"spool: {file} is a database of something else. Name a file that is the spool's alone.")
    if found != FORMAT:
        raise ConfigError(
            f"spool: {file} has format {found}, this SDK reads {FORMAT}. Deliver it with the release that wrote it, or "
            "name another file."
        )
    return False


def _make(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _left(connection: sqlite3.Connection) -> dict[str, Left]:
    query = """
        SELECT name, sinks.number, count(due.number), coalesce(sum(size), 0), coalesce(max(due.number), 0)
        FROM sinks LEFT JOIN due ON due.sink = sinks.number GROUP BY sinks.number"""
    return {name: Left(*numbers) for name, *numbers in connection.execute(query)}


def last_number(connection: sqlite3.Connection) -> int:
    """Number of the last observation in the file; 0 = there is none."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM observations").fetchone()[0])


def insert(
    connection: sqlite3.Connection, bodies: Sequence[tuple[int, bytes]], due: Sequence[tuple[int, int, int]]
) -> None:
    """Adds numbered bodies, and (sink, number, bytes) of each sink that they are due to."""
    connection.executemany("INSERT INTO observations (number, body) VALUES (?, ?)", bodies)
    connection.executemany("INSERT INTO due (sink, number, size) VALUES (?, ?, ?)", due)


def remove(connection: sqlite3.Connection, upto: Mapping[int, int]) -> dict[int, int]:
    """Removes what sinks have done with, and the bodies that are due to nobody any more.

    Args:
        connection: with an open transaction.
        upto: number of a sink -> number of the last observation that it has done with.

    Returns:
        Number of a sink -> bytes that are no longer due to it.
    """
    freed = {}
    for sink, last in upto.items():
        first, size = connection.execute(
            "SELECT min(number), coalesce(sum(size), 0) FROM due WHERE sink = ? AND number <= ?", (sink, last)
        ).fetchone()
        freed[sink] = size
        if first is None:
            continue
        connection.execute("DELETE FROM due WHERE sink = ? AND number <= ?", (sink, last))
        connection.execute(
            """DELETE FROM observations WHERE number BETWEEN ? AND ? AND NOT EXISTS (
                SELECT 1 FROM sinks CROSS JOIN due ON due.sink = sinks.number AND due.number = observations.number
            )""",
            (first, last),
        )
    return freed


def due_to_nobody_else(connection: sqlite3.Connection, sink: int) -> int:
    """How many observations are due to this sink alone."""
    query = """
        SELECT count(*) FROM due WHERE sink = ?1 AND NOT EXISTS (
            SELECT 1 FROM sinks CROSS JOIN due AS other ON other.sink = sinks.number AND other.number = due.number
            WHERE sinks.number <> ?1
        )"""
    return int(connection.execute(query, (sink,)).fetchone()[0])


def forget(connection: sqlite3.Connection, name: str) -> None:
    """Drops a sink with what is due to it, in one transaction, and makes the file smaller where there is room to.

    Raises:
        sqlite3.Error: nothing was dropped.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        left = _left(connection)[name]
        remove(connection, {left.number: left.last})
        connection.execute("DELETE FROM sinks WHERE number = ?", (left.number,))
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    with suppress(sqlite3.Error):
        connection.execute("VACUUM")


def read(connection: sqlite3.Connection, sink: int, after: int, count: int, size: int) -> list[tuple[int, bytes]]:
    """The next (number, body) due to a sink, in order: at most `count`, and about `size` bytes, but at least one."""
    found: list[tuple[int, bytes]] = []
    query = """
        SELECT due.number, body FROM due CROSS JOIN observations ON observations.number = due.number
        WHERE sink = ? AND due.number > ? ORDER BY due.number LIMIT ?"""
    with closing(connection.execute(query, (sink, after, count))) as rows:
        for number, body in rows:
            found.append((number, body))
            size -= len(body)
            if size <= 0:
                break
    return found
