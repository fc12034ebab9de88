"""`metadata.papermill` of a notebook and of each of its cells, with papermill's fields and words.

Knows the values that tell how a run stands. Must not know files or services. Where papermill's
words would not be true others of its words are used: a cell that was never run stays *pending*,
and one in which the kernel died or a limit struck has *failed*.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.view import RunView, StepView

KEY = "papermill"
FIELDS_OF = "2.7.0"  # the version of papermill whose fields these are

_PENDING, _RUNNING, _COMPLETED, _FAILED = "pending", "running", "completed", "failed"

_STATUS: Mapping[StepOutcome, str] = {
    StepOutcome.PENDING: _PENDING,
    StepOutcome.RUNNING: _RUNNING,
    StepOutcome.OK: _COMPLETED,
    StepOutcome.ALLOWED_ERROR: _COMPLETED,
    StepOutcome.ERROR: _FAILED,
    StepOutcome.TIMED_OUT: _FAILED,
    StepOutcome.CANCELLED: _FAILED,
    StepOutcome.DIED: _FAILED,
    StepOutcome.SKIPPED: _PENDING,
    StepOutcome.NOT_RUN: _PENDING,
}
#: papermill knows three values: not begun, nothing has happened so far, something has.
_EXCEPTION: Mapping[str, bool | None] = {
    _PENDING: None,
    _RUNNING: False,
    _COMPLETED: False,
    _FAILED: True,
}
#: A text below a step in one of these is reached.
_PASSED = frozenset({StepOutcome.OK, StepOutcome.ALLOWED_ERROR, StepOutcome.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of a run before it begins."""

    version: str  # of this program
    input_path: str | None = None
    output_path: str | None = None
    parameters: Mapping[str, Json] = field(default_factory=dict)


def fill(
    notebook: MutableMapping[str, Any],
    about: About,
    steps: Iterable[StepView],
    view: RunView | None,
    outcome: Outcome | None,
) -> None:
    """All of it, as it stands now. Harmless when repeated."""
    notebook["metadata"][KEY] = of_run(about, view, outcome)
    left = iter(steps)
    reached = view is not None and view.started_at is not None
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            step = next(left)
            cell["metadata"][KEY] = of_step(step)
            reached = reached and step.state in _PASSED
        else:
            cell["metadata"][KEY] = of_text(reached)


def of_run(about: About, view: RunView | None, outcome: Outcome | None) -> dict[str, Json]:
    """`view` is None before there is a run; `outcome` is None until it is over."""
    start = None if view is None else _start(view)
    end = None if view is None else view.finished_at
    return {
        "default_parameters": {},
        "duration": _between(start, end),
        "end_time": _time(end),
        "environment_variables": {},
        "exception": None if outcome in {None, Outcome.OK} else True,
        "input_path": about.input_path,
        "output_path": about.output_path,
        "parameters": dict(about.parameters),
        "start_time": _time(start),
        "version": _version(about.version),
    }


def of_step(view: StepView) -> dict[str, Json]:
    status = _STATUS[view.state]
    return _of_cell(status, view.started_at, view.finished_at, view.duration)


def of_text(is_reached: bool) -> dict[str, Json]:
    """Of a cell that is no step: the run has come by it, which takes no time."""
    return _of_cell(_COMPLETED if is_reached else _PENDING, None, None, None)


def _of_cell(
    status: str, start: float | None, end: float | None, duration: float | None
) -> dict[str, Json]:
    return {
        "duration": duration,
        "end_time": _time(end),
        "exception": _EXCEPTION[status],
        "start_time": _time(start),
        "status": status,
    }


def _start(view: RunView) -> float:
    """When it was its turn: before its kernel came up, which papermill counts as well."""
    return next((at for state, at in view.history if state is not RunState.QUEUED), view.created_at)


def _between(start: float | None, end: float | None) -> float | None:
    """As papermill has it, by the wall clock: a run's durations without its kernel's start are
    under `kernel_gateway`."""
    if start is None or end is None:
        return None
    return round(max(0.0, end - start), 6)


def _time(at: float | None) -> str | None:
    """In papermill's form."""
    if at is None:
        return None
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="microseconds")


def _version(ours: str) -> str:
    """As a local version, which all who compare versions understand: nobody is to look for the
    cause of a thing in papermill."""
    return f"{FIELDS_OF}+kernel.gateway.{ours.replace('+', '.')}"
