"""The tables as they are now. Migrations bring older stores here, and a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)  # fmt: skip

METADATA = MetaData()

_SEQ = BigInteger().with_variant(Integer, "sqlite")
"""SQLite gives numbers of its own to a column of exactly this type only."""

VERDICTS = Table(
    "sri_verdicts",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("bundle", Text),
    Column("score", Float(53)),
    Column("p_value", Float(53)),
    Column("verdict", Text, nullable=False),
    # Of tenant, key and verdict: what is delivered twice is known by it.
    Column("digest", LargeBinary, nullable=False),
    # Characters of all texts of the row: what retention by size adds up.
    Column("size", Integer, nullable=False),
    Index("sri_verdicts_digest", "digest", unique=True),
    Index("sri_verdicts_by_key", "key", "tenant", "severity", "seq"),
    Index("sri_verdicts_by_age", "received_at"),
    # Without it SQLite would give the number of a deleted last row to the next one.
    sqlite_autoincrement=True,
)

SOURCES = Table(
    "sri_sources",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
    Column("verdicts", BigInteger, nullable=False),
    Column("verdict_at", BigInteger),
    Column("heartbeat_at", BigInteger),
    Column("pid", BigInteger),
    Column("sent", BigInteger),
    Column("dropped", BigInteger),
    Column("waiting", BigInteger),
    Column("generations", BigInteger),
    Column("without_verdict", BigInteger),
    # When generations were first without verdicts, in milliseconds; null = they have them.
    Column("unwatched_since", BigInteger),
    Column("canary", Text),
    Column("canary_at", BigInteger),
)

TOTALS = Table(
    "sri_totals",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    # How ids are kept: `plain`, or `hashed:` and what the key makes of a fixed text.
    Column("ids", Text),
    CheckConstraint("id = 1", name="sri_totals_has_one_row"),
)
"""One row, changed in the same transaction as the verdicts: counting a million rows would take a second each time."""
