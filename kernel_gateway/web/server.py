"""The listening sockets: where, how much of a request is taken, and how serving ends.

Knows Tornado's server. Must not know routes: it gets the application ready-made.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer

from kernel_gateway.errors import Refused

if TYPE_CHECKING:
    import socket

    from tornado.iostream import IOStream
    from tornado.web import Application

    from kernel_gateway.web.settings import WebSettings

log = logging.getLogger(__name__)

EVERY_ADDRESS = {"", "*"}
#: By which address a person on this machine reaches what listens on every one.
_LOCALLY = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_TAKEN = {errno.EADDRINUSE, errno.EACCES}


class Server:
    """Made: it listens. Then `serve`, and at the end `close`."""

    def __init__(self, settings: WebSettings) -> None:
        """Raises `Refused` when there is no port to be had."""
        self._settings = settings
        self._sockets = _bound(settings)
        self.port: int = self._sockets[0].getsockname()[1]
        self._http: HTTPServer | None = None

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
        self._http.add_sockets(self._sockets)

    async def close(self) -> None:
        """No new connections; those that are open are closed."""
        if self._http is None:
            for sock in self._sockets:
                sock.close()
            return
        self._http.stop()
        await self._http.close_all_connections()


class _Server(HTTPServer):
    def handle_stream(self, stream: IOStream, address: Any) -> None:
        # The second small write of an answer would wait 40 ms for the client's delayed ACK.
        stream.set_nodelay(True)
        super().handle_stream(stream, address)


def _bound(settings: WebSettings) -> list[socket.socket]:
    """On the port of the settings, or on the next one that is free."""
    address = "" if settings.ip in EVERY_ADDRESS else settings.ip
    last = min(settings.port + settings.port_retries, 65_535) if settings.port else 0
    for port in range(settings.port, last + 1):
        try:
            sockets = _listening(address, port)
        except OSError as fault:
            if fault.errno not in _TAKEN:
                raise Refused(
                    f"Cannot listen on {settings.ip}: {fault.strerror or fault}."
                ) from fault
            log.info("port %d is not free: %s", port, fault.strerror)
        else:
            return sockets
    ports = f"port {last}" if last == settings.port else f"ports {settings.port} to {last}"
    raise Refused(f"Cannot listen on {settings.ip}: {ports} are taken. Choose another with --port.")


def _listening(address: str | None, port: int) -> list[socket.socket]:
    """One socket an address of that name, all on one port; none is left open if one fails.

    Tornado's `bind_sockets` leaves them to the garbage collector.
    """
    sockets: list[socket.socket] = []
    try:
        for family, where in _addresses(address, port):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            _bind(sock, where)
            port = sock.getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets
