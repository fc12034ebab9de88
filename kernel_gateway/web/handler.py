"""What all routes have in common: who may call, how much is read, how answers and errors look.

Knows HTTP and Tornado. Must not know what any route does. A route is a subclass with a method a
verb: `on_get`, `on_post`, `on_delete`; it gets the segments of its path, and raises `errors.py`.

Order of things: host, token and size are looked at before a byte of the body is read (`prepare`). A
caller that is refused while it still sends is told at once and then read on for a moment, because a
connection closed on unread data loses the answer on its way.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tornado.web import HTTPError, RequestHandler, stream_request_body

from kernel_gateway.errors import (
    GatewayError,
    InvalidField,
    JsonNeeded,
    MethodNotAllowed,
    OurFault,
    RangeRefused,
    RouteNotFound,
    TooLarge,
    TooMany,
)
from kernel_gateway.messaging.strict_json import Json, encode
from kernel_gateway.web import headers, render, schemas
from kernel_gateway.web.auth import Caller, Hosts, Origins, Tokens, redacted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from types import TracebackType

    from tornado.http1connection import HTTP1Connection

    from kernel_gateway.service import Keys, Owner, RunUid, Service
    from kernel_gateway.web.settings import WebSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

LINGER_S = 3.0  # how long a refused caller may go on sending
RETRY_AFTER_S = 5  # where the error knows no better
_NO_LIMIT = 2**62  # of Tornado's own, which answers in its own shape; ours comes before
_SAFE = {"GET", "HEAD", "OPTIONS"}
_GONE = 499  # the client closed the connection; for the access log alone

#: No answer of ours is a page: should a browser show one, it may do nothing.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "kernel-gateway",
}


class Calls:
    """How many calls are being served: the server ends when the last has its answer."""

    def __init__(self) -> None:
        self.since = time.time()  # wall clock, as the next
        self.last_change = self.since  # when somebody has last asked for something to be changed
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(self, *exc_info: object) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def over(self, limit_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), limit_s)


@dataclass(frozen=True, slots=True)
class Door:
    """What every handler is given: the engine, and who may call it."""

    service: Service
    tokens: Tokens
    hosts: Hosts
    origins: Origins
    settings: WebSettings
    version: str
    calls: Calls
    keys: Keys
    #: How many are being told of a run while it happens.
    readers: Counter[RunUid] = field(default_factory=Counter)


@stream_request_body
class Handler(RequestHandler):
    #: Whether a body must say that it is JSON. Jupyter's clients do not always.
    needs_json_type: ClassVar[bool] = True

    _turned_away: GatewayError | None = None
    #: What lets a page of another origin read the answer.
    _shared: Mapping[str, str] = MappingProxyType({})

    def initialize(self, door: Door) -> None:
        self.door = door
        self._body = bytearray()
        self._waiting: asyncio.Future[Any] | None = None
        self._gone = False

    @property
    def service(self) -> Service:
        return self.door.service

    @property
    def owner(self) -> Owner:
        return self._caller.owner

    # -- before the body -------------------------------------------------------------------------

    def set_default_headers(self) -> None:
        """Tornado asks again before it writes an error, for which all headers are made anew."""
        self._set_headers(_HEADERS)
        self._set_headers(self._shared)

    def _set_headers(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            self.set_header(name, value)

    def prepare(self) -> Awaitable[None] | None:
        self.take_over()
        try:
            self._admit()
        except GatewayError as fault:
            self.turn_away(fault)
        return None

    def take_over(self) -> None:
        """Of Tornado what we do ourselves."""
        self._connection.stream.set_nodelay(True)
        self._connection.set_max_body_size(_NO_LIMIT)
        self._shared = self.door.origins.headers(self.request)
        self._set_headers(self._shared)

    def turn_away(self, fault: GatewayError) -> None:
        """Before a body is read. Where none will come it is told when the request is complete:
        Tornado closes a connection that is answered earlier, and does not say so."""
        if self._body_follows():
            self._refuse(fault)
        else:
            self._turned_away = fault

    def _admit(self) -> None:
        self.door.hosts.check(self.request.host)
        if not self.is_preflight():
            self.admit(self.door.tokens.caller(self.request))

    def is_preflight(self) -> bool:
        return self.door.origins.is_preflight(self.request)

    def admit(self, caller: Caller) -> None:
        self._caller = caller
        self._check_trust()
        self._check_size(self._announced_size())

    def _check_trust(self) -> None:
        """A browser says which page makes it call, or should. And no page of another site can make
        it send one of the two below without asking us."""
        if self.request.method in _SAFE:
            return
        self.door.origins.check(self.request)
        if self._caller.by_header or self._says_json():
            return
        raise JsonNeeded(
            "A call that changes something needs the token in a header: "
            "'Authorization: token <TOKEN>' (or, with ?token=, 'Content-Type: application/json')."
        )

    def _says_json(self) -> bool:
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return kind == headers.JSON or (kind.startswith("application/") and kind.endswith("+json"))

    def _announced_size(self) -> int:
        size = self.request.headers.get("Content-Length", "0")
        return int(size) if size.isascii() and size.isdigit() else 0  # else Tornado refuses it

    def _check_size(self, size: int) -> None:
        most = self.door.settings.max_body_bytes
        if size > most:
            raise TooLarge(f"The body is longer than {most} bytes.")

    def _body_follows(self) -> bool:
        said = self.request.headers
        return "Transfer-Encoding" in said or said.get("Content-Length", "0") != "0"

    def _refuse(self, fault: GatewayError) -> None:
        """Answer now, whatever is still to come."""
        self.set_header("Connection", "close")
        self._write_fault(fault)
        if self.request.headers.get("Expect", "").lower() == "100-continue":
            self.finish()  # it waits for our word before it sends the body
            return
        self.set_header("Content-Length", sum(map(len, self._write_buffer)))
        self.flush()
        self._connection.set_body_timeout(LINGER_S)

    def data_received(self, chunk: bytes) -> None:
        if self._headers_written:
            return  # refused; it is read for politeness
        try:
            self._check_size(len(self._body) + len(chunk))  # a chunked body says no size before
        except TooLarge as fault:
            self.set_header("Connection", "close")
            self._write_fault(fault)
            self.finish()
            return
        self._body += chunk

    @property
    def _connection(self) -> HTTP1Connection:
        connection: HTTP1Connection = self.request.connection  # type: ignore[assignment]
        return connection

    # -- the call --------------------------------------------------------------------------------

    async def _serve(self, *path: str) -> None:
        if self._headers_written:
            self.finish()  # refused before its body had come
            self._connection.close()
            return
        if self._turned_away is not None:
            raise self._turned_away
        if self.is_preflight():
            self._set_headers(self.door.origins.preflight_headers())
            self.set_status(HTTPStatus.NO_CONTENT)
            return
        verb = self.request.method or ""
        act = getattr(self, f"on_{verb.lower()}", None)
        if act is None:
            raise MethodNotAllowed(f"{verb} is not served here; {self._allowed()} is.")
        with self.door.calls:
            if verb not in _SAFE:
                self.door.calls.last_change = time.time()
            await act(*path)

    get = post = put = patch = delete = head = options = _serve

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Of a path; what is not UTF-8 becomes lone surrogates, which the schemas refuse."""
        return value.decode(errors="surrogateescape")

    def _allowed(self) -> str:
        verbs = ("get", "post", "put", "patch", "delete")
        return ", ".join(verb.upper() for verb in verbs if hasattr(self, f"on_{verb}"))

    def body(self) -> Mapping[str, Json]:
        """Raises `BadJson` and `JsonNeeded`."""
        if self._body and self.needs_json_type and not self._says_json():
            raise JsonNeeded(
                "Send the body as JSON and say so with the header "
                "'Content-Type: application/json' (curl: -H 'Content-Type: application/json')."
            )
        return schemas.parse_body(bytes(self._body))

    def wanted_type(self, *offers: str) -> str:
        """The MIME type that the client wants most of these. Raises `NotAcceptable`."""
        return headers.accepted(self.request.headers.get("Accept", ""), offers)

    async def held(self, work: Awaitable[T]) -> T:
        """Await what may take long. A client that goes away ends the waiting and nothing else."""
        task: asyncio.Future[T] = asyncio.ensure_future(work)
        self._waiting = task
        try:
            return await task
        finally:
            self._waiting = None

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._gone = True
        if self._waiting is not None:
            self._waiting.cancel()

    # -- the answer ------------------------------------------------------------------------------

    def answer(self, value: Mapping[str, Json], status: int = HTTPStatus.OK) -> None:
        self.set_status(status)
        self.set_header("Content-Type", headers.JSON)
        self.write(encode(value))

    def compute_etag(self) -> str | None:
        """Tornado hashes each answer; a route that has something to say says it itself."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado calls it for whatever a handler has raised, and for its own errors."""
        if self._gone:
            self.set_status(_GONE, "Client Closed Request")
            self.finish()
            return
        fault = kwargs.get("exc_info", (None, None))[1]
        if isinstance(fault, GatewayError) and _is_expected(fault):
            self._write_fault(fault)
        elif isinstance(fault, HTTPError):
            self._write_http_error(fault)
        else:
            self._write_internal()

    def _write_fault(self, fault: GatewayError) -> None:
        status = self.status_of(fault)
        self._say_what_to_do(fault)
        if status == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", "Bearer")
        self._write_error_object(status, render.fault_json(fault))

    def _say_what_to_do(self, fault: GatewayError) -> None:
        """In headers, which are the same whatever the body looks like."""
        if isinstance(fault, (TooMany, OurFault)):
            self.set_header("Retry-After", getattr(fault, "retry_after_s", RETRY_AFTER_S))
        if isinstance(fault, MethodNotAllowed):
            self.set_header("Allow", self._allowed())
        if isinstance(fault, RangeRefused):
            self.set_header("Content-Range", f"bytes */{fault.size}")

    def _write_http_error(self, fault: HTTPError) -> None:
        """One of Tornado's own: a verb that it does not know, a target that it cannot read."""
        status = HTTPStatus(fault.status_code)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", self._allowed())
        code = {405: MethodNotAllowed.code}.get(status, status.name.lower())
        self._write_error_object(status, render.error_json(code, status.phrase))

    def _write_internal(self) -> None:
        error = render.error_json(
            "internal",
            f"Something went wrong on our side; see {self._fault_id} in the gateway's log.",
            details={"id": self._fault_id},
        )
        self._write_error_object(HTTPStatus.INTERNAL_SERVER_ERROR, error)

    def _write_error_object(self, status: int, error: Mapping[str, Json]) -> None:
        self.answer(self.error_body(status, error), status)

    def error_body(self, status: int, error: Mapping[str, Json]) -> dict[str, Json]:
        return {"error": dict(error)}

    def status_of(self, fault: GatewayError) -> int:
        return fault.status

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """What the caller is to blame for is in the access log alone."""
        if self._gone or isinstance(value, HTTPError):
            return
        if isinstance(value, GatewayError) and _is_expected(value):
            return
        self._fault_id = uuid.uuid4().hex
        where = f"{self.request.method} {redacted(self.request.uri or '')}"
        log.error("%s failed on our side, id %s", where, self._fault_id, exc_info=(typ, value, tb))  # type: ignore[arg-type]


def _is_expected(fault: GatewayError) -> bool:
    return fault.status != HTTPStatus.INTERNAL_SERVER_ERROR


async def close_iterator(iterator: AsyncIterator[object]) -> None:
    """One that was not read to its end may still hold something."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()


class JupyterHandler(Handler):
    """In the shapes of Jupyter's own server, which its clients read."""

    needs_json_type = False

    def error_body(self, status: int, error: Mapping[str, Json]) -> dict[str, Json]:
        return render.jupyter_error(status, error)

    def status_of(self, fault: GatewayError) -> int:
        return HTTPStatus.BAD_REQUEST if isinstance(fault, InvalidField) else fault.status


#: Below these, errors have the shape that Jupyter's clients read.
_OF_JUPYTER = (
    "/api/kernels",
    "/api/kernelspecs",
    "/api/me",
    "/api/sessions",
    "/api/status",
    "/kernelspecs",
)


class NoSuchRoute(Handler):
    """Every other path, for all verbs."""

    needs_json_type = False

    async def on_get(self) -> None:
        raise RouteNotFound("There is nothing at this address.")

    on_post = on_put = on_patch = on_delete = on_head = on_options = on_get

    def error_body(self, status: int, error: Mapping[str, Json]) -> dict[str, Json]:
        if self._is_of_jupyter():
            return render.jupyter_error(status, error)
        return super().error_body(status, error)

    def _is_of_jupyter(self) -> bool:
        path = self.request.path.removeprefix(self.door.settings.base_url)
        return any(path == route or path.startswith(f"{route}/") for route in _OF_JUPYTER)


def access_log(handler: RequestHandler) -> None:
    """One line a request, without its token. Tornado calls it when the answer is written."""
    request = handler.request
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
    if not log.isEnabledFor(level):
        return  # most calls: and the address is not looked through for a token
    log.log(
        level,
        "%d %s %s (%s) %.1f ms",
        status,
        request.method,
        redacted(request.uri or ""),
        request.remote_ip,
        1000 * request.request_time(),
    )
