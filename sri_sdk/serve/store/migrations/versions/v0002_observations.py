"""What monitors say beside the verdict: circumstances, trajectories, texts, labels, counts per hour, what runs.

It imports nothing that may change with the SDK: a migration does what it did on the day it was written.
"""

import json
import re
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic import op

from sri_sdk.strict_json import parse

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_AT_ONCE = 10_000
_MOST_SERIES = 4_096
_NEW = ("at", "audited", "label", "generation_s", "scoring_s")
_PARTIAL = {
    "sri_verdicts_by_tenant": (["tenant", "seq"], "tenant <> ''"),
    "sri_verdicts_by_label": (["label", "seq"], "label IS NOT NULL"),
    "sri_verdicts_to_label": (["seq"], "audited = 1 AND label IS NULL"),
}


def upgrade() -> None:
    """Adds columns and tables, and counts the verdicts that are there: minutes, where there are millions."""
    op.add_column("sri_verdicts", sa.Column("series", sa.Integer, nullable=False, server_default="0"))
    op.add_column("sri_verdicts", sa.Column("at", sa.BigInteger))
    for name in ("audited", "label"):
        op.add_column("sri_verdicts", sa.Column(name, sa.SmallInteger))
    for name in ("generation_s", "scoring_s"):
        op.add_column("sri_verdicts", sa.Column(name, sa.Float(53)))
    _make_tables()
    _count_what_is_there(op.get_bind())
    # Only now: rows are written twice otherwise.
    op.create_index("sri_verdicts_by_series", "sri_verdicts", ["series", "seq"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("sri_verdicts_by_prefix", "sri_verdicts", ["key"], postgresql_ops={"key": "text_pattern_ops"})
    for name, (columns, where) in _PARTIAL.items():
        condition = sa.text(where)
        op.create_index(name, "sri_verdicts", columns, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    """Takes it all away again: canaries and shadows go, which release 0001 would take for traffic."""
    verdicts, totals = _verdicts(), sa.table("sri_totals", sa.column("rows"), sa.column("size"))
    spoke_not = verdicts.c.severity < 0
    bind = op.get_bind()
    rows, size = bind.execute(sa.select(sa.func.count(), sa.func.sum(verdicts.c.size)).where(spoke_not)).one()
    bind.execute(sa.delete(verdicts).where(spoke_not))
    bind.execute(sa.update(totals).values(rows=totals.c.rows - rows, size=totals.c.size - (size or 0)))
    prefix = ["sri_verdicts_by_prefix"] if bind.dialect.name == "postgresql" else []
    for name in ("sri_verdicts_by_series", *prefix, *_PARTIAL):
        op.drop_index(name, "sri_verdicts")
    for table in ("pulses", "running", "labels", "texts", "trajectories", "latencies", "counts", "series"):
        op.drop_table(f"sri_{table}")
    for name in ("series", *_NEW):
        op.drop_column("sri_verdicts", name)


def _make_tables() -> None:
    op.create_table(
        "sri_series",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("source", "bundle", "model", "kind", "status", "reason", "consequence")
        ),
        sa.Column("audit_rate", sa.Float(53), nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sri_counts",
        sa.Column("span", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("generations", "drawn", "benign", "attack", "gone", "first_seq", "last_seq")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sri_latencies",
        sa.Column("span", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("bucket", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("generations", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sri_trajectories",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("columns", sa.Text, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("logit", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sri_texts",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sri_labels",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("label", sa.SmallInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("sri_labels_of", "sri_labels", ["seq", "id"])
    keys = {
        "sri_running": [sa.Column("source", sa.Text, primary_key=True)],
        "sri_pulses": [
            sa.Column("deployment", sa.Text, primary_key=True),
            sa.Column("started_at", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("pid", sa.BigInteger, primary_key=True, autoincrement=False),
        ],
    }
    for table, key in keys.items():
        op.create_table(
            table,
            *key,
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column("content", sa.Text, nullable=False),
        )


def _verdicts() -> Any:
    names = ("seq", "source", "bundle", "status", "verdict", "received_at", "severity", "size", "series")
    return sa.table("sri_verdicts", *map(sa.column, names))


def _count_what_is_there(bind: sa.Connection) -> None:
    """Gives every verdict its series, and counts it in its hour."""
    verdicts = _verdicts()
    known: dict[tuple[str, ...], int] = {}
    last_of: dict[int, int] = {}
    # (hours together, hour, series) -> verdicts, first number, last number
    counts: dict[tuple[int, int, int], list[int]] = {}
    after = 0
    columns = [verdicts.c[name] for name in ("seq", "source", "bundle", "status", "verdict", "received_at")]
    fill = sa.update(verdicts).where(verdicts.c.seq == sa.bindparam("of")).values(series=sa.bindparam("its"))
    while True:
        query = sa.select(*columns).where(verdicts.c.seq > after).order_by(verdicts.c.seq).limit(_AT_ONCE)
        rows = bind.execute(query).all()
        if not rows:
            break
        after = rows[-1].seq
        filled = []
        for row in rows:
            fields = (row.source, row.bundle or "", row.status, _reason(row.verdict))
            number = _number(known, fields)
            filled.append({"of": row.seq, "its": number})
            last_of[number] = row.seq
            hour = row.received_at // 3_600_000
            for span in (1, 24):
                count = counts.setdefault((span, hour - hour % span, number), [0, row.seq, row.seq])
                count[0] += 1
                count[2] = row.seq
        bind.execute(fill, filled)
    _insert_series(known, last_of)
    _insert_counts(counts)


def _reason(verdict: str) -> str:
    # Of most verdicts; within a text the quotes would have backslashes.
    if '"reasons":[]' in verdict:
        return ""
    first = next(iter(parse(verdict).get("reasons") or []), "")
    return first if not first or re.fullmatch(r"[a-z0-9_.:-]{1,128}", first) else "other"


def _number(known: dict[tuple[str, ...], int], fields: tuple[str, ...]) -> int:
    if fields not in known and len(known) >= _MOST_SERIES:
        fields = ("", "", fields[2], "other" if fields[3] else "")
    return known.setdefault(fields, len(known) + 1)


def _insert_series(known: dict[tuple[str, ...], int], last_of: dict[int, int]) -> None:
    text, number = sa.Text(), sa.BigInteger()
    columns: dict[str, Any] = {
        "id": number, "digest": sa.LargeBinary(), "source": text, "bundle": text, "model": text, "kind": text,
        "status": text, "reason": text, "consequence": text, "audit_rate": sa.Float(53), "last_seq": number,
    }  # fmt: skip
    table = sa.table("sri_series", *(sa.column(name, kind) for name, kind in columns.items()))
    rows = []
    for (source, bundle, status, reason), its in known.items():
        fields = [source, bundle, "", "traffic", status, reason, "released", 0.0]
        written = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        values = dict(zip(list(columns)[2:10], fields, strict=True))
        rows.append({"id": its, "digest": sha256(written).digest()[:16], **values, "last_seq": last_of[its]})
    op.bulk_insert(table, rows)
    if rows and op.get_bind().dialect.name == "postgresql":
        # Numbers that were given by hand are not counted by the sequence.
        op.execute("SELECT setval(pg_get_serial_sequence('sri_series', 'id'), (SELECT max(id) FROM sri_series))")


def _insert_counts(counts: dict[tuple[int, int, int], list[int]]) -> None:
    names = ("span", "hour", "series", "generations", "drawn", "benign", "attack", "gone", "first_seq", "last_seq")
    table = sa.table("sri_counts", *map(sa.column, names))
    op.bulk_insert(
        table,
        [
            dict(zip(names, (*key, count, 0, 0, 0, 0, first, last), strict=True))
            for key, (count, first, last) in counts.items()
        ],
    )
