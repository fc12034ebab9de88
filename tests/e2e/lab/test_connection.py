"""Our class in Jupyter's server, spoken to as a browser does, without one."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tornado.websocket import websocket_connect

from kernel_gateway_lab.frames import PROTOCOL, head, joined
from tests.e2e.lab.conftest import SPEC, lab_server
from tests.e2e.main_job.gateway import HANG_LIMIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tornado.websocket import WebSocketClientConnection

    from tests.e2e.lab.conftest import Gateway
    from tests.e2e.lab.server import LabServer

pytestmark = pytest.mark.parametrize("lab", ["ours"], indirect=True)

MIB = 2**20
SESSION = "a-session-of-the-tests"

#: Small enough to be full at once.
HELD = 2


@pytest.fixture
def kernel_id(lab: LabServer) -> Iterator[str]:
    """It may have been deleted."""
    kernel_id = new_kernel(lab)
    yield kernel_id
    if kernel_id in [one["id"] for one in lab.call("GET", "/api/kernels")]:
        lab.call("DELETE", f"/api/kernels/{kernel_id}")


def new_kernel(lab: LabServer) -> str:
    kernel_id: str = lab.call("POST", "/api/kernels", {"name": SPEC})["id"]
    return kernel_id


class Socket:
    """A browser's."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self._over = False

    async def send(self, frame: bytes) -> None:
        await self.connection.write_message(frame, binary=True)

    async def frame(self) -> Any:
        async with asyncio.timeout(HANG_LIMIT_S):
            frame = await self.connection.read_message()
        self._over = frame is None
        return frame

    async def until(self, msg_type: str, msg_id: str) -> list[dict[str, Any]]:
        """All that comes of a request, up to the first of this type."""
        messages = []
        while True:
            frame = await self.frame()
            assert isinstance(frame, bytes), "it was closed"
            message = read(frame)
            if message["parent"].get("msg_id") == msg_id:
                messages.append(message)
                if message["header"]["msg_type"] == msg_type:
                    return messages

    async def closed(self) -> int | None:
        """Its code."""
        while not self._over:
            await self.frame()
        return self.connection.close_code


@asynccontextmanager
async def connected(
    lab: LabServer, kernel_id: str, *, protocol: str | None = PROTOCOL
) -> AsyncIterator[Socket]:
    connection = await websocket_connect(
        lab.channels(kernel_id, SESSION),
        subprotocols=[protocol] if protocol else None,
        max_message_size=64 * MIB,
    )
    socket = Socket(connection)
    try:
        assert protocol == connection.selected_subprotocol
        yield socket
    finally:
        connection.close()
        await socket.closed()  # tornado comes to the end only behind what was read


def request(code: str) -> tuple[str, bytes]:
    """Its ID, and its frame."""
    msg_id = uuid4().hex
    header = {
        "msg_id": msg_id,
        "msg_type": "execute_request",
        "username": "",
        "session": SESSION,
        "date": datetime.now(UTC).isoformat(),
        "version": "5.4",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
    return msg_id, joined("shell", parts)


def read(frame: bytes) -> dict[str, Any]:
    found = head(frame)
    assert found is not None
    count = int.from_bytes(frame[:8], "little")
    offsets = [int.from_bytes(frame[8 * n : 8 * n + 8], "little") for n in range(1, count + 1)]
    parts = [frame[start:end] for start, end in pairwise(offsets)]
    header, parent, _, content = (json.loads(part) for part in parts[1:5])
    return {
        "channel": found[0].decode(),
        "header": header,
        "parent": parent,
        "content": content,
    }


def printed(messages: list[dict[str, Any]], name: str = "stdout") -> str:
    return "".join(
        message["content"]["text"]
        for message in messages
        if message["header"]["msg_type"] == "stream" and message["content"]["name"] == name
    )


async def test_a_message_of_any_size_passes_both_ways(lab: LabServer, kernel_id: str) -> None:
    async with connected(lab, kernel_id) as socket:
        msg_id, frame = request(f"text = {'x' * (12 * MIB)!r}\nprint(text)")
        await socket.send(frame)
        messages = await socket.until("execute_reply", msg_id)
        if len(printed(messages)) < 12 * MIB:  # the reply may overtake what was printed
            messages += await socket.until("status", msg_id)
        assert "ok" == next(
            message["content"]["status"] for message in messages if message["channel"] == "shell"
        )
        assert "x" * (12 * MIB) + "\n" == printed(messages)


async def test_who_does_not_offer_the_protocol_is_served_without(
    lab: LabServer, kernel_id: str
) -> None:
    async with connected(lab, kernel_id, protocol=None) as socket:
        frame = await socket.frame()
        assert "status" == json.loads(frame)["header"]["msg_type"]


async def test_a_gateway_that_does_not_speak_the_protocol_is_told_of_in_the_log(
    lab: LabServer, kernel_id: str
) -> None:
    lab.line.do("plain")
    try:
        async with connected(lab, kernel_id) as socket:
            assert 1011 == await socket.closed()
    finally:
        lab.line.do("whole")
    line = lab.logged(re.compile(rf"Kernel {kernel_id}: the gateway does not speak {PROTOCOL}"))
    assert "Leave out ServerApp.kernel_websocket_connection_class" in line


async def test_the_socket_of_a_deleted_kernel_is_closed(
    lab: LabServer, kernel_id: str, gateway: Gateway
) -> None:
    async with connected(lab, kernel_id) as socket:
        await socket.frame()
        gateway.call("DELETE", f"/api/kernels/{kernel_id}")
        assert 1000 == await socket.closed()


async def test_the_second_socket_of_a_session_takes_over_for_good(
    lab: LabServer, kernel_id: str
) -> None:
    async with connected(lab, kernel_id) as first:
        await first.frame()
        async with connected(lab, kernel_id) as second:
            assert 4409 == await first.closed()
            msg_id, frame = request("print('here')")
            await second.send(frame)
            assert "here\n" == printed(await second.until("stream", msg_id))


async def test_what_finds_no_room_while_the_line_is_cut_is_told_where_its_output_would_be(
    lab: LabServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    option = f"--GatewayV1Connection.max_held_messages={HELD}"
    with lab_server(tmp_path_factory.mktemp("small"), lab.line, "ours", option) as small:
        kernel_id = new_kernel(small)
        async with connected(small, kernel_id) as socket:
            msg_id, frame = request("print('connected')")
            await socket.send(frame)
            await socket.until("execute_reply", msg_id)
            lab.line.do("cut")
            try:
                small.logged(re.compile(rf"Kernel {kernel_id}: the line to the gateway was cut"))
                requests = [request(f"print({n})") for n in range(HELD + 1)]
                for _, frame in requests:
                    await socket.send(frame)
                refused, _ = requests[-1]
                told = printed(await socket.until("stream", refused), "stderr")
                assert told.startswith(f"Not sent: {HELD} messages wait already")
            finally:
                lab.line.do("mend")
            for n, (msg_id, _) in enumerate(requests[:HELD]):
                assert f"{n}\n" == printed(await socket.until("stream", msg_id))
        small.call("DELETE", f"/api/kernels/{kernel_id}")
