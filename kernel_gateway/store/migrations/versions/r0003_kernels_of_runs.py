"""A run may have a kernel of its own; labels, artifacts and webhooks of runs are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "runs", sa.Column("kernel_id", sa.Text(), server_default=sa.text("''"), nullable=False)
    )
    op.execute("UPDATE runs SET kernel_id = session")  # until now they were the same
    op.add_column("runs", sa.Column("artifacts", sa.LargeBinary(), nullable=True))
    op.drop_index("ix_runs_owner_session_created_at", table_name="runs")
    op.create_index(
        "ix_runs_owner_kernel_id_created_at",
        "runs",
        ["owner", "kernel_id", "created_at"],
        unique=False,
    )
    op.add_column("plans", sa.Column("outline", sa.LargeBinary(), nullable=True))
    op.add_column("plans", sa.Column("labels", sa.LargeBinary(), nullable=True))
    op.add_column("tombstones", sa.Column("session", sa.Text(), nullable=True))
    op.create_table(
        "labels",
        sa.Column(
            "run",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name="fk_labels_run_runs"),
        sa.PrimaryKeyConstraint("run", "name", name="pk_labels"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_labels_owner_name_value_created_at",
        "labels",
        ["owner", "name", "value", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_labels_owner_name_created_at", "labels", ["owner", "name", "created_at"], unique=False
    )
    op.create_table(
        "webhooks",
        sa.Column(
            "run",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("webhook", sa.LargeBinary(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("deliveries", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name="fk_webhooks_run_runs"),
        sa.PrimaryKeyConstraint("run", name="pk_webhooks"),
    )
    op.create_index(
        "ix_webhooks_pending",
        "webhooks",
        ["run"],
        unique=False,
        sqlite_where=sa.text("over IS 0"),
        postgresql_where=sa.text("over IS false"),
    )
