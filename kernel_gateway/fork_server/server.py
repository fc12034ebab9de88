"""Who has asked for which kernel, and what has become of it: one thread, one loop, no waiting.

Nothing that a client sends, or does not send, holds up the others. A kernel belongs to one client:
it is killed when that is gone, and is reaped only then, so that its number stays its own. How a
copy of this process becomes a kernel is in `rebirth.py`; `serve` returns in it.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from kernel_gateway.fork_server.rebirth import FAULT, REBORN, Birth, request_fault
from kernel_gateway.fork_server.wire import (
    DESCRIPTORS,
    MOST_BYTES,
    Exited,
    Fault,
    Forked,
    answer_line,
    read_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_gateway.fork_server.wire import Answer, ForkRequest

_CHUNK = 65536
#: For a child to become a kernel. It takes milliseconds, but its folder may be on a slow disk.
BIRTH_S = 10.0
#: For what is killed to be dead, at the end.
_DEATH_S = 5.0
#: Until somebody who looks for a server may have found one.
_RETRY_S = 0.05
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_CREDENTIALS = struct.Struct("3i")  # process, user, group


@dataclass(slots=True, eq=False)
class _Client:
    sock: socket.socket
    line: bytearray = field(default_factory=bytearray)
    descriptors: list[int] = field(default_factory=list)
    has_asked: bool = False
    kernel: _Kernel | None = None


@dataclass(slots=True, eq=False)
class _Kernel:
    pid: int
    pidfd: int
    client: _Client | None  # None: it is gone
    report: int | None  # the end of a pipe, until it has been read
    late_at: float  # for its report
    code: int | None = None  # when it is a zombie


class Server:
    """`listener` is bound to `path`; `lock` is a file that is locked by who looks for a server, or
    ends one. When nobody has come until `lonely_at` it ends."""

    def __init__(self, listener: socket.socket, path: str, lock: str, lonely_at: float) -> None:
        self._listener = listener
        self._path = path
        self._inode = _inode(path)
        self._lock = lock
        self._lonely_at = lonely_at
        self._clients: set[_Client] = set()
        self._kernels: set[_Kernel] = set()
        self._selector = selectors.DefaultSelector()
        self._accepts = False
        self._end_by: float | None = None  # when it has been told to end
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> Birth | None:
        """Returns in each child, with what it is to be; and with None when the server has ended."""
        self._listener.set_inheritable(False)
        self._listener.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._on_signal)
        signal.set_wakeup_fd(self._waker)
        for number in _ENDING:
            signal.signal(number, _wake)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, there were no zombies
        self._accept_again()
        while not self._has_ended():
            for key, _ in self._selector.select(self._patience()):
                if (birth := self._done(key.data)) is not None:
                    return birth
            for kernel in [one for one in self._kernels if one.late_at <= time.monotonic()]:
                self._done(partial(self._on_late, kernel))
        self._let_go()
        return None

    # -- the loop ----------------------------------------------------------------------------------

    def _done(self, task: Callable[[], Birth | None]) -> Birth | None:
        try:
            return task()
        except Exception as fault:  # the driver: one client's trouble is not that of the others
            with suppress(OSError):
                sys.stderr.write(f"{type(fault).__name__}: {fault}\n")
            return None

    def _patience(self) -> float | None:
        """Until something is due."""
        if self._end_by is not None:
            return _RETRY_S
        due = [kernel.late_at for kernel in self._kernels if kernel.report is not None]
        if self._is_unused:
            due.append(max(self._lonely_at, time.monotonic() + _RETRY_S))
        return max(0.0, min(due) - time.monotonic()) if due else None

    @property
    def _is_unused(self) -> bool:
        return not self._clients and not self._kernels

    def _has_ended(self) -> bool:
        now = time.monotonic()
        if self._end_by is not None:
            may = not self._kernels or now >= self._end_by
            return may and (self._withdraw() or now >= self._end_by)
        return self._is_unused and now >= self._lonely_at and self._withdraw()

    def _withdraw(self) -> bool:
        """Be found by nobody any more, and say whether that is so. Who looks for a server holds the
        lock while it does: either it has found us, and is served, or it does not."""
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # the folder has been removed
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._accept_waiting()
            if self._clients:
                return False
            if self._inode is not None and self._inode == _inode(self._path):
                os.unlink(self._path)
        except BlockingIOError:
            return False
        except OSError:  # whoever finds the socket will find that nobody listens
            return True
        finally:
            os.close(lock)
        return True

    def _on_signal(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, _CHUNK)
        self._end_by = time.monotonic() + _DEATH_S
        self._accept_no_more()
        for client in list(self._clients):
            self._drop(client)

    def _let_go(self, born: _Client | None = None) -> None:
        """In a child as well, of its copies; but for the descriptors that it was `born` for."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._listener.close()
        os.close(self._woken)
        os.close(self._waker)
        for client in self._clients:
            client.sock.close()
            if client is not born:
                _close_all(client.descriptors)
        for kernel in self._kernels:
            os.close(kernel.pidfd)
            if kernel.report is not None:
                os.close(kernel.report)
        self._clients.clear()
        self._kernels.clear()

    # -- clients -----------------------------------------------------------------------------------

    def _accept_again(self) -> None:
        if not self._accepts and self._end_by is None:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept_waiting)
            self._accepts = True

    def _accept_no_more(self) -> None:
        if self._accepts:
            self._selector.unregister(self._listener)
            self._accepts = False

    def _accept_waiting(self) -> None:
        while self._end_by is None:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # it has gone already
                continue
            except OSError:  # no descriptor is left; the next one that is closed is for it
                self._accept_no_more()
                return
            self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        client = _Client(sock)
        self._clients.add(client)
        self._selector.register(sock, selectors.EVENT_READ, partial(self._on_client, client))
        self._lonely_at = 0.0
        given = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(given)[1] != os.geteuid():
            self._refuse(client, "It is another user's.")

    def _on_client(self, client: _Client) -> Birth | None:
        if client not in self._clients:  # dropped in this very turn
            return None
        try:
            data, received, flags, _ = socket.recv_fds(client.sock, _CHUNK, DESCRIPTORS)
        except BlockingIOError:
            return None
        except OSError:
            self._drop(client)
            return None
        client.descriptors += received
        if not data:
            self._drop(client)
            return None
        if client.has_asked:  # it has nothing more to say
            _close_all(client.descriptors)
            return None
        client.line += data
        try:
            is_cut, is_line = bool(flags & socket.MSG_CTRUNC), b"\n" in data
            return self._heard(client, is_cut=is_cut, is_line=is_line)
        except OSError as fault:  # no descriptor is left, or no process, or no memory
            self._refuse(client, f"{fault}.")
            return None

    def _heard(self, client: _Client, *, is_cut: bool, is_line: bool) -> Birth | None:
        if is_cut or len(client.descriptors) > DESCRIPTORS:
            self._refuse(client, f"Not {DESCRIPTORS} descriptors have arrived.")
        elif len(client.line) > MOST_BYTES:
            self._refuse(client, f"A request has at most {MOST_BYTES} bytes.")
        elif is_line:
            return self._asked(client)
        return None

    def _asked(self, client: _Client) -> Birth | None:
        client.has_asked = True
        line, client.line = bytes(client.line.partition(b"\n")[0]), bytearray()
        try:
            request = read_request(line)
        except ValueError as fault:
            self._refuse(client, str(fault))
            return None
        if len(client.descriptors) != DESCRIPTORS:
            self._refuse(client, f"A request comes with {DESCRIPTORS} descriptors.")
        elif (fault_ := request_fault(request)) is not None:
            self._refuse(client, fault_)
        else:
            return self._fork_for(client, request)
        return None

    def _refuse(self, client: _Client, why: str) -> None:
        self._tell(client, Fault(why))
        self._drop(client)

    def _tell(self, client: _Client, answer: Answer) -> None:
        """Answers are short: they fit, or the client does not read."""
        line = answer_line(answer)
        try:
            is_told = client.sock.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(line)
        except OSError:
            is_told = False
        if not is_told:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        """Harmless when it was. Its kernel goes with it."""
        if client not in self._clients:
            return
        self._clients.remove(client)
        self._selector.unregister(client.sock)
        client.sock.close()
        _close_all(client.descriptors)
        if client.kernel is not None:
            client.kernel.client = None
            self._bury(client.kernel)
        self._accept_again()

    # -- kernels -----------------------------------------------------------------------------------

    def _fork_for(self, client: _Client, request: ForkRequest) -> Birth | None:
        parent = os.getpid()
        read, write = os.pipe()
        # The child has our handlers until it is a kernel.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                return self._born(client, request, read, write, parent)
            self._watch(pid, client, read)
        except OSError:
            os.close(read)
            raise
        finally:
            if os.getpid() == parent:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                os.close(write)
        _close_all(client.descriptors)
        return None

    def _born(
        self, client: _Client, request: ForkRequest, read: int, write: int, parent: int
    ) -> Birth:
        try:
            os.close(read)
            self._let_go(client)
        except BaseException:
            os._exit(1)
        return Birth(request=request, descriptors=client.descriptors, report=write, parent=parent)

    def _watch(self, pid: int, client: _Client, report: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        kernel = _Kernel(pid, pidfd, client, report, time.monotonic() + BIRTH_S)
        client.kernel = kernel
        self._kernels.add(kernel)
        self._selector.register(kernel.pidfd, selectors.EVENT_READ, partial(self._on_end, kernel))
        self._selector.register(report, selectors.EVENT_READ, partial(self._on_report, kernel))

    def _on_report(self, kernel: _Kernel) -> None:
        if kernel.report is None:
            return
        said = os.read(kernel.report, _CHUNK)
        self._forget_report(kernel)
        if kernel.client is None:
            return
        if said[:1] == REBORN:
            self._tell(kernel.client, Forked(kernel.pid))
        else:
            why = said.removeprefix(FAULT).decode(errors="replace")
            self._refuse(kernel.client, why or "The process has died before it was a kernel.")

    def _on_late(self, kernel: _Kernel) -> None:
        kernel.late_at = float("inf")
        if kernel.report is None:
            return
        self._forget_report(kernel)  # it is too late for one, even if it cannot be killed yet
        if kernel.client is not None:
            self._refuse(kernel.client, f"The process was no kernel after {BIRTH_S:.0f} s.")

    def _forget_report(self, kernel: _Kernel) -> None:
        if kernel.report is not None:
            self._selector.unregister(kernel.report)
            os.close(kernel.report)
            kernel.report = None

    def _on_end(self, kernel: _Kernel) -> None:
        if kernel not in self._kernels:
            return
        self._on_report(kernel)
        self._selector.unregister(kernel.pidfd)
        ended = os.waitid(os.P_PID, kernel.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        is_exit = ended.si_code == os.CLD_EXITED
        kernel.code = ended.si_status if is_exit else -ended.si_status
        if kernel.client is None:
            self._bury(kernel)
        else:
            self._tell(kernel.client, Exited(kernel.code))

    def _bury(self, kernel: _Kernel) -> None:
        """Its group is killed; it is reaped now, or when it is dead."""
        if kernel not in self._kernels:  # its number may be somebody else's
            return
        for kill in (os.killpg, os.kill):  # it may not yet have a group
            with suppress(OSError):
                kill(kernel.pid, signal.SIGKILL)
        if kernel.code is not None:
            self._kernels.remove(kernel)
            self._forget_report(kernel)
            os.close(kernel.pidfd)
            os.waitpid(kernel.pid, 0)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _wake(signum: int, frame: object) -> None:
    """The loop is told by the descriptor."""
