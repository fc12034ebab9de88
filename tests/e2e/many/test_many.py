"""Twenty kernels and a hundred WebSockets on one gateway: what they take, and who goes first."""

from __future__ import annotations

import asyncio
import os
import re
import resource
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.process_limits import KERNEL_DESCRIPTORS
from tests.e2e.main_job.gateway import HANG_LIMIT_S, TOKEN, Kernel, Server, calling, serving
from tests.shared.limits import descriptors_left

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.main_job.gateway import Client

KERNELS, SOCKETS, BUSY = 20, 100, 6
SOFT = 1000  # of the shell that starts the gateway
OPENED = b"HTTP/1.1 101 Switching Protocols\r\n"
LIMIT = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Started with a soft limit of descriptors, as shells have one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, before[1]))
    try:
        server = serving(tmp_path_factory.mktemp("many") / "data")
        with server as found:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            yield found
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with calling(server) as client:
        yield client


class Sockets:
    """WebSockets that only are there."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, kernel: Kernel) -> bytes:
        """The answer's first line."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._writers.append(writer)
        lines = [
            f"GET /api/kernels/{kernel.id}/channels HTTP/1.1",
            f"Host: 127.0.0.1:{self._server.port}",
            f"Authorization: token {TOKEN}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(HANG_LIMIT_S):
            return await reader.readline()

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def sockets(server: Server) -> AsyncIterator[Sockets]:
    sockets = Sockets(server)
    yield sockets
    await sockets.close()


def threads(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/task"))


async def test_the_limit_is_raised_and_kernels_have_the_one_that_was_there(
    server: Server, client: Client
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert hard == (await client.call("GET", "/healthz")).json["descriptors"]["limit"]
    told = rf"Room for \d+ kernels.* of {hard} descriptors .* it began with {SOFT}\."
    assert server.logged(re.compile(told))
    kernel = await client.kernel()
    assert f"{SOFT}\n" == (await kernel.run(LIMIT)).text()
    assert 204 == (await kernel.delete()).status


async def test_many_idle_kernels_and_sockets_take_what_the_page_says(
    server: Server, client: Client, sockets: Sockets
) -> None:
    first = await client.kernel()
    before = len(server.descriptors()), threads(server), server.memory_mb()
    kernels = [first, *await asyncio.gather(*(client.kernel() for _ in range(KERNELS - 1)))]
    taken = len(server.descriptors()) - before[0]
    assert taken <= (KERNELS - 1) * KERNEL_DESCRIPTORS
    answers = {await sockets.open(kernels[number % KERNELS]) for number in range(SOCKETS)}
    assert {OPENED} == answers
    told = (await client.call("GET", "/healthz")).json
    assert KERNELS == told["kernels"]
    assert told["descriptors"]["used"] >= before[0] + taken + SOCKETS
    assert (await client.call("GET", f"/api/kernels/{first.id}")).json["connections"] == 5
    # The threads that read and write files are few however many kernels there are.
    assert threads(server) - before[1] < KERNELS
    # A megabyte each, which is thrice what it takes.
    assert server.memory_mb() - before[2] < KERNELS

    for kernel in kernels[:BUSY]:
        prints = kernel in kernels[: BUSY // 3]
        await kernel.begin(f"while True: {'print(0, flush=True)' if prints else 'pass'}")
    assert "4\n" == (await kernels[-1].run("print(2 + 2)")).text()
    assert 200 == (await client.call("GET", "/healthz")).status
    ends = await asyncio.gather(*(kernel.delete() for kernel in kernels))
    assert {204} == {end.status for end in ends}


async def test_without_descriptors_the_limit_is_named_and_what_is_there_goes_on(
    server: Server, client: Client, sockets: Sockets
) -> None:
    kernel = await client.kernel()
    with descriptors_left(KERNEL_DESCRIPTORS - 1, server.pid) as limit:
        refused = await client.call("POST", "/api/kernels", {})
        assert (429, True) == (refused.status, "Retry-After" in refused.headers)
        assert f"of {limit} descriptors (ulimit -n)" in str(refused.json)
        assert "4\n" == (await kernel.run("print(2 + 2)")).text()
        answers = [await sockets.open(kernel) for _ in range(2 * KERNEL_DESCRIPTORS)]
        assert OPENED == answers[0]
        assert b"HTTP/1.1 429 Too Many Requests\r\n" in answers
        assert 200 == (await client.call("GET", "/healthz")).status
    again = await client.kernel()
    assert "4\n" == (await again.run("print(2 + 2)")).text()
    for each in (kernel, again):
        assert 204 == (await each.delete()).status
