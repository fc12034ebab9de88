"""The end of the server, polite or not, and what the next one finds."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import (
    HANG_LIMIT_S,
    Gate,
    Server,
    Watched,
    calling,
    serving,
    start,
)

if TYPE_CHECKING:
    from pathlib import Path

_SHUTTING_DOWN = re.compile("SIGTERM: shutting down")


async def test_a_server_told_to_end_lets_a_run_finish_and_takes_nothing_new(tmp_path: Path) -> None:
    gate, data = Gate(tmp_path), tmp_path / "data"
    with serving(data) as server:
        async with calling(server) as client:
            kernel = await client.kernel()
            process = await kernel.process()
            talk = await kernel.begin(f"print('before'); {gate.code}; print('after')", "drained")
            opening = await gate.held()
            held = asyncio.create_task(talk.go_on(wait=20))
            server.process.terminate()
            await asyncio.to_thread(server.logged, _SHUTTING_DOWN)
            refused = await kernel.execute(mode="query", code="1")
            assert (503, "draining") == (refused.status, refused.error["code"])
            assert "Retry-After" in refused.headers
            gate.pass_(opening)
            assert ("finished", 0) == ((await held)["status"], talk.exit_code)
            assert "before\nafter\n" == talk.text()
        assert 0 == await asyncio.to_thread(server.ended)
        assert process.ended_within(0)
    with serving(data) as server:
        async with calling(server) as client:
            run = await client.run("drained")
            assert ("finished", "ok", 0) == (run["state"], run["outcome"], run["exit_code"])
            assert "before\nafter\n" == await client.text("drained")


async def test_a_run_that_does_not_end_is_ended_when_the_drain_is_over(tmp_path: Path) -> None:
    gate, data = Gate(tmp_path), tmp_path / "data"
    with serving(data, "--drain=0.2") as server:
        async with calling(server) as client:
            kernel = await client.kernel()
            process = await kernel.process()
            talk = await kernel.begin(f"print('before'); {gate.code}\nwhile True: pass", "endless")
            queued = await kernel.begin("print('never')", "queued")
            await gate.open()
            held = asyncio.gather(talk.go_on(wait=20), queued.go_on(wait=20))
            server.process.terminate()
            answers = await held
            assert [("finished", 130)] * 2 == [(a["status"], a["exitCode"]) for a in answers]
        assert 0 == await asyncio.to_thread(server.ended)
        assert process.ended_within(0)
    with serving(data) as server:
        async with calling(server) as client:
            for run_id, text in (("endless", "before\n"), ("queued", "")):
                run = await client.run(run_id)
                assert ("finished", "cancelled", 130) == (
                    run["state"],
                    run["outcome"],
                    run["exit_code"],
                )
                assert text == await client.text(run_id)


async def test_runs_that_a_killed_server_cut_off_are_lost_with_their_log(tmp_path: Path) -> None:
    """What a reader was told is stored, so it is there again; the kernel goes by itself."""
    gate, data = Gate(tmp_path), tmp_path / "data"
    server = Server(data)
    try:
        async with calling(server) as client:
            kernel = await client.kernel()
            process = await kernel.process()
            whole = await kernel.run("for number in range(5_000): print(number)", "whole")
            talk = await kernel.begin(
                f"for number in range(5_000): print('told', number)\n{gate.code}", "cut off"
            )
            opening = await gate.held()
            told = "".join(f"told {number}\n" for number in range(5_000))
            while talk.text() != told:
                await talk.go_on(wait=0.5)
            await kernel.begin("print('never')", "queued")
    finally:
        await asyncio.to_thread(server.kill)
    with serving(data) as again:
        async with calling(again) as client:
            for run_id, text in (("cut off", told), ("queued", "")):
                run = await client.run(run_id)
                assert ("finished", "lost", "gateway_lost") == (
                    run["state"],
                    run["outcome"],
                    run["reason"]["code"],
                )
                assert text == await client.text(run_id)
                assert ["completed"] == [
                    record["kind"]
                    for record in await client.records(run_id)
                    if record["kind"] == "completed"
                ]
            assert "ok" == (await client.run("whole"))["outcome"]
            assert whole.text() == await client.text("whole")
            assert 404 == (await client.seen_from_here(kernel).call("GET")).status
            final = await client.seen_from_here(kernel).execute(mode="continue", runId="cut off")
            assert "finished" == final.json["status"]
            works = await (await client.kernel()).run("print('works')")
            assert (0, "works\n") == (works.exit_code, works.text())
    gate.pass_(opening)
    await process.end()


async def test_a_second_server_on_the_same_data_is_refused_and_harms_nobody(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        async with calling(server) as client:
            kernel = await client.kernel()
            second = start(data)
            _, log = await asyncio.to_thread(second.communicate, timeout=HANG_LIMIT_S)
            assert 1 == second.returncode
            assert 1 == log.count("\n"), log
            assert 0 == (await kernel.run("print('fine')")).exit_code


async def test_a_kernel_dies_with_its_server_even_if_it_is_killed_in_mid_start(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path / "data")
    try:
        async with calling(server) as client:
            no_kernels = server.children()
            await client.start_kernel()
            while not (children := server.children() - no_kernels):
                await client.call("GET", "/healthz")
            processes = [Watched(pid) for pid in children]
    finally:
        await asyncio.to_thread(server.kill)
    assert os.getpid() not in children
    for process in processes:
        await process.end()
