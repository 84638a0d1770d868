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
    text,
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
    # Who delivered it; the deployment, where a monitor did.
    Column("source", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    # -1 = of a canary or a shadow: it never answers for its request.
    Column("severity", SmallInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("bundle", Text),
    Column("score", Float(53)),
    Column("p_value", Float(53)),
    Column("verdict", Text, nullable=False),
    # What is delivered twice is known by it: the 16 bytes of an observation's id, else 32 of a hash of tenant, key and
    # verdict, of which the first 16 are its id.
    Column("digest", LargeBinary, nullable=False),
    # Characters and bytes of everything that is kept of it: what retention by size adds up.
    Column("size", Integer, nullable=False),
    # Of `sri_series`: everything about it that filters ask for.
    Column("series", Integer, nullable=False, server_default="0"),
    # When it was given; null = as `received_at`.
    Column("at", BigInteger),
    # 1 = drawn for the audit sample; null = not.
    Column("audited", SmallInteger),
    # What people say it was: 0 = benign, 1 = attack; null = nobody has said.
    Column("label", SmallInteger),
    Column("generation_s", Float(53)),
    Column("scoring_s", Float(53)),
    Index("sri_verdicts_digest", "digest", unique=True),
    Index("sri_verdicts_by_key", "key", "tenant", "severity", "seq"),
    Index("sri_verdicts_by_age", "received_at"),
    Index("sri_verdicts_by_series", "series", "seq"),
    # The next three are small: most rows are in none of them.
    Index(
        "sri_verdicts_by_tenant", "tenant", "seq",
        sqlite_where=text("tenant <> ''"), postgresql_where=text("tenant <> ''"),
    ),
    Index(
        "sri_verdicts_by_label", "label", "seq",
        sqlite_where=text("label IS NOT NULL"), postgresql_where=text("label IS NOT NULL"),
    ),
    Index(
        "sri_verdicts_to_label", "seq",
        sqlite_where=text("audited = 1 AND label IS NULL"), postgresql_where=text("audited = 1 AND label IS NULL"),
    ),
    # Where texts are in a language's order, no other index finds how an id begins. SQLite's are in that of their bytes.
    Index("sri_verdicts_by_prefix", "key", postgresql_ops={"key": "text_pattern_ops"}).ddl_if(dialect="postgresql"),
    # Without it SQLite would give the number of a deleted last row to the next one.
    sqlite_autoincrement=True,
)  # fmt: skip

SERIES = Table(
    "sri_series",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    # Of the fields below, by which a series is found again.
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    # The most important one; empty = none.
    Column("reason", Text, nullable=False),
    Column("consequence", Text, nullable=False),
    Column("audit_rate", Float(53), nullable=False),
    # Number of its latest verdict, or a later one.
    Column("last_seq", BigInteger, nullable=False),
)
"""What verdicts have in common: few different ones, so that filters are cheap and a count per hour has few rows."""

COUNTS = Table(
    "sri_counts",
    METADATA,
    # Hours that it is about: 1, and 24 as well, so that months are counted quickly.
    Column("span", SmallInteger, primary_key=True, autoincrement=False),
    # Its first, since 1970, UTC, by the clock of whoever gave the verdict.
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("generations", BigInteger, nullable=False),
    # Of these: drawn for the audit sample. Of the drawn ones: labelled so, and deleted before anybody did.
    Column("drawn", BigInteger, nullable=False),
    Column("benign", BigInteger, nullable=False),
    Column("attack", BigInteger, nullable=False),
    Column("gone", BigInteger, nullable=False),
    # All its verdicts have numbers between these two; others have some as well.
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Changed in the same transaction as the verdicts. They name nobody, and stay when verdicts go."""

LATENCIES = Table(
    "sri_latencies",
    METADATA,
    # As in `sri_counts`.
    Column("span", SmallInteger, primary_key=True, autoincrement=False),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    # As `latency.bucket_of` numbers them.
    Column("bucket", SmallInteger, primary_key=True, autoincrement=False),
    Column("generations", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How long verdicts on traffic took after the last step."""

TRAJECTORIES = Table(
    "sri_trajectories",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    # JSON list of names.
    Column("columns", Text, nullable=False),
    Column("length", Integer, nullable=False),
    # [cells, columns] float32, little endian, row by row.
    Column("logit", LargeBinary, nullable=False),
)

TEXTS = Table(
    "sri_texts",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    # JSON of prompt, response and drafts, by zlib: drafts repeat each other.
    Column("packed", LargeBinary, nullable=False),
)

LABELS = Table(
    "sri_labels",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    # As in `sri_verdicts`.
    Column("label", SmallInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Index("sri_labels_of", "seq", "id"),
    sqlite_autoincrement=True,
)
"""Everything that anybody ever said; the last one counts."""

RUNNING = Table(
    "sri_running",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    # JSON list.
    Column("content", Text, nullable=False),
)
"""What each monitor generates right now: one row, replaced every half second."""

PULSES = Table(
    "sri_pulses",
    METADATA,
    Column("deployment", Text, primary_key=True),
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("pid", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    # JSON object.
    Column("content", Text, nullable=False),
)
"""How each process of each monitor was when it last said so: replicas share the name of a deployment."""

SOURCES = Table(
    "sri_sources",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
    Column("verdicts", BigInteger, nullable=False),
    Column("verdict_at", BigInteger),
    Column("heartbeat_at", BigInteger),
    # When the last of its processes said that it ends; null = it has not.
    Column("ended_at", BigInteger),
)
PROCESSES = Table(
    "sri_source_processes",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("pid", BigInteger, primary_key=True, autoincrement=False),
    Column("seen_at", BigInteger, nullable=False),
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
