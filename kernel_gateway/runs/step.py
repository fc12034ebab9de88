"""One step of a run while it is worked on.

Knows the step table's state, what the kernel has said of it, and when. Must not know what follows
for the run (`run.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.runs.state import STEP_OVER, StepEvent, StepState, next_step_state
from kernel_gateway.runs.view import Failure, StepOutcome, StepView

if TYPE_CHECKING:
    from kernel_gateway.messaging import facts
    from kernel_gateway.messaging.message import MsgId
    from kernel_gateway.runs.events import Instant
    from kernel_gateway.runs.plan import StepPlan


@dataclass(slots=True)
class Step:
    """One step while it is worked on; its state follows the step table."""

    index: int
    plan: StepPlan
    state: StepState = StepState.PENDING
    outcome: StepOutcome = StepOutcome.PENDING
    msg_id: MsgId | None = None
    resent: int = 0
    behind: bool = False  # requests that are not this run's are before its own
    ran: bool = False  # it printed or asked: what comes back aborted now was executed in part
    reply: facts.Replied | None = None
    failure: Failure | None = None
    asked: facts.InputRequested | None = None
    asked_number: int = 0  # counts its input requests, so that a late barrier tells no newer one
    started: Instant | None = None
    taken_up: Instant | None = None  # the kernel's first sign that it executes it
    finished: Instant | None = None
    execution_count: int | None = None
    exit_code: int | None = None

    def take(self, event: StepEvent) -> StepState:
        """Follow the table; gives the state before."""
        before, self.state = self.state, next_step_state(self.state, event)
        return before

    @property
    def over(self) -> bool:
        return self.state in STEP_OVER

    @property
    def executing(self) -> bool:
        """The kernel works on it, so that an interrupt will hit it and nothing else."""
        return self.state in {StepState.RUNNING, StepState.PROMPTED, StepState.WAITING}

    @property
    def untouched(self) -> bool:
        """The kernel gave it back without having executed any of it: it may be sent again."""
        reply = self.reply
        return (
            reply is not None and reply.aborted and reply.execution_count is None and not self.ran
        )

    def view(self) -> StepView:
        return StepView(
            index=self.index,
            name=self.plan.name,
            state=self.outcome,
            phase=self.plan.phase,
            started_at=self.started.wall if self.started else None,
            finished_at=self.finished.wall if self.finished else None,
            duration=self.duration,
            exit_code=self.exit_code,
            execution_count=self.execution_count,
            error=self.failure,
            msg_id=self.msg_id,
        )

    @property
    def duration(self) -> float | None:
        if self.finished is None or self.taken_up is None:
            return None
        return self.finished.mono - self.taken_up.mono
