"""Whether a store could be opened, found out without opening it: nothing is made, migrated or written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sri_sdk.errors import ConfigError
from sri_sdk.serve.store.engines import PATIENCE_S, open_engines
from sri_sdk.serve.store.faults import DATABASE_ERRORS, StoreUnavailable, fault_of
from sri_sdk.serve.store.schema import version_of
from sri_sdk.serve.store.tables import TOTALS, VERDICTS


def look(url: str) -> tuple[str, str | None]:
    """Looks at a store.

    Args:
        url: as `VerdictStore.open` has it.

    Returns:
        What is there, in a few words; and how its request ids are kept, as `Keys.mark` has it: None = it has not been
        decided yet.

    Raises:
        ConfigError: the URL is wrong, a newer release wrote the store, or this user may not write there.
        MissingExtra: PostgreSQL's driver is not installed.
        StoreUnavailable: the database cannot be read.
    """
    if (file := _file_of(url)) is not None and not _has_content(file):
        return "there is none yet; it is made when it is opened", None
    try:
        with _connected(url, file) as (connection, name):
            found, wanted = version_of(connection, name)
            _refuse_reader(connection, name, new=found is None)
            mark = None if found is None else connection.scalar(select(TOTALS.c.ids))
    except DATABASE_ERRORS as err:
        raise StoreUnavailable(fault_of(err)) from err
    if found is None:
        return "the database answers; its tables are made when it is opened", None
    if found != wanted:
        return f"of an older release (schema {found}, now {wanted}), and is brought up to date when it is opened", mark
    return "can be read and written", mark


def _file_of(url: str) -> Path | None:
    """The file of a store on SQLite; None = it is elsewhere. What is wrong with a URL, `open_engines` says."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    named = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:") and not parsed.query
    return Path(parsed.database or "") if named else None


def _has_content(file: Path) -> bool:
    """Whether there is a database.

    Raises:
        ConfigError: it could not be written, or made.
    """
    there = file if file.exists() else next(each for each in file.absolute().parents if each.exists())
    folder = there if there != file else file.absolute().parent
    # What SQLite puts beside the file needs the folder as well.
    if not all(os.access(each, os.W_OK) for each in (there, folder)) or not folder.is_dir():
        raise ConfigError(f"store.url: {file}: cannot be written here. Name a file in a folder that is yours.")
    if file.is_dir():
        raise ConfigError(f"store.url: {file}: a folder. Give the path of a file.")
    return there == file and file.stat().st_size > 0


@contextmanager
def _connected(url: str, file: Path | None) -> Iterator[tuple[Connection, str]]:
    """A connection that only reads, and the URL without its password."""
    if file is None:
        engines = open_engines(url)
        try:
            with engines.reading.connect() as connection:
                yield connection, engines.name
        finally:
            engines.close()
        return
    # Not by `open_engines`, which makes the file its own.
    path = quote(str(file.absolute()))
    engine = create_engine(f"sqlite+pysqlite:///file:{path}?mode=ro&uri=true", connect_args={"timeout": PATIENCE_S})
    try:
        with engine.connect() as connection:
            yield connection, url
    finally:
        engine.dispose()


def _refuse_reader(connection: Connection, name: str, *, new: bool) -> None:
    """Refuses a user of PostgreSQL that may not write, or make the tables where there are none."""
    if connection.dialect.name != "postgresql":
        return
    right = "has_schema_privilege(current_schema(), 'CREATE')" if new else "has_table_privilege(:table, 'INSERT')"
    if not connection.scalar(text(f"SELECT {right}"), {} if new else {"table": VERDICTS.name}):
        what = "make tables" if new else f"write the table {VERDICTS.name}"
        raise ConfigError(f"store.url: {name}: its user may not {what}. Grant it, or name another user.")
