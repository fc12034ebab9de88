"""A server for each module, a client and a kernel for each test."""

from __future__ import annotations

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
    """A ready one. A test may have deleted it."""
    kernel = await client.kernel()
    yield kernel
    assert (await kernel.delete()).status in {204, 404}
