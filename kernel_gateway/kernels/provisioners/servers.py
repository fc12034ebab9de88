"""The fork servers of a folder: found, started, held, and let go of.

All programs that share a folder share its servers: whoever comes first starts one, and it ends with
its last user. A *hold* is a connection that says nothing: a server is there as long as somebody
holds it or has a kernel of it. Knows sockets, locks and processes. Must not know what a kernel is
for, nor jupyter_client.

To find or to start one takes a lock and a process, so it is done in a thread, one at a time; when
it is held, a kernel costs a connection and no thread.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import socket
import subprocess
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.kernels.provisioners.forked import Broken, Refused, forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kernel_gateway.fork_server.wire import ForkRequest
    from kernel_gateway.kernels.provisioners.forked import ForkedKernel
    from kernel_gateway.kernels.provisioners.kind import ServerKind

#: At one time. Each has its imports in memory, 50 MB or more.
MOST_SERVERS = 8
#: For a kernel, and for what its server has to import before. Then it is started without.
ANSWER_LIMIT_S = 30.0
#: Before a server that has failed is tried again; doubles with each failure in a row.
BACK_OFF_S = 2.0
BACK_OFF_MOST_S = 300.0
#: For servers that have been told to end. They have nothing else to do.
END_LIMIT_S = 5.0

_PREFIX = "fork-"  # of all files of ours
_LOCK = "fork-lock"
_BACKLOG = 1024
_CONNECT_LIMIT_S = 5.0
#: Whoever has the lock needs it for milliseconds; but somebody may have stopped him.
_LOCK_LIMIT_S = 5.0
_LOCK_RETRY_S = 0.01
_TOLD_BYTES = 2000  # the end of what a server has said before it failed


class ForkFailed(Exception):
    """There is no kernel from a fork server, and why; it can be started without."""


class NotNow(Exception):
    """The same, and there is nothing new to say."""


class ForkServers:
    """Those of one folder, for this process. Close it if the folder is ours alone; else they end by
    themselves, when all their users have."""

    def __init__(
        self,
        folder: Callable[[], Path],
        *,
        most: int = MOST_SERVERS,
        answer_limit_s: float = ANSWER_LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` makes it when it is first needed: private, and none of anybody else."""
        self._make_folder = folder
        self._most = most
        self._answer_limit_s = answer_limit_s
        self._clock = clock
        self._lock = threading.Lock()  # around what changes `_held`; for threads of ours alone
        self._held: dict[str, _Held] = {}
        self._failures: dict[str, _Failure] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._closed = False

    async def fork(
        self,
        kind: ServerKind,
        request: ForkRequest,
        descriptors: Sequence[int],
        *,
        patience_s: float = math.inf,
    ) -> ForkedKernel:
        """Its stdin, stdout and stderr are copies of the descriptors. Whoever has less patience
        than a server may need goes without, and it is not taken for one that has failed.

        Raises `ForkFailed` and `NotNow`.
        """
        self._refuse_too_soon(kind)
        try:
            kernel = await self._forked(kind, request, descriptors, patience_s)
        except Refused as fault:  # so would any other way to start it
            raise ForkFailed(str(fault)) from fault
        except (Broken, OSError) as fault:
            raise ForkFailed(await self._noted(kind, fault)) from fault
        self._failures.pop(kind.name, None)
        return kernel

    async def prepare(self, kind: ServerKind) -> None:
        """Have it there before the first kernel. Raises `ForkFailed` and `NotNow`."""
        self._refuse_too_soon(kind)
        try:
            await asyncio.to_thread(self._hold, kind)
        except OSError as fault:
            raise ForkFailed(await self._noted(kind, fault)) from fault

    async def close(self) -> None:
        """End all that we have started, and their kernels; so not where others use them too."""
        await asyncio.to_thread(self._close)

    # -- one kernel --------------------------------------------------------------------------------

    async def _forked(
        self,
        kind: ServerKind,
        request: ForkRequest,
        descriptors: Sequence[int],
        patience_s: float,
    ) -> ForkedKernel:
        held = self._held.get(kind.name)
        if held is None or held.is_over:
            held = await asyncio.to_thread(self._hold, kind)
        held.used_at = self._clock()
        held.kernels += 1
        try:
            connection = held.connected()
        except OSError:
            held.end_of_kernel()
            raise
        limit_s = min(self._answer_limit_s, patience_s)
        try:
            async with asyncio.timeout(limit_s):
                return await forked(connection, request, descriptors, held.end_of_kernel)
        except TimeoutError:
            fault = Broken if limit_s == self._answer_limit_s else Refused
            raise fault(f"It has not answered within {limit_s:g} s.") from None

    def _refuse_too_soon(self, kind: ServerKind) -> None:
        failure = self._failures.get(kind.name)
        if failure and self._clock() < failure.until:
            raise NotNow("Its fork server has failed a moment ago.")

    async def _noted(self, kind: ServerKind, fault: Exception) -> str:
        """The next one has to wait; what there is to say."""
        now = self._clock()
        before = self._failures.get(kind.name)
        if before and now < before.until:  # one failure, told by all who have waited for it
            rest_s = before.rest_s
        else:
            rest_s = min(before.rest_s * 2, BACK_OFF_MOST_S) if before else BACK_OFF_S
        self._failures = {
            name: failure
            for name, failure in self._failures.items()
            if now < failure.until + BACK_OFF_MOST_S  # longer ago: as if it had never been
        }
        self._failures[kind.name] = _Failure(rest_s, now + rest_s)
        told = await asyncio.to_thread(self._let_go_of_failed, kind.name)
        why = str(fault) or type(fault).__name__
        return f"The fork server has failed: {why}{told}"

    # -- holding: in a thread ----------------------------------------------------------------------

    def _hold(self, kind: ServerKind) -> _Held:
        with self._lock:
            if self._closed:
                raise OSError("The fork servers are closed.")
            held = self._held.get(kind.name)
            if held is not None:
                if not held.is_over:
                    return held
                self._let_go(held)
            self._make_room(kind)
            held = self._held[kind.name] = self._found_or_started(kind)
            return held

    def _found_or_started(self, kind: ServerKind) -> _Held:
        place = _Place(self._make_folder(), kind.name)
        with place.locked():
            try:
                hold = place.connected()
            except (FileNotFoundError, ConnectionRefusedError):
                hold = self._started(place, kind)
        return _Held(kind=kind, place=place, hold=hold, used_at=self._clock())

    def _started(self, place: _Place, kind: ServerKind) -> socket.socket:
        """It listens before it runs: nobody has to wait for that. Whoever has asked a server that
        then dies sees the connection break."""
        place.sweep()
        with place.listening() as listener, place.errors.open("wb") as errors:
            os.chmod(errors.fileno(), 0o600)
            child = subprocess.Popen(
                _command(kind, place, listener.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=place.folder,
                env={"PATH": os.environ.get("PATH", os.defpath), **dict(kind.env)},
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
            self._children.append(child)
            return place.connected()

    def _make_room(self, kind: ServerKind) -> None:
        """Let go of what nobody will ask for again; of the least recently used, where there are
        too many. One that still has kernels ends with them."""
        for held in list(self._held.values()):
            if held.is_over or kind.supersedes(held.kind):
                self._let_go(held)
        unused = [held for held in self._held.values() if not held.kernels]
        if len(self._held) >= self._most:
            if not unused:
                raise NotNow(f"There are {len(self._held)} fork servers, and all have kernels.")
            self._let_go(min(unused, key=lambda held: held.used_at))

    def _let_go(self, held: _Held) -> None:
        self._held.pop(held.kind.name, None)
        held.hold.close()
        self._children = [child for child in self._children if child.poll() is None]

    def _let_go_of_failed(self, name: str) -> str:
        """What it has said last, as the end of a sentence."""
        with self._lock:
            held = self._held.get(name)
            if held is None:
                return ""
            told = held.place.last_words()
            self._let_go(held)  # kernels keep it as well
        return f" Its last words: {told}" if told else ""

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            for child in self._children:
                child.terminate()  # it may still import, and hear of nothing else
            for child in self._children:
                _end(child)
            self._children.clear()
            for held in list(self._held.values()):
                self._let_go(held)
                held.place.address.unlink(missing_ok=True)


@dataclass(slots=True)
class _Held:
    kind: ServerKind
    place: _Place
    hold: socket.socket
    used_at: float
    kernels: int = 0  # that we have of it

    @property
    def is_over(self) -> bool:
        try:
            return not self.hold.recv(1, socket.MSG_PEEK)
        except BlockingIOError:  # nothing to hear: it is there
            return False
        except OSError:
            return True

    def connected(self) -> socket.socket:
        return self.place.connected(wait=False)

    def end_of_kernel(self) -> None:
        self.kernels -= 1


@dataclass(frozen=True, slots=True)
class _Failure:
    rest_s: float
    until: float


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a server listens. The path of a socket has 107 bytes, so it is named by its folder's
    descriptor."""

    folder: Path
    name: str

    @property
    def address(self) -> Path:
        return self.folder / f"{_PREFIX}{self.name}.sock"

    @property
    def errors(self) -> Path:
        return self.folder / f"{_PREFIX}{self.name}.err"

    @property
    def lock(self) -> Path:
        return self.folder / _LOCK

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No server ends in between, and nobody else starts one."""
        lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(lock)
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # also for a child that another thread has forked
            os.close(lock)

    def connected(self, *, wait: bool = True) -> socket.socket:
        """A connection that does not block from now on."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_CONNECT_LIMIT_S if wait else 0.0)
            with _short(self.address) as path:
                connection.connect(path)
            connection.setblocking(False)
        except BaseException:
            connection.close()
            raise
        _CONNECTIONS.add(connection)
        return connection

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            self.address.unlink(missing_ok=True)
            with _short(self.address) as path:
                listener.bind(path)
            listener.listen(_BACKLOG)
            yield listener

    def sweep(self) -> None:
        """Remove what servers have left that were killed, and the words of those that have gone."""
        for path in self.folder.glob(f"{_PREFIX}*.sock"):
            with suppress(OSError):
                _remove_unless_alive(_Place(self.folder, path.stem.removeprefix(_PREFIX)))
        for path in self.folder.glob(f"{_PREFIX}*.err"):
            if not path.with_suffix(".sock").exists():
                path.unlink(missing_ok=True)

    def last_words(self) -> str:
        with suppress(OSError):
            return self.errors.read_bytes()[-_TOLD_BYTES:].decode(errors="replace").strip()
        return ""


def _take(lock: int) -> None:
    late_at = time.monotonic() + _LOCK_LIMIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > late_at:
                raise TimeoutError("Somebody has stopped while he looked for a server.") from None
            time.sleep(_LOCK_RETRY_S)  # in a thread
        else:
            return


def _remove_unless_alive(place: _Place) -> None:
    try:
        place.connected().close()
    except ConnectionRefusedError:
        place.address.unlink(missing_ok=True)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _command(kind: ServerKind, place: _Place, listener: int) -> list[str]:
    return [
        *(kind.python, *kind.flags, "-m", "kernel_gateway.fork_server"),
        *("--listen", str(listener), "--path", str(place.address), "--lock", str(place.lock)),
        *("--preload", ",".join(kind.preload)),
    ]


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


_CONNECTIONS: weakref.WeakSet[socket.socket] = weakref.WeakSet()  # of this process


def _let_go_all() -> None:
    """In a forked child: what it has would keep servers and kernels that are not its own."""
    for connection in list(_CONNECTIONS):
        connection.close()


os.register_at_fork(after_in_child=_let_go_all)
