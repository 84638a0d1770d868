"""The first tables: verdicts, sources, totals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables, and the one row of totals."""
    op.create_table(
        "sri_verdicts",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("bundle", sa.Text),
        sa.Column("score", sa.Float(53)),
        sa.Column("p_value", sa.Float(53)),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("sri_verdicts_digest", "sri_verdicts", ["digest"], unique=True)
    op.create_index("sri_verdicts_by_key", "sri_verdicts", ["key", "tenant", "severity", "seq"])
    op.create_index("sri_verdicts_by_age", "sri_verdicts", ["received_at"])
    op.create_table(
        "sri_sources",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("verdicts", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, sa.BigInteger)
            for name in ("verdict_at", "heartbeat_at", "pid", "sent", "dropped", "waiting", "generations")
        ),
        sa.Column("without_verdict", sa.BigInteger),
        sa.Column("unwatched_since", sa.BigInteger),
        sa.Column("canary", sa.Text),
        sa.Column("canary_at", sa.BigInteger),
    )
    totals = op.create_table(
        "sri_totals",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("ids", sa.Text),
        sa.CheckConstraint("id = 1", name="sri_totals_has_one_row"),
    )
    op.bulk_insert(totals, [{"id": 1, "rows": 0, "size": 0, "ids": None}])


def downgrade() -> None:
    """Takes the tables away, with everything in them."""
    for table in ("sri_totals", "sri_sources", "sri_verdicts"):
        op.drop_table(table)
