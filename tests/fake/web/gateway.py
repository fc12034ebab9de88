"""A gateway over HTTP with kernels in memory, and a small client for it."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.simple_httpclient import SimpleAsyncHTTPClient

from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.fake import FakeKernel, FakeLauncher
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from kernel_gateway.web.application import make_application
from kernel_gateway.web.handler import Calls
from kernel_gateway.web.render import record_json
from kernel_gateway.web.server import Server
from kernel_gateway.web.settings import WebSettings
from tests.fake.web.described import faults
from tests.shared.databases import with_database
from tests.shared.http import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kernel_gateway.webhooks.sender import Sender

TOKEN = "s3cret-tökén"
JSON = {"Content-Type": "application/json"}


class Gateway:
    """What a test holds in its hands."""

    def __init__(
        self, server: Server, service: LocalService, launcher: FakeLauncher, store: Store
    ) -> None:
        self.service = service
        self.store = store
        self.launcher = launcher
        self.port = server.port
        self.url = server.url
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=100)

    def close(self) -> None:
        self._client.close()

    @property
    def kernel(self) -> FakeKernel:
        return self.launcher.kernels[-1]

    async def call(
        self,
        verb: str,
        path: str,
        value: Any = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = TOKEN,
    ) -> Response:
        """`value` goes as JSON, `body` as it is. Without a token there is no header for it."""
        sent = dict(headers or {})
        if value is not None:
            body = json.dumps(value).encode()
            sent = {**JSON, **sent}
        if token is not None:
            sent.setdefault("Authorization", authorization(token))
        if body is not None:
            sent.setdefault("Content-Type", "")  # else Tornado's client makes one up
        answer = await self._client.fetch(
            f"http://127.0.0.1:{self.port}{path}",
            method=verb,
            body=body,
            headers=sent,
            raise_error=False,
            allow_nonstandard_methods=True,
            request_timeout=30,
        )
        response = Response(answer.code, answer.headers, answer.body or b"")
        assert [] == faults(verb, path, response), response.body
        return response

    async def get(self, path: str, **more: Any) -> Response:
        return await self.call("GET", path, **more)

    async def post(self, path: str, value: Any = None, **more: Any) -> Response:
        return await self.call("POST", path, value, **more)

    async def put(self, path: str, value: Any = None, **more: Any) -> Response:
        return await self.call("PUT", path, value, **more)

    async def delete(self, path: str, **more: Any) -> Response:
        return await self.call("DELETE", path, **more)

    # -- what most tests begin with --------------------------------------------------------------

    async def new_kernel(self) -> str:
        kernel_id: str = (await self.post("/api/kernels", {})).json["id"]
        return kernel_id

    async def execute(self, kernel_id: str, **body: Any) -> Response:
        return await self.post(f"/api/kernels/{kernel_id}/execute", body)

    async def query(self, kernel_id: str, code: str, **more: Any) -> Any:
        """The result object of a call that must succeed."""
        answer = await self.execute(kernel_id, mode="query", code=code, **more)
        assert answer.status == 200, answer.body
        return answer.json

    async def run(self, code: str, *, wait: int = 30, **more: Any) -> Any:
        """One that is created, waited for, and given as it then stands."""
        body = {"mode": "query", "code": code, **more}
        answer = await self.post("/api/runs", body, headers={"Prefer": f"wait={wait}"})
        assert answer.status == 201, answer.body
        return answer.json

    async def raw(self, data: bytes) -> bytes:
        """The answer to these bytes; empty when the connection is closed without one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(20):
                return await _answer(reader)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


def authorization(token: str) -> str:
    """Tornado's client writes headers as Latin-1; over the wire go the bytes of UTF-8."""
    return "token " + token.encode().decode("latin-1")


def run_path(run_id: str, rest: str = "") -> str:
    return f"/api/runs/{quote(run_id, safe='')}{rest}"


@asynccontextmanager
async def running_gateway(
    folder: Path,
    settings: WebSettings | None = None,
    launcher: FakeLauncher | None = None,
    *,
    sender: Sender | None = None,
    **limits: Any,
) -> AsyncIterator[Gateway]:
    """`limits`: of the engine."""
    settings = settings or WebSettings(token=TOKEN, port=0)
    store = await Store.open(StoreSettings(folder=await asyncio.to_thread(with_database, folder)))
    launcher = launcher or FakeLauncher()
    engine = EngineSettings(
        sessions_dir=folder / "sessions", artifacts_dir=folder / "artifacts", **limits
    )
    service = LocalService(launcher, store, engine, sender=sender, render=record_json)
    await service.start()
    server = await asyncio.to_thread(Server, settings)
    application = make_application(service, settings, version="1.2.3", calls=Calls(), keys=service)
    server.serve(application)
    gateway = Gateway(server, service, launcher, store)
    try:
        yield gateway
    finally:
        gateway.close()
        await service.close()
        await server.close()
        await launcher.close()
        await store.close()
