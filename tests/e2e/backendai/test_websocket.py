"""WebSocket execute by a client that does what the real one would not."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import websocket_connect

from tests.e2e.backendai.client import LIMIT_S
from tests.e2e.backendai.raw import Raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tornado.websocket import WebSocketClientConnection

    from tests.e2e.backendai.client import Account, Session


def path(session: Session) -> str:
    return f"/stream/session/{session.id}/execute"


class Connection:
    """An open one, and whether the server has closed it."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._is_closed = False

    async def send(self, text: str | bytes) -> None:
        await self._socket.write_message(text, binary=isinstance(text, bytes))

    async def frame(self) -> Any:
        """None once it is closed."""
        message = None if self._is_closed else await self._socket.read_message()
        self._is_closed = message is None
        return None if message is None else json.loads(message)

    async def close(self) -> None:
        self._socket.close()
        while await self.frame() is not None:
            pass


@asynccontextmanager
async def opened(raw: Raw, session: Session) -> AsyncIterator[Connection]:
    async with asyncio.timeout(LIMIT_S):
        connection = Connection(await websocket_connect(raw.websocket(path(session))))
        try:
            yield connection
        finally:
            await connection.close()


@pytest.mark.parametrize(
    "first",
    [
        "",
        "no json",
        "[]",
        b"\xff\xfe",
        "{}",
        '{"mode": "unknown", "code": "1", "options": {}}',
        '{"mode": "continue", "code": "", "options": {}}',
        '{"mode": "query", "code": 1, "options": {}}',
        '{"mode": "batch", "code": "", "options": {"exec": 1}}',
    ],
    ids=str,
)
async def test_a_first_frame_that_makes_no_sense_gets_a_word_and_the_end(
    raw: Raw, session: Session, first: str | bytes
) -> None:
    async with opened(raw, session) as connection:
        await connection.send(first)
        told = await connection.frame()
        assert "error" == told["status"]
        assert told["msg"]
        assert await connection.frame() is None


async def test_a_connection_that_is_not_signed_is_not_opened(
    raw: Raw, account: Account, session: Session
) -> None:
    forged = Raw(replace(account, secret_key="wrong"))
    for caller in (raw.with_headers({"Authorization": None}), forged):
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(caller.websocket(path(session)))
        assert 401 == refused.value.code
