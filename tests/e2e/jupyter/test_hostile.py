"""Frames that no client should send: they close their own connection at most."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.jupyter.channels import V1, Channels, Message, framed
from tests.e2e.jupyter.sockets import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    ClosedError,
    connected,
    frame,
)
from tests.e2e.main_job.gateway import TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.jupyter.conftest import Connect
    from tests.e2e.main_job.gateway import Kernel, Server

GROWTH_MB = 64  # of the whole process, over all that is sent here


def text(**fields: Any) -> str:
    whole = {
        "channel": "shell",
        "header": {"msg_id": "1", "msg_type": "kernel_info_request", "session": "hostile"},
        "parent_header": {},
        "metadata": {},
        "content": {},
    }
    return json.dumps({**whole, **fields})


def table(*numbers: int, then: bytes = b"") -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers) + then


def request(**header: Any) -> Message:
    made = {"msg_id": "1", "msg_type": "kernel_info_request", "session": "hostile", **header}
    return Message("shell", made, {}, {}, {})


DEEP = "[" * 200_000
LEGACY: Mapping[str, str | bytes] = {
    "no JSON": "junk",
    "nothing": "",
    "JSON that is no object": "[1, 2]",
    "a number": "1e999999",
    "deep JSON": DEEP,
    "a deep content": '{"channel":"shell","header":{"msg_id":"1","msg_type":"x"},"content":'
    + '{"a":' * 100_000
    + "1"
    + "}" * 100_000
    + "}",
    "a channel that is none": text(channel="admin"),
    "a channel that is no text": text(channel=["shell"]),
    "iopub": text(channel="iopub"),
    "no header": text(header={}),
    "a header that is no object": text(header="x"),
    "a header without a type": text(header={"msg_id": "1", "session": "hostile"}),
    "an ID that is no text": text(header={"msg_id": {}, "msg_type": "x", "session": "hostile"}),
    "code that is no text": text(
        header={"msg_id": "1", "msg_type": "execute_request", "session": "hostile"},
        content={"code": 7},
    ),
    "buffers of a count that is a lie": b"\xff" * 64,
    "a count of nothing": b"\0\0\0\0",
    "offsets behind the end": struct.pack(">3I", 2, 12, 10_000),
    "offsets that fall": struct.pack(">4I", 3, 16, 8, 12) + b"{}",
    "a table that is cut": b"\0\0",
    "bytes that are no JSON": struct.pack(">2I", 1, 8) + b"\xff\xfe",
}
BINARY_ONES: Mapping[str, str | bytes] = {
    "all ones": b"\xff" * 64,
    "a count of 2^64-1": table(2**64 - 1, then=bytes(56)),
    "a count of 2^63": table(2**63, then=bytes(56)),
    "a count of 2^32": table(2**32, then=bytes(56)),
    "a count of none": table(0, then=bytes(56)),
    "too few": table(3, 32, 32, 32),
    "no table": b"\x06",
    "nothing": b"",
    "offsets behind the end": table(6, *(2**40 for _ in range(6))),
    "offsets that fall": table(6, 56, 50, 40, 30, 20, 10),
    "offsets into the table": table(6, 0, 0, 0, 0, 0, 0),
    "parts of nothing": table(6, 56, 56, 56, 56, 56, 56),
    "a text frame": text(),
    "a message that is cut": framed(request(), "v1")[:-10],
    "a channel that is none": framed(Message("admin", request().header, {}, {}, {}), "v1"),
    "no header": framed(Message("shell", {}, {}, {}, {}), "v1"),
}
RAW = {
    "an opcode that is none": frame(3, b"x"),
    "a control opcode that is none": frame(11, b"x"),
    "reserved bits": frame(BINARY, b"x", reserved=7),
    "a frame that is not masked": frame(TEXT, b"junk", is_masked=False),
    "a continuation of nothing": frame(CONTINUATION, b"x"),
    "a message within a message": frame(TEXT, b"x", is_last=False) + frame(TEXT, b"y"),
    "a ping that is too long": frame(PING, b"x" * 126),
    "a ping in pieces": frame(PING, b"x", is_last=False),
    "text that is no UTF-8": frame(TEXT, b"\xff\xfe\xfd"),
    "a length of 2^64-1": bytes([0x82, 0xFF]) + b"\xff" * 8,
    "a length of 2^63": bytes([0x82, 0xFF, 0x80]) + bytes(7),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(1000),
}


async def goes_on(other: Channels, number: int) -> None:
    """What others send is answered, as if nothing were."""
    assert f"{number}\n" == (await other.run(f"print({number})")).text()


async def settled(hostile: Channels) -> ClosedError | None:
    """None when the connection is none the worse: then what comes behind is answered."""
    try:
        await hostile.ask("control", "kernel_info_request")
    except (ClosedError, ConnectionError) as closed:
        return closed if isinstance(closed, ClosedError) else ClosedError(1006, str(closed))
    return None


@pytest.mark.parametrize("framing", ["legacy", "v1"])
async def test_a_hostile_message_closes_its_own_connection_at_most(
    shared: Kernel, connect: Connect, server: Server, framing: str
) -> None:
    other = await connect(shared)
    messages = LEGACY if framing == "legacy" else BINARY_ONES
    before = server.memory_mb()
    ends = {}
    for number, (name, message) in enumerate(messages.items()):
        hostile = await connect(shared, framing=framing)
        await hostile.socket.send(message)
        await goes_on(other, number)
        end = await settled(hostile)
        ends[name] = end and end.code
        await goes_on(other, number)
    assert {None, 1007} >= set(ends.values()), ends
    assert server.memory_mb() < before + GROWTH_MB


async def test_hostile_frames_close_their_own_connection_at_most(
    shared: Kernel, connect: Connect, server: Server
) -> None:
    other = await connect(shared)
    before = server.memory_mb()
    for number, raw in enumerate(RAW.values()):
        hostile = await connect(shared)
        hostile.socket.write(raw)
        await goes_on(other, number)
        await hostile.socket.cut()
        await goes_on(other, number)
    assert server.memory_mb() < before + GROWTH_MB


async def test_many_lies_take_neither_time_nor_memory(
    shared: Kernel, connect: Connect, server: Server
) -> None:
    other = await connect(shared)
    before = server.memory_mb()
    for number in range(100):
        hostile = await connect(shared)
        await hostile.socket.send(b"\xff" * 64)
        assert 1007 == (await hostile.rest()).code
        if number % 10 == 0:
            await goes_on(other, number)
    assert server.memory_mb() < before + GROWTH_MB


async def test_a_message_in_the_name_of_the_gateway_is_refused(
    shared: Kernel, connect: Connect
) -> None:
    """What came of it would be taken for an answer to the gateway's own questions."""
    other = await connect(shared)
    talk = await shared.run("pass")
    await other.run("pass")
    ours = next(
        one.parent["session"]
        for one in other.heard
        if one.parent and one.parent["session"] != other.session
    )
    assert talk.exit_code == 0
    hostile = await connect(shared)
    await hostile.execute("print('in another name')", session=ours)
    assert 1007 == (await hostile.rest()).code
    await other.run("pass")
    assert "" == other.heard.text()


async def test_subprotocols_that_nobody_knows_do_not_hang_a_connection(
    shared: Kernel, server: Server, connect: Connect
) -> None:
    address = f"{server.url}/api/kernels/{shared.id}/channels"
    headers = {"Authorization": f"token {TOKEN}"}
    for offered, chosen in ((["some.other"], None), (["some.other", V1, "third"], V1)):
        socket = await connected(address, headers=headers, subprotocols=offered)
        assert chosen == socket.subprotocol
        channels = Channels(socket, "v1" if chosen else "legacy", "a-session")
        assert "2\n" == (await channels.run("print(1 + 1)")).text()
        await socket.close()
