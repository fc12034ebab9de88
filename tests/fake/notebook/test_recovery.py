"""`notebook/recovery.py`: an output whose runner was killed is finished from the log.

Killed is a runner whose folder is copied while it runs: the copy is what a dead one leaves behind.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from kernel_gateway.errors import NotebookUnwritable
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.fake import FakeLauncher
from kernel_gateway.notebook.batch import Batch, Order
from kernel_gateway.notebook.bringing import Homes
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.job import Attempt, NotebookJob
from kernel_gateway.notebook.recovery import JobFolder, Kept, finish, left_behind
from kernel_gateway.notebook.runner import Stop
from kernel_gateway.notebook.saving import FileSink
from kernel_gateway.runs.records import ArtifactAdded, LogText, Reason, Record
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import KernelSpecsView, KernelSpecView, RunQuery, RunUid
from kernel_gateway.store.lock import is_held
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.fake.notebook.conftest import HANG_LIMIT_S, ME, Bench, ListedService, code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def source_bytes(*cells: str) -> bytes:
    whole = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "gone", "display_name": "Gone", "language": "script"}},
        "cells": [code(cell) for cell in cells],
    }
    return json.dumps(whole).encode()


def _copied(folder: Path, there: Path) -> None:
    """What goes while it is copied, as the folder of a kernel with its run, is gone there too."""
    try:
        shutil.copytree(folder, there)
    except shutil.Error as fault:
        failed = [path for path, *_ in fault.args[0]]
        assert not any(map(os.path.exists, failed)), failed


@dataclass(frozen=True)
class Scene:
    """A runner in its folder, and one output."""

    bench: Bench
    folder: Path  # of the runner, with its store
    output: Path
    dead: Path  # what is left of it

    @property
    def homes(self) -> Homes:
        return Homes(work=self.output.parent, artifacts=self.output.with_name("artifacts"))

    def job(self, *cells: str, **more: Any) -> NotebookJob:
        return NotebookJob(
            source=read(source_bytes(*cells)),
            version="1.2",
            quiet_s=0.0,
            env={"SECRET": "hush"},
            secrets=("SECRET",),
            **more,
        )

    async def killed(self, job: NotebookJob, after: str) -> Kept:
        """When it has printed this, or has left a file of this name. What the living one writes
        later is not seen."""
        printed = asyncio.Event()

        def tell(order: Order, event: object) -> None:
            if isinstance(event, Record) and isinstance(event.body, LogText):
                printed.set() if after in event.body.text else None
            elif isinstance(event, Record) and isinstance(event.body, ArtifactAdded):
                printed.set() if after == event.body.artifact.name else None

        homes = self.homes
        order = Order(name="o", job=job, sink=FileSink(self.output), homes=homes)
        keeper = JobFolder(self.folder, [self.output], [self.homes])
        batch = Batch(LocalEngine(self.bench.service, ME), [order], tell, keeper=keeper)
        async with asyncio.timeout(HANG_LIMIT_S), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(batch.run())
            await printed.wait()
            await asyncio.to_thread(_copied, self.folder, self.dead)
            so_far = self.output.read_bytes()
            batch.stop(Stop.FORCE)
            await running
        self.output.write_bytes(so_far)
        assert [] == left_behind(self.folder)
        (kept,) = left_behind(self.dead)
        return kept

    @asynccontextmanager
    async def service(self, *specs: str) -> AsyncIterator[ListedService]:
        """Over what is left."""
        store = await Store.open(StoreSettings(folder=self.dead))
        launcher = FakeLauncher()
        settings = EngineSettings(artifacts_dir=self.dead / "artifacts")
        service = ListedService(launcher, store, settings)
        service.specs = KernelSpecsView(
            default="",
            specs=tuple(
                KernelSpecView(name=name, display_name=name.title(), language="script")
                for name in specs
            ),
        )
        await service.start()
        yield service
        await service.close()
        await store.close()
        await launcher.close()

    def notebook(self, path: Path | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((path or self.output).read_text())
        nbformat.validate(found)
        return found


@pytest.fixture
def engine_settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings(artifacts_dir=tmp_path / "store" / "artifacts")


@pytest.fixture
def scene(bench: Bench, tmp_path: Path) -> Scene:
    return Scene(
        bench=bench,
        folder=tmp_path / "store",
        output=tmp_path / "out.ipynb",
        dead=tmp_path / "dead",
    )


def states(notebook: dict[str, Any]) -> list[str]:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell["metadata"]["kernel_gateway"]["state"] for cell in cells]


def texts(notebook: dict[str, Any], cell: int) -> str:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "".join("".join(output["text"]) for output in cells[cell]["outputs"])


async def test_it_has_all_that_was_received_and_says_that_it_was_lost(scene: Scene) -> None:
    kept = await scene.killed(scene.job("print one", "print two\nsleep", "print no"), "two")
    async with scene.service("other", "python3") as service:
        finished = await finish(service, ME, kept)
    assert (scene.output, Outcome.LOST) == (finished.output, finished.result.outcome)
    notebook = scene.notebook()
    assert ["ok", "died", "not-run"] == states(notebook)
    assert ["one\n", ""] == [texts(notebook, 0), texts(notebook, 2)]
    assert texts(notebook, 1).startswith("two\n")
    told = notebook["metadata"]["kernel_gateway"]
    assert ("lost", "gateway_lost") == (told["run"]["outcome"], told["run"]["reason"]["code"])
    assert ("python3", "gone", "1.2") == (
        told["kernel"]["name"],
        told["kernel"]["asked"],
        told["version"],
    )
    assert [] == left_behind(scene.dead)


async def test_a_kernel_that_is_not_installed_any_more_is_still_named(scene: Scene) -> None:
    kept = await scene.killed(scene.job("print one\nsleep"), "one")
    async with scene.service() as service:
        await finish(service, ME, kept)
    assert "python3" == scene.notebook()["metadata"]["kernelspec"]["name"]


async def test_it_knows_what_the_job_was_and_nothing_that_was_secret(scene: Scene) -> None:
    reason = Reason(code="kernel_died", message="It died.")
    failed = Attempt(uid=RunUid("u1"), outcome=Outcome.LOST, reason=reason)
    job = scene.job(
        "sleep", input_name="in.ipynb", output_name="o.ipynb", earlier=(failed,), kernel_name="k"
    )
    begun = JobFolder(scene.folder, [scene.output], [scene.homes]).begin(0, job)
    (kept,) = left_behind(scene.folder)
    assert {"job": "0.2"} == dict(begun.labels)
    assert replace(job, env={}, secrets=(), quiet_s=kept.job.quiet_s) == replace(
        kept.job, allow_unknown_parameters=False
    )
    assert (scene.output, "0.2") == (kept.output, kept.label)
    assert "hush" not in kept.file.read_text()
    assert 0o700 == kept.file.parent.stat().st_mode & 0o777


async def test_a_run_that_had_not_begun_is_lost_as_well(scene: Scene) -> None:
    JobFolder(scene.dead, [scene.output], [scene.homes]).begin(0, scene.job("print one"))
    assert [] == left_behind(scene.dead)  # the folder is made by its engine
    scene.dead.mkdir()
    JobFolder(scene.dead, [scene.output], [scene.homes]).begin(0, scene.job("print one"))
    (kept,) = left_behind(scene.dead)
    async with scene.service("python3") as service:
        finished = await finish(service, ME, kept)
    assert Outcome.LOST == finished.result.outcome
    notebook = scene.notebook()
    assert ["not-run"] == states(notebook)
    assert "gateway_lost" == notebook["metadata"]["kernel_gateway"]["run"]["reason"]["code"]


@pytest.mark.parametrize("text", ["{}", "not JSON", '{"metadata": {"kernel_gateway": 3}}', "run"])
async def test_what_somebody_has_written_since_is_left_as_it_is(scene: Scene, text: str) -> None:
    kept = await scene.killed(scene.job("print one\nsleep"), "one")
    if text == "run":  # of another run of the same notebook
        other = scene.notebook()
        other["metadata"]["kernel_gateway"]["run"] = {"uid": "another"}
        text = json.dumps(other)
    scene.output.write_text(text)
    async with scene.service("python3") as service:
        finished = await finish(service, ME, kept)
    assert text == scene.output.read_text()
    assert scene.output.with_name("out.recovered-dead.ipynb") == finished.output
    assert ["died"] == states(scene.notebook(finished.output))


async def test_an_output_that_is_gone_is_written_again(scene: Scene) -> None:
    kept = await scene.killed(scene.job("print one\nsleep"), "one")
    scene.output.unlink()
    async with scene.service("python3") as service:
        await finish(service, ME, kept)
    assert ["died"] == states(scene.notebook())


async def test_a_job_whose_output_cannot_be_written_is_kept(scene: Scene) -> None:
    kept = await scene.killed(scene.job("print one\nsleep"), "one")
    nowhere = replace(kept, output=scene.output.parent / "no" / "out.ipynb")
    async with scene.service("python3") as service:
        with pytest.raises(NotebookUnwritable):
            await finish(service, ME, nowhere)
    assert [kept] == left_behind(scene.dead)


async def test_files_that_were_left_are_brought(scene: Scene) -> None:
    kept = await scene.killed(scene.job("save a.txt text"), "a.txt")
    (scene.homes.artifacts / "a.txt").unlink(missing_ok=True)
    async with scene.service("python3") as service:
        finished = await finish(service, ME, kept)
    assert b"text" == (scene.homes.artifacts / "a.txt").read_bytes()
    assert finished.is_whole
    assert [] == left_behind(scene.dead)


async def test_a_job_of_which_a_file_cannot_be_brought_is_kept(scene: Scene) -> None:
    kept = await scene.killed(scene.job("save a.txt text"), "a.txt")
    (scene.homes.artifacts / "a.txt").unlink(missing_ok=True)
    (scene.homes.artifacts / "a.txt").mkdir(parents=True)
    async with scene.service("python3") as service:
        finished = await finish(service, ME, kept)
    assert ["'a.txt' was not brought: Is a directory"] == finished.brought.faults
    assert [kept] == left_behind(scene.dead)


async def test_what_a_run_that_goes_on_writes_is_left_to_it(scene: Scene) -> None:
    kept = await scene.killed(scene.job("save a.txt text"), "a.txt")
    before = scene.output.read_bytes()
    async with scene.service("python3") as service:
        finished = await finish(service, ME, kept, {scene.output})
    assert before == scene.output.read_bytes()
    assert scene.output.with_name("out.recovered-dead.ipynb") == finished.output
    assert (scene.output.with_name("artifacts.recovered-dead") / "a.txt").exists()


async def test_of_an_attempt_that_had_not_begun_the_one_before_is_kept(scene: Scene) -> None:
    kept = await scene.killed(scene.job("print one\nsleep"), "one")
    async with scene.service("python3") as service:
        page = await service.runs(ME, RunQuery())
        reason = Reason(code="kernel_died", message="It died.")
        before = Attempt(uid=page.runs[0].uid, outcome=Outcome.LOST, reason=reason)
        again = replace(kept, label="0.2", job=replace(kept.job, earlier=(before,)))
        await finish(service, ME, again)
        assert texts(scene.notebook(), 0).startswith("one\n")
        scene.output.unlink()
        gone = replace(before, uid=RunUid("gone"))
        await finish(service, ME, replace(again, job=replace(kept.job, earlier=(gone,))))
    assert ["not-run"] == states(scene.notebook())


async def test_the_language_of_the_kernel_is_kept(scene: Scene) -> None:
    job = scene.job("print one\nsleep")
    keeper = JobFolder(scene.folder, [scene.output], [scene.homes])
    keeper.begin(0, job)
    keeper.chosen(0, "R")
    (kept,) = left_behind(scene.folder)
    assert "R" == kept.language


def test_an_output_that_is_no_file_is_nothing_to_finish(scene: Scene) -> None:
    keeper = JobFolder(scene.folder, [None], [scene.homes])
    job = scene.job("sleep")
    assert job is keeper.begin(0, job)
    keeper.chosen(0, "script")
    keeper.end(0)
    assert [] == left_behind(scene.folder)


def test_a_job_that_cannot_be_written_down_is_run_all_the_same(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    (scene.folder / "jobs").touch()
    with caplog.at_level(logging.WARNING):
        job = JobFolder(scene.folder, [scene.output], [scene.homes]).begin(0, scene.job("sleep"))
    assert {"job": "0.1"} == dict(job.labels)
    assert "could not be recovered" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}'])
def test_a_file_that_is_none_of_ours_is_passed_over(scene: Scene, text: str) -> None:
    JobFolder(scene.folder, [scene.output], [scene.homes]).begin(0, scene.job("sleep"))
    (scene.folder / "jobs" / "1.json").write_text(text)
    assert ["0.json"] == [kept.file.name for kept in left_behind(scene.folder)]


def test_a_folder_is_held_as_long_as_its_gateway_lives(scene: Scene, tmp_path: Path) -> None:
    assert is_held(scene.folder)
    (tmp_path / "other").mkdir()
    assert not is_held(tmp_path / "other")
    (tmp_path / "other" / "lock").touch()
    assert not is_held(tmp_path / "other")
