"""`execute/inside.py`: Ctrl-C in one thread, the run in another."""

from __future__ import annotations

import asyncio

from kernel_gateway.execute.inside import Stopping
from kernel_gateway.notebook.runner import Stop


async def asked(stopping: Stopping, *, more: int) -> list[Stop]:
    """What a run is asked that begins now, when Ctrl-C comes so often meanwhile."""
    told: list[Stop] = []
    stopping.obey(told.append)
    for _ in range(more):
        stopping.interrupt()
    await asyncio.sleep(0)
    return told


async def test_the_first_ctrl_c_interrupts_and_the_others_do_not_wait() -> None:
    assert [Stop.INTERRUPT, Stop.FORCE, Stop.FORCE] == await asked(Stopping(), more=3)


async def test_what_came_before_the_run_is_asked_of_it_as_soon_as_there_is_one() -> None:
    stopping = Stopping()
    stopping.interrupt()
    assert [Stop.INTERRUPT, Stop.FORCE] == await asked(stopping, more=1)


def test_what_comes_behind_the_end_is_too_late() -> None:
    stopping = Stopping()
    assert [] == asyncio.run(asked(stopping, more=0))
    stopping.interrupt()
