"""`commands/recording.py`: every record of a run in a file, in the form that HTTP gives it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.commands.recording import Recorded, RecordFile
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.runner import NotebookRunner
from kernel_gateway.web.render import record_json
from tests.fake.notebook.conftest import ME, Bench, Shelf, code

if TYPE_CHECKING:
    from kernel_gateway.notebook.runner import NotebookResult


async def recorded(bench: Bench, path: Path, *cells: str) -> NotebookResult:
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(map(code, cells))}
    job = NotebookJob(source=read(json.dumps(notebook).encode()), version="1", quiet_s=0.0)
    file = RecordFile(path)
    engine = Recorded(LocalEngine(bench.service, ME), file)

    runner = NotebookRunner(engine, job, Shelf(), lambda event: None)
    try:
        return await runner.run()
    finally:
        file.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_the_file_has_all_records_as_http_gives_them(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    result = await recorded(bench, path, "print one", "raise E v", "print no")
    assert result.run is not None
    uid = result.run.uid
    page = await bench.service.log(ME, uid)
    info = await bench.service.run(ME, uid)
    assert [record_json(info, one) for one in page.records] == lines(path)
    (completed,) = [one for one in lines(path) if one["kind"] == "completed"]
    assert "error" == completed["run"]["outcome"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
async def test_a_disk_that_is_full_ends_the_file_and_not_the_run(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result = await recorded(bench, Path("/dev/full"), "print one", "print two")
    assert "ok" == result.outcome
    assert ["/dev/full ends here, it cannot be written: [Errno 28] No space left on device"] == [
        one.getMessage() for one in caplog.records if "ends here" in one.getMessage()
    ]
