"""Connections: how they are taken, how much of a request is read, and how serving ends.

Knows Tornado's server. Must not know routes: it gets the application ready-made.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, SSLIOStream

from kernel_gateway.process_limits import descriptors
from kernel_gateway.web.listening import SocketFile, on_port, tls_context

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from tornado.web import Application

    from kernel_gateway.web.settings import WebSettings

log = logging.getLogger(__name__)

#: By which address a person on this machine reaches what listens on every one.
_LOCALLY = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
REST_S = 1.0  # of a listener that has no descriptors left
TELL_EVERY_S = 60.0  # that it rests
AT_ONCE = 32  # connections of a burst; then everybody else has a turn
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server:
    """Made, in a thread: it listens. Then `serve`, and at the end `close`."""

    def __init__(self, settings: WebSettings) -> None:
        """Raises `Refused` when there is no place to be had, or no certificate."""
        self._settings = settings
        self._tls = tls_context(settings.tls)
        self._file = SocketFile(settings.sock, settings.sock_mode) if settings.sock else None
        self._sockets = on_port(settings) if self._file is None else [self._file.socket]
        #: 0 on a unix socket.
        self.port: int = self._sockets[0].getsockname()[1] if self._file is None else 0
        self._http: HTTPServer | None = None
        self._listeners: list[_Listener] = []

    @property
    def url(self) -> str:
        """For a person on this machine; without the token."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}{self._where}{self._settings.base_url}/"

    @property
    def _where(self) -> str:
        if self._file is not None:  # as Jupyter's servers write it
            return f"+unix://{quote(str(self._file.path), safe='')}"
        ip = self._settings.ip
        host = _LOCALLY.get(ip, ip)
        return f"://[{host}]:{self.port}" if ":" in host else f"://{host}:{self.port}"

    def serve(self, application: Application) -> None:
        settings = self._settings
        self._http = _Server(
            application,
            max_header_size=settings.max_header_bytes,
            idle_connection_timeout=settings.header_timeout_s,
            body_timeout=settings.body_timeout_s,
        )
        take = self._http.handle_stream
        self._listeners = [_Listener(sock, self._tls, take) for sock in self._sockets]

    async def close(self) -> None:
        """No new connections; those that are open are closed."""
        for listener in self._listeners:
            listener.stop()
        if self._file is not None:
            await asyncio.to_thread(self._file.remove)
        for sock in self._sockets:
            sock.close()
        if self._http is not None:
            await self._http.close_all_connections()


class _Listener:
    """Accepts connections, and takes a rest while there are no descriptors for more.

    Tornado's own would try again at once, with a traceback in the log each time: no turn of the
    loop would be left for what could close some. It would also take the last one, which the store
    may need.
    """

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
        take: Callable[[IOStream, Any], None],
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self._told_at = -math.inf
        self._begin()

    def stop(self) -> None:
        self._loop.remove_reader(self._sock)
        if self._rest is not None:
            self._rest.cancel()

    def _begin(self) -> None:
        self._rest = None
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if (now := descriptors()).are_out:
                self._pause(str(now))
                return
            try:
                connection, address = self._sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # by the client, before we came to it
                continue
            except OSError as fault:
                if fault.errno not in _EXHAUSTED:
                    raise
                self._pause(f"{fault.strerror}; {now}")
                return
            stream = self._stream(connection)
            if stream is not None:
                self._take(stream, address)

    def _stream(self, connection: socket.socket) -> IOStream | None:
        """None when the client has gone already. A handshake is part of the first request's head,
        and must be over in its time."""
        if self._tls is None:
            return IOStream(connection)
        try:
            secured = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            connection.close()
            return None
        return SSLIOStream(secured)

    def _pause(self, why: str) -> None:
        now = self._loop.time()
        if now >= self._told_at + TELL_EVERY_S:  # it may last for days
            self._told_at = now
            log.warning("no connection is taken for %g s: %s", REST_S, why)
        self._loop.remove_reader(self._sock)
        self._rest = self._loop.call_later(REST_S, self._begin)


class _Server(HTTPServer):
    def handle_stream(self, stream: IOStream, address: Any) -> None:
        # The second small write of an answer would wait 40 ms for the client's delayed ACK.
        stream.set_nodelay(True)
        super().handle_stream(stream, address)
