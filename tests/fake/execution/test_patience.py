"""Which records wait for the next one, to be stored with it, and what ends the waiting."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.execution.live import TEXT_PATIENCE_S
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Seq
from kernel_gateway.runs.state import RunState
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


async def texts(bench: Bench, store: Store, run_id: str) -> str:
    """That are stored, once a commit has been through that was asked for later."""
    await bench.run(await bench.a_kernel(), "print other")
    (live,) = [one for one in bench.service._live.values() if one.identity.run_id == run_id]
    stored = await store.last_records(live.identity.uid, limit=100)
    return "".join(one.body.text for one in stored if isinstance(one.body, records.LogText))


async def test_a_text_that_nobody_reads_is_stored_a_moment_later(
    bench: Bench, store: Store
) -> None:
    await bench.started(await bench.a_kernel(), "print early\nsleep", "r")
    (live,) = bench.service._live.values()
    await bench.until(lambda: live.log.pending >= 3)  # it runs, its step runs, and the text
    assert "" == await texts(bench, store, "r")
    bench.clock.advance(TEXT_PATIENCE_S)
    assert "early\n" == await texts(bench, store, "r")


async def test_who_waits_for_the_end_alone_is_told_of_it_and_hurries_nothing(
    bench: Bench, store: Store
) -> None:
    kernel = await bench.a_kernel()
    process = bench.kernel
    await bench.started(kernel, "print early\nsleep", "r")
    (live,) = bench.service._live.values()
    await bench.until(lambda: live.log.pending >= 3)
    waiting = asyncio.create_task(bench.service.run(ME, "r", wait_s=60.0))
    await bench.until(lambda: live.readers)
    assert "" == await texts(bench, store, "r")
    process.release()
    assert RunState.FINISHED == (await waiting).view.state
    assert 0 == live.readers


async def test_who_waits_too_shortly_for_the_end_is_told_how_it_stands(bench: Bench) -> None:
    await bench.started(await bench.a_kernel(), "sleep", "r")
    (live,) = bench.service._live.values()
    waiting = asyncio.create_task(bench.service.run(ME, "r", wait_s=60.0))
    await bench.until(lambda: live.readers)
    bench.clock.advance(60.0)
    assert RunState.RUNNING == (await waiting).view.state


@pytest.mark.parametrize("seed", range(3))
async def test_who_reads_by_pages_is_told_each_record_while_the_clock_stands_still(
    bench: Bench, seed: int
) -> None:
    """None waits for a patience to be over, for the next one, or for the end of a reader's wait."""
    chance = random.Random(seed)
    says = chance.choices(("print", "stderr", "result", "display text/plain"), k=12)
    code = "\n".join(f"{say} no. {number};\nsleep" for number, say in enumerate(says))
    await bench.started(await bench.a_kernel(), code, "r")
    told = ["", ""]

    async def turns() -> None:
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)

    async def read(reader: int) -> None:
        after, finished = Seq(0), False
        while not finished:
            limit = chance.choice([1, 1000])
            page = await bench.service.log(ME, "r", after=after, wait_s=60.0, limit=limit)
            told[reader] += repr(page.records)
            after, finished = page.next, page.finished
            await turns()

    def know(number: int) -> bool:
        return all(f"no. {number};" in one for one in told)

    async def go_on() -> None:
        for number in range(len(says)):
            await bench.until(partial(know, number))
            await turns()
            bench.kernel.release()

    async with asyncio.timeout(HANG_LIMIT_S):
        await asyncio.gather(read(0), read(1), go_on())
