"""A server for each module, a client for each test, and a kernel that it has alone or shares."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import Client, Kernel, Server, calling, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It must have made no mistake in all tests of the module, and leave nothing."""
    with serving(tmp_path_factory.mktemp("server") / "data") as server:
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


@pytest.fixture(scope="module")
def shared_id(server: Server) -> str:
    """Of a ready kernel for all tests of a module that leave it as they have found it."""

    async def start() -> str:
        async with calling(server) as client:
            return (await client.kernel()).id

    return asyncio.run(start())


@pytest.fixture
def shared(client: Client, shared_id: str) -> Kernel:
    return Kernel(client, shared_id)
