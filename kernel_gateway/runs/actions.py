"""What the outside must do for a run. The engine performs them in the order given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from kernel_gateway.messaging.message import Channel, MsgId
    from kernel_gateway.runs.events import Timer
    from kernel_gateway.runs.records import Body


@dataclass(frozen=True, slots=True)
class SendExecute:
    """Register `msg_id` as this run's, then send: a reply can overtake everything."""

    msg_id: MsgId
    code: str
    allow_stdin: bool


@dataclass(frozen=True, slots=True)
class SendInput:
    msg_id: MsgId  # of the execute request that prompted
    value: str


@dataclass(frozen=True, slots=True)
class RaiseBarrier:
    """Find out when everything printed before now has arrived, then tell `BarrierPassed`."""

    msg_id: MsgId
    prompt: int  # comes back in `BarrierPassed`


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the kernel whether it is well, then tell `ProbeAnswered`.

    Over control it answers whatever it executes. Over shell it answers in its turn: a reply that it
    owes comes before that, as an idle does that it owes before the one of this question over iopub.
    """

    msg_id: MsgId
    channel: Channel


@dataclass(frozen=True, slots=True)
class Interrupt:
    pass


@dataclass(frozen=True, slots=True)
class Terminate:
    pass


@dataclass(frozen=True, slots=True)
class Kill:
    pass


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Start it, or start it anew."""

    timer: Timer
    after_s: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    timer: Timer


@dataclass(frozen=True, slots=True)
class Append:
    """Write to the run's log."""

    body: Body
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The run is over and the kernel may serve the next; all timers of the run stop."""


Action: TypeAlias = (
    SendExecute
    | SendInput
    | RaiseBarrier
    | Probe
    | Interrupt
    | Terminate
    | Kill
    | SetTimer
    | StopTimer
    | Append
    | Release
)
