"""Calls of receivers over real sockets: what gets through, what ends a call, who is not called."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.webhooks.http import CONNECTIONS, HttpSender
from kernel_gateway.webhooks.sender import Answer, SendFailed
from kernel_gateway.webhooks.settings import WebhookSettings
from tests.shared.receiver import HANG_LIMIT_S, Receiver, endlessly, never, receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("no_blocking_call")

LOOPBACK = WebhookSettings(allowed_hosts=("127.0.0.0/8", "localhost"))
CERTIFICATE = Path(__file__).with_name("webhook_receiver.pem")  # of localhost; with its key


@asynccontextmanager
async def a_sender(
    settings: WebhookSettings = LOOPBACK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HttpSender]:
    sender = await asyncio.to_thread(lambda: HttpSender(settings, tls=tls))
    try:
        yield sender
    finally:
        sender.close()


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    async with a_sender() as sender:
        yield sender


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def send(sender: HttpSender, url: str, body: bytes = b"{}", **headers: str) -> Answer:
    async with asyncio.timeout(HANG_LIMIT_S):
        return await sender.send(url, headers, body)


async def failure(sender: HttpSender, url: str, body: bytes = b"{}") -> SendFailed:
    with pytest.raises(SendFailed) as raised:
        await send(sender, url, body)
    return raised.value


async def test_a_body_and_its_headers_arrive_as_they_are(
    sender: HttpSender, receiver: Receiver
) -> None:
    body = '{"text":"grüße"}'.encode() * 50_000
    answer = await send(sender, receiver.url, body, Hello="there")
    (post,) = receiver.posts
    assert Answer(status=200) == answer
    assert "POST /hook?of=me HTTP/1.1" == post.line
    assert body == post.body
    assert "there" == post.headers["hello"]
    assert f"127.0.0.1:{receiver.port}" == post.headers["host"]


async def test_each_status_is_told(sender: HttpSender, receiver: Receiver) -> None:
    statuses = [200, 204, 304, 404, 410, 500, 503]
    receiver.reacts(*statuses)
    assert statuses == [(await send(sender, receiver.url)).status for _ in statuses]


async def test_a_redirect_is_told_and_not_followed(sender: HttpSender, receiver: Receiver) -> None:
    async with receiving() as other:
        location = f"Location: {other.url}".encode()
        receiver.reacts(b"HTTP/1.1 307 Go\r\n%s\r\nContent-Length: 0\r\n\r\n" % location)
        assert 307 == (await send(sender, receiver.url)).status
        assert [] == other.posts


async def test_an_answer_without_an_end_is_not_read(sender: HttpSender, receiver: Receiver) -> None:
    receiver.reacts(endlessly)
    assert 200 == (await send(sender, receiver.url)).status


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
async def test_an_answer_counts_when_its_head_is_there(
    sender: HttpSender, receiver: Receiver, framing: bytes
) -> None:
    receiver.reacts(b"HTTP/1.1 200 OK\r\n%s\r\n\r\nhalf" % framing)
    assert 200 == (await send(sender, receiver.url)).status


async def test_what_comes_before_the_answer_is_passed_over(
    sender: HttpSender, receiver: Receiver
) -> None:
    receiver.reacts(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n")
    assert 202 == (await send(sender, receiver.url)).status


@pytest.mark.parametrize(
    ("headers", "wanted_s"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: Thu, 01 Jan 2026 00:01:00 GMT\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT", 60.0),
        ("Retry-After: Thu, 01 Jan 2026 00:00:00 GMT\r\nDate: Thu, 01 Jan 2026 00:01:00 GMT", 0.0),
        ("Retry-After: Thu, 01 Jan 2026 00:01:00 GMT", None),
        ("Retry-After: Thu, 01 Jan 2026 00:01:00\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT", None),
        ("Retry-After: -1", None),
        ("Retry-After: Thu, 01 Jan 99999999999999999999 00:00:00 GMT\r\nDate: now", None),
        ("Retry-After: soon\r\nDate: now", None),
        ("X: y", None),
    ],
)
async def test_a_receiver_says_when_it_wants_to_be_called_again(
    sender: HttpSender, receiver: Receiver, headers: str, wanted_s: float | None
) -> None:
    receiver.reacts(f"HTTP/1.1 429 Slow\r\n{headers}\r\nContent-Length: 0\r\n\r\n".encode())
    assert Answer(status=429, retry_after_s=wanted_s) == await send(sender, receiver.url)


@pytest.mark.parametrize(
    ("reaction", "why"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nHalf-a-head", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2**15, "the connection was closed without an answer"),
    ],
)
async def test_what_is_no_answer_may_be_tried_again(
    sender: HttpSender, receiver: Receiver, reaction: bytes, why: str
) -> None:
    receiver.reacts(reaction)
    fault = await failure(sender, receiver.url)
    assert (why, False) == (fault.why, fault.final)


async def test_a_receiver_that_is_down_may_be_tried_again(sender: HttpSender) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        fault = await failure(sender, f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert ("Connection refused", False) == (fault.why, fault.final)


async def test_a_receiver_that_never_answers_is_waited_for_no_longer_than_the_limit(
    receiver: Receiver,
) -> None:
    receiver.reacts(never)
    settings = WebhookSettings(timeout_s=0.05, allowed_hosts=LOOPBACK.allowed_hosts)
    async with a_sender(settings) as sender:
        fault = await failure(sender, receiver.url)
    assert ("no answer within 0.05 s", False) == (fault.why, fault.final)


async def test_a_call_that_is_cancelled_holds_no_connection(
    sender: HttpSender, receiver: Receiver
) -> None:
    receiver.reacts(never)
    call = asyncio.create_task(send(sender, receiver.url))
    await receiver.until_posts(1)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()  # the fixtures look for its socket


async def test_one_receiver_is_called_a_bounded_number_of_times_at_once(
    sender: HttpSender, receiver: Receiver
) -> None:
    opened = asyncio.Event()

    async def when_opened(writer: asyncio.StreamWriter) -> None:
        await opened.wait()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    receiver.reacts(then=when_opened)
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(send(sender, receiver.url)) for _ in range(CONNECTIONS + 5)]
        await receiver.until_posts(CONNECTIONS)
        async with receiving() as other:  # nobody waits for the calls of another receiver
            assert 200 == (await send(sender, other.url)).status
        opened.set()
    assert {200} == {call.result().status for call in calls}
    assert CONNECTIONS == receiver.most_at_once


# -- names and addresses ------------------------------------------------------------------------


def resolved(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name has these addresses. Gives the names that are looked up."""
    names: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any) -> list[Any]:
        names.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


async def test_a_name_of_a_private_address_is_not_called(receiver: Receiver) -> None:
    async with a_sender(WebhookSettings()) as sender:
        fault = await failure(sender, f"http://localhost:{receiver.port}/")
    assert ("the host localhost may not be called", True) == (fault.why, fault.final)
    assert [] == receiver.posts


async def test_what_is_connected_to_is_what_was_judged(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = resolved(monkeypatch, "127.0.0.1")
    async with a_sender(WebhookSettings(allowed_hosts=("*.example",))) as sender:
        await send(sender, f"http://a.example:{receiver.port}/")
    assert ["a.example"] == names  # once: a second answer could name another address
    assert f"a.example:{receiver.port}" == receiver.posts[0].headers["host"]


async def test_of_several_addresses_only_those_are_called_that_may_be(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved(monkeypatch, "10.0.0.1", "127.0.0.1", "169.254.169.254")
    async with a_sender(WebhookSettings(allowed_hosts=("127.0.0.1",))) as sender:
        await send(sender, f"http://a.example:{receiver.port}/")
    assert 1 == len(receiver.posts)


async def test_a_name_without_an_address_may_be_tried_again(
    sender: HttpSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    fault = await failure(sender, "http://nowhere.example/")
    assert ("its name has no address", False) == (fault.why, fault.final)


async def test_what_is_no_url_is_not_called(sender: HttpSender) -> None:
    fault = await failure(sender, "ftp://example.org/")
    assert ("http:// or https:// is needed", True) == (fault.why, fault.final)


async def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    async with a_sender() as sender:
        assert 200 == (await send(sender, receiver.url)).status


# -- TLS ------------------------------------------------------------------------------------------


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_a_receiver_whose_certificate_is_trusted_is_called_by_tls() -> None:
    trusting = await asyncio.to_thread(ssl.create_default_context, cafile=CERTIFICATE)
    async with (
        receiving(await asyncio.to_thread(_server_context)) as receiver,
        a_sender(tls=trusting) as sender,
    ):
        assert 200 == (await send(sender, f"https://localhost:{receiver.port}/")).status
        assert b"{}" == receiver.posts[0].body
        fault = await failure(sender, f"https://127.0.0.1:{receiver.port}/")  # not in it
    assert "its certificate is refused" in fault.why


async def test_a_receiver_whose_certificate_is_not_trusted_is_not_called() -> None:
    async with (
        receiving(await asyncio.to_thread(_server_context)) as receiver,
        a_sender() as sender,
    ):
        fault = await failure(sender, f"https://localhost:{receiver.port}/")
    assert "its certificate is refused: self-signed certificate" == fault.why
    assert not fault.final
    assert [] == receiver.posts
