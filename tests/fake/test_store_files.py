"""The folder of a store: who may open it, what is kept over an end, what a bad day does to it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import resource
import shutil
import sqlite3
import stat
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event
from sqlalchemy import text as sql

from kernel_gateway.errors import DiskFull, Refused, StoreUnavailable
from kernel_gateway.runs.records import Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.store import rows
from kernel_gateway.store.blobs import Blobs
from kernel_gateway.store.committer import Committed, Committer
from kernel_gateway.store.database import writing_engine
from kernel_gateway.store.migrate import HEAD, MIGRATIONS, migrate
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from kernel_gateway.store.tables import metadata
from kernel_gateway.store.values import DeleteRun, PutRun, RunFilter, Write
from tests.shared.store import (
    HANG_LIMIT_S,
    ME,
    Gatherer,
    Outside,
    a_blob,
    a_run,
    all_records,
    append,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.usefixtures("no_blocking_call")


@pytest.fixture
def settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(
        folder=tmp_path / "a folder" / "state",
        busy_timeout_s=0.01,
        retry_first_s=0.001,
        retry_max_s=0.001,
    )


@pytest.fixture
def outside(settings: StoreSettings) -> Outside:
    return Outside(settings.folder)


@pytest.fixture
async def store(settings: StoreSettings, outside: Outside) -> AsyncIterator[Store]:
    opened = await Store.open(settings)
    yield opened
    await opened.close()
    outside.check()


class Trouble(logging.Handler):
    """Set as soon as the store says that something is wrong: just before its `fault` is there."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self._said.set()

    async def begun(self) -> None:
        await asyncio.wait_for(self._said.wait(), HANG_LIMIT_S)


@pytest.fixture
async def trouble() -> AsyncIterator[Trouble]:
    handler = Trouble()
    log = logging.getLogger("kernel_gateway.store")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


# -- over an end ---------------------------------------------------------------------------------


async def test_everything_outlives_the_process(settings: StoreSettings, outside: Outside) -> None:
    run = a_run()
    first = await Store.open(settings)
    await first.write(PutRun(run), append(run, *texts(1, 5), blobs=[a_blob()]))
    await first.close()
    second = await Store.open(settings)
    assert [replace(run, log_next=Seq(6))] == await second.unfinished()
    assert texts(1, 5) == await all_records(second, run)
    assert a_blob().data == await second.blob(run.uid, "1-0")
    await second.write(append(run, text(6)))
    await second.close()
    outside.check()


async def test_what_was_told_outlives_a_kill(store: Store, settings: StoreSettings) -> None:
    """The files as a killed process leaves them: copied while it is in full swing."""
    run = a_run()
    await store.write(PutRun(run), append(run, *texts(1, 500)))
    killed = settings.folder.with_name("killed")
    await asyncio.to_thread(shutil.copytree, settings.folder, killed)
    again = await Store.open(replace(settings, folder=killed))
    assert texts(1, 500) == await all_records(again, run)
    await again.close()
    Outside(killed).check()


async def test_closing_writes_what_was_enlisted(settings: StoreSettings, outside: Outside) -> None:
    run = a_run()
    store = await Store.open(settings)
    source = Gatherer(PutRun(run), append(run, *texts(1, 100)))
    store.enlist(source)
    await store.close()
    assert ["stored"] == source.told
    assert 100 == outside.count("records")
    assert {"gateway.db", "lock"} == {path.name for path in settings.folder.iterdir()}


async def test_the_next_gateway_erases_what_the_last_one_left(
    settings: StoreSettings, outside: Outside
) -> None:
    run = a_run()
    first = await Store.open(settings)
    await first.write(PutRun(run), append(run, *texts(1, 5000), blobs=[a_blob()]))
    await first.write(DeleteRun(run.uid))
    await first.close()  # does not wait for it
    assert outside.count("records") > 0
    second = await Store.open(settings)
    await second.sweep(0.0)
    await second.close()
    assert 0 == outside.count("records")
    assert [] == outside.files()


# -- who may open it -----------------------------------------------------------------------------


async def test_a_second_gateway_is_refused_with_the_folder_and_the_process(
    store: Store, settings: StoreSettings
) -> None:
    with pytest.raises(Refused) as refused:
        await Store.open(settings)
    assert str(settings.folder) in str(refused.value)
    assert f"process {os.getpid()}" in str(refused.value)
    await store.write(PutRun(a_run()))


async def test_a_closed_store_frees_its_folder(settings: StoreSettings) -> None:
    for _ in range(2):
        await (await Store.open(settings)).close()


async def test_a_refused_store_frees_its_folder(settings: StoreSettings) -> None:
    settings.folder.mkdir(parents=True)
    (settings.folder / "gateway.db").write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(Refused, match="not a database"):
            await Store.open(settings)


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be used"):
        await Store.open(StoreSettings(folder=tmp_path / "file" / "state"))


async def test_nobody_else_may_read(store: Store, settings: StoreSettings) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, text(1), blobs=[a_blob()]))
    modes = {
        str(path.relative_to(settings.folder)): stat.S_IMODE(path.stat().st_mode)
        for path in [settings.folder, *settings.folder.rglob("*")]
    }
    assert 0o700 == modes.pop(".")
    assert {"gateway.db", "gateway.db-wal", "gateway.db-shm", "lock"} < set(modes)
    for name, mode in modes.items():
        assert (0o700 if (settings.folder / name).is_dir() else 0o600) == mode, name


async def test_a_store_stays_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = await Store.open(StoreSettings(folder=Path("here")))
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = a_run()
    await store.write(PutRun(run), append(run, text(1), blobs=[a_blob()]))
    assert a_blob().data == await store.blob(run.uid, "1-0")
    await store.close()
    Outside(tmp_path / "here").check()


# -- versions ------------------------------------------------------------------------------------


async def test_migrations_end_at_the_tables_of_a_new_database(
    store: Store, outside: Outside, tmp_path: Path
) -> None:
    old = StoreSettings(folder=tmp_path / "old")
    old.folder.mkdir()
    await asyncio.to_thread(migrate_to, old, "head")
    new = create_engine(f"sqlite:///{outside.database}")
    engine = create_engine(f"sqlite:///{Outside(old.folder).database}")
    question = sql("SELECT name, sql FROM sqlite_master WHERE sql > ''")
    try:
        with engine.connect() as migrated, new.connect() as made:
            assert [] == compare_metadata(MigrationContext.configure(migrated), metadata)
            # What compare_metadata does not look at: partial indexes, WITHOUT ROWID.
            assert _ddl(made.execute(question).all()) == _ddl(migrated.execute(question).all())
            version = sql("SELECT version_num FROM alembic_version")
            assert made.execute(version).all() == migrated.execute(version).all()
    finally:
        engine.dispose()
        new.dispose()


def _ddl(rows: object) -> dict[str, list[str]]:
    """By name, the parts of each statement in any order."""
    assert isinstance(rows, list)
    return {
        name: sorted(filter(None, map(str.strip, re.split(r"[(),\n]", text_))))
        for name, text_ in rows
    }


def migrate_to(settings: StoreSettings, revision: str) -> None:
    engine = writing_engine(settings)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


async def test_runs_of_the_first_tables_are_listed_too(
    settings: StoreSettings, outside: Outside
) -> None:
    settings.folder.mkdir(parents=True, mode=0o700)
    await asyncio.to_thread(migrate_to, settings, "0001")
    runs = [a_run("old"), a_run("older", state=RunState.FINISHED)]
    runs[0] = replace(runs[0], view=replace(runs[0].view, created_at=2000.5))
    with closing(sqlite3.connect(outside.database)) as connection, connection:
        for number, run in enumerate(runs, 1):
            columns = {**rows.fixed_parameters(run), **rows.changing_parameters(run)}
            for name in ("created_at", "outcome", "kernel_id", "artifacts"):
                del columns[name]  # there were none yet
            names = ", ".join(columns)
            marks = ", ".join(f":{name}" for name in columns)
            connection.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", columns)
            connection.execute(
                "INSERT INTO plans VALUES (?, ?)", (number, rows.plan_bytes(run.plan))
            )
            connection.execute("INSERT INTO logs VALUES (?, 1, 0, 0)", (number,))
    store = await Store.open(settings)
    assert runs == await store.list_runs(ME)
    assert runs[1:] == await store.list_runs(ME, RunFilter(before=(2000.5, runs[0].uid)))
    assert runs[1:] == await store.list_runs(ME, RunFilter(outcome="ok"))
    assert runs == await store.list_runs(ME, RunFilter(kernel_id="kernel-1"))
    await store.close()
    outside.check()


async def test_what_was_removed_before_scopes_were_kept_is_expired_in_none_of_them(
    settings: StoreSettings, outside: Outside
) -> None:
    settings.folder.mkdir(parents=True, mode=0o700)
    await asyncio.to_thread(migrate_to, settings, "0002")
    with closing(sqlite3.connect(outside.database)) as connection, connection:
        connection.execute("INSERT INTO tombstones VALUES (7, 'u', 'a', 'me', 1000.0, 1)")
    store = await Store.open(settings)
    assert await store.is_expired(ME, "a")
    assert not await store.is_expired(ME, "a", session="")
    await store.close()


# -- space ---------------------------------------------------------------------------------------


def _text(size: int) -> str:
    return "0123456789abcdef" * (size // 16)


def _bytes_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


async def test_space_comes_back_when_runs_are_deleted(
    store: Store, settings: StoreSettings, outside: Outside
) -> None:
    kept = a_run(uid="kept")
    await store.write(PutRun(kept), append(kept, text(1, "kept"), blobs=[a_blob()]))
    runs = [a_run() for _ in range(200)]
    for run in runs:
        log = [text(seq, _text(10 * 1024)) for seq in range(1, 11)]
        await store.write(PutRun(run), append(run, *log, blobs=[a_blob(data=bytes(100 * 1024))]))
    full = outside.database.stat().st_size
    assert full > 200 * 100 * 1024
    assert _bytes_of(settings.folder / "blobs") > 200 * 100 * 1024
    for run in runs:
        await store.write(DeleteRun(run.uid))
    await store.sweep(0.0)
    assert outside.database.stat().st_size < full // 8
    assert ["ke", "ke/kept", "ke/kept/1-0"] == outside.files()
    assert [text(1, "kept")] == await all_records(store, kept)


async def test_a_gateway_gives_back_what_the_last_one_left_free(
    settings: StoreSettings, outside: Outside
) -> None:
    store = await Store.open(settings)
    run = a_run()
    await store.write(PutRun(run), append(run, text(1, _text(8 * 2**20))))
    await store.close()
    full = outside.database.stat().st_size
    with closing(sqlite3.connect(outside.database)) as connection, connection:
        connection.execute("UPDATE records SET body = 'x'")
    store = await Store.open(settings)
    await store.sweep(0.0)
    await store.close()
    assert outside.database.stat().st_size < full // 4


async def test_little_that_is_free_stays_for_what_comes_next(
    store: Store, outside: Outside
) -> None:
    before = a_run()
    await store.write(PutRun(before), append(before, text(1, _text(512 * 1024))))
    await store.write(DeleteRun(before.uid))
    await store.sweep(0.0)
    ((free,),) = outside.rows("PRAGMA freelist_count")
    assert free > 100


async def test_a_database_that_cannot_give_space_back_works_as_ever(
    settings: StoreSettings, outside: Outside
) -> None:
    settings.folder.mkdir(parents=True, mode=0o700)
    outside.database.touch(mode=0o600)
    with closing(sqlite3.connect(outside.database)) as connection:
        connection.execute("CREATE TABLE first (page)")
        connection.execute("DROP TABLE first")
        connection.execute("VACUUM")
    store = await Store.open(settings)
    run = a_run()
    await store.write(PutRun(run), append(run, text(1, _text(4 * 2**20))))
    await store.write(DeleteRun(run.uid))
    await store.sweep(0.0)  # comes to an end
    await store.close()
    assert outside.database.stat().st_size > 4 * 2**20
    assert [(0,)] == outside.rows("PRAGMA auto_vacuum")
    outside.check()


async def test_a_reader_that_stays_holds_up_no_erasing(store: Store, outside: Outside) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, text(1, _text(4 * 2**20))))
    with closing(sqlite3.connect(outside.database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchall()
        await store.write(DeleteRun(run.uid))
        await store.sweep(0.0)
        await store.write(PutRun(a_run()))
    assert 0 == outside.count("records")


def test_the_newest_migration_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert [HEAD] == ScriptDirectory.from_config(config).get_heads()


async def test_alembic_is_imported_only_for_a_migration(
    settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replace(settings, folder=settings.folder.parent / "old")
    old.folder.mkdir(parents=True)
    await asyncio.to_thread(migrate_to, old, "0001")
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "alembic"]:
            patch.setitem(sys.modules, name, None)
        await (await Store.open(settings)).close()  # a new one
        await (await Store.open(settings)).close()
        with pytest.raises(ImportError):
            await Store.open(old)
    await (await Store.open(old)).close()


async def test_a_database_of_a_newer_gateway_is_refused(
    settings: StoreSettings, outside: Outside
) -> None:
    await (await Store.open(settings)).close()
    with closing(sqlite3.connect(outside.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Refused, match=r"newer gateway.*9999"):
        await Store.open(settings)


async def test_a_database_of_somebody_else_is_refused_and_left_alone(
    settings: StoreSettings, outside: Outside
) -> None:
    settings.folder.mkdir(parents=True)
    with closing(sqlite3.connect(outside.database)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(Refused, match="recipes"):
        await Store.open(settings)
    assert [("recipes",)] == outside.rows("SELECT name FROM sqlite_master")


# -- bad days ------------------------------------------------------------------------------------


@pytest.mark.logs_error("does not take writes at present .*locked")
async def test_a_locked_database_is_waited_for_and_nothing_is_lost(
    store: Store, outside: Outside, trouble: Trouble
) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, *texts(1, 3)))
    source = Gatherer(append(run, *texts(4, 6), blobs=[a_blob()]))
    with closing(sqlite3.connect(outside.database)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.enlist(source)
        await trouble.begun()
        assert isinstance(store.fault, StoreUnavailable)
        assert store.backlog_bytes > 0
        assert texts(1, 3) == await all_records(store, run), "reading goes on"
        other.rollback()
    await source.until_told()
    assert None is store.fault
    assert texts(1, 6) == await all_records(store, run)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The nearest to a full disk that needs no disk: writing further than that fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.logs_error("disk of the store is full|disk I/O error")
@pytest.mark.parametrize(
    ("in_file", "fault"),
    [
        pytest.param(True, DiskFull, id="spill file"),
        # Here the limit of a file differs from a full disk: SQLite calls it an I/O error.
        pytest.param(False, StoreUnavailable, id="database"),
    ],
)
async def test_a_write_that_fails_is_waited_for_and_nothing_is_lost(
    store: Store, trouble: Trouble, in_file: bool, fault: type[Exception]
) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, *texts(1, 3)))
    big = 3 * 2**20
    if in_file:
        grown = append(run, text(4), blobs=[a_blob(data=b"x" * big)])
    else:
        grown = append(run, text(4, "x" * big))
    source = Gatherer(grown)
    with files_no_longer_than(2 * 2**20):
        store.enlist(source)
        await trouble.begun()
        assert fault is type(store.fault)
        assert texts(1, 3) == await all_records(store, run)
    await source.until_told()
    assert None is store.fault
    assert list(grown.batch.records) == await store.last_records(run.uid, limit=1)


def test_a_database_that_may_not_grow_is_a_full_disk(
    settings: StoreSettings, outside: Outside
) -> None:
    run = a_run()
    grown: list[Write] = [PutRun(run), append(run, text(1, "x" * 2**20))]
    settings.folder.mkdir(parents=True, mode=0o700)
    engine = writing_engine(settings)
    migrate(engine)
    engine.dispose()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 100").close()

    committer = Committer(engine, Blobs(settings.folder / "blobs", sync=False))
    event.listen(engine, "connect", limit)
    for _ in range(2):
        with pytest.raises(DiskFull, match="full"):
            committer.commit([grown])
    event.remove(engine, "connect", limit)
    assert Committed((None,), more=False) == committer.commit([grown])
    committer.close()
    outside.check()


@pytest.mark.logs_error("full", "lost at the end: 1 writes")
async def test_a_store_can_be_closed_on_a_full_disk(
    settings: StoreSettings, outside: Outside, trouble: Trouble
) -> None:
    run = a_run()
    store = await Store.open(replace(settings, close_limit_s=0.01))
    await store.write(PutRun(run), append(run, *texts(1, 3)))
    source = Gatherer(append(run, text(4), blobs=[a_blob(data=b"x" * 3 * 2**20)]))
    with files_no_longer_than(2 * 2**20):
        store.enlist(source)
        await trouble.begun()
        await store.close()
    (told,) = source.told
    assert isinstance(told, DiskFull)
    assert 3 == outside.count("records")
    outside.check()


async def test_spill_files_that_cannot_be_removed_stay_and_hold_up_nobody(
    store: Store, settings: StoreSettings, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    run = a_run(uid="abc")
    await store.write(PutRun(run), append(run, text(1), blobs=[a_blob()]))
    folder = settings.folder / "blobs" / "ab" / "abc"
    shutil.rmtree(folder)
    folder.symlink_to(settings.folder / "blobs")  # rmtree refuses to follow it
    await store.write(DeleteRun(run.uid))
    await store.sweep(0.0)
    assert "stay" in caplog.text
    folder.unlink()
    assert not await store.find_runs(ME, "abc")
