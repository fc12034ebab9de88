"""A cable between a client and its gateway that can be cut after any number of bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Cable:
    """Connections beyond those in `cuts` are left alone."""

    def __init__(self, port: int) -> None:
        self.cuts: list[int] = []  # of the next connections: bytes of answers until the cut
        self.connections = 0
        self.port = 0  # where clients are to connect
        self._to = port
        self._ends: set[asyncio.StreamWriter] = set()
        self._none_left = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        most = self.cuts.pop(0) if self.cuts else None
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._to)
        ends = {writer, inner_writer}
        self._ends |= ends
        self._none_left.clear()
        asking = asyncio.create_task(_carry(reader, inner_writer, None))
        await _carry(inner_reader, writer, most)
        for end in ends:
            end.transport.abort()
        await asking
        self._ends -= ends
        if not self._ends:
            self._none_left.set()

    async def cut(self) -> None:
        """All connections there are."""
        for end in self._ends:
            end.transport.abort()
        if self._ends:
            await self._none_left.wait()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None
) -> None:
    left = most
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            piece = data if left is None else data[:left]
            writer.write(piece)
            await writer.drain()
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    return


@asynccontextmanager
async def cable_to(port: int) -> AsyncIterator[Cable]:
    cable = Cable(port)
    server = await asyncio.start_server(cable.take, "127.0.0.1", 0)
    cable.port = server.sockets[0].getsockname()[1]
    try:
        yield cable
    finally:
        server.close()
        await cable.cut()
        await server.wait_closed()
