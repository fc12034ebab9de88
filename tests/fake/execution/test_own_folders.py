"""Runs that bring a working folder, and what their threads say when they are over."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import RunIdConflict, TooManyKernels
from kernel_gateway.execution import artifacts, slots
from kernel_gateway.execution.folder import SessionFolder
from kernel_gateway.kernels.fake import FakeBehaviour
from kernel_gateway.messaging.message import Channel
from kernel_gateway.runs import records
from kernel_gateway.runs.events import CancelAsked
from kernel_gateway.runs.plan import Limits
from tests.fake.execution.conftest import HANG_LIMIT_S, ME, Bench

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.runs.records import Artifact, ArtifactKind
    from kernel_gateway.service import LogPage


@pytest.fixture
def more(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    given: Mapping[str, Any] = getattr(request, "param", {})
    return given


@pytest.fixture
def engine_settings(engine_settings: EngineSettings, more: Mapping[str, Any]) -> EngineSettings:
    return replace(engine_settings, **{"own_kernels": 1, **more})


def folders(engine_settings: EngineSettings) -> list[Path]:
    """Of all sessions."""
    roots = (engine_settings.sessions_dir, engine_settings.artifacts_dir)
    return [one for root in roots if root is not None and root.exists() for one in root.iterdir()]


def working_folder(bench: Bench) -> Path:
    folder = bench.kernel.request.cwd
    assert folder is not None
    return folder


def by_name(told: tuple[Artifact, ...]) -> Mapping[str, ArtifactKind]:
    return {one.name: one.kind for one in told}


async def until_sealed(bench: Bench, run_id: str) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while not (await bench.service.log(ME, run_id)).sealed:
            await asyncio.sleep(0)


# -- files -----------------------------------------------------------------------------------------


async def test_files_are_there_before_the_kernel(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", files={"data/a.csv": b"1,2", "b": b""})
    await bench.until_state("r", "running")
    folder = working_folder(bench)
    assert (b"1,2", b"") == ((folder / "data/a.csv").read_bytes(), (folder / "b").read_bytes())


async def test_what_is_new_or_changed_at_the_end_becomes_an_artifact(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", files={"same": b"as it was", "changed": b"before"})
    await bench.until_state("r", "running")
    folder = working_folder(bench)
    (folder / "changed").write_bytes(b"after")
    (folder / "new").mkdir()
    (folder / "new/plot.png").write_bytes(b"png")
    await bench.service.cancel(ME, "r")
    info = await bench.over("r")
    assert {"changed": "work", "new/plot.png": "work"} == by_name(info.artifacts)
    content = await bench.service.artifact(ME, "r", info.artifacts[0].id)
    assert b"after" == b"".join([piece async for piece in content.pieces])
    await bench.kernel.wait_dead()
    await bench.until(lambda: not folder.exists())


async def test_a_file_of_the_old_size_and_time_is_new_when_it_was_written(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", files={"sheet": b"1", "same": b"1"})
    await bench.until_state("r", "running")
    file = working_folder(bench) / "sheet"
    before = after = file.stat()
    while before.st_ctime_ns == after.st_ctime_ns:  # it goes by ticks of the system
        file.write_bytes(b"2")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = file.stat()
    await bench.service.cancel(ME, "r")
    assert {"sheet": "work"} == by_name((await bench.over("r")).artifacts)


async def test_files_of_both_folders_are_told_apart(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", files={})
    await bench.until_state("r", "running")
    left = bench.kernel.request.artifact_dir
    assert left is not None
    (left / "model").write_bytes(b"1")
    (working_folder(bench) / "model").write_bytes(b"2")
    await bench.service.cancel(ME, "r")
    kinds = [(one.name, one.kind) for one in (await bench.over("r")).artifacts]
    assert [("model", "file"), ("model", "work")] == kinds


async def test_a_file_outside_its_folder_starts_nothing(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", files={"../out": b""})
    info = await bench.over("r")
    assert info.view.reason is not None
    assert ("lost", "kernel_start_failed") == (info.view.outcome, info.view.reason.code)
    assert "../out" in info.view.reason.message
    assert [] == bench.launcher.kernels
    await bench.submit("print a", run_id="next")  # the slot is free
    assert "ok" == (await bench.over("next")).view.outcome


async def test_a_run_that_ends_while_its_files_are_written_has_no_kernel(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, put = threading.Event(), SessionFolder.put

    def put_late(folder: SessionFolder, files: Mapping[str, bytes]) -> None:
        assert written.wait(HANG_LIMIT_S)
        put(folder, files)

    monkeypatch.setattr(SessionFolder, "put", put_late)
    await bench.submit("print a", run_id="r", files={"a": b"1"})
    await bench.service.cancel(ME, "r")
    written.set()
    assert "cancelled" == (await bench.over("r")).view.outcome
    await until_sealed(bench, "r")
    assert [] == bench.launcher.kernels
    await bench.submit("print a", run_id="next")
    assert "ok" == (await bench.over("next")).view.outcome


async def test_a_run_that_ends_before_its_files_are_written_gives_its_slot_back(
    bench: Bench,
) -> None:
    await bench.submit("sleep", run_id="first")
    await bench.until_state("first", "running")
    await bench.submit("print a", run_id="r", files={"a": b"1"})
    slots = bench.service._slots
    (live,) = slots._waiting
    slots._served.clear()
    slots._fill()
    slots._homes[live].feed(live, CancelAsked("cancelled"))  # before the loop goes on
    await until_sealed(bench, "r")
    assert not slots._served
    assert "cancelled" == (await bench.service.run(ME, "r")).view.outcome


@pytest.mark.parametrize("more", [{"own_kernels": 8, "max_kernels": 2}], indirect=True)
async def test_a_run_whose_files_are_written_is_counted_where_kernels_are_limited(
    bench: Bench,
) -> None:
    for number in range(5):
        await bench.submit("sleep", run_id=f"r{number}", files={"a": b"1"})
    with pytest.raises(TooManyKernels):
        await bench.a_kernel()
    for number in range(2):
        await bench.until_state(f"r{number}", "running")
    assert 2 == bench.service.readiness().kernels
    for number in range(5):
        await bench.service.cancel(ME, f"r{number}")
        await bench.over(f"r{number}")


@pytest.mark.parametrize("more", [{"own_kernels": 8, "max_kernels": 1}], indirect=True)
async def test_who_is_over_before_its_files_are_written_makes_room(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", files={"../out": b"1"})
    await bench.over("r")
    await bench.submit("print a", run_id="next", files={})
    assert "ok" == (await bench.over("next")).view.outcome


async def test_of_a_run_that_could_not_be_started_no_files_stay(
    bench: Bench, engine_settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = SessionFolder.put

    def put_last(folder: SessionFolder, files: Mapping[str, bytes]) -> None:
        put(folder, files)
        bench.launcher._specs = ()  # removed at this moment

    monkeypatch.setattr(SessionFolder, "put", put_last)
    await bench.submit("print a", run_id="r", files={"a": b"1"})
    reason = (await bench.over("r")).view.reason
    assert reason is not None
    assert "kernel_start_failed" == reason.code
    await until_sealed(bench, "r")
    assert [] == folders(engine_settings)


async def test_of_a_run_whose_gateway_ends_while_its_files_are_written_none_stay(
    bench: Bench, engine_settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, put = threading.Event(), SessionFolder.put

    def put_late(folder: SessionFolder, files: Mapping[str, bytes]) -> None:
        assert written.wait(HANG_LIMIT_S)
        put(folder, files)

    monkeypatch.setattr(SessionFolder, "put", put_late)
    await bench.submit("print a", run_id="r", files={"a": b"1"})
    closing = asyncio.create_task(bench.service.close())
    await bench.until(lambda: bench.service._slots._closed)
    written.set()
    await closing
    assert [] == folders(engine_settings)
    assert [] == bench.launcher.kernels


async def test_the_same_id_with_other_files_is_a_conflict(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", files={"a": b"1"})
    again = await bench.submit("print a", run_id="r", files={"a": b"1"})
    assert not again.created
    for other in ({"a": b"2"}, {}, None):
        with pytest.raises(RunIdConflict):
            await bench.submit("print a", run_id="r", files=other)
    await bench.over("r")


async def test_folder_and_environment_reach_the_kernel(bench: Bench, tmp_path: Path) -> None:
    await bench.submit("print a", run_id="r", cwd=tmp_path, env={"SEED": "7"})
    await bench.over("r")
    request = bench.kernel.request
    assert (tmp_path, "7") == (request.cwd, request.env["SEED"])


# -- threads ---------------------------------------------------------------------------------------


def prints(bench: Bench, text: str) -> None:
    parent = bench.kernel.parent_of(bench.kernel.requests[0])
    bench.kernel.tell(Channel.IOPUB, "stream", {"name": "stdout", "text": text}, parent)


async def page_behind(bench: Bench, last: LogPage) -> LogPage:
    async with asyncio.timeout(HANG_LIMIT_S):
        return await bench.service.log(ME, "r", after=last.next, wait_s=60.0)


async def pass_by(bench: Bench, seconds: float) -> None:
    """In steps, and in each the kernel can say what it has to."""
    for _ in range(round(seconds / 0.1)):
        bench.clock.advance(0.1)
        for _ in range(50):
            await asyncio.sleep(0)


async def ended(bench: Bench) -> LogPage:
    """The page with the end, when the kernel is still there."""
    await bench.over("r")
    page = await bench.service.log(ME, "r")
    assert page.finished
    assert isinstance(page.records[-1].body, records.Completed)
    return page


async def test_what_threads_print_after_the_end_is_waited_for(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", quiet_s=1.0)
    page = await ended(bench)
    assert not page.sealed
    for number in range(3):
        await pass_by(bench, 0.7)  # never long enough
        reading = asyncio.create_task(page_behind(bench, page))
        prints(bench, f"{number}")
        page = await reading
        assert (f"{number}", False) == (page.records[0].body.text, page.sealed)  # type: ignore[union-attr]
    reading = asyncio.create_task(page_behind(bench, page))
    await pass_by(bench, 1.3)
    page = await reading
    assert ((), True) == (page.records, page.sealed)
    await bench.kernel.wait_dead()


async def test_however_long_all_stand_still_that_is_no_silence(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", quiet_s=1.0)
    page = await ended(bench)
    await pass_by(bench, 0.5)
    bench.clock.advance(8.0)  # of which neither kernel nor gateway had anything
    prints(bench, "late")
    page = await page_behind(bench, page)
    assert ("late", False) == (page.records[0].body.text, page.sealed)  # type: ignore[union-attr]
    bench.clock.advance(8.0)
    assert (await page_behind(bench, page)).sealed, "and who is silent then has had his time"
    told = [one.body.kind for one in (await bench.service.log(ME, "r")).records]
    assert "dropped" not in told


async def test_who_does_not_answer_is_silent_by_the_clock(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", quiet_s=1.0)
    page = await ended(bench)
    bench.kernel.freeze()
    await pass_by(bench, 0.3)
    assert not (await bench.service.log(ME, "r")).sealed
    await pass_by(bench, 2.0)
    assert (await page_behind(bench, page)).sealed
    bench.kernel.thaw()


async def test_who_talks_for_ever_is_not_listened_to_for_ever(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", quiet_s=1.0)
    page = await ended(bench)
    for _ in range(round(slots.QUIET_CAP_S / 0.5) + 1):
        prints(bench, "x")
        page = await page_behind(bench, page)
        await pass_by(bench, 0.5)
    async with asyncio.timeout(HANG_LIMIT_S):
        while not page.sealed:
            page = await page_behind(bench, page)
    told = [one.body for one in (await bench.service.log(ME, "r")).records]
    assert records.Dropped(why="still_printing", late=True) in told


async def test_to_cancel_it_once_more_ends_the_listening(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", quiet_s=1.0)
    page = await ended(bench)
    await bench.service.cancel(ME, "r")
    assert (await page_behind(bench, page)).sealed


async def test_a_cancelled_run_is_not_listened_to(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", quiet_s=1.0)
    await bench.until_state("r", "running")
    await bench.service.cancel(ME, "r")
    page = await ended(bench)
    assert (await page_behind(bench, page)).sealed


class TestAKernelThatIgnoresInterrupts:
    @pytest.fixture
    def behaviour(self) -> FakeBehaviour:
        return FakeBehaviour(interruptible=False)

    async def test_is_not_started_again_when_it_was_killed_for_a_limit(self, bench: Bench) -> None:
        await bench.submit("sleep", run_id="r", quiet_s=1.0, limits=Limits(step=1.0))
        await bench.until_state("r", "running")
        bench.clock.advance(100.0)
        page = await ended(bench)
        assert "timeout" == (await bench.service.run(ME, "r")).view.outcome
        assert (await page_behind(bench, page)).sealed, "nobody is there to say anything"
        assert 1 == len(bench.launcher.kernels)


async def test_who_dies_while_it_is_listened_to_is_not_started_again(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", quiet_s=1.0)
    page = await ended(bench)
    reading = asyncio.create_task(page_behind(bench, page))
    await bench.kernel.kill()
    assert (await reading).sealed
    assert 1 == len(bench.launcher.kernels)


async def test_who_has_died_is_not_started_again_while_files_are_saved(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, look = threading.Event(), artifacts._look

    def look_late(folder: Path) -> Any:
        assert looked.wait(HANG_LIMIT_S)
        return look(folder)

    await bench.submit("sleep", run_id="r", files={"a": b"1"})
    await bench.until_state("r", "running")
    monkeypatch.setattr(artifacts, "_look", look_late)
    (working_folder(bench) / "new").write_bytes(b"2")
    await bench.kernel.kill()
    await bench.kernel.wait_dead()
    assert 1 == len(bench.launcher.kernels)
    looked.set()
    info = await bench.over("r")
    assert ("lost", {"new": "work"}) == (info.view.outcome, by_name(info.artifacts))
    assert 1 == len(bench.launcher.kernels)


async def test_the_end_of_the_gateway_ends_the_listening(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", quiet_s=1.0)
    await ended(bench)
    async with asyncio.timeout(HANG_LIMIT_S):
        await bench.service.close()
    await bench.kernel.wait_dead()


async def test_a_run_on_a_kernel_of_others_is_sealed_when_it_is_over(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    await bench.submit("print a", run_id="r", kernel_id=kernel_id, quiet_s=1.0)
    await bench.over("r")
    assert (await bench.service.log(ME, "r")).sealed


async def test_a_notebook_says_who_has_executed_it_before_its_first_cell(bench: Bench) -> None:
    await bench.submit("print a", run_id="r")
    await bench.over("r")
    bodies = [one.body for one in (await bench.service.log(ME, "r")).records]
    kinds = [body.kind for body in bodies]
    assert kinds.index("kernel_info") < kinds.index("step")
    introduced = bodies[kinds.index("kernel_info")]
    assert isinstance(introduced, records.KernelIntroduced)
    assert ("python3", "script") == (introduced.name, introduced.language_info["name"])
