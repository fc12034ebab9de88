"""A caller who signs, and what it is told: over HTTP, a WebSocket and a stream of events."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from kernel_gateway.service import Owner
from kernel_gateway.store.values import PutKey, StoredKey
from kernel_gateway.web.backendai.signing import DEFAULT_CONTENT_TYPE, SignedCall, signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.fake.web.gateway import Gateway
    from tests.shared.http import Response

ACCESS_KEY = "AKIAMINE"
OTHERS_KEY = "AKIAOTHER"
SECRET = "the secret of "
VERSION = "v7.20230615"


@dataclass(frozen=True, slots=True)
class Caller:
    """Signs all that it sends."""

    gateway: Gateway
    access_key: str = ACCESS_KEY
    secret: str | None = None  # None: the right one
    changes: Mapping[str, str | None] = field(default_factory=dict)  # headers, after signing

    def signed(
        self,
        method: str,
        path: str,
        content_type: str = DEFAULT_CONTENT_TYPE,
        *,
        version: str = VERSION,
    ) -> dict[str, str]:
        """Headers of a call."""
        now = datetime.now(UTC)
        host = f"127.0.0.1:{self.gateway.port}"
        call = SignedCall(
            method=method,
            target=path,
            date=now.isoformat(),
            host=host,
            content_type=content_type,
            version=version,
        )
        secret = self.secret if self.secret is not None else SECRET + self.access_key
        made = signature(call, now, secret, "sha256")
        headers: dict[str, str | None] = {
            "Date": now.isoformat(),
            "X-BackendAI-Version": version,
            "Authorization": "BackendAI signMethod=HMAC-SHA256, "
            f"credential={self.access_key}:{made}",
            **self.changes,
        }
        return {name: value for name, value in headers.items() if value is not None}

    async def call(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """`value` goes as JSON, `body` as it is."""
        if value is not None:
            body = json.dumps(value).encode()
        bare = content_type.partition(";")[0]
        sent = {**self.signed(method, path, bare), "Content-Type": content_type, **(headers or {})}
        return await self.gateway.call(method, path, body=body, headers=sent, token=None)

    async def get(self, path: str, value: Any = None, **more: Any) -> Response:
        return await self.call("GET", path, value, **more)

    async def post(self, path: str, value: Any = None, **more: Any) -> Response:
        return await self.call("POST", path, value, **more)

    # -- what most tests begin with --------------------------------------------------------------

    async def create(self, name: str = "mine", image: str = "python", **more: Any) -> Any:
        """What is told of a session that must come up."""
        answer = await self.post("/session", {"name": name, "image": image, **more})
        assert answer.status in {200, 201}, answer.body
        return answer.json

    async def execute(self, name: str = "mine", **body: Any) -> Any:
        """The result object of a call that must succeed."""
        answer = await self.post(f"/session/{name}", {"runId": None, "code": "", **body})
        assert answer.status == 200, answer.body
        return answer.json["result"]

    async def query(self, code: str, name: str = "mine", **more: Any) -> Any:
        return await self.execute(name, mode="query", code=code, **more)

    # -- streams ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def stream(self, path: str = "/stream/session/mine/execute") -> AsyncIterator[Stream]:
        """A WebSocket to which nothing is sent yet."""
        request = HTTPRequest(
            f"ws://127.0.0.1:{self.gateway.port}{path}", headers=self.signed("GET", path)
        )
        stream = Stream(await websocket_connect(request, max_message_size=4 * 2**20 - 1))
        try:
            yield stream
        finally:
            await stream.leave()

    @asynccontextmanager
    async def events(self, query: str) -> AsyncIterator[Events]:
        path = f"/events/session?{query}"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.gateway.port}",
            *(f"{name}: {value}" for name, value in self.signed("GET", path).items()),
        ]
        writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            yield Events(head.decode(), reader)
        finally:
            writer.close()
            await writer.wait_closed()


@dataclass(slots=True)
class Stream:
    connection: WebSocketClientConnection
    closed: bool = False  # the end has been read: there is nothing behind it

    async def send(self, text: str) -> None:
        await self.connection.write_message(text)

    async def begin(self, code: str = "", mode: str = "query", **options: Any) -> None:
        await self.send(json.dumps({"code": code, "mode": mode, "options": options}))

    async def frame(self) -> Any:
        """None: the connection is closed."""
        async with asyncio.timeout(20):
            message = await self.connection.read_message()
        self.closed = message is None
        return None if message is None else json.loads(message)

    async def leave(self) -> None:
        """As the client does: it reads on until its close is answered."""
        self.connection.close()
        while not self.closed:
            await self.frame()

    async def until(self, status: str) -> list[Any]:
        """All frames up to one of this status."""
        frames = [await self.frame()]
        while frames[-1] is not None and frames[-1]["status"] != status:
            frames.append(await self.frame())
        assert frames[-1] is not None, frames
        return frames


@dataclass(frozen=True, slots=True)
class Events:
    head: str
    reader: asyncio.StreamReader

    async def chunk(self) -> str:
        """One block of lines; empty at the end."""
        async with asyncio.timeout(20):
            size = int(await self.reader.readline(), 16)
            return (await self.reader.readexactly(size + 2))[:-2].decode()

    async def next(self) -> tuple[str, Any] | None:
        """`(name, data)`; None at the end."""
        block = await self.chunk()
        if not block:
            return None
        assert block.endswith("\n\n")
        lines = dict(line.split(": ", 1) for line in block.strip().splitlines())
        return lines["event"], json.loads(lines["data"])

    async def until(self, name: str) -> list[tuple[str, Any]]:
        told = []
        while (event := await self.next()) is not None:
            told.append(event)
            if event[0] == name:
                return told
        raise AssertionError(f"there was no {name}: {told}")


def path_of(name: str, rest: str = "") -> str:
    return f"/session/{quote(name, safe='')}{rest}"


async def add_key(gateway: Gateway, access_key: str, *, revoked_at: float | None = None) -> None:
    key = StoredKey(
        access_key=access_key,
        secret=SECRET + access_key,
        owner=Owner(access_key),
        created_at=0.0,
        revoked_at=revoked_at,
    )
    await gateway.store.write(PutKey(key))
