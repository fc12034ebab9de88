"""Plays events into a `Run` and writes down what it does, so that a test reads as a transcript.

Each action becomes a few words: `execute m1 'x = 1'`, `set quiet 1`, `stdout 'hi'`, `release`. What
goes to the log is under its kind, with the step in front where it is not obvious.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.messaging import facts
from kernel_gateway.messaging.message import MsgId
from kernel_gateway.runs import actions, events, records
from kernel_gateway.runs import run as run_module
from kernel_gateway.runs import step as step_module
from kernel_gateway.runs.events import Instant, Timer
from kernel_gateway.runs.log import Log, LogLimits
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.run import Run
from kernel_gateway.runs.state import next_run_state, next_step_state
from kernel_gateway.scope import METRIC_MIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel_gateway.messaging.facts import Fact
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Body, Record
    from kernel_gateway.runs.state import RunEvent, RunState, StepEvent, StepState

BUSY, IDLE = facts.Busy(), facts.Idle()
OK = facts.Replied("ok", execution_count=1)
ABORTED = facts.Replied("aborted")
ASK = facts.InputRequested("name? ", password=False)
ASK_PASSWORD = facts.InputRequested("password: ", password=True)
NO_LIMITS = Limits()


def printed(text: str, name: str = "stdout") -> facts.Stream:
    return facts.Stream(name, text)


def shown(text: str, display_id: str | None = None) -> facts.Display:
    return facts.Display({"text/plain": text}, {}, display_id=display_id)


def measured(name: str, value: Json, mode: str = "replace") -> facts.Display:
    return facts.Display({METRIC_MIME: {"name": name, "value": value, "mode": mode}}, {})


def result(text: str, number: int = 1) -> facts.Display:
    return facts.Display({"text/plain": text}, {}, execution_count=number, is_result=True)


def raised(ename: str, evalue: str = "") -> facts.Raised:
    return facts.Raised(ename, evalue, (f"{ename}: {evalue}",))


def failed(ename: str = "ValueError", evalue: str = "no", number: int | None = 1) -> facts.Replied:
    return facts.Replied("error", number, ename, evalue, (f"{ename}: {evalue}",))


def exited(exit_code: int, number: int = 1) -> facts.Replied:
    """What a kernel whose cells are programs replies."""
    if exit_code == 0:
        return facts.Replied("ok", number, exit_code=0)
    return facts.Replied("error", number, "ExitCode", str(exit_code), exit_code=exit_code)


def died(signal: str | None = None, exit_code: int | None = None) -> events.KernelLost:
    return events.KernelLost(
        Reason(code="kernel_died", message="It died.", signal=signal, exit_code=exit_code)
    )


class Played:
    """A run that has been opened, its clock, and all that it has done."""

    def __init__(
        self,
        *steps: str | StepPlan,
        mode: Mode = Mode.QUERY,
        limits: Limits = NO_LIMITS,
        allow_stdin: bool = True,
        observed: bool = False,
    ) -> None:
        plans = tuple(StepPlan(code=step) if isinstance(step, str) else step for step in steps)
        numbers = count(1)
        self.now = Instant(wall=1000.0, mono=0.0)
        self.run = Run(
            "5fac",
            RunPlan(
                mode=mode,
                steps=plans,
                limits=limits,
                allow_stdin=allow_stdin,
                observed=observed,
            ),
            self.now,
            lambda: MsgId(f"m{next(numbers)}"),
        )
        self.log = Log(LogLimits())
        self.done: list[actions.Action] = []
        self.last_sent = MsgId("")
        self.told = self._perform(self.run.open())

    def hears(self, *happened: events.Event) -> list[str]:
        """What it does in answer to the events, in order."""
        done = [self._perform(self.run.receive(event, self.now)) for event in happened]
        self.told = [words for part in done for words in part]
        return self.told

    def says(self, *said: Fact, to: str | None = None) -> list[str]:
        """The kernel says it, of the request sent last or of the one named."""
        return self.hears(*(events.KernelSaid(MsgId(to or self.last_sent), fact) for fact in said))

    def ready(self) -> list[str]:
        return self.hears(events.KernelReady())

    def after(self, seconds: float) -> Played:
        self.now = Instant(self.now.wall + seconds, self.now.mono + seconds)
        return self

    def times_out(self, timer: Timer) -> list[str]:
        return self.hears(events.TimerOver(timer))

    def barrier(self, prompt: int = 1, to: str | None = None) -> list[str]:
        return self.hears(events.BarrierPassed(MsgId(to or self.last_sent), prompt))

    def answers(self, value: str, prompt_id: int | None = None) -> list[str]:
        return self.hears(events.InputGiven(value, prompt_id))

    def answered(self, value: str, to: str | None = None) -> list[str]:
        """The client that sent the request has answered its prompt itself."""
        return self.hears(events.InputSent(MsgId(to or self.last_sent), value))

    def cancel(self, *, grace_s: float | None = None, escalate: bool = True) -> list[str]:
        return self.hears(events.CancelAsked(grace_s=grace_s, escalate=escalate))

    @property
    def bodies(self) -> list[Body]:
        return [action.body for action in self.done if isinstance(action, actions.Append)]

    @property
    def stored(self) -> tuple[Record, ...]:
        """What the log has gathered since the last time."""
        return self.log.take().records

    @property
    def steps(self) -> list[str]:
        return [step.state.value for step in self.run.view().steps]

    @property
    def end(self) -> tuple[str, str, int | None]:
        """Outcome, code of the reason, exit code."""
        view = self.run.view()
        assert view.outcome is not None
        assert view.reason is not None
        return view.outcome.value, view.reason.code, view.exit_code

    @property
    def history(self) -> list[str]:
        return [state.value for state, _ in self.run.view().history]

    def _perform(self, asked: list[actions.Action]) -> list[str]:
        for action in asked:
            if isinstance(action, actions.SendExecute):
                self.last_sent = action.msg_id
            elif isinstance(action, actions.Append):
                self.log.append(action.body, step=action.step, at=self.now.wall)
        self.done += asked
        return [in_words(action) for action in asked]


def in_words(action: actions.Action) -> str:
    match action:
        case actions.SendExecute(msg_id, code, allow_stdin):
            return f"execute {msg_id} {code!r}{'' if allow_stdin else ' without input'}"
        case actions.SendInput(msg_id, value):
            return f"send input {msg_id} {value!r}"
        case actions.RaiseBarrier(msg_id, prompt):
            return f"barrier {msg_id} {prompt}"
        case actions.Probe(msg_id, channel):
            return f"probe {msg_id} on {channel}"
        case actions.SetTimer(timer, after_s):
            return f"set {timer} {after_s:g}"
        case actions.StopTimer(timer):
            return f"stop {timer}"
        case actions.Append(body, step):
            return _body_in_words(body, step)
        case actions.Interrupt() | actions.Terminate() | actions.Kill() | actions.Release():
            return type(action).__name__.lower()


def _body_in_words(body: Body, step: int | None) -> str:
    late = "late " if getattr(body, "late", False) else ""
    match body:
        case records.StateChanged():
            return body.state
        case records.StepChanged():
            return f"step {step} {body.state}"
        case records.LogText():
            return f"{late}{body.stream} {body.text!r}"
        case records.Output():
            return f"{late}{body.output_type} {body.index} {body.data.get('text/plain')!r}"
        case records.Updated():
            return f"{late}update {body.display_id} {body.data.get('text/plain')!r}"
        case records.Cleared():
            return f"{late}clear{' wait' if body.wait else ''}"
        case records.ErrorRaised():
            return f"{late}error {body.ename}: {body.evalue}"
        case records.Comm():
            return f"{late}comm {body.what} {body.comm_id}"
        case records.Metric():
            return f"{late}metric {body.mode} {body.name} {body.value!r}"
        case records.ArtifactAdded():
            return f"{late}artifact {body.artifact.name!r}"
        case records.InputAsked():
            return f"asked {body.prompt_id} {body.prompt!r}"
        case records.InputAnswered():
            return f"answered {body.prompt_id} {body.value!r}"
        case records.PhaseFinished():
            return f"{body.phase} finished {body.exit_code}"
        case records.KernelIntroduced():
            return f"kernel is {body.name}"
        case records.KernelEvent():
            return f"kernel {body.what}"
        case records.Dropped():
            return f"{late}dropped {body.why} {body.bytes or body.count}"
        case records.Completed():
            return f"completed {body.outcome} {body.reason.code} {body.exit_code}"


class Seen:
    """The entries of both tables that were consulted."""

    def __init__(self) -> None:
        self.of_steps: set[tuple[StepState, StepEvent]] = set()
        self.of_runs: set[tuple[RunState, RunEvent]] = set()


@contextmanager
def recorded() -> Iterator[Seen]:
    """Write down each entry that any run consults meanwhile."""
    seen = Seen()

    def step(state: StepState, event: StepEvent) -> StepState:
        after = next_step_state(state, event)
        seen.of_steps.add((state, event))
        return after

    def run(state: RunState, event: RunEvent) -> RunState:
        after = next_run_state(state, event)
        seen.of_runs.add((state, event))
        return after

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_module, "next_step_state", step)
        patch.setattr(run_module, "next_run_state", run)
        yield seen
