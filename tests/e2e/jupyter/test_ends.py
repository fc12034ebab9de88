"""Deaths, restarts and ends of a kernel, and what is too big: every client is told."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.jupyter.conftest import Connect
from tests.e2e.jupyter.sockets import BINARY, frame
from tests.e2e.jupyter.test_control import stands
from tests.e2e.main_job.gateway import calling, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.e2e.jupyter.cable import Cable
    from tests.e2e.jupyter.channels import Told
    from tests.e2e.main_job.gateway import Gate, Kernel, Server


def unasked_states(told: Told) -> list[str]:
    """Those that belong to no request, without repetitions."""
    states = [one.content["execution_state"] for one in told.of("status") if not one.parent]
    return [state for number, state in enumerate(states) if state not in states[:number]]


async def test_a_kernel_that_is_killed_is_told_to_every_client(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    process = await kernel.process()
    ada, alan = await connect(kernel, framing=framing), await connect(kernel, framing=framing)
    cell = await stands(ada)
    behind = await alan.execute("print('never')")
    process.signal(signal.SIGKILL)
    await process.end()
    told = await ada.over(cell)
    assert ("error", "KernelDied") == (told.reply["status"], told.reply["ename"])
    assert ["The kernel died (killed by SIGKILL)."] == [
        one.content["evalue"] for one in told.of("error")
    ]
    assert "error" == (await alan.over(behind)).reply["status"]
    for channels in (ada, alan):
        restarted = await channels.status("autorestarting")
        since = channels.heard.index(restarted)
        await channels.status("restarting", since=since)
        await channels.status("idle", since=since)
        assert "2\n" == (await channels.run("print(1 + 1)")).text()
    assert 2 == await kernel.generation()


async def test_a_death_while_its_client_was_away_is_told_when_it_comes_back(
    kernel: Kernel, connect: Connect, cable: Cable
) -> None:
    process = await kernel.process()
    first = await connect(kernel, through=cable)
    cell = await stands(first)
    await cable.cut()
    process.signal(signal.SIGKILL)
    await process.end()
    second = await connect(kernel, session=first.session)
    assert "KernelDied" == (await second.over(cell)).reply["ename"]
    await second.status("autorestarting")


async def test_a_restart_by_rest_is_told_to_every_client(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    ada, alan = await connect(kernel, framing=framing), await connect(kernel, framing=framing)
    cell = await stands(ada)
    assert 200 == (await kernel.restart()).status
    assert "aborted" == (await ada.over(cell)).reply["status"]
    for channels in (ada, alan):
        restarting = await channels.status("restarting")
        await channels.status("idle", since=channels.heard.index(restarting))
        assert "2\n" == (await channels.run("print(1 + 1)")).text()


async def test_what_is_sent_while_the_kernel_restarts_goes_to_the_next_one(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(kernel, framing=framing)
    await channels.run("kept = 1")
    assert 200 == (await kernel.restart()).status
    assert "False\n" == (await channels.run("print('kept' in globals())")).text()


async def test_the_deletion_of_a_kernel_closes_its_connections(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    ada, alan = await connect(kernel, framing=framing), await connect(kernel, framing=framing)
    cell = await stands(ada)
    assert 204 == (await kernel.delete()).status
    for channels in (ada, alan):
        closed = await channels.rest()
        assert (1000, "the kernel was deleted") == (closed.code, closed.reason)
    assert "aborted" == ada.of(cell).reply["status"]
    assert "dead" == unasked_states(alan.heard)[-1]


async def test_cells_of_a_kernel_that_never_comes_up_are_answered(
    tmp_path: Path, framing: str
) -> None:
    spec = tmp_path / "specs" / "broken"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        '{"argv": ["/bin/false"], "display_name": "Broken", "language": "none"}'
    )
    with serving(tmp_path / "data", f"--Kernels.spec_folders={spec.parent}") as server:
        connect = Connect(server.url)
        async with calling(server) as client:
            kernel = await client.start_kernel(name="broken")
            channels = await connect(kernel, framing=framing)
            cell = await channels.execute("print('never')")
            assert "error" == (await channels.over(cell)).reply["status"]
            await channels.status("dead")
        await connect.close()


# -- what is too big ------------------------------------------------------------------------------

MOST = 2**20  # bytes of a message
CELLS = 20  # that may wait


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that does not take much."""
    options = (f"--Channels.max_message_bytes={MOST}", f"--Channels.max_cells={CELLS}")
    with serving(tmp_path_factory.mktemp("strict") / "data", *options) as server:
        yield server


@pytest.fixture
async def strict_kernel(strict: Server) -> AsyncIterator[Kernel]:
    async with calling(strict) as client:
        kernel = await client.kernel()
        yield kernel
        await kernel.delete()


@pytest.fixture
async def strictly(strict: Server) -> AsyncIterator[Connect]:
    connect = Connect(strict.url)
    yield connect
    await connect.close()


@pytest.mark.parametrize("told", ["whole frames", "a head alone"])
async def test_a_message_that_is_too_big_is_told_by_code_and_reason(
    strict_kernel: Kernel, strictly: Connect, framing: str, told: str
) -> None:
    """Its client can read that though it is still sending."""
    channels, other = await strictly(strict_kernel, framing=framing), await strictly(strict_kernel)
    await channels.run("#" * (MOST // 2))
    if told == "whole frames":
        for _ in range(8):
            channels.socket.write(frame(BINARY, bytes(2 * MOST)))
    else:
        channels.socket.write(frame(BINARY, bytes(4 * MOST))[:1000])
    closed = await channels.rest()
    assert (1009, "message too big") == (closed.code, closed.reason)
    assert "2\n" == (await other.run("print(1 + 1)")).text()


async def test_the_sum_of_pieces_counts(
    strict_kernel: Kernel, strictly: Connect, framing: str
) -> None:
    channels = await strictly(strict_kernel, framing=framing)
    await channels.execute("#" * 2 * MOST, pieces=20)
    assert 1009 == (await channels.rest()).code


async def test_a_client_that_sends_cells_without_end_is_sent_away(
    strict_kernel: Kernel, strictly: Connect, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    channels, other = await strictly(strict_kernel), await strictly(strict_kernel)
    await channels.execute(held.code)
    opening = await held.held()
    cells = [await channels.execute(f"print({number})") for number in range(CELLS)]
    assert 1013 == (await channels.rest()).code
    held.pass_(opening)
    await other.idle(cells[-2])  # the last that was taken: with the first they are as many
    assert "2\n" == (await other.run("print(1 + 1)")).text()


async def test_all_kernels_end_with_their_gateway(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        connect = Connect(server.url)
        async with calling(server) as caller:
            kernel = await caller.kernel()
            process = await kernel.process()
            channels = await connect(kernel)
            await channels.status("idle")
            server.process.terminate()
            await channels.rest()
            await process.end()
        await connect.close()
