"""What bodies and queries must look like, and the values that become of them.

Knows JSON Schema (2020-12; later the components of the OpenAPI page) and the values of `service.py`.
Must not know HTTP requests. All faults of a body are told at once, each by its path, and never with
what was sent: a body may hold 32 MiB of code, or a password.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from kernel_gateway.errors import BadJson, CallerFault, InvalidField, TooLarge
from kernel_gateway.messaging.strict_json import Json, clean_text
from kernel_gateway.service import Cursor, ExecuteCall, ExecuteMode, KernelRequest, RunId, Seq

MAX_WAIT_S = 60
MAX_PAGE = 1000

Schema = Mapping[str, Any]


class JsonNeeded(CallerFault):
    """The body says that it is something else than JSON, or does not say what it is."""

    code = "json_needed"
    status = 415


# -- text ---------------------------------------------------------------------------------------

FORMATS = FormatChecker(formats=())


@FORMATS.checks("text", raises=ValueError)
def _is_text(value: object) -> bool:
    """What UTF-8 and every kernel can take."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("must not contain NUL (U+0000)")
        if not _is_unicode(value):
            raise ValueError("must not contain lone surrogates")
    return True


@FORMATS.checks("run-id", raises=ValueError)
def _is_run_id(value: object) -> bool:
    if isinstance(value, str):
        if not 1 <= len(value) <= 255:
            raise ValueError("must have 1 to 255 characters")
        if any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in value):
            raise ValueError("must not contain control characters")
        if not _is_unicode(value):
            raise ValueError("must not contain lone surrogates")
    return True


@FORMATS.checks("cursor", raises=ValueError)
def _is_cursor(value: object) -> bool:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            Cursor.parse(value)
        except ValueError:
            raise ValueError("must be a cursor as an answer gave it, or 0") from None
    return True


@FORMATS.checks("seconds", raises=ValueError)
def _is_seconds(value: object) -> bool:
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise ValueError("must be a number of seconds above 0")
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- JSON ---------------------------------------------------------------------------------------


def parse_body(data: bytes) -> Mapping[str, Json]:
    """An empty body is an empty object. Raises `BadJson`."""
    if not data:
        return {}
    try:
        value: Json = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadJson("The body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise BadJson("The body is not UTF-8.") from None
    except ValueError as fault:  # its text names the place and quotes nothing
        raise BadJson(f"The body is not JSON: {fault}") from None
    if not isinstance(value, dict):
        raise BadJson("The body must be a JSON object, as {...}.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# -- faults -------------------------------------------------------------------------------------


def check(validator: Validator, value: Mapping[str, Json]) -> None:
    """Raises `InvalidField` with all faults."""
    faults: dict[str, str] = {}
    for error in validator.iter_errors(value):
        for path, fault in _faults(error):
            faults.setdefault(path, fault)
    if faults:
        raise InvalidField(faults)


def _faults(error: ValidationError) -> Iterator[tuple[str, str]]:
    at = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield _path([*at, name]), "is needed"
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        for name in error.instance:
            if name not in known:
                yield _path([*at, name]), f"is unknown here; known are {', '.join(known)}"
    else:
        say = _SENTENCES.get(str(error.validator), lambda error: "is not valid")
        yield _path(at) or "body", say(error)


def _path(parts: list[str]) -> str:
    return clean_text(".".join(parts))[:200]


def _say_type(error: ValidationError) -> str:
    types = error.validator_value
    names = [types] if isinstance(types, str) else [name for name in types if name != "null"]
    return "must be " + " or ".join(_NAMES[name] for name in names)


def _say_enum(error: ValidationError) -> str:
    return "must be one of " + ", ".join(value for value in error.validator_value if value)


_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}
_SENTENCES = {
    "type": _say_type,
    "enum": _say_enum,
    "format": lambda error: str(error.cause),
    "minimum": lambda error: f"must be at least {error.validator_value}",
    "maximum": lambda error: f"must be at most {error.validator_value}",
    "not": lambda error: "stands beside its other spelling: send only one",
}


def _validator(schema: Schema) -> Validator:
    return Draft202012Validator(schema, format_checker=FORMATS)


# -- execute ------------------------------------------------------------------------------------

_EXECUTE_OPTIONS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "wait": {"type": ["number", "null"], "minimum": 0, "maximum": MAX_WAIT_S},
        "after": {"type": ["string", "integer", "null"], "format": "cursor"},
        "prompt_id": {"type": ["integer", "null"], "minimum": 1},
    },
}
EXECUTE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["mode"],
    "properties": {
        "mode": {"enum": [mode.value for mode in ExecuteMode]},
        "runId": {"type": ["string", "null"], "format": "run-id"},
        "code": {"type": ["string", "null"], "format": "text"},
        "options": _EXECUTE_OPTIONS,
        "opts": _EXECUTE_OPTIONS,  # the old spelling
    },
    "allOf": [
        {
            "if": {"properties": {"mode": {"enum": ["query", "input"]}}},
            "then": {"required": ["code"], "properties": {"code": {"type": "string"}}},
        },
        {
            "if": {"properties": {"mode": {"enum": ["continue", "input"]}}},
            "then": {"required": ["runId"], "properties": {"runId": {"type": "string"}}},
        },
        {
            "if": {"required": ["options"]},
            "then": {"properties": {"opts": {"not": {}}}},
        },
    ],
}
_execute = _validator(EXECUTE)


def execute_call(kernel_id: str, body: Mapping[str, Any], *, max_code_bytes: int) -> ExecuteCall:
    """Raises `InvalidField` and `TooLarge`."""
    check(_execute, body)
    code = body.get("code") or ""
    if len(code.encode()) > max_code_bytes:
        raise TooLarge(f"The code is longer than {max_code_bytes} bytes.", "code")
    options = body.get("options") or body.get("opts") or {}
    after, wait, prompt_id = (options.get(name) for name in ("after", "wait", "prompt_id"))
    call = ExecuteCall(
        kernel_id=kernel_id,
        mode=ExecuteMode(body["mode"]),
        run_id=body.get("runId"),
        code=code,
        after=None if after is None else Cursor.parse(after),
        prompt_id=None if prompt_id is None else int(prompt_id),
    )
    return call if wait is None else _waiting(call, float(wait))


def _waiting(call: ExecuteCall, wait_s: float) -> ExecuteCall:
    from dataclasses import replace

    return replace(call, wait_s=wait_s)
