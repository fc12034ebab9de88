"""What `--secret` gives: names and values, of which only the names may ever be said.

Knows the two places that values come from. Must not know what becomes of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.commands.base import UsageError
from kernel_gateway.runs.masking import fault_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")


def read_secrets(options: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """By name, as the kernel is to find them. Blocks; raises `UsageError`."""
    found: dict[str, str] = {}
    for option in options:
        name, _, source = option.partition("=")
        kind, _, where = source.partition(":")
        if kind not in {"env", "file"} or not where or not _NAME.fullmatch(name):
            # What was given may be the value itself.
            raise UsageError("--secret takes NAME=env:VARIABLE or NAME=file:PATH, and no value.")
        if name in found:
            raise UsageError(f"--secret {name} is given twice.")
        value = _variable(name, where, env) if kind == "env" else _file(name, where)
        if (fault := fault_of(value)) is not None:
            raise UsageError(f"--secret {name} cannot be hidden: its value {fault}.")
        found[name] = value
    return found


def _variable(name: str, variable: str, env: Mapping[str, str]) -> str:
    if variable not in env:
        raise UsageError(f"--secret {name}: the environment has no variable {variable}.")
    return env[variable]


def _file(name: str, path: str) -> str:
    """Without the line end that an editor puts behind the last line."""
    try:
        text = Path(path).expanduser().read_bytes().decode()
    except OSError as fault:
        raise UsageError(f"--secret {name}: {path} cannot be read: {fault.strerror}.") from fault
    except UnicodeDecodeError:
        raise UsageError(f"--secret {name}: {path} is no text in UTF-8.") from None
    return text.removesuffix("\n").removesuffix("\r")
