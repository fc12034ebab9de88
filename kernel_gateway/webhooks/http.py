"""Calls of receivers over HTTP, on Tornado's connections.

Knows sockets, TLS and the one thing that matters of an answer: its head. Must not know runs. Not on
Tornado's `AsyncHTTPClient`: a fetch that is cancelled holds its connection, and the body of an
answer is read to its end. A proxy that the environment names is not used, nor a redirect followed:
both would call something else than what `addresses.py` has judged.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError
from tornado.netutil import Resolver
from tornado.tcpclient import TCPClient

from kernel_gateway.webhooks.addresses import Target, is_allowed, target_of
from kernel_gateway.webhooks.sender import Answer, SendFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.webhooks.settings import WebhookSettings

#: To one receiver; further calls of it wait. One that never answers so holds nobody else's.
CONNECTIONS = 32
_LOOKUPS = 8  # threads; a name server that does not answer holds one for half a minute
_HEAD_BYTES = 2**14
_INFORMATIONAL = range(100, 200)


class HttpSender:
    """Implements `sender.Sender`. Make it off the loop (it reads certificates); close it."""

    def __init__(self, settings: WebhookSettings, *, tls: ssl.SSLContext | None = None) -> None:
        self._timeout_s = settings.timeout_s
        self._lookups = ThreadPoolExecutor(_LOOKUPS, "kernel_gateway.webhooks lookup")
        self._client = TCPClient(_CheckedResolver(settings=settings, executor=self._lookups))
        self._tls = tls or ssl.create_default_context()
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Semaphore] = WeakValueDictionary()

    def close(self) -> None:
        """After the last `send` has returned or was cancelled."""
        self._client.close()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            target = target_of(url)
        except ValueError as fault:
            raise SendFailed(str(fault), final=True) from None
        # Alive as long as somebody waits for it or has it.
        turn = self._turns.setdefault((target.host, target.port), asyncio.Semaphore(CONNECTIONS))
        async with turn:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._post(target, headers, body)
            except TimeoutError:
                raise SendFailed(f"no answer within {self._timeout_s:g} s") from None
            except OSError as fault:
                raise SendFailed(_why(fault)) from fault

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        # No timeout of its own: with one Tornado lets a look-up go on, and logs how it ends.
        stream = await self._client.connect(
            target.host, target.port, ssl_options=self._tls if target.secure else None
        )
        try:
            parameters = HTTP1ConnectionParameters(no_keep_alive=True, max_header_size=_HEAD_BYTES)
            connection = HTTP1Connection(stream, is_client=True, params=parameters)
            connection.write_headers(
                RequestStartLine("POST", target.path, "HTTP/1.1"),
                _sent(target, headers, body),
                body,
            )
            connection.finish()
            return await _answer(connection)
        finally:
            stream.close()


async def _answer(connection: HTTP1Connection) -> Answer:
    head = _Head(connection)
    try:
        await connection.read_response(head)
    except StreamClosedError:
        if head.answer is None:
            raise
    if head.answer is None:
        raise SendFailed("the answer is not HTTP")
    return head.answer


class _Head(HTTPMessageDelegate):
    """Takes the head of an answer and hangs up: a body could be endless."""

    def __init__(self, connection: HTTP1Connection) -> None:
        self.answer: Answer | None = None
        self._connection = connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        assert isinstance(start_line, ResponseStartLine)
        if start_line.code not in _INFORMATIONAL:
            self.answer = Answer(status=start_line.code, retry_after_s=_retry_after_s(headers))
            self._connection.stream.close()


def _sent(target: Target, headers: Mapping[str, str], body: bytes) -> HTTPHeaders:
    return HTTPHeaders(
        {
            **headers,
            "Host": target.authority,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
    )


def _retry_after_s(headers: HTTPHeaders) -> float | None:
    """Seconds, or a date: by the receiver's own clock, for ours may differ."""
    wanted = headers.get("Retry-After", "").strip()
    if wanted.isascii() and wanted.isdecimal():
        return float(wanted)
    try:
        until, now = map(parsedate_to_datetime, (wanted, headers["Date"]))
        return max(0.0, (until - now).total_seconds())
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def _why(fault: OSError) -> str:
    if isinstance(fault, StreamClosedError):
        fault = fault.real_error if isinstance(fault.real_error, OSError) else fault
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {fault.verify_message}"
    if isinstance(fault, socket.gaierror):
        return "its name has no address"
    if isinstance(fault, StreamClosedError):
        return "the connection was closed without an answer"
    return fault.strerror or type(fault).__name__


class _CheckedResolver(Resolver):
    """Gives the addresses that may be called, and no others: there is no second look-up."""

    def initialize(self, settings: WebhookSettings, executor: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._executor = executor

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._executor, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
        )
        allowed: list[tuple[int, Any]] = [
            (kind, address)
            for kind, _, _, _, address in found
            if is_allowed(host, ip_address(address[0]), self._settings)
        ]
        if not allowed:
            raise SendFailed(f"the host {host} may not be called", final=True)
        return allowed
