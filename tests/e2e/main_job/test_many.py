"""Many runs, many clients, many kernels: nobody is stuck or harmed, and nothing is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import Gate, calling, console

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Client, Kernel, Server

RUNS = 3000
EACH = 60
CYCLES = 20

#: Three answers full of text.
LINES = 15_000
LONG_LOG = f"for number in range({LINES}): print(number, 'x' * 90)"
LONG_TEXT = "".join(f"{number} {'x' * 90}\n" for number in range(LINES))


@pytest.mark.slow
async def test_3_000_sequential_runs_are_all_served(shared: Kernel) -> None:
    for number in range(RUNS):
        answer = await shared.execute(mode="query", code=f"print({number})", runId=f"run {number}")
        assert 200 == answer.status, answer.body
        assert ("finished", 0) == (answer.json["status"], answer.json["exitCode"])
        assert f"{number}\n" == console(answer.json)
    first, last = [await shared.client.run(f"run {n}", within=shared) for n in (0, RUNS - 1)]
    assert RUNS - 1 == last["execution_count"] - first["execution_count"]  # each ran once
    assert "0\n" == await shared.client.text(first["uid"])
    assert 1 == await shared.generation()


async def test_two_clients_on_one_kernel_each_get_their_own(server: Server, shared: Kernel) -> None:
    async def work(kernel: Kernel, name: str) -> list[str]:
        told = []
        for number in range(EACH):
            failing = "1 / 0" if name == "b" else "pass"
            talk = await kernel.run(f"print('{name}', {number}); {failing}")
            assert (1 if name == "b" else 0) == talk.exit_code
            told.append(talk.text())
        return told

    async with calling(server) as a, calling(server) as b:
        told_a, told_b = await asyncio.gather(
            work(a.seen_from_here(shared), "a"), work(b.seen_from_here(shared), "b")
        )
    assert [f"a {number}\n" for number in range(EACH)] == told_a
    assert [f"b {number}\n" for number in range(EACH)] == told_b


async def test_two_readers_with_cursors_each_get_everything(server: Server, shared: Kernel) -> None:
    await shared.begin(LONG_LOG, "read by two")

    async def read(client: Client) -> str:
        reader = client.seen_from_here(shared)
        text, cursor, status = "", "0", ""
        while status != "finished":
            body = {"mode": "continue", "runId": "read by two", "options": {"after": cursor}}
            answer = (await reader.execute(**body)).json
            text, cursor, status = text + console(answer), answer["cursor"], answer["status"]
        return text

    async with calling(server) as a, calling(server) as b:
        assert (LONG_TEXT, LONG_TEXT) == tuple(await asyncio.gather(read(a), read(b)))


async def test_two_readers_without_cursors_share_the_console_and_no_piece_is_lost(
    server: Server, shared: Kernel
) -> None:
    talk = await shared.begin(LONG_LOG, "shared")
    pieces = [(talk.last["cursor"], console(talk.last))]

    async def read(client: Client) -> None:
        reader, status = client.seen_from_here(shared), ""
        while status != "finished":
            answer = (await reader.execute(mode="continue", runId="shared")).json
            pieces.append((answer["cursor"], console(answer)))
            status = answer["status"]

    async with calling(server) as a, calling(server) as b:
        await asyncio.gather(read(a), read(b))
    in_order = sorted(pieces, key=lambda piece: [int(part) for part in str(piece[0]).split(":")])
    assert LONG_TEXT == "".join(text for _, text in in_order)


async def test_a_client_that_leaves_in_the_middle_of_a_call_ends_nobodys_run(
    server: Server, shared: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    async with calling(server) as leaving:
        talk = await leaving.seen_from_here(shared).begin(f"{gate.code}; print('whole')")
        held = asyncio.ensure_future(talk.go_on(wait=20))
        opening = await gate.held()
    assert held.cancel() or held.exception()
    await asyncio.wait({held})
    stays = await shared.begin("print('behind it')")
    gate.pass_(opening)
    await stays.to_the_end()
    assert "behind it\n" == stays.text()
    assert "whole\n" == await shared.client.text(talk.run_id)


async def test_twenty_kernels_that_came_and_went_leave_nothing(
    server: Server, client: Client
) -> None:
    """Every fourth is deleted while it starts."""
    there = await _kernels(client)
    for cycle in range(-2, CYCLES):  # the first two bring what is loaded once
        if cycle == 0:
            base = server.descriptors(), server.children()
        kernel = await client.start_kernel()
        if cycle % 4 != 3:
            assert 0 == (await kernel.run("print('here')")).exit_code
        children = server.children()
        assert 204 == (await kernel.delete()).status
        assert len(children) > len(server.children()) or cycle % 4 == 3
    assert base == (server.descriptors(), server.children())
    assert there == await _kernels(client)


async def _kernels(client: Client) -> list[str]:
    return [kernel["id"] for kernel in (await client.call("GET", "/api/kernels")).json]
