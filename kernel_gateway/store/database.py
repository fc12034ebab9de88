"""How connections to the database are made: one kind that writes, one that reads.

Knows SQLite and its driver. Must not know tables. Another database would have its own module of
these two functions and texts.

The driver's own idea of when a transaction begins (at the first INSERT, never at a SELECT) is
switched off; ours begin where SQLAlchemy begins them. A writer says so at once (IMMEDIATE): one
that begins as a reader can fail half-way, where no busy timeout helps.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from kernel_gateway.errors import Refused

if TYPE_CHECKING:
    from kernel_gateway.store.settings import StoreSettings

DATABASE = "gateway.db"
BEGIN_WRITING = "BEGIN IMMEDIATE"
_OLDEST_SQLITE = (3, 35)  # RETURNING

# Pages of 4 KiB in the write-ahead log before they go to the database. SQLite's 1000 is a pause
# every few commits of a flood; this is one every few dozen.
_CHECKPOINT_PAGES = 4000
_KEPT_LOG_BYTES = 64 * 2**20

# What removed runs leave free in the file goes back to the disk, some pages a commit. SQLite can
# do so in a database that was made with it; of any other nothing is given back.
FREE_PAGES = "PRAGMA freelist_count"
GIVE_PAGE_BACK = "PRAGMA incremental_vacuum(1)"  # of more, the driver would begin with the first
SHRINK_FILE = "PRAGMA wal_checkpoint(PASSIVE)"  # waits for nobody


def writing_engine(settings: StoreSettings) -> Engine:
    """Makes the file when it is not there: private, and so are those SQLite lays beside it."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise Refused(
            f"SQLite {sqlite3.sqlite_version} is too old for the store; "
            f"{'.'.join(map(str, _OLDEST_SQLITE))} or newer is needed."
        )
    os.close(os.open(settings.folder / DATABASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return _engine(
        settings,
        BEGIN_WRITING,
        "PRAGMA auto_vacuum = INCREMENTAL",  # first: the next one writes the first page
        "PRAGMA journal_mode = WAL",
        f"PRAGMA synchronous = {settings.durability}",
        f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
        f"PRAGMA journal_size_limit = {_KEPT_LOG_BYTES}",
        "PRAGMA foreign_keys = ON",
    )


def reading_engine(settings: StoreSettings) -> Engine:
    return _engine(settings, "BEGIN", "PRAGMA query_only = ON")


def _engine(settings: StoreSettings, begin: str, *pragmas: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(settings.folder / DATABASE)),
        connect_args={"timeout": settings.busy_timeout_s},
        hide_parameters=True,  # in errors: they hold secrets and users' code
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
