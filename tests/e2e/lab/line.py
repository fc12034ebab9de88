"""The line between Jupyter's server and the gateway: a program that can cut it and mend it.

    python line.py PORT_OF_THE_GATEWAY

Prints the port that it listens on. Each line of standard input is a word, answered when it is done
by the same word: `cut` resets every connection and takes no more, `mend` takes them again, `plain`
has the gateway choose no subprotocol, `whole` lets it. Knows bytes and nothing else.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import sys
from contextlib import suppress

_CHOICE = re.compile(rb"Sec-WebSocket-Protocol: [^\r]*\r\n", re.IGNORECASE)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST, as a line does that is cut
_CHUNK = 2**16


class Line:
    def __init__(self, target: int) -> None:
        self._target = target
        self._port = 0  # any, the first time
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.StreamWriter] = set()
        self._is_plain = False

    async def mend(self) -> int:
        if self._server is not None and self._server.is_serving():
            return self._port
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self._port

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._pairs:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def plain(self) -> None:
        self._is_plain = True

    async def whole(self) -> None:
        self._is_plain = False

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, gateway = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._pairs |= {writer, gateway}
        with suppress(OSError):
            await asyncio.gather(self._pump(reader, gateway), self._pump(there, writer, back=True))
        for end in (writer, gateway):
            self._pairs.discard(end)
            end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool = False
    ) -> None:
        first = True
        while chunk := await reader.read(_CHUNK):
            if back and first and self._is_plain:
                chunk = _CHOICE.sub(b"", chunk)  # the answer to an upgrade comes in one piece
            first = False
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def main() -> None:
    line = Line(int(sys.argv[1]))
    sys.stdout.write(f"{await line.mend()}\n")
    sys.stdout.flush()
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(words), sys.stdin
    )
    async for word in words:
        await getattr(line, word.decode().strip())()
        sys.stdout.write(word.decode())
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
