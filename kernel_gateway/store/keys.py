"""The keys in a data folder, for a command that runs beside the gateway or before the first one.

Knows the database and the lock of the folder. Must not know who makes keys, nor the loop: it
blocks. The gateway asks the store for a key at each call, so it sees at once what is committed
here.

A database that is not there yet is made without the lock: a migration is one transaction, so a
gateway that starts meanwhile waits for it or finds it done, and is not turned away. One of another
version may be in use by the gateway that wrote it, so that one is migrated under the lock alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from kernel_gateway.errors import Refused
from kernel_gateway.store import rows, statements
from kernel_gateway.store.database import DATABASE, writing_engine
from kernel_gateway.store.faults import weather
from kernel_gateway.store.lock import FolderLock
from kernel_gateway.store.migrate import HEAD, migrate, revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from kernel_gateway.store.settings import StoreSettings
    from kernel_gateway.store.values import StoredKey


class KeyRing:
    """Each call is one short transaction, which waits for those of a gateway."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, key: StoredKey) -> None:
        with self._engine.begin() as connection:
            connection.execute(statements.INSERT_KEY, rows.key_parameters(key))

    def all(self) -> list[StoredKey]:
        """Oldest first, revoked ones too."""
        with self._engine.begin() as connection:
            return list(map(rows.key_of, connection.execute(statements.KEYS)))

    def revoke(self, access_key: str, now: float) -> StoredKey | None:
        """None: there is no such key. One that is revoked keeps the time when it was."""
        with self._engine.begin() as connection:
            found = connection.execute(statements.KEY, {"access_key": access_key}).first()
            if found is None:
                return None
            key = rows.key_of(found)
            if key.revoked_at is None:
                key = replace(key, revoked_at=now)
                changed = rows.key_parameters(key) | {"of": access_key}
                del changed["access_key"]
                connection.execute(statements.UPDATE_KEY, changed)
            return key


@contextmanager
def opened_keys(settings: StoreSettings, *, make: bool) -> Iterator[KeyRing]:
    """Raises `Refused`: no database and none to be made, another version in use, a bad disk."""
    folder = settings.folder
    if not make and not (folder / DATABASE).exists():
        raise Refused(f"There is no gateway's database in the folder {folder}.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = writing_engine(settings)
        try:
            _bring_up_to_date(engine, settings)
            yield KeyRing(engine)
        finally:
            engine.dispose()
    except Exception as fault:
        if weather(fault):
            raise Refused(f"The store in {folder} cannot be used: {fault}") from fault
        raise


def _bring_up_to_date(engine: Engine, settings: StoreSettings) -> None:
    found = revision(engine)
    if found == HEAD:
        return
    if found is None:
        migrate(engine)
        return
    try:
        lock = FolderLock(settings.folder)
    except Refused:
        raise Refused(
            f"The folder {settings.folder} is in use by a gateway of another version (its database "
            f"has {found}, ours has {HEAD}). Stop that one, or use the command of its version."
        ) from None
    try:
        migrate(engine)
    finally:
        lock.release()
