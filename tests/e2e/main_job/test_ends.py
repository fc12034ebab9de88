"""How runs end that do not end well: with a true reason, soon, and the next run works."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import Counter, Gate
from tests.shared.processes import stop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel, Talk

SOON_S = 2.0
ROUNDS = 102
KILL_AFTER_S = 5.0  # between SIGTERM and SIGKILL

STUBBORN = """
import signal
{more}
gate = open({fifo!r}, 'w')
while True:
    try:
        gate.close()
        while True: pass
    except KeyboardInterrupt: pass
"""

KERNEL = "import time; kernel = get_ipython().kernel"
#: The thread that takes replies to the wire has something else to do.
LATE_REPLY = "kernel.shell_channel_thread.io_loop.add_callback(time.sleep, 0.5)"
#: So has the one that executes, when it has replied.
LATE_IDLE = "kernel.post_handler_hook = lambda: time.sleep(1.5)"


@pytest.mark.parametrize("late", [LATE_REPLY, LATE_IDLE])
async def test_a_mark_that_is_late_is_waited_for(kernel: Kernel, late: str) -> None:
    """The control channel, which answers at once, knows nothing of it."""
    talk = await kernel.run(f"{KERNEL}\n{late}\n7 + 5")
    assert (0, "12") == (talk.exit_code, talk.text())
    run = await kernel.client.run(talk.run_id)
    assert run["execution_count"], "only the reply tells it"


async def test_code_that_ends_its_process_is_lost_with_the_exit_code(
    kernel: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    talk = await kernel.begin(f"print('last words')\n{gate.code}\nimport os; os._exit(3)")
    while not talk.text():
        await talk.go_on(wait=0.1)
    await gate.open()
    async with asyncio.timeout(SOON_S):
        await talk.to_the_end()
    run = await _lost(talk)
    assert ("kernel_died", 3) == (run["reason"]["code"], run["reason"]["exit_code"])
    assert (3, "last words\n") == (talk.exit_code, talk.text())
    assert "exit code 3" in talk.text("stderr")
    await _next_run_works(kernel, generation=2)


async def test_a_killed_kernel_is_told_with_the_signal(kernel: Kernel, tmp_path: Path) -> None:
    process, gate = await kernel.process(), Gate(tmp_path)
    talk = await kernel.begin(f"print('at the gate'); {gate.code}")
    opening = await gate.held()
    process.signal(signal.SIGKILL)
    async with asyncio.timeout(SOON_S):
        await talk.to_the_end()
    gate.pass_(opening)
    run = await _lost(talk)
    assert ("kernel_died", "SIGKILL") == (run["reason"]["code"], run["reason"]["signal"])
    assert 128 + signal.SIGKILL == talk.exit_code
    await process.end()
    await _next_run_works(kernel, generation=2)


async def test_a_kernel_that_dies_idle_is_replaced_and_no_run_is_lost(kernel: Kernel) -> None:
    process = await kernel.process()
    process.signal(signal.SIGKILL)
    await process.end()
    talk = await kernel.run("print('alive')")
    assert (0, "alive\n") == (talk.exit_code, talk.text())


async def test_runs_behind_a_death_run_on_the_next_kernel(kernel: Kernel, tmp_path: Path) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    dying = await kernel.begin(f"{counter.code('1')}; {gate.code}; import os; os._exit(9)")
    waiting = [await kernel.begin(counter.code(mark)) for mark in ("2", "3")]
    await gate.open()
    await _lost(await dying.to_the_end())
    for talk in waiting:
        assert 0 == (await talk.to_the_end()).exit_code
        assert 2 == (await talk.standing())["kernel"]["generation"]
    assert ["1", "2", "3"] == counter.marks


async def test_sys_exit_ends_the_run_with_its_code_and_not_the_kernel(kernel: Kernel) -> None:
    process = await kernel.process()
    async with asyncio.timeout(SOON_S):
        talk = await kernel.begin("import sys; sys.exit(2)", wait=5)
    run = await talk.standing()
    assert ("error", "exit_code", 2) == (run["outcome"], run["reason"]["code"], run["exit_code"])
    assert 2 == talk.exit_code
    assert process.pid == int(await kernel.value("__import__('os').getpid()"))
    await _next_run_works(kernel, generation=1)
    process.close()


async def test_a_cancelled_loop_ends_by_an_interrupt_and_keeps_the_kernel(
    kernel: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    await kernel.run("kept = 'kept'")
    talk = await kernel.begin(f"{gate.code}\nwhile True: pass")
    await gate.open()
    cancelled = await kernel.client.cancel(talk.run_id)
    assert (202, "cancelling") == (cancelled.status, cancelled.json["state"])
    async with asyncio.timeout(SOON_S):
        await talk.to_the_end()
    assert ("cancelled", "interrupt") == await _how(talk)
    assert 130 == talk.exit_code
    assert "KeyboardInterrupt" in talk.text("stderr")
    assert "kept" == await kernel.value("kept")
    assert 1 == await kernel.generation()


@pytest.mark.parametrize(
    ("more", "worked", "after_s"),
    [
        ("", "terminate", 0.3),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "kill", 0.3 + KILL_AFTER_S),
    ],
    ids=["terminate", "kill"],
)
async def test_code_that_ignores_interrupts_is_ended_by_what_works_in_the_end(
    kernel: Kernel, tmp_path: Path, more: str, worked: str, after_s: float
) -> None:
    fifo = tmp_path / "begun"
    os.mkfifo(fifo)
    talk = await kernel.begin(STUBBORN.format(more=more, fifo=str(fifo)))
    await asyncio.to_thread(fifo.read_bytes)
    now = asyncio.get_running_loop().time
    at = now()
    await kernel.client.cancel(talk.run_id, grace=0.3)
    await talk.to_the_end()
    assert after_s <= now() - at < after_s + SOON_S
    assert ("cancelled", worked) == await _how(talk)
    assert 130 == talk.exit_code
    await _next_run_works(kernel, generation=2)


async def test_a_cancelled_run_that_waits_never_touches_the_kernel(
    kernel: Kernel, tmp_path: Path
) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    first = await kernel.begin(f"{gate.code}; {counter.code('first')}; print('whole')")
    opening = await gate.held()
    waiting = await kernel.begin(counter.code("cancelled"))
    cancelled = await kernel.client.cancel(waiting.run_id)
    assert (200, "finished") == (cancelled.status, cancelled.json["state"])
    gate.pass_(opening)
    assert (0, "whole\n") == ((await first.to_the_end()).exit_code, first.text())
    await _next_run_works(kernel, generation=1)
    assert ["first"] == counter.marks


@pytest.mark.parametrize("by_restart", [True, False], ids=["restart", "death"])
async def test_a_request_in_flight_at_a_restart_never_runs_afterwards(
    kernel: Kernel, tmp_path: Path, by_restart: bool
) -> None:
    """The kernel is stopped, so the request lies unread in its sockets."""
    counter, process = Counter(tmp_path), await kernel.process()
    stop(process.pid)
    talk = await kernel.begin(counter.code())
    assert "running" == (await talk.standing())["state"]
    if by_restart:
        assert 200 == (await kernel.restart()).status
    else:
        process.signal(signal.SIGKILL)
    await talk.to_the_end()
    run = await _lost(talk)
    assert ("kernel_restarted" if by_restart else "kernel_died") == run["reason"]["code"]
    await process.end()
    await _next_run_works(kernel, generation=2)
    assert [] == counter.marks


async def test_an_interrupt_at_the_moment_of_busy_never_costs_a_healthy_kernel(
    kernel: Kernel,
) -> None:
    """Each run would sleep for a minute, so an interrupt that is lost for good is seen."""
    assert 0 == (await kernel.run("import time; kept = 'kept'")).exit_code
    for number in range(ROUNDS):
        run_id = f"round {number}"
        if number % 3 == 2:  # remembered until the kernel is busy, or the run has never begun
            beginning = asyncio.create_task(kernel.begin("time.sleep(60)", run_id))
            while (await kernel.client.cancel(run_id, within=kernel)).status == 404:
                pass  # it is not there yet
            talk = await beginning
        else:
            talk = await kernel.begin("time.sleep(60)", run_id)
            answers = await asyncio.gather(*(kernel.interrupt() for _ in range(1 + number % 3)))
            assert {204} == {answer.status for answer in answers}
        async with asyncio.timeout(SOON_S + 5):
            await talk.to_the_end()
        run = await talk.standing()
        ended = run["outcome"], run["reason"].get("worked")
        assert ended == ("cancelled", "interrupt") or _never_began(run), (number, run)
    assert "kept" == await kernel.value("kept")
    assert 1 == await kernel.generation()


def _never_began(run: Any) -> bool:
    return run["outcome"] == "cancelled" and run["started_at"] is None


async def _lost(talk: Talk) -> Any:
    run = await talk.standing()
    assert ("finished", "lost", "died") == (
        run["state"],
        run["outcome"],
        run["steps"][0]["state"],
    )
    return run


async def _how(talk: Talk) -> tuple[str, str]:
    run = await talk.standing()
    return run["outcome"], run["reason"].get("worked")


async def _next_run_works(kernel: Kernel, *, generation: int) -> None:
    talk = await kernel.run("print('next')")
    assert (0, "next\n") == (talk.exit_code, talk.text())
    assert generation == await kernel.generation()
