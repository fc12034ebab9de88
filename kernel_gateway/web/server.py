"""The listening sockets: where, how much of a request is taken, and how serving ends.

Knows Tornado's server. Must not know routes: it gets the application ready-made.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from kernel_gateway.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.web import Application

    from kernel_gateway.web.settings import WebSettings

log = logging.getLogger(__name__)

EVERY_ADDRESS = {"", "*"}
#: By which address a person on this machine reaches what listens on every one.
_LOCALLY = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
BACKLOG = 128
_BACKLOG = 128
REST_S = 1.0  # of a listener that has no descriptors left
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TAKEN = {errno.EADDRINUSE, errno.EACCES}


class Server:
    """Made: it listens. Then `serve`, and at the end `close`."""

    def __init__(self, settings: WebSettings) -> None:
        """Raises `Refused` when there is no port to be had."""
        self._settings = settings
        self._sockets = _bound(settings)
        self.port: int = self._sockets[0].getsockname()[1]
        self._http: HTTPServer | None = None
        self._listeners: list[_Listener] = []

    @property
    def url(self) -> str:
        """For a person on this machine; without the token."""
        ip = self._settings.ip
        host = (
            "127.0.0.1" if ip in EVERY_ADDRESS or ip == "0.0.0.0" else "::1" if ip == "::" else ip
        )
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def serve(self, application: Application) -> None:
        settings = self._settings
        self._http = _Server(
            application,
            max_header_size=settings.max_header_bytes,
            idle_connection_timeout=settings.header_timeout_s,
            body_timeout=settings.body_timeout_s,
        )
        self._listeners = [_Listener(sock, self._http.handle_stream) for sock in self._sockets]

    async def close(self) -> None:
        """No new connections; those that are open are closed."""
        for listener in self._listeners:
            listener.stop()
        for sock in self._sockets:
            sock.close()
        if self._http is not None:
            await self._http.close_all_connections()


class _Listener:
    """Accepts connections, and takes a rest while there are no descriptors for more.

    Tornado's own would try again at once, with a traceback in the log each time: no turn of the
    loop would be left for what could close some.
    """

    def __init__(self, sock: socket.socket, take: Callable[[IOStream, Any], None]) -> None:
        self._sock = sock
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self._begin()

    def stop(self) -> None:
        self._loop.remove_reader(self._sock)
        if self._rest is not None:
            self._rest.cancel()

    def _begin(self) -> None:
        self._rest = None
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                connection, address = self._sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # by the client, before we came to it
                continue
            except OSError as fault:
                if fault.errno not in _EXHAUSTED:
                    raise
                self._pause(fault)
                return
            self._take(IOStream(connection), address)

    def _pause(self, fault: OSError) -> None:
        log.warning("no connection is taken for %g s: %s", REST_S, fault.strerror)
        self._loop.remove_reader(self._sock)
        self._rest = self._loop.call_later(REST_S, self._begin)


class _Server(HTTPServer):
    def handle_stream(self, stream: IOStream, address: Any) -> None:
        # The second small write of an answer would wait 40 ms for the client's delayed ACK.
        stream.set_nodelay(True)
        super().handle_stream(stream, address)


def _bound(settings: WebSettings) -> list[socket.socket]:
    """On the port of the settings, or on the next one that is free."""
    address = None if settings.ip in EVERY_ADDRESS else settings.ip
    last = min(settings.port + settings.port_retries, 65_535) if settings.port else 0
    for port in range(settings.port, last + 1):
        try:
            sockets = _listening(address, port)
        except OSError as fault:
            if fault.errno not in _TAKEN:
                raise Refused(
                    f"Cannot listen on {settings.ip}: {fault.strerror or fault}."
                ) from fault
        else:
            if port != settings.port:
                log.info("port %d is taken, %d is free", settings.port, port)
            return sockets
    single = last == settings.port
    taken = f"port {last} is taken" if single else f"ports {settings.port} to {last} are taken"
    raise Refused(f"Cannot listen on {settings.ip}: {taken}. Choose another with --port.")


def _listening(address: str | None, port: int) -> list[socket.socket]:
    """One socket for each address of that name, all on one port. If one fails none is left open,
    where Tornado's `bind_sockets` leaves the others to the garbage collector."""
    found = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, _, _, _, where in sorted(set(found)):
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            _listen(sock, (where[0], port, *where[2:]))
            port = sock.getsockname()[1]  # 0 has become a number by now
            sockets.append(sock)
        stack.pop_all()
    return sockets


def _listen(sock: socket.socket, where: tuple[Any, ...]) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family is socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has one of its own
    sock.setblocking(False)
    sock.bind(where)
    sock.listen(_BACKLOG)
