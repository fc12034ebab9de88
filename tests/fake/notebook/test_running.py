"""`commands/running.py` and `leftovers.py`: what the command does when it knows what is wanted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from traitlets.config import Config

from kernel_gateway import app
from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.leftovers import leftovers, taken
from kernel_gateway.commands.recover import finish_all
from kernel_gateway.commands.running import Item, Wanted, run_all
from kernel_gateway.config import read_settings
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.notebook.batch import Forgetful, Order
from kernel_gateway.notebook.bringing import Homes
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.plan import PlanOptions
from kernel_gateway.notebook.recovery import JobFolder, left_behind
from kernel_gateway.notebook.rendering import Form
from kernel_gateway.notebook.saving import CopySink, FileSink
from kernel_gateway.store.lock import FolderLock
from tests.fake.notebook.conftest import HANG_LIMIT_S, ME, Bench, Shelf, code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from kernel_gateway.notebook.batch import Keeper
    from kernel_gateway.service import ArtifactContent, RunUid


def job(*cells: str) -> NotebookJob:
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(map(code, cells))}
    return NotebookJob(source=read(json.dumps(notebook).encode()), version="1", quiet_s=0.0)


class Desk:
    """Somebody who gives commands and sees what is written."""

    def __init__(self, bench: Bench, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.out: list[str] = []
        self.err: list[str] = []
        self.keeper: Keeper | None = None
        self.engine = LocalEngine
        self._bench = bench
        self._capsys = capsys

    def item(self, name: str, *cells: str, **more: Any) -> Item:
        copy = CopySink(Shelf())
        homes = Homes(work=self.folder, artifacts=self.folder / "artifacts")
        values = {"name": name, "job": job(*cells), "sink": copy, "homes": homes, **more}
        return Item(order=Order(**values), copy=copy)

    async def run(self, *items: Item, **options: Any) -> int:
        @asynccontextmanager
        async def opened() -> AsyncIterator[LocalEngine]:
            yield self.engine(self._bench.service, ME)

        async with asyncio.timeout(HANG_LIMIT_S):
            status = await run_all(opened(), Wanted(items=items, **options), self.keeper)
        told = self._capsys.readouterr()
        self.out, self.err = told.out.splitlines(), told.err.splitlines()
        return status


@pytest.fixture
def engine_settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings(artifacts_dir=tmp_path / "kept")


@pytest.fixture
def desk(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(bench, tmp_path, capsys)


async def test_one_notebook_has_a_line_at_the_end(desk: Desk) -> None:
    assert 0 == await desk.run(desk.item("o.ipynb", "print one"), note="Something was left.")
    assert ["Something was left.", "ok: 1 cell in"] == [desk.err[0], desk.err[-1][:13]]
    assert desk.err[1].startswith("[1/1] ok ")


async def test_several_have_a_table_and_the_code_of_the_first_that_failed(desk: Desk) -> None:
    items = [
        desk.item("a", "print one"),
        desk.item("b", "die SIGKILL"),
        desk.item("c", "raise E v"),
    ]
    assert 6 == await desk.run(*items, jobs=3)
    assert ["a", "b", "c", "1"] == [line.split()[0] for line in desk.err[-4:]]
    assert any(line.startswith("a: [1/1] ok") for line in desk.err)


@pytest.fixture
def typed() -> Iterator[int]:
    """What is written to it is read from standard input."""
    before = os.dup(0)
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(before, 0)
    os.close(before)
    os.close(writing)


async def test_cells_that_ask_have_the_lines_of_standard_input(desk: Desk, typed: int) -> None:
    os.write(typed, b"Ada\nGrace\n")
    asking = replace(job("input Name?"), options=PlanOptions(allow_stdin=True))
    items = [desk.item("a", job=asking), desk.item("b", job=asking)]
    assert 0 == await desk.run(*items, stdin=True)
    assert {"a: Name?", "b: Name?"} <= set(desk.err)


async def test_programs_get_events_on_stdout_and_nothing_else(desk: Desk) -> None:
    assert 1 == await desk.run(desk.item("o.ipynb", "raise E v"), as_json=True)
    assert ["kernel", "cell", "cell", "end"] == [json.loads(line)["event"] for line in desk.out]
    assert [] == desk.err


async def test_files_that_were_left_are_brought(desk: Desk) -> None:
    assert 0 == await desk.run(desk.item("o.ipynb", "save a.txt text"))
    assert (desk.folder / "artifacts" / "a.txt").exists()
    assert f"Brought 1 file in {desk.folder / 'artifacts'}" == desk.err[-1]


async def test_an_output_that_was_never_writable_is_a_wrong_call(desk: Desk) -> None:
    bad = FileSink(desk.folder / "no" / "o.ipynb")
    page = (Form.HTML, desk.folder / "page.html")
    first = replace(desk.item("bad", "print one", sink=bad), pages=(page,))
    assert 2 == await desk.run(first, desk.item("b", "print two"))
    assert "not written" in desk.err[-3]


async def test_an_output_that_cannot_be_finished_is_no_good_end(desk: Desk) -> None:
    shelf = Shelf()
    shelf.faults = [None, *[OSError(28, "No space")] * 9]
    item = desk.item("o.ipynb", "print one", sink=shelf, file=desk.folder / "o.ipynb")
    desk.keeper = Forgetful()
    assert 1 == await desk.run(item)
    assert [
        "o.ipynb: The output cannot be written: No space.",
        "When it can be written: kernel-gateway recover",
    ] == desk.err[-2:]


async def test_what_nobody_has_kept_is_not_to_be_recovered(desk: Desk) -> None:
    shelf = Shelf()
    shelf.faults = [None, *[OSError(28, "No space")] * 9]
    item = desk.item("o.ipynb", "save a.txt text", sink=shelf, file=desk.folder / "o.ipynb")
    assert 1 == await desk.run(item, report=desk.folder / "junit.xml")
    assert [
        "o.ipynb: The output cannot be written: No space.",
        f"Brought 1 file in {desk.folder / 'artifacts'}",
    ] == desk.err[-2:]
    (suite,) = ET.parse(desk.folder / "junit.xml").getroot()
    assert "1" == suite.get("errors")


async def test_who_stops_the_bringing_of_files_has_the_output_and_is_told(desk: Desk) -> None:
    shelf = Shelf()
    complete = []

    class Slow(LocalEngine):
        async def artifact(self, uid: RunUid, artifact: str) -> ArtifactContent:
            complete.append(shelf.closed)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
            raise AssertionError("it never comes")

    desk.engine = Slow
    item = desk.item("o.ipynb", "save a.txt text", sink=shelf)
    assert 143 == await desk.run(item, as_json=True)
    assert 143 == json.loads(desk.out[-1])["exit_code"]
    assert [True] == complete
    assert [] == list(desk.folder.glob("artifacts/*"))


async def test_who_stops_the_making_of_pages_does_not_wait_for_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = desk.folder / "packages" / "nbconvert"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)\nsignal.pause()"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    page = (Form.HTML, desk.folder / "page.html")
    item = replace(desk.item("o.ipynb", "print one"), pages=(page,))
    assert 143 == await desk.run(item)
    assert "Not all pages were made: it was stopped." == desk.err[-1]


async def test_a_page_for_which_there_is_no_room_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(desk.folder / "no"))
    page = (Form.HTML, desk.folder / "page.html")
    item = replace(desk.item("o.ipynb", "print one"), pages=(page,))
    assert 1 == await desk.run(item)
    assert f"{page[1]} was not made: No such file or directory." == desk.err[-1]


async def test_reports_are_made_of_bad_ends_too(desk: Desk) -> None:
    items = [desk.item("a", "print one"), desk.item("b", "raise E v")]
    assert 1 == await desk.run(
        *items, report=desk.folder / "junit.xml", records=desk.folder / "log"
    )
    suites = ET.parse(desk.folder / "junit.xml").getroot()
    assert ["0", "1"] == [suite.get("failures") for suite in suites]
    kinds = [json.loads(line)["kind"] for line in (desk.folder / "log").read_text().splitlines()]
    assert 2 == kinds.count("completed")


async def test_a_report_that_cannot_be_made_is_told(desk: Desk) -> None:
    item = replace(
        desk.item("o.ipynb", "print one"), pages=((Form.HTML, desk.folder / "no" / "p.html"),)
    )
    assert 1 == await desk.run(item, report=desk.folder / "no" / "junit.xml")
    page, report = sorted(desk.err[-2:], reverse=True)
    assert page.startswith(f"{desk.folder}/no/p.html ")
    assert f"{desk.folder}/no/junit.xml cannot be written: No such file or directory." == report


async def test_a_file_for_the_records_that_cannot_be_made_is_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        await desk.run(desk.item("o.ipynb", "print one"), records=desk.folder / "no" / "log")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_stops_what_runs(
    bench: Bench, desk: Desk, number: signal.Signals, status: int
) -> None:
    item = desk.item("o.ipynb", "print up\nsleep", "print no")
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
    assert status == await desk.run(item, as_json=True)
    end = json.loads(desk.out[-1])
    assert ("cancelled", status) == (end["outcome"], end["exit_code"])


async def test_a_signal_that_is_ignored_stays_so(desk: Desk) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGHUP)
        assert 0 == await desk.run(desk.item("o.ipynb", "print one"))
        assert signal.SIG_IGN is signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


# -- what is left behind ---------------------------------------------------------------------------


def test_left_behind_are_the_jobs_of_those_that_are_dead(tmp_path: Path) -> None:
    settings = read_settings(Config({"Gateway": {"data_dir": str(tmp_path)}}))
    assert {} == leftovers(settings)
    dead, alive, empty = (app.headless_folder(settings) for _ in range(3))
    for folder in (dead, alive, empty):
        folder.mkdir(parents=True)
    for folder in (dead, alive):
        homes = Homes(work=tmp_path, artifacts=tmp_path / "artifacts")
        keeper = JobFolder(folder, [tmp_path / f"{folder.name}.ipynb"], [homes])
        keeper.begin(0, job("print one"))
    lock = FolderLock(alive)
    assert [dead] == list(leftovers(settings))
    assert {tmp_path / f"{alive.name}.ipynb"} == taken(settings)
    lock.release()
    assert {dead, alive} == set(leftovers(settings))


async def test_what_is_finished_is_removed_but_no_file_of_the_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_settings(Config({"Gateway": {"data_dir": str(tmp_path)}}))
    folder = app.headless_folder(settings)
    file = folder / "artifacts" / "kernel" / "model"
    file.parent.mkdir(parents=True)
    file.touch()
    homes = Homes(work=tmp_path, artifacts=tmp_path / "artifacts")
    keeper = JobFolder(folder, [tmp_path / "o.ipynb"], [homes])
    keeper.begin(0, job("print one"))
    assert await finish_all(settings, folder)
    assert f"when it was killed are in {folder}/artifacts" in capsys.readouterr().err
    assert file.exists()
    file.unlink()
    keeper = JobFolder(folder, [tmp_path / "no" / "o", tmp_path / "b"], [homes, homes])
    for number in (0, 1):
        keeper.begin(number, job("print one"))
    assert not await finish_all(settings, folder)
    assert ["0.json"] == [kept.file.name for kept in left_behind(folder)]
    (tmp_path / "no").mkdir()
    assert await finish_all(settings, folder)
    assert not folder.exists()
    assert await finish_all(settings, folder)  # somebody else has done it
    assert not folder.exists()
