"""What can happen to a run. Each is an event that has happened, told by the engine.

The engine sends them; `Run.receive` answers with actions (`actions.py`), which the engine performs
and whose results come back as events again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from kernel_gateway.messaging.facts import Fact
    from kernel_gateway.messaging.message import Channel, MsgId
    from kernel_gateway.runs.records import KernelIntroduced, Reason


@dataclass(frozen=True, slots=True)
class Instant:
    """One reading of both clocks: `wall` for people, `mono` for every duration. Seconds."""

    wall: float
    mono: float


class Timer(StrEnum):
    """Each run has at most one running timer of each name."""

    IDLE_DUE = "idle-due"  # reply without idle: ask for something that comes behind it
    IDLE_OVER = "idle-over"  # ... and that did not come
    REPLY_DUE = "reply-due"  # idle without reply: ask for something that comes behind it
    PROBE_DUE = "probe-due"  # ... and that did not come: ask the kernel whether it is well
    PROBE_OVER = "probe-over"  # ... and it did not answer
    AGAIN = "again"  # interrupt once more
    GRACE = "grace"  # the interrupts did not help: next step of the escalation
    STEP_LIMIT = "step"
    RUN_LIMIT = "run"
    IDLE_LIMIT = "idle"
    INPUT_LIMIT = "input"
    QUEUE_LIMIT = "queue"
    START_LIMIT = "start"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The run has its turn. Its kernel may still be starting."""


@dataclass(frozen=True, slots=True)
class KernelReady:
    """The run has its turn and its kernel answers."""

    introduced: KernelIntroduced | None = None  # for a notebook, which says who has executed it


@dataclass(frozen=True, slots=True)
class Behind:
    """The request that was sent last has others before it, which are not this run's: no interrupt
    would hit it, and what it waits for says nothing about the kernel."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Now nothing is before it any more."""


@dataclass(frozen=True, slots=True)
class KernelSaid:
    """A fact whose parent is a request of this run."""

    msg_id: MsgId
    fact: Fact


@dataclass(frozen=True, slots=True)
class BarrierPassed:
    """All output printed before the prompt is in the log."""

    msg_id: MsgId  # of the step's request that prompted
    prompt: int  # which of its prompts, from `RaiseBarrier`


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """The kernel is well. What it had to say on this channel before it was asked has come; control
    knows nothing of the others."""

    msg_id: MsgId
    channel: Channel


@dataclass(frozen=True, slots=True)
class InputGiven:
    value: str | None  # None: there is none, and the step ends as one that may not ask
    prompt_id: int | None = None  # None: whichever prompt waits


@dataclass(frozen=True, slots=True)
class InputSent:
    """A client has answered the prompt of its own request over its own channel."""

    msg_id: MsgId  # of the request
    value: str


@dataclass(frozen=True, slots=True)
class CancelAsked:
    message: str = "cancelled"
    grace_s: float | None = None  # None: the run's own
    escalate: bool = True  # False: interrupts only


@dataclass(frozen=True, slots=True)
class TimerOver:
    timer: Timer


@dataclass(frozen=True, slots=True)
class KernelLost:
    """The kernel is gone, or never came; everything it had sent has been told before."""

    reason: Reason
    deleted: bool = False  # because someone deleted the kernel: then the run is cancelled, not lost


Event: TypeAlias = (
    Admitted
    | KernelReady
    | Behind
    | Reached
    | KernelSaid
    | BarrierPassed
    | ProbeAnswered
    | InputGiven
    | InputSent
    | CancelAsked
    | TimerOver
    | KernelLost
)
