"""What Alembic runs: the revisions, on the connection and in the transaction that `migrate` gives it."""

from alembic import context

from server.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True
)
context.run_migrations()
