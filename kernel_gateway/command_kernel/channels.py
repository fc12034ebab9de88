"""The kernel's five sockets.

Knows ZeroMQ and the connection file. Must not know what a message means.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import zmq

from kernel_gateway.command_kernel.wire import Content, Request, Unreadable, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Frames: TypeAlias = list[bytes]

#: At the end, for the last replies to leave.
LINGER_MS = 1000


class Channel(StrEnum):
    """Those on which requests come in."""

    SHELL = "shell"
    CONTROL = "control"
    STDIN = "stdin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """Where to listen and the key to sign with: the content of a connection file."""

    transport: str
    ip: str  # for ipc: the path that the ports are appended to
    ports: Mapping[str, int]
    key: bytes
    curve_keys: tuple[bytes, bytes] | None = None  # public, secret

    @classmethod
    def of(cls, raw: bytes) -> ConnectionInfo:
        """Raises `ValueError` for what we cannot speak."""
        try:
            info = json.loads(raw)
            if info.get("signature_scheme", "hmac-sha256") != "hmac-sha256":
                raise ValueError("only hmac-sha256 is known")
            if not info["key"]:
                raise ValueError("it has no key, so anybody could run commands here")
            return cls(
                transport=str(info.get("transport") or "tcp"),
                ip=str(info["ip"]),
                ports={name: int(info[f"{name}_port"]) for name in (*Channel, "iopub", "hb")},
                key=str(info["key"]).encode(),
                curve_keys=_curve_keys(info),
            )
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError(f"it lacks {fault}") from fault

    def url(self, port: str) -> str:
        separator = ":" if self.transport == "tcp" else "-"
        return f"{self.transport}://{self.ip}{separator}{self.ports[port]}"


def _curve_keys(info: Mapping[str, object]) -> tuple[bytes, bytes] | None:
    public, secret = info.get("curve_publickey"), info.get("curve_secretkey")
    return (str(public).encode(), str(secret).encode()) if public and secret else None


class Channels:
    """Bound at once. `on_request` is told what comes in on shell, control and stdin; hostile
    messages are dropped, the heart is echoed, and whoever subscribes is welcomed. Close it."""

    def __init__(
        self, info: ConnectionInfo, on_request: Callable[[Channel, Request], None]
    ) -> None:
        self._info = info
        self._wire = Wire(info.key)
        self._on_request = on_request
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._inboxes = {channel: self._inbox(channel) for channel in Channel}
        self._iopub = self._bound(zmq.XPUB, "iopub", self._subscribed)
        # A ROUTER, and not the usual REP, has no turn to keep when somebody asks and goes away.
        self._heart = self._bound(zmq.ROUTER, "hb", lambda frames: self._heart.send(frames))

    def reply(self, channel: Channel, request: Request, msg_type: str, content: Content) -> str:
        """To whom the request is from; the id of the message."""
        message = self._wire.write(
            msg_type, content, parent=request.header, identities=request.identities
        )
        self._inboxes[channel].send(message.frames)
        return message.msg_id

    def publish(self, msg_type: str, content: Content, parent: Content | None = None) -> None:
        """To everybody, on iopub."""
        message = self._wire.write(msg_type, content, parent=parent, identities=[msg_type.encode()])
        self._iopub.send(message.frames)

    def take_in(self) -> None:
        """Tell now what has come in already."""
        for inbox in self._inboxes.values():
            inbox.drain()

    def close(self) -> None:
        """Waits for what was sent to leave, at most `LINGER_MS`."""
        for inbox in (*self._inboxes.values(), self._iopub, self._heart):
            inbox.close()
        self._context.term()

    def _inbox(self, channel: Channel) -> _Inbox:
        return self._bound(zmq.ROUTER, channel, lambda frames: self._received(channel, frames))

    def _bound(self, kind: int, port: str, on_frames: Callable[[Frames], None]) -> _Inbox:
        sock = self._context.socket(kind)
        sock.linger = LINGER_MS
        sock.sndhwm = 0  # at a mark, ROUTER and XPUB drop without a word
        if self._info.curve_keys:
            sock.curve_publickey, sock.curve_secretkey = self._info.curve_keys
            sock.curve_server = True
        sock.bind(self._info.url(port))
        return _Inbox(sock, on_frames)

    def _received(self, channel: Channel, frames: Frames) -> None:
        try:
            request = self._wire.read(frames)
        except Unreadable:
            return
        self._on_request(channel, request)

    def _subscribed(self, frames: Frames) -> None:
        """Protocol 5.4: a subscriber hears from the kernel when its subscription is in force."""
        event, topic = frames[0][:1], frames[0][1:]
        if event == b"\x01":
            content = {"subscription": topic.decode(errors="replace")}
            self._iopub.send(self._wire.write("iopub_welcome", content, identities=[topic]).frames)


class _Inbox:
    """A socket on the loop: each message that arrives goes to `on_frames`, until it is closed."""

    def __init__(self, sock: zmq.Socket[bytes], on_frames: Callable[[Frames], None]) -> None:
        self._sock = sock
        self._on_frames = on_frames
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._loop.add_reader(sock.fileno(), self.drain)
        self._schedule()  # an edge from before the reader was there is lost

    def send(self, frames: Frames) -> None:
        self._sock.send_multipart(frames, zmq.NOBLOCK)
        # The descriptor tells edges: sending may have swallowed the one of a message that came.
        self._schedule()

    def drain(self) -> None:
        self._scheduled = False
        try:
            while (frames := self._next()) is not None:
                self._on_frames(frames)
        except Exception:
            self._schedule()  # no other edge will tell of what is left
            raise

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.drain)

    def _next(self) -> Frames | None:
        if self._sock.closed:
            return None
        try:
            return self._sock.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
