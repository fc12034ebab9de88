"""One kernel that a fork server has made: its process and the connection that it lives by.

Knows the wire, and a connection to a server. Must not know how a server is found, nor what a
provisioner is. Nothing is kept of a loop: jupyter_client's blocking managers call from several.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from kernel_gateway.fork_server.wire import (
    DESCRIPTORS,
    Exited,
    Fault,
    Forked,
    ForkRequest,
    read_answer,
    request_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel_gateway.fork_server.wire import Answer

_MOST_BYTES = 2**16  # of an answer: a number, or a sentence
_UNWANTED_LIMIT_S = 0.5  # for a kernel to come and to go
_GONE = "It has gone."
_LOST = -signal.SIGKILL  # kernels do not outlive their server


class Broken(Exception):
    """The server has gone, or says what it should not."""


class Refused(Exception):
    """There is no kernel, says the server, and why."""


class ForkedKernel:
    """As much of `subprocess.Popen` as provisioners ask for; of a process that is not our child.

    Await `exited`; then `close`, which lets the server reap it. Until then its number is its own.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, connection: socket.socket, on_close: Callable[[], None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._on_close = on_close
        _KEPT.add(self)

    def __repr__(self) -> str:
        return f"<ForkedKernel {self.pid} returncode={self.returncode}>"

    def poll(self) -> int | None:
        # What was told stays in the socket, so whoever waits in another loop wakes up as well.
        if self.returncode is None and self in _KEPT:
            with suppress(BlockingIOError):
                self.returncode = _told_code(self._connection)
        return self.returncode

    async def exited(self) -> int:
        while (code := self.poll()) is None:
            await _readable(self._connection)
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Blocks; for those who expect a Popen."""
        if self.poll() is None:
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            poll.poll(None if timeout is None else timeout * 1000)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("ipykernel_launcher", timeout or 0.0)
        return code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Its group is killed, if any of it is left. Harmless when it is closed."""
        if self in _KEPT:
            self.poll()
            _KEPT.discard(self)
            self._connection.close()
            self._on_close()

    def let_go(self) -> None:
        """In a forked child: it is not who has asked for it."""
        self._connection.close()


async def forked(
    connection: socket.socket,
    request: ForkRequest,
    descriptors: Sequence[int],
    on_close: Callable[[], None],
) -> ForkedKernel:
    """The kernel that the server makes. The connection is the kernel's, or closed.

    Raises `Refused` and `Broken`.
    """
    assert len(descriptors) == DESCRIPTORS
    try:
        await _send(connection, request_line(request), descriptors)
        match await _wanted_answer(connection):
            case Forked(pid):
                return ForkedKernel(pid, connection, on_close)
            case Fault(why):
                raise Refused(why)
            case Exited():
                raise Broken("It tells of an end before it has told of a start.")
    except OSError as fault:
        connection.close()
        on_close()
        why = _GONE if isinstance(fault, ConnectionError) else str(fault)
        raise Broken(why) from fault
    except BaseException:
        connection.close()
        on_close()
        raise


async def _send(connection: socket.socket, line: bytes, descriptors: Sequence[int]) -> None:
    """The connection is new, so it takes the beginning at once."""
    sent = socket.send_fds(connection, [line], list(descriptors))
    await asyncio.get_running_loop().sock_sendall(connection, line[sent:])


async def _wanted_answer(connection: socket.socket) -> Answer:
    """Who does not want it any more finds no process when he comes back: it is on its way."""
    try:
        return await _answer(connection)
    except asyncio.CancelledError:
        with suppress(Broken, OSError):  # TimeoutError is one: the server ends it when it can
            async with asyncio.timeout(_UNWANTED_LIMIT_S):
                match await _answer(connection):
                    case Forked(pid):
                        os.kill(pid, signal.SIGKILL)
                        await _answer(connection)
        raise


async def _answer(connection: socket.socket) -> Answer:
    while True:
        try:
            line = _line(connection)
        except BlockingIOError:
            await _readable(connection)
        else:
            connection.recv(len(line))
            return _read(line)


def _told_code(connection: socket.socket) -> int:
    """Raises `BlockingIOError` while it runs."""
    try:
        answer = _read(_line(connection))
    except (Broken, ConnectionError):
        return _LOST
    return answer.code if isinstance(answer, Exited) else _LOST


def _line(connection: socket.socket) -> bytes:
    """The next one; it stays in the socket. Raises `BlockingIOError` when none is there."""
    seen = connection.recv(_MOST_BYTES, socket.MSG_PEEK)
    line, end, _ = seen.partition(b"\n")
    if not end:  # a server sends each line in one piece
        raise Broken("It has said half a line." if seen else _GONE)
    return line + end


def _read(line: bytes) -> Answer:
    try:
        return read_answer(line)
    except ValueError as fault:
        raise Broken(str(fault)) from fault


async def _readable(connection: socket.socket) -> None:
    """Any number may wait, each in its own loop; a loop knows one reader a descriptor."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    watched = os.dup(connection.fileno())
    loop.add_reader(watched, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(watched)
        os.close(watched)


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


#: As with Popen, a kernel does not end because somebody has dropped the object.
_KEPT: set[ForkedKernel] = set()


def _let_go_all() -> None:
    kept = list(_KEPT)
    _KEPT.clear()
    for kernel in kept:
        kernel.let_go()


os.register_at_fork(after_in_child=_let_go_all)
