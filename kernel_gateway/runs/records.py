"""What a run leaves behind, one value a kind of record.

A record is a body with a sequence number, the wall-clock time and the step it belongs to. Bodies
are what every reader sees: console, `/log`, events, webhooks, the output notebook. Knows shapes and
their JSON; must not know how a record comes to be (`run.py`, `log.py`) or who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, NewType, TypeAlias

from kernel_gateway.messaging.strict_json import Json  # noqa: TC001 - for `get_type_hints`

STILL_PRINTING = "still_printing"  # threads, when their kernel was ended: what they say is lost

Seq = NewType("Seq", int)  # from 1, without a hole within a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a run ended as it did. Codes: the table of outcomes in `docs/reference/runs.md`."""

    code: str
    message: str = ""
    signal: str | None = None  # name, as SIGKILL
    exit_code: int | None = None
    limit: float | None = None  # seconds, of the limit that struck
    worked: str | None = None  # interrupt, terminate or kill: the step that ended a cancelled run


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    kind: ClassVar[str] = "state"
    state: str
    outcome: str | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChanged:
    """A step began or ended. `state` is a `StepOutcome` or `running`."""

    kind: ClassVar[str] = "step"
    state: str
    execution_count: int | None = None
    exit_code: int | None = None
    #: Of its request, when a step of a notebook begins: widgets name it.
    msg_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogText:
    kind: ClassVar[str] = "log"
    stream: str  # stdout or stderr
    text: str
    late: bool = False  # of a thread, after the end of its step


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled:
    """Stands in a MIME bundle for a value too big to be inline."""

    size: int  # bytes
    digest: str  # sha256:<hex>
    preview: str  # first characters of the value
    artifact: str | None = None  # its ID within the run; None: there was no room for it


class ArtifactKind(StrEnum):
    FILE = "file"  # that the code has written, or the bytes of an output
    OVERSIZED = "oversized"  # a value or a line that was too big to be inline
    WORK = "work"  # new or changed in the working folder that was sent with the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Bytes that belong to a run and are kept beside its log."""

    id: str  # unique within the run; ours, and safe in a path
    name: str  # for people: a path below the artifact folder, or what it is of
    kind: ArtifactKind
    mime: str
    size: int  # bytes
    digest: str  # sha256:<hex>
    preview: str | None = None  # first characters of what is oversized


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    kind: ClassVar[str] = "output"
    index: int  # counts the outputs of the run from 0
    output_type: str  # display_data or execute_result
    data: Mapping[str, Json]
    metadata: Mapping[str, Json]
    display_id: str | None = None
    execution_count: int | None = None
    spilled: Mapping[str, Spilled] | None = None  # by MIME type; these are not in `data`
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """New data for every earlier output with this `display_id`, in all steps of the run."""

    kind: ClassVar[str] = "update"
    display_id: str
    data: Mapping[str, Json]
    metadata: Mapping[str, Json]
    spilled: Mapping[str, Spilled] | None = None
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    kind: ClassVar[str] = "clear"
    wait: bool
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRaised:
    kind: ClassVar[str] = "error"
    ename: str
    evalue: str
    traceback: tuple[str, ...]  # lines as the kernel sent them, ANSI codes kept
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comm:
    """A message from a library to what shows it in a page; widgets are made of them. Of notebook
    runs alone. Neighbouring updates of one widget may have become one record."""

    kind: ClassVar[str] = "comm"
    what: str  # open, msg or close
    comm_id: str
    data: Mapping[str, Json]
    target_name: str | None = None  # of an open
    buffers: tuple[str, ...] | None = None  # in base64; empty where one is spilled
    spilled: Mapping[str, Spilled] | None = None  # by JSON pointer: `/data/state/value`
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One call of `metric` in the code; what becomes of it is in `metrics.py`."""

    kind: ClassVar[str] = "metric"
    name: str
    value: Json = None  # as the JSON of a record leaves it out; in `replace` it deletes
    mode: str  # replace, increment or append
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactAdded:
    kind: ClassVar[str] = "artifact"
    artifact: Artifact
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAsked:
    kind: ClassVar[str] = "input_request"
    prompt_id: int  # counts the prompts of the run from 1
    prompt: str
    password: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAnswered:
    kind: ClassVar[str] = "input_reply"
    prompt_id: int
    value: str | None = None  # never there for a password


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFinished:
    kind: ClassVar[str] = "phase_finished"
    phase: str  # clean or build
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEvent:
    kind: ClassVar[str] = "kernel"
    what: str  # died, restarted, unresponsive, responsive
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelIntroduced:
    """Before the first cell of a notebook: who executes it, in its own words."""

    kind: ClassVar[str] = "kernel_info"
    name: str  # of its kernelspec
    implementation: str
    version: str  # of the implementation
    language_info: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Something is missing, and how much. Nothing is ever missing without it."""

    kind: ClassVar[str] = "dropped"
    #: line_too_long, log_limit, idle_missing, reply_missing, artifact_limit; still_printing: what
    #: threads would have said after their kernel was ended.
    why: str
    bytes: int | None = None  # of this loss; for log_limit and artifact_limit the total so far
    count: int | None = None
    stream: str | None = None
    artifact: str | None = None  # that has the whole of a line that was too long
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The last record but for late ones; exactly one a run."""

    kind: ClassVar[str] = "completed"
    outcome: str
    reason: Reason
    exit_code: int | None = None


Body: TypeAlias = (
    StateChanged
    | StepChanged
    | LogText
    | Output
    | Updated
    | Cleared
    | ErrorRaised
    | Comm
    | Metric
    | ArtifactAdded
    | InputAsked
    | InputAnswered
    | PhaseFinished
    | KernelEvent
    | KernelIntroduced
    | Dropped
    | Completed
)

BODIES: Mapping[str, type[Body]] = {
    body.kind: body
    for body in (
        StateChanged,
        StepChanged,
        LogText,
        Output,
        Updated,
        Cleared,
        ErrorRaised,
        Comm,
        Metric,
        ArtifactAdded,
        InputAsked,
        InputAnswered,
        PhaseFinished,
        KernelEvent,
        KernelIntroduced,
        Dropped,
        Completed,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    seq: Seq
    at: float  # seconds since the epoch, for people; durations are in the run
    step: int | None  # index of the step; None for what concerns the run
    body: Body

    def __repr__(self) -> str:
        return f"<Record {self.seq} step={self.step} {self.body!r}>"


def body_json(body: Body) -> dict[str, Json]:
    """The fields of a body, absent rather than null; without kind and sequence number."""
    return _object(body)


def body_of(kind: str, raw: Mapping[str, Any]) -> Body:
    """Back from `body_json`. The JSON is ours, out of the store, and is not checked again."""
    values = dict(raw)
    if isinstance(values.get("reason"), Mapping):
        values["reason"] = Reason(**values["reason"])
    if "artifact" in values and kind == ArtifactAdded.kind:
        values["artifact"] = artifact_of(values["artifact"])
    for name in ("traceback", "buffers"):
        if name in values:
            values[name] = tuple(values[name])
    if "spilled" in values:
        values["spilled"] = {mime: Spilled(**item) for mime, item in values["spilled"].items()}
    return BODIES[kind](**values)


def artifact_of(raw: Mapping[str, Any]) -> Artifact:
    """Back from its JSON, which is ours."""
    return Artifact(**{**raw, "kind": ArtifactKind(raw["kind"])})


def pointer(*parts: str) -> str:
    """A JSON pointer (RFC 6901), as the names in `Comm.spilled`."""
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


def parts_of(pointed: str) -> list[str]:
    """Back from `pointer`."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointed.split("/")[1:]]


def _object(value: Any) -> dict[str, Json]:
    pairs = ((name, getattr(value, name)) for name in _names(value.__class__))
    return {
        name: _plain(item)
        for name, item in pairs
        if item is not None and not (name == "late" and item is False)
    }


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    """Of its fields; looked up once, for each record that is stored needs them."""
    return tuple(item.name for item in fields(kind))


def _plain(value: Any) -> Json:
    if isinstance(value, (Reason, Spilled, Artifact)):
        return _object(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping) and any(isinstance(item, Spilled) for item in value.values()):
        return {name: _object(item) for name, item in value.items()}
    return value  # type: ignore[no-any-return]
