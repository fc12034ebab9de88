"""Batch runs over REST with real programs: what becomes of them when their kernel is taken away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.commands import Served, served
from tests.shared.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway
        assert 0 == gateway.stop()[0]


#: What the run is at when the kernel goes.
STATES = {
    "build": {"build": "echo $$ > {fifo}; sleep 600", "exec": "echo never"},
    "exec": {"exec": "echo $$ > {fifo}; sleep 600"},
    "prompt": {"exec": "echo $$ > {fifo}; read x"},
}


def started(gateway: Served, kernel_id: str, state: str, folder: Path) -> int:
    """The process of the step, which runs."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    commands = {name: line.format(fifo=fifo) for name, line in STATES[state].items()}
    gateway.execute(kernel_id, mode="batch", runId="r", options={**commands, "wait": 0})
    pid = int(fifo.read_text())
    if state == "prompt":
        status = ""
        while status != "waiting-input":
            status = gateway.execute(kernel_id, mode="continue", runId="r")[1]["status"]
    return pid


def ended(gateway: Served, kernel_id: str) -> Any:
    records = f"/api/runs/r/records?kernel={kernel_id}&wait=30&after="
    page = gateway.call("GET", records + "0")[1]
    while not page["finished"]:
        page = gateway.call("GET", records + str(page["next"]))[1]
    return gateway.call("GET", f"/api/runs/r?kernel={kernel_id}")[1]


@pytest.mark.parametrize("state", STATES)
def test_a_run_whose_kernel_is_deleted_is_cancelled(
    gateway: Served, tmp_path: Path, state: str
) -> None:
    kernel_id = gateway.new_kernel()
    pid = started(gateway, kernel_id, state, tmp_path)
    assert 204 == gateway.call("DELETE", f"/api/kernels/{kernel_id}")[0]
    assert not is_alive(pid)
    run = ended(gateway, kernel_id)
    assert ("cancelled", 130) == (run["outcome"], run["exit_code"])
    assert "The kernel was deleted." == run["reason"]["message"]


@pytest.mark.parametrize("state", STATES)
def test_a_run_whose_kernel_is_restarted_is_lost(
    gateway: Served, tmp_path: Path, state: str
) -> None:
    kernel_id = gateway.new_kernel()
    pid = started(gateway, kernel_id, state, tmp_path)
    assert 200 == gateway.call("POST", f"/api/kernels/{kernel_id}/restart")[0]
    run = ended(gateway, kernel_id)
    assert ("lost", "kernel_restarted") == (run["outcome"], run["reason"]["code"])
    assert not is_alive(pid)
    again = gateway.execute(
        kernel_id, mode="batch", runId="again", options={"exec": "echo back", "wait": 30}
    )[1]
    while again["status"] != "finished":
        again = gateway.execute(kernel_id, mode="continue", runId="again")[1]
    assert (0, [["stdout", "back\n"]]) == (again["exitCode"], again["console"])


def test_a_call_for_a_run_that_waits_says_for_how_many(gateway: Served, tmp_path: Path) -> None:
    kernel_id = gateway.new_kernel()
    started(gateway, kernel_id, "prompt", tmp_path)
    waits = [
        gateway.execute(kernel_id, mode="query", runId=name, code="1", options={"wait": 0})[1]
        for name in ("first", "second")
    ]
    assert [0, 1] == [answer["queuePosition"] for answer in waits]
    assert 204 == gateway.call("DELETE", f"/api/kernels/{kernel_id}")[0]
