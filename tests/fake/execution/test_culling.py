"""Culling: which kernels are ended because nobody uses them, and when, on a clock that is moved."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.execution.culling import asked_by
from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import CullingSettings, EngineSettings
from kernel_gateway.kernels.fake import FakeLauncher
from kernel_gateway.service import (
    KernelRequest,
    NotebookSessionRequest,
    RunQuery,
    SessionRequest,
)
from tests.fake.execution.conftest import HANG_LIMIT_S, ME, Bench, Client, ManualClock

if TYPE_CHECKING:
    from kernel_gateway.kernels.kernel import SpecEntry
    from kernel_gateway.store.store import Store

LIMIT_S = 600.0


@pytest.fixture
def culling() -> CullingSettings:
    return CullingSettings(cull_idle_timeout=LIMIT_S)


@pytest.fixture
def engine_settings(engine_settings: EngineSettings, culling: CullingSettings) -> EngineSettings:
    return replace(engine_settings, culling=culling)


async def a_kernel(bench: Bench, **request: Any) -> str:
    view = await bench.service.create_kernel(ME, KernelRequest(**request))
    await watched(bench, view.id)
    return view.id


async def watched(bench: Bench, kernel_id: str) -> None:
    """It is up, and what its kernelspec asks for is known."""
    await bench.service.kernel_ready(ME, kernel_id)
    await bench.service._culler.join()


async def kernels(bench: Bench) -> list[str]:
    return [kernel.id for kernel in await bench.service.kernels(ME)]


async def culled(bench: Bench, kernel_id: str) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while kernel_id in await kernels(bench):
            await asyncio.sleep(0)


# -- idleness -------------------------------------------------------------------------------------


async def test_an_idle_kernel_is_ended_when_its_time_is_over_and_no_sooner(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    kernel_id = await a_kernel(bench)
    bench.clock.advance(LIMIT_S - 1)
    assert [kernel_id] == await kernels(bench)
    with caplog.at_level(logging.INFO, "kernel_gateway"):
        bench.clock.advance(1)
        await culled(bench, kernel_id)
    (line,) = [record.getMessage() for record in caplog.records if "culled" in record.getMessage()]
    assert "idle for 600 s" in line
    await bench.kernel.wait_dead()


async def test_what_a_kernel_executes_is_activity(bench: Bench) -> None:
    kernel_id = await a_kernel(bench)
    bench.clock.advance(LIMIT_S - 1)
    await bench.run(kernel_id, "print x")
    bench.clock.advance(LIMIT_S - 1)
    assert [kernel_id] == await kernels(bench)
    bench.clock.advance(1)
    await culled(bench, kernel_id)


@pytest.mark.parametrize("code", ["sleep", "input name?"])
async def test_a_kernel_that_executes_or_waits_for_input_is_not_ended(
    bench: Bench, code: str
) -> None:
    kernel_id = await a_kernel(bench)
    await bench.started(kernel_id, code, "r")
    await bench.until_state("r", "running" if code == "sleep" else "waiting-input")
    bench.clock.advance(10 * LIMIT_S)
    assert [kernel_id] == await kernels(bench)
    if code == "sleep":
        bench.kernel.release()
    else:
        await bench.service.give_input(ME, "r", "x")
    await bench.until_state("r", "finished")
    bench.clock.advance(LIMIT_S - 1)
    assert [kernel_id] == await kernels(bench)
    bench.clock.advance(1)
    await culled(bench, kernel_id)


async def test_each_kernel_has_a_time_of_its_own(bench: Bench) -> None:
    first = await a_kernel(bench)
    bench.clock.advance(100)
    second = await a_kernel(bench, cull_idle_s=50.0)
    third = await a_kernel(bench)
    bench.clock.advance(50)
    await culled(bench, second)
    bench.clock.advance(450)
    await culled(bench, first)
    assert [third] == await kernels(bench)
    bench.clock.advance(100)
    await culled(bench, third)


async def test_a_dead_kernel_is_ended_whoever_is_connected(bench: Bench) -> None:
    kernel_id = await a_kernel(bench)
    Client(bench, kernel_id)
    session = bench.service._sessions.of(ME, kernel_id)
    session.kernel.retire()
    await bench.until_kernel(kernel_id, "dead")
    bench.clock.advance(LIMIT_S)
    await culled(bench, kernel_id)


async def test_the_session_of_a_notebook_stays_and_says_why_its_kernel_is_gone(
    bench: Bench,
) -> None:
    request = NotebookSessionRequest(path="a.ipynb")
    made = await bench.service.open_notebook_session(ME, request)
    await watched(bench, made.kernel.id)
    bench.clock.advance(LIMIT_S)
    await culled(bench, made.kernel.id)
    (left,) = await bench.service.notebook_sessions(ME)
    assert ("dead", "The kernel was culled: idle for 600 s.") == (
        left.kernel.state,
        left.kernel.reason,
    )


async def test_sessions_with_a_folder_of_their_own_stay(bench: Bench) -> None:
    made = await bench.a_session("main")
    bench.clock.advance(100 * LIMIT_S)
    assert [made.id] == await kernels(bench)


class TestOfSessions:
    @pytest.fixture
    def culling(self) -> CullingSettings:
        return CullingSettings(cull_idle_timeout=LIMIT_S, cull_sessions=True)

    async def test_they_are_ended_too_where_that_is_wanted(self, bench: Bench) -> None:
        made = await bench.service.create_session(ME, SessionRequest(image="python"))
        await watched(bench, made.id)
        bench.clock.advance(2 * LIMIT_S)  # the second completion is made warm in the first
        await culled(bench, made.id)


# -- clients --------------------------------------------------------------------------------------


async def test_a_kernel_with_clients_is_looked_at_again_when_they_have_gone(bench: Bench) -> None:
    kernel_id = await a_kernel(bench)
    client = Client(bench, kernel_id)
    bench.clock.advance(10 * LIMIT_S)
    assert [kernel_id] == await kernels(bench)
    client.link.detach()
    bench.clock.advance(LIMIT_S + 300)
    await culled(bench, kernel_id)


async def test_the_cell_of_a_client_that_has_gone_goes_on(bench: Bench) -> None:
    kernel_id = await a_kernel(bench)
    client = Client(bench, kernel_id)
    client.execute("sleep", "1")
    client.link.detach()
    bench.clock.advance(10 * LIMIT_S)
    assert [kernel_id] == await kernels(bench)
    bench.kernel.release()
    await bench.until_kernel(kernel_id, "idle")
    bench.clock.advance(LIMIT_S)
    await culled(bench, kernel_id)


class TestConnected:
    @pytest.fixture
    def culling(self) -> CullingSettings:
        return CullingSettings(cull_idle_timeout=LIMIT_S, cull_connected=True)

    async def test_clients_are_no_hindrance_where_that_is_wanted(self, bench: Bench) -> None:
        kernel_id = await a_kernel(bench)
        Client(bench, kernel_id)
        bench.clock.advance(LIMIT_S)
        await culled(bench, kernel_id)


# -- busy ones ------------------------------------------------------------------------------------


class TestBusy:
    @pytest.fixture
    def culling(self) -> CullingSettings:
        return CullingSettings(cull_idle_timeout=LIMIT_S, cull_busy=True)

    async def test_its_runs_end_as_cancelled_and_say_that_it_was_culled(self, bench: Bench) -> None:
        kernel_id = await a_kernel(bench)
        await bench.started(kernel_id, "print here\nsleep", "first")
        await bench.until_told("first", "here")
        await bench.started(kernel_id, "print x", "second")
        bench.clock.advance(LIMIT_S)
        await culled(bench, kernel_id)
        await bench.until_state("first", "finished")
        await bench.until_state("second", "finished")
        page = await bench.service.runs(ME, RunQuery())
        for run in page.runs:
            assert run.view.reason is not None
            assert ("cancelled", "The kernel was culled: idle for 600 s.") == (
                run.view.outcome,
                run.view.reason.message,
            )


# -- who says for how long ------------------------------------------------------------------------


class Specs(FakeLauncher):
    """One kernelspec that asks for something."""

    asked: Any = None

    def kernelspec(self, name: str) -> SpecEntry:
        entry = super().kernelspec(name)
        return replace(entry, spec={**entry.spec, "metadata": self.asked})


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"kernel_gateway": {"cull_idle_timeout": 5}}, 5.0),
        ({"kernel_gateway": {"cull_idle_timeout": 0}, "cull_idle_timeout": 7}, 0.0),
        ({"cull_idle_timeout": 7.5}, 7.5),
        ({"kernel_gateway": {}}, None),
        ({"kernel_gateway": 5}, None),
        ({"cull_idle_timeout": "5"}, None),
        ({"cull_idle_timeout": -1}, None),
        ({"cull_idle_timeout": True}, None),
        ({"cull_idle_timeout": float("inf")}, None),
        ([], None),
    ],
)
def test_a_kernelspec_asks_in_its_metadata(metadata: Any, expected: float | None) -> None:
    assert expected == asked_by({"metadata": metadata})
    assert None is asked_by({})


@pytest.mark.parametrize(
    ("by_setting", "by_spec", "by_client", "most", "expected"),
    [
        (600.0, None, None, None, 600.0),
        (0.0, None, None, None, None),
        (600.0, 50, None, None, 50.0),
        (600.0, 50, 20.0, None, 20.0),
        (600.0, 50, 0.0, None, None),
        (0.0, None, 20.0, None, 20.0),
        (600.0, 900, None, 700.0, 700.0),
        (600.0, 50, 0.0, 700.0, 700.0),
        (0.0, None, None, 700.0, None),  # what the deployer says has no limit
    ],
)
async def test_the_client_goes_before_the_kernelspec_and_that_before_the_settings(
    by_setting: float,
    by_spec: float | None,
    by_client: float | None,
    most: float | None,
    expected: float | None,
    store: Store,
    engine_settings: EngineSettings,
) -> None:
    launcher, clock = Specs(), ManualClock()
    launcher.asked = {"kernel_gateway": {"cull_idle_timeout": by_spec}}
    culling = CullingSettings(cull_idle_timeout=by_setting, cull_idle_most_s=most)
    service = LocalService(launcher, store, replace(engine_settings, culling=culling), clock=clock)
    bench = Bench(service, launcher, clock)
    kernel_id = await a_kernel(bench, cull_idle_s=by_client)
    if expected is None:
        clock.advance(100_000.0)
        await asyncio.sleep(0)
        assert [kernel_id] == await kernels(bench)
    else:
        clock.advance(expected - 1)
        await asyncio.sleep(0)
        assert [kernel_id] == await kernels(bench)
        clock.advance(1)
        await culled(bench, kernel_id)
    await service.close()
    await launcher.close()
