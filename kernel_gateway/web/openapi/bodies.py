"""What bodies of requests look like: the very schemas they are checked by, as components.

Knows `schemas`. Must not know routes. What is checked by a format of ours is said once more in
words that every reader of JSON Schema knows. Old spellings are served and not shown.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kernel_gateway.service import ExecuteMode, Mode
from kernel_gateway.web import schemas
from kernel_gateway.web.backendai import schemas as backendai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.web.schemas import Schema

#: Formats that only we check, in other words as far as there are some.
_FORMATS: Mapping[str, Schema] = MappingProxyType(
    {
        "text": {"pattern": r"^[^\x00]*$"},
        "short-text": {"pattern": r"^[^\x00]*$", "maxLength": schemas.MAX_NAME},
        "run-id": {"pattern": r"^[^\x00-\x1f\x7f-\x9f]*$", "minLength": 1, "maxLength": 255},
        "label-name": {"pattern": r"^[A-Za-z0-9._/-]{1,100}$"},
        "label-value": {"pattern": r"^[^\x00]*$", "maxLength": 500},
        "label": {"pattern": r"^[A-Za-z0-9._/-]{1,100}(=[^\x00]{0,500})?$"},
        "cursor": {"pattern": r"^[0-9]{1,15}(:[0-9]{1,15})?$"},
        "env-name": {"pattern": r"^[^=\x00]+$"},
        "base64": {
            "contentEncoding": "base64",
            "pattern": r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        },
        "file-path": {
            "pattern": r"^(?!\.{1,2}(/|$))[^/\x00]+(/(?!\.{1,2}(/|$))[^/\x00]+)*$",
            "maxLength": schemas.MAX_PATH_BYTES,
        },
    }
)


def portable(schema: Any) -> Any:
    """The same for readers that do not know our formats."""
    if isinstance(schema, list | tuple):
        return [portable(item) for item in schema]
    if not hasattr(schema, "items"):
        return schema
    words = schema.get("format")
    known = _FORMATS.get(words, {}) if isinstance(words, str) else {}
    return {**{key: portable(value) for key, value in schema.items()}, **known}


def _without(schema: Schema, *names: str) -> Schema:
    """The same without these properties, and without what is said of two at once."""
    left = {name: one for name, one in schema["properties"].items() if name not in names}
    more = {key: value for key, value in schema.items() if key != "dependentSchemas"}
    return {**more, "properties": left}


def _with(schema: Schema, *needed: str, **properties: Schema) -> Schema:
    return {
        **schema,
        "required": [*schema.get("required", ()), *needed],
        "properties": {**schema["properties"], **properties},
    }


def _execute(mode: str) -> Schema:
    return _with(_without(schemas.execute_schema(mode), "opts"), mode={"const": mode})


def _run(mode: str) -> Schema:
    return _with(schemas.run_schema(mode), mode={"const": mode})


_SESSION = _without(schemas.NOTEBOOK_SESSION, "notebook")

BODIES: Mapping[str, Schema] = {
    name: portable(schema)
    for name, schema in {
        "RunRequest": {"oneOf": [_run(mode.value) for mode in Mode]},
        "NamedRunRequest": {"oneOf": [_without(_run(mode.value), "runId") for mode in Mode]},
        "InspectionRequest": schemas.NOTEBOOK_TO_INSPECT,
        "InputRequest": schemas.INPUT,
        "CancelRequest": schemas.CANCEL,
        "ExecuteRequest": {"oneOf": [_execute(mode.value) for mode in ExecuteMode]},
        "KernelRequest": schemas.KERNEL,
        "HealthCheck": schemas.HEALTH_CHECK,
        "SessionRequest": _with(
            _SESSION, "path", path={"type": "string", "format": "short-text", "minLength": 1}
        ),
        "SessionChange": _with(
            _SESSION, path={"type": ["string", "null"], "format": "short-text", "minLength": 1}
        ),
        "ComputeSessionRequest": backendai.SESSION,
        "ComputeExecuteRequest": {"type": "object", "required": ["mode", "runId"]},
        "CompleteRequest": backendai.COMPLETE,
        "GraphQuery": backendai.GRAPHQL,
        "Upload": {
            "type": "object",
            "required": ["src"],
            "properties": {"src": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
        },
    }.items()
}
