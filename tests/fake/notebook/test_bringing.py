"""`notebook/bringing.py`: files to a run and home, and nothing outside of their folders."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import ArtifactNotFound, Refused, Unreachable
from kernel_gateway.notebook import bringing
from kernel_gateway.notebook.bringing import Brought, Findings, Homes, bring, gathered
from kernel_gateway.runs.records import (
    Artifact,
    ArtifactAdded,
    ArtifactKind,
    Dropped,
    LogText,
    Record,
    Seq,
)
from kernel_gateway.service import ArtifactContent, RunUid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UID = RunUid("u")


def artifact(name: str, kind: str = "work", **more: Any) -> Artifact:
    values = {"id": name, "mime": "text/plain", "size": 1, "digest": "sha256:0", **more}
    return Artifact(name=name, kind=ArtifactKind(kind), **values)


class Shelf:
    """Has each artifact that is asked for, but for those that are gone."""

    def __init__(self) -> None:
        self.breaks = False

    async def artifact(self, uid: RunUid, artifact: str) -> ArtifactContent:
        if artifact == "far":
            raise Unreachable("No connection.")
        if artifact == "gone":
            raise ArtifactNotFound("The run has no such artifact.")
        return ArtifactContent(artifact=_made(artifact), pieces=self._pieces(artifact))

    async def _pieces(self, name: str) -> AsyncIterator[bytes]:
        yield b"content of "
        if self.breaks:
            raise OSError(5, "Input/output error")
        yield name.encode()


def _made(name: str) -> Artifact:
    return artifact(name)


@pytest.fixture(autouse=True)
def _no_blocking_call(no_blocking_call: None) -> None:
    """Other runs share the loop."""


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    work = tmp_path / "work"
    work.mkdir()
    return Homes(work=work, artifacts=tmp_path / "out_artifacts")


async def brought(homes: Homes, *artifacts: Artifact, shelf: Shelf | None = None) -> Brought:
    return await bring(shelf or Shelf(), UID, Findings(list(artifacts)), homes)


# -- there -----------------------------------------------------------------------------------------


def test_files_and_all_that_lies_in_folders_are_sent_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/b").write_bytes(b"2")
    (tmp_path / "data/deep/a").write_bytes(b"1")
    (tmp_path / "one").write_bytes(b"3")
    (tmp_path / "not named").write_bytes(b"4")
    (tmp_path / "data/link").symlink_to(tmp_path / "one")
    expected = {"data/b": b"2", "data/deep/a": b"1", "data/link": b"3", "one": b"3"}
    assert expected == gathered(tmp_path, ["data", str(tmp_path / "one"), "./data/../one"])
    assert {} == gathered(tmp_path, [])


@pytest.mark.parametrize("name", ["..", "../x", "/etc/passwd", "a/../../x"])
def test_what_is_outside_of_the_working_folder_is_not_sent(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="outside of the working folder"):
        gathered(tmp_path, [name])


def test_what_is_no_file_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is not there"):
        gathered(tmp_path, ["missing"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="neither a file nor a folder"):
        gathered(tmp_path, ["."])


def test_a_link_to_a_folder_is_not_sent_in_silence_nor_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/up").symlink_to(tmp_path)
    with pytest.raises(Refused, match="is a link to a folder"):
        gathered(tmp_path, ["data"])


def test_a_name_that_no_body_can_hold_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    with pytest.raises(Refused, match="not UTF-8"):
        gathered(tmp_path, ["."])


def test_too_much_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringing, "MOST_BYTES", 3)
    (tmp_path / "a").write_bytes(b"123")
    assert {"a": b"123"} == gathered(tmp_path, ["a"])
    (tmp_path / "b").write_bytes(b"4")
    with pytest.raises(Refused, match="more than 3 bytes"):
        gathered(tmp_path, ["."])


def test_what_cannot_be_read_is_told() -> None:
    with pytest.raises(Refused, match="cannot be read: Input/output error"):
        gathered(Path("/proc/self"), ["mem"])


def test_a_folder_that_cannot_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with pytest.raises(Refused, match="cannot be read: File name too long"):
        gathered(tmp_path, ["x" * 256])
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(Refused, match="cannot be read: Permission denied"):
        gathered(tmp_path, ["."])


# -- what was left behind --------------------------------------------------------------------------


def test_the_bytes_of_outputs_are_no_finding() -> None:
    found = Findings()
    for step, one in [
        (0, artifact("output-0.png", "file")),
        (None, artifact("model", "file")),
        (None, artifact("html", "oversized")),
        (None, artifact("table.csv", "work")),
    ]:
        found.tell(Record(seq=Seq(1), at=0.0, step=step, body=ArtifactAdded(artifact=one)))
    found.tell(Record(seq=Seq(2), at=0.0, step=None, body=LogText(stream="stdout", text="x")))
    found.tell("something else")
    assert ["model", "table.csv"] == [one.name for one in found.artifacts]


def test_a_line_that_the_notebook_has_cut_is_brought_whole() -> None:
    found = Findings()
    line = artifact("stdout line 1", "oversized", id="a1")
    for body in (
        ArtifactAdded(artifact=artifact("output 0 text/html", "oversized", id="a2")),
        ArtifactAdded(artifact=line),
        Dropped(why="line_too_long", bytes=7, stream="stdout", artifact="a1"),
        Dropped(why="line_too_long", bytes=7, stream="stdout"),  # there was no room for it
    ):
        found.tell(Record(seq=Seq(1), at=0.0, step=0, body=body))
    assert [line] == found.artifacts


# -- and back --------------------------------------------------------------------------------------


async def test_each_file_goes_to_its_folder(homes: Homes) -> None:
    home = await brought(homes, artifact("a/b.csv"), artifact("c"), artifact("model", "file"))
    assert b"content of a/b.csv" == (homes.work / "a/b.csv").read_bytes()
    assert b"content of model" == (homes.artifacts / "model").read_bytes()
    assert f"Brought 2 files in {homes.work} and 1 file in {homes.artifacts}" == home.line(homes)


async def test_no_folder_is_made_for_nothing(homes: Homes) -> None:
    home = await brought(homes, artifact("a"))
    assert not homes.artifacts.exists()
    assert "" == (await brought(homes)).line(homes)
    assert 1 == home.work


async def test_what_is_there_is_replaced_and_stays_what_it_was(homes: Homes) -> None:
    script = homes.work / "run.sh"
    script.write_text("before")
    script.chmod(0o755)
    link, other = homes.work / "link", homes.work.parent / "other"
    other.write_text("mine")
    link.symlink_to(other)
    await brought(homes, artifact("run.sh"), artifact("link"))
    assert (b"content of run.sh", 0o755) == (
        script.read_bytes(),
        stat.S_IMODE(script.stat().st_mode),
    )
    assert ("mine", b"content of link") == (other.read_text(), link.read_bytes())
    assert not link.is_symlink()


async def test_a_name_may_have_any_letters_and_spaces(homes: Homes) -> None:
    names = ["a\u00a0b.csv", "\u5831\u544a\u3000x.csv"]
    assert 2 == (await brought(homes, *map(artifact, names))).work
    assert set(names) == set(os.listdir(homes.work))


@pytest.mark.parametrize(
    "name", ["../out", "/etc/x", "a/../../x", "", "a//b", ".", "a\nb", "a\udce9", "out-link/x"]
)
async def test_nothing_is_written_outside(homes: Homes, name: str) -> None:
    outside = homes.work.parent / "outside"
    outside.mkdir()
    (homes.work / "out-link").symlink_to(outside)
    home = await brought(homes, artifact(name), artifact("good"))
    assert {"work", "outside"} == set(os.listdir(homes.work.parent))
    assert [] == os.listdir(outside)
    assert (1, 1) == (home.work, len(home.faults))
    assert f"{name!r} was not brought" in home.line(homes)


async def test_a_link_is_not_brought(homes: Homes) -> None:
    home = await brought(homes, artifact("l", mime="inode/symlink"))
    assert ["'l' was not brought: it is a link"] == home.faults


async def test_what_cannot_be_had_or_written_is_told_and_the_rest_comes(homes: Homes) -> None:
    (homes.work / "folder").mkdir()
    home = await brought(homes, artifact("gone"), artifact("folder"), artifact("x" * 300))
    assert [
        "'gone' was not brought: The run has no such artifact",
        "'folder' was not brought: Is a directory",
        f"{'x' * 97 + '...'!r} was not brought: File name too long",
    ] == home.faults
    assert ["folder"] == os.listdir(homes.work)


async def test_what_breaks_off_leaves_what_was_there(homes: Homes) -> None:
    (homes.work / "a").write_text("before")
    shelf = Shelf()
    shelf.breaks = True
    home = await brought(homes, artifact("a"), shelf=shelf)
    assert ["'a' was not brought: Input/output error"] == home.faults
    assert ("before", ["a"]) == ((homes.work / "a").read_text(), os.listdir(homes.work))


async def test_of_a_run_that_is_lost_nothing_can_be_had(homes: Homes) -> None:
    home = await bring(Shelf(), None, Findings([artifact("a")]), homes)
    assert "Not brought, as the run is lost: 1 file" == home.line(homes)
    assert [] == (await bring(Shelf(), None, Findings(), homes)).faults


async def test_a_gateway_that_is_away_is_asked_once(homes: Homes) -> None:
    home = await brought(homes, artifact("a"), artifact("far"), artifact("b"))
    assert ["Not brought, as the gateway is away (No connection): 2 files"] == home.faults
    assert ["a"] == os.listdir(homes.work)
