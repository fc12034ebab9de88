"""The list of runs: the store's and memory's as one, each run once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.execution.local import LocalService
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import Owner, RunPlace, RunQuery
from tests.fake.execution.conftest import ME, Bench, Client

if TYPE_CHECKING:
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.store.store import Store

YOU = Owner("you")


async def listed(bench: Bench, owner: Owner = ME, **query: Any) -> list[str]:
    page = await bench.service.runs(owner, RunQuery(**query))
    return [str(run.id) for run in page.runs]


async def paged(bench: Bench, limit: int) -> list[str]:
    """All pages, one after the other."""
    told: list[str] = []
    before: RunPlace | None = None
    while True:
        page = await bench.service.runs(ME, RunQuery(limit=limit, before=before))
        assert len(page.runs) == limit or page.next is None
        told.extend(run.id for run in page.runs)
        if page.next is None:
            return told
        before = RunPlace.parse(str(page.next))


async def run_all(bench: Bench, kernel_id: str, *names: str) -> None:
    for name in names:
        bench.clock.advance(0.1)
        await bench.run(kernel_id, "print x", name)


async def test_runs_are_listed_newest_first_those_of_gone_kernels_too(bench: Bench) -> None:
    first, second = await bench.a_kernel(), await bench.a_kernel()
    await run_all(bench, first, "a", "b")
    await run_all(bench, second, "c")
    await bench.service.delete_kernel(ME, first)
    assert ["c", "b", "a"] == await listed(bench)
    assert ["b", "a"] == await listed(bench, kernel_id=first)
    assert [] == await listed(bench, kernel_id="nobody's")
    assert [] == await listed(bench, YOU)
    assert [] == await listed(bench, YOU, kernel_id=first)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_each_run_is_on_one_page(bench: Bench, limit: int) -> None:
    kernel_id = await bench.a_kernel()
    await run_all(bench, kernel_id, "a", "b", "c")
    bench.clock.advance(1)
    await bench.started(kernel_id, "sleep", "d")
    bench.clock.advance(1)
    await bench.started(kernel_id, "print x", "e")
    assert ["e", "d", "c", "b", "a"] == await paged(bench, limit)


async def test_a_run_that_is_created_meanwhile_is_on_no_later_page(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    await run_all(bench, kernel_id, "a", "b", "c")
    page = await bench.service.runs(ME, RunQuery(limit=2))
    await run_all(bench, kernel_id, "d")
    assert ["a"] == await listed(bench, limit=2, before=page.next)


async def test_a_run_that_is_not_stored_yet_is_listed_once(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    await run_all(bench, kernel_id, "a")
    bench.clock.advance(1)
    submitting = asyncio.create_task(bench.started(kernel_id, "sleep", "b"))
    await asyncio.sleep(0)  # it is in memory, and its commit is still to come
    assert ["b", "a"] == await listed(bench)
    await submitting
    assert ["b", "a"] == await listed(bench)


async def test_the_cell_of_a_client_is_listed_once_from_its_beginning(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    await run_all(bench, kernel_id, "a")
    bench.clock.advance(1)
    client = Client(bench, kernel_id)
    client.execute("sleep", "1")
    running, *rest = await listed(bench, kernel_id=kernel_id)
    assert ["a"] == rest
    bench.kernel.release()
    await bench.until_kernel(kernel_id, "idle")
    page = await bench.service.runs(ME, RunQuery(kernel_id=kernel_id))
    assert [(running, "ok"), ("a", "ok")] == [(run.id, run.view.outcome) for run in page.runs]


async def test_what_memory_has_forgotten_is_listed_from_the_store(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    kernel_id = await bench.a_kernel()
    await run_all(bench, kernel_id, "a", "b")
    later = LocalService(bench.launcher, store, engine_settings, clock=bench.clock)
    page = await later.runs(ME, RunQuery())
    assert ["b", "a"] == [run.id for run in page.runs]
    assert Outcome.OK == page.runs[0].view.outcome


async def test_runs_are_listed_by_state_and_outcome(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    await run_all(bench, kernel_id, "fine")
    await bench.run(kernel_id, "raise ValueError no", "wrong")
    await bench.started(kernel_id, "sleep", "busy")
    await bench.until_state("busy", "running")
    bench.clock.advance(1)
    await bench.started(kernel_id, "print x", "next")
    assert ["next"] == await listed(bench, state=RunState.QUEUED)
    assert ["busy"] == await listed(bench, state=RunState.RUNNING)
    assert {"fine", "wrong"} == set(await listed(bench, state=RunState.FINISHED))
    assert ["wrong"] == await listed(bench, outcome=Outcome.ERROR)
    assert [] == await listed(bench, state=RunState.RUNNING, outcome=Outcome.ERROR)


async def test_an_end_is_listed_when_it_is_stored(bench: Bench, store: Store) -> None:
    kernel_id = await bench.a_kernel()
    await bench.started(kernel_id, "sleep", "r")
    await bench.until_state("r", "running")
    bench.kernel.release()
    while (await listed(bench, state=RunState.RUNNING)) == ["r"]:
        await asyncio.sleep(0)
    assert ["r"] == await listed(bench, state=RunState.FINISHED)
    (stored,) = await store.find_runs(ME, "r")
    assert RunState.FINISHED == stored.view.state


@pytest.mark.parametrize("text", ["", "r", "1_", "nan_u", "inf_u", "01_u", "1.50_u", "2_a\nb"])
def test_a_place_that_we_did_not_give_out_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RunPlace.parse(text)


def test_a_place_comes_back_as_it_was() -> None:
    for at in (0.0, 0.1 + 0.2, 1_800_000_000.123_456_7):
        place = RunPlace(at, "5fac_1")
        assert place == RunPlace.parse(str(place))
