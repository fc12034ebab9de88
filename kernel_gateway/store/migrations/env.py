"""What Alembic runs: all steps on the connection that `migrate.py` has begun a transaction on."""

from __future__ import annotations

from alembic import context

from kernel_gateway.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can do it, once the driver's own transactions are switched off.
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
