"""A client of server-sent events, over a socket that a test can close at any time."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fake.web.gateway import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.fake.web.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    kind: str
    data: Any


class EventStream:
    def __init__(self, reader: asyncio.StreamReader, head: str) -> None:
        self._reader = reader
        self.head = head
        self.status = int(head.split()[1])

    async def block(self) -> str | None:
        """What stands before the next empty line; None at the end."""
        lines: list[str] = []
        async with asyncio.timeout(20):
            while line := (await self._reader.readline()).decode():
                if line == "\n":
                    return "\n".join(lines)
                lines.append(line.removesuffix("\n"))
        assert lines == []
        return None

    async def next(self) -> Event | None:
        while (block := await self.block()) is not None:
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            if "data" in lines:
                return Event(int(lines["id"]), lines["event"], json.loads(lines["data"]))
        return None

    async def until(self, kind: str) -> list[Event]:
        """All up to the first one of this kind."""
        found: list[Event] = []
        while not found or found[-1].kind != kind:
            event = await self.next()
            assert event is not None, [one.kind for one in found]
            found.append(event)
        return found

    async def raw(self) -> bytes:
        """All the rest, as it is."""
        async with asyncio.timeout(20):
            return await self._reader.read()

    async def rest(self) -> list[Event]:
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


@asynccontextmanager
async def listening(
    gateway: Gateway,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    token: str | None = TOKEN,
    limit: int = 2**20,
) -> AsyncIterator[EventStream]:
    """HTTP/1.0: then a body ends with its connection, and there is nothing between its bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=limit)
    try:
        sent = {"Host": "localhost", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"token {token}"
        lines = [f"GET {path} HTTP/1.0", *(f"{name}: {text}" for name, text in sent.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        yield EventStream(reader, head)
    finally:
        writer.close()
