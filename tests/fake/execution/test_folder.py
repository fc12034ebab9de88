"""The folder of a session, with the user's code against it: nothing outside is ever touched."""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import socket
import stat
import tarfile
import tempfile
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import (
    DiskFull,
    FileNotThere,
    GatewayError,
    OurFault,
    OutsideFolder,
    TooLarge,
)
from kernel_gateway.execution.folder import SessionFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NOBODY = 65534

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_EXCHANGE = 2

#: Names that are none in a folder, whatever is in it.
OUTSIDE = [
    "../x",
    "..",
    "/x",
    "//x",
    "sub/../../x",
    "sub/../../s/x",
    "../session2/x",
    "a\0b",
    "x" * 256,
    "ü" * 128,
    "d/" * 3000 + "x",
    "\ud800",
]

#: Fit for a folder and not for a file in it.
NO_FILE = ["", ".", "sub/", "sub/.", "sub/x/..", "./"]


@pytest.fixture
def folder(tmp_path: Path) -> SessionFolder:
    made = SessionFolder(tmp_path / "sessions" / "session")
    made.create()
    return made


@pytest.fixture
def secret(tmp_path: Path, folder: SessionFolder) -> Iterator[Path]:
    """A file outside, which is the same at the end of the test; links inside lead to it."""
    outside = tmp_path / "sessions" / "session2"
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text("hush")
    (folder.path / "out").symlink_to(outside)
    (folder.path / "it").symlink_to(secret)
    (folder.path / "loop").symlink_to("loop")
    before = seen(tmp_path, but=folder.path)
    yield secret
    assert before == seen(tmp_path, but=folder.path)


def seen(root: Path, *, but: Path) -> Mapping[str, object]:
    """All that is there, with what a touch would change."""
    found = {}
    for path in sorted(root.rglob("*")):
        if not path.is_relative_to(but):
            status = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[str(path)] = (status.st_mode, status.st_ino, data)
    return found


@pytest.fixture
def plain_folder() -> Iterator[SessionFolder]:
    """Of a user for whom rights count: they do not for root."""
    with tempfile.TemporaryDirectory() as above, as_nobody(above):
        folder = SessionFolder(Path(above, "session"))
        folder.create()
        yield folder
        folder.remove()


@contextmanager
def as_nobody(owned: str) -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.chown(owned, NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def archived(folder: SessionFolder, path: str) -> dict[str, tarfile.TarInfo]:
    with folder.archive(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        return {member.name: member for member in tar}


# -- made and removed ----------------------------------------------------------------------------


def test_it_is_private_and_so_is_what_was_made_above_it(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "a" / "b" / "c")
    folder.create()
    folder.create()
    for path in (folder.path, folder.path.parent, folder.path.parent.parent):
        assert 0o700 == path.stat().st_mode & 0o777


def test_a_link_in_its_place_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "s").symlink_to("elsewhere")
    folder = SessionFolder(tmp_path / "s")
    with pytest.raises(OurFault, match="cannot be made"):
        folder.create()
    with pytest.raises(OutsideFolder):
        folder.put({"a": b""})
    with pytest.raises(OutsideFolder):
        folder.list(".")
    folder.remove()
    assert ["elsewhere"] == os.listdir(tmp_path)
    assert [] == os.listdir(tmp_path / "elsewhere")


def test_removal_takes_everything_and_follows_nothing(folder: SessionFolder, secret: Path) -> None:
    folder.put({"a/b/c": b"", "d": b""})
    os.mkfifo(folder.path / "pipe")
    (folder.path / "a" / "out").symlink_to(secret.parent)
    (folder.path / "a" / "above").symlink_to("../..")
    folder.remove()
    assert not folder.path.exists()
    folder.remove()


def test_what_was_removed_is_not_there(folder: SessionFolder) -> None:
    folder.remove()
    with pytest.raises(FileNotThere, match="The session's folder"):
        folder.put({"a": b""})
    with pytest.raises(FileNotThere):
        folder.list(".")
    with pytest.raises(FileNotThere):
        folder.archive("a")


def test_folders_without_rights_are_removed_too(plain_folder: SessionFolder) -> None:
    folder = plain_folder
    folder.put({"r/deep/er/x": b"", "none/y": b"", "r/z": b""})
    (folder.path / "r" / "z").chmod(0)
    (folder.path / "r" / "deep" / "er").chmod(0)
    (folder.path / "r" / "deep").chmod(0o500)
    (folder.path / "r").chmod(0o500)
    (folder.path / "none").chmod(0)
    folder.path.chmod(0o500)
    folder.remove()
    assert not folder.path.exists()


def test_what_cannot_be_removed_is_told(plain_folder: SessionFolder) -> None:
    folder = plain_folder
    folder.path.parent.chmod(0o500)
    with pytest.raises(OurFault, match="cannot be removed"):
        folder.remove()
    folder.path.parent.chmod(0o700)


def test_a_nest_deeper_than_any_path_is_removed(folder: SessionFolder) -> None:
    nest(folder, 3000)
    folder.remove()
    assert not folder.path.exists()


def nest(folder: SessionFolder, depth: int) -> None:
    """As the user's code can: step by step, by no path."""
    here = os.open(folder.path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


# -- uploads -------------------------------------------------------------------------------------


def test_files_are_put_with_their_folders_and_replace_what_is_there(folder: SessionFolder) -> None:
    folder.put({"a.txt": b"1", "sub/deep/b ü.bin": b"\0"})
    folder.put({"./a.txt": b"2", "sub//x/../c": b"3"})
    assert b"2" == (folder.path / "a.txt").read_bytes()
    assert b"\0" == (folder.path / "sub" / "deep" / "b ü.bin").read_bytes()
    assert b"3" == (folder.path / "sub" / "c").read_bytes()
    assert ["a.txt", "sub"] == sorted(os.listdir(folder.path))


def test_a_name_that_is_no_utf8_is_kept(folder: SessionFolder) -> None:
    name = os.fsdecode(b"\xff")
    folder.put({name: b"1"})
    assert [b"\xff"] == os.listdir(os.fsencode(folder.path))
    assert [name] == [entry.name for entry in folder.list(".").entries]
    assert [name] == list(archived(folder, name))


@pytest.mark.parametrize("path", [*OUTSIDE, *NO_FILE])
def test_one_name_that_leads_out_and_nothing_is_written(
    folder: SessionFolder, secret: Path, path: str
) -> None:
    before = os.listdir(folder.path)
    with pytest.raises(OutsideFolder):
        folder.put({"first": b"1", path: b"2", "last": b"3"})
    assert before == os.listdir(folder.path)


@pytest.mark.parametrize("path", ["out/x", "out/secret", "out/new/x", "it/x", "loop/x", "file/x"])
def test_neither_a_link_nor_a_file_is_gone_through(
    folder: SessionFolder, secret: Path, path: str
) -> None:
    folder.put({"file": b"1"})
    before = os.listdir(folder.path)
    with pytest.raises(OutsideFolder, match=f"'{path}' cannot be used"):
        folder.put({"made/first": b"2", path: b"3"})
    assert before == os.listdir(folder.path)


@pytest.mark.parametrize("path", ["it", "loop", "out"])
def test_a_link_is_replaced_and_not_followed(
    folder: SessionFolder, secret: Path, path: str
) -> None:
    folder.put({path: b"mine"})
    assert b"mine" == (folder.path / path).read_bytes()
    assert not (folder.path / path).is_symlink()


def test_a_pipe_or_a_socket_is_replaced_without_waiting(folder: SessionFolder) -> None:
    os.mkfifo(folder.path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    with closing(listener):
        listener.bind(str(folder.path / "socket"))
    folder.put({"pipe": b"1", "socket": b"2"})
    assert b"1" == (folder.path / "pipe").read_bytes()
    assert b"2" == (folder.path / "socket").read_bytes()


def test_a_folder_is_not_replaced_by_a_file(folder: SessionFolder) -> None:
    folder.put({"sub/x": b"1"})
    with pytest.raises(OutsideFolder, match="'sub' cannot be used: Is a directory"):
        folder.put({"a": b"2", "sub": b"3"})
    with pytest.raises(OutsideFolder, match="both a file and a folder"):
        folder.put({"b": b"2", "b/c": b"3"})
    assert ["sub"] == os.listdir(folder.path)


def test_a_file_that_is_replaced_keeps_its_mode_but_no_special_bits(folder: SessionFolder) -> None:
    folder.put({"run.sh": b"1", "plain": b"1"})
    (folder.path / "run.sh").chmod(0o4755)
    folder.put({"run.sh": b"2"})
    assert 0o755 == stat.S_IMODE((folder.path / "run.sh").stat().st_mode)
    assert 0 == (folder.path / "plain").stat().st_mode & 0o111


def test_an_open_file_is_not_written_into(folder: SessionFolder) -> None:
    """Who reads it goes on reading the old one: it is never half of each."""
    folder.put({"a": b"old"})
    with (folder.path / "a").open("rb") as reader:
        folder.put({"a": b"new and longer"})
        assert b"old" == reader.read()


def test_without_room_nothing_is_written(folder: SessionFolder) -> None:
    folder.put({"a": b"old"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DiskFull):
            folder.put({"a": b"new", "sub/b": b"1" * 20_000})
        with pytest.raises(DiskFull):
            folder.archive(".")  # a tar has 10,240 bytes at least
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ["a"] == os.listdir(folder.path)
    assert b"old" == (folder.path / "a").read_bytes()


def test_a_folder_without_the_right_to_write_is_told(plain_folder: SessionFolder) -> None:
    folder = plain_folder
    folder.put({"r/x": b"1"})
    (folder.path / "r").chmod(0o500)
    with pytest.raises(OutsideFolder, match="'r/y' cannot be used: Permission denied"):
        folder.put({"made/z": b"", "r/y": b"2"})
    assert ["r"] == os.listdir(folder.path)
    folder.remove()


# -- listings ------------------------------------------------------------------------------------


def test_a_listing_tells_each_entry_and_follows_no_link(
    folder: SessionFolder, secret: Path
) -> None:
    folder.put({"sub/a.txt": b"123", "sub/deep/b": b""})
    (folder.path / "sub" / "link").symlink_to(secret)
    os.utime(folder.path / "sub" / "a.txt", (5, 7))
    listing = folder.list("./sub/")
    assert folder.path / "sub" == listing.path
    assert ["a.txt", "deep", "link"] == [entry.name for entry in listing.entries]
    file, deep, link = listing.entries
    assert (3, 5.0, 7.0) == (file.size, file.atime, file.mtime)
    assert file.ctime > 7
    kinds = [stat.S_IFMT(entry.mode) for entry in (file, deep, link)]
    assert [stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK] == kinds


def test_the_folder_itself_is_a_point_or_nothing(folder: SessionFolder) -> None:
    folder.put({"a": b""})
    for path in ("", ".", "./", "sub/.."):
        listing = folder.list(path)
        assert (folder.path, ["a"]) == (listing.path, [entry.name for entry in listing.entries])


@pytest.mark.parametrize("path", [*OUTSIDE, "out", "out/", "out/.", "it", "loop", "a"])
def test_what_is_no_folder_in_it_is_not_listed(
    folder: SessionFolder, secret: Path, path: str
) -> None:
    folder.put({"a": b""})
    with pytest.raises(OutsideFolder):
        folder.list(path)


def test_what_is_not_there_is_not_there(folder: SessionFolder) -> None:
    for path in ("none", "none/x"):
        with pytest.raises(FileNotThere, match=f"'{path}' is not there"):
            folder.list(path)
        with pytest.raises(FileNotThere, match=f"'{path}' is not there"):
            folder.archive(path)


# -- archives ------------------------------------------------------------------------------------


def test_a_file_is_archived_under_its_own_name(folder: SessionFolder, tmp_path: Path) -> None:
    folder.put({"a/b.txt": b"text"})
    with folder.archive("a/b.txt") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        tar.extractall(tmp_path / "dest", filter="data")
    assert "text" == (tmp_path / "dest" / "b.txt").read_text()
    assert ["b.txt"] == os.listdir(tmp_path / "dest")


def test_a_folder_is_archived_with_all_that_is_below(folder: SessionFolder, tmp_path: Path) -> None:
    files = {"a/b/c.txt": b"1", "a/b/d/e": b"2" * 100_000, "a/ü" + "x" * 200: b"3", "a/0": b""}
    folder.put(files)
    (folder.path / "a" / "empty").mkdir()
    with folder.archive("a/b/../") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        tar.extractall(tmp_path / "dest", filter="data")
    assert ["a"] == os.listdir(tmp_path / "dest")
    for path, data in files.items():
        assert data == (tmp_path / "dest" / path).read_bytes()
    assert (tmp_path / "dest" / "a" / "empty").is_dir()


def test_the_whole_folder_is_called_what_clients_call_it(folder: SessionFolder) -> None:
    folder.put({"a": b"1"})
    assert ["work", "work/a"] == list(archived(folder, "."))


def test_links_stay_links_and_what_is_no_file_or_leads_out_is_left_out(
    folder: SessionFolder, secret: Path
) -> None:
    folder.put({"sub/a": b"1"})
    sub = folder.path / "sub"
    os.mkfifo(sub / "pipe")
    os.link(sub / "a", sub / "again")
    (sub / "link").symlink_to("../sub/a")
    (sub / "out").symlink_to(secret)
    (sub / "up").symlink_to("../../x")
    (sub / "a").chmod(0o6755)
    sub.chmod(0o3777)
    members = archived(folder, "sub")
    assert ["sub", "sub/a", "sub/again", "sub/link"] == list(members)
    assert "../sub/a" == members["sub/link"].linkname
    assert all(members[name].isreg() and members[name].size == 1 for name in ("sub/a", "sub/again"))
    assert (0o777, 0o755) == (members["sub"].mode, members["sub/a"].mode)
    assert {("", "", 0, 0)} == {(m.uname, m.gname, m.uid, m.gid) for m in members.values()}
    assert members["sub/a"].mtime == int((sub / "a").stat().st_mtime)
    with pytest.raises(OutsideFolder, match="a link that leads out"):
        folder.archive("it/")  # a slash follows nothing here
    with pytest.raises(OutsideFolder, match="neither a file nor a folder"):
        folder.archive("sub/pipe")


@pytest.mark.parametrize("path", [*OUTSIDE, "out/secret", "loop/x"])
def test_what_lies_outside_is_not_archived(folder: SessionFolder, secret: Path, path: str) -> None:
    with pytest.raises(OutsideFolder):
        folder.archive(path)


def test_an_archive_has_no_name_and_its_limit(folder: SessionFolder) -> None:
    folder.put({"a": b"1" * 10_000})
    with folder.archive("a", limit_bytes=11_000) as file:
        assert 0 == file.tell()
        assert 0 == os.fstat(file.fileno()).st_nlink
    for path, limit in (("a", 10_000), (".", 11_000)):
        with pytest.raises(TooLarge):
            folder.archive(path, limit_bytes=limit)
    with (folder.path / "sparse").open("wb") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(TooLarge):
        folder.archive("sparse", limit_bytes=2**30)


def test_a_nest_deeper_than_any_path_is_not_archived(folder: SessionFolder) -> None:
    nest(folder, 800)
    with pytest.raises(OutsideFolder, match="too deep"):
        folder.archive(".")
    folder.remove()  # pytest could not


def test_files_that_change_while_they_are_read_do_not_break_it(folder: SessionFolder) -> None:
    """A file that shrinks and grows all the time: each header is followed by what it says."""
    folder.put({"changing": b"", "last": b"whole"})

    sizes = itertools.cycle(range(0, 200_000, 7_001))

    with meanwhile(lambda: os.truncate(folder.path / "changing", next(sizes))):
        for _ in range(100):
            with folder.archive(".") as file, tarfile.open(fileobj=file, mode="r:") as tar:
                contents = {m.name: tar.extractfile(m) for m in tar if m.isreg()}
                last = contents["work/last"]
                assert last is not None
                assert b"whole" == last.read()


def test_a_file_that_cannot_be_read_is_told(plain_folder: SessionFolder) -> None:
    folder = plain_folder
    folder.put({"a": b"1"})
    (folder.path / "a").chmod(0)
    with pytest.raises(OutsideFolder, match="Permission denied"):
        folder.archive("a")
    folder.remove()


# -- against the user's code ---------------------------------------------------------------------


@contextmanager
def meanwhile(code: Callable[[], None]) -> Iterator[None]:
    """Again and again, in a thread, for as long as the block takes."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            code()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def exchange(one: Path, other: Path) -> None:
    """At once: each name is there all the time."""
    arguments = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    assert 0 == LIBC.renameat2(*arguments), os.strerror(ctypes.get_errno())


def test_a_folder_that_becomes_a_link_and_back_leads_nowhere(
    folder: SessionFolder, secret: Path
) -> None:
    folder.put({"sub/secret": b"mine"})
    sub, out = folder.path / "sub", folder.path / "out"

    with meanwhile(lambda: exchange(sub, out)):
        for _ in range(300):
            with suppress(GatewayError):
                folder.put({"sub/secret": b"mine", "sub/new/x": b"1"})
            with suppress(GatewayError):
                assert {4} >= {e.size for e in folder.list("sub").entries if e.name == "secret"}
            with suppress(GatewayError), folder.archive("sub/secret") as file:
                assert b"hush" not in file.read()
            with suppress(GatewayError), folder.archive(".") as file:
                assert b"hush" not in file.read()


def test_a_removal_beside_which_links_are_made_touches_nothing_outside(
    tmp_path: Path, folder: SessionFolder, secret: Path
) -> None:
    for number in range(50):
        victim = SessionFolder(tmp_path / "sessions" / f"victim{number}")
        victim.create()
        victim.put({"sub/x": b"", "sub/deep/y": b""})

        def swap(sub: Path = victim.path / "sub") -> None:
            with suppress(OSError):
                sub.rename(sub.parent / "aside")
                sub.symlink_to(secret.parent)

        with meanwhile(swap), suppress(OurFault):
            victim.remove()
        victim.remove()
        assert not victim.path.exists()


NAMES = st.sampled_from(
    ["..", ".", "", "out", "it", "loop", "a", "s", "session2", "secret", "x" * 256, "\0", "\udcff"]
)
PATHS = st.one_of(
    st.lists(NAMES, max_size=6).map("/".join),
    st.text(max_size=20),
    st.text(alphabet="./a\0\\~$", max_size=8),
)


@given(paths=st.lists(PATHS, min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(paths=["out/secret", "it", "../session2/secret"])
def test_no_path_touches_anything_outside(
    folder: SessionFolder, secret: Path, paths: list[str]
) -> None:
    """The fixture looks at what is outside; what is inside is what was put."""
    with suppress(OutsideFolder):
        folder.put(dict.fromkeys(paths, b"mine"))
        assert all((folder.path / os.path.normpath(path)).read_bytes() == b"mine" for path in paths)
    for path in paths:
        with suppress(OutsideFolder, FileNotThere):
            assert folder.list(path).path.is_relative_to(folder.path)
        with suppress(OutsideFolder, FileNotThere):
            for name in archived(folder, path):
                assert not name.startswith("/")
                assert ".." not in name.split("/")


def test_a_listing_has_a_bound(folder: SessionFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel_gateway.execution.folder.LISTED", 2)
    folder.put({"a/1": b"", "a/2": b""})
    assert 2 == len(folder.list("a").entries)
    folder.put({"a/3": b""})
    with pytest.raises(TooLarge, match="3 files in it; 2 can be listed"):
        folder.list("a")
