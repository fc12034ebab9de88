"""A receiver of webhooks: a real server on loopback that does with each call what a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Iterator

HANG_LIMIT_S = 10.0

#: A status; raw bytes, none of which is a connection that is closed; or what it does itself.
Reaction: TypeAlias = int | bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Post:
    """A call as it came."""

    line: str
    headers: dict[str, str]  # by their names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json["records"]
        return found


@dataclass
class Receiver:
    port: int = 0
    posts: list[Post] = field(default_factory=list)
    reactions: Iterator[Reaction] = field(default_factory=lambda: repeat(200))
    most_at_once: int = 0
    _now: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=me"

    def reacts(self, *first: Reaction, then: Reaction = 200) -> None:
        self.reacts_by(chain(first, repeat(then)))

    def reacts_by(self, reactions: Iterable[Reaction]) -> None:
        self.reactions = iter(reactions)

    async def until(self, happened: Callable[[], object]) -> None:
        """Looked at after each call that came."""
        async with asyncio.timeout(HANG_LIMIT_S):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    async def until_posts(self, number: int) -> None:
        await self.until(lambda: len(self.posts) >= number)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # it hung up
        finally:
            self._now -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        post = await _read(reader)
        reaction = next(self.reactions)
        self.posts.append(post)
        self._changed.set()
        if callable(reaction):
            await reaction(writer)
        elif isinstance(reaction, int):
            reason = HTTPStatus(reaction).phrase
            writer.write(f"HTTP/1.1 {reaction} {reason}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            writer.write(reaction)
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Post:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (item.partition(":") for item in lines)
    }
    return Post(line, headers, await reader.readexactly(int(headers["content-length"])))


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    calls: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        calls.add(task)
        with suppress(asyncio.CancelledError):  # Python 3.11 logs that of a server's task
            await receiver.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await server.wait_closed()


async def never(writer: asyncio.StreamWriter) -> None:
    """Does not answer."""
    await asyncio.get_running_loop().create_future()


async def endlessly(writer: asyncio.StreamWriter) -> None:
    """Answers with a body that has no end."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(2**16))
        await writer.drain()
