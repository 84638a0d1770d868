"""Sources by process: workers that share a source no longer overwrite each other, and one that ends says so.

It imports nothing that may change with the SDK: a migration does what it did on the day it was written.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NUMBERS = ("pid", "sent", "dropped", "waiting", "generations", "without_verdict", "unwatched_since")


def upgrade() -> None:
    """Moves what heartbeats said to a table of processes."""
    op.create_table(
        "sri_source_processes",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("pid", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger) for name in _NUMBERS[1:]),
        sa.Column("canary", sa.Text),
        sa.Column("canary_at", sa.BigInteger),
    )
    # The next heartbeats, seconds later, bring everything but canaries.
    names = ", ".join((*_NUMBERS, "canary", "canary_at"))
    op.execute(
        f"INSERT INTO sri_source_processes (tenant, source, seen_at, {names}) "
        f"SELECT tenant, source, COALESCE(heartbeat_at, seen_at), {names} FROM sri_sources WHERE pid IS NOT NULL"
    )
    with op.batch_alter_table("sri_sources") as batch:
        for name in (*_NUMBERS, "canary", "canary_at"):
            batch.drop_column(name)
        batch.add_column(sa.Column("ended_at", sa.BigInteger))


def downgrade() -> None:
    """Forgets processes; the next heartbeats say the rest."""
    with op.batch_alter_table("sri_sources") as batch:
        batch.drop_column("ended_at")
        for name in (*_NUMBERS, "canary_at"):
            batch.add_column(sa.Column(name, sa.BigInteger))
        batch.add_column(sa.Column("canary", sa.Text))
    op.drop_table("sri_source_processes")
