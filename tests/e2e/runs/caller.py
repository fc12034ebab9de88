"""A client of the runs resource that knows nothing but HTTP.

It holds every answer to the gateway's own description of it.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from tests.e2e.main_job.gateway import HANG_LIMIT_S, TOKEN, Client
from tests.e2e.runs.described import Described

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.e2e.main_job.gateway import Server
    from tests.shared.http import Response

OVER = "finished"


def path_of(run_id: str, rest: str = "") -> str:
    return f"/api/runs/{quote(run_id, safe='')}{rest}"


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    id: int | None
    event: str
    data: Any


class Caller(Client):
    """What it has created and not deleted is cancelled when it is closed."""

    #: By the address of a gateway what it says of itself.
    _descriptions: ClassVar[dict[str, Described]] = {}

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.server = server
        self._made: list[str] = []

    async def close(self) -> None:  # type: ignore[override]
        for uid in self._made:
            await super().call("POST", path_of(uid, "/cancel"), {"grace": 0})
        super().close()

    async def call(self, verb: str, path: str, value: Any = None, **more: Any) -> Response:
        answer = await super().call(verb, path, value, **more)
        described = await self.described()
        assert [] == described.faults_of_call(verb, path, answer), (path, answer.body)
        return answer

    async def described(self) -> Described:
        if self._url not in self._descriptions:
            document = await super().call("GET", "/api/openapi.json")
            self._descriptions[self._url] = Described(document.json)
        return self._descriptions[self._url]

    async def post(self, **body: Any) -> Response:
        """`POST /api/runs` as it stands; the mode is query unless it is said."""
        answer = await self.call("POST", "/api/runs", {"mode": "query", **body})
        self._remember(answer)
        return answer

    async def put(self, run_id: str, **body: Any) -> Response:
        answer = await self.call("PUT", path_of(run_id), {"mode": "query", **body})
        self._remember(answer)
        return answer

    async def create(self, **body: Any) -> Any:
        """The model of a new run."""
        answer = await self.post(**body)
        assert answer.status == 201, answer.body
        return answer.json

    async def done(self, **body: Any) -> Any:
        """The model of a new run when it is over."""
        return await self.over((await self.create(**body))["uid"])

    async def over(self, run_id: str) -> Any:
        """Its model, when it is over: told by its log, which ends then."""
        after = 0
        async with asyncio.timeout(2 * HANG_LIMIT_S):
            while True:
                page = await self.call("GET", path_of(run_id, f"/records?after={after}&wait=10"))
                assert page.status == 200, page.body
                after = page.json["next"]
                if page.json["finished"]:
                    return await self.run(run_id)

    async def reached(self, run_id: str, *states: str) -> Any:
        """Its model, when its history has one of these states."""
        after = 0
        async with asyncio.timeout(HANG_LIMIT_S):
            while True:
                run = await self.run(run_id)
                if {item["state"] for item in run["history"]} & set(states):
                    return run
                path = path_of(run_id, f"/records?after={after}&wait=10")
                after = (await self.call("GET", path)).json["next"]

    async def printed(self, run_id: str, text: str) -> None:
        """Returns when its output holds the text."""
        told, after = "", 0
        async with asyncio.timeout(HANG_LIMIT_S):
            while text not in told:
                page = (await self.call("GET", path_of(run_id, f"/log?after={after}&wait=10"))).json
                told += "".join(part for _, _, part in page["items"])
                after = page["next"]
                assert text in told or not page["finished"], told

    async def delete_run(self, run_id: str) -> Response:
        return await self.call("DELETE", path_of(run_id))

    async def artifacts(self, run_id: str) -> list[Any]:
        items: list[Any] = (await self.call("GET", path_of(run_id, "/artifacts"))).json["items"]
        return items

    async def download(self, run_id: str, artifact_id: str) -> bytes:
        answer = await self.call("GET", path_of(run_id, f"/artifacts/{artifact_id}"))
        assert answer.status == 200, answer.body
        return answer.body

    async def events(
        self, run_id: str, *, last_id: int | None = None, limit: int | None = None
    ) -> list[Event]:
        """To the end of the stream; with `limit` the connection is cut after so many bytes."""
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        async with self.stream(path_of(run_id, "/events"), headers) as stream:
            status, data = stream.status, await stream.read(limit)
        assert status == 200, (status, data)
        events = parsed(data)
        described = await self.described()
        assert [] == described.faults_of_records(event.data for event in events)
        return events

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        """A GET whose body is read bit by bit, over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            fields = {
                "Host": f"127.0.0.1:{self.server.port}",
                "Authorization": f"token {TOKEN}",
                "Connection": "close",
                **headers,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            stream = Stream(reader)
            async with asyncio.timeout(HANG_LIMIT_S):
                await stream.read_head()
            yield stream
        finally:
            writer.close()

    def _remember(self, answer: Response) -> None:
        if answer.status == 201:
            self._made.append(answer.json["uid"])


@dataclass
class Stream:
    """The answer of a server that goes on for as long as it likes."""

    reader: asyncio.StreamReader
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    async def read_head(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        self.headers = {name.lower(): value for name, value in pairs}

    async def read(self, limit: int | None = None) -> bytes:
        """The body to its end, or up to so many bytes of it."""
        data = bytearray()
        async with asyncio.timeout(2 * HANG_LIMIT_S):
            async for part in self.parts():
                data += part
                if limit is not None and len(data) >= limit:
                    return bytes(data[:limit])
        return bytes(data)

    async def parts(self) -> AsyncIterator[bytes]:
        if self.headers.get("transfer-encoding") != "chunked":
            while part := await self.reader.read(2**16):
                yield part
            return
        while size := int((await self.reader.readline()).strip() or b"0", 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)


def parsed(data: bytes) -> list[Event]:
    """The complete events of a stream, as a browser would see them; comments are none."""
    events: list[Event] = []
    blocks = data.decode(errors="replace").split("\n\n")
    for block in blocks[:-1]:  # what follows the last empty line is not complete
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        if "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            events.append(Event(number, fields.get("event", "message"), json.loads(fields["data"])))
    return events


def notebook(*codes: str) -> dict[str, Any]:
    """Of code cells."""
    kind: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    cells = [{**kind, "id": f"c{n}", "source": code} for n, code in enumerate(codes)]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}


def text_of(events: list[Event], stream: str = "stdout") -> str:
    return "".join(
        event.data["text"]
        for event in events
        if event.event == "log" and event.data["stream"] == stream
    )
