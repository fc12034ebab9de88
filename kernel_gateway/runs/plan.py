"""What is to be executed: a run's steps and limits, decided before it starts. Values only."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - for `get_type_hints`
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Mode(StrEnum):
    QUERY = "query"  # one step
    BATCH = "batch"  # clean, build, exec
    NOTEBOOK = "notebook"  # one step a code cell


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    code: str
    name: str = ""  # for people: a cell's ID, a phase
    phase: str | None = None  # clean, build or exec, of a batch run
    allow_error: bool = False  # an error ends the step, not the run
    skip: bool = False  # left out by a tag or a selection
    always: bool = False  # to clean up: executed also when a step before it has ended the run
    limit: float | None = None  # seconds; None: `Limits.step`


def batch_steps(clean: str, build: str, exec_: str) -> tuple[StepPlan, ...]:
    """Always all three: one that is left out has an end too, and execute tells it.

    What cannot be cleaned away is no reason not to build.
    """
    lines = {"clean": clean, "build": build, "exec": exec_}
    return tuple(
        StepPlan(code=line, name=phase, phase=phase, allow_error=phase == "clean")
        for phase, line in lines.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds; None is no limit. All but `start` and `queue` interrupt what runs."""

    start: float | None = None  # waiting for the kernel to come up, from the run's turn on
    step: float | None = None  # one step, from the moment the kernel takes it up
    run: float | None = None  # all steps, from the first
    idle: float | None = None  # no output and no prompt
    queue: float | None = None  # waiting for its turn
    input: float | None = None  # a prompt without an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    mode: Mode
    steps: tuple[StepPlan, ...]
    allow_stdin: bool = True
    #: A client sends the request itself, and sees what comes of it; we keep the record.
    observed: bool = False
    limits: Limits = field(default_factory=Limits)
    grace_s: float = 5.0  # between the first interrupt and SIGTERM
    kill_after_s: float = 5.0  # between SIGTERM and SIGKILL
    #: The caller's, by name; the code can read it during this run (`kernel_gateway.scope`).
    context: Mapping[str, str] = field(default_factory=dict)
    #: A kernel of the run's own is kept after the end until its threads have printed nothing for
    #: so many seconds.
    quiet_s: float = 0.0
    #: Of a notebook run the notebook as it was sent, JSON: all of it, with what is no step.
    document: str | None = None
    cancel_on_disconnect: bool = False  # when the last reader that waits for it has gone
    unread_s: float | None = None  # when nobody has read its log for so long; None: never

    @property
    def chars(self) -> int:
        """A measure of the memory it takes."""
        return sum(len(step.code) for step in self.steps) + len(self.document or "")

    def without_code(self) -> RunPlan:
        """For a run that is over: its code can have megabytes, and the store has it."""
        steps = tuple(replace(step, code="") for step in self.steps)
        return replace(self, steps=steps, document=None)
