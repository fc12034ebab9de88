"""Both clients, called in one way, so that one test module holds them to the same."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from kernel_gateway.client import AsyncClient, Client, Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

#: The tests cut connections often, and wait for nothing.
PATIENCE = Patience(tries=8, first_s=0.0, most_asked_s=0.0)


class Caller:
    """`await caller.call("run", ...)` and `await caller.all("records", ...)`."""

    def __init__(self, client: AsyncClient | Client) -> None:
        self.client = client

    async def call(self, method: str, *args: Any, **more: Any) -> Any:
        work: Callable[..., Any] = getattr(self.client, method)
        if isinstance(self.client, Client):  # it blocks: not on the loop of the gateway
            return await asyncio.to_thread(work, *args, **more)
        return await work(*args, **more)

    async def all(self, method: str, *args: Any, **more: Any) -> list[Any]:
        work: Callable[..., Any] = getattr(self.client, method)
        if isinstance(self.client, Client):
            return await asyncio.to_thread(lambda: list(work(*args, **more)))
        return [item async for item in work(*args, **more)]


@asynccontextmanager
async def caller(
    kind: str, url: str | None, token: str | None, **more: Any
) -> AsyncIterator[Caller]:
    patience = more.pop("patience", PATIENCE)
    if kind == "asynchronous":
        async with AsyncClient(url, token, patience=patience, **more) as client:
            yield Caller(client)
    else:
        with Client(url, token, patience=patience, **more) as blocking:
            yield Caller(blocking)
