"""Both clients against one gateway a test, over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fake.client.cable import Cable, cable_to
from tests.fake.client.callers import Caller, caller
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path) as running:
        yield running


@pytest.fixture(params=["asynchronous", "blocking"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(kind: str, gateway: Gateway) -> AsyncIterator[Caller]:
    async with caller(kind, gateway.url, TOKEN) as one:
        yield one


@pytest.fixture
async def cable(gateway: Gateway) -> AsyncIterator[Cable]:
    async with cable_to(gateway.port) as one:
        yield one


@pytest.fixture
async def cut_client(kind: str, cable: Cable) -> AsyncIterator[Caller]:
    """Its connections go over the cable."""
    async with caller(kind, cable.url, TOKEN) as one:
        yield one


@pytest.fixture(autouse=True)
def _no_blocking_call(no_blocking_call: None) -> None:
    """A client on a loop stops nobody there."""
