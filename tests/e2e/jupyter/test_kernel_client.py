"""jupyter_kernel_client in its default mode, with a token."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.jupyter.channels import lines
from tests.e2e.jupyter.programs import LIMIT_S, PYTHON, environment
from tests.e2e.main_job.gateway import TOKEN

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Server

DRIVER = Path(__file__).with_name("kernel_client.py")


@pytest.fixture(scope="module")
def told(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What came of everything that the program did."""
    folder = tmp_path_factory.mktemp("kernel_client")
    fifo = folder / "stands"
    os.mkfifo(fifo)
    done = subprocess.run(
        [PYTHON, DRIVER, server.url, TOKEN, fifo],
        cwd=folder,
        env=environment(folder, None),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_it_is_told_what_a_cell_prints_and_gives(told: Any) -> None:
    assert "ok" == told["result"]["status"]
    printed, result = told["result"]["outputs"]
    assert ("said\n", "42") == (printed["text"], result["data"]["text/plain"])


def test_it_is_told_an_error(told: Any) -> None:
    assert "error" == told["error"]["status"]
    assert ["ZeroDivisionError"] == [one["ename"] for one in told["error"]["outputs"]]


def test_it_is_told_every_line(told: Any) -> None:
    assert lines(range(2000)) == "".join(one["text"] for one in told["long"]["outputs"])


def test_it_answers_a_prompt(told: Any) -> None:
    assert ["Hello Ada\n"] == [one["text"] for one in told["input"]["outputs"]]


def test_it_interrupts(told: Any) -> None:
    assert ["KeyboardInterrupt"] == [one["ename"] for one in told["interrupted"]["outputs"]]


def test_it_restarts_and_goes_on(told: Any) -> None:
    assert ["False"] == [one["data"]["text/plain"] for one in told["restarted"]["outputs"]]
