"""A Jupyter message as a frozen value, and the requests that we make.

Knows the protocol's shapes (jupyter_client, "Messaging in Jupyter", 5.4). Must not know the wire
(`wire.py`, `websocket.py`), what a message means to a run (`facts.py`), or the time. A message that
is only passed on is not decoded at all: `raw.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from kernel_gateway.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json

MsgId = NewType("MsgId", str)  # ours, one for each request

PROTOCOL_VERSION = "5.4"

VALUE = "value"  # of an expression


class Channel(StrEnum):
    """The four channels that carry messages; the heartbeat carries bytes only."""

    SHELL = "shell"
    IOPUB = "iopub"
    STDIN = "stdin"
    CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    msg_id: MsgId
    msg_type: str
    session: str  # of the sender; replies and prompts find their way by it
    username: str = ""
    date: Json = ""  # ISO 8601; jupyter_server's own client sends seconds. Nobody reads it
    version: str = PROTOCOL_VERSION
    more: Mapping[str, Json] = field(
        default_factory=dict
    )  # as it came: subshell_id, and what comes

    @classmethod
    def of(cls, raw: Mapping[str, Json]) -> Header:
        """From the wire. Only `msg_type` must be there: old kernels omit the rest."""
        texts = {name: raw.get(name, default) for name, default in _HEADER_DEFAULTS.items()}
        for name, value in texts.items():
            if not isinstance(value, str) and name != "date":
                raise MalformedMessage(f"header.{name} must be text")
        if not texts["msg_type"]:
            raise MalformedMessage("header.msg_type is missing")
        more = {name: value for name, value in raw.items() if name not in _HEADER_DEFAULTS}
        return cls(**texts, more=more)  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Json]:
        return {**self.more, **{name: getattr(self, name) for name in _HEADER_DEFAULTS}}


_HEADER_DEFAULTS = {
    "msg_id": "",
    "msg_type": "",
    "session": "",
    "username": "",
    "date": "",
    "version": PROTOCOL_VERSION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    channel: Channel
    header: Header
    parent: Header | None = None  # the request that caused it; None when nothing did
    metadata: Mapping[str, Json] = field(default_factory=dict)
    content: Mapping[str, Json] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()

    @property
    def msg_type(self) -> str:
        return self.header.msg_type

    @property
    def parent_id(self) -> MsgId | None:
        return self.parent.msg_id if self.parent else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What we ask of a kernel. Session and date are stamped by the connection that sends it."""

    channel: Channel
    msg_id: MsgId
    msg_type: str
    content: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)
    subshell_id: str | None = None  # None: the main shell
    parent: Header | None = None  # for an input_reply: the input_request it answers

    def stamped(self, *, session: str, date: str) -> Message:
        header = Header(
            msg_id=self.msg_id,
            msg_type=self.msg_type,
            session=session,
            username="kernel-gateway",
            date=date,
            more={} if self.subshell_id is None else {"subshell_id": self.subshell_id},
        )
        return Message(
            channel=self.channel,
            header=header,
            parent=self.parent,
            metadata=self.metadata,
            content=self.content,
        )


def execute_request(
    msg_id: MsgId,
    code: str,
    *,
    allow_stdin: bool,
    silent: bool = False,
    store_history: bool = True,
    stop_on_error: bool = False,
    metadata: Mapping[str, Json] | None = None,
) -> Request:
    """Run `code`. `stop_on_error` is false by default: an error of ours must abort nobody else.
    What `metadata` says the code can read, where its kernel lets it."""
    return Request(
        channel=Channel.SHELL,
        msg_id=msg_id,
        msg_type="execute_request",
        metadata=metadata or {},
        content={
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": stop_on_error,
        },
    )


def evaluate_request(msg_id: MsgId, expression: str, *, subshell_id: str | None = None) -> Request:
    """What an expression comes to, in the reply under `VALUE`; it leaves no trace."""
    request = execute_request(msg_id, "", allow_stdin=False, silent=True, store_history=False)
    content: dict[str, Json] = {**request.content, "user_expressions": {VALUE: expression}}
    return replace(request, content=content, subshell_id=subshell_id)


def create_subshell_request(msg_id: MsgId) -> Request:
    """For kernels that have `facts.SUBSHELLS` among their features."""
    return Request(channel=Channel.CONTROL, msg_id=msg_id, msg_type="create_subshell_request")


def complete_request(msg_id: MsgId, code: str, cursor: int) -> Request:
    """What could stand at `cursor`, counted in characters (not in UTF-16 units)."""
    return Request(
        channel=Channel.SHELL,
        msg_id=msg_id,
        msg_type="complete_request",
        content={"code": code, "cursor_pos": cursor},
    )


def kernel_info_request(msg_id: MsgId, channel: Channel) -> Request:
    """The question every kernel answers: readiness, barrier and probe all ask it."""
    return Request(channel=channel, msg_id=msg_id, msg_type="kernel_info_request")


def interrupt_request(msg_id: MsgId) -> Request:
    """For kernelspecs with `interrupt_mode: message`."""
    return Request(channel=Channel.CONTROL, msg_id=msg_id, msg_type="interrupt_request")


def shutdown_request(msg_id: MsgId, *, restart: bool = False) -> Request:
    return Request(
        channel=Channel.CONTROL,
        msg_id=msg_id,
        msg_type="shutdown_request",
        content={"restart": restart},
    )


def input_reply(msg_id: MsgId, value: str, *, parent: Header | None) -> Request:
    """The answer to the `input_request` whose header is `parent`."""
    return Request(
        channel=Channel.STDIN,
        msg_id=msg_id,
        msg_type="input_reply",
        content={"value": value},
        parent=parent,
    )
