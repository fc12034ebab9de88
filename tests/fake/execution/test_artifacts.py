"""Files that runs leave: saved before their end is told, each with the run that has written it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import ArtifactNotFound, StoreUnavailable
from kernel_gateway.execution import artifacts
from kernel_gateway.execution.artifacts import has_files
from kernel_gateway.execution.local import LocalService
from kernel_gateway.runs import records
from kernel_gateway.runs.log import LogLimits
from kernel_gateway.runs.records import Artifact, ArtifactKind
from kernel_gateway.runs.state import RunState
from kernel_gateway.service import RunQuery
from tests.fake.execution.conftest import ME, Bench, Client

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.store.store import Store


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    given: Mapping[str, Any] = getattr(request, "param", {})
    return given


@pytest.fixture
def engine_settings(engine_settings: EngineSettings, limits: Mapping[str, Any]) -> EngineSettings:
    return replace(engine_settings, log=LogLimits(**limits))


@pytest.fixture
def root(engine_settings: EngineSettings) -> Path:
    assert engine_settings.artifacts_dir is not None
    return engine_settings.artifacts_dir


class Gate:
    """Stands before the store: files are saved when it is open."""

    def __init__(self, bench: Bench, store: Store) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self._adopt = store.adopt
        store.adopt = self._wait  # type: ignore[method-assign]

    async def _wait(self, *args: Any, **more: Any) -> Any:
        self.reached.set()
        await self.opened.wait()
        return await self._adopt(*args, **more)


async def content(bench: Bench, run_id: str, artifact_id: str, **part: Any) -> bytes:
    found = await bench.service.artifact(ME, run_id, artifact_id, **part)
    return b"".join([piece async for piece in found.pieces])


async def kinds(bench: Bench, run_id: str) -> list[str]:
    """Of its records."""
    return [record.body.kind for record in await bench.records(run_id)]


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def faults(told: list[records.Record]) -> list[str]:
    return [
        one.body.evalue
        for one in told
        if isinstance(one.body, records.ErrorRaised) and one.body.ename == "ArtifactNotSaved"
    ]


# -- what is saved ---------------------------------------------------------------------------------


async def test_a_file_becomes_an_artifact_before_the_end_of_its_run_is_told(bench: Bench) -> None:
    await bench.submit("save plot.png abc\nprint done", run_id="r")
    info = await bench.over("r")
    expected = Artifact(
        id=info.artifacts[0].id,
        name="plot.png",
        kind=ArtifactKind.FILE,
        mime="image/png",
        size=3,
        digest=f"sha256:{hashlib.sha256(b'abc').hexdigest()}",
    )
    assert (expected,) == info.artifacts
    assert ["artifact", "state", "completed"] == (await kinds(bench, "r"))[-3:]
    assert b"abc" == await content(bench, "r", expected.id)
    assert b"b" == await content(bench, "r", expected.id, start=1, stop=2)
    assert b"abc" == await bench.service.blob(ME, "r", expected.id)


async def test_what_is_not_there_is_said(bench: Bench) -> None:
    await bench.submit("print done", run_id="r")
    await bench.over("r")
    with pytest.raises(ArtifactNotFound, match="'a1'"):
        await bench.service.artifact(ME, "r", "a1")
    with pytest.raises(ArtifactNotFound):
        await bench.service.blob(ME, "r", "a1")


async def test_an_artifact_whose_bytes_are_gone_is_not_there(bench: Bench, store: Store) -> None:
    await bench.submit("save f.txt a", run_id="r")
    (artifact,) = (await bench.over("r")).artifacts
    uid = (await bench.service.run(ME, "r")).uid
    await asyncio.to_thread(store._blobs.remove, uid)
    with pytest.raises(ArtifactNotFound):
        await bench.service.artifact(ME, "r", artifact.id)


async def test_files_are_told_by_their_paths_in_order_with_types_by_their_names(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "save b.txt b\nsave a/x.csv.gz a\nsave what w\nsleep", "r")
    await bench.until_state("r", "running")
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    await bench.until((folder / "what").exists)
    (folder / "a" / "\udcff").write_text("odd")
    bench.kernel.release()
    info = await bench.over("r")
    assert [
        ("a/x.csv.gz", "application/gzip"),
        ("a/\ufffd", "application/octet-stream"),
        ("b.txt", "text/plain"),
        ("what", "application/octet-stream"),
    ] == [(one.name, one.mime) for one in info.artifacts]
    assert len(info.artifacts) == len({one.id for one in info.artifacts})


async def test_two_files_of_one_name_in_two_folders_are_both_readable(bench: Bench) -> None:
    await bench.submit("save a/f.txt one\nsave b/f.txt two", run_id="r")
    info = await bench.over("r")
    found = {one.name: await content(bench, "r", one.id) for one in info.artifacts}
    assert {"a/f.txt": b"one", "b/f.txt": b"two"} == found


async def test_links_are_listed_and_never_followed(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("mine")
    kernel = await bench.a_kernel()
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    (folder / "to-a-file").symlink_to(secret / "file")
    (folder / "to-a-folder").symlink_to(secret)
    await bench.run(kernel, "print x", "r")
    info = await bench.service.run(ME, "r")
    assert ["to-a-file", "to-a-folder"] == [one.name for one in info.artifacts]
    assert {"inode/symlink"} == {one.mime for one in info.artifacts}
    assert str(secret / "file").encode() == await content(bench, "r", info.artifacts[0].id)
    assert "mine" == (secret / "file").read_text()


async def test_the_next_run_finds_the_folder_empty_and_has_files_of_its_own(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    calls = [bench.call(kernel, f"save sub/f.txt {name}", run_id=name) for name in ("a", "b")]
    await asyncio.gather(*calls)
    for name in ("a", "b"):
        (artifact,) = (await bench.over(name)).artifacts
        assert name.encode() == await content(bench, name, artifact.id)
    assert [] == entries(folder)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("raise ValueError no", "error"), ("die SIGKILL", "lost"), ("exit 1", "lost")],
)
async def test_a_run_that_ends_badly_keeps_its_files(bench: Bench, code: str, outcome: str) -> None:
    await bench.submit(f"save f.txt a\n{code}", run_id="r")
    info = await bench.over("r")
    assert (outcome, ["f.txt"]) == (info.view.outcome, [one.name for one in info.artifacts])


async def test_a_run_that_is_cancelled_or_struck_or_deleted_keeps_its_files(bench: Bench) -> None:
    for run_id in ("cancelled", "deleted"):
        info = await bench.submit("save f.txt a\nsleep", run_id=run_id)
        await bench.until_state(run_id, "running")
        folder = bench.kernel.request.artifact_dir
        assert folder is not None
        await bench.until((folder / "f.txt").exists)
        if run_id == "deleted":
            await bench.service.delete_kernel(ME, info.kernel_id)
        else:
            await bench.service.cancel(ME, run_id)
        end = await bench.over(run_id)
        assert ("cancelled", 1) == (end.view.outcome, len(end.artifacts))


async def test_files_of_a_batch_are_saved_too(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.batch(session.id, "r", build="save b.txt b", exec="save e.txt e")
    info = await bench.over("r")
    assert ["b.txt", "e.txt"] == [one.name for one in info.artifacts]


async def test_a_cell_of_a_client_collects_nothing(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = Client(bench, kernel)
    client.execute("save f.txt a", "1")
    await bench.until_kernel(kernel, "busy")
    await bench.until_kernel(kernel, "idle")
    (cell,) = (await bench.service.runs(ME, RunQuery())).runs
    assert ("ok", ()) == (cell.view.outcome, cell.artifacts)


async def test_the_metadata_of_a_request_names_its_run_and_its_folder(bench: Bench) -> None:
    info = await bench.submit("print a", run_id="r", context={"traceparent": "x"})
    await bench.over("r")
    kernel = bench.kernel
    (sent,) = [one for one in kernel.requests if one.msg_type == "execute_request"]
    assert {
        "kernel_gateway": {
            "run_id": "r",
            "uid": info.uid,
            "context": {"traceparent": "x"},
            "artifact_dir": str(kernel.request.artifact_dir),
        }
    } == kernel.message_of(sent).metadata
    assert {"traceparent": "x"} == (await bench.service.run(ME, "r")).context


# -- while files are saved -------------------------------------------------------------------------


async def test_while_files_are_saved_the_run_is_not_over_and_the_next_does_not_begin(
    bench: Bench, store: Store
) -> None:
    gate = Gate(bench, store)
    kernel = await bench.a_kernel()
    await bench.started(kernel, "save f.txt a", "one")
    await bench.started(kernel, "print two", "two")
    await gate.reached.wait()
    info = await bench.service.run(ME, "one")
    assert (RunState.RUNNING, None, None) == (
        info.view.state,
        info.view.outcome,
        info.view.finished_at,
    )
    listed = await bench.service.runs(ME, RunQuery(state=RunState.RUNNING))
    assert ["one"] == [run.id for run in listed.runs]
    (stored,) = await store.find_runs(ME, "one")
    assert RunState.FINISHED != stored.view.state
    assert RunState.QUEUED == (await bench.service.run(ME, "two")).view.state
    assert 2 == bench.service.runs_in_flight
    assert RunState.RUNNING == (await bench.service.cancel(ME, "one")).view.state
    gate.opened.set()
    assert "ok" == (await bench.over("one")).view.outcome
    assert "ok" == (await bench.over("two")).view.outcome


async def test_output_of_a_thread_comes_behind_the_end_all_the_same(
    bench: Bench, store: Store
) -> None:
    gate = Gate(bench, store)
    kernel = await bench.a_kernel()
    await bench.started(kernel, "save f.txt a\nlate l", "r")
    await gate.reached.wait()
    gate.opened.set()
    await bench.over("r")
    await bench.until_told("r", "l\\n")
    told = await kinds(bench, "r")
    assert ["artifact", "state", "completed", "log"] == told[-4:]


async def test_a_kernel_that_dies_meanwhile_changes_nothing_of_the_end(
    bench: Bench, store: Store
) -> None:
    gate = Gate(bench, store)
    kernel = await bench.a_kernel()
    await bench.started(kernel, "save f.txt a", "r")
    await gate.reached.wait()
    await bench.kernel.kill()
    await bench.until(lambda: len(bench.launcher.kernels) == 2)
    await bench.until_kernel(kernel, "busy")
    gate.opened.set()
    info = await bench.over("r")
    assert ("ok", 1) == (info.view.outcome, info.generation)
    assert "b\n" in repr((await bench.run(kernel, "print b")).console).replace("\\n", "\n")


async def test_a_session_that_is_ended_meanwhile_waits_for_the_files(
    bench: Bench, store: Store, root: Path
) -> None:
    gate = Gate(bench, store)
    kernel = await bench.a_kernel()
    await bench.started(kernel, "save f.txt a", "r")
    await gate.reached.wait()
    ending = asyncio.create_task(bench.service.delete_kernel(ME, kernel))
    await bench.kernel.wait_dead()
    assert (root / kernel).is_dir()
    gate.opened.set()
    await ending
    info = await bench.over("r")
    assert ("ok", ["f.txt"]) == (info.view.outcome, [one.name for one in info.artifacts])
    assert not (root / kernel).exists()


# -- what cannot be saved --------------------------------------------------------------------------


async def test_what_is_no_file_is_said_and_removed(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    os.mkfifo(folder / "pipe")
    await bench.run(kernel, "print x", "r")
    info = await bench.over("r")
    assert "ok" == info.view.outcome
    assert info.view.error is None
    assert ["pipe: neither a file nor a link"] == faults(await bench.records("r"))
    assert [] == entries(folder)


async def test_a_folder_that_has_vanished_is_said_and_made_anew(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    await asyncio.to_thread(shutil.rmtree, folder)
    await bench.run(kernel, "print x", "one")
    assert ["the artifact folder: No such file or directory"] == faults(await bench.records("one"))
    await bench.run(kernel, "save f.txt a", "two")
    assert ["f.txt"] == [one.name for one in (await bench.over("two")).artifacts]
    assert [] == faults(await bench.records("two"))


async def test_a_folder_whose_place_a_link_has_taken_is_not_followed(
    bench: Bench, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("precious")
    kernel = await bench.a_kernel()
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    folder.rmdir()
    folder.symlink_to(mine)
    await bench.run(kernel, "print x", "one")
    assert ["the artifact folder: a link has taken its place"] == faults(await bench.records("one"))
    assert "precious" == (mine / "file").read_text()
    await bench.run(kernel, "save f.txt a", "two")
    assert ["f.txt"] == [one.name for one in (await bench.over("two")).artifacts]
    assert [mine / "file"] == entries(mine)


async def test_a_folder_whose_place_a_file_has_taken_is_made_anew(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    folder.rmdir()
    folder.write_text("no folder")
    await bench.run(kernel, "print x", "one")
    assert ["the artifact folder: Not a directory"] == faults(await bench.records("one"))
    await bench.run(kernel, "save f.txt a", "two")
    assert ["f.txt"] == [one.name for one in (await bench.over("two")).artifacts]


async def test_a_run_that_was_never_executed_says_nothing_of_the_folder(
    bench: Bench, gate: asyncio.Event
) -> None:
    gate.clear()
    await bench.submit("print x", run_id="r")
    await bench.service.cancel(ME, "r")
    assert [] == faults(await bench.records("r"))


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), StoreUnavailable("no")])
async def test_faults_of_the_disk_and_of_the_store_are_said_and_end_nothing(
    bench: Bench, store: Store, fault: Exception
) -> None:
    async def adopt(*args: Any, **more: Any) -> Any:
        raise fault

    store.adopt = adopt  # type: ignore[method-assign]
    await bench.submit("save a.txt a\nsave b.txt b", run_id="r")
    info = await bench.over("r")
    why = "no" if isinstance(fault, StoreUnavailable) else "No space left on device"
    assert [f"a.txt: {why}", f"b.txt: {why}"] == faults(await bench.records("r"))
    assert ("ok", ()) == (info.view.outcome, info.artifacts)


async def test_a_disk_that_does_not_answer_is_not_waited_for_for_ever(
    bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "SAVE_LIMIT_S", 0.01)
    Gate(bench, store)
    await bench.submit("save a.txt a", run_id="r")
    info = await bench.over("r")
    assert ["the artifact folder: not saved within 0.01 s"] == faults(await bench.records("r"))
    assert "ok" == info.view.outcome


async def test_a_folder_that_cannot_be_emptied_ends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def clear(folder: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(artifacts, "_clear", clear)
    await bench.submit("save a.txt a", run_id="r")
    assert "ok" == (await bench.over("r")).view.outcome
    assert "cannot be emptied" in caplog.text


@pytest.mark.parametrize("limits", [{"artifact_count": 2, "artifact_bytes": 10}], indirect=True)
async def test_beyond_the_limits_of_artifacts_files_are_counted_and_not_kept(
    bench: Bench,
) -> None:
    code = "save a.txt 12345\nsave b.txt 123456789\nsave c.txt 12345\nsave d.txt 1"
    await bench.submit(code, run_id="r")
    info = await bench.over("r")
    assert ["a.txt", "c.txt"] == [one.name for one in info.artifacts]
    lost = [one.body for one in await bench.records("r") if isinstance(one.body, records.Dropped)]
    assert ("artifact_limit", 2, 10) == (lost[-1].why, lost[-1].count, lost[-1].bytes)


async def test_a_file_that_grows_beyond_the_limit_is_counted(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    adopt = store.adopt

    async def grown(uid: Any, artifact: str, path: Path, *, most_bytes: int) -> Any:
        return await adopt(uid, artifact, path, most_bytes=1)

    store.adopt = grown  # type: ignore[method-assign]
    await bench.submit("save a.txt 12345", run_id="r")
    assert () == (await bench.over("r")).artifacts
    lost = [one.body for one in await bench.records("r") if isinstance(one.body, records.Dropped)]
    assert [("artifact_limit", 5)] == [(one.why, one.bytes) for one in lost]


async def test_of_more_files_than_are_looked_at_the_number_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MOST_FOUND", 2)
    await bench.submit("save a.txt a\nsave b/b.txt b\nsave c/c.txt c", run_id="r")
    assert 2 == len((await bench.over("r")).artifacts)
    assert ["the artifact folder: it holds 1 more files than are looked at"] == faults(
        await bench.records("r")
    )


def test_a_file_that_vanishes_while_it_is_looked_at_is_said(tmp_path: Path) -> None:
    found = artifacts._Found()
    artifacts._look_at(found, tmp_path, str(tmp_path / "gone"))
    assert [("gone", "No such file or directory")] == found.faults


def test_a_folder_below_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "file").touch()

    def scan(folder: str) -> Any:  # root may read all there is
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scan)
    found = artifacts._look(tmp_path)
    assert [("closed", "Permission denied")] == found.faults
    assert ["file"] == [one.name for one in found.files]


async def test_folders_that_are_nested_too_deep_are_said_and_removed(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "save a.txt a\nsleep", "r")
    await bench.until_state("r", "running")
    folder = bench.kernel.request.artifact_dir
    assert folder is not None
    await bench.until((folder / "a.txt").exists)
    nest(folder, "ddd", deep=1200)  # more than Python may call itself, too
    bench.kernel.release()
    info = await bench.over("r")
    assert ["a.txt"] == [one.name for one in info.artifacts]
    (fault,) = faults(await bench.records("r"))
    assert fault.startswith("ddd/ddd/ddd/")
    assert fault.endswith(": File name too long")
    assert [] == list(folder.iterdir())


def nest(folder: Path, name: str, *, deep: int) -> None:
    """Folders in each other, further down than a path can say."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(deep):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_name_that_looks_like_a_url_says_nothing_of_its_type(tmp_path: Path) -> None:
    (tmp_path / "data:text").mkdir()
    (tmp_path / "data:text" / "html\r\nX: y,a.png").touch()
    (file,) = artifacts._look(tmp_path).files
    assert "image/png" == file.mime


# -- where -----------------------------------------------------------------------------------------


async def test_each_session_has_a_folder_which_goes_with_it(bench: Bench, root: Path) -> None:
    kernel = await bench.a_kernel()
    session = await bench.a_session()
    assert root / kernel == bench.launcher.kernels[0].request.artifact_dir
    await bench.batch(session.id, "r", exec="save f.txt a")
    assert {root / session.id} == {one.request.artifact_dir for one in bench.launcher.kernels[1:]}
    await bench.service.delete_kernel(ME, kernel)
    await bench.service.delete_kernel(ME, session.id)
    assert [] == entries(root)
    info = await bench.submit("save f.txt a")
    await bench.over(info.uid)
    await bench.kernel.wait_dead()
    await bench.until(lambda: not entries(root))


async def test_what_a_killed_gateway_left_is_removed_at_the_start(
    bench: Bench, store: Store, engine_settings: EngineSettings, root: Path
) -> None:
    (root / "old" / "sub").mkdir(parents=True)
    (root / "old" / "sub" / "file").write_text("a")
    service = LocalService(bench.launcher, store, engine_settings, clock=bench.clock)
    await service.start()
    assert [] == entries(root)
    await service.close()


async def test_without_a_folder_for_artifacts_nothing_is_collected(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    settings = replace(engine_settings, artifacts_dir=None)
    service = LocalService(bench.launcher, store, settings, clock=bench.clock)
    await service.start()
    other = Bench(service, bench.launcher, bench.clock)
    await other.submit("print a", run_id="r")
    assert "ok" == (await other.over("r")).view.outcome
    (sent,) = [one for one in bench.kernel.requests if one.msg_type == "execute_request"]
    assert "artifact_dir" not in str(bench.kernel.message_of(sent).metadata)
    await service.close()


def test_a_folder_that_cannot_be_looked_into_may_have_files(tmp_path: Path) -> None:
    assert not has_files(tmp_path)
    assert has_files(tmp_path / "gone")
    (tmp_path / "file").write_text("a")
    assert has_files(tmp_path)
