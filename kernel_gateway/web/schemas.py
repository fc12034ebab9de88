"""What bodies and queries must look like, and the values that become of them.

Knows JSON Schema (2020-12) and the values of `service.py`. Must not know HTTP requests. All faults
of a body are told at once, each by its path, and never with what was sent: a body may hold 32 MiB
of code, or a password. Nor may it hold us up: of millions of names none is looked at, and of
millions of faults the first ones are told.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import extend

from kernel_gateway.errors import BadJson, InvalidField, TooLarge
from kernel_gateway.messaging.strict_json import Json, clean_text
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import (
    DEFAULT_COMMAND,
    BatchCommands,
    Cursor,
    ExecuteCall,
    ExecuteMode,
    KernelRequest,
    Limits,
    Mode,
    RunId,
    RunPlace,
    RunQuery,
    Seq,
    Webhook,
    WebhookEvent,
)
from kernel_gateway.web.settings import MAX_PAGE, MAX_WAIT_S

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

EXECUTE_WAIT_S = 2.0  # from the call on, not from the last output
MAX_NAME = 4096  # characters of what a client calls its things
RUNS_LIMIT = 100  # where a list says no other
MAX_LABELS = 32
MAX_CONTEXT_BYTES = 64 * 2**10  # UTF-8, of all names and values
MAX_VARIABLES = 1000  # of a context, or of an environment
MAX_PARAMETERS = 1000  # of a notebook
MAX_FAULTS = 100  # that are told of one body
MAX_LIMIT_S = 10**9  # 31 years
MAX_GRACE_S = 3600
MAX_QUIET_S = 10  # who talks for ever is not listened to for longer
MAX_TAGS = 100  # of a selection
MAX_FILES = 1000  # that are sent with a run
MAX_PATH_BYTES = 1000
MAX_PART_BYTES = 255  # of one name: what file systems take

Schema = Mapping[str, Any]


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


@FORMATS.checks("short-text", raises=ValueError)
def _is_short_text(value: object) -> bool:
    if isinstance(value, str) and len(value) > MAX_NAME:
        raise ValueError(f"must have at most {MAX_NAME:,} characters")
    return _is_text(value)


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
    if isinstance(value, (str, int, float)):
        try:
            Cursor.parse(str(value))
        except ValueError:
            raise ValueError("must be a cursor as an answer gave it, or 0") from None
    return True


@FORMATS.checks("run-place", raises=ValueError)
def _is_run_place(value: object) -> bool:
    if isinstance(value, str):
        try:
            RunPlace.parse(value)
        except ValueError:
            raise ValueError("must be the next of a list, as an answer gave it") from None
    return True


@FORMATS.checks("label-name", raises=ValueError)
def _is_label_name(value: object) -> bool:
    if isinstance(value, str) and not _LABEL_NAME.fullmatch(value):
        raise ValueError("must have names of 1 to 100 letters, digits or any of . _ / -")
    return True


@FORMATS.checks("label-value", raises=ValueError)
def _is_label_value(value: object) -> bool:
    if isinstance(value, str) and len(value) > 500:
        raise ValueError("must have at most 500 characters")
    return _is_text(value)


@FORMATS.checks("label", raises=ValueError)
def _is_label(value: object) -> bool:
    if isinstance(value, str):
        name, _, text = value.partition("=")
        return _is_label_name(name) and _is_label_value(text)
    return True


@FORMATS.checks("env-name", raises=ValueError)
def _is_env_name(value: object) -> bool:
    if not isinstance(value, str) or not value or "=" in value:
        raise ValueError("must have names of variables, without '='")
    return _is_text(value)


@FORMATS.checks("file-path", raises=ValueError)
def _is_file_path(value: object) -> bool:
    if isinstance(value, str):
        _is_text(value)
        parts = value.split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise ValueError("must be a path below the working folder, without . and ..")
        if len(value.encode()) > MAX_PATH_BYTES:
            raise ValueError(f"must have at most {MAX_PATH_BYTES:,} bytes in its path")
        if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
            raise ValueError(f"must have at most {MAX_PART_BYTES} bytes in each name of its path")
    return True


@FORMATS.checks("seconds", raises=ValueError)
def _is_seconds(value: object) -> bool:
    if isinstance(value, str):
        try:
            number = _finite(value)
        except ValueError:
            number = 0.0
        if number <= 0:
            raise ValueError("must be a number of seconds above 0")
    return True


@FORMATS.checks("seconds-or-never", raises=ValueError)
def _is_seconds_or_never(value: object) -> bool:
    if isinstance(value, str):
        try:
            number = _finite(value)
        except ValueError:
            number = -1.0
        if number < 0:
            raise ValueError("must be a number of seconds, or 0 for never")
    return True


_LABEL_NAME = re.compile(r"[A-Za-z0-9._/-]{1,100}")


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


def check(
    validator: Validator, value: Mapping[str, Json], also: Mapping[str, str] | None = None
) -> None:
    """Raises `InvalidField` with all faults; `also` are those that no schema can tell."""
    found = (pair for error in validator.iter_errors(value) for pair in _faults(error))
    faults: dict[str, str] = {}
    for path, fault in islice(found, MAX_FAULTS):
        faults.setdefault(path, fault)
    faults = {**(also or {}), **faults}
    if faults:
        raise InvalidField(faults)


def _faults(error: Any) -> Iterator[tuple[str, str]]:
    """`(path, sentence)`. The error is jsonschema's, whose own types say next to nothing."""
    at = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        yield from ((_path([*at, name]), "is needed") for name in missing)
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = (name for name in error.instance if name not in known)
        sentence = f"is unknown here; known are {', '.join(known)}"
        yield from ((_path([*at, name]), sentence) for name in unknown)
    elif error.validator_value == "file-path":  # of a name, which is all that is wrong with it
        yield _path([*at, error.instance]), str(error.cause)
    else:
        yield _path(at) or "body", _SENTENCES.get(error.validator, _say_wrong)(error)


def _path(parts: list[str]) -> str:
    return clean_text(".".join(parts))[:200]


def _say_wrong(error: Any) -> str:
    return "is not valid"


def _say_type(error: Any) -> str:
    types = error.validator_value
    names = [types] if isinstance(types, str) else [name for name in types if name != "null"]
    return "must be " + " or ".join(_NAMES[name] for name in names)


def _say_enum(error: Any) -> str:
    return "must be one of " + ", ".join(value for value in error.validator_value if value)


_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}
_SENTENCES: Mapping[str, Callable[[Any], str]] = {
    "type": _say_type,
    "enum": _say_enum,
    "format": lambda error: str(error.cause),
    "minimum": lambda error: f"must be at least {error.validator_value}",
    "maximum": lambda error: f"must be at most {error.validator_value}",
    "exclusiveMinimum": lambda error: f"must be above {error.validator_value}",
    "minLength": lambda error: "must not be empty",
    "maxLength": lambda error: f"must have at most {error.validator_value} characters",
    "maxProperties": lambda error: f"must have at most {error.validator_value}",
    "minItems": lambda error: f"must have at least {error.validator_value}",
    "maxItems": lambda error: f"must have at most {error.validator_value}",
    "not": lambda error: "stands beside its other spelling: send only one",
}


def _unless_too_many(keyword: str, bound: str) -> Callable[..., Iterator[Any]]:
    """The keyword, but for what its bound refuses as a whole: one by one would take minutes."""
    look_into = Draft202012Validator.VALIDATORS[keyword]

    def checked(validator: Any, wanted: Any, instance: Any, schema: Schema) -> Iterator[Any]:
        if not isinstance(instance, (dict, list)) or len(instance) <= schema.get(bound, math.inf):
            yield from look_into(validator, wanted, instance, schema) or ()

    return checked


_additional = _unless_too_many("additionalProperties", "maxProperties")


def _additional_properties(
    validator: Any, wanted: Any, instance: Any, schema: Schema
) -> Iterator[Any]:
    """Where there may be none, the first ones are enough to say so."""
    if wanted is False and isinstance(instance, dict):
        unknown = (name for name in instance if name not in schema["properties"])
        instance = dict.fromkeys(islice(unknown, MAX_FAULTS))
    yield from _additional(validator, wanted, instance, schema)


_Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "additionalProperties": _additional_properties,
        "propertyNames": _unless_too_many("propertyNames", "maxProperties"),
        "items": _unless_too_many("items", "maxItems"),
    },
)


def validator_of(schema: Schema) -> Validator:
    validator: Validator = _Validator(schema, format_checker=FORMATS)
    return validator


# -- execute ------------------------------------------------------------------------------------

_EXECUTE_OPTIONS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "wait": {"type": ["number", "null"], "minimum": 0, "maximum": MAX_WAIT_S},
        "after": {"type": ["string", "integer", "null"], "format": "cursor", "minimum": 0},
        "prompt_id": {"type": ["integer", "null"], "minimum": 1},
    },
}
_COMMAND: Schema = {"type": ["string", "null"], "format": "text"}
_BATCH_OPTIONS: Schema = {
    **_EXECUTE_OPTIONS,
    "properties": {
        **_EXECUTE_OPTIONS["properties"],
        "clean": _COMMAND,
        "build": _COMMAND,
        "exec": _COMMAND,
    },
}
_EXECUTE_FIELDS: Schema = {
    "mode": {"enum": [mode.value for mode in ExecuteMode]},
    "runId": {"type": ["string", "null"], "format": "run-id"},
    "code": {"type": ["string", "null"], "format": "text"},
    "options": _EXECUTE_OPTIONS,
    "opts": _EXECUTE_OPTIONS,  # the old spelling
}
_EXECUTE_NEEDS: Mapping[str, Sequence[str]] = {
    ExecuteMode.QUERY: ("code",),
    ExecuteMode.BATCH: (),
    ExecuteMode.CONTINUE: ("runId",),
    ExecuteMode.INPUT: ("code", "runId"),
}


def execute_schema(mode: str | None) -> Schema:
    """Of the bodies of one mode; None: where the mode itself is wrong.

    One schema a mode and no `if` in any: each condition costs as much as all the fields.
    """
    needed = _EXECUTE_NEEDS[mode] if mode is not None else ()
    options = _BATCH_OPTIONS if mode == ExecuteMode.BATCH else _EXECUTE_OPTIONS
    given = {name: {**_EXECUTE_FIELDS[name], "type": "string"} for name in needed}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["mode", *needed],
        "properties": {**_EXECUTE_FIELDS, "options": options, "opts": options, **given},
        "dependentSchemas": {"options": {"properties": {"opts": {"not": {}}}}},
    }


_execute = {mode: validator_of(execute_schema(mode)) for mode in (*_EXECUTE_NEEDS, None)}


def _execute_validator(mode: object) -> Validator:
    return _execute[mode if isinstance(mode, str) and mode in _execute else None]


def execute_call(kernel_id: str, body: Mapping[str, Any], *, max_code_bytes: int) -> ExecuteCall:
    """Raises `InvalidField` and `TooLarge`."""
    check(_execute_validator(body.get("mode")), body)
    code = body.get("code") or ""
    options = _given(body.get("options") or body.get("opts") or {})
    commands = BatchCommands(**{name: options.get(name) for name in ("clean", "build", "exec")})
    check_code(code, commands, max_code_bytes)
    return ExecuteCall(
        kernel_id=kernel_id,
        mode=ExecuteMode(body["mode"]),
        run_id=body.get("runId"),
        code=code,
        commands=commands,
        wait_s=float(options.get("wait", EXECUTE_WAIT_S)),
        after=Cursor.parse(options["after"]) if "after" in options else None,
        prompt_id=int(options["prompt_id"]) if "prompt_id" in options else None,
    )


def check_code(code: str, commands: BatchCommands, most: int) -> None:
    """Raises `TooLarge`."""
    texts = {
        "code": code,
        "options.clean": commands.clean,
        "options.build": commands.build,
        "options.exec": commands.exec,
    }
    for name, text in texts.items():
        if text and len(text.encode()) > most:
            raise TooLarge(f"The code is longer than {most} bytes.", name)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """A missing value is absent or null."""
    return {name: value for name, value in values.items() if value is not None}


# -- runs ---------------------------------------------------------------------------------------

_TEXT_BY_NAME: Schema = {
    "type": ["object", "null"],
    "maxProperties": MAX_VARIABLES,
    "additionalProperties": {"type": "string", "format": "text"},
    "propertyNames": {"format": "text"},
}
_FLAG: Schema = {"type": ["boolean", "null"]}
_LIMIT: Schema = {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": MAX_LIMIT_S}
_GRACE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": MAX_GRACE_S}
_LIMIT_NAMES = ("start", "step", "run", "idle", "queue", "input")
_COMMANDS: Schema = {"clean": _COMMAND, "build": _COMMAND, "exec": _COMMAND}

#: Of every mode.
_RUN_FIELDS: Schema = {
    "mode": {"enum": [mode.value for mode in Mode]},
    "runId": {"type": ["string", "null"], "format": "run-id"},
    "kernel": {
        "type": ["string", "object", "null"],
        "minLength": 1,
        "format": "short-text",
        "additionalProperties": False,
        "properties": {"name": {"type": ["string", "null"], "format": "short-text"}},
    },
    "session": {"type": ["string", "null"], "minLength": 1, "format": "short-text"},
    "labels": {
        "type": ["object", "null"],
        "maxProperties": MAX_LABELS,
        "additionalProperties": {"type": "string", "format": "label-value"},
        "propertyNames": {"format": "label-name"},
    },
    "context": _TEXT_BY_NAME,
    "timeout": _LIMIT,
    "limits": {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": dict.fromkeys(_LIMIT_NAMES, _LIMIT),
    },
    "webhook": {
        "type": ["object", "null"],
        "additionalProperties": False,
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "format": "text", "minLength": 1, "maxLength": 2000},
            "events": {
                "type": ["array", "null"],
                "minItems": 1,
                "maxItems": len(WebhookEvent),
                "items": {"enum": [event.value for event in WebhookEvent]},
            },
            "secret": {
                "type": ["string", "null"],
                "format": "text",
                "minLength": 1,
                "maxLength": 500,
            },
        },
    },
    "cancel_on_disconnect": _FLAG,
    # Of a kernel of its own:
    "files": {
        "type": ["object", "null"],
        "maxProperties": MAX_FILES,
        "additionalProperties": {"type": "string", "format": "base64"},  # seen when it is decoded
        "propertyNames": {"format": "file-path"},
    },
    "env": {
        "type": ["object", "null"],
        "maxProperties": MAX_VARIABLES,
        "additionalProperties": {"type": "string", "format": "text"},
        "propertyNames": {"format": "env-name"},
    },
    "secrets": {
        "type": ["array", "null"],
        "maxItems": MAX_VARIABLES,
        "items": {"type": "string", "format": "env-name"},
    },
}
_RUN_OPTIONS: Schema = {
    "allow_stdin": _FLAG,
    "grace": _GRACE,
    "quiet": {"type": ["number", "null"], "minimum": 0, "maximum": MAX_QUIET_S},
    "unread": _LIMIT,
}
_OF_OWN_KERNELS = ("files", "env", "secrets")
_CELL_NAME: Schema = {"type": ["string", "null"], "minLength": 1, "format": "short-text"}
#: Which cells of a notebook are executed, by tags and cell IDs.
_SELECTION: Schema = {
    "from": _CELL_NAME,
    "until": _CELL_NAME,
    "only": {
        "type": ["array", "null"],
        "maxItems": MAX_TAGS,
        "items": {**_CELL_NAME, "type": "string"},
    },
    "skip_tag": _CELL_NAME,
}

#: Of one mode: what it needs, its own fields, and its own options.
_RUN_MODES: Mapping[str, tuple[tuple[str, ...], Schema, Schema]] = {
    Mode.QUERY: (("code",), {"code": {"type": "string", "format": "text"}}, {}),
    Mode.BATCH: (
        (),
        {
            "steps": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": _COMMANDS,
            }
        },
        _COMMANDS,
    ),
    Mode.NOTEBOOK: (
        ("notebook",),
        {
            "notebook": {"type": "object"},
            "parameters": {"type": ["object", "null"], "maxProperties": MAX_PARAMETERS},
        },
        {"allow_errors": _FLAG, "allow_unknown_parameters": _FLAG, **_SELECTION},
    ),
}


def run_schema(mode: str | None) -> Schema:
    """Of the bodies of one mode; None: where the mode itself is wrong, and any field may stand."""
    modes = [_RUN_MODES[mode]] if mode is not None else list(_RUN_MODES.values())
    fields, options = dict(_RUN_FIELDS), dict(_RUN_OPTIONS)
    for _, own_fields, own_options in modes:
        fields |= own_fields
        options |= own_options
    fields["options"] = {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": options,
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["mode", *(modes[0][0] if mode is not None else ())],
        "properties": fields,
    }


_run = {mode: validator_of(run_schema(mode)) for mode in (*_RUN_MODES, None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What is to be executed, where and how, as it was said."""

    mode: Mode
    code: str  # of a query
    commands: BatchCommands  # of a batch
    notebook: Mapping[str, Json]  # as it was sent, not looked into
    parameters: Mapping[str, Json]  # for the notebook
    allow_unknown_parameters: bool
    run_id: RunId | None
    kernel_id: str | None
    kernel_name: str | None
    session: str | None
    labels: Mapping[str, str]
    context: Mapping[str, str]  # by name, in the order of the names
    limits: Limits
    allow_stdin: bool | None  # None: as the mode has it
    allow_errors: bool
    grace_s: float | None
    webhook: Webhook | None
    cancel_on_disconnect: bool
    quiet_s: float | None  # None: as the mode has it
    unread_s: float | None
    files: Mapping[str, str] | None = field(repr=False)  # in base64, not decoded yet
    env: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...]
    selection: Mapping[str, Any]  # of a notebook: what is given of `_SELECTION`


def new_run(
    body: Mapping[str, Any],
    *,
    run_id: RunId | None,
    max_code_bytes: int,
    allowed_env: Sequence[str] = (),
) -> NewRun:
    """`run_id`: that of the address, if it has one. Raises `InvalidField` and `TooLarge`."""
    mode = body.get("mode")
    validator = _run[mode if isinstance(mode, str) and mode in _run else None]
    check(validator, body, {**_doubts(body, run_id), **_doubts_of_own(body, allowed_env)})
    options = _given(body.get("options") or {})
    given_commands = {**options, **_given(body.get("steps") or {})}
    commands = BatchCommands(**{name: given_commands.get(name) for name in _COMMANDS})
    code = body.get("code") or ""
    check_code(code, commands, max_code_bytes)
    kernel = body.get("kernel")
    return NewRun(
        mode=Mode(body["mode"]),
        code=code,
        commands=commands,
        notebook=body.get("notebook") or {},
        parameters=body.get("parameters") or {},
        allow_unknown_parameters=options.get("allow_unknown_parameters", False),
        run_id=run_id if run_id is not None else body.get("runId"),
        kernel_id=kernel if isinstance(kernel, str) else None,
        kernel_name=_object(body, "kernel").get("name") or None,
        session=body.get("session"),
        labels=body.get("labels") or {},
        context=dict(sorted((body.get("context") or {}).items())),
        limits=_limits(body),
        allow_stdin=options.get("allow_stdin"),
        allow_errors=options.get("allow_errors", False),
        grace_s=float(options["grace"]) if "grace" in options else None,
        webhook=_webhook(body.get("webhook")),
        cancel_on_disconnect=bool(body.get("cancel_on_disconnect")),
        quiet_s=float(options["quiet"]) if "quiet" in options else None,
        unread_s=float(options["unread"]) if "unread" in options else None,
        files=body.get("files"),
        env=body.get("env") or {},
        secrets=tuple(body.get("secrets") or ()),
        selection={name: options[name] for name in _SELECTION if name in options},
    )


def _doubts(body: Mapping[str, Any], run_id: RunId | None) -> dict[str, str]:
    """Fields that contradict one another, or the address; and a context that is too big."""
    faults: dict[str, str] = {}
    if body.get("kernel") is not None and body.get("session") is not None:
        faults["session"] = "stands beside a kernel: send only one"
    limits, steps, options = (_object(body, name) for name in ("limits", "steps", "options"))
    if body.get("timeout") is not None and limits.get("run") is not None:
        faults["timeout"] = "stands beside its other spelling, limits.run: send only one"
    if _given(steps) and any(options.get(name) is not None for name in _COMMANDS):
        faults["steps"] = "stands beside its other spelling, in options: send only one"
    for where, commands in (("steps", steps), ("options", options)):
        for name in _COMMANDS:
            if commands.get(name) == DEFAULT_COMMAND:
                faults[f"{where}.{name}"] = "must say the command: * is for execute calls alone"
    if run_id is not None and body.get("runId") not in (None, run_id):
        faults["runId"] = "must be the run ID of the address, or absent"
    if _context_bytes(_object(body, "context")) > MAX_CONTEXT_BYTES:
        faults["context"] = f"must have at most {MAX_CONTEXT_BYTES:,} bytes in all"
    return faults


def _doubts_of_own(body: Mapping[str, Any], allowed_env: Sequence[str]) -> dict[str, str]:
    """Of fields for a kernel that is started for the run."""
    faults: dict[str, str] = {}
    env, files, options = (_object(body, name) for name in ("env", "files", "options"))
    if isinstance(body.get("kernel"), str) or body.get("session") is not None:
        given = [name for name in _OF_OWN_KERNELS if body.get(name) is not None]
        given += ["options.quiet"] if options.get("quiet") is not None else []
        faults = dict.fromkeys(given, "is for a kernel of the run's own: send no kernel or session")
    if len(env) <= MAX_VARIABLES:
        refused = (name for name in env if not _passes(name, allowed_env))
        sentence = "is not let through; Web.allowed_env says what is"
        faults |= {_path(["env", name]): sentence for name in islice(refused, MAX_FAULTS)}
    secrets = body.get("secrets")
    names = secrets[:MAX_VARIABLES] if isinstance(secrets, list) else []
    if not all(name in env for name in names if isinstance(name, str)):
        faults["secrets"] = "must name variables that are in env"
    if len(files) <= MAX_FILES:
        both = (name for name in sorted(_folders_of(files)) if name in files)
        sentence = "is to be both a file and a folder"
        faults |= {_path(["files", name]): sentence for name in islice(both, MAX_FAULTS)}
    return faults


def _folders_of(files: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for name in files:
        above = name.rpartition("/")[0]
        while above and above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Whatever else stands there is told to be wrong by its schema."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _context_bytes(context: Mapping[str, Any]) -> int:
    texts = [text for pair in context.items() for text in pair if isinstance(text, str)]
    return sum(len(text.encode(errors="surrogatepass")) for text in texts)


def _limits(body: Mapping[str, Any]) -> Limits:
    given = {name: float(value) for name, value in _given(body.get("limits") or {}).items()}
    if body.get("timeout") is not None:
        given["run"] = float(body["timeout"])
    return Limits(**given)


def _webhook(given: Mapping[str, Any] | None) -> Webhook | None:
    if given is None:
        return None
    events = given.get("events") or list(WebhookEvent)
    return Webhook(
        url=given["url"],
        events=tuple(event for event in WebhookEvent if event in events),
        secret=given.get("secret"),
    )


NOTEBOOK_TO_INSPECT: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["notebook"],
    "properties": {"notebook": {"type": "object"}},
}
_notebook_to_inspect = validator_of(NOTEBOOK_TO_INSPECT)


def notebook_to_inspect(body: Mapping[str, Any]) -> Mapping[str, Json]:
    """As it was sent, not looked into."""
    check(_notebook_to_inspect, body)
    notebook: Mapping[str, Json] = body["notebook"]
    return notebook


INPUT: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["value"],
    "properties": {
        "value": {"type": ["string", "null"], "format": "text"},
        "prompt_id": {"type": ["integer", "null"], "minimum": 1},
    },
}
_input = validator_of(INPUT)


@dataclass(frozen=True, slots=True)
class Input:
    value: str | None = field(repr=False)  # it may be a password
    prompt_id: int | None


def given_input(body: Mapping[str, Any]) -> Input:
    check(_input, body)
    prompt_id = body.get("prompt_id")
    return Input(body["value"], None if prompt_id is None else int(prompt_id))


CANCEL: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "grace": _GRACE,
        "escalate": {"enum": ["kill", "none", None]},
        "message": {"type": ["string", "null"], "format": "text", "minLength": 1, "maxLength": 500},
    },
}
_cancel = validator_of(CANCEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    grace_s: float | None  # None: the run's own
    escalate: bool
    message: str


def asked_cancel(body: Mapping[str, Any]) -> Cancel:
    check(_cancel, body)
    grace = body.get("grace")
    return Cancel(
        grace_s=None if grace is None else float(grace),
        escalate=body.get("escalate") != "none",
        message=body.get("message") or "cancelled",
    )


PAGE: Schema = {
    "type": "object",
    "properties": {
        "after": {"type": "string", "format": "cursor"},
        "wait": {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
        "stream": {"enum": ["stdout", "stderr"]},
        "kernel": {"type": "string", "format": "text"},
        "outputs": {"enum": ["true", "false"]},
    },
}
_page = validator_of(PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """What part of a log is wanted."""

    after: Cursor
    wait_s: float
    limit: int
    stream: str | None  # None: both
    kernel_id: str | None  # settles which run is meant
    outputs: bool  # whether a run is told with them


def page_query(arguments: Mapping[str, list[bytes]]) -> PageQuery:
    """Unknown names are left alone: proxies and caches add some."""
    values = _query_values(arguments, PAGE)
    check(_page, values)
    return PageQuery(
        after=Cursor.parse(values.get("after", 0)),
        wait_s=values.get("wait", 0.0),
        limit=values.get("limit", MAX_PAGE),
        stream=values.get("stream"),
        kernel_id=values.get("kernel"),
        outputs=values.get("outputs") != "false",
    )


EVENTS: Schema = {
    "type": "object",
    "properties": {"Last-Event-ID": {"type": "string", "format": "cursor"}},
}
_events = validator_of(EVENTS)


def resumed_after(last_event_id: str, arguments: Mapping[str, list[bytes]]) -> Seq:
    """The header goes before `?after=`, which a browser sends again with each new connection."""
    after = page_query(arguments).after
    if last_event_id:
        check(_events, {"Last-Event-ID": last_event_id})
        after = Cursor.parse(last_event_id)
    return after.seq


def _query_values(arguments: Mapping[str, list[bytes]], schema: Schema) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: arguments[name][-1].decode(errors="surrogateescape")
        for name in schema["properties"]
        if arguments.get(name)
    }
    for name, number in (("wait", _finite), ("limit", int)):
        with suppress(ValueError):  # it stays text then, and its type is told to be wrong
            values[name] = number(values.get(name, "absent"))
    return values


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # no bound would stop nan
        raise ValueError(text)
    return number


RUNS: Schema = {
    "type": "object",
    "properties": {
        "kernel": {"type": "string", "format": "text"},
        "state": {"enum": [state.value for state in RunState]},
        "outcome": {"enum": [outcome.value for outcome in Outcome]},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
        "cursor": {"type": "string", "format": "run-place"},
        "label": {
            "type": "array",
            "maxItems": MAX_LABELS,
            "items": {"type": "string", "format": "label"},
        },
    },
}
_runs = validator_of(RUNS)


def run_query(arguments: Mapping[str, list[bytes]]) -> RunQuery:
    """Unknown names are left alone, as above."""
    values = _query_values(arguments, RUNS)
    labels = [value.decode(errors="surrogateescape") for value in arguments.get("label", ())]
    check(_runs, {**values, "label": cast("Json", labels)})
    return RunQuery(
        kernel_id=values.get("kernel"),
        state=RunState(values["state"]) if "state" in values else None,
        outcome=Outcome(values["outcome"]) if "outcome" in values else None,
        labels=tuple(_label(label) for label in labels),
        limit=values.get("limit", RUNS_LIMIT),
        before=RunPlace.parse(values["cursor"]) if "cursor" in values else None,
    )


def _label(text: str) -> tuple[str, str | None]:
    """`name`, whatever its value, or `name=value`."""
    name, equals, value = text.partition("=")
    return name, value if equals else None


RUN_PATH: Schema = {"type": "object", "properties": {"id": {"type": "string", "format": "run-id"}}}
_run_path = validator_of(RUN_PATH)


def run_id(segment: str) -> RunId:
    """Out of a path, its percent signs resolved. Raises `InvalidField`."""
    check(_run_path, {"id": segment})
    return RunId(segment)


# -- kernels ------------------------------------------------------------------------------------

#: What we do not know is left alone: Jupyter's clients send more, and more with each release.
KERNEL: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"], "format": "text"},
        "path": {"type": ["string", "null"], "format": "text"},
        "env": {
            "type": ["object", "null"],
            "maxProperties": MAX_VARIABLES,
            "additionalProperties": {"type": "string", "format": "text"},
            "propertyNames": {"format": "env-name"},
            "properties": {
                "KERNEL_CULL_IDLE_TIMEOUT": {"type": "string", "format": "seconds-or-never"},
                "KERNEL_LAUNCH_TIMEOUT": {"type": "string", "format": "seconds"},
                "KERNEL_WORKING_DIR": {"type": "string", "format": "text"},
            },
        },
    },
}
_kernel = validator_of(KERNEL)

_OURS = "KERNEL_"

#: Variables by which other programs are run, or other code is loaded into them: of the system's
#: loader, of shells, of languages, of what finds kernels and their settings.
_LOADING = re.compile(
    r"PATH|HOME|ENV|IFS|SHELL|SHELLOPTS|PROMPT_COMMAND|PS4|CLASSPATH|GCONV_PATH|LOCPATH"
    r"|GLIBC_TUNABLES|EDITOR|VISUAL|PAGER|BROWSER|VIRTUAL_ENV|GO(?:PATH|ROOT|FLAGS|BIN|ENV)"
    r"|(?:LD_|DYLD_|PYTHON|BASH|IPYTHON|JUPYTER_|CONDA|PIP_|PERL|RUBY|GEM_|NODE_(?:OPTIONS|PATH)"
    r"|NPM_|_?JAVA|JDK_|JULIA_|R_(?:LIBS|HOME|PROFILE|ENVIRON)|LUA_|PHPRC|PHP_INI|RUSTC|CARGO"
    r"|GIT_|SSH_|XDG_).*"
)


def kernel_request(
    body: Mapping[str, Any], *, allowed_env: Sequence[str], max_start_limit_s: float
) -> KernelRequest:
    """Raises `InvalidField`. Whether the folder is there, and may be used, is not looked at."""
    check(_kernel, body)
    env: dict[str, str] = body.get("env") or {}
    limit = env.get("KERNEL_LAUNCH_TIMEOUT")
    folder = env.get("KERNEL_WORKING_DIR")
    idle = env.get("KERNEL_CULL_IDLE_TIMEOUT")
    return KernelRequest(
        name=body.get("name") or None,
        env={name: value for name, value in env.items() if _passes(name, allowed_env)},
        cwd=Path(folder) if folder else None,
        start_limit_s=min(float(limit), max_start_limit_s) if limit is not None else None,
        cull_idle_s=float(idle) if idle is not None else None,
        for_jupyter_server=limit is not None,
    )


def _passes(name: str, allowed: Sequence[str]) -> bool:
    """Who allows a pattern has not thought of all that it means."""
    if name.startswith(_OURS) or name in allowed:
        return True
    return not _LOADING.fullmatch(name) and any(fnmatchcase(name, one) for one in allowed)


HEALTH_CHECK: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["expression"],
    "properties": {
        "expression": {"type": ["string", "null"], "format": "text", "maxLength": 2**16},
    },
}
_health_check = validator_of(HEALTH_CHECK)


def health_check(body: Mapping[str, Any]) -> str | None:
    """The expression; None: there shall be none. Raises `InvalidField`."""
    check(_health_check, body)
    return body["expression"] or None


# -- sessions of notebooks ----------------------------------------------------------------------

_NAME: Schema = {"type": ["string", "null"], "format": "short-text"}
_ENV: Schema = KERNEL["properties"]["env"]

NOTEBOOK_SESSION: Schema = {
    "type": "object",
    "properties": {
        "path": _NAME,
        "name": _NAME,
        "type": _NAME,
        "kernel": {
            "type": ["object", "null"],
            "properties": {"id": _NAME, "name": _NAME, "env": _ENV},
        },
        "env": _ENV,
        "notebook": {"type": ["object", "null"], "properties": {"path": _NAME, "name": _NAME}},
    },
}
_notebook_session = validator_of(NOTEBOOK_SESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSession:
    """What was said of it; None: nothing."""

    path: str | None
    name: str | None
    type: str | None
    kernel: Mapping[str, Any]  # as in the body of a request for a kernel
    kernel_id: str | None


def notebook_session(body: Mapping[str, Any]) -> NotebookSession:
    """Also in the old way, with path and name in `notebook`. Raises `InvalidField`."""
    check(_notebook_session, body)
    given = {**_old_way(body.get("notebook") or {}), **_given(body)}
    kernel = body.get("kernel") or {}
    if given.get("path") == "":
        raise InvalidField({"path": "must not be empty"})
    return NotebookSession(
        path=given.get("path"),
        name=given.get("name"),
        type=given.get("type"),
        kernel={
            "name": kernel.get("name"),
            "env": {**(body.get("env") or {}), **(kernel.get("env") or {})},
        },
        kernel_id=kernel.get("id") or None,
    )


def _old_way(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The oldest clients call the path a name."""
    path, name = notebook.get("path"), notebook.get("name")
    return {"path": path or name, "name": name, "type": "notebook"} if path or name else {}


# -- who is calling -----------------------------------------------------------------------------

_permissions = validator_of(
    {
        "type": "object",
        "properties": {
            "permissions": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            }
        },
    }
)


def asked_permissions(text: str) -> dict[str, list[str]]:
    """Actions by resource, as `{"kernels": ["read"]}`. Raises `InvalidField`."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant) if text else {}
    except (ValueError, RecursionError):
        value = None
    check(_permissions, {"permissions": value})
    return cast("dict[str, list[str]]", value)
