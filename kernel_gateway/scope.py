"""For code in a kernel or in a step of a batch run: the run that it belongs to.

    from kernel_gateway.scope import current_run
    current_run().metric("loss", 0.25)

Knows what the gateway tells a kernel with each request, the variables of a command, and what a
metric looks like. Must not know the gateway: it runs inside users' kernels, so it imports nothing
but the standard library, most of it only when it is needed.
"""

from __future__ import annotations

import math
import os
import sys

TYPE_CHECKING = False  # as in typing, whose import takes longer than all the rest
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

__all__ = ["METADATA_KEY", "METRIC_MIME", "Run", "ScopeError", "current_run", "metric_content"]

#: A metric is a display of this type, from any language.
METRIC_MIME = "application/vnd.kernel-gateway.metric+json"
#: Where the metadata of an execute_request tells of its run.
METADATA_KEY = "kernel_gateway"

MODES = ("replace", "increment", "append")
RESERVED = "predict_time"  # measured by the gateway
NAME_CHARS = 128
SEGMENTS = 4
DEPTH = 32  # of lists and objects in each other, in one value

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_CHARACTERS = _LETTERS | frozenset("0123456789_")


class ScopeError(RuntimeError):
    """There is no run here, or it does not have what is asked for; the text says why."""


def current_run() -> Run:
    """The run of the cell or command that calls this. Threads: take it in the cell, hand it on."""
    shell = _shell()
    told = (_told(shell) if shell is not None else None) or _told_by_environment(os.environ)
    if shell is not None:
        return Run(told, display=shell.display_pub.publish)
    if told is None:
        raise ScopeError("There is no run: this code was not started by a kernel gateway.")
    return Run(told)


class Run:
    """What the code can know of its run, and give it. It stays of this run when others follow."""

    def __init__(self, told: Mapping[str, Any] | None, *, display: Any = None) -> None:
        self._told = told
        self._display = display

    def __repr__(self) -> str:
        return f"<Run {self._told['run_id'] if self._told else 'of another client'}>"

    @property
    def id(self) -> str:
        """The client's name of the run."""
        return str(self._given("run_id"))

    @property
    def uid(self) -> str:
        """The gateway's name of the run, unique for ever."""
        return str(self._given("uid"))

    @property
    def context(self) -> dict[str, str]:
        """What the client gave with the run, for this run alone."""
        return dict(self._given("context"))

    @property
    def artifact_dir(self) -> Path:
        """The folder whose files become artifacts of the run when it ends."""
        from pathlib import Path

        folder = Path(self._given("artifact_dir"))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def metric(self, name: str, value: Any, mode: str = "replace") -> None:
        """`replace` it (None deletes), `increment` it by a number, or `append` to a list.

        Dots in the name nest. Raises `ValueError` for what is no metric.
        """
        content = metric_content(name, value, mode)
        if self._display is None:
            raise ScopeError(
                "A script has no channel for metrics: write them to a file in the run's "
                "artifact_dir, or call metric in a notebook's kernel."
            )
        self._display({METRIC_MIME: content}, {})

    def log(self, text: str) -> None:
        """A line on stdout, at once."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def _given(self, name: str) -> Any:
        if self._told is None:
            raise ScopeError(
                f"This cell has no {name}: it was sent by a client of the kernel (as JupyterLab "
                "is one) and not started as a run over the gateway's API."
            )
        value = self._told.get(name)
        if value is None:
            raise ScopeError(f"The gateway told no {name} of this run.")
        return value


def metric_content(name: Any, value: Any, mode: Any = "replace") -> dict[str, Any]:
    """What is displayed as a metric. Raises `ValueError`, which says what is wrong.

    NaN and infinities, which JSON does not have, become texts.
    """
    _check_name(name)
    if mode not in MODES:
        raise ValueError(f"The mode of a metric is {', '.join(MODES)}, not {_shown(mode)}.")
    plain = _plain(value, DEPTH)
    if mode == "increment" and (isinstance(plain, bool) or not isinstance(plain, int | float)):
        raise ValueError(f"A metric is incremented by a number, not by {_shown(value)}.")
    return {"name": name, "value": plain, "mode": mode}


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"The name of a metric is text, not {_shown(name)}.")
    if len(name) > NAME_CHARS:
        raise ValueError(f"The name of a metric has at most {NAME_CHARS} characters.")
    segments = name.split(".")
    if len(segments) > SEGMENTS:
        raise ValueError(f"The name of a metric has at most {SEGMENTS} parts: {_shown(name)}.")
    for segment in segments:
        if segment[:1] not in _LETTERS:
            raise ValueError(f"Each part of a metric's name begins with a letter: {_shown(name)}.")
        if not _CHARACTERS.issuperset(segment):
            raise ValueError(f"A metric's name has A-Z, a-z, 0-9 and _ alone: {_shown(name)}.")
        if "__" in segment or segment.endswith("_"):
            raise ValueError(f"A metric's name has no double and no last _: {_shown(name)}.")
    if segments[0] == RESERVED:
        raise ValueError(f"{RESERVED} is measured by the gateway: take another name.")


def _plain(value: Any, depth: int) -> Any:
    """As JSON has it. numpy's scalars, and what is like them, have an `item`."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _name_of(value)
    if depth == 0:
        raise ValueError(f"The value of a metric has at most {DEPTH} levels.")
    if isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("The keys of a metric's value are texts.")
        return {key: _plain(item, depth - 1) for key, item in value.items()}
    if hasattr(value, "item"):
        return _plain(value.item(), depth - 1)
    raise ValueError(f"The value of a metric is JSON, not {_shown(value)}.")


def _name_of(value: float) -> str:
    """As JavaScript calls it."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _shown(value: Any) -> str:
    """Of whatever was given something for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


# -- where the run is told -------------------------------------------------------------------------


def _shell() -> Any:
    """IPython's, in a kernel; None anywhere else."""
    ipython = sys.modules.get("IPython")  # in a kernel it is there
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if hasattr(shell, "kernel") else None


def _told(shell: Any) -> Mapping[str, Any] | None:
    """By the request whose cell this is. None: it was not the gateway that sent it."""
    parent = shell.kernel.get_parent("shell") or {}
    metadata = parent.get("metadata") or {}
    told = metadata.get(METADATA_KEY)
    return told if isinstance(told, dict) and "run_id" in told else None


def _told_by_environment(environment: Mapping[str, str]) -> Mapping[str, Any] | None:
    """By the variables of a command: a step of a batch run."""
    if "KERNEL_GATEWAY_RUN_ID" not in environment:
        return None
    import json

    return {
        "run_id": environment["KERNEL_GATEWAY_RUN_ID"],
        "uid": environment.get("KERNEL_GATEWAY_RUN_UID"),
        "context": json.loads(environment.get("KERNEL_GATEWAY_CONTEXT", "{}")),
        "artifact_dir": environment.get("KERNEL_GATEWAY_ARTIFACT_DIR"),
    }
