"""One kernel and its runs: messages become events, events become actions, actions are done here.

Knows the queue, the kernel's generations and the order of things. Must not know owners' rights, the
web, or how a run decides (`runs/`). Each generation of the kernel is listened to by an object of
its own, so that a word of an old one is never taken for one of the new.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import ImpossibleTransition, KernelDead, MalformedMessage
from kernel_gateway.execution.losses import DELETED, RESTARTED, reason_of
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.kernels.kernel import (
    Generation,
    Kernel,
    KernelExit,
    KernelId,
    Launcher,
    LaunchRequest,
)
from kernel_gateway.messaging import facts
from kernel_gateway.messaging.facts import KernelInfo, fact_of
from kernel_gateway.messaging.message import (
    Channel,
    Header,
    Message,
    MsgId,
    execute_request,
    input_reply,
    kernel_info_request,
)
from kernel_gateway.runs import actions, events
from kernel_gateway.runs.queue import Queue, Slot
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.state import RunState
from kernel_gateway.service import KernelInfoView, KernelRequest, KernelState, Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.execution.settings import EngineSettings

log = logging.getLogger("kernel_gateway.execution")

BARRIER_LIMIT_S = 1.0  # a kernel that does not answer on control by then has no such thread
QUIET_S = 0.2  # then the barrier is iopub's silence
QUIET_CAP_S = 2.0


@dataclass(frozen=True, slots=True)
class _Listener:
    """What one generation says, marked with the generation."""

    session: KernelSession
    generation: Generation

    @property
    def _current(self) -> bool:
        return self.generation == self.session.generation

    def on_ready(self, info: KernelInfo) -> None:
        if self._current:
            self.session._on_ready(info)

    def on_message(self, message: Message) -> None:
        if self._current:
            self.session._on_message(message)

    def on_dead(self, how: KernelExit) -> None:
        if self._current:
            self.session._on_dead(how)


@dataclass(slots=True)
class _Question:
    """A kernel_info_request of ours and what follows when the awaited fact has come."""

    awaited: type[facts.Fact]
    then: Callable[[], None]


class KernelSession:
    """`<KernelSession 1f2e python3 IDLE gen=1 waiting=0>`."""

    def __init__(
        self,
        kernel_id: KernelId,
        owner: Owner,
        request: KernelRequest,
        *,
        launcher: Launcher,
        settings: EngineSettings,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.id = kernel_id
        self.owner = owner
        self.spec_name = request.name or launcher.default_spec()
        self.generation = Generation(0)
        self.queue: Queue[LiveRun] = Queue(settings.queue_bound)
        self.run_ids: dict[str, str] = {}  # of all its runs: run ID -> uid
        self._request = request
        self._launcher = launcher
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._kernel: Kernel | None = None
        self._info: KernelInfo | None = None
        self._reason: str | None = None
        self.created_at = clock.now().wall
        self._last_activity = clock.now()
        self._last_iopub = clock.now()
        self._routes: OrderedDict[MsgId, LiveRun] = OrderedDict()
        self._questions: dict[MsgId, _Question] = {}
        self._prompts: dict[MsgId, Header] = {}  # input requests, by the request they belong to
        self._tasks = Tasks(f"kernel {kernel_id}")
        self._settled = asyncio.Event()  # it is ready, or will never be
        self._restart_wanted = False
        self._deleted = False
        self._closed_by: events.KernelLost | None = None  # set once no kernel will come any more
        self._poisoned = False  # told to die for a run; may serve none after it
        self._deaths = 0  # in a row
        self._back_off: Handle | None = None
        self._dispatching = False
        self._faults = 0

    def __repr__(self) -> str:
        state = self.queue.slot.name
        waiting = len(self.queue)
        return (
            f"<KernelSession {self.id[:4]} {self.spec_name} {state} "
            f"gen={self.generation} waiting={waiting}>"
        )

    # -- the kernel --------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the next generation; at once. Raises `KernelSpecNotFound`."""
        self.generation = Generation(self.generation + 1)
        self._poisoned = False
        self._info = None
        self._kernel = self._launcher.launch(
            LaunchRequest(
                kernel_id=self.id,
                generation=self.generation,
                spec_name=self.spec_name,
                cwd=self._request.cwd,
                env=self._request.env,
                start_limit_s=self._request.start_limit_s or self._settings.start_limit_s,
            ),
            _Listener(self, self.generation),
        )

    def view(self) -> KernelInfoView:
        return KernelInfoView(
            id=self.id,
            name=self.spec_name,
            owner=self.owner,
            state=self._state(),
            generation=self.generation,
            last_activity=self._last_activity.wall,
            queue_length=len(self.queue),
            reason=self._reason,
            language_info=self._info.language_info if self._info else {},
        )

    def _state(self) -> KernelState:
        slot = self.queue.slot
        if slot is Slot.STARTING:
            first = self.generation == 1 and not self._restart_wanted and not self._poisoned
            return KernelState.STARTING if first else KernelState.RESTARTING
        return {
            Slot.IDLE: KernelState.IDLE,
            Slot.TAKEN: KernelState.BUSY,
            Slot.CLOSED: KernelState.DEAD,
        }[slot]

    async def ready(self) -> KernelInfoView:
        """When it has come up. Raises `KernelDead` with the reason when it will not."""
        await self._settled.wait()
        self.check_alive()
        return self.view()

    def check_alive(self) -> None:
        if self.queue.slot is Slot.CLOSED:
            raise KernelDead(self._reason or "The kernel is dead.")

    def restart(self) -> None:
        """At once; the run in flight ends as lost when the old process is gone."""
        self.check_alive()
        if self._restart_wanted or self._kernel is None:
            return  # it is on its way down or up already
        self._restart_wanted = True
        self._deaths = 0
        self.queue.kernel_gone()
        self._settled.clear()
        self._tasks.start(self._kernel.shutdown(self._settings.shutdown_grace_s))

    async def delete(self, grace_s: float | None = None) -> None:
        """Returns when the process is gone and every run has its end."""
        grace_s = self._settings.shutdown_grace_s if grace_s is None else grace_s
        first, self._deleted = not self._deleted, True
        if first:
            self._close(DELETED, deleted=True)
        if self._kernel is not None:
            await self._kernel.shutdown(grace_s)
        self._end_in_flight(DELETED, deleted=True)
        await self._tasks.join()

    def interrupt(self) -> None:
        """The run in flight is cancelled, by interrupts only; harmless when there is none."""
        live = self.queue.in_flight
        if live is not None:
            self.feed(live, events.CancelAsked("interrupted", escalate=False))

    def _on_ready(self, info: KernelInfo) -> None:
        if self._deleted or self._restart_wanted:
            return  # it is on its way down already
        self._info = info
        self._reason = None
        self._settled.set()
        self.queue.kernel_up()
        self._touch()
        live = self.queue.in_flight
        if live is not None:
            self._begin(live)
        self._dispatch()

    def _on_dead(self, how: KernelExit) -> None:
        """Everything it had still sent has been told before."""
        self._kernel = None
        self._questions.clear()
        self._prompts.clear()
        self.queue.kernel_gone()
        self._touch()
        reason = self._reason_of(how)
        if how.start_fault is not None and not self._deleted and not self._restart_wanted:
            self._close(reason, deleted=False)
        self._end_in_flight(reason, deleted=self._deleted)
        if not self._deleted and self.queue.slot is not Slot.CLOSED:
            self._replace(reason)

    def _reason_of(self, how: KernelExit) -> Reason:
        if self._deleted:
            return DELETED
        return RESTARTED if self._restart_wanted else reason_of(how)

    def _end_in_flight(self, reason: Reason, *, deleted: bool) -> None:
        """But for a run that only waits for a kernel, when another kernel will come."""
        live = self.queue.in_flight
        waits = live is not None and live.machine.state is RunState.STARTING
        if live is not None and not (waits and self._closed_by is None):
            self.feed(live, events.KernelLost(reason, deleted=deleted))

    def _replace(self, reason: Reason) -> None:
        """Start the next generation, later and later when they die one after the other."""
        asked, self._restart_wanted = self._restart_wanted, False
        self._deaths += 0 if asked or self._poisoned else 1
        if self._deaths > self._settings.restart_limit:
            text = f"{reason.message} It died {self._deaths} times in a row."
            self._close(Reason(code=reason.code, message=text, signal=reason.signal), deleted=False)
        elif self._deaths <= 1:
            self._relaunch()
        else:
            delay = self._settings.restart_backoff_s * 2 ** (self._deaths - 2)
            delay = min(delay, self._settings.restart_backoff_most_s)
            self._back_off = self._clock.call_later(delay, self._relaunch)

    def _relaunch(self) -> None:
        self._back_off = None
        self._settled.clear()
        try:
            self.launch()
        except Exception as fault:  # the kernelspec is gone, or its provisioner fails
            log.warning("kernel %s cannot be started again: %s", self.id, fault)
            message = f"The kernel could not be started again: {fault}"
            self._close(Reason(code="kernel_start_failed", message=message), deleted=False)

    def _close(self, reason: Reason, *, deleted: bool) -> None:
        """No kernel will come any more: those that waited for one end now."""
        self._reason = reason.message
        self._closed_by = events.KernelLost(reason, deleted=deleted)
        if self._back_off is not None:
            self._back_off.cancel()
            self._back_off = None
        for live in self.queue.close():
            self.feed(live, self._closed_by)
        if self._kernel is None:
            self._end_in_flight(reason, deleted=deleted)
        self._settled.set()

    # -- runs --------------------------------------------------------------------------------------

    def put(self, live: LiveRun) -> None:
        """It is stored: it may have its turn. It may have been cancelled meanwhile, or the kernel
        may be gone for good."""
        if live.machine.finished:
            return
        if self._closed_by is not None:
            self.feed(live, self._closed_by)
            return
        self.queue.put(live)
        self._dispatch()

    def feed(self, live: LiveRun, event: events.Event) -> None:
        """One event, and what it asks for. Raises what the caller of an input did wrong."""
        try:
            asked = live.machine.receive(event, self._clock.now())
        except ImpossibleTransition:
            log.exception("kernel %s, %r: a bug of the gateway; the kernel is replaced", self, live)
            asked = [actions.Kill()]
        for action in asked:
            self.perform(live, action)

    def perform(self, live: LiveRun, action: actions.Action) -> None:
        _DO[type(action)](self, live, action)

    def _dispatch(self) -> None:
        """Give turns until somebody has it. A run may end within its turn, and come back here."""
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while (live := self.queue.admit()) is not None:
                live.generation = self.generation
                if self.queue.slot is Slot.TAKEN:
                    self._begin(live)
                else:
                    self.feed(live, events.Admitted())
        finally:
            self._dispatching = False

    def _begin(self, live: LiveRun) -> None:
        live.generation = self.generation
        self.feed(live, events.KernelReady())

    def _append(self, live: LiveRun, action: actions.Append) -> None:
        live.append(action.body, action.step, self._clock.now())

    def _send_execute(self, live: LiveRun, action: actions.SendExecute) -> None:
        self._routes[action.msg_id] = live
        self._forget_oldest()
        request = execute_request(action.msg_id, action.code, allow_stdin=action.allow_stdin)
        if self._kernel is not None:
            self._kernel.send(request)

    def _forget_oldest(self) -> None:
        while len(self._routes) > self._settings.recent_runs:
            self._routes.popitem(last=False)

    def _send_input(self, live: LiveRun, action: actions.SendInput) -> None:
        prompt = self._prompts.pop(action.msg_id, None)
        if self._kernel is not None:
            reply = input_reply(self._new_msg_id(), action.value, parent=prompt)
            self._kernel.send(reply)

    def _set_timer(self, live: LiveRun, action: actions.SetTimer) -> None:
        def over() -> None:
            live.timers.pop(action.timer, None)
            self.feed(live, events.TimerOver(action.timer))

        self._stop_timer(live, action)
        live.timers[action.timer] = self._clock.call_later(action.after_s, over)

    def _stop_timer(self, live: LiveRun, action: actions.StopTimer | actions.SetTimer) -> None:
        handle = live.timers.pop(action.timer, None)
        if handle is not None:
            handle.cancel()

    def _interrupt(self, live: LiveRun, action: actions.Interrupt) -> None:
        if self._kernel is not None:
            self._tasks.start(self._kernel.interrupt())

    def _terminate(self, live: LiveRun, action: actions.Terminate) -> None:
        self._poison()
        if self._kernel is not None:
            self._tasks.start(self._kernel.terminate())

    def _kill(self, live: LiveRun, action: actions.Kill) -> None:
        self._poison()
        if self._kernel is not None:
            self._tasks.start(self._kernel.kill())

    def _poison(self) -> None:
        self._poisoned = True
        self._settled.clear()
        self.queue.kernel_gone()

    def _release(self, live: LiveRun, action: actions.Release) -> None:
        for handle in live.timers.values():
            handle.cancel()
        live.timers.clear()
        self.queue.release(live)
        self._touch()
        if self._kernel is not None:
            if self._poisoned:
                self._tasks.start(self._kernel.kill())  # it survived what was meant to end it
            else:
                self._deaths = 0
        self._dispatch()

    # -- what the kernel says ----------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        if message.channel is Channel.IOPUB:
            self._last_iopub = self._clock.now()
        parent = message.parent_id
        if parent is None:
            return
        question = self._questions.get(parent)
        live = self._routes.get(parent)
        if question is None and live is None:
            return
        fact = self._fact_of(message)
        if fact is None:
            return
        if question is not None:
            self._answered(parent, question, fact)
        elif live is not None:
            self._heard(live, parent, fact, message)

    def _fact_of(self, message: Message) -> facts.Fact | None:
        """The fact, if it came over the channel where such facts are at home."""
        try:
            fact = fact_of(message)
        except MalformedMessage as fault:
            self._faults += 1
            if self._faults & (self._faults - 1) == 0:  # the first, and at each power of two
                log.warning("kernel %s: %d malformed messages: %s", self.id, self._faults, fault)
            return None
        home = _HOMES.get(type(fact), frozenset({Channel.IOPUB}))
        return fact if message.channel in home else None

    def _heard(self, live: LiveRun, parent: MsgId, fact: facts.Fact, message: Message) -> None:
        self._touch()
        if isinstance(fact, facts.InputRequested):
            self._prompts[parent] = message.header
        self.feed(live, events.KernelSaid(parent, fact))

    def _touch(self) -> None:
        self._last_activity = self._clock.now()

    # -- questions of ours -------------------------------------------------------------------------

    def _probe(self, live: LiveRun, action: actions.Probe) -> None:
        """Is the kernel well? Then the reply it has not sent will not come."""
        self._ask(facts.KernelInfo, lambda: self.feed(live, events.ProbeAnswered(action.msg_id)))

    def _raise_barrier(self, live: LiveRun, action: actions.RaiseBarrier) -> None:
        """Its idle comes over the socket of the output, behind all that was printed before."""
        passed = False

        def passes() -> None:
            nonlocal passed
            if not passed:
                passed = True
                self.feed(live, events.BarrierPassed(action.msg_id, action.prompt))

        self._ask(facts.Idle, passes)
        deadline = self._clock.now().mono + BARRIER_LIMIT_S + QUIET_CAP_S

        def look() -> None:
            now = self._clock.now().mono
            if passed or live.machine.finished:
                return
            if now >= deadline or now - self._last_iopub.mono >= QUIET_S:
                passes()
            else:
                self._clock.call_later(QUIET_S, look)

        self._clock.call_later(BARRIER_LIMIT_S, look)

    def _ask(self, awaited: type[Any], then: Callable[[], None]) -> None:
        msg_id = self._new_msg_id()
        self._questions[msg_id] = _Question(awaited, then)
        if self._kernel is not None:
            self._kernel.send(kernel_info_request(msg_id, Channel.CONTROL))

    def _answered(self, msg_id: MsgId, question: _Question, fact: facts.Fact) -> None:
        if isinstance(fact, question.awaited):
            del self._questions[msg_id]
            question.then()

    def _new_msg_id(self) -> MsgId:
        return MsgId(self._new_id())


_HOMES: Mapping[type, frozenset[Channel]] = {
    facts.Replied: frozenset({Channel.SHELL}),
    facts.InputRequested: frozenset({Channel.STDIN}),
    facts.KernelInfo: frozenset({Channel.SHELL, Channel.CONTROL}),
}

_DO: Mapping[type, Callable[[KernelSession, LiveRun, Any], None]] = {
    actions.Append: KernelSession._append,
    actions.SendExecute: KernelSession._send_execute,
    actions.SendInput: KernelSession._send_input,
    actions.RaiseBarrier: KernelSession._raise_barrier,
    actions.Probe: KernelSession._probe,
    actions.Interrupt: KernelSession._interrupt,
    actions.Terminate: KernelSession._terminate,
    actions.Kill: KernelSession._kill,
    actions.SetTimer: KernelSession._set_timer,
    actions.StopTimer: KernelSession._stop_timer,
    actions.Release: KernelSession._release,
}
