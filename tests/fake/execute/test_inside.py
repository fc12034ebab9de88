"""`execute/inside.py`: Ctrl-C in one thread, the run in another."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.execute.inside import Stopping, in_thread
from kernel_gateway.notebook.runner import Stop

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.notebook.engine import LocalEngine


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


def test_ctrl_c_while_the_one_before_is_passed_on_is_passed_on_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is interrupted finds the run over, and not on its way to be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    passed_on: list[None] = []
    let_go, over = threading.Event(), threading.Event()
    main = threading.get_ident()

    async def work(engine: LocalEngine) -> None:
        # As a terminal's reaches it. One for the whole process may go to the thread that sent it.
        signal.pthread_kill(main, signal.SIGINT)
        await asyncio.to_thread(let_go.wait)
        over.set()

    def interrupt() -> None:
        passed_on.append(None)
        if len(passed_on) == 1:
            raise KeyboardInterrupt
        let_go.set()

    with pytest.raises(KeyboardInterrupt):
        in_thread(work, interrupt)
    assert (2, True) == (len(passed_on), over.is_set())
