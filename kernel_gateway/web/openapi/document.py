"""The OpenAPI 3.1 document: the table of operations, written out.

Knows OpenAPI. Must not know what any call means: that is in the table, its shapes and examples.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kernel_gateway.web.headers import JSON
from kernel_gateway.web.openapi.bodies import BODIES, portable
from kernel_gateway.web.openapi.examples import EXAMPLES
from kernel_gateway.web.openapi.operations import OPERATIONS, Answer, Operation
from kernel_gateway.web.openapi.shapes import SHAPES, error_codes, ref
from kernel_gateway.web.schemas import RUN_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.web.schemas import Schema

_ABOUT = """\
Run code on Jupyter kernels and never lose a line of what it printed.

Every call needs a token. Errors are told by status and `code`; failure of the user's code is never
an HTTP error. JSON is strict: no NaN, no lone surrogate. Formats that JSON Schema does not know
(`text`, `run-id`, `cursor`, ...) are told again by a pattern beside them, or by the message of a
422. WebSockets stand here as a GET with 101: OpenAPI has no words for what goes over them."""

_TAGS = MappingProxyType(
    {
        "runs": "Everything that is executed is a run: its steps, its log, its end.",
        "kernels": "Kernels as Jupyter's clients know them. Errors have Jupyter's shape.",
        "kernelspecs": "Kinds of kernels, as Jupyter's clients know them.",
        "sessions": "Documents and their kernels, as Jupyter's clients know them.",
        "process": "The gateway itself.",
        "backendai": "Backend.AI's API, for its own clients. Its contract is elsewhere "
        "(docs/reference/backendai.md); bodies are sketched here. `/kernel` may stand for "
        "`/session`. Calls are signed, or bring the token.",
    }
)

_SECURITY = MappingProxyType(
    {
        "bearer": {"type": "http", "scheme": "bearer"},
        "token": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`token TOKEN`, as Jupyter's clients send it.",
        },
        "query": {"type": "apiKey", "in": "query", "name": "token"},
        "signature": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`BackendAI signMethod=HMAC-SHA256, credential=KEY:SIGNATURE`.",
        },
    }
)
_TOKENS = ("bearer", "token", "query")

_PROBLEM = "application/problem+json"

_ANY_TEXT: Schema = {"type": "string"}

#: Segments of paths.
_SEGMENTS: Mapping[str, tuple[str, Schema]] = MappingProxyType(
    {
        "run_id": ("Its run ID, percent-encoded, or its uid.", RUN_PATH["properties"]["id"]),
        "kernel_id": ("ID of a kernel.", _ANY_TEXT),
        "kernelspec": ("Name of a kernelspec, in any case.", _ANY_TEXT),
        "file": ("As in `resources`.", _ANY_TEXT),
        "session_id": ("ID of a session.", _ANY_TEXT),
        "artifact_id": ("ID of an artifact.", _ANY_TEXT),
        "name": ("Name of a session, or its ID.", _ANY_TEXT),
    }
)

#: Headers of requests.
PARAMETERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "If-None-Match": ("An `ETag`: 304 when it is still so.", '"0"'),
        "If-Range": ("An `ETag`: the part alone if it is still so.", '"0"'),
        "Last-Event-ID": ("The last event that was read, as browsers send it.", "17"),
        "Prefer": ("`wait=SECONDS` for the end of the run, 60 at most.", "wait=10"),
        "Range": ("One part, in bytes.", "bytes=0-1023"),
        "traceparent": ("Passed on to webhooks.", "00-" + 32 * "a" + "-" + 16 * "b" + "-01"),
        "tracestate": ("Passed on to webhooks.", "vendor=1"),
    }
)

#: Headers of answers.
HEADERS: Mapping[str, tuple[str, Schema]] = MappingProxyType(
    {
        "Location": ("Where it is.", {"type": "string", "format": "uri-reference"}),
        "ETag": ("Changes with it.", {"type": "string", "pattern": '^"[^"]*"$'}),
        "Retry-After": ("Seconds until another try is worth it.", {"type": "integer"}),
        "Preference-Applied": ("What of `Prefer` was followed.", _ANY_TEXT),
        "Accept-Ranges": ("Parts can be asked for.", {"type": "string", "enum": ["bytes"]}),
        "Content-Range": ("Which part it is.", {"type": "string", "pattern": "^bytes "}),
        "Content-Disposition": ("Its name as a file.", _ANY_TEXT),
    }
)

_MEANINGS = MappingProxyType(
    {
        400: "The call cannot be read, or on Jupyter's routes a field is wrong.",
        401: "No token, or none that is known.",
        403: "The call comes from a page, or by a name, that is not allowed.",
        404: "There is no such thing, or it belongs to somebody else.",
        406: "It cannot be given in any form that is accepted.",
        409: "The call contradicts the present state.",
        410: "It is over, and its retention has ended.",
        413: "The body, or a field of it, is above its limit.",
        415: "A body has to say that it is JSON.",
        416: "There is nothing of what was asked for.",
        422: "Fields are wrong: `fields` has all of them.",
        429: "A limit is reached; come back later.",
        500: "A mistake of ours; its ID is in the gateway's log.",
        503: "The gateway is on its way down, or cannot store anything at present.",
        507: "The disk is full.",
    }
)
_LATER = {429, 503, 507}  # answered with a `Retry-After`
_ALWAYS = (400, 401, 403, 500, 503)
_OF_CHANGES = (413, 415)


def document(*, base_url: str, version: str) -> dict[str, Json]:
    """Of all routes below the base URL."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.verb.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kernel Gateway", "version": version, "description": _ABOUT},
        "servers": [{"url": base_url or "/"}],
        "security": [{name: []} for name in _TOKENS],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": _components(),
    }


# -- one operation ------------------------------------------------------------------------------


def _operation(operation: Operation) -> dict[str, Any]:
    written: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    if operation.about:
        written["description"] = operation.about
    if parameters := _parameters(operation):
        written["parameters"] = parameters
    if operation.body is not None:
        written["requestBody"] = {
            "required": operation.body_needed,
            "content": {operation.body_type: _content(ref(operation.body))},
        }
    if operation.is_open:
        written["security"] = []
    elif operation.faults == "Problem":
        written["security"] = [{name: []} for name in (*_TOKENS, "signature")]
    return written


def _parameters(operation: Operation) -> list[Any]:
    segments = re.findall(r"{(\w+)}", operation.path)
    return [
        *(_parameter("path", name, *_SEGMENTS[name]) for name in segments),
        *(_parameter("query", name, "", schema) for name, schema in operation.query.items()),
        *({"$ref": f"#/components/parameters/{name}"} for name in operation.headers),
    ]


def _parameter(place: str, name: str, meaning: str, schema: Schema) -> dict[str, Any]:
    inside = schema.get("contentMediaType")
    form = {"schema": portable(schema)}
    return {
        "name": name,
        "in": place,
        **({"required": True} if place == "path" else {}),
        **({"description": meaning} if meaning else {}),
        **({"content": {inside: {"schema": schema["contentSchema"]}}} if inside else form),
    }


def _responses(operation: Operation) -> dict[str, Any]:
    faults = {str(status): _fault_ref(operation, status) for status in _statuses(operation)}
    if operation.faults == "Problem":
        faults = {"default": {"$ref": "#/components/responses/Problem"}}
    return {**faults, **{str(status): _answer(one) for status, one in operation.answers.items()}}


def _statuses(operation: Operation) -> Sequence[int]:
    """Of its errors."""
    if operation.faults == "Problem":
        return ()
    return sorted({*_ALWAYS, *(_OF_CHANGES if operation.changes else ()), *operation.errors})


def _answer(answer: Answer) -> dict[str, Any]:
    written: dict[str, Any] = {"description": answer.meaning}
    if answer.contents:
        written["content"] = {kind: _content(one) for kind, one in answer.contents.items()}
    if answer.headers:
        written["headers"] = {name: _header_ref(name) for name in answer.headers}
    return written


def _content(schema: Schema, group: str | None = None) -> dict[str, Any]:
    """With the examples of this group, or else of the shape."""
    shape = schema.get("$ref", "").rpartition("/")[2]
    names = EXAMPLES.get(group or shape, ())
    examples = {"examples": {name: _example_ref(name) for name in names}} if names else {}
    return {"schema": schema, **examples}


def _header_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _example_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/examples/{name}"}


def _fault_ref(operation: Operation, status: int) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{operation.faults}{status}"}


# -- what they share ----------------------------------------------------------------------------


def _components() -> dict[str, Any]:
    return {
        "securitySchemes": dict(_SECURITY),
        "schemas": {**BODIES, **SHAPES},
        "parameters": {
            name: {
                "name": name,
                "in": "header",
                "description": meaning,
                "schema": _ANY_TEXT,
                "example": example,
            }
            for name, (meaning, example) in PARAMETERS.items()
        },
        "headers": {
            name: {"description": meaning, "schema": schema}
            for name, (meaning, schema) in HEADERS.items()
        },
        "examples": {
            name: {"value": value}
            for examples in EXAMPLES.values()
            for name, value in examples.items()
        },
        "responses": _faults(),
    }


def _faults() -> dict[str, Any]:
    used = {
        (operation.faults, status)
        for operation in OPERATIONS
        for status in _statuses(operation)
        if status not in operation.answers
    }
    ours = {f"{shape}{status}": _fault(shape, status) for shape, status in sorted(used)}
    problem = {"description": "An error.", "content": {_PROBLEM: {"schema": ref("Problem")}}}
    return {**ours, "Problem": problem}


def _fault(shape: str, status: int) -> dict[str, Any]:
    codes = error_codes(of_jupyter=shape == "JupyterError")[status]
    fault = {"properties": {"code": {"enum": codes}}}
    schema = {**ref(shape), "properties": {"error": fault}}
    written: dict[str, Any] = {
        "description": _MEANINGS[status],
        "content": {JSON: _content(schema, f"{shape}{status}")},
    }
    if status in _LATER:
        written["headers"] = {"Retry-After": _header_ref("Retry-After")}
    return written
