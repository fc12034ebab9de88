"""One run as a machine: events in, actions out.

Knows the tables of `state.py` and what each transition means: what is sent, logged, timed, and how
the run ends. Must not know sockets, clocks (`now` is an argument), randomness (`new_id` is one) or
who reads the log. The order of actions matters: what is logged first is told first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import NotWaiting, WrongPrompt
from kernel_gateway.messaging import facts
from kernel_gateway.messaging.message import Channel
from kernel_gateway.runs import actions, ending, events, records
from kernel_gateway.runs.comms import comm_of
from kernel_gateway.runs.ending import Ending, Escalation
from kernel_gateway.runs.events import Instant, Timer
from kernel_gateway.runs.metrics import Metrics, checked, is_metric
from kernel_gateway.runs.plan import Mode
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.state import (
    STEP_OVER,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
    next_run_state,
)
from kernel_gateway.runs.step import Step
from kernel_gateway.runs.view import Failure, Outcome, Prompt, RunView, StepOutcome, kernel_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel_gateway.messaging.message import MsgId
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.plan import RunPlan

IDLE_AFTER_S = 1.0  # an idle is mostly this close behind its reply
#: Long, because a reply can be that far before its output when the gateway has much to read, and a
#: run that is well must not be given up for it.
IDLE_LIMIT_S = 60.0
REPLY_AFTER_S = 0.1  # a reply is mostly this close behind its idle
REPLY_LIMIT_S = 10.0
PROBE_LIMIT_S = 10.0
BLOCKED_AFTER_S = 1.0  # a kernel that is well begins sooner, unless something blocks it
#: Kernels swallow interrupts now and then: repeated at growing distances. Not sooner, or the next
#: one hits a kernel that is telling of the first: it takes 50 ms, and ten times that in a crowd.
AGAIN_FIRST_S = 1.0
AGAIN_MOST_S = 2.0
RESENDS = 5  # of a step that came back aborted because of somebody else's error


@dataclass(eq=False)
class Run:
    """`<Run 5fac RUNNING step 2/3>`. Not reentrant: one event at a time."""

    uid: str
    plan: RunPlan
    created: Instant
    new_id: Callable[[], MsgId]

    state: RunState = RunState.QUEUED
    outcome: Outcome | None = None
    reason: Reason | None = None
    exit_code: int | None = None
    prompt: Prompt | None = None
    history: list[tuple[RunState, float]] = field(default_factory=list)
    _steps: list[Step] = field(default_factory=list)
    _current: int = -1  # index of the step that is worked on
    _by_msg_id: dict[MsgId, Step] = field(default_factory=dict)
    _started: Instant | None = None
    _finished: Instant | None = None
    _verdict: Ending | None = None  # what the step is made to end with
    _end: Ending | None = None  # of the run, while it is cleaned up after
    _worked: Escalation | None = None  # the strongest means used so far
    _escalates: bool = True
    _grace_s: float = 0.0
    _again_s: float = AGAIN_FIRST_S
    _prompts: int = 0
    _answered: tuple[int, bytes] | None = None  # last answer's prompt and digest
    _outputs: int = 0
    _is_stream: bool = False
    _metrics: Metrics = field(default_factory=Metrics)
    _timers: set[Timer] = field(default_factory=set)  # that run now
    _now: Instant = Instant(0.0, 0.0)
    _do: list[actions.Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._steps = [Step(index, plan) for index, plan in enumerate(self.plan.steps)]
        self._grace_s = self.plan.grace_s

    def __repr__(self) -> str:
        done = f"step {self._current + 1}/{len(self._steps)}"
        return f"<Run {self.uid[:4]} {self.state.name} {done}>"

    # -- what the engine calls ---------------------------------------------------------------

    def open(self) -> list[actions.Action]:
        """The first actions of a new run: it is queued, and its waiting is limited."""
        self._now = self.created
        self._enter(RunState.QUEUED)
        self._limit(Timer.QUEUE_LIMIT)
        return self._taken_actions()

    def receive(self, event: events.Event, now: Instant) -> list[actions.Action]:
        """One event. Raises `NotWaiting` or `WrongPrompt` for an answer nobody asked for, and
        `ImpossibleTransition` for a bug of the engine; the run is then as it was."""
        self._now = now
        _HANDLERS[type(event)](self, event)
        return self._taken_actions()

    def view(self) -> RunView:
        return RunView(
            state=self.state,
            outcome=self.outcome,
            reason=self.reason,
            exit_code=self.exit_code,
            created_at=self.created.wall,
            started_at=self._started.wall if self._started else None,
            finished_at=self._finished.wall if self._finished else None,
            queue_time=self._started.mono - self.created.mono if self._started else None,
            predict_time=kernel_time(step.duration for step in self._steps),
            prompt=self.prompt,
            steps=tuple(step.view() for step in self._steps),
            history=tuple(self.history),
            is_stream=self._is_stream,
            metrics=self._metrics.values,
        )

    def forget_code(self) -> None:
        """The run is over and stays in memory for a while; its code need not."""
        self.plan = self.plan.without_code()
        for step, plan in zip(self._steps, self.plan.steps, strict=True):
            step.plan = plan

    def was_given(self, event: events.InputGiven) -> bool:
        """Whether it is the last answer once more: its sender did not hear that it had arrived."""
        if event.prompt_id is None or event.value is None:
            return False
        return self._answered == (event.prompt_id, self._digest(event.value))

    @property
    def keeps_comms(self) -> bool:
        """Whether comms mean anything to it. Clients that show widgets have them past us."""
        return self.plan.mode is Mode.NOTEBOOK

    @property
    def finished(self) -> bool:
        return self.state is RunState.FINISHED

    # -- its turn ------------------------------------------------------------------------------

    def _on_admitted(self, event: events.Admitted) -> None:
        if self._too_late(RunEvent.ADMITTED):
            return
        self._turn(RunEvent.ADMITTED)
        self._stop(Timer.QUEUE_LIMIT)
        self._limit(Timer.START_LIMIT)

    def _on_ready(self, event: events.KernelReady) -> None:
        if self._too_late(RunEvent.READY):
            return
        self._turn(RunEvent.READY)
        self._started = self._now
        self._stop(Timer.QUEUE_LIMIT, Timer.START_LIMIT)
        self._limit(Timer.RUN_LIMIT)
        if event.introduced is not None:
            self._append(event.introduced)
        self._next_step()

    def _next_step(self) -> None:
        """Go on with the next step that has something to execute, or end the run."""
        while (self._current + 1) < len(self._steps):
            self._current += 1
            step = self._steps[self._current]
            if self._end is not None and not step.plan.always:
                self._leave_out(step)
            elif step.plan.skip:
                self._settle(step, StepOutcome.SKIPPED)
            elif not (step.plan.code.strip() or self.plan.observed):
                self._settle(step, StepOutcome.OK, exit_code=0)
                self._tell_phase(step)
            else:
                self._send(step)
                return
        self._finish(RunEvent.LAST_STEP_ENDED, ending.DONE)

    def _send(self, step: Step) -> None:
        step.msg_id = self.new_id()
        step.reply = None
        step.taken_up = None
        step.behind = False
        self._by_msg_id[step.msg_id] = step
        step.take(StepEvent.SENT)
        if step.started is None:
            step.started = self._now
            step.outcome = StepOutcome.RUNNING
            self._tell_begin(step)
        elif self.keeps_comms:  # sent again, as another request
            self._tell_begin(step)
        # Counted anew from its busy; until then it must not be possible to wait for ever.
        self._limit(Timer.STEP_LIMIT)
        self._limit(Timer.IDLE_LIMIT)
        # Last: while it is performed we may be told that others are before it.
        self._do.append(actions.SendExecute(step.msg_id, step.plan.code, self.plan.allow_stdin))

    def _tell_begin(self, step: Step) -> None:
        msg_id = step.msg_id if self.keeps_comms else None
        self._append(records.StepChanged(state=StepOutcome.RUNNING, msg_id=msg_id), step)

    def _on_behind(self, event: events.Behind) -> None:
        step = self._current_step()
        if step is not None and step.state is StepState.SENT:
            step.behind = True
            self._stop(Timer.STEP_LIMIT, Timer.IDLE_LIMIT)

    def _on_reached(self, event: events.Reached) -> None:
        step = self._current_step()
        if step is None or step.state is not StepState.SENT or not step.behind:
            return
        step.behind = False
        self._limit(Timer.STEP_LIMIT)
        self._limit(Timer.IDLE_LIMIT)
        if self._verdict is not None:
            self._probe(step)

    # -- what the kernel says -----------------------------------------------------------------

    def _on_said(self, event: events.KernelSaid) -> None:
        step = self._by_msg_id.get(event.msg_id)
        kind = _STEP_EVENT_OF.get(type(event.fact))
        if step is None or kind is None:
            return
        if isinstance(event.fact, facts.Comm) and not self.keeps_comms:
            return
        if event.msg_id == step.msg_id:
            self._heard(step, kind, event.fact)
        elif kind is StepEvent.OUTPUT:  # of an attempt that came back aborted
            self._append(self._body_of(event.fact, late=step.over), step)

    def _heard(self, step: Step, kind: StepEvent, fact: facts.Fact) -> None:
        before = step.take(kind)
        if before is StepState.SENT:
            self._taken_up(step)
        if kind is StepEvent.OUTPUT:
            self._log_output(step, fact)
        elif isinstance(fact, facts.InputRequested) and step.state is StepState.PROMPTED:
            self._hold_prompt(step, fact)
        elif isinstance(fact, facts.Replied) and before not in STEP_OVER and step.reply is None:
            step.reply = fact
        if step.state is not before:
            self._mark_seen(step)

    def _mark_seen(self, step: Step) -> None:
        """One mark of the end may be there, or both."""
        if step.state is StepState.REPLIED:
            self._code_over()
            self._set(Timer.IDLE_DUE, IDLE_AFTER_S)
        elif step.state is StepState.IDLE:
            self._code_over()
            self._set(Timer.REPLY_DUE, REPLY_AFTER_S)
        elif step.state is StepState.ENDED:
            self._step_ended(step)

    def _taken_up(self, step: Step) -> None:
        step.taken_up = self._now
        step.behind = False
        self._stop(Timer.PROBE_OVER)
        self._limit(Timer.STEP_LIMIT)
        self._limit(Timer.IDLE_LIMIT)
        if self._verdict is not None and step.executing and self._worked not in _DEADLY:
            self._begin_escalation()

    def _log_output(self, step: Step, fact: facts.Fact) -> None:
        self._append(self._body_of(fact, late=step.over), step)
        if step.over:
            return
        step.ran = True
        if isinstance(fact, facts.Raised):
            step.failure = Failure(ename=fact.ename, evalue=fact.evalue, traceback=fact.traceback)
        goes_on = self.state is RunState.RUNNING and self._verdict is None
        if step.executing and goes_on:  # who waits for input is not idle
            self._limit(Timer.IDLE_LIMIT)

    def _body_of(self, fact: facts.Fact, *, late: bool) -> records.Body:
        if isinstance(fact, facts.Stream):
            return records.LogText(stream=fact.name, text=fact.text, late=late)
        if isinstance(fact, facts.Display):
            if is_metric(fact.data):
                return self._metric_of(fact.data, late=late)
            return self._output_of(fact, late=late)
        if isinstance(fact, facts.DisplayUpdate):
            return records.Updated(
                display_id=fact.display_id, data=fact.data, metadata=fact.metadata, late=late
            )
        if isinstance(fact, facts.Clear):
            return records.Cleared(wait=fact.wait, late=late)
        if isinstance(fact, facts.Comm):
            return comm_of(fact, late=late)
        assert isinstance(fact, facts.Raised)
        return records.ErrorRaised(
            ename=fact.ename, evalue=fact.evalue, traceback=fact.traceback, late=late
        )

    def _output_of(self, fact: facts.Display, *, late: bool) -> records.Output:
        self._outputs += 1
        if not self.finished:
            self._is_stream = self._outputs > 1
        return records.Output(
            index=self._outputs - 1,
            output_type="execute_result" if fact.is_result else "display_data",
            data=fact.data,
            metadata=fact.metadata,
            display_id=fact.display_id,
            execution_count=fact.execution_count,
            late=late,
        )

    def _metric_of(self, data: Mapping[str, Json], *, late: bool) -> records.Body:
        """Or an error to be read, which concerns nothing of the run but that metric."""
        metric = checked(data, late=late)
        if not isinstance(metric, str):
            # After the end nothing changes any more.
            fault = None if self.finished else self._metrics.merge(metric)
            if fault is None:
                return metric
            metric = fault
        return records.ErrorRaised(ename="BadMetric", evalue=metric, traceback=(), late=late)

    # -- input ---------------------------------------------------------------------------------

    def _hold_prompt(self, step: Step, fact: facts.InputRequested) -> None:
        assert step.msg_id is not None
        step.ran = True
        step.asked = fact
        step.asked_number += 1
        self._do.append(actions.RaiseBarrier(step.msg_id, step.asked_number))

    def _on_barrier(self, event: events.BarrierPassed) -> None:
        step = self._current_step(event.msg_id)
        if step is None or event.prompt != step.asked_number:
            return
        before = step.take(StepEvent.BARRIER)
        if before is not StepState.PROMPTED or self._verdict is not None:
            return
        if not (self.plan.allow_stdin or self.plan.observed):
            self._let_go(self._limit_event(), ending.input_refused())
            return
        assert step.asked is not None
        self._prompts += 1
        self.prompt = Prompt(
            prompt_id=self._prompts, prompt=step.asked.prompt, password=step.asked.password
        )
        self._append(
            records.InputAsked(
                prompt_id=self._prompts, prompt=self.prompt.prompt, password=self.prompt.password
            ),
            step,
        )
        self._turn(RunEvent.PROMPTED)
        self._stop(Timer.IDLE_LIMIT)
        self._limit(Timer.INPUT_LIMIT)

    def _on_input(self, event: events.InputGiven) -> None:
        if self.was_given(event):
            return
        prompt, step = self.prompt, self._current_step()
        if prompt is None or step is None or step.state is not StepState.WAITING:
            raise NotWaiting("The run is not waiting for input; the text was not kept.")
        if event.prompt_id not in {None, prompt.prompt_id}:
            raise WrongPrompt(
                f"The run waits for the answer to prompt {prompt.prompt_id}, not {event.prompt_id}."
            )
        if event.value is None and self.plan.observed:
            raise NotWaiting("Only the client that has sent this cell can leave it without input.")
        if event.value is None:
            self._stop(Timer.INPUT_LIMIT)
            self._let_go(self._limit_event(), ending.input_refused())
            return
        step.take(StepEvent.INPUT)
        assert step.msg_id is not None
        self._answered = (prompt.prompt_id, self._digest(event.value))
        self.prompt = None
        self._record_answer(prompt, event.value, step)
        self._do.append(actions.SendInput(step.msg_id, event.value))

    def _on_input_sent(self, event: events.InputSent) -> None:
        """It is on its way to the kernel, whether or not we have told of the prompt."""
        step = self._current_step(event.msg_id)
        if step is None or step.state not in {StepState.PROMPTED, StepState.WAITING}:
            return
        step.take(StepEvent.INPUT)
        if self.prompt is None:
            return
        prompt, self.prompt = self.prompt, None
        self._record_answer(prompt, event.value, step)

    def _digest(self, value: str) -> bytes:
        """It may be a password, so it is not kept."""
        return hashlib.sha256(self.uid.encode() + value.encode(errors="replace")).digest()

    def _record_answer(self, prompt: Prompt, value: str, step: Step) -> None:
        # What a client answers past us may be a newer prompt than the one that was told.
        is_secret = prompt.password or (step.asked is not None and step.asked.password)
        shown = None if is_secret else value
        self._append(records.InputAnswered(prompt_id=prompt.prompt_id, value=shown), step)
        self._turn(RunEvent.ANSWERED)
        self._stop(Timer.INPUT_LIMIT)
        self._limit(Timer.IDLE_LIMIT)

    # -- cancelling and limits -------------------------------------------------------------------

    def _on_cancel(self, event: events.CancelAsked) -> None:
        if self._too_late(RunEvent.CANCEL):
            return
        if self._verdict is not None:
            self._turn(RunEvent.CANCEL)
            if event.escalate:
                self._insist(event.grace_s)
            return
        self._escalates = event.escalate
        self._grace_s = self._grace_s if event.grace_s is None else event.grace_s
        self._let_go(RunEvent.CANCEL, ending.cancelled(event.message))

    def _insist(self, grace_s: float | None = None) -> None:
        """Asked once more: perhaps by more than interrupts, perhaps with less patience.

        The grace is not counted anew, or whoever asks each second would never get there.
        """
        shorter = grace_s is not None and grace_s < self._grace_s
        if self._escalates and not shorter:
            return
        self._escalates = True
        self._grace_s = self._grace_s if grace_s is None else grace_s
        step = self._steps[self._current]
        if self._worked is Escalation.INTERRUPT and Timer.AGAIN in self._timers:
            self._set(Timer.GRACE, self._grace_s)
        elif self._is_deaf(step):
            self._probe(step)  # it was deaf, and nothing stronger than interrupts was allowed

    def _is_deaf(self, step: Step) -> bool:
        """Nothing was heard of the request, and nothing is tried any more."""
        tried = self._timers & {Timer.AGAIN, Timer.PROBE_OVER}
        return step.state is StepState.SENT and not step.behind and not tried

    def _strike(self, timer: Timer) -> None:
        limit = self._limit_of(timer)
        assert limit is not None
        event = self._limit_event() if timer in _OF_ONE_STEP else RunEvent.LIMIT
        self._let_go(event, ending.limit_struck(timer.value, limit))

    def _limit_event(self) -> RunEvent:
        """Of something that only one step must not do."""
        return RunEvent.STEP_LIMIT if self._cleans_up else RunEvent.LIMIT

    def _let_go(self, event: RunEvent, verdict: Ending) -> None:
        """End the run now if it has not reached its kernel, else make the kernel let go of it."""
        if self.state in {RunState.QUEUED, RunState.STARTING}:
            self._finish(event, verdict)
            return
        again = self._verdict is not None
        self._turn(event)
        if again:  # a limit, while interrupts are tried: it holds for a run that ignores them
            self._insist()
            return
        self._verdict = verdict
        self.prompt = None
        step = self._steps[self._current]
        if step.executing:
            self._begin_escalation()
        elif step.state is StepState.SENT and not step.behind:
            self._probe(step)

    def _begin_escalation(self) -> None:
        self._interrupt()
        if self._escalates:
            self._set(Timer.GRACE, self._grace_s)

    def _interrupt(self) -> None:
        self._worked = Escalation.INTERRUPT
        self._do.append(actions.Interrupt())
        self._set(Timer.AGAIN, self._again_s)
        self._again_s = min(2 * self._again_s, AGAIN_MOST_S)

    def _escalate(self) -> None:
        """The grace is over: the next stronger means."""
        self._stop(Timer.AGAIN)
        if self._worked is Escalation.INTERRUPT:
            self._worked = Escalation.TERMINATE
            self._do.append(actions.Terminate())
            self._set(Timer.GRACE, self.plan.kill_after_s)
        else:
            self._worked = Escalation.KILL
            self._do.append(actions.Kill())

    def _code_over(self) -> None:
        """The user's code is over; only a mark of the kernel is missing, which has own timers."""
        self._stop(*_OF_THE_CODE)
        self.prompt = None

    def _on_timer(self, event: events.TimerOver) -> None:
        if event.timer not in self._timers:
            return  # it was stopped at the moment it ran out
        self._timers.discard(event.timer)
        if event.timer in _LIMITS:
            self._strike(event.timer)
        else:
            _TIMERS[event.timer](self, self._steps[self._current])

    def _again(self, step: Step) -> None:
        """Or for the first time, to a kernel that is well and yet does not begin: what earlier code
        has left behind (a callback, a loop) keeps it from the request."""
        if self._worked is None:
            self._begin_escalation()
        else:
            self._interrupt()

    def _grace_over(self, step: Step) -> None:
        self._escalate()

    def _ask_behind_idle(self, step: Step) -> None:
        """Does it still owe an idle? Behind much output it can be late."""
        self._ask(step, Channel.IOPUB, Timer.IDLE_OVER, IDLE_LIMIT_S)

    def _ask_behind_reply(self, step: Step) -> None:
        """Does it still owe a reply? Another thread of it may have that in hand, and be late."""
        self._ask(step, Channel.SHELL, Timer.PROBE_DUE, REPLY_LIMIT_S)

    def _probe(self, step: Step) -> None:
        """Is it well? It may execute other code, or not have taken up what is to be cancelled."""
        self._ask(step, Channel.CONTROL, Timer.PROBE_OVER, PROBE_LIMIT_S)

    def _ask(self, step: Step, channel: Channel, limit: Timer, limit_s: float) -> None:
        assert step.msg_id is not None
        self._do.append(actions.Probe(step.msg_id, channel))
        self._set(limit, limit_s)

    def _on_probed(self, event: events.ProbeAnswered) -> None:
        step = self._current_step(event.msg_id)
        is_late = event.channel is Channel.CONTROL and Timer.PROBE_OVER not in self._timers
        if step is None or is_late:  # asked before it was taken up, it says nothing of the end
            return
        self._stop(Timer.PROBE_DUE, Timer.PROBE_OVER)
        before = step.take(StepEvent.PROBED)
        if before is StepState.IDLE:
            self._step_ended(step)
        elif before is StepState.REPLIED:
            self._give_up_idle(step)
        elif before is StepState.SENT:
            self._set(Timer.AGAIN, BLOCKED_AFTER_S)

    def _probe_over(self, step: Step) -> None:
        if step.state is StepState.IDLE:
            self._give_up_reply(step)
        elif self._escalates:  # deaf: it hears no interrupt either
            self._escalate()

    def _give_up_idle(self, step: Step) -> None:
        self._append(records.Dropped(why="idle_missing", count=1), step)
        self._give_up(step, Reason(code="idle_missing", message="The kernel never went idle."))

    def _give_up_reply(self, step: Step) -> None:
        self._append(records.Dropped(why="reply_missing", count=1), step)
        self._do.append(actions.Kill())  # deaf: it can serve nobody any more
        message = "The kernel went idle without a reply and does not answer."
        self._give_up(step, Reason(code="reply_missing", message=message))

    def _give_up(self, step: Step, reason: Reason) -> None:
        given_up = ending.given_up(reason)
        step.take(StepEvent.GRACE)
        self._settle(step, given_up.step_outcome)
        self._finish(RunEvent.LOST, given_up)

    # -- the end of a step -----------------------------------------------------------------------

    def _step_ended(self, step: Step) -> None:
        self._stop(*_OF_THE_MARKS)
        reply = step.reply
        ours = not self.plan.observed
        if ours and step.untouched and self._verdict is None and step.resent < RESENDS:
            self._resend(step)
            return
        step.execution_count = reply.execution_count if reply else None
        judged = self._judge(step, reply)
        self._settle(step, judged.step_outcome, exit_code=judged.exit_code)
        self._tell_phase(step)
        self._go_on(judged)

    def _go_on(self, judged: Ending) -> None:
        more = self._current + 1 < len(self._steps)
        if judged.goes_on and more and self._verdict is not None:
            judged = self._verdict  # the step was quicker
        if not judged.goes_on and not self._cleans_up:
            self._finish(RunEvent.LAST_STEP_ENDED, judged)
            return
        if not judged.goes_on:
            self._clean_up(judged)
        if more:
            self._turn(RunEvent.STEP_ENDED)
        self._next_step()

    @property
    def _cleans_up(self) -> bool:
        """Steps behind this one are executed whatever becomes of it: its kernel is well, and nobody
        wants the run to stop."""
        if self.state is RunState.CANCELLING or self._worked in _DEADLY:
            return False
        behind = self._steps[self._current + 1 :]
        return any(step.plan.always and not step.plan.skip for step in behind)

    def _clean_up(self, end: Ending) -> None:
        """From now on what is not for that is left out. Each step of it has an escalation of its
        own."""
        self._end = ending.first_error(self._end, end)
        self._verdict = None
        self._worked = None
        self._again_s = AGAIN_FIRST_S

    def _resend(self, step: Step) -> None:
        step.resent += 1
        step.state = StepState.PENDING  # a new request, so a new walk through the step table
        self._turn(RunEvent.RESENT)
        self._send(step)

    def _judge(self, step: Step, reply: facts.Replied | None) -> Ending:
        """What the step's end means for the run."""
        not_run = reply is None or reply.aborted
        if self._verdict is not None and (self._worked is not None or not_run):
            return ending.let_go(self._verdict, self._worked)
        if self.plan.observed and step.untouched:
            return ending.aborted()
        if reply is not None and reply.exit_code is not None:
            return ending.exited(reply.exit_code, step.plan)
        if reply is not None and reply.status == "ok":
            step.failure = None  # an error that was shown, and not raised
            return ending.DONE
        return ending.failed(
            self._failure_of(step, reply), step.plan, allow_stdin=self.plan.allow_stdin
        )

    def _failure_of(self, step: Step, reply: facts.Replied | None) -> Failure:
        """The iopub error is the first choice; kernels that send none have it in the reply."""
        if step.failure is None:
            step.failure = ending.failure_of(reply)
            self._append(
                records.ErrorRaised(
                    ename=step.failure.ename,
                    evalue=step.failure.evalue,
                    traceback=step.failure.traceback,
                ),
                step,
            )
        return step.failure

    def _tell_phase(self, step: Step) -> None:
        """An edge that execute tells exactly once, before any output of the next phase."""
        if step.plan.phase in {"clean", "build"} and step.exit_code is not None:
            self._append(
                records.PhaseFinished(phase=step.plan.phase, exit_code=step.exit_code), step
            )

    # -- the kernel is gone ----------------------------------------------------------------------

    def _on_lost(self, event: events.KernelLost) -> None:
        if self._too_late(RunEvent.LOST):
            return
        lost = ending.kernel_lost(
            event.reason, deleted=event.deleted, verdict=self._verdict, worked=self._worked
        )
        step = self._current_step()
        if step is not None:
            step.take(StepEvent.LOST)
            self._settle(step, lost.step_outcome)
        if not event.deleted:
            what = "restarted" if event.reason.code == "kernel_restarted" else "died"
            self._append(records.KernelEvent(what=what, message=event.reason.message))
        self._finish(RunEvent.LOST, lost)

    # -- the end ---------------------------------------------------------------------------------

    def _settle(self, step: Step, outcome: StepOutcome, exit_code: int | None = None) -> None:
        step.outcome = outcome
        step.exit_code = exit_code
        step.finished = self._now
        self._append(
            records.StepChanged(
                state=outcome, execution_count=step.execution_count, exit_code=exit_code
            ),
            step,
        )

    def _leave_out(self, step: Step) -> None:
        step.outcome = StepOutcome.NOT_RUN
        self._append(records.StepChanged(state=step.outcome), step)

    def _finish(self, event: RunEvent, end: Ending) -> None:
        end = ending.first_error(self._end, end)
        for step in self._steps:
            if step.outcome is StepOutcome.PENDING:
                self._leave_out(step)
        self.outcome, self.reason, self.exit_code = end.outcome, end.reason, end.exit_code
        self.prompt = None
        self._finished = self._now
        self._turn(event, RunState.FINISHED)
        self._append(
            records.Completed(outcome=end.outcome, reason=end.reason, exit_code=end.exit_code)
        )
        self._timers.clear()
        self._do.append(actions.Release())

    # -- small things ----------------------------------------------------------------------------

    def _turn(self, event: RunEvent, expected: RunState | None = None) -> None:
        after = next_run_state(self.state, event)
        assert expected in {None, after}, f"{event} leads to {after}, not {expected}"
        if after is not self.state:
            self._enter(after)

    def _enter(self, state: RunState) -> None:
        self.state = state
        self.history.append((state, self._now.wall))
        self._append(
            records.StateChanged(
                state=state.value,
                outcome=self.outcome.value if self.outcome else None,
                reason=self.reason,
            )
        )

    def _append(self, body: records.Body, step: Step | None = None) -> None:
        self._do.append(actions.Append(body, step.index if step else None))

    def _too_late(self, event: RunEvent) -> bool:
        """Whether the run is over; the table says what may still come then."""
        return self.finished and next_run_state(self.state, event) is self.state

    def _set(self, timer: Timer, after_s: float) -> None:
        self._timers.add(timer)
        self._do.append(actions.SetTimer(timer, after_s))

    def _limit(self, timer: Timer) -> None:
        """Start the timer of a limit, where the run has that limit."""
        limit = self._limit_of(timer)
        if limit is not None:
            self._set(timer, limit)

    def _limit_of(self, timer: Timer) -> float | None:
        if timer is Timer.STEP_LIMIT:
            own = self._steps[self._current].plan.limit
            return self.plan.limits.step if own is None else own
        limit: float | None = getattr(self.plan.limits, timer.value)
        return limit

    def _stop(self, *timers: Timer) -> None:
        for timer in timers:
            if timer in self._timers:
                self._timers.discard(timer)
                self._do.append(actions.StopTimer(timer))

    def _current_step(self, msg_id: MsgId | None = None) -> Step | None:
        """The step that is worked on; None when it is not the one that `msg_id` names."""
        step = self._steps[self._current] if self._current >= 0 else None
        return step if step is not None and msg_id in {None, step.msg_id} else None

    def _taken_actions(self) -> list[actions.Action]:
        taken, self._do = self._do, []
        return taken


_OF_THE_CODE = (
    Timer.AGAIN,
    Timer.GRACE,
    Timer.STEP_LIMIT,
    Timer.IDLE_LIMIT,
    Timer.INPUT_LIMIT,
)
_OF_THE_MARKS = (
    Timer.IDLE_DUE,
    Timer.IDLE_OVER,
    Timer.REPLY_DUE,
    Timer.PROBE_DUE,
    Timer.PROBE_OVER,
)
_OF_ONE_STEP = frozenset({Timer.STEP_LIMIT, Timer.IDLE_LIMIT, Timer.INPUT_LIMIT})
_DEADLY = frozenset({Escalation.TERMINATE, Escalation.KILL})  # to the kernel
_LIMITS = frozenset(
    {
        Timer.STEP_LIMIT,
        Timer.RUN_LIMIT,
        Timer.IDLE_LIMIT,
        Timer.INPUT_LIMIT,
        Timer.QUEUE_LIMIT,
        Timer.START_LIMIT,
    }
)

_TIMERS: Mapping[Timer, Callable[[Run, Step], None]] = {
    Timer.IDLE_DUE: Run._ask_behind_idle,
    Timer.IDLE_OVER: Run._give_up_idle,
    Timer.REPLY_DUE: Run._ask_behind_reply,
    Timer.PROBE_DUE: Run._probe,
    Timer.PROBE_OVER: Run._probe_over,
    Timer.AGAIN: Run._again,
    Timer.GRACE: Run._grace_over,
}

_STEP_EVENT_OF: Mapping[type, StepEvent] = {
    facts.Busy: StepEvent.BUSY,
    facts.Idle: StepEvent.IDLE,
    facts.Replied: StepEvent.REPLY,
    facts.InputRequested: StepEvent.PROMPT,
    facts.Stream: StepEvent.OUTPUT,
    facts.Display: StepEvent.OUTPUT,
    facts.DisplayUpdate: StepEvent.OUTPUT,
    facts.Clear: StepEvent.OUTPUT,
    facts.Comm: StepEvent.OUTPUT,
    facts.Raised: StepEvent.OUTPUT,
}

_HANDLERS: Mapping[type[events.Event], Callable[[Run, Any], None]] = {
    events.Admitted: Run._on_admitted,
    events.KernelReady: Run._on_ready,
    events.Behind: Run._on_behind,
    events.Reached: Run._on_reached,
    events.KernelSaid: Run._on_said,
    events.BarrierPassed: Run._on_barrier,
    events.ProbeAnswered: Run._on_probed,
    events.InputGiven: Run._on_input,
    events.InputSent: Run._on_input_sent,
    events.CancelAsked: Run._on_cancel,
    events.TimerOver: Run._on_timer,
    events.KernelLost: Run._on_lost,
}
