"""A client of a kernel's channels, in both framings, by the documents of the protocol.

Knows Jupyter's messages. Must not import the gateway, nor Jupyter's own code: a mistake that both
sides share would not be seen.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NoReturn, Self
from uuid import uuid4

from tests.e2e.jupyter.sockets import ClosedError, WebSocket, connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

V1 = "v1.kernel.websocket.jupyter.org"
TOKEN_PROTOCOL = "v1.token.websocket.jupyter.org."

FRAMINGS = ("legacy", "v1")


@dataclass(frozen=True, slots=True)
class Message:
    channel: str
    header: Mapping[str, Any]
    parent: Mapping[str, Any]
    metadata: Mapping[str, Any]
    content: Mapping[str, Any]
    buffers: tuple[bytes, ...] = ()

    @property
    def id(self) -> str:
        msg_id: str = self.header["msg_id"]
        return msg_id

    @property
    def type(self) -> str:
        msg_type: str = self.header["msg_type"]
        return msg_type

    @property
    def parent_id(self) -> str | None:
        return self.parent.get("msg_id")

    @property
    def state(self) -> str | None:
        """Of a status."""
        return self.content["execution_state"] if self.type == "status" else None


# -- framings -------------------------------------------------------------------------------------


def framed(message: Message, framing: str) -> str | bytes:
    return _to_v1(message) if framing == "v1" else _to_legacy(message)


def unframed(data: str | bytes, framing: str) -> Message:
    return _of_v1(data) if framing == "v1" else _of_legacy(data)


def _to_v1(message: Message) -> bytes:
    dicts = (message.header, message.parent, message.metadata, message.content)
    parts = [message.channel.encode(), *(json.dumps(one).encode() for one in dicts)]
    parts += message.buffers
    count = len(parts) + 1
    starts = accumulate(map(len, parts), initial=8 * (1 + count))
    return b"".join([struct.pack(f"<{1 + count}Q", count, *starts), *parts])


def _of_v1(data: str | bytes) -> Message:
    assert isinstance(data, bytes), "all frames of this framing are binary"
    (count,) = struct.unpack_from("<Q", data)
    offsets = struct.unpack_from(f"<{count}Q", data, 8)
    assert len(data) == offsets[-1]
    name, *dicts = (data[start:stop] for start, stop in pairwise(offsets[:6]))
    header, parent, metadata, content = map(strict_json, dicts)
    buffers = tuple(data[start:stop] for start, stop in pairwise(offsets[5:]))
    return Message(name.decode(), header, parent, metadata, content, buffers)


def _to_legacy(message: Message) -> str | bytes:
    text = json.dumps(
        {
            "channel": message.channel,
            "header": message.header,
            "parent_header": message.parent,
            "metadata": message.metadata,
            "content": message.content,
            "buffers": [],
        }
    )
    if not message.buffers:
        return text
    parts = [text.encode(), *message.buffers]
    starts = accumulate(map(len, parts[:-1]), initial=4 * (1 + len(parts)))
    return b"".join([struct.pack(f">{1 + len(parts)}I", len(parts), *starts), *parts])


def _of_legacy(data: str | bytes) -> Message:
    buffers: tuple[bytes, ...] = ()
    text: str | bytes = data
    if isinstance(data, bytes):
        (count,) = struct.unpack_from(">I", data)
        starts = struct.unpack_from(f">{count}I", data, 4)
        text, *rest = (data[start:stop] for start, stop in pairwise([*starts, len(data)]))
        buffers = tuple(rest)
        assert buffers, "a message without buffers is text"
    raw = strict_json(text)
    assert raw["msg_id"] == raw["header"]["msg_id"]
    assert raw["msg_type"] == raw["header"]["msg_type"]
    return Message(
        raw["channel"],
        raw["header"],
        raw["parent_header"],
        raw["metadata"],
        raw["content"],
        buffers,
    )


def strict_json(text: str | bytes) -> Any:
    """As JSON.parse of a browser, which knows neither NaN nor bytes that are no UTF-8."""
    whole = text.decode() if isinstance(text, bytes) else text
    return _JSON.decode(whole)


def _no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


# -- the client -----------------------------------------------------------------------------------


class Told(list[Message]):
    """Some of what a client was told, in order."""

    def of(self, *types: str) -> Told:
        return Told(one for one in self if one.type in types)

    def text(self, name: str = "stdout") -> str:
        streams = self.of("stream")
        return "".join(one.content["text"] for one in streams if one.content["name"] == name)

    @property
    def states(self) -> list[str]:
        return [one.content["execution_state"] for one in self.of("status")]

    @property
    def reply(self) -> Mapping[str, Any]:
        """The one that there must be, its content."""
        (reply,) = (one for one in self if one.type.endswith("_reply"))
        assert reply.channel in {"shell", "control"}
        return reply.content

    @property
    def once(self) -> Told:
        """Each message one time: what comes again has the same ID."""
        return Told({one.id: one for one in self}.values())


@dataclass(slots=True)
class Channels:
    """One connection. What it has read is in `heard`."""

    socket: WebSocket
    framing: str
    session: str
    heard: Told = field(default_factory=Told)

    @classmethod
    async def open(
        cls,
        url: str,
        kernel_id: str,
        *,
        token: str | None,
        framing: str = "v1",
        session: str | None = None,
        is_named: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Raises `RefusedError`. `is_named`: the address carries the session, for coming back."""
        session = session or uuid4().hex
        query = f"?session_id={session}" if is_named else ""
        address = f"{url}/api/kernels/{kernel_id}/channels{query}"
        authorization = {"Authorization": f"token {token}"} if token else {}
        protocols = [V1] if framing == "v1" else []
        socket = await connected(
            address, headers={**authorization, **(headers or {})}, subprotocols=protocols
        )
        assert socket.subprotocol == (V1 if framing == "v1" else None)
        return cls(socket, framing, session)

    # -- out

    async def send(
        self,
        channel: str,
        msg_type: str,
        content: Mapping[str, Any] | None = None,
        *,
        msg_id: str | None = None,
        parent: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
        pieces: int = 1,
        **header: Any,
    ) -> str:
        """Gives its ID."""
        msg_id = msg_id or uuid4().hex
        made = {
            "msg_id": msg_id,
            "msg_type": msg_type,
            "session": self.session,
            "username": "a client",
            "date": datetime.now(tz=UTC).isoformat(),
            "version": "5.3",
            **header,
        }
        whole = Message(channel, made, parent or {}, metadata or {}, content or {}, tuple(buffers))
        await self.socket.send(framed(whole, self.framing), pieces=pieces)
        return msg_id

    async def execute(self, code: str, *, how: Mapping[str, Any] | None = None, **more: Any) -> str:
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
            **(how or {}),
        }
        return await self.send("shell", "execute_request", content, **more)

    async def answer(self, prompt: Message, value: str) -> None:
        await self.send("stdin", "input_reply", {"value": value}, parent=prompt.header)

    # -- in

    async def next(self) -> Message:
        """Raises `ClosedError`."""
        message = unframed(await self.socket.receive(), self.framing)
        self.heard.append(message)
        return message

    async def until(self, found: Callable[[Message], bool], *, since: int = 0) -> Message:
        """The first of these, whether it was heard already or not."""
        for message in self.heard[since:]:
            if found(message):
                return message
        while not found(message := await self.next()):
            pass
        return message

    async def status(self, state: str, *, since: int = 0) -> Message:
        """One that belongs to no request."""
        return await self.until(lambda one: one.state == state and not one.parent, since=since)

    async def prompt(self, msg_id: str, *, since: int = 0) -> Message:
        return await self.until(
            lambda one: one.type == "input_request" and one.parent_id == msg_id, since=since
        )

    async def reply(self, msg_id: str) -> Message:
        return await self.until(lambda one: one.type.endswith("_reply") and one.parent_id == msg_id)

    async def idle(self, msg_id: str) -> Message:
        return await self.until(lambda one: one.state == "idle" and one.parent_id == msg_id)

    async def over(self, msg_id: str) -> Told:
        """All of one request, when it has both its reply and its idle."""
        await self.reply(msg_id)
        await self.idle(msg_id)
        return self.of(msg_id)

    async def ask(self, channel: str, msg_type: str, **content: Any) -> Told:
        return await self.over(await self.send(channel, msg_type, content))

    async def run(self, code: str, **more: Any) -> Told:
        return await self.over(await self.execute(code, **more))

    def of(self, *msg_ids: str) -> Told:
        return Told(one for one in self.heard if one.parent_id in msg_ids)

    async def rest(self) -> ClosedError:
        """Reads to the end, which the other side has to make."""
        while True:
            try:
                await self.next()
            except ClosedError as closed:
                return closed


def lines(count: Iterable[int]) -> str:
    return "".join(f"line {number}\n" for number in count)
