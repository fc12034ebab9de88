"""One gateway for all tests of this folder, clients of its REST API and of its channels.

The gateway must have made no mistake in all of them. What a test starts or opens ends with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.jupyter.cable import Cable
from tests.e2e.jupyter.channels import FRAMINGS, Channels
from tests.e2e.main_job.gateway import (
    TOKEN,
    Client,
    Gate,
    Kernel,
    Server,
    calling,
    serving,
    started_kernel,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.e2e.jupyter.sockets import WebSocket


LENGTH_KERNEL = Path(__file__).with_name("length_kernel.py")


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    spec = folder / "specs" / "length"
    spec.mkdir(parents=True)
    argv = [sys.executable, str(LENGTH_KERNEL), "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Length", "language": "none"})
    )
    with serving(folder / "data", f"--Kernels.spec_folders={spec.parent}") as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with calling(server) as client:
        yield client


@pytest.fixture
async def kernel(client: Client) -> AsyncIterator[Kernel]:
    """A test's own, ready. It may have been deleted."""
    kernel = await client.kernel()
    yield kernel
    assert (await kernel.delete()).status in {204, 404}


@pytest.fixture(scope="package")
def shared_id(server: Server) -> str:
    """Of a kernel for all tests that leave it as they have found it."""
    return started_kernel(server)


@pytest.fixture
def shared(client: Client, shared_id: str) -> Kernel:
    return Kernel(client, shared_id)


@pytest.fixture(params=FRAMINGS)
def framing(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Connect:
    """Opens channels; closes them at the end of the test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sockets: list[WebSocket] = []

    async def __call__(
        self, kernel: Kernel, *, token: str | None = TOKEN, through: Cable | None = None, **how: Any
    ) -> Channels:
        url = through.url if through is not None else self._url
        channels = await Channels.open(url, kernel.id, token=token, **how)
        self._sockets.append(channels.socket)
        return channels

    async def close(self) -> None:
        for socket in self._sockets:
            await socket.close()


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    connect = Connect(server.url)
    yield connect
    await connect.close()


@pytest.fixture
async def cable(server: Server) -> AsyncIterator[Cable]:
    cable = await Cable.laid(server.port)
    yield cable
    await cable.take_up()


@pytest.fixture
def gate(tmp_path: Path) -> Callable[[str], Gate]:
    """A new one of this name."""
    return lambda name: Gate(tmp_path, name)
