"""WebSockets to a kernel's channels: by Tornado's client, and as bad as a test likes."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.websocket import (
    V1_PROTOCOL,
    from_legacy,
    from_v1,
    to_legacy,
    to_v1,
)
from kernel_gateway.web.auth import TOKEN_PROTOCOL
from tests.fake.web.gateway import TOKEN, authorization

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from tests.fake.web.gateway import Gateway

LIMIT_S = 20
TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
TOKEN_IN_PROTOCOL = TOKEN_PROTOCOL + quote(TOKEN, safe="")


def path_of(kernel_id: str, **query: str) -> str:
    mark = "?" if query else ""
    return f"/api/kernels/{kernel_id}/channels{mark}{urlencode(query)}"


def request_of(
    msg_type: str,
    content: Mapping[str, Json] | None = None,
    *,
    msg_id: str = "1",
    session: str = "s",
    channel: Channel = Channel.SHELL,
    buffers: tuple[bytes, ...] = (),
) -> RawMessage:
    header = Header(msg_id=MsgId(msg_id), msg_type=msg_type, session=session)
    return RawMessage.of(
        Message(channel=channel, header=header, content=content or {}, buffers=buffers)
    )


def cell_of(code: str, msg_id: str = "1") -> RawMessage:
    content: dict[str, Json] = {"code": code, "silent": False, "allow_stdin": True}
    return request_of("execute_request", content, msg_id=msg_id)


def word_of(message: RawMessage) -> str:
    if message.msg_type == "status":
        return str(message.content["execution_state"])
    return message.msg_type


@dataclass(slots=True)
class Socket:
    """Tornado's client. It answers pings while it waits for something."""

    connection: WebSocketClientConnection
    frames: list[str | bytes] = field(default_factory=list)  # as they came
    told: list[RawMessage] = field(default_factory=list)
    closed: bool = False
    is_v1: bool = False

    def __post_init__(self) -> None:
        self.is_v1 = self.connection.selected_subprotocol == V1_PROTOCOL

    @property
    def end(self) -> tuple[int | None, str | None]:
        """Code and reason of the close frame."""
        return self.connection.close_code, self.connection.close_reason

    @property
    def words(self) -> list[str]:
        return [word_of(message) for message in self.told]

    async def send(self, message: RawMessage) -> None:
        if self.is_v1:
            await self.connection.write_message(b"".join(to_v1(message)[0]), binary=True)
            return
        data, is_text = to_legacy(message)
        await self.connection.write_message(data, binary=not is_text)

    async def next(self) -> RawMessage | None:
        """None: the connection is closed."""
        async with asyncio.timeout(LIMIT_S):
            frame = await self.connection.read_message()
        if frame is None:
            self.closed = True
            return None
        self.frames.append(frame)
        message = from_v1(_binary(frame)) if self.is_v1 else from_legacy(frame)
        self.told.append(message)
        return message

    async def until(self, happened: Callable[[], object]) -> None:
        while not happened():
            assert await self.next() is not None, (self.end, self.words)

    async def hears(self, word: str, times: int = 1) -> None:
        await self.until(lambda: self.words.count(word) >= times)

    async def gone(self) -> tuple[int | None, str | None]:
        """All that is still said is read, up to the end."""
        while await self.next() is not None:
            pass
        return self.end

    async def leave(self) -> None:
        self.connection.close()
        if not self.closed:
            await self.gone()


def _binary(frame: str | bytes) -> bytes:
    assert isinstance(frame, bytes), frame
    return frame


async def connect(
    gateway: Gateway,
    path: str,
    *,
    subprotocols: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    token: str | None = TOKEN,
) -> WebSocketClientConnection:
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = authorization(token)
    request = HTTPRequest(f"ws://127.0.0.1:{gateway.port}{path}", headers=sent)
    return await websocket_connect(
        request, subprotocols=list(subprotocols) or None, max_message_size=2**27
    )


@asynccontextmanager
async def socket(
    gateway: Gateway, kernel_id: str, *, subprotocols: Sequence[str] = (), **query: str
) -> AsyncIterator[Socket]:
    made = Socket(await connect(gateway, path_of(kernel_id, **query), subprotocols=subprotocols))
    try:
        yield made
    finally:
        await made.leave()


class Raw:
    """Frames as a test wants them. Reads when it is asked to; answers no ping."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._pings: list[bytes] = []  # that were read on the way to something else
        self.writer = writer

    async def send(self, opcode: int, data: bytes, *, final: bool = True) -> None:
        self.writer.write(frame_of(opcode, data, final=final))
        await self.writer.drain()

    async def cell(self, code: str, msg_id: str = "1") -> None:
        await self.send(TEXT, to_legacy(cell_of(code, msg_id))[0])

    async def next(self) -> tuple[int, bytes]:
        """The next frame. Raises `EOFError` when there is none."""
        async with asyncio.timeout(LIMIT_S):
            first, size = await self._reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
            data = await self._reader.readexactly(size)
        if first & 15 == PING:
            self._pings.append(data)
        return first & 15, data

    async def ping(self) -> bytes:
        """What the next ping carries."""
        while not self._pings:
            await self.next()
        return self._pings.pop(0)

    async def close_frame(self) -> tuple[int, str]:
        while True:
            opcode, data = await self.next()
            if opcode == CLOSE:
                return struct.unpack("!H", data[:2])[0], data[2:].decode()

    async def message(self, word: str) -> RawMessage:
        """The next one that is described by this word."""
        while True:
            opcode, data = await self.next()
            if opcode == TEXT:
                found = from_legacy(data.decode())
                if word_of(found) == word:
                    return found

    async def end(self) -> None:
        """Returns when the other side has closed the connection."""
        async with asyncio.timeout(LIMIT_S):
            try:
                while await self._reader.read(2**16):
                    pass
            except ConnectionError:
                pass


def frame_of(
    opcode: int, data: bytes, *, final: bool = True, announced: int | None = None
) -> bytes:
    """Masked with zeros: that is a mask, too."""
    first = (0x80 if final else 0) | opcode
    size = len(data) if announced is None else announced
    short = struct.pack("!BB", first, 0x80 | size) if size < 126 else None
    return (short or struct.pack("!BBQ", first, 0x80 | 127, size)) + bytes(4) + data


@asynccontextmanager
async def raw_socket(gateway: Gateway, kernel_id: str, **query: str) -> AsyncIterator[Raw]:
    connected = sockets.socket()
    connected.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2**16)  # soon it is full
    connected.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", gateway.port))
    reader, writer = await asyncio.open_connection(sock=connected, limit=2**16)
    lines = [
        f"GET {path_of(kernel_id, **query)} HTTP/1.1",
        f"Host: 127.0.0.1:{gateway.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {os.urandom(8).hex()}",
        f"Authorization: token {TOKEN}",
    ]
    writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
