"""Sockets that listen: on a port, or on a path; and the certificates that we show there.

Knows addresses, files and OpenSSL. Must not know what is served. Everything is refused in a line
that says what to do. All of it blocks: call it in threads.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import ssl
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kernel_gateway.web.settings import TlsSettings, WebSettings

log = logging.getLogger(__name__)

EVERY_ADDRESS = {"", "*"}
BACKLOG = 1024  # many clients come back at once; Linux cuts it to net.core.somaxconn
PROBE_S = 1.0  # for whoever may listen on the path already
_TAKEN = {errno.EADDRINUSE, errno.EACCES}


# -- on a port ----------------------------------------------------------------------------------


def on_port(settings: WebSettings) -> list[socket.socket]:
    """On the port of the settings, or on the next one that is free. Raises `Refused`."""
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
    sock.listen(BACKLOG)


# -- on a path ----------------------------------------------------------------------------------


class SocketFile:
    """A unix socket that listens. `remove` takes its file away, unless it is another's by now."""

    def __init__(self, path: Path, mode: int) -> None:
        """What a server that has ended left there is replaced, and nothing else. Raises
        `Refused`."""
        self.path = path
        try:
            with _alone(path.parent):
                _make_room(path)
                self.socket = _at(path, mode)
                self._made = _identity(path)
        except OSError as fault:
            raise Refused(f"Cannot listen on {path}: {fault.strerror or fault}.") from fault

    def remove(self) -> None:
        with suppress(OSError), _alone(self.path.parent):
            if _identity(self.path) == self._made:
                self.path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two that start at once: the second must not take the first one's socket for a stale one."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _make_room(path: Path) -> None:
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found):
        raise Refused(f"Cannot listen on {path}: something else than a socket is there.")
    if _is_alive(path):
        raise Refused(f"Cannot listen on {path}: another server does. Choose another Web.sock.")
    path.unlink()


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except (TimeoutError, BlockingIOError):  # so many are waiting for it
            return True
    return True


def _at(path: Path, mode: int) -> socket.socket:
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        os.fchmod(sock.fileno(), mode)  # so that the file never is wider, not for a moment
        sock.bind(os.fspath(path))
        path.chmod(mode)  # what the umask has taken
        sock.setblocking(False)
        sock.listen(BACKLOG)
        stack.pop_all()
    return sock


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


# -- TLS ----------------------------------------------------------------------------------------


def tls_context(settings: TlsSettings) -> ssl.SSLContext | None:
    """None: plain text. Raises `Refused`."""
    if settings.certfile is None:
        if settings.keyfile is not None or settings.client_ca is not None:
            raise Refused("Web.keyfile and Web.client_ca mean nothing without Web.certfile.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An empty password, as OpenSSL would ask at the terminal for the one of an encrypted key.
    with _readable("Web.certfile or Web.keyfile", settings.certfile, settings.keyfile):
        context.load_cert_chain(settings.certfile, settings.keyfile, password="")
    if settings.client_ca is not None:
        with _readable("Web.client_ca", settings.client_ca):
            context.load_verify_locations(settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextmanager
def _readable(name: str, *files: Path | None) -> Iterator[None]:
    try:
        for file in filter(None, files):
            file.open("rb").close()  # OpenSSL does not say which one it is
        yield
    except ssl.SSLError as fault:
        told = (fault.reason or "no certificate or key in PEM").replace("_", " ").lower()
        raise Refused(f"{name} cannot be used: {told}; a key must not be encrypted.") from None
    except OSError as fault:
        raise Refused(f"{name} cannot be read: {fault.strerror} ({fault.filename}).") from None
