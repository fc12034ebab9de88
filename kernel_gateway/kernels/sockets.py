"""ZeroMQ sockets on the asyncio loop: read when there is something, never polled.

Knows libzmq's descriptor and its edges, and nothing of Jupyter. All of it runs on the loop's
thread; libzmq's own thread does the reading and writing of the wire.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

import zmq

if TYPE_CHECKING:
    from collections.abc import Callable

Frames: TypeAlias = list[bytes]

#: A flood of one kernel gives way to all others after so many messages, or so much work on them.
BATCH_MESSAGES = 100
BATCH_S = 0.01

_NOW = int(zmq.NOBLOCK)  # a member is converted at each call

#: The kernel binds when it is ready to; 100 ms, the default, would be seen in each start.
RECONNECT_MS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveKeys:
    """One key pair a kernel, Z85. It is in the connection file, so both ends may use it."""

    public: bytes
    secret: bytes


def connected(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    url: str,
    *,
    identity: bytes = b"",
    curve: CurveKeys | None = None,
) -> zmq.Socket[bytes]:
    """A socket that connects as soon as somebody binds `url`, and keeps what is sent until then.

    No high-water mark in either direction. RCVHWM: a SUB at its mark drops for good, the idle
    included. SNDHWM: a DEALER at its mark blocks or refuses, and a send must do neither; what is
    in flight is bounded by who calls us. LINGER 0: nothing outlives the socket.
    """
    sock = context.socket(kind)
    sock.linger = 0
    sock.rcvhwm = 0
    sock.sndhwm = 0
    sock.reconnect_ivl = RECONNECT_MS
    sock.maxmsgsize = -1  # one message can carry 20 MiB; the bounds are above us
    if identity:
        sock.routing_id = identity
    if curve:
        sock.curve_publickey = curve.public
        sock.curve_secretkey = curve.secret
        sock.curve_serverkey = curve.public
    if kind == zmq.SUB:
        sock.subscribe(b"")
    sock.connect(url)
    return sock


@dataclass(frozen=True, slots=True)
class Form:
    """What all messages have in common: a frame, at most one before it, and some behind it.

    They are read without a question whether there are more, which takes twice as long as to read
    one. So one that is shorter is given with the next: whoever says this has to look for that.
    """

    mark: bytes
    least_behind: int


class _Floods:
    """Sockets of a loop that had more than a batch, in line for the next one.

    Together they have the time of one batch in a turn of the loop: if each had that, fifty kernels
    that print without end would keep everybody else waiting for half a second.
    """

    def __init__(self) -> None:
        self._line: deque[DrainedSocket] = deque()
        self._scheduled = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Floods:
        return _FLOODS.setdefault(loop, cls())

    def join(self, sock: DrainedSocket) -> None:
        self._line.append(sock)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        """Each at most once."""
        self._scheduled = False
        deadline = monotonic() + BATCH_S
        try:
            for _ in range(len(self._line)):
                self._line.popleft().drain()
                if monotonic() > deadline:
                    break
        finally:  # what a listener raises is not the affair of the others
            if self._line:
                self._schedule()


_FLOODS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Floods] = WeakKeyDictionary()


class DrainedSocket:
    """Gives each message that arrives to `on_frames`, until it is closed."""

    def __init__(
        self,
        sock: zmq.Socket[bytes],
        on_frames: Callable[[Frames], None],
        *,
        form: Form | None = None,
    ) -> None:
        self._sock = sock
        self._recv = sock.recv  # an attribute of theirs is looked up for as long as a frame is read
        self._has_more = partial(sock.get, zmq.RCVMORE)
        self._form = form
        self._is_open = True
        self._on_frames = on_frames
        self._loop = asyncio.get_running_loop()
        self._fd = sock.fileno()
        self._scheduled = False
        self._floods = _Floods.of(self._loop)
        self._loop.add_reader(self._fd, self._readable)
        self._schedule()  # an edge from before the reader was there is lost

    @property
    def zmq_socket(self) -> zmq.Socket[bytes]:
        return self._sock

    def send(self, frames: Frames) -> None:
        self._sock.send_multipart(frames, zmq.NOBLOCK)
        # The descriptor tells edges: sending may have swallowed the one of a message that came.
        self._schedule()

    def drain_batch(self) -> bool:
        """Read at most one batch; whether there may be more."""
        deadline = monotonic() + BATCH_S
        for _ in range(BATCH_MESSAGES):
            # It may be closed by the listener, or between two batches.
            frames = self._received() if self._is_open else None
            if not frames:
                return False
            try:
                self._on_frames(frames)
            except Exception:
                self._schedule()  # no other edge will tell of what is left
                raise
            if monotonic() > deadline:
                break
        return True

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._sock.close(linger=0)

    def _readable(self) -> None:
        """Now: the next tick would cost a lone message another turn of the loop."""
        if not self._scheduled:
            self.drain()

    def _schedule(self) -> None:
        """At most one batch a tick, whatever asks for it."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.drain)

    def drain(self) -> None:
        """A batch now, and the next in its turn."""
        self._scheduled = False
        if self.drain_batch():
            self._scheduled = True
            self._floods.join(self)

    def _received(self) -> Frames:
        """Nothing, or all frames of a message.

        Not by recv_multipart, which asks after each frame whether there are more: of seven that
        takes 14 us, and this 4. A kernel's message has seven.
        """
        recv, form = self._recv, self._form
        frames: Frames = []
        try:
            frames.append(recv(_NOW))
            if form is not None:
                if frames[0] != form.mark:
                    frames.append(recv(_NOW))
                if frames[-1] == form.mark:
                    for _ in range(form.least_behind):
                        frames.append(recv(_NOW))
            while self._has_more():
                frames.append(recv(_NOW))
        except zmq.Again:  # nothing is there, or the last one is too short
            pass
        return frames


class PeerWatch:
    """Whether somebody is at the other end of a socket, told by libzmq's monitor.

    libzmq tells of the end of a connection after all that came over it, so whoever has awaited
    `parted` and then drains the socket has everything.
    """

    def __init__(self, watched: zmq.Socket[bytes]) -> None:
        self._watched = watched
        self._connected = False
        self._parted: asyncio.Future[None] | None = None
        monitor = watched.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        self._events = DrainedSocket(monitor, self._happened)

    async def parted(self) -> None:
        """Returns when nobody is there, at once when nobody is there now. For one caller."""
        while self._events.drain_batch():
            pass
        if self._connected:
            self._parted = asyncio.get_running_loop().create_future()
            await self._parted

    def close(self) -> None:
        if not self._watched.closed:
            self._watched.disable_monitor()
        self._events.close()

    def _happened(self, frames: Frames) -> None:
        (event,) = struct.unpack_from("=H", frames[0])
        self._connected = event == zmq.EVENT_CONNECTED
        if not self._connected and self._parted and not self._parted.done():
            self._parted.set_result(None)
