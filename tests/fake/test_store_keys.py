"""Keys that are written beside a gateway: seen at once, in one database, by one version."""

from __future__ import annotations

import asyncio
import sqlite3
import traceback
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import Refused
from kernel_gateway.store.keys import opened_keys
from kernel_gateway.store.lock import FolderLock
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from kernel_gateway.store.values import StoredKey
from tests.shared.store import ME, Outside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_blocking_call")

KEY = StoredKey(access_key="KG1", secret="hush", owner=ME, created_at=1.5, revoked_at=None)


@pytest.fixture
def settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(folder=tmp_path / "a folder" / "state", busy_timeout_s=0.01)


@pytest.fixture
async def store(settings: StoreSettings) -> AsyncIterator[Store]:
    opened = await Store.open(settings)
    yield opened
    await opened.close()
    Outside(settings.folder).check()


def add(settings: StoreSettings, *keys: StoredKey) -> None:
    with opened_keys(settings, make=True) as ring:
        for key in keys:
            ring.add(key)


def revoke(settings: StoreSettings, access_key: str, now: float) -> StoredKey | None:
    with opened_keys(settings, make=False) as ring:
        return ring.revoke(access_key, now)


def everything(settings: StoreSettings) -> list[StoredKey]:
    with opened_keys(settings, make=False) as ring:
        return ring.all()


async def test_a_store_that_is_open_sees_each_change_at_once(
    store: Store, settings: StoreSettings
) -> None:
    assert None is await store.key("KG1")
    await asyncio.to_thread(add, settings, KEY)
    assert KEY == await store.key("KG1")
    revoked = await asyncio.to_thread(revoke, settings, "KG1", 7.0)
    assert replace(KEY, revoked_at=7.0) == revoked == await store.key("KG1")


def test_a_folder_that_is_not_there_is_made_for_a_gateway(settings: StoreSettings) -> None:
    add(settings, KEY)
    assert 0o700 == settings.folder.stat().st_mode & 0o777
    Outside(settings.folder).check()

    async def seen_by_a_gateway() -> StoredKey | None:
        store = await Store.open(settings)
        try:
            return await store.key("KG1")
        finally:
            await store.close()

    assert KEY == asyncio.run(seen_by_a_gateway())


def test_nothing_is_made_where_nothing_is_to_be_made(settings: StoreSettings) -> None:
    with pytest.raises(Refused, match=r"There is no gateway's database in the folder .*a folder"):
        everything(settings)
    assert not settings.folder.parent.exists()


def test_keys_come_oldest_first(settings: StoreSettings) -> None:
    older = replace(KEY, access_key="KG2", created_at=1.0)
    add(settings, KEY, older)
    assert [older, KEY] == everything(settings)


def test_a_key_is_revoked_once(settings: StoreSettings) -> None:
    add(settings, KEY)
    assert None is revoke(settings, "none", 5.0)
    assert replace(KEY, revoked_at=6.0) == revoke(settings, "KG1", 6.0)
    assert replace(KEY, revoked_at=6.0) == revoke(settings, "KG1", 7.0)
    assert [replace(KEY, revoked_at=6.0)] == everything(settings)


def test_a_secret_is_in_no_error(settings: StoreSettings) -> None:
    add(settings, KEY)
    with pytest.raises(Exception, match="UNIQUE") as caught:
        add(settings, KEY)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


# -- other versions ------------------------------------------------------------------------------


def of_version(settings: StoreSettings, version: str) -> None:
    add(settings)
    with closing(sqlite3.connect(settings.folder / "gateway.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])


def test_a_gateway_of_another_version_is_not_disturbed(settings: StoreSettings) -> None:
    of_version(settings, "0000")
    lock = FolderLock(settings.folder)
    with pytest.raises(Refused, match=r"in use by a gateway of another version.*0000"):
        add(settings, KEY)
    lock.release()


def test_what_a_newer_gateway_has_written_is_left_alone(settings: StoreSettings) -> None:
    of_version(settings, "9999")
    with pytest.raises(Refused, match="written by a newer gateway"):
        add(settings, KEY)
    FolderLock(settings.folder).release()  # nobody holds it


def test_a_database_of_somebody_else_is_left_alone(settings: StoreSettings) -> None:
    settings.folder.mkdir(parents=True)
    with closing(sqlite3.connect(settings.folder / "gateway.db")) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(Refused, match="not a gateway's"):
        add(settings, KEY)


def test_a_database_that_is_locked_or_none_is_told(settings: StoreSettings) -> None:
    add(settings)
    with closing(sqlite3.connect(settings.folder / "gateway.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused, match=r"cannot be used.*locked"):
            add(settings, KEY)
    (settings.folder / "gateway.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Refused, match=r"cannot be used.*not a database"):
        everything(settings)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be used"):
        add(StoreSettings(folder=tmp_path / "file" / "state"), KEY)
