"""How a kernel and the gateway are, for whoever asks: told soon, whatever the kernel executes."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import HANG_LIMIT_S, Client, Gate, Server, serving
from tests.e2e.runs.caller import Caller
from tests.shared.processes import stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel
    from tests.shared.http import Response

IMPATIENT = (
    "--Runs.health_limit_s=2",
    "--Store.busy_timeout_s=0",
    "--Store.retry_max_s=0.05",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that does not wait for long."""
    with serving(tmp_path_factory.mktemp("impatient") / "data", *IMPATIENT) as server:
        yield server


async def test_a_kernel_that_stands_still_is_told_and_holds_up_nobody(
    caller: Caller, kernel: Kernel
) -> None:
    other = await caller.kernel()
    process = await kernel.process()
    run = await caller.create(kernel=kernel.id, code="while True: pass")
    await caller.reached(run["uid"], "running")
    stop(process.pid)
    asked = asyncio.gather(*(kernel.call("GET", "/health") for _ in range(3)))
    queued = await caller.create(kernel=kernel.id, code="1")
    assert 200 == (await caller.cancel(queued["uid"])).status
    assert 200 == (await caller.call("GET", "/api/runs")).status
    assert "ok" == (await caller.done(kernel=other.id, code="1"))["outcome"]
    answers = await asked
    assert {"unresponsive"} == {answer.json["status"] for answer in answers}
    assert 1 == len({answer.json["checked_at"] for answer in answers})  # one question for all
    await _becomes(other, "healthy")
    cancelled = await caller.cancel(run["uid"], escalate="none")
    assert (202, "cancelling") == (cancelled.status, cancelled.json["state"])
    process.signal(signal.SIGCONT)
    assert "cancelled" == (await caller.over(run["uid"]))["outcome"]
    await _becomes(kernel, "healthy")
    told = [one["what"] for one in await caller.records(run["uid"]) if one["kind"] == "kernel"]
    assert "unresponsive" == told[0]
    process.close()
    assert 204 == (await other.delete()).status


async def test_a_kernel_can_have_a_check_of_its_own(caller: Caller, kernel: Kernel) -> None:
    await caller.done(kernel=kernel.id, code="import time; stock = [1]")
    for expression, status, ok, message in (
        ("len(stock) == 1", "healthy", True, ""),
        ("len(stock) == 2", "unhealthy", False, "False"),
        ("stock[1]", "unhealthy", False, "IndexError: list index out of range"),
        ("time.sleep(2.5)", "unhealthy", False, "no answer within 2 s"),
    ):
        health = await _check(caller, kernel, expression)
        assert (status, {"ok": ok, "message": message}) == (health["status"], health["check"])
    health = await _check(caller, kernel, None)
    assert ("healthy", None) == (health["status"], health["check"])


async def test_a_slow_check_delays_no_run_and_no_cancel(
    caller: Caller, kernel: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    slow = f"[{gate.code.removeprefix('_ = ')}] == []"
    checking = asyncio.create_task(_check(caller, kernel, slow))
    opening = await gate.held()
    run = await caller.done(kernel=kernel.id, code="print('beside it')")
    assert ("ok", "beside it\n") == (run["outcome"], await caller.text(run["uid"]))
    endless = await caller.create(kernel=kernel.id, code="while True: pass")
    await caller.reached(endless["uid"], "running")
    assert 202 == (await caller.cancel(endless["uid"])).status
    assert "cancelled" == (await caller.over(endless["uid"]))["outcome"]
    gate.pass_(opening)
    assert "unhealthy" == (await checking)["status"]


async def test_a_gateway_that_can_store_nothing_is_alive_and_not_ready(tmp_path: Path) -> None:
    """Somebody else holds its database; what runs meanwhile is told when it lets go."""
    server = Server(tmp_path / "data", *IMPATIENT)
    caller = Caller(server)
    try:
        await _without_a_store(caller)
        await caller.close()
        server.process.terminate()
        assert 0 == await asyncio.to_thread(server.ended)
        (mistake,) = server.mistakes()  # said once, not at each try
        assert "The store does not take writes at present" in mistake
    finally:
        server.kill()


async def _without_a_store(caller: Caller) -> None:
    kernel = await caller.kernel()
    assert [(200, "ok", True)] * 2 == [_state(answer) for answer in await _probes(caller)]
    run = await caller.create(kernel=kernel.id, code="print(input())")
    await caller.reached(run["uid"], "waiting-input")
    holder = sqlite3.connect(caller.server.data_dir / "gateway.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        body = {"value": "kept", "prompt_id": 1}
        giving = asyncio.create_task(caller.call("POST", f"/api/runs/{run['uid']}/input", body))
        await _until_ready(caller, is_ready=False)
        live, ready = await _probes(caller)
        assert (200, "store_unavailable", False) == _state(live)
        assert (503, "store_unavailable", False) == _state(ready)
        refused = await caller.post(kernel=kernel.id, code="1")
        assert (503, "store_unavailable") == (refused.status, refused.error["code"])
        assert "Retry-After" in refused.headers
    finally:
        holder.close()
    await _until_ready(caller, is_ready=True)
    assert 200 == (await giving).status
    assert "ok" == (await caller.over(run["uid"]))["outcome"]
    assert "kept\n" == await caller.text(run["uid"])
    assert "ok" == (await caller.done(kernel=kernel.id, code="1"))["outcome"]


async def test_a_gateway_that_ends_is_alive_and_not_ready(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with serving(tmp_path / "data") as server:
        caller = Caller(server)
        run = await caller.create(code=gate.code)
        opening = await gate.held()
        reading = asyncio.create_task(caller.over(run["uid"]))
        server.process.terminate()
        await _until_ready(caller, is_ready=False)
        live, ready = await _probes(caller)
        assert (200, "draining", False) == _state(live)
        assert (503, "draining", False) == _state(ready)
        refused = await caller.post(code="1")
        assert (503, "draining") == (refused.status, refused.error["code"])
        gate.pass_(opening)
        assert "ok" == (await reading)["outcome"]
        Client.close(caller)  # there is nobody left to cancel anything
        await asyncio.to_thread(server.ended)


async def _check(caller: Caller, kernel: Kernel, expression: str | None) -> Any:
    path = f"/api/kernels/{kernel.id}/health"
    return (await caller.call("PUT", path, {"expression": expression})).json


async def _becomes(kernel: Kernel, status: str) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while (await kernel.call("GET", "/health")).json["status"] != status:
            pass


async def _probes(caller: Caller) -> tuple[Response, Response]:
    return await caller.call("GET", "/healthz"), await caller.call("GET", "/readyz")


async def _until_ready(caller: Caller, *, is_ready: bool) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while (await caller.call("GET", "/readyz")).json["ready"] is not is_ready:
            pass


def _state(answer: Response) -> tuple[int, str, bool]:
    return answer.status, answer.json["status"], answer.json["ready"]
