"""Kernels that are deleted, restarted and interrupted at any time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import Counter, Gate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Client, Kernel, Server


async def test_who_waits_for_a_run_of_a_deleted_kernel_is_told_the_end(
    kernel: Kernel, client: Client, tmp_path: Path
) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    running = await kernel.begin(f"print('before'); {gate.code}; print('after')")
    queued = await kernel.begin(counter.code())
    opening = await gate.held()
    held = [asyncio.create_task(talk.go_on(wait=20)) for talk in (running, running, queued)]
    while (await running.standing())["log"]["bytes"] == 0:
        await client.call("GET", f"/api/runs/{running.run_id}/log?wait=5")
    assert 204 == (await kernel.delete()).status
    async with asyncio.timeout(2.0):
        answers = await asyncio.gather(*held)
    gate.pass_(opening)
    await running.to_the_end()
    assert ("finished", 130) == (answers[2]["status"], answers[2]["exitCode"])
    assert ("finished", 130) == (running.last["status"], running.exit_code)
    assert "before\n" == running.text()
    for talk in (running, queued):
        run = await talk.standing()
        assert ("finished", "cancelled", 130) == (run["state"], run["outcome"], run["exit_code"])
        assert "cancelled" == run["reason"]["code"]
        assert "deleted" in run["reason"]["message"]
    assert [] == counter.marks


async def test_a_kernel_can_be_deleted_once(kernel: Kernel) -> None:
    process = await kernel.process()
    assert 204 == (await kernel.delete()).status
    assert process.ended_within(0)
    again = await kernel.delete()
    assert (404, "kernel_not_found") == (again.status, again.error["code"])
    assert 404 == (await kernel.call("GET")).status
    refused = await kernel.execute(mode="query", code="1")
    assert (404, "kernel_not_found") == (refused.status, refused.error["code"])


async def test_two_deletions_at_once_are_one(kernel: Kernel) -> None:
    answers = await asyncio.gather(kernel.delete(), kernel.delete())
    assert [204, 404] == sorted(answer.status for answer in answers)


async def test_a_kernel_can_be_deleted_while_it_starts_and_its_run_ends(
    client: Client, server: Server, tmp_path: Path
) -> None:
    before, counter = server.children(), Counter(tmp_path)
    kernel = await client.start_kernel()
    talk = await kernel.begin(counter.code())
    assert "starting" == (await kernel.call("GET")).json["execution_state"]
    assert 204 == (await kernel.delete()).status
    await talk.to_the_end()
    assert 130 == talk.exit_code
    assert [] == counter.marks
    assert before == server.children()


async def test_five_restarts_at_once_are_one(kernel: Kernel, server: Server) -> None:
    process = await kernel.process()
    await kernel.run("kept = 'of the old one'")
    children = server.children()
    answers = await asyncio.gather(*(kernel.restart() for _ in range(5)))
    assert [200] * 5 == [answer.status for answer in answers]
    talk = await kernel.run("print('kept' in globals())")
    assert "False\n" == talk.text()
    assert process.ended_within(0)
    assert 2 == await kernel.generation()
    assert len(children) == len(server.children())


async def test_a_restart_in_mid_run_loses_it_with_its_reason_and_keeps_those_behind(
    kernel: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    talk = await kernel.begin(f"print('before'); {gate.code}")
    behind = await kernel.begin("print('behind')")
    opening = await gate.held()
    assert "restarting" == (await kernel.restart()).json["execution_state"]
    await talk.to_the_end()
    gate.pass_(opening)
    run = await talk.standing()
    assert ("lost", "kernel_restarted") == (run["outcome"], run["reason"]["code"])
    assert "before\n" == talk.text()
    assert "behind\n" == (await behind.to_the_end()).text()
    assert 2 == (await behind.standing())["kernel"]["generation"]


async def test_an_interrupt_of_an_idle_kernel_is_harmless(kernel: Kernel) -> None:
    await kernel.run("kept = 'kept'")
    answers = await asyncio.gather(*(kernel.interrupt() for _ in range(10)))
    assert [204] * 10 == [answer.status for answer in answers]
    assert "kept" == await kernel.value("kept")
    assert 1 == await kernel.generation()


async def test_an_interrupt_of_a_starting_kernel_is_harmless(client: Client) -> None:
    kernel = await client.start_kernel()
    assert 204 == (await kernel.interrupt()).status
    assert "up" == await kernel.value("'up'")
    assert 1 == await kernel.generation()
    assert 204 == (await kernel.delete()).status


async def test_an_interrupt_ends_a_prompt(kernel: Kernel) -> None:
    talk = await kernel.begin("input('name? ')", wait=2.0)
    assert "waiting-input" == talk.last["status"]
    assert 204 == (await kernel.interrupt()).status
    while talk.last["status"] != "finished":
        await talk.go_on()
    assert "KeyboardInterrupt" in talk.text("stderr")
    assert 1 == await kernel.generation()
