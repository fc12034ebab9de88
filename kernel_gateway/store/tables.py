"""The tables. What is in them is `rows.py`, what is asked of them is `statements.py`.

A run is spread over tables by how often each part is written: its plan and labels once (they can be
as big as a request), its view and artifacts at each change of state, the measures of its log at
each commit, the progress of its webhook with each delivery. A row that grows with one of them is so
never rewritten for another.

Records carry the run's number instead of its uid: 36 bytes a line are more than most lines. Numbers
are never given twice, since the records of a removed run are erased after it.

Texts of user code are kept as bytes: they may hold U+0000, which PostgreSQL refuses in text and on
which SQLite's text functions stop.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

# Names for all constraints, so that a later migration can name what it changes.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows in a column of type INTEGER and in no other.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

runs = Table(
    "runs",
    metadata,
    Column("number", _NUMBER, primary_key=True),  # in order of creation
    Column("uid", Text, nullable=False, unique=True),
    Column("run_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("kernel_name", Text, nullable=False),
    Column("generation", Integer),
    Column("finished", Boolean(create_constraint=False), nullable=False),
    Column("view", LargeBinary, nullable=False),  # JSON
    Column("expires_at", Double),
    # Of the view, for lists. The default is for a database that was made without the column.
    Column("created_at", Double, nullable=False, server_default=text("0")),
    Column("outcome", Text),
    Column("kernel_id", Text, nullable=False, server_default=text("''")),
    Column("artifacts", LargeBinary),  # JSON; null: none
    sqlite_autoincrement=True,
)
# Not unique: the ID of a finished run may be used anew on some routes; the newest run has it.
Index(None, runs.c.owner, runs.c.run_id)
Index(None, runs.c.owner, runs.c.created_at)
Index(None, runs.c.owner, runs.c.kernel_id, runs.c.created_at)
Index(
    "ix_runs_unfinished",
    runs.c.number,
    sqlite_where=runs.c.finished.is_(False),
    postgresql_where=runs.c.finished.is_(False),
)
Index(None, runs.c.expires_at)

plans = Table(
    "plans",
    metadata,
    Column("run", _NUMBER, ForeignKey(runs.c.number), primary_key=True, autoincrement=False),
    Column("plan", LargeBinary, nullable=False),  # JSON
    Column("outline", LargeBinary),  # JSON: the plan without its code; null: it is small anyway
    Column("labels", LargeBinary),  # JSON; null: none. What lists ask is in the next table.
)

# The labels once more. Owner and time are those of the run, so that a list by a label is read in
# its order, and ends where the page does.
labels = Table(
    "labels",
    metadata,
    Column("run", _NUMBER, ForeignKey(runs.c.number), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    sqlite_with_rowid=False,
)
Index(None, labels.c.owner, labels.c.name, labels.c.value, labels.c.created_at)
Index(None, labels.c.owner, labels.c.name, labels.c.created_at)

# Of the runs that have one.
webhooks = Table(
    "webhooks",
    metadata,
    Column("run", _NUMBER, ForeignKey(runs.c.number), primary_key=True, autoincrement=False),
    Column("webhook", LargeBinary, nullable=False),  # JSON, with its secret
    Column("told", BigInteger, nullable=False),  # seq of the last record that is done with
    Column("over", Boolean(create_constraint=False), nullable=False),
    Column("deliveries", LargeBinary),  # JSON, the newest ones; null: none
)
Index(
    "ix_webhooks_pending",
    webhooks.c.run,
    sqlite_where=webhooks.c.over.is_(False),
    postgresql_where=webhooks.c.over.is_(False),
)

logs = Table(
    "logs",
    metadata,
    Column("run", _NUMBER, ForeignKey(runs.c.number), primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),  # seq of the record that follows
    Column("bytes", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
)

# In order of reading: a log is one stretch of the table (WITHOUT ROWID).
records = Table(
    "records",
    metadata,
    Column("run", BigInteger, primary_key=True),  # no foreign key: erased after the run
    Column("seq", BigInteger, primary_key=True),
    Column("at", Double, nullable=False),
    Column("step", Integer),
    Column("kind", Text, nullable=False),
    Column("stream", Text),  # of a text, else null
    Column("late", Boolean(create_constraint=False)),  # of a text, else null
    Column("body", LargeBinary, nullable=False),  # of a text the text itself, else JSON
    sqlite_with_rowid=False,
)

# Removed runs: what is left to erase, and IDs that are known as expired.
tombstones = Table(
    "tombstones",
    metadata,
    Column("run", _NUMBER, primary_key=True, autoincrement=False),
    Column("uid", Text, nullable=False, unique=True),
    Column("run_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("erased", Boolean(create_constraint=False), nullable=False),
    Column("session", Text),  # null: removed before this was kept
)
Index(None, tombstones.c.owner, tombstones.c.run_id)
Index(
    "ix_tombstones_to_erase",
    tombstones.c.run,
    sqlite_where=tombstones.c.erased.is_(False),
    postgresql_where=tombstones.c.erased.is_(False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False, index=True),
    Column("kernel_name", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("generation", Integer, nullable=False),
)

# A path and its kernel, as Jupyter's clients know them. The kernel may be gone.
notebook_sessions = Table(
    "notebook_sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("kernel_id", Text, nullable=False),
    Column("kernel_name", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("gone_at", Double),  # of the kernel
    Column("reason", Text),  # why it is gone
)

keys = Table(
    "keys",
    metadata,
    Column("access_key", Text, primary_key=True),
    Column("secret", Text, nullable=False),
    Column("owner", Text, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)
