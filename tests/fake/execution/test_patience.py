"""Which records wait for the next one, to be stored with it, and what ends the waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel_gateway.runs import records
from kernel_gateway.service import RunUid
from tests.fake.execution.conftest import HANG_LIMIT_S, ME, text

if TYPE_CHECKING:
    from kernel_gateway.store.store import Store
    from tests.fake.execution.conftest import Bench


async def outputs(bench: Bench, store: Store, run_id: str) -> list[str]:
    """The kinds of output that are stored, read behind the engine's back."""
    uid = RunUid((await bench.service.run(ME, run_id)).uid)
    stored = await store.last_records(uid, limit=100)
    return [one.body.kind for one in stored if isinstance(one.body, records.Output)]


async def a_result_that_is_not_the_end(bench: Bench) -> str:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "result 2\nsleep\ndisplay text/plain 3\nsleep", "r")
    (live,) = bench.service._live.values()
    await bench.until(lambda: live.log.pending >= 3)  # it runs, its step runs, and the result
    return kernel


async def test_a_result_is_stored_with_the_end_behind_it(bench: Bench, store: Store) -> None:
    kernel, process = await a_result_that_is_not_the_end(bench), bench.kernel
    await bench.run(await bench.a_kernel(), "print other", "other")  # commits go on meanwhile
    assert [] == await outputs(bench, store, "r")
    process.release()
    await bench.until_told("r", "'text/plain': '3'")
    process.release()
    assert "23" == text(await bench.ended(kernel, "r"))


async def test_other_output_takes_a_result_along(bench: Bench, store: Store) -> None:
    await a_result_that_is_not_the_end(bench)
    bench.kernel.release()
    async with asyncio.timeout(HANG_LIMIT_S):
        while len(await outputs(bench, store, "r")) < 2:
            await asyncio.sleep(0)


async def test_who_asks_again_and_again_is_told_a_result_before_the_end(bench: Bench) -> None:
    kernel = await a_result_that_is_not_the_end(bench)
    async with asyncio.timeout(HANG_LIMIT_S):
        while "2" != text(await bench.call(kernel, run_id="r", mode="continue")):
            await asyncio.sleep(0)


async def test_who_follows_is_told_a_result_at_once(bench: Bench) -> None:
    await a_result_that_is_not_the_end(bench)
    await bench.until_told("r", "'text/plain': '2'")
