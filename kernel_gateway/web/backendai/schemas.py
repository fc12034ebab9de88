"""What bodies and queries of Backend.AI's API must look like, and the values that become of them.

Knows JSON Schema and the values of `service.py`. Must not know HTTP requests. Fields that are not
known are left alone everywhere: each release of the client sends more of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import BadJson, InvalidField
from kernel_gateway.service import (
    BatchCommands,
    Cursor,
    ExecuteCall,
    ExecuteMode,
    RunId,
    SessionRequest,
)
from kernel_gateway.web import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.web.schemas import Schema

MAX_DOWNLOADS = 5
MAX_RUN_ID_CHARS = 4096
HOME = "/home/work"  # where the original has a session's folder

_TEXT = {"type": ["string", "null"], "format": "text"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{2,62}[A-Za-z0-9_]")


# -- sessions -----------------------------------------------------------------------------------

SESSION: Schema = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "format": "text"},
        "name": _TEXT,
        "type": _TEXT,
        "tag": _TEXT,
        "enqueueOnly": {"type": ["boolean", "null"]},
        "maxWaitSeconds": {"type": ["number", "null"], "minimum": 0},
        "reuseIfExists": {"type": ["boolean", "null"]},
        "startupCommand": _TEXT,
        "owner_access_key": _TEXT,
        "config": {
            "type": ["object", "null"],
            "properties": {
                "environ": {
                    "type": ["object", "null"],
                    "maxProperties": schemas.MAX_VARIABLES,
                    "additionalProperties": {"type": "string", "format": "text"},
                    "propertyNames": {"format": "env-name"},
                }
            },
        },
    },
}
_session = schemas.validator_of(SESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session that is asked for, and how."""

    request: SessionRequest
    at_once: bool  # do not wait until it can take runs
    max_wait_s: float | None  # None: as long as it takes
    command: str | None  # to be run first, of a session of type batch
    owner_access_key: str | None


def new_session(body: Mapping[str, Any]) -> NewSession:
    """Raises `InvalidField`."""
    schemas.check(_session, body)
    name = body.get("name")
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidField(
            {
                "name": "must have 4 to 64 ASCII letters, digits, '_', '-' and '.', "
                "neither of the last two at an end"
            }
        )
    reuse = body.get("reuseIfExists")
    is_batch = body.get("type") == "batch"
    return NewSession(
        request=SessionRequest(
            image=body["image"],
            name=name,
            env=(body.get("config") or {}).get("environ") or {},
            tag=body.get("tag"),
            reuse=True if reuse is None else reuse,
        ),
        at_once=bool(body.get("enqueueOnly")),
        max_wait_s=body.get("maxWaitSeconds") or None,
        command=(body.get("startupCommand") or None) if is_batch else None,
        owner_access_key=body.get("owner_access_key"),
    )


# -- execute ------------------------------------------------------------------------------------

_OPTIONS: Schema = {
    "type": ["object", "null"],
    "properties": {
        "clean": _TEXT,
        "build": _TEXT,
        "exec": _TEXT,
        "after": {"type": ["string", "integer", "null"], "format": "cursor"},
        "prompt_id": {"type": ["integer", "null"], "minimum": 1},
    },
}
#: Any text, here; ours are shorter and without control characters.
_RUN_ID: Schema = {"type": ["string", "null"], "format": "text", "maxLength": MAX_RUN_ID_CHARS}


def _execute_schema(modes: Sequence[ExecuteMode], *required: str) -> Schema:
    return {
        "type": "object",
        "required": ["mode", *required],
        "properties": {
            "mode": {"enum": [mode.value for mode in modes]},
            "code": _TEXT,
            "runId": _RUN_ID,
            "options": _OPTIONS,
            "opts": _OPTIONS,
        },
    }


_execute = schemas.validator_of(_execute_schema(list(ExecuteMode), "runId"))
_first_frame = schemas.validator_of(_execute_schema([ExecuteMode.QUERY, ExecuteMode.BATCH]))


def execute_call(session_id: str, body: Mapping[str, Any], *, max_code_bytes: int) -> ExecuteCall:
    """Raises `InvalidField` and `TooLarge`."""
    schemas.check(_execute, body)
    mode = ExecuteMode(body["mode"])
    if mode in {ExecuteMode.CONTINUE, ExecuteMode.INPUT} and body["runId"] is None:
        raise InvalidField({"runId": "is needed to go on with a run"})
    return _call(session_id, body, body["runId"], schemas.EXECUTE_WAIT_S, max_code_bytes)


def stream_call(
    session_id: str, body: Mapping[str, Any], run_id: RunId, *, max_code_bytes: int
) -> ExecuteCall:
    """Of the first frame of a WebSocket. It answers as soon as the run is there."""
    schemas.check(_first_frame, body)
    return _call(session_id, body, run_id, 0.0, max_code_bytes)


def _call(
    session_id: str,
    body: Mapping[str, Any],
    run_id: RunId | None,
    wait_s: float,
    max_code_bytes: int,
) -> ExecuteCall:
    options = body.get("options") or body.get("opts") or {}
    code = body.get("code") or ""
    commands = BatchCommands(**{name: options.get(name) for name in ("clean", "build", "exec")})
    schemas.check_code(code, commands, max_code_bytes)
    after, prompt_id = options.get("after"), options.get("prompt_id")
    return ExecuteCall(
        kernel_id=session_id,
        mode=ExecuteMode(body["mode"]),
        run_id=run_id,
        code=code,
        commands=commands,
        wait_s=wait_s,
        after=None if after is None else Cursor.parse(after),
        prompt_id=None if prompt_id is None else int(prompt_id),
        reuse_finished=True,
    )


# -- completion ---------------------------------------------------------------------------------

COMPLETE: Schema = {
    "type": "object",
    "required": ["code"],
    "properties": {
        "code": _TEXT,
        "options": {"type": ["object", "null"], "properties": {"post": _TEXT}},
    },
}
_complete = schemas.validator_of(COMPLETE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which text something could be completed."""

    code: str
    cursor: int  # characters


def place(body: Mapping[str, Any]) -> Place:
    """The text up to the cursor, and after it, come apart. Raises `InvalidField`."""
    schemas.check(_complete, body)
    before = body.get("code") or ""
    post = (body.get("options") or {}).get("post") or ""
    return Place(before + post, len(before))


# -- files --------------------------------------------------------------------------------------

LIST: Schema = {"type": "object", "properties": {"path": _TEXT}}
DOWNLOAD: Schema = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_DOWNLOADS,
            "items": {"type": "string", "format": "text"},
        }
    },
}
_list = schemas.validator_of(LIST)
_download = schemas.validator_of(DOWNLOAD)


def listed_path(body: Mapping[str, Any], query: Mapping[str, Sequence[bytes]]) -> str:
    """Of the body, which a GET may have here, or of the query. Raises `InvalidField`."""
    given = {"path": _texts(query["path"])[-1]} if "path" in query else {}
    values = {**given, **body}
    schemas.check(_list, values)
    return inside(values.get("path") or ".")


def downloaded_paths(body: Mapping[str, Any], query: Mapping[str, Sequence[bytes]]) -> list[str]:
    """Raises `InvalidField`."""
    given = {"files": _texts(query["files"])} if "files" in query else {}
    values: dict[str, Any] = {**given, **body}
    schemas.check(_download, values)
    return [inside(path) for path in values["files"]]


def _texts(values: Sequence[bytes]) -> list[str]:
    return [value.decode(errors="surrogateescape") for value in values]


def inside(path: str) -> str:
    """Relative to the session's folder, if that is what it names."""
    if path == HOME or path.startswith(f"{HOME}/"):
        return path[len(HOME) :].lstrip("/") or "."
    return path


# -- events -------------------------------------------------------------------------------------

SCOPES = ("*", "session", "kernel")
EVENTS: Schema = {
    "type": "object",
    "properties": {
        "sessionId": {"type": "string", "format": "text"},
        "sessionName": {"type": "string", "format": "text"},
        "scope": {"enum": list(SCOPES)},
        "owner_access_key": {"type": "string"},
    },
}
_events = schemas.validator_of(EVENTS)


@dataclass(frozen=True, slots=True)
class Listening:
    """Which events are wanted."""

    name_or_id: str | None  # None: of all sessions
    scope: str


def listening(query: Mapping[str, Sequence[bytes]]) -> Listening:
    """Raises `InvalidField`."""
    values = {name: _texts(query[name])[-1] for name in EVENTS["properties"] if query.get(name)}
    schemas.check(_events, values)
    named = values.get("sessionId") or values.get("sessionName") or "*"
    return Listening(None if named == "*" else named, values.get("scope", "*"))


# -- GraphQL ------------------------------------------------------------------------------------

GRAPHQL: Schema = {
    "type": "object",
    "required": ["query"],
    "properties": {
        "query": {"type": "string", "format": "text"},
        "variables": {"type": ["object", "null"]},
        "operation_name": _TEXT,
        "operationName": _TEXT,
    },
}
_graphql = schemas.validator_of(GRAPHQL)


@dataclass(frozen=True, slots=True)
class Question:
    query: str
    variables: Mapping[str, Any]
    operation: str | None  # which of several in the query


def question(body: Mapping[str, Any]) -> Question:
    """Raises `InvalidField`."""
    schemas.check(_graphql, body)
    operation = body.get("operation_name") or body.get("operationName")
    return Question(body["query"], body.get("variables") or {}, operation)


def parse_frame(message: str | bytes) -> Mapping[str, Any]:
    """Raises `BadJson`."""
    if isinstance(message, bytes):
        raise BadJson("The first frame must be text.")
    try:
        data = message.encode()
    except UnicodeEncodeError:
        raise BadJson("The first frame is not Unicode.") from None
    if not data:
        raise BadJson("The first frame is empty.")
    return schemas.parse_body(data)
