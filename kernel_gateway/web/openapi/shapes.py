"""What answers look like, as JSON Schema (2020-12): the components of the OpenAPI document.

Knows the shapes that `render` makes, and says of each field what it means. Must not know routes.
A shape of ours is closed: a field that is renamed, missing or new fails its schema. What belongs to
kernels and clients is left open: MIME bundles, metadata, contexts, metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway import errors
from kernel_gateway.runs.records import ArtifactKind
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, StepOutcome
from kernel_gateway.service import KernelState, Mode, Status, Vitality, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from enum import StrEnum

    from kernel_gateway.web.schemas import Schema

# -- the words ----------------------------------------------------------------------------------


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def closed(optional: Mapping[str, Schema] | None = None, /, **needed: Schema) -> Schema:
    """An object with these fields and no other."""
    return {
        "type": "object",
        "required": list(needed),
        "properties": {**needed, **(optional or {})},
        "additionalProperties": False,
    }


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _told(meaning: str, schema: Schema) -> Schema:
    return {**schema, "description": meaning}


def _or_null(schema: Schema) -> Schema:
    if not isinstance(schema.get("type"), str):
        return {"anyOf": [schema, {"type": "null"}]}
    values = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **values}


def _one_of(values: type[StrEnum]) -> Schema:
    return {"type": "string", "enum": [value.value for value in values]}


_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SECONDS: Schema = {"type": "number", "minimum": 0}
_YES_NO: Schema = {"type": "boolean"}
_ANYTHING: Schema = {"type": "object"}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_UUID: Schema = {"type": "string", "format": "uuid"}
_PATH: Schema = {"type": "string", "format": "uri-reference"}
_DIGEST: Schema = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_INSTANT: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
    "description": "Wall clock, UTC, for people.",
}

# -- runs ---------------------------------------------------------------------------------------

_MODE = _one_of(Mode)
_STATE = _one_of(RunState)
_OUTCOME = _one_of(Outcome)
_STREAM: Schema = {"type": "string", "enum": ["stdout", "stderr"]}
_PHASE: Schema = {"type": "string", "enum": ["clean", "build", "exec"]}
_BUNDLE = _told("By MIME type, as the kernel sent it.", _ANYTHING)

_REASON = closed(
    {
        "signal": _told("Its name, as SIGKILL.", _TEXT),
        "exit_code": _WHOLE,
        "limit": _told("Seconds, of the limit that struck.", {"type": "number"}),
        "worked": {"type": "string", "enum": ["interrupt", "terminate", "kill"]},
    },
    code=_TEXT,
    message=_TEXT,
)

_FAILURE = closed(
    ename=_TEXT,
    evalue=_TEXT,
    traceback=_told("Lines as the kernel sent them, ANSI codes kept.", listed(_TEXT)),
    plain=_told("The same as one text without ANSI codes.", _TEXT),
)

_PROMPT = closed(
    prompt_id=_told("Counts from 1 in the run.", {"type": "integer", "minimum": 1}),
    prompt=_TEXT,
    password=_YES_NO,
)

_STEP = closed(
    {
        "phase": _PHASE,
        "exit_code": _WHOLE,
        "execution_count": _WHOLE,
        "error": ref("Failure"),
        "duration": _told("Seconds of a monotonic clock.", _SECONDS),
        "msg_id": _told("Of its request to the kernel.", _TEXT),
    },
    index=_COUNT,
    name=_TEXT,
    state=_one_of(StepOutcome),
    started_at=_or_null(_INSTANT),
    finished_at=_or_null(_INSTANT),
)

_ARTIFACT = closed(
    {"preview": _told("First characters of what is oversized.", _TEXT)},
    id=_TEXT,
    name=_TEXT,
    kind=_one_of(ArtifactKind),
    mime=_TEXT,
    size=_told("Bytes.", _COUNT),
    digest=_DIGEST,
)

_DELIVERY = closed(
    {"error": _told("Why there was no answer.", _TEXT)},
    id=_TEXT,
    attempt={"type": "integer", "minimum": 1},
    status=_told("Of the answer; null: there was none.", _or_null(_WHOLE)),
    at=_INSTANT,
    first=_told("Sequence number of its first record ...", _COUNT),
    last=_told("... and of its last one.", _COUNT),
)

_WEBHOOK = closed(
    url=_TEXT,
    events=listed(_one_of(WebhookEvent)),
    deliveries=_told("The newest ones.", listed(ref("Delivery"))),
)

_OUTPUT: Schema = {
    "description": "As nbformat has it. Bigger values are artifacts, with a reference in metadata.",
    "type": "object",
    "required": ["output_type"],
    "properties": {
        "output_type": {
            "type": "string",
            "enum": ["stream", "display_data", "execute_result", "error"],
        }
    },
}

_RUN = closed(
    {
        "outputs": _told(
            "What it has shown, folded of its log. Not in lists nor with ?outputs=false; null when "
            "the log is too long.",
            {"type": ["array", "null"], "items": ref("Output")},
        )
    },
    id=_told("The client's name of it, else the uid.", _TEXT),
    uid=_told("Ours, unique for ever.", _UUID),
    owner=_TEXT,
    mode=_MODE,
    kernel=closed(
        id=_TEXT,
        name=_told("Of its kernelspec.", _TEXT),
        generation=_told("One more with each restart; null until its turn.", _or_null(_WHOLE)),
    ),
    state=_STATE,
    outcome=_told("Set once, with `finished`.", _or_null(_OUTCOME)),
    reason=_told("Why it ended so.", _or_null(ref("Reason"))),
    phase=_told("Of a batch, the step that runs.", _or_null(_PHASE)),
    queue_position=_told("0 is next; null when it does not wait.", _or_null(_COUNT)),
    created_at=_INSTANT,
    started_at=_or_null(_INSTANT),
    finished_at=_or_null(_INSTANT),
    queue_time=_told("Seconds it has waited for its turn.", _or_null(_SECONDS)),
    predict_time=_told("Seconds it was executed.", _or_null(_SECONDS)),
    execution_count=_told("Of the last step.", _or_null(_WHOLE)),
    exit_code=_or_null(_WHOLE),
    error=_told("Of the user's code.", _or_null(ref("Failure"))),
    input_request=_told("While it waits for input.", _or_null(ref("Prompt"))),
    steps=listed(ref("Step")),
    is_stream=_told("More than one display or result was produced.", _YES_NO),
    metrics=_ANYTHING,
    artifacts=listed(ref("Artifact")),
    context=_TEXTS,
    labels=_TEXTS,
    log=closed(
        first=_told("Sequence number of the first record stored.", _COUNT),
        next=_told("Sequence number that the next record will have.", _COUNT),
        bytes=_told("Of text and comms stored.", _COUNT),
        dropped=_told("Bytes lost for good.", _COUNT),
    ),
    history=listed(closed(state=_STATE, at=_INSTANT)),
    attempt={"type": "integer", "minimum": 1},
    webhook=_or_null(ref("Webhook")),
    links=closed(
        **dict.fromkeys(
            ("self", "events", "log", "records", "artifacts", "input", "cancel", "notebook"), _PATH
        )
    ),
)

# -- records ------------------------------------------------------------------------------------

_SPILLED = closed(
    {"artifact": _told("Its ID; absent: there was no room for it.", _TEXT)},
    size=_COUNT,
    digest=_DIGEST,
    preview=_TEXT,
)
_SPILLS: Schema = {
    "description": "By MIME type, values too big to be inline.",
    "type": "object",
    "additionalProperties": ref("Spilled"),
}
_LATE: Mapping[str, Schema] = {
    "late": _told("Of a thread, after the end of its step.", {"const": True})
}


def _record(
    kind: str,
    optional: Mapping[str, Schema] | None = None,
    /,
    needed: Mapping[str, Schema] | None = None,
) -> Schema:
    return closed(
        optional,
        run_id=_TEXT,
        uid=_UUID,
        seq=_told("From 1, without a hole.", {"type": "integer", "minimum": 1}),
        at=_INSTANT,
        step=_told("Index of the step; null: of the run.", _or_null(_COUNT)),
        kind={"const": kind},
        **(needed or {}),
    )


#: By kind: the fields that may be there, and those that must.
RECORDS: Mapping[str, Schema] = {
    "state": _record("state", {"outcome": _OUTCOME, "reason": ref("Reason")}, {"state": _STATE}),
    "step": _record(
        "step",
        {
            "execution_count": _WHOLE,
            "exit_code": _WHOLE,
            "msg_id": _told("Of its request, when a step of a notebook begins.", _TEXT),
        },
        {"state": _one_of(StepOutcome)},
    ),
    "log": _record("log", _LATE, {"stream": _STREAM, "text": _TEXT}),
    "output": _record(
        "output",
        {"display_id": _TEXT, "execution_count": _WHOLE, "spilled": _SPILLS, **_LATE},
        {
            "index": _told("Counts the outputs of the run from 0.", _COUNT),
            "output_type": {"type": "string", "enum": ["display_data", "execute_result"]},
            "data": _BUNDLE,
            "metadata": _ANYTHING,
        },
    ),
    "update": _record(
        "update",
        {"spilled": _SPILLS, **_LATE},
        {"display_id": _TEXT, "data": _BUNDLE, "metadata": _ANYTHING},
    ),
    "clear": _record("clear", _LATE, {"wait": _YES_NO}),
    "error": _record("error", _LATE, {"ename": _TEXT, "evalue": _TEXT, "traceback": listed(_TEXT)}),
    "comm": _record(
        "comm",
        {
            "target_name": _told("Of an open: who is to take it.", _TEXT),
            "buffers": _told("In base64; empty where one is spilled.", listed(_TEXT)),
            "spilled": {
                **_SPILLS,
                "description": "By JSON pointer into the record, values too big to be inline.",
            },
            **_LATE,
        },
        {
            "what": {"type": "string", "enum": ["open", "msg", "close"]},
            "comm_id": _TEXT,
            "data": _told("As the kernel sent it, or several updates in one.", _ANYTHING),
        },
    ),
    "metric": _record(
        "metric",
        {"value": {}, **_LATE},
        {"name": _TEXT, "mode": {"type": "string", "enum": ["replace", "increment", "append"]}},
    ),
    "artifact": _record("artifact", _LATE, {"artifact": ref("Artifact")}),
    "input_request": _record("input_request", None, dict(_PROMPT["properties"])),
    "input_reply": _record(
        "input_reply",
        {"value": _told("Never there for a password.", _TEXT)},
        {"prompt_id": {"type": "integer", "minimum": 1}},
    ),
    "phase_finished": _record("phase_finished", None, {"phase": _PHASE, "exit_code": _WHOLE}),
    "kernel": _record("kernel", None, {"what": _TEXT, "message": _TEXT}),
    "kernel_info": _record(
        "kernel_info",
        None,
        {
            "name": _TEXT,
            "implementation": _TEXT,
            "version": _TEXT,
            "language_info": {"type": "object"},
        },
    ),
    "dropped": _record(
        "dropped",
        {
            "bytes": _COUNT,
            "count": _COUNT,
            "stream": _STREAM,
            "artifact": _told("That has the whole line.", _TEXT),
            **_LATE,
        },
        {"why": _TEXT},
    ),
    "completed": _record(
        "completed",
        {"exit_code": _WHOLE},
        {"outcome": _OUTCOME, "reason": ref("Reason"), "run": ref("Run")},
    ),
}


_GAP: Schema = {
    "description": "In a stream of events alone: these are no longer there.",
    "type": "object",
    "required": ["run_id", "uid", "kind", "from", "to"],
    "properties": {
        "run_id": _TEXT,
        "uid": _UUID,
        "kind": {"const": "gap"},
        "from": _COUNT,
        "to": _COUNT,
    },
    "additionalProperties": False,
}


def _record_name(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_")) + "Record"


_RECORD: Schema = {
    "description": "Every kind of record of a run's log.",
    "oneOf": [ref(_record_name(kind)) for kind in RECORDS],
    "discriminator": {
        "propertyName": "kind",
        "mapping": {kind: ref(_record_name(kind))["$ref"] for kind in RECORDS},
    },
}


def _page(items: Schema, **more: Schema) -> Schema:
    return closed(
        items=listed(items),
        next=_told("`after` of the next page.", _COUNT),
        finished=_told("The run is over, and this page has its end.", _YES_NO),
        **more,
    )


_SEALED: Schema = _told(
    "Nothing comes behind this page: no kernel is left that could say more.", _YES_NO
)


_LOG_ITEM: Schema = {
    "description": "Sequence number, stream, text.",
    "type": "array",
    "prefixItems": [_COUNT, _STREAM, _TEXT],
    "minItems": 3,
    "items": False,
}

# -- execute ------------------------------------------------------------------------------------

_CONSOLE_ITEM: Schema = {
    "description": "Its type, then text, or the parts of `media` (MIME type, data) and `log`.",
    "type": "array",
    "prefixItems": [
        {"type": "string", "enum": ["stdout", "stderr", "media", "html", "log"]},
        {"type": ["string", "array"], "items": _TEXT},
    ],
    "minItems": 2,
    "items": False,
}

_INSPECTION = closed(
    parameters=_told(
        "In the order of the cell.",
        listed(
            closed(
                name=_TEXT,
                type=_told(
                    "As annotated or in a comment, or that of the default.", _or_null(_TEXT)
                ),
                default=_told("Source. Null: there is none.", _or_null(_TEXT)),
                help=_told("The comment behind it.", _TEXT),
            )
        ),
    ),
    inspectable=_told("Whether the cell could be understood: Python is.", _YES_NO),
)

_RESULT = closed(
    {"queuePosition": _told("While it waits for others: 0 is next.", _COUNT)},
    runId=_TEXT,
    status=_one_of(Status),
    exitCode=_told("With the finished statuses.", _or_null(_WHOLE)),
    console=listed(_CONSOLE_ITEM),
    options=_told(
        "With `waiting-input`.",
        _or_null(closed(is_password=_YES_NO, prompt_id={"type": "integer", "minimum": 1})),
    ),
    files={"type": "array", "maxItems": 0},
    cursor=_told("Where this answer ends.", {"type": ["integer", "string"]}),
)

# -- kernels ------------------------------------------------------------------------------------

_KERNEL = closed(
    {"reason": _told("Why it is dead.", _TEXT)},
    id=_TEXT,
    name=_told("Of its kernelspec.", _TEXT),
    last_activity=_INSTANT,
    execution_state=_one_of(KernelState),
    connections=_told("Open WebSockets.", _COUNT),
    generation=_told("One more with each restart.", _WHOLE),
    isolation={"type": "string", "enum": ["none"]},
    queue_length=_COUNT,
    owner=_TEXT,
)

_KERNEL_SPEC = closed(
    name=_TEXT,
    spec=_told("The content of its kernel.json.", _ANYTHING),
    resources=_told(
        "Where its files are served.", {"type": "object", "additionalProperties": _PATH}
    ),
)

_KERNEL_SPECS = closed(
    default=_TEXT,
    kernelspecs={"type": "object", "additionalProperties": ref("KernelSpec")},
)

_KERNEL_HEALTH = closed(
    status=_one_of(Vitality),
    checked_at=_INSTANT,
    message=_TEXT,
    check=_told(
        "Of the kernel's own check, if it has one.",
        _or_null(closed(ok=_told("null: it could not be made.", _or_null(_YES_NO)), message=_TEXT)),
    ),
)

_KERNEL_OUTPUT = closed(
    text=_told("The end of what its process has written, that no run can claim.", _TEXT),
    dropped=_told("Bytes before that.", _COUNT),
    generation=_WHOLE,
)

_SESSION = closed(
    {"notebook": closed(path=_TEXT, name=_TEXT)},
    id=_TEXT,
    path=_TEXT,
    name=_TEXT,
    type=_TEXT,
    kernel=ref("Kernel"),
)

# -- the process --------------------------------------------------------------------------------

_STATUS = closed(connections=_COUNT, kernels=_COUNT, last_activity=_INSTANT, started=_INSTANT)

_ME = closed(
    identity=closed(
        username=_TEXT,
        name=_TEXT,
        display_name=_TEXT,
        initials=_or_null(_TEXT),
        avatar_url=_or_null(_TEXT),
        color=_or_null(_TEXT),
    ),
    permissions=_told("What of what was asked for is allowed, by resource.", _ANYTHING),
)

_READINESS = closed(
    {"message": _told("Why nothing can be stored.", _TEXT)},
    status={"type": "string", "enum": ["ok", "draining", "store_unavailable"]},
    ready=_YES_NO,
    kernels=_COUNT,
    warm=_told("Kernels that are nobody's yet, for whoever comes next.", _COUNT),
    runs=_told("That have not ended.", _COUNT),
    descriptors=_told(
        "Of the gateway's process; when they are short no kernel and no WebSocket is added.",
        closed(limit=_COUNT, used=_COUNT),
    ),
)

# -- errors -------------------------------------------------------------------------------------

_FAULT = closed(
    {
        "field": _told("The first of `fields`.", _TEXT),
        "fields": _told("What is wrong, by the path of each field.", _TEXTS),
        "details": _ANYTHING,
    },
    code=_told("Stable, for programs.", _TEXT),
    message=_told("For people.", _TEXT),
)

_ERROR = closed(error=ref("Fault"))
_JUPYTER_ERROR = closed(message=_TEXT, reason=_TEXT, error=ref("Fault"))
_PROBLEM = closed(
    {"msg": _TEXT, "data": _ANYTHING}, type={"type": "string", "format": "uri"}, title=_TEXT
)


def error_codes(*, of_jupyter: bool) -> Mapping[int, Sequence[str]]:
    """All that a caller can meet, by status."""
    codes: dict[int, set[str]] = {400: {"bad_request"}}  # of Tornado, for what is no HTTP
    for kind in _kinds(errors.GatewayError):
        is_field = of_jupyter and issubclass(kind, errors.InvalidField)
        codes.setdefault(400 if is_field else kind.status, set()).add(kind.code)
    return {status: sorted(found) for status, found in codes.items()}


def _kinds(kind: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


# -- all ----------------------------------------------------------------------------------------

SHAPES: Mapping[str, Schema] = {
    "Run": _RUN,
    "Reason": _REASON,
    "Failure": _FAILURE,
    "Prompt": _PROMPT,
    "Step": _STEP,
    "Output": _OUTPUT,
    "Artifact": _ARTIFACT,
    "Webhook": _WEBHOOK,
    "Delivery": _DELIVERY,
    "RunPage": closed(
        items=listed(ref("Run")),
        next=_told("`cursor` of the next page; null on the last one.", _or_null(_TEXT)),
    ),
    "Record": _RECORD,
    **{_record_name(kind): schema for kind, schema in RECORDS.items()},
    "GapRecord": _GAP,
    "Spilled": _SPILLED,
    "LogPage": _page(_LOG_ITEM),
    "RecordPage": _page(ref("Record"), sealed=_SEALED),
    "ArtifactList": closed(items=listed(ref("Artifact"))),
    "Inspection": _INSPECTION,
    "Nothing": closed(),
    "Result": _RESULT,
    "Kernel": _KERNEL,
    "KernelList": listed(ref("Kernel")),
    "KernelSpec": _KERNEL_SPEC,
    "KernelSpecs": _KERNEL_SPECS,
    "KernelHealth": _KERNEL_HEALTH,
    "KernelOutput": _KERNEL_OUTPUT,
    "Session": _SESSION,
    "SessionList": listed(ref("Session")),
    "Version": closed(version=_TEXT),
    "Status": _STATUS,
    "Me": _ME,
    "Readiness": _READINESS,
    "Fault": _FAULT,
    "Error": _ERROR,
    "JupyterError": _JUPYTER_ERROR,
    "Problem": _PROBLEM,
}
