"""What schemathesis is told of this API; read by it, in its own environment.

Formats that only we know, so that what it makes up of them is right. It waits for nothing long, and
no text of its own becomes a command: a shell would execute it.
"""

from __future__ import annotations

from typing import Any

import schemathesis  # type: ignore[import-not-found]
from hypothesis import strategies as st

COMMANDS = ("clean", "build", "exec", "startupCommand")
MOST_WAIT_S = 60  # that may be asked for ...
WAIT_S = 0.2  # ... and what is waited instead

_seconds = st.integers(1, 5).map(str)
_uuid = st.uuids().map(str)

for name, strategy in {
    "run-place": st.builds("1800000000.{}_{}".format, st.integers(1, 9), _uuid),
    "seconds": _seconds,
    "seconds-or-never": _seconds | st.just("0"),
}.items():
    schemathesis.openapi.format(name, strategy)


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_load_schema(context: Any, raw_schema: Any) -> None:
    """`prefixItems` of answers is turned into what JSON Schema no longer knows (4.32)."""
    _without_prefixes(raw_schema["components"]["schemas"])


def _without_prefixes(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _without_prefixes(one)
    elif isinstance(schema, dict):
        if "prefixItems" in schema:
            schema["maxItems"] = len(schema.pop("prefixItems"))
            schema.pop("items")
        for one in schema.values():
            _without_prefixes(one)


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    _hasten(case.query)
    if case.headers and str(case.headers.get("Prefer", "")).startswith("wait="):
        case.headers["Prefer"] = "wait=0"
    if isinstance(case.body, dict):
        for part in (case.body, case.body.get("options"), case.body.get("steps")):
            _hasten(part)
            _silence(part)


def _hasten(values: Any) -> None:
    """What is no number, or too much of one, stays wrong."""
    wait = values.get("wait") if isinstance(values, dict) else None
    try:
        if wait is not None and WAIT_S < float(wait) <= MOST_WAIT_S:
            values["wait"] = WAIT_S
    except (TypeError, ValueError):
        return


def _silence(commands: Any) -> None:
    if isinstance(commands, dict):
        commands |= {name: ":" for name in COMMANDS if isinstance(commands.get(name), str)}
