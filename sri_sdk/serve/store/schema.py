"""Brings a database to the tables of this release, or says why it cannot be used."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from sri_sdk.errors import ConfigError
from sri_sdk.serve.store.engines import Engines
from sri_sdk.serve.store.faults import DATABASE_ERRORS, StoreUnavailable, fault_of

VERSION_TABLE = "sri_schema"
"""Holds the number of the schema; not alembic's usual name, so that a database can be shared."""
LOCK_S = 60
"""Seconds that a migration waits for somebody else's lock on a table: a backup that began first, say."""


def migrate(engines: Engines) -> None:
    """Makes the tables, or changes those of an older release, in one transaction that excludes other writers.

    Raises:
        ConfigError: a newer release made them, or somebody else has tables of these names.
        StoreUnavailable: the database cannot be read or written.
    """
    config = alembic_config()
    try:
        with engines.writing.begin() as connection:
            version_of(connection, engines.name)
            _take_time(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DATABASE_ERRORS as err:
        cause = getattr(err, "orig", None)
        if "already exists" in str(cause):
            raise ConfigError(
                f"store.url: {engines.name} has tables of these names that are not this SDK's ({cause}). "
                "Name another database."
            ) from err
        raise StoreUnavailable(fault_of(err)) from err


def version_of(connection: Connection, name: str) -> tuple[str | None, str]:
    """The schema that a database has, None where it has none, and that of this release.

    Args:
        connection: to the database.
        name: its URL without its password.

    Raises:
        ConfigError: a newer release made it.
    """
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
    if newer := sorted(set(found) - known):
        raise ConfigError(
            f"store.url: {name} has schema {newer[-1]}, this SDK reads up to {max(known)}. Upgrade sri-sdk, or name "
            "another database; nothing was changed."
        )
    return next(iter(found), None), max(known)


def _take_time(connection: Connection) -> None:
    """Lifts the limits of PostgreSQL for this transaction: an index of some millions of rows takes minutes."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))


def alembic_config() -> AlembicConfig:
    """Where alembic finds the migrations; its commands also need a connection in `attributes`."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["version_table"] = VERSION_TABLE
    return config
