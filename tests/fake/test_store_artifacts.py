"""Files beside a log: how they grow, how they are read, how those of user code are taken over."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import stat
import threading
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import ArtifactNotFound, RunNotFound, StoreUnavailable, TooLarge
from kernel_gateway.service import RunUid
from kernel_gateway.store.blobs import Blobs
from kernel_gateway.store.committer import Committed, Committer
from kernel_gateway.store.database import writing_engine
from kernel_gateway.store.migrate import migrate
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from kernel_gateway.store.values import DeleteRun, PutRun
from tests.shared.store import HANG_LIMIT_S, Outside, a_blob, a_run, append, part, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kernel_gateway.store.values import StoredRun

pytestmark = pytest.mark.usefixtures("no_blocking_call")

MOST = 2**20


@pytest.fixture
def settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(folder=tmp_path / "state")


@pytest.fixture
def outside(settings: StoreSettings) -> Outside:
    return Outside(settings.folder)


@pytest.fixture
async def store(settings: StoreSettings, outside: Outside) -> AsyncIterator[Store]:
    opened = await Store.open(settings)
    yield opened
    await opened.close()
    outside.check()


@pytest.fixture
async def run(store: Store) -> StoredRun:
    """On disk, with one record."""
    made = a_run(uid="abcdef")
    await store.write(PutRun(made), append(made, text(1)))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where user code leaves its files."""
    made = tmp_path / "artifacts"
    made.mkdir()
    return made


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def read(
    store: Store, run: StoredRun, artifact: str, start: int = 0, stop: int | None = None
) -> list[bytes] | None:
    pieces = await store.blob_pieces(run.uid, artifact, start, stop)
    return None if pieces is None else [piece async for piece in pieces]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def held() -> list[str]:
    """What this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


def is_on_one_file_system(*paths: Path) -> bool:
    return len({path.stat().st_dev for path in paths}) == 1


# -- in parts ------------------------------------------------------------------------------------


async def test_a_value_in_several_parts_appears_part_by_part(store: Store, run: StoredRun) -> None:
    await store.write(append(run, text(2), blobs=[part(b"one ", 0), part(b"two ", 4)]))
    assert b"one two " == await store.blob(run.uid, "1-0")
    await store.write(append(run, text(3), blobs=[part(b"three", 8)]))
    assert b"one two three" == await store.blob(run.uid, "1-0")
    assert 13 == await store.blob_size(run.uid, "1-0")


@pytest.mark.parametrize("sync", [False, True])
def test_parts_that_are_written_again_are_the_same(tmp_path: Path, sync: bool) -> None:
    """A commit that fails behind its files is tried again, with all of its parts."""
    blobs = Blobs(tmp_path / "blobs", sync=sync)
    uid = RunUid("abc")
    for parts in ([(b"one ", 0), (b"two ", 4)], [(b"3", 8), (b"4", 9)]):
        for data, offset in parts * 2:
            blobs.write(uid, part(data, offset))
        blobs.write(uid, part(*parts[-1]))
    assert b"one two 34" == blobs.read(uid, "1-0")
    (path,) = (tmp_path / "blobs" / "ab" / "abc").iterdir()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_part_whose_file_has_gone_stops_nobody(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, sync=False)
    blobs.write(RunUid("abc"), part(b"end", 2))
    assert b"\0\0end" == blobs.read(RunUid("abc"), "1-0")


# -- reading -------------------------------------------------------------------------------------


async def test_a_file_is_read_in_pieces_from_and_up_to_where_one_likes(
    store: Store, run: StoredRun
) -> None:
    data = os.urandom(600 * 1024)
    await store.write(append(run, text(2), blobs=[a_blob(data=data)]))
    pieces = await read(store, run, "1-0")
    assert pieces is not None
    assert data == b"".join(pieces)
    assert [256 * 1024, 256 * 1024, 88 * 1024] == list(map(len, pieces))
    for start, stop in ((5, None), (0, 1), (300_000, 580_000), (7, 7), (600_000, 2**40)):
        found = await read(store, run, "1-0", start, stop)
        assert data[start:stop] == b"".join(found or ())
    assert [] == await read(store, run, "1-0", 2**40)


async def test_an_empty_file_has_a_size_and_no_pieces(store: Store, run: StoredRun) -> None:
    await store.write(append(run, text(2), blobs=[a_blob(data=b"")]))
    assert 0 == await store.blob_size(run.uid, "1-0")
    assert [] == await read(store, run, "1-0")


@pytest.mark.parametrize("name", ["2-0", "..", "../../lock", "", "a\0b", "1-0\n", "1-0.part"])
async def test_what_is_not_there_has_neither_size_nor_pieces(
    store: Store, run: StoredRun, name: str
) -> None:
    await store.write(append(run, text(2), blobs=[a_blob()]))
    assert None is await store.blob_size(run.uid, name)
    assert None is await store.blob(run.uid, name)
    assert None is await read(store, run, name)


async def test_files_of_a_deleted_run_are_not_there(store: Store, run: StoredRun) -> None:
    await store.write(append(run, text(2), blobs=[a_blob()]))
    await store.write(DeleteRun(run.uid))
    assert None is await store.blob_size(run.uid, "1-0")
    assert None is await read(store, run, "1-0")


async def test_a_reader_that_pauses_or_never_begins_holds_no_file(
    store: Store, run: StoredRun
) -> None:
    await store.write(append(run, text(2), blobs=[a_blob(data=bytes(300 * 1024))]))
    never = await store.blob_pieces(run.uid, "1-0")
    pausing = await store.blob_pieces(run.uid, "1-0")
    assert never is not None
    assert pausing is not None
    async with aclosing(pausing):
        await anext(pausing)
        assert [] == [name for name in held() if "blobs" in name]


async def test_a_file_that_is_removed_while_it_is_read_does_not_just_end(
    store: Store, run: StoredRun
) -> None:
    await store.write(append(run, text(2), blobs=[a_blob(data=bytes(300 * 1024))]))
    pieces = await store.blob_pieces(run.uid, "1-0")
    assert pieces is not None
    await anext(pieces)
    await store.write(DeleteRun(run.uid))
    await store.sweep(0.0)
    with pytest.raises(ArtifactNotFound, match="removed while it was read"):
        await anext(pieces)


async def test_a_file_that_cannot_be_read_is_the_weather(
    store: Store, run: StoredRun, settings: StoreSettings
) -> None:
    await store.write(append(run, text(2), blobs=[a_blob("1-1")]))
    (settings.folder / "blobs" / "ab" / "abcdef" / "1-0").mkdir(mode=0o700)  # instead of a file
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await read(store, run, "1-0")


# -- taking over ---------------------------------------------------------------------------------


async def test_a_file_is_moved_and_measured(
    store: Store, run: StoredRun, folder: Path, outside: Outside
) -> None:
    file = folder / "a report.csv"
    data = os.urandom(3 * 2**20 + 1)
    file.write_bytes(data)
    file.chmod(0o644)
    inode = file.stat().st_ino
    taken = await store.adopt(run.uid, "a1", file, most_bytes=len(data))
    assert (len(data), digest_of(data)) == taken
    assert [] == names(folder)
    assert data == await store.blob(run.uid, "a1")
    assert ["ab", "ab/abcdef", "ab/abcdef/a1"] == outside.files()
    assert inode == (outside.folder / "blobs" / "ab/abcdef/a1").stat().st_ino, "not copied"


async def test_a_file_can_be_taken_over_durably(
    settings: StoreSettings, folder: Path, tmp_path: Path
) -> None:
    (folder / "x").write_bytes(b"x")
    store = await Store.open(StoreSettings(folder=tmp_path / "durable", durability="full"))
    run = a_run()
    await store.write(PutRun(run))
    assert (1, digest_of(b"x")) == await store.adopt(run.uid, "a1", folder / "x", most_bytes=1)
    assert b"x" == await store.blob(run.uid, "a1")
    await store.close()


async def test_a_file_of_another_file_system_is_copied(
    store: Store, run: StoredRun, tmp_path: Path, outside: Outside
) -> None:
    file = Path("/dev/shm") / f"kernel-gateway-{os.getpid()}-{tmp_path.name}"
    if is_on_one_file_system(file.parent, tmp_path):
        pytest.skip("there is no other file system")
    file.write_bytes(b"from afar")
    try:
        taken = await store.adopt(run.uid, "a1", file, most_bytes=MOST)
        assert (9, digest_of(b"from afar")) == taken
        assert not file.exists()
    finally:
        file.unlink(missing_ok=True)
    assert b"from afar" == await store.blob(run.uid, "a1")
    assert ["ab", "ab/abcdef", "ab/abcdef/a1"] == outside.files()


async def test_a_file_with_another_name_is_copied_so_that_nobody_writes_to_ours(
    store: Store, run: StoredRun, folder: Path
) -> None:
    other = folder.with_name("other name")
    other.write_bytes(b"then")
    (folder / "x").hardlink_to(other)
    assert (4, digest_of(b"then")) == await store.adopt(
        run.uid, "a1", folder / "x", most_bytes=MOST
    )
    other.write_bytes(b"now")
    assert b"then" == await store.blob(run.uid, "a1")
    assert [] == names(folder)


@pytest.mark.parametrize("target", ["secret", "/nowhere/at all", "a folder", "link"])
async def test_a_link_is_not_followed(
    store: Store, run: StoredRun, folder: Path, target: str
) -> None:
    (folder / "secret").write_bytes(b"hush")
    (folder / "a folder").mkdir()
    (folder / "link").symlink_to(target)
    taken = await store.adopt(run.uid, "a1", folder / "link", most_bytes=MOST)
    assert (len(target), digest_of(target.encode())) == taken
    assert target.encode() == await store.blob(run.uid, "a1")
    assert ["a folder", "secret"] == names(folder)
    assert b"hush" == (folder / "secret").read_bytes()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))


@pytest.mark.parametrize("make", [a_folder, a_pipe, a_socket])
async def test_what_is_neither_a_file_nor_a_link_stays(
    store: Store, run: StoredRun, folder: Path, outside: Outside, make: Callable[[Path], None]
) -> None:
    make(folder / "odd")
    with pytest.raises(ValueError, match="odd is neither a file nor a link"):
        await store.adopt(run.uid, "a1", folder / "odd", most_bytes=MOST)
    assert (folder / "odd").exists()
    assert ["ab", "ab/abcdef"] == outside.files()


class Swapped(type(Path())):  # type: ignore[misc]
    """A file while one looks at it, a pipe when one opens it."""

    def lstat(self) -> os.stat_result:
        found: os.stat_result = super().lstat()
        self.unlink()
        os.mkfifo(self)
        return found


async def test_what_is_swapped_for_something_else_stays(
    store: Store, run: StoredRun, folder: Path
) -> None:
    (folder / "x").write_bytes(b"x")
    with pytest.raises(ValueError, match="neither a file nor a link"):
        await store.adopt(run.uid, "a1", Swapped(folder / "x"), most_bytes=MOST)
    assert (folder / "x").is_fifo()


@pytest.mark.parametrize("other_name", [False, True])
async def test_a_file_that_is_too_big_stays(
    store: Store, run: StoredRun, folder: Path, outside: Outside, other_name: bool
) -> None:
    file = folder / "big"
    file.write_bytes(b"12345")
    if other_name:
        folder.with_name("other").hardlink_to(file)
    with pytest.raises(TooLarge, match="big is bigger than the 4 bytes"):
        await store.adopt(run.uid, "a1", file, most_bytes=4)
    assert b"12345" == file.read_bytes()
    assert ["ab", "ab/abcdef"] == outside.files()


async def test_a_link_that_is_too_long_stays(store: Store, run: StoredRun, folder: Path) -> None:
    (folder / "link").symlink_to("12345")
    with pytest.raises(TooLarge):
        await store.adopt(run.uid, "a1", folder / "link", most_bytes=4)
    assert (folder / "link").is_symlink()


async def test_a_file_that_has_more_than_it_says_is_too_big(
    store: Store, run: StoredRun, outside: Outside
) -> None:
    """As one that grows while it is read; those of /proc say that they have nothing."""
    with pytest.raises(TooLarge):
        await store.adopt(run.uid, "a1", Path("/proc/self/status"), most_bytes=4)
    assert ["ab", "ab/abcdef"] == outside.files()


@pytest.mark.parametrize("name", ["missing", "/proc/self/exe", "/proc/self/status"])
async def test_what_cannot_be_moved_leaves_nothing_behind(
    store: Store, run: StoredRun, folder: Path, outside: Outside, name: str
) -> None:
    with pytest.raises(OSError, match=r"Errno"):
        await store.adopt(run.uid, "a1", folder / name, most_bytes=MOST)
    assert ["ab", "ab/abcdef"] == outside.files()


@pytest.mark.parametrize("name", ["..", "../x", "", "x.part"])
async def test_a_file_never_gets_a_name_that_is_not_ours(
    store: Store, run: StoredRun, folder: Path, name: str
) -> None:
    (folder / "x").write_bytes(b"x")
    with pytest.raises(ValueError, match="not a name of ours"):
        await store.adopt(run.uid, name, folder / "x", most_bytes=MOST)
    assert (folder / "x").exists()


# -- and removal ---------------------------------------------------------------------------------


async def test_a_file_of_no_run_stays(
    store: Store, run: StoredRun, folder: Path, outside: Outside
) -> None:
    (folder / "x").write_bytes(b"x")
    await store.write(DeleteRun(run.uid))
    for uid in (run.uid, RunUid("nobody")):
        with pytest.raises(RunNotFound):
            await store.adopt(uid, "a1", folder / "x", most_bytes=MOST)
    assert b"x" == (folder / "x").read_bytes()
    assert [] == outside.files()


async def test_files_go_with_their_run(
    store: Store, run: StoredRun, folder: Path, outside: Outside
) -> None:
    for name in ("a1", "a2"):
        (folder / name).write_bytes(b"x")
        await store.adopt(run.uid, name, folder / name, most_bytes=MOST)
    await store.write(DeleteRun(run.uid))
    await store.sweep(0.0)
    assert [] == outside.files()


class Held(type(Path())):  # type: ignore[misc]
    """A path at which nobody can look before he is let."""

    looked = threading.Event()
    let = threading.Event()

    def lstat(self) -> os.stat_result:
        self.looked.set()
        assert self.let.wait(HANG_LIMIT_S)
        found: os.stat_result = super().lstat()
        return found


@pytest.mark.parametrize("erased", [False, True])
async def test_a_file_that_comes_when_its_run_was_removed_does_not_stay_behind(
    store: Store, run: StoredRun, folder: Path, outside: Outside, erased: bool
) -> None:
    (folder / "x").write_bytes(b"x")
    Held.looked.clear()
    Held.let.clear()
    taking = asyncio.ensure_future(store.adopt(run.uid, "a1", Held(folder / "x"), most_bytes=MOST))
    assert await asyncio.to_thread(Held.looked.wait, HANG_LIMIT_S)
    await store.write(DeleteRun(run.uid))
    if erased:
        await store.sweep(0.0)
    Held.let.set()
    with pytest.raises(RunNotFound):
        await taking
    await store.sweep(0.0)
    assert [] == outside.files()


async def test_closing_waits_for_a_file_that_is_on_its_way(
    settings: StoreSettings, folder: Path, outside: Outside
) -> None:
    (folder / "x").write_bytes(b"x")
    Held.looked.clear()
    Held.let.clear()
    store = await Store.open(settings)
    run = a_run()
    await store.write(PutRun(run))
    taking = asyncio.ensure_future(store.adopt(run.uid, "a1", Held(folder / "x"), most_bytes=MOST))
    assert await asyncio.to_thread(Held.looked.wait, HANG_LIMIT_S)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    Held.let.set()
    assert (1, digest_of(b"x")) == await taking
    await closing
    outside.check()


async def test_whoever_comes_first_nothing_stays_behind(
    store: Store, folder: Path, outside: Outside
) -> None:
    runs = [a_run() for _ in range(60)]
    await store.write(*map(PutRun, runs))

    async def take(number: int, run: StoredRun) -> str:
        (folder / str(number)).write_bytes(b"x")
        try:
            await store.adopt(run.uid, "a1", folder / str(number), most_bytes=MOST)
        except RunNotFound:
            return "gone"
        return "taken"

    async with asyncio.TaskGroup() as group:
        takings = [group.create_task(take(number, run)) for number, run in enumerate(runs)]
        for run in runs:
            group.create_task(store.write(DeleteRun(run.uid)))
            await asyncio.sleep(0)
    assert {taking.result() for taking in takings} <= {"taken", "gone"}
    await store.sweep(0.0)
    assert [] == outside.files()


def test_files_are_erased_after_the_commit_that_has_removed_their_run(
    settings: StoreSettings, outside: Outside
) -> None:
    """So whoever lays one down, and then still finds the run, knows that it will be erased."""
    run = a_run(uid="abc")
    settings.folder.mkdir(mode=0o700)
    engine = writing_engine(settings)
    migrate(engine)
    engine.dispose()
    blobs = Blobs(settings.folder / "blobs", sync=False)
    committer = Committer(engine, blobs)
    committer.commit([[PutRun(run)]])
    blobs.write(run.uid, a_blob())
    assert Committed((None,), more=True) == committer.commit([[DeleteRun(run.uid)]])
    assert 0 == outside.count("runs")
    assert ["ab", "ab/abc", "ab/abc/1-0"] == outside.files()
    while committer.commit([]).more:
        pass
    assert [] == outside.files()
    committer.close()
    outside.check()
