"""Runs can be listed by the time of their creation, and sessions of notebooks are kept."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_AT_ONCE = 1000


def upgrade() -> None:
    op.add_column(
        "runs",
        sa.Column("created_at", sa.Double(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("runs", sa.Column("outcome", sa.Text(), nullable=True))
    _fill()
    op.drop_index("ix_runs_owner_number", table_name="runs")
    op.create_index("ix_runs_owner_created_at", "runs", ["owner", "created_at"], unique=False)
    op.create_index(
        "ix_runs_owner_session_created_at",
        "runs",
        ["owner", "session", "created_at"],
        unique=False,
    )
    op.create_table(
        "notebook_sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("kernel_id", sa.Text(), nullable=False),
        sa.Column("kernel_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("gone_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_notebook_sessions"),
    )


def _fill() -> None:
    """Both stand in the view of each run."""
    runs = sa.table("runs", sa.column("number"), *map(sa.column, ("view", "created_at", "outcome")))
    connection = op.get_bind()
    change = (
        sa.update(runs)
        .where(runs.c.number == sa.bindparam("of"))
        .values(created_at=sa.bindparam("at"), outcome=sa.bindparam("how"))
    )
    last = 0
    while page := connection.execute(
        sa.select(runs.c.number, runs.c.view)
        .where(runs.c.number > last)
        .order_by(runs.c.number)
        .limit(_AT_ONCE)
    ).all():
        views = [(row.number, json.loads(row.view)) for row in page]
        connection.execute(
            change,
            [
                {"of": number, "at": view["created_at"], "how": view["outcome"]}
                for number, view in views
            ],
        )
        last = page[-1].number
