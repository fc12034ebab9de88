"""How a run stands, for readers: what `GET /api/runs/{id}` tells, and what the store keeps.

Values only. Wall-clock times are for people; every duration is monotonic, but those of steps that
only the log of a gateway that was killed tells of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping  # noqa: TC003 - for `get_type_hints`
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import Json  # noqa: TC001 - for `get_type_hints`

if TYPE_CHECKING:
    from kernel_gateway.runs.records import Reason
    from kernel_gateway.runs.state import RunState


class Outcome(StrEnum):
    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    LOST = "lost"


class StepOutcome(StrEnum):
    """What became of a step; `ok` needs a reply with status ok **and** its idle."""

    PENDING = "pending"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    ALLOWED_ERROR = "allowed-error"
    SKIPPED = "skipped"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    DIED = "died"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An exception of the user's code."""

    ename: str
    evalue: str
    traceback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A step as it stands, for readers."""

    index: int
    name: str
    state: StepOutcome
    phase: str | None = None
    started_at: float | None = None  # wall clock
    finished_at: float | None = None
    duration: float | None = None  # seconds, monotonic, from busy to end
    exit_code: int | None = None
    execution_count: int | None = None
    error: Failure | None = None
    msg_id: str | None = None


def kernel_time(durations: Iterable[float | None]) -> float | None:
    """Seconds of all steps together; None as long as none of them is known."""
    known = [seconds for seconds in durations if seconds is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    prompt_id: int
    prompt: str
    password: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as it stands, for readers. Wall-clock times are for people, durations are monotonic."""

    state: RunState
    outcome: Outcome | None
    reason: Reason | None
    exit_code: int | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    queue_time: float | None
    predict_time: float | None
    prompt: Prompt | None
    steps: tuple[StepView, ...]
    history: tuple[tuple[RunState, float], ...]
    is_stream: bool
    metrics: Mapping[str, Json] = field(default_factory=dict)  # merged, nested by their dots

    @property
    def phase(self) -> str | None:
        running = [step for step in self.steps if step.state is StepOutcome.RUNNING]
        return running[0].phase if running else None

    @property
    def execution_count(self) -> int | None:
        counts = [step.execution_count for step in self.steps if step.execution_count is not None]
        return counts[-1] if counts else None

    @property
    def error(self) -> Failure | None:
        """The first that ended the run, whatever came of the clean-up; else the last of all."""
        errors = [step for step in self.steps if step.error is not None]
        bad = [step for step in errors if step.state not in _GOOD]
        return next((step.error for step in [*bad, *reversed(errors)]), None)


_GOOD = frozenset({StepOutcome.OK, StepOutcome.ALLOWED_ERROR})
