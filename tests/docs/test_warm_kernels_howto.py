"""The how-to on warm kernels is true: its configuration, its answer, its numbers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels import local
from kernel_gateway.kernels.adoption import READ_AT_START
from kernel_gateway.kernels.environment import matches
from kernel_gateway.kernels.pool import launcher, shelves
from tests.e2e.commands import LIMIT_S, served

if TYPE_CHECKING:
    from tests.e2e.commands import Served

HOWTO = (Path(__file__).parents[2] / "docs/how-to/warm-kernels.md").read_text()
WHERE = "import os; print(os.getcwd(), os.environ['KERNEL_MINE'], os.getpid())"


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    return str(found)


def test_its_configuration_keeps_kernels_ready_that_serve_any_folder(tmp_path: Path) -> None:
    (tmp_path / "kernel_gateway_config.py").write_text(block("python"))
    (tmp_path / "mine").mkdir()
    env = {"KERNEL_WORKING_DIR": str(tmp_path / "mine"), "KERNEL_MINE": "1"}
    with served(tmp_path, f"--config={tmp_path}/kernel_gateway_config.py") as gateway:
        told = _full(gateway)
        assert {**json.loads(block("json")), "descriptors": told["descriptors"]} == told
        assert [] == gateway.call("GET", "/api/kernels")[1]
        before = {process.name for process in Path("/proc").glob("[0-9]*")}
        _, kernel = gateway.call("POST", "/api/kernels", {"env": env})
        query = {"mode": "query", "code": WHERE, "options": {"wait": LIMIT_S}}
        _, answer = gateway.execute(kernel["id"], runId="where", **query)
        ((_, text),) = answer["console"]
        *where, process = text.split()
        assert [f"{tmp_path}/mine", "1"] == where
        assert process in before
        assert 1 == gateway.call("GET", "/healthz")[1]["kernels"]
        gateway.call("DELETE", f"/api/kernels/{kernel['id']}")


def _full(gateway: Served) -> dict[str, object]:
    deadline = time.monotonic() + LIMIT_S
    told: dict[str, object] = {}
    while told.get("warm") != 2:
        assert time.monotonic() < deadline, told
        told = gateway.call("GET", "/healthz")[1]
    return told


def test_its_numbers_are_those_of_the_code() -> None:
    assert 2 * 2**30 == EngineSettings().warm_memory
    assert 64 == shelves.MOST_SHELVES
    assert 5 == shelves.FAILURES
    assert 0.5 == launcher.REST_S
    assert 1 == local.ADOPTION_LIMIT_S


def test_the_variables_that_it_names_are_read_at_the_start() -> None:
    (named,) = re.findall(r"\(`(PYTHON\*.*?)`, \.\.\.\)", HOWTO)
    for name in named.split("`, `"):
        assert matches(name.replace("*", "X"), READ_AT_START), name
