"""What one message means to a run.

Knows which message types matter and what their contents must look like; kernel output is hostile,
so each content is checked before it is believed. Must not know which run is meant, nor what follows
from a fact (`runs/`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.strict_json import Json, clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel_gateway.messaging.message import Message
    from kernel_gateway.messaging.raw import RawMessage


@dataclass(frozen=True, slots=True)
class Busy:
    """The kernel took the request up."""


@dataclass(frozen=True, slots=True)
class Idle:
    """All output of the request is out, but for that of its threads."""


@dataclass(frozen=True, slots=True)
class Stream:
    name: str  # stdout or stderr
    text: str


@dataclass(frozen=True, slots=True)
class Display:
    """`display_data`, or `execute_result` when `execution_count` is given."""

    data: Mapping[str, Json]
    metadata: Mapping[str, Json]
    display_id: str | None = None
    execution_count: int | None = None
    is_result: bool = False


@dataclass(frozen=True, slots=True)
class DisplayUpdate:
    display_id: str
    data: Mapping[str, Json]
    metadata: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Clear:
    wait: bool  # clear only when the next output comes


@dataclass(frozen=True, slots=True)
class Raised:
    ename: str
    evalue: str
    traceback: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comm:
    """Of a library in the kernel to what shows it in a page; widgets are made of these."""

    what: str  # open, msg or close
    comm_id: str
    data: Mapping[str, Json]
    target_name: str = ""  # of an open: who is to take it
    buffers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class InputRequested:
    prompt: str
    password: bool


@dataclass(frozen=True, slots=True)
class Replied:
    """The `execute_reply`. Only the status `ok` is ok; wrapper kernels invent others."""

    status: str
    execution_count: int | None = None
    ename: str = ""
    evalue: str = ""
    traceback: tuple[str, ...] = ()
    exit_code: int | None = None  # of a kernel whose cells are programs
    #: What they came to, by name.
    expressions: Mapping[str, Json] = field(default_factory=dict, hash=False)

    @property
    def aborted(self) -> bool:
        """The kernel did not run it, because of an error or interrupt before it."""
        return self.status in {"aborted", "abort"} and not self.ename


@dataclass(frozen=True, slots=True)
class Completions:
    """The `complete_reply`: what could replace the text from `start` to `end`."""

    matches: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """The `kernel_info_reply`: the kernel is there."""

    implementation: str
    protocol_version: str
    language_info: Mapping[str, Json] = field(default_factory=dict)
    banner: str = ""
    version: str = ""  # of the implementation
    features: tuple[str, ...] = ()  # that not every kernel has


@dataclass(frozen=True, slots=True)
class SubshellMade:
    """The `create_subshell_reply`. Without an ID there is none."""

    subshell_id: str | None


@dataclass(frozen=True, slots=True)
class Welcome:
    """`iopub_welcome` (protocol 5.4): the subscription is in force, nothing is missed from here."""


Fact: TypeAlias = (
    Busy
    | Idle
    | Stream
    | Display
    | DisplayUpdate
    | Clear
    | Raised
    | Comm
    | InputRequested
    | Replied
    | Completions
    | KernelInfo
    | SubshellMade
    | Welcome
)


#: Among the features of a kernel: it can execute beside what it executes.
SUBSHELLS = "kernel subshells"

#: Message types that are comms. There may be very many of them, and few runs want them.
COMMS: Mapping[str, str] = {"comm_open": "open", "comm_msg": "msg", "comm_close": "close"}

MOST_ID_CHARS = 1024  # of a comm: it is said again with each of its messages

_NO_VALUES: Mapping[str, Json] = {}
_STATUSES: Mapping[str, Fact] = {"busy": Busy(), "idle": Idle()}


def fact_of(message: Message | RawMessage) -> Fact | None:
    """The fact, or None for a message that means nothing to a run (echoes of the input).

    Raises `MalformedMessage` when the content is not what its type promises.
    """
    if message.msg_type in COMMS:
        return _comm(COMMS[message.msg_type], message.content, message.buffers)
    reader = _READERS.get(message.msg_type)
    return reader(message.content) if reader else None


def _status(content: Mapping[str, Json]) -> Fact | None:
    return _STATUSES.get(_text(content, "execution_state"))


def _stream(content: Mapping[str, Json]) -> Fact:
    name = _text(content, "name")
    if name not in {"stdout", "stderr"}:
        raise MalformedMessage(f"stream.name must be stdout or stderr, not {name!r}")
    return Stream(name=name, text=_text(content, "text"))


def _display(content: Mapping[str, Json]) -> Fact:
    return Display(
        data=_bundle(content),
        metadata=_object(content, "metadata"),
        display_id=_display_id(content),
    )


def _result(content: Mapping[str, Json]) -> Fact:
    return Display(
        data=_bundle(content),
        metadata=_object(content, "metadata"),
        display_id=_display_id(content),
        execution_count=_integer(content, "execution_count"),
        is_result=True,
    )


def _update(content: Mapping[str, Json]) -> Fact | None:
    display_id = _display_id(content)
    if display_id is None:  # nothing can be meant by it
        return None
    return DisplayUpdate(
        display_id=display_id, data=_bundle(content), metadata=_object(content, "metadata")
    )


def _clear(content: Mapping[str, Json]) -> Fact:
    return Clear(wait=content.get("wait") is True)


def _error(content: Mapping[str, Json]) -> Fact:
    return Raised(
        ename=_text(content, "ename", ""),
        evalue=_text(content, "evalue", ""),
        traceback=_lines(content, "traceback"),
    )


def _comm(what: str, content: Mapping[str, Json], buffers: tuple[bytes, ...]) -> Fact:
    comm_id = _text(content, "comm_id")
    if len(comm_id) > MOST_ID_CHARS:
        raise MalformedMessage(f"comm_id must not be longer than {MOST_ID_CHARS} characters")
    return Comm(
        what=what,
        comm_id=comm_id,
        data=_object(content, "data"),
        target_name=_text(content, "target_name", "") if what == "open" else "",
        buffers=buffers,
    )


def _input_request(content: Mapping[str, Json]) -> Fact:
    return InputRequested(
        prompt=_text(content, "prompt", ""), password=content.get("password") is True
    )


def _execute_reply(content: Mapping[str, Json]) -> Fact:
    values = content.get("user_expressions")  # no reply is lost for what nobody has asked for
    return Replied(
        status=_text(content, "status"),
        execution_count=_integer(content, "execution_count"),
        ename=_text(content, "ename", ""),
        evalue=_text(content, "evalue", ""),
        traceback=_lines(content, "traceback"),
        exit_code=_integer(content, "exit_code"),
        expressions=values if isinstance(values, dict) else _NO_VALUES,
    )


def _complete_reply(content: Mapping[str, Json]) -> Fact:
    return Completions(
        matches=_lines(content, "matches"),
        start=_integer(content, "cursor_start") or 0,
        end=_integer(content, "cursor_end") or 0,
    )


def _kernel_info_reply(content: Mapping[str, Json]) -> Fact:
    return KernelInfo(
        implementation=_text(content, "implementation", ""),
        protocol_version=_text(content, "protocol_version", ""),
        language_info=_object(content, "language_info"),
        banner=_text(content, "banner", ""),
        version=_text(content, "implementation_version", ""),
        features=_lines(content, "supported_features"),
    )


def _subshell_reply(content: Mapping[str, Json]) -> Fact:
    made = content.get("subshell_id")
    return SubshellMade(made if isinstance(made, str) and made else None)


def _welcome(content: Mapping[str, Json]) -> Fact:
    return Welcome()


_READERS: Mapping[str, Callable[[Mapping[str, Json]], Fact | None]] = {
    "status": _status,
    "stream": _stream,
    "display_data": _display,
    "execute_result": _result,
    "update_display_data": _update,
    "clear_output": _clear,
    "error": _error,
    "input_request": _input_request,
    "execute_reply": _execute_reply,
    "complete_reply": _complete_reply,
    "kernel_info_reply": _kernel_info_reply,
    "create_subshell_reply": _subshell_reply,
    "iopub_welcome": _welcome,
}


_REQUIRED = object()


def _text(content: Mapping[str, Json], name: str, default: object = _REQUIRED) -> str:
    value = content.get(name, default)
    if value is None and default is not _REQUIRED:
        value = default
    if not isinstance(value, str):
        raise MalformedMessage(f"{name} must be text")
    return clean_text(value)


def _object(content: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = content.get(name) or {}
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be an object")
    return value


def _bundle(content: Mapping[str, Json]) -> Mapping[str, Json]:
    """A MIME bundle. nbformat wants lists of lines joined, some kernels send them split."""
    return {mime: _joined(mime, value) for mime, value in _object(content, "data").items()}


def _joined(mime: str, value: Json) -> Json:
    is_json = mime == "application/json" or mime.endswith("+json")
    if isinstance(value, list) and not is_json and all(isinstance(line, str) for line in value):
        return clean_text("".join(str(line) for line in value))
    return clean_text(value) if isinstance(value, str) else value


def _display_id(content: Mapping[str, Json]) -> str | None:
    value = _object(content, "transient").get("display_id")
    return clean_text(value) if isinstance(value, str) and value else None


def _integer(content: Mapping[str, Json], name: str) -> int | None:
    value = content.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _lines(content: Mapping[str, Json], name: str) -> tuple[str, ...]:
    value = content.get(name)
    if not isinstance(value, list):
        return ()
    return tuple(clean_text(line) for line in value if isinstance(line, str))
