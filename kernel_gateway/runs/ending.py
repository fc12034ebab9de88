"""How a run ends: outcome, reason and exit code, decided from what has happened to it. Pure.

Knows failures, limits and losses. Must not know states (`state.py`) nor what is sent or logged.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.view import Failure, Outcome, StepOutcome

if TYPE_CHECKING:
    from kernel_gateway.messaging.facts import Replied
    from kernel_gateway.runs.plan import StepPlan

EXIT_ERROR, EXIT_LIMIT, EXIT_CANCELLED = 1, 124, 130
MESSAGE_CHARS = 1000  # of a reason; an exception can carry megabytes, its record has them

_STATUS = re.compile("-?[0-9]{1,18}")
#: What xeus' kernels say that refuse to ask.
_NO_STDIN = "frontend does not support input requests"
_NO_INPUT = Reason(code="no_input", message="The code asked for input and none is given.")


class Escalation(StrEnum):
    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends, or is going to once its kernel has let go of it."""

    outcome: Outcome
    reason: Reason
    exit_code: int
    step_outcome: StepOutcome  # of the step that was worked on

    @property
    def goes_on(self) -> bool:
        """The step is no end of its run: the next one follows."""
        return self.outcome is Outcome.OK and self.reason.code == "done"


DONE = Ending(Outcome.OK, Reason(code="done"), 0, StepOutcome.OK)


def cancelled(message: str) -> Ending:
    reason = Reason(code="cancelled", message=message)
    return Ending(Outcome.CANCELLED, reason, EXIT_CANCELLED, StepOutcome.CANCELLED)


def aborted() -> Ending:
    """The kernel did not execute it, because an earlier request of its client had failed."""
    reason = Reason(code="aborted", message="An earlier cell of its client has failed.")
    return Ending(Outcome.CANCELLED, reason, EXIT_CANCELLED, StepOutcome.CANCELLED)


def limit_struck(name: str, limit_s: float) -> Ending:
    reason = Reason(
        code=f"{name}_limit",
        message=f"The {name} limit of {limit_s:g} s was reached.",
        limit=limit_s,
        exit_code=EXIT_LIMIT,
    )
    return Ending(Outcome.TIMEOUT, reason, EXIT_LIMIT, StepOutcome.TIMED_OUT)


def let_go(verdict: Ending, worked: Escalation | None) -> Ending:
    """The kernel has let go of a run that was being cancelled; `worked` says by what means."""
    means = worked.value if worked else None
    return replace(verdict, reason=replace(verdict.reason, worked=means))


def first_error(first: Ending | None, then: Ending) -> Ending:
    """Of what ended the steps and what came of the clean-up. A polite exit is no error."""
    if first is None or (first.outcome is Outcome.OK and then.outcome is not Outcome.OK):
        return then
    return first


def failed(failure: Failure, plan: StepPlan, *, allow_stdin: bool) -> Ending:
    """What an exception means for the run: nothing when it is allowed, or an exit with 0."""
    status = exit_status(failure)
    if status == 0:
        return Ending(Outcome.OK, Reason(code="exited", exit_code=0), 0, StepOutcome.OK)
    exit_code = status or EXIT_ERROR
    if plan.allow_error:
        return replace(DONE, exit_code=exit_code, step_outcome=StepOutcome.ALLOWED_ERROR)
    reason = _error_reason(failure, status, allow_stdin=allow_stdin)
    return Ending(Outcome.ERROR, reason, exit_code, StepOutcome.ERROR)


def input_refused() -> Ending:
    """The kernel asks although it was told that nobody answers."""
    return Ending(Outcome.ERROR, _NO_INPUT, EXIT_ERROR, StepOutcome.ERROR)


def exited(exit_code: int, plan: StepPlan) -> Ending:
    """What the end of a program means for the run."""
    if exit_code == 0:
        return DONE
    if plan.allow_error:
        return replace(DONE, exit_code=exit_code, step_outcome=StepOutcome.ALLOWED_ERROR)
    code = "build_failed" if plan.phase == "build" else "exit_code"
    message = f"The {plan.phase or 'program'} ended with exit code {exit_code}."
    reason = Reason(code=code, message=message, exit_code=exit_code)
    return Ending(Outcome.ERROR, reason, exit_code, StepOutcome.ERROR)


def failure_of(reply: Replied | None) -> Failure:
    """Of a step whose kernel sent no error message."""
    if reply is None:
        return Failure(ename="NoReply", evalue="The kernel gave no reply.")
    return Failure(
        ename=reply.ename,
        evalue=reply.evalue or f"The kernel replied {reply.status!r}.",
        traceback=reply.traceback,
    )


def kernel_lost(
    reason: Reason, *, deleted: bool, verdict: Ending | None, worked: Escalation | None
) -> Ending:
    """Whether we killed it for this run, somebody deleted it, or it died."""
    strong = worked in {Escalation.TERMINATE, Escalation.KILL}
    ours = strong or reason.signal == "SIGINT" or reason.exit_code == 0  # an interrupt ended it
    if verdict is not None and worked is not None and ours:
        ending = let_go(verdict, worked)
        return replace(ending, reason=replace(ending.reason, signal=reason.signal))
    if deleted:
        return Ending(Outcome.CANCELLED, reason, EXIT_CANCELLED, StepOutcome.CANCELLED)
    return Ending(Outcome.LOST, reason, _exit_code_of_loss(reason), StepOutcome.DIED)


def given_up(reason: Reason) -> Ending:
    """A mark of the kernel is missing for good."""
    return Ending(Outcome.LOST, reason, EXIT_ERROR, StepOutcome.DIED)


def exit_status(failure: Failure) -> int | None:
    """The status of a `SystemExit` as the interpreter would give it; None for any other error."""
    if failure.ename != "SystemExit":
        return None
    text = failure.evalue.strip()
    if text in {"", "None", "False"}:
        return 0
    if _STATUS.fullmatch(text):
        return int(text) & 0xFF
    return EXIT_ERROR  # sys.exit("some text")


def _error_reason(failure: Failure, status: int | None, *, allow_stdin: bool) -> Reason:
    refused = failure.ename == "StdinNotImplementedError" or _NO_STDIN in failure.evalue
    if refused and not allow_stdin:
        return _NO_INPUT
    message = f"{failure.ename}: {failure.evalue}".strip(": ")[:MESSAGE_CHARS]
    if status is not None:
        return Reason(code="exit_code", message=message, exit_code=status)
    return Reason(code="exception", message=message)


def _exit_code_of_loss(reason: Reason) -> int:
    """As a shell would tell it; never 0, for the run did not get to its end."""
    if reason.signal is not None and reason.signal in signal.Signals.__members__:
        return 128 + signal.Signals[reason.signal].value
    return reason.exit_code or EXIT_ERROR
