"""A WebSocket as RFC 6455 has it: frames go out as a test wants them, and come in as they are.

Knows no library of WebSockets, so that it can send what none of them would; knows nothing of
Jupyter. Nothing is read unless somebody asks: a client that does not ask has stalled.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Whatever is waited for here comes much sooner, or never.
LIMIT_S = 25.0

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST, as a line does that is cut


class RefusedError(Exception):
    """There was no upgrade, but an answer."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:500]!r}")
        self.status = status
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ClosedError(Exception):
    """By a close frame; without one the code is 1006, as the RFC says."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class WebSocket:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    subprotocol: str | None
    answers_pings: bool = True
    pings: list[bytes] = field(default_factory=list)

    # -- out

    async def send(self, message: str | bytes, *, pieces: int = 1) -> None:
        """In so many frames."""
        data = message.encode() if isinstance(message, str) else message
        opcode = TEXT if isinstance(message, str) else BINARY
        size = max(1, -(-len(data) // pieces))
        for start in range(0, max(1, len(data)), size):
            is_last = start + size >= len(data)
            self.write(frame(opcode, data[start : start + size], is_last=is_last))
            opcode = CONTINUATION
        await self.writer.drain()

    def write(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def pong(self, data: bytes) -> None:
        self.write(frame(PONG, data))
        await self.writer.drain()

    # -- in

    async def receive(self) -> str | bytes:
        """The next message. Raises `ClosedError`."""
        async with asyncio.timeout(LIMIT_S):
            kind, parts = TEXT, []
            while True:
                opcode, data, is_last = await self._frame()
                if opcode == PING:
                    await self._on_ping(data)
                elif opcode == CLOSE:
                    raise await self._on_close(data)
                elif opcode != PONG:
                    kind = opcode or kind
                    parts.append(data)
                    if is_last:
                        whole = b"".join(parts)
                        return whole.decode() if kind == TEXT else whole

    async def _frame(self) -> tuple[int, bytes, bool]:
        try:
            first, second = await self.reader.readexactly(2)
            assert not second & 0x80, "a server masks nothing"
            size = second
            if second >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8))
            return first & 0x0F, await self.reader.readexactly(size), bool(first & 0x80)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ClosedError(1006, "the connection is gone") from None

    async def _on_ping(self, data: bytes) -> None:
        self.pings.append(data)
        if self.answers_pings:
            await self.pong(data)

    async def _on_close(self, data: bytes) -> ClosedError:
        code = int.from_bytes(data[:2]) if len(data) >= 2 else 1005
        with suppress(ConnectionError):
            self.write(frame(CLOSE, data[:2]))
            await self.writer.drain()
        return ClosedError(code, data[2:].decode())

    async def ended(self) -> ClosedError:
        """Returns when the other side has closed it; what comes before is passed over."""
        while True:
            try:
                await self.receive()
            except ClosedError as closed:
                return closed

    # -- its end

    async def close(self) -> None:
        """With a close frame, if that still helps."""
        with suppress(ConnectionError):
            self.write(frame(CLOSE, (1000).to_bytes(2)))
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def cut(self) -> None:
        """By a reset: what was on its way is lost."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def frame(
    opcode: int, data: bytes, *, is_last: bool = True, is_masked: bool = True, reserved: int = 0
) -> bytes:
    """As a client sends it, or wrong on purpose."""
    head = bytes([is_last << 7 | reserved << 4 | opcode])
    mark = is_masked << 7
    if len(data) < 126:
        head += bytes([mark | len(data)])
    elif len(data) < 2**16:
        head += bytes([mark | 126]) + len(data).to_bytes(2)
    else:
        head += bytes([mark | 127]) + len(data).to_bytes(8)
    if not is_masked:
        return head + data
    key = os.urandom(4)
    return head + key + _masked(data, key)


def _masked(data: bytes, key: bytes) -> bytes:
    """All at once, as one number: some of these have 16 MiB."""
    size = len(data)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(keys)).to_bytes(size)


async def connected(
    url: str, *, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
) -> WebSocket:
    """Raises `RefusedError`. `Host` can be given like any other header."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    sent = {
        "Host": address.netloc,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **({"Sec-WebSocket-Protocol": ", ".join(subprotocols)} if subprotocols else {}),
        **(headers or {}),
    }
    target = f"{address.path}?{address.query}" if address.query else address.path
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    async with asyncio.timeout(LIMIT_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.strip().split("\r\n")
        told = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        status = int(first.split()[1])
        if status != 101:
            body = await reader.readexactly(int(told.get("content-length", 0)))
            writer.close()
            await writer.wait_closed()
            raise RefusedError(status, body)
    return WebSocket(reader, writer, told.get("sec-websocket-protocol"))
