"""Two key pairs, and a caller for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fake.web.backendai.client import ACCESS_KEY, OTHERS_KEY, Caller, add_key

if TYPE_CHECKING:
    from tests.fake.web.gateway import Gateway


@pytest.fixture
async def caller(gateway: Gateway) -> Caller:
    await add_key(gateway, ACCESS_KEY)
    return Caller(gateway)


@pytest.fixture
async def other(gateway: Gateway) -> Caller:
    await add_key(gateway, OTHERS_KEY)
    return Caller(gateway, OTHERS_KEY)
