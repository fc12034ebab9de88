"""The two state tables, and their theory.

This module knows which state follows on which event, and nothing else. It must not know messages,
sockets or time: `run.py` turns facts into these events and says what is to be done.

Theory of operation
===================

Two machines are coupled. The **step table** follows one `execute_request`; the **run table** lies
over it and follows the whole list of steps. Each event goes to the step machine first; what the
step machine makes of it (`StepEnded` and so on) is an event of the run machine.

The step table
--------------

A kernel speaks over three sockets, so its marks come in any order. A step is over when **both** of
its marks were seen, the reply (shell) and the idle (iopub), or when the kernel is gone:

* REPLIED is a reply without idle. Mostly it is on its way, perhaps behind much output. So the kernel
  is asked, and the idle of that question comes over iopub behind the step's or in its place (PROBED);
  then the step's is given up as missing (GRACE -> LOST), and the loss is said.
* IDLE is an idle without reply. Mostly the reply is on its way: ipykernel hands it to a thread, which
  a busy machine may keep waiting. Some kernels never send it after an interrupt, although they are
  well. So the kernel is asked over the same socket, and answers behind the reply or in its place
  (PROBED -> ENDED). No answer: it may execute somebody else's code, so it is asked over control,
  where a kernel that is well answers at once (PROBED -> ENDED). No answer: LOST.

A request that is to be cancelled before the kernel took it up (SENT) is waited for: an interrupt
that comes before busy is swallowed, or hits the kernel itself. So that nobody waits for ever, the
kernel is asked then as well, over control. No answer: it is deaf, and killed. An answer, but still
no busy: something of an earlier cell blocks it, and the escalation begins. An answer that comes
later than the busy is dropped: it says nothing of what else is on its way.

A prompt travels on a third socket and can overtake the output printed before it. So PROMPTED, where
the prompt is held back, lies before WAITING, where it is told; the barrier leads from one to the
other. A prompt that comes when the step already has one of its marks is stale and is ignored.

What a kernel can send is in every row where the request can have reached it: kernels repeat
themselves, send output after the end (threads) and idle twice. It never changes a state that is
over. A missing entry is therefore an error **of ours**: the engine told something that cannot be.
A step that was never sent stays PENDING: whatever ends the run then is an event of the run alone.

The run table
-------------

    queued -> starting -> running <-> waiting-input -> finished
    any but finished -> cancelling -> finished

`starting` is skipped when the kernel is there already. Cancelling or striking a limit before the
run has reached its kernel ends it at once, without touching a kernel on which somebody else's code
may run. After that the end is not ours to declare: the run is `cancelling` until its step has
ended or its kernel is gone, so that the next run never meets the rest of this one. A cancel is
remembered and repeated: kernels swallow interrupts that come before their busy.

The run of a client that sends its own requests (from JupyterLab, over a WebSocket) is *observed*: it
walks through the same tables, but what it sends is on its way already, its prompts may be answered
past us (INPUT of a step that is PROMPTED), and it is not sent again. Requests of several runs can
so stand in one kernel's line. While others are before a request (BEHIND, REACHED: events that
change no state) its limits do not count, and a cancel waits: an interrupt would hit the others.

A request that comes back `aborted`, because somebody else's code failed before it, is sent again and
walks through the step table from its beginning (RESENT). But not when it printed or asked: then it
was executed in part, and twice is worse than not at all.

A step may be there to clean up (`always`). When a step before it has ended the run, by an error, a
polite exit or a limit of one step, and its kernel is well, the run goes on in the state `running`:
to the steps that clean up and no others. So a limit of one step that has such steps behind it
(STEP_LIMIT) does not make the run `cancelling`, though the step is interrupted in the same way. The
run ends with the first error. Nothing cleans up after a cancel, the limit of the whole run, or an
escalation beyond interrupts: then the run is to stop, or has no kernel.

A finished run takes late events without a change: its turn, a kernel that came up, a second cancel,
a kernel that is gone. Clocks stop with it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import ImpossibleTransition

if TYPE_CHECKING:
    from collections.abc import Mapping


class StepState(StrEnum):
    PENDING = "pending"  # not sent yet
    SENT = "sent"  # sent, nothing heard
    RUNNING = "running"
    PROMPTED = "prompted"  # asks for input; output before the prompt may still be on its way
    WAITING = "waiting"  # the prompt has been told
    REPLIED = "replied"  # reply seen, idle not
    IDLE = "idle"  # idle seen, reply not
    ENDED = "ended"  # both, or the kernel is well and owes no reply
    LOST = "lost"  # the kernel is gone, or a mark was given up


class StepEvent(StrEnum):
    SENT = "sent"
    BUSY = "busy"
    OUTPUT = "output"
    PROMPT = "prompt"
    BARRIER = "barrier passed"
    INPUT = "input given"
    REPLY = "reply"
    IDLE = "idle"
    PROBED = "probe answered"
    GRACE = "grace over"
    LOST = "kernel lost"


class RunState(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting-input"
    CANCELLING = "cancelling"
    FINISHED = "finished"


class RunEvent(StrEnum):
    ADMITTED = "admitted"
    READY = "kernel ready"
    PROMPTED = "prompt told"
    ANSWERED = "input given"
    STEP_ENDED = "step ended, more to do"
    LAST_STEP_ENDED = "last step ended"
    RESENT = "step sent again"
    CANCEL = "cancel asked"
    LIMIT = "limit struck"
    STEP_LIMIT = "limit of a step struck, clean-up follows"
    LOST = "kernel lost"


def _rows(
    states: type[StrEnum], events: tuple[StrEnum, ...], text: str
) -> dict[Any, dict[Any, Any]]:
    """Read a table as it is written below: one row a state, one column an event, `-` no entry."""
    table: dict[Any, dict[Any, Any]] = {}
    for line in text.strip().splitlines():
        name, *cells = line.split()
        table[states[name]] = {
            event: states[cell] for event, cell in zip(events, cells, strict=True) if cell != "-"
        }
    return table


_S = StepEvent
STEP_TABLE: Mapping[StepState, Mapping[StepEvent, StepState]] = _rows(
    StepState,
    (_S.SENT, _S.BUSY, _S.OUTPUT, _S.PROMPT, _S.BARRIER, _S.INPUT, _S.REPLY, _S.IDLE, _S.PROBED,
     _S.GRACE, _S.LOST),
    #        SENT BUSY     OUTPUT   PROMPT   BARRIER INPUT   REPLY   IDLE  PROBED   GRACE LOST
    """
    PENDING  SENT -        -        -        -       -       -       -     -        -     -
    SENT     -    RUNNING  RUNNING  PROMPTED -       -       REPLIED IDLE  SENT     -     LOST
    RUNNING  -    RUNNING  RUNNING  PROMPTED RUNNING -       REPLIED IDLE  -        -     LOST
    PROMPTED -    PROMPTED PROMPTED PROMPTED WAITING RUNNING REPLIED IDLE  -        -     LOST
    WAITING  -    WAITING  WAITING  PROMPTED WAITING RUNNING REPLIED IDLE  -        -     LOST
    REPLIED  -    REPLIED  REPLIED  REPLIED  REPLIED -       REPLIED ENDED REPLIED  LOST  LOST
    IDLE     -    IDLE     IDLE     IDLE     IDLE    -       ENDED   IDLE  ENDED    LOST  LOST
    ENDED    -    ENDED    ENDED    ENDED    ENDED   -       ENDED   ENDED ENDED    -     -
    LOST     -    LOST     LOST     LOST     LOST    -       LOST    LOST  LOST     -     -
    """,
)  # fmt: skip

_R = RunEvent
RUN_TABLE: Mapping[RunState, Mapping[RunEvent, RunState]] = _rows(
    RunState,
    (_R.ADMITTED, _R.READY, _R.PROMPTED, _R.ANSWERED, _R.STEP_ENDED, _R.LAST_STEP_ENDED,
     _R.RESENT, _R.CANCEL, _R.LIMIT, _R.STEP_LIMIT, _R.LOST),
    #           ADMITTED READY   PROMPTED  ANSWERED STEP_ENDED LAST     RESENT     CANCEL     LIMIT      STEP_LIMIT LOST
    """
    QUEUED      STARTING RUNNING -         -        -          -        -          FINISHED   FINISHED   -          FINISHED
    STARTING    -        RUNNING -         -        -          -        -          FINISHED   FINISHED   -          FINISHED
    RUNNING     -        -       WAITING   -        RUNNING    FINISHED RUNNING    CANCELLING CANCELLING RUNNING    FINISHED
    WAITING     -        -       WAITING   RUNNING  RUNNING    FINISHED -          CANCELLING CANCELLING RUNNING    FINISHED
    CANCELLING  -        -       -         -        -          FINISHED -          CANCELLING CANCELLING -          FINISHED
    FINISHED    FINISHED FINISHED -        -        -          -        -          FINISHED   -          -          FINISHED
    """,
)  # fmt: skip

STEP_OVER = frozenset({StepState.ENDED, StepState.LOST})


def next_step_state(state: StepState, event: StepEvent) -> StepState:
    """The state that follows. Raises `ImpossibleTransition`; the caller's state is unchanged."""
    try:
        return STEP_TABLE[state][event]
    except KeyError:
        raise ImpossibleTransition(f"{event!s} cannot happen to a step that is {state}") from None


def next_run_state(state: RunState, event: RunEvent) -> RunState:
    """The state that follows. Raises `ImpossibleTransition`; the caller's state is unchanged."""
    try:
        return RUN_TABLE[state][event]
    except KeyError:
        raise ImpossibleTransition(f"{event!s} cannot happen to a run that is {state}") from None
