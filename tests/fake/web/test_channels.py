"""The channels of a kernel over a WebSocket: who gets in, what goes over it, how it ends."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import HTTPClientError

from kernel_gateway.messaging import spool
from kernel_gateway.messaging.message import Channel
from kernel_gateway.messaging.websocket import V1_PROTOCOL, to_legacy, to_v1
from kernel_gateway.service import LOCAL_OWNER, Parting
from kernel_gateway.web.jupyter import channels
from kernel_gateway.web.settings import (
    JUPYTER_SERVER_FRAME_BYTES,
    ChannelSettings,
    OriginSettings,
    WebSettings,
)
from tests.fake.web.gateway import TOKEN, running_gateway
from tests.fake.web.sockets import (
    BINARY,
    CLOSE,
    CONTINUED,
    PING,
    PONG,
    TEXT,
    TOKEN_IN_PROTOCOL,
    Socket,
    cell_of,
    connect,
    frame_of,
    path_of,
    raw_socket,
    request_of,
    socket,
)
from tests.shared.limits import descriptors_left

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kernel_gateway.kernels.fake import FakeKernel
    from kernel_gateway.messaging.raw import RawMessage
    from kernel_gateway.messaging.strict_json import Json
    from tests.fake.web.gateway import Gateway

BOTH = pytest.mark.parametrize("subprotocols", [(), (V1_PROTOCOL,)], ids=["legacy", "v1"])
HEADER: dict[str, Json] = {"msg_id": "1", "msg_type": "x", "session": "s"}
A_CELL = ["busy", "execute_input", "stream", "execute_reply", "idle"]


@asynccontextmanager
async def gateway_with(
    folder: Path, origins: OriginSettings | None = None, *, limits: Any = None, **settings: Any
) -> AsyncIterator[Gateway]:
    web = WebSettings(
        token=TOKEN,
        port=0,
        channels=ChannelSettings(**settings),
        origins=origins or OriginSettings(),
    )
    async with running_gateway(folder, web, **(limits or {})) as running:
        yield running


@pytest.fixture
async def kernel(gateway: Gateway) -> str:
    return await ready_kernel(gateway)


async def ready_kernel(gateway: Gateway, env: dict[str, str] | None = None) -> str:
    made: str = (await gateway.post("/api/kernels", {"env": env or {}})).json["id"]
    await gateway.service.kernel_ready(LOCAL_OWNER, made)
    return made


def tell(kernel: FakeKernel, text: str) -> None:
    kernel.tell(Channel.IOPUB, "stream", {"name": "stdout", "text": text}, None)


def printed(messages: list[RawMessage]) -> str:
    return "".join(str(one.content["text"]) for one in messages if one.msg_type == "stream")


async def until(happened: Any) -> None:
    async with asyncio.timeout(20):
        while not happened():
            await asyncio.sleep(0)


async def connections(gateway: Gateway, kernel: str) -> int:
    return int((await gateway.get(f"/api/kernels/{kernel}")).json["connections"])


async def until_connections(gateway: Gateway, kernel: str, count: int) -> None:
    async with asyncio.timeout(20):
        while await connections(gateway, kernel) != count:
            pass


# -- who gets in -----------------------------------------------------------------------------------


async def refusal(gateway: Gateway, path: str, **more: Any) -> tuple[int, Any]:
    with pytest.raises(HTTPClientError) as caught:
        await connect(gateway, path, **more)
    response = caught.value.response
    assert response is not None
    return caught.value.code, json.loads(response.body or b"null")


async def test_an_unknown_kernel_is_not_found_before_the_upgrade(gateway: Gateway) -> None:
    code, body = await refusal(gateway, path_of("none"))
    assert (404, "kernel_not_found") == (code, body["error"]["code"])


async def test_without_descriptors_no_connection_stays_and_calls_are_answered(
    gateway: Gateway, kernel: str
) -> None:
    # The connection itself takes one, and so does the client's end of it.
    with descriptors_left(1) as limit:
        code, body = await refusal(gateway, path_of(kernel))
        assert (429, "too_many_clients") == (code, body["error"]["code"])
        assert f"of {limit} descriptors" in body["error"]["message"]
        taken = (await gateway.get("/healthz")).json["descriptors"]
        assert limit == taken["limit"]
        assert 429 == (await gateway.post("/api/kernels", {})).status
    async with socket(gateway, kernel) as opened:
        await opened.hears("idle")


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_nobody_gets_in_without_the_token(
    gateway: Gateway, kernel: str, token: str | None
) -> None:
    code, body = await refusal(gateway, path_of(kernel), token=token)
    assert (401, "unauthorized") == (code, body["error"]["code"])


async def test_a_token_may_come_in_the_query_or_as_a_subprotocol(
    gateway: Gateway, kernel: str
) -> None:
    by_query = Socket(await connect(gateway, path_of(kernel, token=TOKEN), token=None))
    by_protocol = Socket(
        await connect(gateway, path_of(kernel), token=None, subprotocols=[TOKEN_IN_PROTOCOL])
    )
    for one in (by_query, by_protocol):
        assert await one.next()
        await one.leave()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None),
        (("something.else",), None),
        ((V1_PROTOCOL,), V1_PROTOCOL),
        (("something.else", V1_PROTOCOL), V1_PROTOCOL),
        ((TOKEN_IN_PROTOCOL,), TOKEN_IN_PROTOCOL),
        ((TOKEN_IN_PROTOCOL, V1_PROTOCOL), V1_PROTOCOL),
        ((V1_PROTOCOL, TOKEN_IN_PROTOCOL), V1_PROTOCOL),
    ],
)
async def test_the_subprotocol_is_the_best_that_was_offered(
    gateway: Gateway, kernel: str, offered: tuple[str, ...], chosen: str | None
) -> None:
    connection = await connect(gateway, path_of(kernel), subprotocols=offered)
    assert chosen == connection.selected_subprotocol
    one = Socket(connection)
    await one.send(cell_of("print a"))
    await one.until(lambda: {"idle", "execute_reply"} <= set(one.words[1:]))
    await one.leave()


async def test_a_call_that_is_no_upgrade_is_the_callers_fault(
    gateway: Gateway, kernel: str
) -> None:
    answer = await gateway.get(path_of(kernel))
    assert (400, "invalid_field", "Upgrade") == (
        answer.status,
        answer.json["error"]["code"],
        answer.json["error"]["field"],
    )
    assert 405 == (await gateway.post(path_of(kernel), {})).status
    assert 404 == (await gateway.get(path_of("none"))).status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Connection": "Upgrade", "Sec-WebSocket-Version": "13"}, 400),
        ({"Connection": "keep-alive", "Sec-WebSocket-Version": "13"}, 400),
        ({"Connection": "Upgrade", "Sec-WebSocket-Version": "99"}, 426),
    ],
)
async def test_an_upgrade_that_is_half_one_is_refused(
    gateway: Gateway, kernel: str, headers: dict[str, str], status: int
) -> None:
    lines = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Authorization": f"token {TOKEN}",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    answer = await gateway.raw(f"GET {path_of(kernel)} HTTP/1.1\r\n{head}\r\n".encode())
    assert f" {status} ".encode() in answer.split(b"\r\n")[0]
    assert 0 == await connections(gateway, kernel)


async def test_a_page_of_another_origin_may_not_connect(gateway: Gateway, kernel: str) -> None:
    evil = {"Origin": "https://evil.example"}
    code, body = await refusal(gateway, path_of(kernel), headers=evil)
    assert (403, "origin_refused") == (code, body["error"]["code"])


async def test_our_own_page_and_one_that_is_allowed_may_connect(tmp_path: Path) -> None:
    lab = "https://lab.example"
    async with gateway_with(tmp_path, OriginSettings(allow_origin=(lab,))) as gateway:
        kernel = await ready_kernel(gateway)
        for origin in (lab, f"http://127.0.0.1:{gateway.port}"):
            one = Socket(await connect(gateway, path_of(kernel), headers={"Origin": origin}))
            assert await one.next()
            await one.leave()


async def test_one_client_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, limits={"max_clients": 1}) as gateway:
        kernel = await ready_kernel(gateway)
        async with socket(gateway, kernel, session_id="one") as first:
            await first.next()
            async with socket(gateway, kernel, session_id="two") as second:
                assert (1013, "1 clients are connected to this kernel.") == await second.gone()
            async with socket(gateway, kernel, session_id="one") as again:
                await again.send(request_of("kernel_info_request"))
                await again.hears("kernel_info_reply")


# -- frames there and back -------------------------------------------------------------------------


@BOTH
async def test_a_cell_goes_there_and_its_output_comes_back(
    gateway: Gateway, kernel: str, subprotocols: tuple[str, ...]
) -> None:
    async with socket(gateway, kernel, subprotocols=subprotocols) as one:
        await one.send(cell_of("print ünï"))
        await one.until(lambda: len(one.words) == 6)
        assert ["idle", *A_CELL] == one.words
        assert "ünï\n" == printed(one.told)
        expected: type = bytes if subprotocols else str
        assert {expected} == {type(frame) for frame in one.frames}
        parents = [message.parent for message in one.told[1:]]
        assert {("s", "1")} == {(one.session, one.msg_id) for one in parents if one}


@BOTH
async def test_buffers_go_there_and_back(
    gateway: Gateway, kernel: str, subprotocols: tuple[str, ...]
) -> None:
    buffers = (b"one", b"", bytes(range(256)) * 100)
    async with socket(gateway, kernel, subprotocols=subprotocols) as one:
        await one.next()
        await one.send(request_of("comm_msg", {"comm_id": "c"}, buffers=buffers))
        await until(lambda: gateway.kernel.requests)
        sent = gateway.kernel.requests[-1]
        assert buffers == getattr(sent, "buffers", None)
        listener: Any = gateway.kernel._listener
        listener.on_message(request_of("comm_msg", {}, channel=Channel.IOPUB, buffers=buffers))
        await one.hears("comm_msg")
        assert buffers == one.told[-1].buffers
        assert isinstance(one.frames[-1], bytes)


@BOTH
@pytest.mark.parametrize("size", [0, 1, 100, 200, 2**16, 2**20, 3 * 2**20])
async def test_a_message_of_any_size_comes_whole(
    gateway: Gateway, kernel: str, subprotocols: tuple[str, ...], size: int
) -> None:
    async with socket(gateway, kernel, subprotocols=subprotocols) as one:
        await one.next()
        tell(gateway.kernel, "x" * size)
        await one.hears("stream")
        assert "x" * size == printed(one.told)


async def test_a_message_that_names_no_channel_is_for_the_shell(
    gateway: Gateway, kernel: str
) -> None:
    header: dict[str, Json] = {**HEADER, "msg_type": "kernel_info_request"}
    async with socket(gateway, kernel) as one:
        for frame in ({"header": header}, {"header": header, "channel": None}):
            await one.connection.write_message(json.dumps(frame))
        await one.hears("kernel_info_reply", 2)
        assert {Channel.SHELL} == {request.channel for request in gateway.kernel.requests}


async def test_very_many_messages_come_in_order(gateway: Gateway, kernel: str) -> None:
    async with socket(gateway, kernel) as one:
        for n in range(5000):
            tell(gateway.kernel, f"{n}\n")
            if n % 500 == 0:
                await asyncio.sleep(0)
        wanted = "".join(f"{n}\n" for n in range(5000))
        await one.until(lambda: one.frames and "4999\\n" in str(one.frames[-1]))
        assert wanted == printed(one.told)


async def test_a_message_may_come_in_fragments_with_a_ping_between(
    gateway: Gateway, kernel: str
) -> None:
    data = to_legacy(cell_of("print a"))[0]
    async with raw_socket(gateway, kernel) as one:
        await one.send(TEXT, data[:10], final=False)
        await one.send(PING, b"hello")
        await one.send(CONTINUED, data[10:20], final=False)
        await one.send(CONTINUED, data[20:])
        assert await one.message("execute_reply")


async def test_a_client_without_a_session_has_one_of_its_own(gateway: Gateway, kernel: str) -> None:
    async with socket(gateway, kernel) as one, socket(gateway, kernel) as other:
        await one.next()
        await other.next()
        assert 2 == await connections(gateway, kernel)
        await one.send(cell_of("print a"))
        await one.hears("execute_reply")
        await other.hears("idle", 2)
        assert "execute_reply" not in other.words


async def test_what_is_sent_before_the_kernel_is_there_is_answered(gateway: Gateway) -> None:
    kernel = await gateway.new_kernel()
    async with socket(gateway, kernel) as one:
        await one.send(cell_of("print a"))
        await one.hears("execute_reply")


# -- frames that are none --------------------------------------------------------------------------


def legacy(**fields: Json) -> str:
    whole: dict[str, Json] = {"channel": "shell", "header": HEADER, **fields}
    return json.dumps(whole)


BAD_FRAMES: dict[str, str | bytes] = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "null": "null",
    "an unknown channel": legacy(channel="nowhere"),
    "a channel that is no text": legacy(channel=5),
    "no header": legacy(header={}),
    "a type that is no text": legacy(header={"msg_type": 5}),
    "an ID that is no text": legacy(header={**HEADER, "msg_id": 5}),
    "a parent that is no object": legacy(parent_header=5),
    "content that is no object": legacy(content="x"),
    "no code": legacy(header={**HEADER, "msg_type": "execute_request"}),
    "code that is no text": legacy(
        header={**HEADER, "msg_type": "execute_request"}, content={"code": 5}
    ),
    "very deep": "[" * 10_000,
    "empty binary": b"",
    "more parts than bytes": b"\xff" * 64,
    "half a part": struct.pack(">II", 1, 8) + b"{",
}


@pytest.mark.parametrize("frame", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
async def test_a_bad_frame_closes_its_socket_and_says_why(
    gateway: Gateway, kernel: str, frame: str | bytes
) -> None:
    async with socket(gateway, kernel) as bad, socket(gateway, kernel) as good:
        await bad.connection.write_message(frame, binary=isinstance(frame, bytes))
        code, reason = await bad.gone()
        assert (1007, True) == (code, bool(reason))
        await good.send(cell_of("print a"))
        await good.hears("execute_reply")
    assert 1 == len(gateway.kernel.requests)


BAD_V1_FRAMES: dict[str, str | bytes] = {
    "2^64 - 1 offsets": struct.pack("<Q", 2**64 - 1) + bytes(56),
    "2^63 offsets": struct.pack("<Q", 2**63) + b"\xff" * 56,
    "empty": b"",
    "too short": b"x",
    "offsets that fall": struct.pack("<7Q", 6, 56, 60, 58, 62, 64, 66) + bytes(10),
    "an end beyond the end": b"".join(to_v1(cell_of("print a"))[0])[:-1],
    "an unknown channel": b"".join(to_v1(cell_of("x"))[0]).replace(b"shell", b"shelf"),
    "a text": "a text",
}


@pytest.mark.parametrize("frame", BAD_V1_FRAMES.values(), ids=BAD_V1_FRAMES.keys())
async def test_a_bad_frame_of_v1_closes_its_socket_and_says_why(
    gateway: Gateway, kernel: str, frame: str | bytes
) -> None:
    async with socket(gateway, kernel, subprotocols=(V1_PROTOCOL,)) as bad:
        await bad.connection.write_message(frame, binary=isinstance(frame, bytes))
        code, reason = await bad.gone()
        assert (1007, True) == (code, bool(reason))
    assert [] == gateway.kernel.requests


async def test_a_long_reason_is_cut_to_what_a_close_frame_takes(
    gateway: Gateway, kernel: str
) -> None:
    async with socket(gateway, kernel) as bad:
        await bad.connection.write_message(legacy(channel="ü" * 10_000))
        code, reason = await bad.gone()
        assert 1007 == code
        assert "there is no channel" in str(reason)


async def test_text_that_is_none_closes_its_socket(gateway: Gateway, kernel: str) -> None:
    async with raw_socket(gateway, kernel) as bad:
        await bad.send(TEXT, b'{"\xff')
        await bad.end()
    await until_connections(gateway, kernel, 0)


async def test_what_comes_behind_a_bad_frame_is_not_heard(gateway: Gateway, kernel: str) -> None:
    async with raw_socket(gateway, kernel) as bad:
        bad.writer.write(frame_of(TEXT, b"{") + frame_of(TEXT, to_legacy(cell_of("print a"))[0]))
        assert 1007 == (await bad.close_frame())[0]
        await bad.send(CLOSE, b"")
        await bad.end()
    assert [] == gateway.kernel.requests


async def test_a_message_that_is_too_big_closes_with_a_reason(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, max_message_bytes=2000) as gateway:
        kernel = await ready_kernel(gateway)
        async with socket(gateway, kernel) as one:
            await one.send(cell_of("x" * 500))
            await one.hears("execute_reply")
            await one.send(cell_of("x" * 2000))
            assert (1009, "message too big") == await one.gone()
        await until_connections(gateway, kernel, 0)


async def test_fragments_that_are_too_big_together_close_with_a_reason(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, max_message_bytes=2000) as gateway:
        kernel = await ready_kernel(gateway)
        async with raw_socket(gateway, kernel) as one:
            await one.send(TEXT, b"x" * 1500, final=False)
            await one.send(CONTINUED, b"x" * 1500)
            assert (1009, "message too big") == await one.close_frame()


async def test_who_sends_too_much_is_told_while_it_is_still_sending(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, max_message_bytes=2000) as gateway:
        kernel = await ready_kernel(gateway)
        size = 50 * 2**20
        async with raw_socket(gateway, kernel) as one:
            told = asyncio.create_task(one.close_frame())
            one.writer.write(frame_of(BINARY, b"", announced=size))
            for _ in range(size // 2**16):
                one.writer.write(bytes(2**16))
                await one.writer.drain()
            assert (1009, "message too big") == await told
        await until_connections(gateway, kernel, 0)


async def test_who_sends_too_much_and_never_ends_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "LINGER_S", 0.05)
    async with gateway_with(tmp_path, max_message_bytes=2000) as gateway:
        kernel = await ready_kernel(gateway)
        async with raw_socket(gateway, kernel) as one:
            await one.send(BINARY, b"", final=True)
            one.writer.write(frame_of(BINARY, b"x", announced=10**6))
            await one.end()


# -- pings -----------------------------------------------------------------------------------------


async def test_what_was_acknowledged_by_a_pong_is_not_told_again(
    gateway: Gateway, kernel: str
) -> None:
    async with raw_socket(gateway, kernel, session_id="s") as one:
        await one.cell("print a")
        await one.message("execute_reply")
        number = b"0"
        while int(number) < len(["idle", *A_CELL]):
            number = await one.ping()
            await one.send(PONG, number)
        await one.cell("print b", "2")
        await one.message("execute_reply")
    await until_connections(gateway, kernel, 0)
    async with socket(gateway, kernel, session_id="s") as again:
        await again.hears("execute_reply")
        await again.until(lambda: {"idle", "execute_reply"} <= set(again.words))
        assert "b\n" == printed(again.told)
        assert "stream" == again.words[2]


async def test_what_was_not_acknowledged_is_told_again(gateway: Gateway, kernel: str) -> None:
    async with raw_socket(gateway, kernel, session_id="s") as one:
        await one.cell("print a")
        await one.message("execute_reply")
        await one.ping()
    await until_connections(gateway, kernel, 0)
    tell(gateway.kernel, "while it was away")
    async with socket(gateway, kernel, session_id="s") as again:
        await again.hears("stream", 2)
        assert ["idle", *A_CELL, "stream"] == again.words
    await until_connections(gateway, kernel, 0)
    async with socket(gateway, kernel, session_id="new") as new:
        await new.next()
        assert ["idle"] == new.words


async def test_the_number_of_a_ping_is_that_of_the_last_message_and_pongs_ask_for_the_next(
    gateway: Gateway, kernel: str
) -> None:
    async with raw_socket(gateway, kernel) as one:
        first = await one.ping()
        tell(gateway.kernel, "a")
        await one.message("stream")
        await one.send(PONG, first)  # not yet of the newest
        second = await one.ping()
        assert int(first) < int(second)
        await one.send(PONG, second)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"9" * 30, b"999999", "²".encode()],
    ids=["nothing", "no number", "a long number", "a number to come", "a number for people"],
)
async def test_a_pong_that_nobody_has_asked_for_acknowledges_nothing(
    gateway: Gateway, kernel: str, data: bytes
) -> None:
    async with raw_socket(gateway, kernel, session_id="s") as one:
        await one.message("idle")
        await one.send(PONG, data)
        await one.cell("print a")
        await one.message("execute_reply")
    await until_connections(gateway, kernel, 0)
    async with socket(gateway, kernel, session_id="s") as again:
        await again.until(lambda: len(again.words) == 6)
        assert ["idle", *A_CELL] == again.words


async def test_a_peer_that_answers_no_ping_is_found(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, ping_s=0.1) as gateway:
        kernel = await ready_kernel(gateway)
        async with raw_socket(gateway, kernel) as dead:
            await dead.end()
        await until_connections(gateway, kernel, 0)


@pytest.mark.parametrize(("ping_s", "acknowledge_s"), [(0.1, 0.2), (0.6, 0.45)])
async def test_a_peer_that_answers_no_more_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ping_s: float, acknowledge_s: float
) -> None:
    """Whether it was asked because of the time, or because of what it was told."""
    monkeypatch.setattr(channels, "ACKNOWLEDGE_S", acknowledge_s)
    async with gateway_with(tmp_path, ping_s=ping_s) as gateway:
        kernel = await ready_kernel(gateway)
        async with raw_socket(gateway, kernel) as dead:
            await dead.send(PONG, await dead.ping())
            tell(gateway.kernel, "x")
            await dead.end()
        await until_connections(gateway, kernel, 0)


async def test_a_peer_that_answers_stays(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, ping_s=0.05) as gateway:
        kernel = await ready_kernel(gateway)
        async with raw_socket(gateway, kernel) as alive:
            for _ in range(6):
                await alive.send(PONG, await alive.ping())
            await alive.cell("print a")
            assert await alive.message("execute_reply")


async def test_no_peer_is_looked_for_where_none_is_to_be(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, ping_s=0.0) as gateway:
        kernel = await ready_kernel(gateway)
        async with socket(gateway, kernel) as one:
            await one.send(cell_of("print a"))
            await one.hears("execute_reply")


# -- too slow --------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_stops_no_other_and_misses_nothing(
    gateway: Gateway, kernel: str
) -> None:
    size, count = 2**17, 96  # more than the buffers of sockets take
    async with raw_socket(gateway, kernel) as slow, socket(gateway, kernel) as quick:
        await quick.next()
        for n in range(count):
            tell(gateway.kernel, f"{n:04}" + "x" * size)
            await quick.hears("stream", n + 1)
        assert count * (size + 4) == len(printed(quick.told))
        for n in range(count):
            text = str((await slow.message("stream")).content["text"])
            assert f"{n:04}" == text[:4]
            assert size + 4 == len(text)


async def test_a_client_that_does_not_read_is_told_what_was_dropped(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, limits={"spool_bytes": 2**20}) as gateway:
        kernel = await ready_kernel(gateway)
        async with raw_socket(gateway, kernel) as slow, socket(gateway, kernel) as quick:
            await quick.next()
            for n in range(200):
                data: dict[str, Json] = {"data": {"text/plain": "x" * 2**17}, "metadata": {}}
                gateway.kernel.tell(Channel.IOPUB, "display_data", data, None)
                await quick.hears("display_data", n + 1)
            notice = await slow.message("stream")
            assert "stderr" == notice.content["name"]
            assert "were dropped here" in str(notice.content["text"])


async def test_a_client_that_reads_nothing_of_what_may_not_be_dropped_has_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "KEPT_BYTES", 2**22)
    error: dict[str, Json] = {"ename": "E", "evalue": "x" * 2**17, "traceback": []}
    async with gateway_with(tmp_path, limits={"spool_bytes": 2**20}) as gateway:
        kernel = await ready_kernel(gateway)
        async with raw_socket(gateway, kernel) as slow:
            await slow.message("idle")
            for _ in range(300):
                gateway.kernel.tell(Channel.IOPUB, "error", error, None)
                await asyncio.sleep(0)
            await until_connections(gateway, kernel, 0)
            assert (1013, Parting.TOO_SLOW.value) == await slow.close_frame()


# -- readers with a limit --------------------------------------------------------------------------

BIG = 12 * 2**20


async def sizes_of_a_big_text(gateway: Gateway, kernel: str, **how: Any) -> list[int]:
    async with socket(gateway, kernel, **how) as one:
        await one.next()
        tell(gateway.kernel, "x" * BIG)
        await one.until(lambda: len(printed(one.told)) == BIG)
        return [len(frame) for frame in one.frames[1:]]


async def test_a_jupyter_server_is_told_a_big_text_in_frames_that_it_takes(
    gateway: Gateway,
) -> None:
    kernel = await ready_kernel(gateway, {"KERNEL_LAUNCH_TIMEOUT": "40"})
    sizes = await sizes_of_a_big_text(gateway, kernel)
    assert len(sizes) > 1
    assert max(sizes) <= JUPYTER_SERVER_FRAME_BYTES
    assert 1 == len(await sizes_of_a_big_text(gateway, kernel, subprotocols=(V1_PROTOCOL,)))


async def test_who_says_to_be_one_is_taken_for_one(gateway: Gateway, kernel: str) -> None:
    assert 1 == len(await sizes_of_a_big_text(gateway, kernel))
    assert 1 < len(await sizes_of_a_big_text(gateway, kernel, reader="jupyterlab"))
    v1 = {"subprotocols": (V1_PROTOCOL,), "reader": "jupyterlab"}
    assert 1 == len(await sizes_of_a_big_text(gateway, kernel, **v1))


@pytest.mark.parametrize(("small_frames", "is_cut"), [("always", True), ("never", False)])
async def test_a_setting_has_the_last_word_on_big_frames(
    tmp_path: Path, small_frames: str, is_cut: bool
) -> None:
    async with gateway_with(tmp_path, small_frames=small_frames) as gateway:
        kernel = await ready_kernel(gateway, {"KERNEL_LAUNCH_TIMEOUT": "40"})
        for subprotocols in ((), (V1_PROTOCOL,)):
            sizes = await sizes_of_a_big_text(gateway, kernel, subprotocols=subprotocols)
            assert is_cut is (len(sizes) > 1)


async def test_lab_is_not_told_of_a_restart_as_of_a_death(gateway: Gateway) -> None:
    kernel = await ready_kernel(gateway, {"KERNEL_LAUNCH_TIMEOUT": "40"})
    async with (
        socket(gateway, kernel) as lab,
        socket(gateway, kernel, subprotocols=(V1_PROTOCOL,)) as other,
    ):
        await lab.next()
        await other.next()
        assert 200 == (await gateway.post(f"/api/kernels/{kernel}/restart", {})).status
        for one in (lab, other):
            await one.hears("idle", 2)
        assert ["idle", "starting", "idle"] == lab.words
        assert ["idle", "restarting", "idle"] == other.words


# -- how it ends -----------------------------------------------------------------------------------


@BOTH
async def test_a_deleted_kernel_closes_its_sockets(
    gateway: Gateway, kernel: str, subprotocols: tuple[str, ...]
) -> None:
    async with socket(gateway, kernel, subprotocols=subprotocols) as one:
        await one.send(cell_of("sleep"))
        await one.hears("execute_input")
        assert 204 == (await gateway.delete(f"/api/kernels/{kernel}")).status
        assert (1000, Parting.DELETED.value) == await one.gone()
        assert ["execute_reply", "idle", "dead"] == one.words[-3:]


async def test_a_second_socket_of_a_session_takes_over(gateway: Gateway, kernel: str) -> None:
    async with socket(gateway, kernel, session_id="s") as first:
        await first.next()
        async with socket(gateway, kernel, session_id="s") as second:
            assert (4409, Parting.REPLACED.value) == await first.gone()
            await second.send(cell_of("print a"))
            await second.hears("execute_reply")
            assert 1 == await connections(gateway, kernel)


async def test_who_sends_too_many_cells_is_told_to_come_back(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, limits={"max_cells": 2}) as gateway:
        kernel = await ready_kernel(gateway)
        async with socket(gateway, kernel, session_id="s") as one:
            await one.send(cell_of("sleep"))
            await one.send(cell_of("print a", "2"))
            assert (1013, Parting.TOO_MUCH.value) == await one.gone()
        async with socket(gateway, kernel, session_id="s") as again:
            gateway.kernel.release()
            await again.hears("execute_reply", 2)


async def test_a_client_that_leaves_stops_nothing(gateway: Gateway, kernel: str) -> None:
    async with socket(gateway, kernel, session_id="s") as one:
        await one.send(cell_of("sleep\nprint on"))
        await one.hears("execute_input")
    await until_connections(gateway, kernel, 0)
    gateway.kernel.release()
    async with socket(gateway, kernel, session_id="s") as again:
        await again.hears("execute_reply")
        assert "on\n" == printed(again.told)


async def test_a_client_that_vanishes_while_it_is_written_to_harms_nobody(
    gateway: Gateway, kernel: str
) -> None:
    async with socket(gateway, kernel) as stays:
        await stays.next()
        async with raw_socket(gateway, kernel) as goes:
            for _ in range(96):  # more than the buffers of sockets take
                tell(gateway.kernel, "x" * 2**18)
            await goes.message("stream")
        await stays.hears("stream", 96)
        await until_connections(gateway, kernel, 1)


async def test_a_client_that_has_vanished_before_we_know_harms_nobody(
    gateway: Gateway, kernel: str
) -> None:
    async with raw_socket(gateway, kernel) as gone, socket(gateway, kernel) as stays:
        await stays.next()
        await gone.message("idle")
        gone.writer.transport.abort()
        await asyncio.sleep(0)  # now it is closed at that end
        for _ in range(4):
            tell(gateway.kernel, "x" * 2**20)
        await stays.hears("stream", 4)
        await until_connections(gateway, kernel, 1)


async def test_a_kernel_says_how_many_sockets_are_open(gateway: Gateway, kernel: str) -> None:
    assert 0 == await connections(gateway, kernel)
    async with socket(gateway, kernel) as one:
        await one.next()
        assert 1 == await connections(gateway, kernel)
    await until_connections(gateway, kernel, 0)


async def test_sockets_end_with_the_gateway(tmp_path: Path) -> None:
    async with gateway_with(tmp_path) as gateway:
        kernel = await ready_kernel(gateway)
        one = Socket(await connect(gateway, path_of(kernel)))
        await one.next()
        await gateway.service.close()
        assert 1000 == (await one.gone())[0]
        assert "dead" == one.words[-1]
        await one.leave()


async def test_the_parent_of_what_a_run_of_the_queue_says_is_the_gateways_request(
    gateway: Gateway, kernel: str
) -> None:
    async with socket(gateway, kernel) as one:
        await one.next()
        await gateway.query(kernel, "print a")
        await one.hears("idle", 2)
        assert ["idle", "busy", "execute_input", "stream", "idle"] == one.words
        parent = one.told[-1].parent
        assert parent is not None
        assert gateway.kernel.session == parent.session
