"""Runs migrations on the connection that `schema.py` passes; alembic executes this file."""

from alembic import context

from sri_sdk.serve.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=context.config.attributes["version_table"],
)
with context.begin_transaction():
    context.run_migrations()
