"""Brings a database to the tables of this version.

Alembic is imported for an older database only: it costs more than all the rest of opening. A new
one gets the tables as they are now; a test sees to it that the way over all versions ends there.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from kernel_gateway.errors import Refused
from kernel_gateway.store.tables import metadata

#: The newest revision in `migrations/versions`; a test compares the two.
HEAD = "0003"
MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """All or nothing. Raises `Refused` for a database that is not one of ours, or of tomorrow's."""
    with engine.begin() as connection:
        version = _version(connection)
        if version is None:
            _create(connection)
        elif version != HEAD:
            _upgrade(connection, version)


def revision(engine: Engine) -> str | None:
    """None for an empty database. Raises `Refused` for one that is not ours."""
    with engine.begin() as connection:
        return _version(connection)


def _version(connection: Connection) -> str | None:
    """None for an empty database."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return version
    if tables:
        raise Refused(
            f"{_name(connection)} holds tables that are not a gateway's ({', '.join(tables[:3])}). "
            "Choose another folder."
        )
    return None


def _create(connection: Connection) -> None:
    metadata.create_all(connection, checkfirst=False)
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _upgrade(connection: Connection, version: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version not in known:
        raise Refused(
            f"{_name(connection)} was written by a newer gateway (its version is {version}, "
            f"ours is {HEAD}). Install that gateway, or choose another folder."
        )
    command.upgrade(config, "head")


def _name(connection: Connection) -> str:
    return f"The database {connection.engine.url.database}"
