"""What a command finds in its environment. Decides and does nothing.

Knows what programs look for there, and what the gateway tells of a run in the metadata of its
request; `kernel_gateway.scope` reads it again. Must not know where any of it comes from.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where the metadata of a request tells of its run.
_KEY = "kernel_gateway"
_NAMES = {
    "KERNEL_GATEWAY_RUN_ID": "run_id",
    "KERNEL_GATEWAY_RUN_UID": "uid",
    "KERNEL_GATEWAY_ARTIFACT_DIR": "artifact_dir",
}


def environment(own: Mapping[str, str], metadata: Mapping[str, Any]) -> dict[str, str]:
    """No pagers and no colours, unless they are wanted: a pager would wait for keys."""
    plain = {"TERM": "dumb", "PAGER": "cat", "GIT_PAGER": "cat", "NO_COLOR": "1"}
    kept = {name: value for name, value in own.items() if not name.startswith("JPY_")}
    path = {"PATH": _path(own.get("PATH", os.defpath))}
    return plain | kept | path | _of_the_run(metadata.get(_KEY))


def _of_the_run(told: object) -> dict[str, str]:
    """What the gateway tells; nothing for a request of somebody else."""
    if not isinstance(told, dict):
        return {}
    values = {variable: told.get(name) for variable, name in _NAMES.items()}
    context = told.get("context")
    if isinstance(context, dict):
        values["KERNEL_GATEWAY_CONTEXT"] = json.dumps(context, ensure_ascii=False)
        values["TRACEPARENT"] = context.get("traceparent")  # where tracing tools look for it
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, str) and "\0" not in value
    }


def _path(own: str) -> str:
    """`python3` and `pip` are those of our virtual environment, also when nobody has activated it:
    what a session has installed there is what its Python kernel sees."""
    folder = os.path.dirname(sys.executable)
    if sys.prefix == sys.base_prefix or folder in own.split(os.pathsep):
        return own
    return f"{folder}{os.pathsep}{own}"
