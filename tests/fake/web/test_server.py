"""Sockets and bytes: what is read, what is refused before it is read, what is closed."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import Refused
from kernel_gateway.web.handler import Calls
from kernel_gateway.web.server import Server
from kernel_gateway.web.settings import WebSettings
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

QUERY = "token=s3cret-t%C3%B6k%C3%A9n"
EXECUTE = f"POST /api/kernels/none/execute?{QUERY} HTTP/1.1\r\nHost: localhost\r\n".encode()
STRANGER = b"POST /api/kernels/none/execute HTTP/1.1\r\nHost: localhost\r\n"
IS_JSON = b"Content-Type: application/json\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> str:
    code: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    return code


async def test_a_stranger_is_told_before_the_body_is_sent(gateway: Gateway) -> None:
    answer = await gateway.raw(STRANGER + b"Content-Length: 60000000\r\n\r\n")
    assert (status_of(answer), error_of(answer)) == (401, "unauthorized")


async def test_a_body_that_is_too_long_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    answer = await gateway.raw(EXECUTE + IS_JSON + b"Content-Length: 67108865\r\n\r\n")
    assert (status_of(answer), error_of(answer)) == (413, "too_large")


async def test_who_sends_on_still_gets_the_answer(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, max_body_bytes=1000)
    async with running_gateway(tmp_path, settings) as gateway:
        body = b"x" * 8_000_000  # far more than sockets buffer
        head = f"Content-Length: {len(body)}\r\n\r\n".encode()
        for begin, status in ((EXECUTE + IS_JSON, 413), (STRANGER, 401)):
            assert status_of(await gateway.raw(begin + head + body)) == status


async def test_who_waits_for_our_word_is_not_told_to_send(gateway: Gateway) -> None:
    head = b"Expect: 100-continue\r\nContent-Length: 67108865\r\n\r\n"
    for begin, status in ((EXECUTE + IS_JSON, 413), (STRANGER, 401)):
        answer = await gateway.raw(begin + head)
        assert status_of(answer) == status
        assert b"100" not in answer.splitlines()[0]


async def test_a_chunked_body_is_stopped_at_the_limit(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, max_body_bytes=1000)
    async with running_gateway(tmp_path, settings) as gateway:
        chunk = b"190\r\n" + b"x" * 400 + b"\r\n"
        head = EXECUTE + IS_JSON + b"Transfer-Encoding: chunked\r\n\r\n"
        answer = await gateway.raw(head + 3 * chunk)
        assert (status_of(answer), error_of(answer)) == (413, "too_large")


async def test_code_above_its_limit_is_413_by_name(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, max_code_bytes=10)
    async with running_gateway(tmp_path, settings) as gateway:
        kernel_id = await gateway.new_kernel()
        assert (await gateway.execute(kernel_id, mode="query", code="print äää")).status == 413
        answer = await gateway.execute(kernel_id, mode="query", code="print 12345")
        assert (answer.error["code"], answer.error["field"]) == ("too_large", "code")
        assert (await gateway.execute(kernel_id, mode="query", code="print 1234")).status == 200


async def test_code_of_many_megabytes_is_run(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    text = "x" * 20_000_000
    result = await gateway.query(kernel_id, f"late {text}\nprint ok", options={"wait": 60})
    assert result["console"] == [["stdout", "ok\n"]]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",  # TLS
        b"garbage\r\n\r\n",
        EXECUTE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        EXECUTE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        EXECUTE + b"Content-Length: abc\r\n\r\nabc",
        EXECUTE + b"Content-Length: -1\r\n\r\n",
        EXECUTE + b"Transfer-Encoding: gzip\r\n\r\n",
        EXECUTE + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        EXECUTE + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        EXECUTE + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        EXECUTE + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        EXECUTE + b"Content-Length: 1_0\r\n\r\n0123456789",
        EXECUTE + b"X: y\r\n" * 20_000 + b"\r\n",
        EXECUTE + b"X : y\r\n\r\n",
        EXECUTE + b"X: a\0b\r\n\r\n",
        EXECUTE + b"Host: evil.example\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/api HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
        b"GET /api HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0" * 5000 + b"\r\n\r\n",
        b"\xff" * 100_000,
        b"\r\n" * 50_000,
        b"GET /api HTTP/1.1\r\n\r\n",  # no Host
    ],
)
async def test_what_is_no_request_is_closed_and_nobody_else_harmed(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    caplog.set_level(logging.INFO)
    answer = await gateway.raw(data)
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert 1 >= len(caplog.records)
    assert (await gateway.get("/api")).status == 200


async def test_a_request_that_never_ends_is_closed(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, header_timeout_s=0.05, body_timeout_s=0.05)
    async with running_gateway(tmp_path, settings) as gateway:
        assert await gateway.raw(b"GET /api HTTP/1.1\r\nHost: localhost\r\nX: ") == b""
        assert await gateway.raw(EXECUTE + IS_JSON + b"Content-Length: 9\r\n\r\n{") == b""


async def test_a_head_that_drips_is_closed_in_the_same_time(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, header_timeout_s=0.1)
    async with running_gateway(tmp_path, settings) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /api HTTP/1.1\r\nHost: localhost\r\nX: ")
        with suppress(ConnectionError):
            while not reader.at_eof() and reader.exception() is None:
                writer.write(b"y")  # it never falls silent
                await writer.drain()
                await asyncio.sleep(0)
        assert 200 == (await gateway.get("/api")).status
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_many_idle_connections_stop_nobody(gateway: Gateway) -> None:
    pairs = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(300)]
    try:
        assert (await gateway.get("/api")).status == 200
    finally:
        for _, writer in pairs:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in pairs))


# -- ports ---------------------------------------------------------------------------------------


async def test_the_next_free_port_is_taken() -> None:
    first = Server(WebSettings(token=TOKEN, port=0))
    second = Server(WebSettings(token=TOKEN, port=first.port, port_retries=20))
    try:
        assert first.port < second.port <= first.port + 20
        with pytest.raises(Refused, match=f"port {first.port} .*--port"):
            Server(WebSettings(token=TOKEN, port=first.port, port_retries=0))
    finally:
        await first.close()
        await second.close()


async def test_an_address_that_is_not_ours_is_refused_in_a_line() -> None:
    with pytest.raises(Refused, match=r"Cannot listen on 203\.0\.113\.7"):
        Server(WebSettings(token=TOKEN, ip="203.0.113.7", port=0))


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
async def test_ipv6_is_served_and_shown_in_brackets(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, ip="::1", port=0)
    async with running_gateway(tmp_path, settings) as gateway:
        reader, writer = await asyncio.open_connection("::1", gateway.port)
        writer.write(
            f"GET /api?{QUERY} HTTP/1.1\r\nHost: [::1]:{gateway.port}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert status_of(await reader.read()) == 200
        writer.close()
    server = Server(settings)
    assert server.url == f"http://[::1]:{server.port}/"
    await server.close()


@pytest.mark.parametrize(
    ("ip", "host"), [("*", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")]
)
async def test_the_url_is_one_that_a_person_can_open(ip: str, host: str) -> None:
    server = Server(WebSettings(token=TOKEN, ip=ip, port=0))
    assert server.url == f"http://{host}:{server.port}/"
    await server.close()


async def test_the_last_answers_are_waited_for() -> None:
    calls = Calls()
    await calls.over(0)
    with calls:
        await calls.over(0.01)
        waiting = asyncio.create_task(calls.over(30))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


def test_the_token_is_not_in_the_repr_of_settings() -> None:
    assert TOKEN not in repr(WebSettings(token=TOKEN))
