"""Much output: all of it arrives, whoever reads how slowly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.jupyter.channels import FRAMINGS, lines
from tests.e2e.jupyter.test_reconnect import prints

if TYPE_CHECKING:
    from tests.e2e.jupyter.channels import Told
    from tests.e2e.jupyter.conftest import Connect
    from tests.e2e.main_job.gateway import Kernel

COUNT = 20_000
NOTICE = "[kernel-gateway: "


async def test_every_print_reaches_fast_readers_in_order(shared: Kernel, connect: Connect) -> None:
    readers = [await connect(shared, framing=framing) for framing in FRAMINGS]
    cell = await readers[0].execute(prints(0, COUNT))
    await asyncio.gather(*(reader.idle(cell) for reader in readers))
    for reader in readers:
        assert lines(range(COUNT)) == reader.of(cell).text()


async def test_a_reader_that_stalls_finds_all_of_it_and_holds_up_nobody(
    kernel: Kernel, shared: Kernel, connect: Connect
) -> None:
    stalled = await connect(kernel, framing="legacy")
    reading = await connect(kernel)
    elsewhere = await connect(shared)
    cell = await stalled.execute(prints(0, COUNT))
    await reading.idle(cell)
    assert lines(range(COUNT)) == reading.of(cell).text()
    assert "2\n" == (await elsewhere.run("print(1 + 1)")).text()
    assert lines(range(COUNT)) == (await stalled.over(cell)).text()


async def test_ten_thousand_displays_arrive(shared: Kernel, connect: Connect) -> None:
    channels = await connect(shared)
    cell = await channels.run("for i in range(10_000): display({'text/plain': str(i)}, raw=True)")
    shown = [one.content["data"]["text/plain"] for one in cell.of("display_data")]
    assert [str(number) for number in range(10_000)] == shown


async def test_what_does_not_fit_is_counted(kernel: Kernel, connect: Connect) -> None:
    """More displays than are kept for a client that does not read them; texts would be joined."""
    size, count = 2**20, 60
    stalled = await connect(kernel)
    reading = await connect(kernel)  # it may fall behind as well, where the machine is busy
    cell = await stalled.execute(
        f"for i in range({count}): display({{'text/plain': f'{{i:04}}' + 'x' * {size}}}, raw=True)"
    )
    await reading.idle(cell)
    arrived, missing = accounted(reading.of(cell))
    assert count == arrived + missing
    told = await stalled.over(cell)
    arrived, missing = accounted(told)
    assert count == arrived + missing
    assert missing
    assert "ok" == told.reply["status"]


def accounted(told: Told) -> tuple[int, int]:
    """How many displays have arrived, in their order, and how many the notices say are missing."""
    arrived = [one.content["data"]["text/plain"][:4] for one in told.of("display_data")]
    assert sorted(arrived) == arrived
    notices = [
        int(one.content["text"].removeprefix(NOTICE).split()[0])
        for one in told.of("stream")
        if one.content["text"].startswith(NOTICE)
    ]
    return len(arrived), sum(notices)
