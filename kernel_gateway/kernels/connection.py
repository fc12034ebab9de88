"""One generation's five channels as streams of messages, most of them never decoded.

Knows ZeroMQ and signatures. Must not know runs, nor who is at the other end: it is given addresses
and a key, and a relay process that owns the kernel's sockets would do as well as the kernel.
Everything that arrives is hostile until its signature and its form are checked.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Literal, TypeAlias

import zmq

from kernel_gateway.errors import KernelFault, KernelStartFailed
from kernel_gateway.kernels.prepared import preparable, preparation
from kernel_gateway.kernels.readiness import Readiness
from kernel_gateway.kernels.sockets import (
    CurveKeys,
    DrainedSocket,
    Form,
    Frames,
    PeerWatch,
    connected,
)
from kernel_gateway.messaging.facts import KernelInfo, Replied, fact_of
from kernel_gateway.messaging.message import (
    Channel,
    MsgId,
    Request,
    kernel_info_request,
    shutdown_request,
)
from kernel_gateway.messaging.message import interrupt_request as interrupt_message
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.wire import (
    DELIMITER,
    LEAST_BEHIND,
    Signer,
    behind_short,
    from_frames,
    to_frames,
)
from kernel_gateway.process_limits import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOG = logging.getLogger("kernel_gateway.kernels")

PortName: TypeAlias = Literal["shell", "control", "stdin", "iopub", "hb"]
_PORTS: tuple[PortName, ...] = ("shell", "control", "stdin", "iopub", "hb")

#: For the end of a connection whose process is gone: a grandchild may hold it open.
PARTING_LIMIT_S = 0.5
#: For reading what such a connection still holds: a grandchild may write for ever.
LAST_WORDS_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """Where a kernel listens and how its messages are signed: the content of a connection file."""

    transport: str
    ip: str  # for ipc: the path that the ports are appended to
    ports: Mapping[PortName, int]
    key: bytes
    curve: CurveKeys | None = None

    @classmethod
    def of(cls, info: Mapping[str, object]) -> ConnectionInfo:
        """From what a provisioner answers. Raises `KernelStartFailed` for what we cannot speak."""
        scheme = info.get("signature_scheme") or "hmac-sha256"
        if scheme != "hmac-sha256":
            raise KernelStartFailed(f"The kernel signs with {scheme!r}; only hmac-sha256 is known.")
        try:
            ports = {name: int(str(info[f"{name}_port"])) for name in _PORTS}
            return cls(
                transport=str(info.get("transport") or "tcp"),
                ip=str(info["ip"]),
                ports=ports,
                key=_bytes(info["key"]),
                curve=_curve(info),
            )
        except (KeyError, ValueError) as fault:
            raise KernelStartFailed(f"The kernel's connection info is unusable: {fault}") from fault

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("it has no key, so anybody could speak for the kernel")

    def url(self, port: PortName) -> str:
        separator = ":" if self.transport == "tcp" else "-"
        return f"{self.transport}://{self.ip}{separator}{self.ports[port]}"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _curve(info: Mapping[str, object]) -> CurveKeys | None:
    public, secret = info.get("curve_publickey"), info.get("curve_secretkey")
    if not public or not secret:
        return None
    return CurveKeys(public=_bytes(public), secret=_bytes(secret))


_KINDS = {
    Channel.SHELL: zmq.DEALER,
    Channel.CONTROL: zmq.DEALER,
    Channel.STDIN: zmq.DEALER,
    Channel.IOPUB: zmq.SUB,
}


_IOPUB = Channel.IOPUB  # asked of each message, and a member is ten times as far from its class
_FORM = Form(DELIMITER, LEAST_BEHIND)


class KernelConnection:
    """Opens at once, or raises `KernelStartFailed`, and asks whether the kernel is there.

    Tells `on_ready` once and `on_message` for each message that is not the answer to a question of
    its own. When the other end is gone: await `last_words`, then `close`, which may also be called
    at any other time.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        info: ConnectionInfo,
        *,
        session: str,
        on_ready: Callable[[KernelInfo], None],
        on_message: Callable[[RawMessage], None],
    ) -> None:
        self._context = context
        self._info = info
        self._session = session
        self._on_message = on_message
        self._signer = Signer(info.key)
        self._own_prefix = f"{session}-own-"
        self._own_ids = (MsgId(f"{self._own_prefix}{number}") for number in count(1))
        self._closed = False
        self.dropped = 0
        self._sockets: dict[Channel, DrainedSocket] = {}
        self._peers: list[PeerWatch] = []
        self._asked: dict[MsgId, asyncio.Future[Replied]] = {}
        self._on_ready = on_ready
        self._readiness = Readiness(self._ask_info, self._came_up)
        self._open()

    def send(self, request: Request | RawMessage) -> None:
        """Sign and queue it. Never blocks; dropped once the connection is closed."""
        if not self._closed:
            message = request if isinstance(request, RawMessage) else self._stamped(request)
            self._sockets[message.channel].send(to_frames(message, self._signer))

    def _stamped(self, request: Request) -> RawMessage:
        date = datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")
        return RawMessage.of(request.stamped(session=self._session, date=date))

    def ask_interrupt(self) -> None:
        self.send(interrupt_message(next(self._own_ids)))

    def ask_shutdown(self) -> None:
        self.send(shutdown_request(next(self._own_ids)))

    def ask(self, request_of: Callable[[MsgId], Request]) -> asyncio.Future[Replied]:
        """A request of our own that has an `execute_reply`, sent at once. It may never come: cancel
        it then."""
        msg_id = next(self._own_ids)
        self.send(request_of(msg_id))
        reply: asyncio.Future[Replied] = asyncio.get_running_loop().create_future()
        self._asked[msg_id] = reply
        reply.add_done_callback(lambda _: self._asked.pop(msg_id))
        return reply

    async def beat(self, limit_s: float) -> bool:
        """Whether the heartbeat answers within the limit. It may lie under load."""
        echo: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heart = self._heart(lambda _: None if echo.done() else echo.set_result(None))
        heart.send([b"", b"ping"])
        try:
            async with asyncio.timeout(limit_s):
                await echo
        except TimeoutError:
            return False
        finally:
            heart.close()
        return True

    async def last_words(self) -> None:
        """For a peer that is gone: returns when all that it had sent has been told."""
        try:
            async with asyncio.timeout(PARTING_LIMIT_S):
                for peer in self._peers:
                    await peer.parted()
        except TimeoutError:
            LOG.debug("somebody holds the sockets of a dead kernel open")
        try:
            async with asyncio.timeout(LAST_WORDS_LIMIT_S):
                await self._drained()
        except TimeoutError:
            LOG.warning("a dead kernel's sockets are still written to; the rest is not read")

    def close(self) -> None:
        self._closed = True
        self._readiness.close()
        for peer in self._peers:
            peer.close()
        for sock in self._sockets.values():
            sock.close()

    def _open(self) -> None:
        try:
            for channel in Channel:
                self._sockets[channel] = self._opened(channel)
            # The two whose last messages count: the output and the reply.
            for channel in (Channel.IOPUB, Channel.SHELL):
                self._peers.append(PeerWatch(self._sockets[channel].zmq_socket))
        except zmq.ZMQError as fault:  # no descriptor is left, or the address is none
            why = explained(fault)  # before what was opened is closed again
            self.close()
            raise KernelStartFailed(f"The kernel cannot be connected to: {why}") from fault
        self._readiness.start()

    def _opened(self, channel: Channel) -> DrainedSocket:
        # One identity on shell and stdin: the kernel sends its prompts to whom the request is from.
        identity = b"" if channel is Channel.IOPUB else self._session.encode()
        sock = connected(
            self._context,
            _KINDS[channel],
            self._info.url(channel.value),
            identity=identity,
            curve=self._info.curve,
        )
        return DrainedSocket(sock, partial(self._received, channel), form=_FORM)

    def _heart(self, on_frames: Callable[[Frames], None]) -> DrainedSocket:
        """Opened for each beat. A DEALER that sends an empty frame first is a REQ to the kernel,
        without a REQ's refusal to be read when nothing is due."""
        url = self._info.url("hb")
        return DrainedSocket(
            connected(self._context, zmq.DEALER, url, curve=self._info.curve), on_frames
        )

    def _ask_info(self) -> None:
        self.send(kernel_info_request(next(self._own_ids), Channel.SHELL))

    def _came_up(self, info: KernelInfo) -> None:
        if preparable(info):  # before anything that prints is sent
            self.send(preparation(next(self._own_ids)))
        self._on_ready(info)

    def _received(self, channel: Channel, frames: Frames, more: int = LEAST_BEHIND) -> None:
        """`more`: that may be behind this one, if it is shorter than a message can be."""
        try:
            message = from_frames(frames, channel, self._signer)
            self._take(channel, message)
        except KernelFault as fault:
            self._drop(channel, fault)
            if more and (rest := behind_short(frames)):
                self._received(channel, rest, more - 1)

    def _take(self, channel: Channel, message: RawMessage) -> None:
        parent = message.parent
        if parent is None:
            ours = message.msg_type == "iopub_welcome"
        else:
            ours = parent.msg_id.startswith(self._own_prefix)
        if ours:
            self._consume(message)
        if channel is _IOPUB:
            self._readiness.heard()
        if not ours:
            self._on_message(message)

    def _consume(self, message: RawMessage) -> None:
        fact = fact_of(message)
        if isinstance(fact, KernelInfo):
            self._readiness.answered(fact)
        elif isinstance(fact, Replied) and message.parent is not None:
            reply = self._asked.get(message.parent.msg_id)
            if reply is not None and not reply.done():
                reply.set_result(fact)

    def _drop(self, channel: Channel, fault: KernelFault) -> None:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8: a flood makes no flood of lines
            LOG.warning("%d messages dropped, the last on %s: %s", self.dropped, channel, fault)

    async def _drained(self) -> None:
        more = True
        while more:
            batches = [sock.drain_batch() for sock in self._sockets.values()]
            more = any(batches)
            await asyncio.sleep(0)  # the turn of all others
