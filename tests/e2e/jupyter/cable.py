"""The line between a client and the gateway, to be cut while something is on its way."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST
_CHUNK = 2**16


class Cable:
    """Carries bytes to a port of this machine. Made by `laid`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._ends: list[asyncio.StreamWriter] = []
        self._carriers: set[asyncio.Task[None]] = set()

    @classmethod
    async def laid(cls, target: int) -> Cable:
        cable = cls(target)
        cable._server = await asyncio.start_server(cable._carry, "127.0.0.1", 0)
        return cable

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def cut(self) -> None:
        """Both sides get a reset."""
        await self._stop()
        for end in self._ends:
            sock = end.get_extra_info("socket")
            if sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()
        self._ends.clear()

    async def freeze(self) -> None:
        """Nobody is told anything, and nothing gets through; new connections do."""
        await self._stop()

    async def take_up(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, gateway = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends += [writer, gateway]
        for pump in (_pumped(reader, gateway), _pumped(there, writer)):
            self._carriers.add(asyncio.ensure_future(pump))

    async def _stop(self) -> None:
        carriers, self._carriers = self._carriers, set()
        for task in carriers:
            task.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
