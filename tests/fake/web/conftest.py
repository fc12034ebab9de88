"""One gateway a test, over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fake.web.gateway import Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_blocking_call(no_blocking_call: None) -> None:
    """A handler that blocks stops everybody."""
