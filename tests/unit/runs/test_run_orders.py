"""What holds in whatever order the kernel's sockets, clients, clocks and the process speak.

Two kernels play: an honest one, whose sockets are each in order but in no order among themselves,
and a hostile one, which repeats, forges, omits and reorders whatever it likes. The examples are
lists of numbers; each picks one of the moves that are possible at that point.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import NotWaiting, WrongPrompt
from kernel_gateway.messaging import facts
from kernel_gateway.messaging.message import Channel, MsgId
from kernel_gateway.runs import actions, events, records
from kernel_gateway.runs.events import Timer
from kernel_gateway.runs.plan import Limits, Mode, StepPlan
from kernel_gateway.runs.run import RESENDS
from tests.unit.runs.driver import (
    ABORTED,
    ASK,
    ASK_PASSWORD,
    BUSY,
    IDLE,
    OK,
    Played,
    died,
    failed,
    in_words,
    printed,
    raised,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kernel_gateway.messaging.facts import Fact

SECRET = "s3cret"
LIMITS = Limits(start=60, step=50, run=40, idle=30, queue=20, input=10)
RANK = {
    "queued": 0,
    "starting": 1,
    "running": 2,
    "waiting-input": 2,
    "cancelling": 3,
    "finished": 4,
}
STRIKING = {Timer.STEP_LIMIT, Timer.RUN_LIMIT, Timer.IDLE_LIMIT, Timer.INPUT_LIMIT}
AT_THE_KERNEL = (actions.Probe, actions.Interrupt, actions.Terminate, actions.Kill)
#: The first step that has ended so decides how its run ends.
BAD = {"error": "error", "timed-out": "timeout", "cancelled": "cancelled", "died": "lost"}
ENDED = {"ok", "error", "allowed-error", "skipped", "timed-out", "cancelled", "died", "not-run"}

NUMBERS = st.integers(0, 2**16)
MOVES = st.lists(NUMBERS, max_size=12) | st.lists(NUMBERS, min_size=25, max_size=80)


# -- the rules ------------------------------------------------------------------------------------


@dataclass
class Referee:
    """Looks at each action when it is asked for, and at the whole in the end."""

    run: Played
    said: dict[str, list[Fact]] = field(default_factory=dict)  # by request, in order of arrival
    heard: list[tuple[str, Fact]] = field(default_factory=list)  # request and fact, as they arrived
    timers: set[Timer] = field(default_factory=set)
    owner: dict[str, int] = field(default_factory=dict)  # step of each request
    attempts: dict[int, int] = field(default_factory=dict)
    interrupted: bool = False
    released: bool = False
    may_escalate: bool = False
    deaf: bool = False  # it did not even answer a question
    blocked: bool = False  # it answered, and did not begin
    behind: bool = False  # requests of others are before ours
    outran: bool = False  # a limit struck before the kernel took a step up, which may be ok yet
    checked: int = 0

    def play(self, event: events.Event) -> None:
        if isinstance(event, events.KernelSaid):
            self.said.setdefault(event.msg_id, []).append(event.fact)
            self.heard.append((event.msg_id, event.fact))
            self.behind &= event.msg_id != self.run.last_sent
        elif isinstance(event, events.TimerOver):
            self.timers.discard(event.timer)
            self.may_escalate |= event.timer in STRIKING
            self.outran |= event.timer in STRIKING and self.run.last_sent not in self.said
            self.deaf |= event.timer is Timer.PROBE_OVER
            self.blocked |= event.timer is Timer.AGAIN and not self.interrupted
        elif isinstance(event, events.CancelAsked):
            self.may_escalate |= event.escalate
        elif isinstance(event, (events.Behind, events.Reached)):
            self.behind = isinstance(event, events.Behind)
        with suppress(NotWaiting, WrongPrompt):
            self.run.hears(event)
        self.look()

    def look(self) -> None:
        for action in self.run.done[self.checked :]:
            self._look_at(action)
        self.checked = len(self.run.done)

    def _look_at(self, action: actions.Action) -> None:
        if self.released:
            assert isinstance(action, actions.Append), f"{in_words(action)} after release"
            assert getattr(action.body, "late", False), f"{in_words(action)} after release"
        if self.behind:
            assert not isinstance(action, AT_THE_KERNEL), f"{in_words(action)} would hit others"
        match action:
            case actions.SendExecute(msg_id, code, _):
                self.behind = False
                self._look_at_execute(msg_id, code or "0")  # blank code of a client is sent
            case actions.Interrupt():
                self._look_at_interrupt()
                self.interrupted = True
            case actions.Terminate() | actions.Kill():
                assert self.interrupted or self.deaf, "an interrupt is tried first"
                assert self.may_escalate or self.deaf, "interrupts alone were asked for"
            case actions.SetTimer(timer, after_s):
                assert after_s > 0
                self.timers.add(timer)
            case actions.StopTimer(timer):
                assert timer in self.timers, f"{timer} does not run"
                self.timers.discard(timer)
            case actions.Release():
                assert self.run.run.finished
                self.released = True
                self.timers.clear()

    def _look_at_execute(self, msg_id: str, code: str) -> None:
        self.interrupted = self.deaf = self.blocked = self.may_escalate = False
        if set(BAD) & set(self.run.steps):
            assert self.run.run.plan.steps[int(code)].always, "it is only cleaned up"
            assert "cancelling" not in self.run.history
        before = [old for old, owner in self.owner.items() if owner == int(code)]
        if before:  # sent again, because it was not executed
            assert not self.run.run.plan.observed
            assert ABORTED in self.said[before[-1]]
            assert IDLE in self.said[before[-1]]
            assert not any(isinstance(fact, facts.Stream) for fact in self.said[before[-1]])
        assert self.run.steps[: int(code)] == [
            state for state in self.run.steps[: int(code)] if state in ENDED
        ], "one step after the other"
        self.owner[msg_id] = int(code)
        self.attempts[int(code)] = self.attempts.get(int(code), 0) + 1
        assert self.attempts[int(code)] <= 1 + RESENDS

    def _look_at_interrupt(self) -> None:
        heard = self.said.get(self.run.last_sent, [])
        assert heard or self.blocked, "an interrupt before busy is lost, or hits the kernel"
        assert IDLE not in heard
        assert not any(isinstance(fact, facts.Replied) for fact in heard)

    def judge(self) -> None:
        """The run is over."""
        view, bodies = self.run.run.view(), self.run.bodies
        assert self.released
        assert 1 == sum(isinstance(action, actions.Release) for action in self.run.done)
        assert 1 == sum(isinstance(body, records.Completed) for body in bodies)
        ranks = [RANK[state] for state in self.run.history]
        assert sorted(ranks) == ranks, self.run.history
        assert "finished" == self.run.history[-1]
        assert self.run.history.count("finished") == 1
        assert set(self.run.steps) <= ENDED
        assert view.prompt is None
        assert SECRET not in repr(bodies) + repr(view)
        self._judge_oks()
        self._judge_clean_up()
        self._judge_output()
        sequence = [record.seq for record in self.run.stored]
        assert list(range(1, 1 + len(sequence))) == sequence

    def _judge_oks(self) -> None:
        view = self.run.run.view()
        if view.outcome == "ok":
            assert view.exit_code == 0
            assert "exited" == view.reason.code or set(self.run.steps) <= {  # type: ignore[union-attr]
                "ok",
                "allowed-error",
                "skipped",
            }
        for step in view.steps:
            if step.state == "ok" and step.msg_id is not None:
                said = self.said[step.msg_id]
                first = next(fact for fact in said if isinstance(fact, facts.Replied))
                assert first == OK or "SystemExit" in repr(said)
                assert IDLE in said

    def _judge_clean_up(self) -> None:
        """It is left out for a reason, and no step of it changes how the run ends."""
        view, plans = self.run.run.view(), self.run.run.plan.steps
        bad = [BAD[step.state] for step in view.steps if step.state in BAD]
        if bad:
            assert bad[0] == view.outcome or (self.outran and view.outcome == "timeout")
        left_out = any(
            step.state == "not-run" and plan.always and not plan.skip
            for step, plan in zip(view.steps, plans, strict=True)
        )
        if left_out and "running" in self.run.history:
            deadly = (actions.Terminate, actions.Kill)
            assert (
                "cancelling" in self.run.history
                or {"died", "cancelled"} & set(self.run.steps)
                or any(isinstance(body, records.KernelEvent) for body in self.run.bodies)
                or any(isinstance(action, deadly) for action in self.run.done)
            )

    def _judge_output(self) -> None:
        """Everything is there, with its step, in the order in which it arrived."""
        arrived = [
            (self.owner[msg_id], fact.text)
            for msg_id, fact in self.heard
            if isinstance(fact, facts.Stream) and msg_id in self.owner
        ]
        logged = [
            (action.step, action.body.text)
            for action in self.run.done
            if isinstance(action, actions.Append) and isinstance(action.body, records.LogText)
        ]
        assert arrived == logged


# -- the hostile kernel ---------------------------------------------------------------------------

FACTS: Sequence[Fact] = (
    BUSY,
    IDLE,
    OK,
    failed(),
    failed("SystemExit", "0"),
    ABORTED,
    facts.Replied("abort", execution_count=3),
    ASK,
    ASK_PASSWORD,
    printed("a"),
    printed("b", "stderr"),
    shown("c", "id"),
    facts.DisplayUpdate("id", {}, {}),
    facts.Clear(wait=True),
    raised("E", "e"),
    facts.KernelInfo("x", "5.4"),
    facts.Welcome(),
)
PROMPTS = (ASK, ASK_PASSWORD)
PLANS: Sequence[tuple[StepPlan, ...]] = (
    (StepPlan(code="0"),),
    (StepPlan(code="0"), StepPlan(code="1")),
    (StepPlan(code="0", allow_error=True), StepPlan(code="1", skip=True), StepPlan(code="2")),
    (StepPlan(code="", phase="clean"), StepPlan(code="1", phase="build"),
     StepPlan(code="2", phase="exec")),
    (StepPlan(code="0", limit=5), StepPlan(code="1"), StepPlan(code="2", always=True),
     StepPlan(code="3", always=True, limit=5), StepPlan(code="4")),
    (),
)  # fmt: skip


def hostile_moves(referee: Referee) -> Iterator[Callable[[int], events.Event]]:
    """Each takes a number to choose by; the commonest come several times."""
    run = referee.run

    def request(number: int) -> MsgId:
        known = [*referee.owner, "forged"]
        return MsgId(known[number % len(known)])

    def says(number: int) -> events.Event:
        return events.KernelSaid(request(number // 32), FACTS[number % len(FACTS)])

    def of_current(number: int) -> events.Event:
        return events.KernelSaid(run.last_sent, FACTS[number % len(FACTS)])

    yield from (of_current,) * 6
    yield says
    yield lambda number: events.CancelAsked(escalate=bool(number % 2))
    asked = run.run.prompt
    answer = SECRET if asked and asked.password else "public"
    yield from (lambda number: events.InputGiven(answer, (None, 1, 2)[number % 3]),) * 2
    if run.run.plan.observed:
        of_last = [fact for fact in referee.said.get(run.last_sent, ()) if fact in PROMPTS]
        value = SECRET if of_last[-1:] == [ASK_PASSWORD] else answer
        yield from (lambda number: events.InputSent(request(number), value),) * 2
    just_sent = run.done and isinstance(run.done[-1], actions.SendExecute)
    if just_sent and run.last_sent not in referee.said:  # it is told while it is sent
        yield from (lambda number: events.Behind(),) * 6
    yield lambda number: events.Reached()
    if referee.timers:
        timers = sorted(referee.timers)
        yield lambda number: events.TimerOver(timers[number % len(timers)])
    for action in run.done:
        if isinstance(action, actions.RaiseBarrier):
            yield lambda number, to=action: events.BarrierPassed(to.msg_id, to.prompt)  # type: ignore[misc]
        elif isinstance(action, actions.Probe):
            yield lambda number, to=action: events.ProbeAnswered(to.msg_id, to.channel)  # type: ignore[misc]
    yield lambda number: events.KernelLost(
        records.Reason(code="kernel_died", signal=("SIGINT", "SIGKILL", None)[number % 3]),
        deleted=number % 5 == 0,
    )


def start(referee: Referee, number: int) -> None:
    """Give it its turn, in one of the ways in which that can happen."""
    if number % 3:
        referee.play(events.Admitted())
    if number % 4 == 3:
        referee.play(events.CancelAsked())
    if number % 7 != 6:
        referee.play(events.KernelReady())


def wind_up(referee: Referee) -> None:
    """Let all clocks run out; what does not end by itself then ends with its kernel."""
    for _ in range(100):
        if not referee.timers:
            break
        referee.play(events.TimerOver(min(referee.timers)))
        if any(isinstance(action, actions.Kill) for action in referee.run.done):
            break
    referee.play(died(signal="SIGKILL"))


@settings(max_examples=300)
@given(
    plan=st.sampled_from(PLANS),
    limits=st.sampled_from([Limits(), LIMITS]),
    observed=st.booleans(),
    moves=MOVES,
)
def test_no_kernel_can_bring_a_run_out_of_step(
    plan: tuple[StepPlan, ...], limits: Limits, observed: bool, moves: list[int]
) -> None:
    referee = Referee(Played(*plan, mode=Mode.NOTEBOOK, limits=limits, observed=observed))
    referee.look()
    start(referee, moves[0] if moves else 0)
    for number in moves:
        possible = list(hostile_moves(referee))
        referee.play(possible[number % len(possible)](number // len(possible)))
    wind_up(referee)
    referee.judge()


# -- the honest kernel ----------------------------------------------------------------------------


@dataclass
class Honest:
    """Executes steps: numbers are printed, `?` asks, `!` raises, `-` is aborted once.

    Each socket is a queue; whoever plays takes from any of them, and so reorders between sockets.
    """

    programs: list[str]
    shell: deque[events.Event] = field(default_factory=deque)
    iopub: deque[events.Event] = field(default_factory=deque)
    stdin: deque[events.Event] = field(default_factory=deque)
    request: MsgId = field(default=MsgId(""))
    rest: str = ""
    aborted: set[str] = field(default_factory=set)

    def does(self, action: actions.Action) -> None:
        match action:
            case actions.SendExecute(msg_id, code, _):
                self.request, self.rest = msg_id, self.programs[int(code)]
                self._publish(BUSY)
                if "-" in self.rest and code not in self.aborted:
                    self.aborted.add(code)
                    self._end(ABORTED)
                else:
                    self._go_on()
            case actions.SendInput():
                self._go_on()
            case actions.Interrupt():
                if self.rest:  # it waits: nothing else of it takes any time
                    self._publish(raised("KeyboardInterrupt"))
                    self._end(failed("KeyboardInterrupt"))
            case actions.RaiseBarrier(msg_id, prompt):
                self.iopub.append(events.BarrierPassed(msg_id, prompt))
            case actions.Probe(msg_id, channel):
                ways = {Channel.IOPUB: self.iopub}
                ways.get(channel, self.shell).append(events.ProbeAnswered(msg_id, channel))

    def _go_on(self) -> None:
        while self.rest:
            word, self.rest = self.rest[0], self.rest[1:]
            if word == "?":
                self.rest = self.rest or " "
                self.stdin.append(events.KernelSaid(self.request, ASK_PASSWORD))
                return
            if word == "!":
                self._publish(raised("E"))
                self._end(failed("E"))
                return
            if word.isdigit():
                self._publish(printed(word))
        self._end(OK)

    def _publish(self, fact: Fact) -> None:
        self.iopub.append(events.KernelSaid(self.request, fact))

    def _end(self, reply: facts.Replied) -> None:
        self.rest = ""
        self.shell.append(events.KernelSaid(self.request, reply))
        self._publish(IDLE)


def play_honestly(programs: list[str], moves: list[int], *, calmly: bool) -> Referee:
    """The last one cleans up. `calmly`: nobody cancels, no clock runs out, the process lives."""
    last = len(programs) - 1
    plans = (StepPlan(code=str(i), always=i == last, limit=99) for i in range(1 + last))
    referee = Referee(Played(*plans, mode=Mode.NOTEBOOK))
    kernel = Honest(programs)
    performed = 0
    numbers = iter(moves)
    referee.play(events.KernelReady())
    while not (referee.run.run.finished and not (kernel.shell or kernel.iopub or kernel.stdin)):
        for action in referee.run.done[performed:]:
            kernel.does(action)
        performed = len(referee.run.done)
        possible: list[Callable[[], events.Event]] = [
            queue.popleft for queue in (kernel.iopub, kernel.shell, kernel.stdin) if queue
        ]
        if referee.run.run.prompt:
            possible.append(lambda: events.InputGiven(SECRET))
        number = next(numbers, 0)
        if not calmly and number % 8 == 7 and not referee.run.run.finished:
            possible.append(events.CancelAsked)
            possible += [lambda timer=timer: events.TimerOver(timer) for timer in referee.timers]  # type: ignore[misc]
        if not possible:
            break
        referee.play(possible[number // 8 % len(possible)]())
    return referee


PROGRAMS = st.lists(st.text("0123?-", min_size=1, max_size=6), min_size=1, max_size=3)


@settings(max_examples=200)
@given(programs=PROGRAMS, moves=MOVES)
def test_a_run_tells_what_its_code_did_in_the_order_of_its_code(
    programs: list[str], moves: list[int]
) -> None:
    referee = play_honestly(programs, moves, calmly=True)
    referee.judge()
    assert "ok" == referee.run.run.outcome
    told = ""
    for body in referee.run.bodies:
        if isinstance(body, records.LogText):
            told += body.text
        elif isinstance(body, records.InputAsked):
            told += "?"
    assert "".join(programs).replace("-", "") == told, "a prompt comes after what was printed"


@settings(max_examples=200)
@given(programs=PROGRAMS, moves=MOVES)
def test_whoever_cancels_and_whichever_clock_runs_out_the_run_ends(
    programs: list[str], moves: list[int]
) -> None:
    referee = play_honestly([*programs, "1!2", "3"], moves, calmly=False)
    wind_up(referee)
    referee.judge()
    assert "ok" != referee.run.run.outcome


@settings(max_examples=200)
@given(programs=PROGRAMS, moves=MOVES)
def test_behind_an_error_it_is_cleaned_up_in_whatever_order_the_sockets_speak(
    programs: list[str], moves: list[int]
) -> None:
    referee = play_honestly([*programs, "1!2", "3", "4"], moves, calmly=True)
    referee.judge()
    assert "error" == referee.run.run.outcome
    assert ["error", "not-run", "ok"] == referee.run.steps[-3:]
