"""One kernel of a session, over all its generations: started, spoken to, replaced when it dies.

Knows messages, and what becomes of processes. Must not know queues, owners' rights, the web, or how
a run decides (`runs/`). Each generation is listened to by an object of its own, so that a word of
an old one is never taken for one of the new.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from kernel_gateway.errors import KernelDead, MalformedMessage
from kernel_gateway.execution.losses import DELETED, RESTARTED, RETIRED, not_launched, reason_of
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.kernels.kernel import (
    Generation,
    Kernel,
    KernelExit,
    Launcher,
    LaunchRequest,
    ProcessOutput,
)
from kernel_gateway.kernels.prepared import quiet_expression
from kernel_gateway.messaging import facts
from kernel_gateway.messaging.facts import KernelInfo, fact_of
from kernel_gateway.messaging.message import (
    VALUE,
    Channel,
    Header,
    MsgId,
    Request,
    complete_request,
    evaluate_request,
    execute_request,
    input_reply,
    kernel_info_request,
)
from kernel_gateway.runs import actions, events
from kernel_gateway.runs.records import KernelIntroduced, Reason
from kernel_gateway.runs.state import RunState
from kernel_gateway.scope import METADATA_KEY
from kernel_gateway.service import KernelOutput, KernelState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.execution.relay import Key
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.kernels.kernel import KernelId
    from kernel_gateway.messaging.raw import RawMessage
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.masking import Mask
    from kernel_gateway.service import Owner

log = logging.getLogger("kernel_gateway.execution")

F = TypeVar("F", bound=facts.Fact)

BARRIER_LIMIT_S = 1.0  # a kernel that does not answer on control by then has no such thread
QUIET_S = 0.2  # then the barrier is iopub's silence
QUIET_CAP_S = 2.0

OBSERVED_TEXT_S = 0.02
TEXT_CHARS = 2**16  # so much of a stream is told to a run at once

_IOPUB = Channel.IOPUB  # asked of each message, and a member is ten times as far from its class

NEVER = Generation(0)  # of a kernel that was not launched yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What every generation of a kernel is started from."""

    kernel_id: KernelId
    owner: Owner
    spec_name: str
    cwd: Path | None
    env: Mapping[str, str] = field(repr=False)
    mask: Mask | None = None  # of what nobody is to see
    artifact_dir: Path | None  # where its runs leave files
    start_limit_s: float


class Host(Protocol):
    """The session that a kernel works for."""

    def lives_on(self, kernel: ManagedKernel) -> list[LiveRun]:
        """The run that has its turn there, and those that clients have sent to this generation."""

    def hear(self, kernel: ManagedKernel, message: RawMessage) -> None:
        """What it says, unless it answers a question of ours; before it is told to a run."""

    def feed(self, live: LiveRun, event: events.Event) -> None: ...

    def lose(self, live: LiveRun, why: events.KernelLost) -> None:
        """Its kernel is gone."""

    def touch(self) -> None:
        """Something happened."""

    def on_up(self, kernel: ManagedKernel) -> None:
        """It can execute what waits for it."""

    def on_replaced(self, kernel: ManagedKernel) -> None:
        """Its process has died, and another will take its place."""

    def on_closed(self, kernel: ManagedKernel, why: events.KernelLost) -> None:
        """No generation will follow any more: what waits for it waits in vain."""


@dataclass(frozen=True, slots=True)
class _Listener:
    """What one generation says, marked with the generation."""

    kernel: ManagedKernel
    generation: Generation

    @property
    def _current(self) -> bool:
        return self.generation == self.kernel.generation

    def on_ready(self, info: KernelInfo) -> None:
        if self._current:
            self.kernel._on_ready(info)

    def on_message(self, message: RawMessage) -> None:
        if self.generation == self.kernel.generation:  # not by the property: it is asked very often
            self.kernel._on_message(message)

    def on_dead(self, how: KernelExit) -> None:
        if self._current:
            self.kernel._on_dead(how)


@dataclass(slots=True)
class _Text:
    """What a run has printed on one stream since it was last told so."""

    live: LiveRun
    key: Key
    name: str
    parts: list[str]
    chars: int

    def takes(self, live: LiveRun, fact: facts.Stream) -> bool:
        """Whether it goes on; then it is taken."""
        if self.live is not live or self.name != fact.name or self.chars > TEXT_CHARS:
            return False
        self.parts.append(fact.text)
        self.chars += len(fact.text)
        return True


@dataclass(slots=True)
class _Question:
    """A request of ours and what follows when the awaited fact has come."""

    awaited: type[Any]  # a fact
    then: Callable[[Any], None]
    lost: Callable[[], None]  # the kernel has died: no answer will come
    live: LiveRun | None = None  # the run that it is about: void when that is over


class ManagedKernel:
    """`<ManagedKernel 1f2e python3 gen=1 up>`."""

    def __init__(
        self,
        recipe: Recipe,
        host: Host,
        *,
        launcher: Launcher,
        settings: EngineSettings,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.recipe = recipe
        self.generation = NEVER
        self.is_up = False  # false while it is poisoned, too: it can never report idle then
        self.closed_by: events.KernelLost | None = None  # set once no generation will follow
        self.reason: str | None = None  # of a death or a failed start
        self.info: KernelInfo | None = None
        self._host = host
        self._launcher = launcher
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._kernel: Kernel | None = None
        self._last_output = ProcessOutput()  # of a process that is gone
        self.says_busy = False  # by its last status that was not because of a question of ours
        self._said = 0  # messages over iopub
        self._text: _Text | None = None  # that its run is to be told
        self._session = ""  # in the parent of all that is because of us
        self._routes: OrderedDict[Key, LiveRun] = OrderedDict()
        self._questions: dict[MsgId, _Question] = {}
        self._prompts: dict[Key, Header] = {}  # input requests, by the request they belong to
        self._tasks = Tasks(f"kernel {recipe.kernel_id}")
        self._settled = asyncio.Event()  # it is up, or will never be
        self._restart_wanted = False
        self._deleted = False
        self._farewell = DELETED  # why it was
        self._retired = False  # a client has told it to end
        self._poisoned = False  # told to die for a run; may serve none after it
        self._deaths = 0  # in a row
        self._back_off: Handle | None = None
        self._faults = 0

    def __repr__(self) -> str:
        state = "closed" if self.closed_by else "up" if self.is_up else "starting"
        recipe = self.recipe
        return (
            f"<ManagedKernel {recipe.kernel_id[:4]} {recipe.spec_name} {self.generation} {state}>"
        )

    @property
    def introduced(self) -> KernelIntroduced | None:
        """None: it is not up, or was never."""
        info = self.info
        if info is None:
            return None
        return KernelIntroduced(
            name=self.recipe.spec_name,
            implementation=info.implementation,
            version=info.version,
            language_info=info.language_info,
        )

    # -- its life ----------------------------------------------------------------------------------

    def launch(self, *, after: Generation = NEVER) -> None:
        """Start the next generation; at once. Raises `KernelSpecNotFound`.

        `after`: of another kernel, whose place this one takes.
        """
        if self.closed_by is not None:
            return
        self.generation = Generation(max(self.generation, after) + 1)
        self._poisoned = False
        self.info = None
        recipe = self.recipe
        self._kernel = self._launcher.launch(
            LaunchRequest(
                kernel_id=recipe.kernel_id,
                generation=self.generation,
                spec_name=recipe.spec_name,
                owner=recipe.owner,
                cwd=recipe.cwd,
                env=recipe.env,
                artifact_dir=recipe.artifact_dir,
                start_limit_s=recipe.start_limit_s,
            ),
            _Listener(self, self.generation),
        )
        self._session = self._kernel.session
        self.says_busy = False

    @property
    def takes_requests(self) -> bool:
        """What is sent now reaches a generation that is there, and not on its way up or down."""
        return self.is_up and not (self._is_going or self._poisoned)

    @property
    def can_begin(self) -> bool:
        """It is up, and at this very moment its process lives: a death is told some time after it,
        and a run that is sent in between would be lost. What clients send goes to where they
        think that they are: a cell behind one that has died belongs to what died with it."""
        return self.is_up and self._kernel is not None and self._kernel.alive

    @property
    def has_process(self) -> bool:
        """Or one that is on its way up, or down."""
        return self._kernel is not None

    def output(self) -> KernelOutput:
        said = self._last_output if self._kernel is None else self._kernel.output()
        mask = self.recipe.mask
        text = said.text if mask is None else _masked_end(mask, said.text, said.dropped)
        return KernelOutput(text, said.dropped, self.generation)

    def is_ours(self, session: str) -> bool:
        """Whether requests with this in their header are ours."""
        return session == self._session

    def state(self, *, busy: bool) -> KernelState:
        if self.closed_by is not None:
            return KernelState.DEAD
        if not self.is_up:
            return self._state_of_start()
        return KernelState.BUSY if busy or self.says_busy else KernelState.IDLE

    def _state_of_start(self) -> KernelState:
        if self._deaths or self._poisoned:
            return KernelState.AUTORESTARTING
        first = self.generation <= 1 and not self._restart_wanted
        return KernelState.STARTING if first else KernelState.RESTARTING

    async def ready(self) -> None:
        """When it has come up. Raises `KernelDead` with the reason when it will not."""
        await self._settled.wait()
        self.check_alive()

    @property
    def _is_going(self) -> bool:
        """Somebody has asked for its end: that is then the end of its run, too."""
        return self._deleted or self._restart_wanted or self._retired

    def check_alive(self) -> None:
        if self.closed_by is not None:
            raise KernelDead(self.reason or "The kernel is dead.")

    def restart(self) -> None:
        """At once; the run in flight ends as lost when the old process is gone. One that is dead
        begins anew."""
        if self._deleted:
            self.check_alive()
        if self.closed_by is not None:
            self._revive()
            return
        if self._back_off is not None:  # no need to wait any longer
            self._back_off.cancel()
            self._deaths = 0
            self._relaunch()
            return
        if self._restart_wanted or self._kernel is None:
            return  # it is on its way down or up already
        self._restart_wanted = True
        self._retired = False
        self._deaths = 0
        self.is_up = False
        self._settled.clear()
        self._tasks.start(self._kernel.shutdown(self._settings.shutdown_grace_s))

    def _revive(self) -> None:
        self.closed_by = self.reason = None
        self._deaths = 0
        self._retired = False
        self._settled.clear()
        self._relaunch()

    def retire(self) -> None:
        """A client has told it to end: no generation follows its death, unless somebody asks."""
        if self._back_off is not None:
            self._close(RETIRED)
        elif self._kernel is not None and not self._is_going:
            self._retired = True
            self.is_up = False
            self._tasks.start(self._kernel.shutdown(self._settings.shutdown_grace_s))

    def delete(self, why: Reason = DELETED) -> None:
        """No generation follows. The process is still there: await `gone`."""
        if not self._deleted:
            self._deleted = True
            self._farewell = why
            self._close(why)

    async def gone(self, grace_s: float) -> None:
        """Returns when the process is gone and its run has its end."""
        if self._kernel is not None:
            await self._kernel.shutdown(grace_s)
        self._end_in_flight(self._farewell)
        await self._tasks.join()

    async def wait_gone(self) -> None:
        """When somebody else ends it."""
        if self._kernel is not None:
            await self._kernel.wait_dead()

    def released(self, live: LiveRun) -> None:
        """A run of it is over."""
        for key in [one for one in self._prompts if self._routes.get(one) is live]:
            del self._prompts[key]
        for msg_id in [one for one, asked in self._questions.items() if asked.live is live]:
            del self._questions[msg_id]
        if self._kernel is None:
            return
        if self._poisoned:
            self._tasks.start(self._kernel.kill())  # it survived what was meant to end it
        else:
            self._deaths = 0

    def _on_ready(self, info: KernelInfo) -> None:
        if self._is_going:
            return
        self.info = info
        if self._kernel is not None:  # it was told no sooner which process serves it
            self._session = self._kernel.session
        self.reason = None
        self.is_up = True
        self._settled.set()
        self._host.on_up(self)

    def _on_dead(self, how: KernelExit) -> None:
        """Everything it had still sent has been told before."""
        if self._kernel is not None:
            self._last_output = self._kernel.output()
        self._kernel = None
        self._forget_questions()
        self._prompts.clear()
        self.is_up = False
        if self.closed_by is None:
            self._settled.clear()
        self._host.touch()
        reason = self._reason_of(how)
        given_up = how.start_fault is not None and not self._restart_wanted
        if self.closed_by is None and (given_up or self._retired):
            self._close(reason)
        self._end_in_flight(reason)
        if self.closed_by is None:
            if not self._restart_wanted:
                self._host.on_replaced(self)
            self._replace(reason)

    def _reason_of(self, how: KernelExit) -> Reason:
        if self._deleted:
            return self._farewell
        if self._restart_wanted:
            return RESTARTED
        return RETIRED if self._retired else self._masked(reason_of(self._with_masked_tail(how)))

    def _with_masked_tail(self, how: KernelExit) -> KernelExit:
        """All of it, for a reason tells less, and that could begin within something."""
        mask, dropped = self.recipe.mask, self._last_output.dropped
        if mask is None:
            return how
        return replace(how, stderr_tail=_masked_end(mask, how.stderr_tail, dropped))

    def _masked(self, reason: Reason) -> Reason:
        mask = self.recipe.mask
        return reason if mask is None else mask.reason(reason)

    def _end_in_flight(self, reason: Reason) -> None:
        """But for a run that only waits for a kernel, when another generation will come."""
        for live in self._host.lives_on(self):
            waits = live.machine.state is RunState.STARTING and not live.machine.plan.observed
            if self.closed_by is not None or not waits:
                self._host.lose(live, events.KernelLost(reason, deleted=self._deleted))

    def _replace(self, reason: Reason) -> None:
        """Start the next generation, later and later when they die one after the other."""
        asked, self._restart_wanted = self._restart_wanted, False
        self._deaths += 0 if asked or self._poisoned else 1
        if self._deaths > self._settings.restart_limit:
            text = f"{reason.message} It died {self._deaths} times in a row."
            self._close(Reason(code=reason.code, message=text, signal=reason.signal))
        elif self._deaths <= 1:
            self._relaunch()
        else:
            delay = self._settings.restart_backoff_s * 2 ** (self._deaths - 2)
            delay = min(delay, self._settings.restart_backoff_most_s)
            self._back_off = self._clock.call_later(delay, self._relaunch)

    def _relaunch(self) -> None:
        self._back_off = None
        try:
            self.launch()
        except Exception as fault:  # the kernelspec is gone, or its provisioner fails
            log.warning("%r cannot be started again: %s", self, fault)
            self._close(not_launched(fault))

    def _close(self, reason: Reason) -> None:
        reason = self._masked(reason)
        self.reason = reason.message
        self.closed_by = events.KernelLost(reason, deleted=self._deleted)
        self.is_up = False
        if self._back_off is not None:
            self._back_off.cancel()
            self._back_off = None
        self._host.on_closed(self, self.closed_by)
        if self._kernel is None:
            self._end_in_flight(reason)
        self._settled.set()

    # -- what a run wants of it --------------------------------------------------------------------

    def perform(self, live: LiveRun, action: actions.Action) -> None:
        _DO[type(action)](self, live, action)

    def _send_execute(self, live: LiveRun, action: actions.SendExecute) -> None:
        self.route((self._session, action.msg_id), live)
        self._send(
            execute_request(
                action.msg_id,
                action.code,
                allow_stdin=action.allow_stdin,
                metadata={METADATA_KEY: self._scope_of(live)},
            )
        )

    def _scope_of(self, live: LiveRun) -> Json:
        """What `kernel_gateway.scope` tells the code of its run."""
        identity = live.identity
        scope: dict[str, Json] = {
            "run_id": identity.run_id,
            "uid": identity.uid,
            "context": dict(identity.plan.context),
        }
        if self.recipe.artifact_dir is not None:
            scope["artifact_dir"] = str(self.recipe.artifact_dir)
        return scope

    def route(self, key: Key, live: LiveRun) -> None:
        """What comes of this request belongs to the run."""
        self._routes[key] = live
        for _ in range(min(2, len(self._routes) - self._settings.recent_runs)):
            oldest, run = next(iter(self._routes.items()))
            if run.machine.finished:
                del self._routes[oldest]
            else:  # cells of clients, of which any number may wait
                self._routes.move_to_end(oldest)

    def routed(self, key: Key) -> LiveRun | None:
        return self._routes.get(key)

    def pass_on(self, message: RawMessage) -> None:
        """A client's, as it came. See `takes_requests`."""
        if self._kernel is not None:
            self._kernel.send(message)

    def _send_input(self, live: LiveRun, action: actions.SendInput) -> None:
        prompt = self.take_prompt(live)
        self._send(input_reply(self._new_msg_id(), action.value, parent=prompt))

    def take_prompt(self, live: LiveRun) -> Header | None:
        """Its open prompt, which is being answered: nobody else can any more."""
        key = next((one for one in self._prompts if self._routes.get(one) is live), None)
        return self._prompts.pop(key) if key is not None else None

    def interrupt(self) -> None:
        """Once, whatever it executes."""
        if self._kernel is not None:
            self._tasks.start(self._kernel.interrupt())

    def _send(self, request: Request) -> None:
        if self._kernel is not None:
            self._kernel.send(request)

    def _interrupt(self, live: LiveRun, action: actions.Interrupt) -> None:
        self.interrupt()

    def _terminate(self, live: LiveRun, action: actions.Terminate) -> None:
        if self._kernel is not None:
            self._poison(self._kernel.terminate())

    def _kill(self, live: LiveRun, action: actions.Kill) -> None:
        if self._kernel is not None:
            self._poison(self._kernel.kill())

    def _poison(self, end: Coroutine[Any, Any, None]) -> None:
        self._poisoned = True
        self._settled.clear()
        self.is_up = False
        self._tasks.start(end)

    # -- what it says ------------------------------------------------------------------------------

    def _on_message(self, message: RawMessage) -> None:
        if message.channel is _IOPUB:
            self._said += 1
        parent = message.parent
        if parent is None:
            self._host.hear(self, message)
            return
        key = parent.session, parent.msg_id
        live = self._routes.get(key)
        if live is None and parent.session == self._session:
            self._answered(parent.msg_id, message)
            return
        self._host.hear(self, message)
        if live is None and message.msg_type != "status":
            return  # of a client's request that is no run
        if message.msg_type in facts.COMMS and live is not None and not live.machine.keeps_comms:
            return  # there can be very many, and it costs to read one
        fact = self._fact_of(message)
        if live is not None and isinstance(fact, facts.Stream):  # first: of these there are many
            self._gather(live, key, fact)
            return
        if isinstance(fact, facts.Busy | facts.Idle):
            self.says_busy = isinstance(fact, facts.Busy)
        if live is not None and fact is not None:
            self._heard(live, key, fact, message)

    def _fact_of(self, message: RawMessage) -> facts.Fact | None:
        """The fact, if it came over the channel where such facts are at home."""
        try:
            fact = fact_of(message)
        except MalformedMessage as fault:
            self._faults += 1
            if self._faults & (self._faults - 1) == 0:  # the first, and at each power of two
                log.warning("%r: %d malformed messages: %s", self, self._faults, fault)
            return None
        home = _HOMES.get(type(fact), _ANY_OUTPUT)
        return fact if message.channel in home else None

    def _heard(self, live: LiveRun, key: Key, fact: facts.Fact, message: RawMessage) -> None:
        self._host.touch()
        if self._is_going and isinstance(fact, facts.Replied | facts.Idle):
            return  # it says so of code that it has ended itself, because it was told to go
        if isinstance(fact, facts.InputRequested):
            self._prompts[key] = message.header
        self._host.feed(live, events.KernelSaid(MsgId(key[1]), fact))

    def _gather(self, live: LiveRun, key: Key, fact: facts.Stream) -> None:
        """A flood of small prints is told in texts, one for each drain of the socket at most: to
        tell a run costs more than all the rest. A run that is only observed can wait for longer,
        since its client was told already."""
        if self._text is not None and self._text.takes(live, fact):
            return
        self.tell_text()
        self._text = _Text(live, key, fact.name, [fact.text], len(fact.text))
        wait_s = OBSERVED_TEXT_S if live.machine.plan.observed else 0.0
        asyncio.get_running_loop().call_later(wait_s, self.tell_text)

    def tell_text(self) -> None:
        """Before anything else is told to a run, so that all is in its order."""
        text, self._text = self._text, None
        if text is not None:
            self._host.touch()
            fact = facts.Stream(text.name, "".join(text.parts))
            self._host.feed(text.live, events.KernelSaid(MsgId(text.key[1]), fact))

    # -- questions of ours -------------------------------------------------------------------------

    def _probe(self, live: LiveRun, action: actions.Probe) -> None:
        over = action.channel
        self._ask_info(
            live,
            Channel.CONTROL if over is Channel.CONTROL else Channel.SHELL,
            facts.Idle if over is Channel.IOPUB else facts.KernelInfo,
            lambda: self._host.feed(live, events.ProbeAnswered(action.msg_id, over)),
        )

    def _raise_barrier(self, live: LiveRun, action: actions.RaiseBarrier) -> None:
        """Its idle comes over the socket of the output, behind all that was printed before."""
        passed = False
        said = -1

        def passes() -> None:
            nonlocal passed
            if not passed:
                passed = True
                self._host.feed(live, events.BarrierPassed(action.msg_id, action.prompt))

        self._ask_info(live, Channel.CONTROL, facts.Idle, passes)
        deadline = self._clock.now().mono + BARRIER_LIMIT_S + QUIET_CAP_S

        def look() -> None:
            nonlocal said
            if passed or live.machine.finished:
                return
            if said == self._said or self._clock.now().mono >= deadline:
                passes()
            else:
                said = self._said
                self._clock.call_later(QUIET_S, look)

        self._clock.call_later(BARRIER_LIMIT_S, look)

    def _ask_info(
        self, live: LiveRun, channel: Channel, awaited: type[Any], then: Callable[[], None]
    ) -> None:
        request = kernel_info_request(self._new_msg_id(), channel)
        self._ask(request, _Question(awaited, lambda fact: then(), lost=_nothing, live=live))

    async def completions(self, code: str, cursor: int, limit_s: float) -> facts.Completions | None:
        """None when there is no answer in time, or the kernel dies meanwhile."""
        request = complete_request(self._new_msg_id(), code, cursor)
        return await self._in_time(self.ask(request, facts.Completions), limit_s)

    def warm_completions(self, code: str) -> None:
        """The answer is of no interest: the next one will come sooner."""
        self._send(complete_request(self._new_msg_id(), code, len(code)))

    def ask(self, request: Request, awaited: type[F]) -> asyncio.Future[F | None]:
        """The fact that answers it; None when the process is gone, and no answer will come. It may
        take for ever; settle it to hear no more of it."""
        told: asyncio.Future[F | None] = asyncio.get_running_loop().create_future()
        told.add_done_callback(lambda _: self._questions.pop(request.msg_id, None))
        self._ask(
            request,
            _Question(
                awaited,
                then=lambda fact: _settle(told, fact),
                lost=lambda: _settle(told, None),
            ),
        )
        if self._kernel is None:
            told.set_result(None)
        return told

    async def is_heard(self, limit_s: float | None = None) -> bool:
        """All that it has said by now; False: it does not answer in time, or is gone. Without a
        limit it may take for ever."""
        # Its idle comes over the socket of the output, behind all that was said before.
        asked = self.ask(kernel_info_request(self._new_msg_id(), Channel.CONTROL), facts.Idle)
        answered = await (asked if limit_s is None else self._in_time(asked, limit_s))
        self.tell_text()
        return answered is not None

    async def _in_time(self, told: asyncio.Future[F | None], limit_s: float) -> F | None:
        over = self._clock.call_later(limit_s, lambda: _settle(told, None))
        try:
            return await told
        finally:
            over.cancel()

    async def is_quiet(self) -> bool:
        """Whether nothing that its code has left behind can say anything more, and all that was
        said is heard; False: nobody knows. It may take for ever."""
        expression = quiet_expression(self.info)
        if expression is None:
            return False
        for _ in range(2):  # what the stream has got before the first is flushed before the second
            asked = evaluate_request(self._new_msg_id(), expression)
            replied = await self.ask(asked, facts.Replied)
            if replied is None or not _is_true(replied.expressions.get(VALUE)):
                return False
        return await self.is_heard()  # that answer came over another socket than the output

    def _ask(self, request: Request, question: _Question) -> None:
        self._questions[request.msg_id] = question
        self._send(request)

    def _forget_questions(self) -> None:
        questions, self._questions = self._questions, {}
        for question in questions.values():
            question.lost()

    def _answered(self, msg_id: MsgId, message: RawMessage) -> None:
        question = self._questions.get(msg_id)
        if question is None:
            return
        fact = self._fact_of(message)
        if isinstance(fact, question.awaited):
            del self._questions[msg_id]
            question.then(fact if self.recipe.mask is None else self.recipe.mask.fact(fact))

    def _new_msg_id(self) -> MsgId:
        return MsgId(self._new_id())


def _nothing() -> None:
    pass


def _masked_end(mask: Mask, text: str, dropped: int) -> str:
    """Of what the process wrote itself."""
    return mask.end(text) if dropped else mask.text(text)


def _is_true(value: Json) -> bool:
    """Of an expression."""
    data = value.get("data") if isinstance(value, dict) else None
    return isinstance(data, dict) and data.get("text/plain") == "True"


def _settle(told: asyncio.Future[Any], value: object) -> None:
    if not told.done():
        told.set_result(value)


_ANY_OUTPUT = frozenset({Channel.IOPUB})
_HOMES: Mapping[type, frozenset[Channel]] = {
    facts.Replied: frozenset({Channel.SHELL}),
    facts.Completions: frozenset({Channel.SHELL}),
    facts.InputRequested: frozenset({Channel.STDIN}),
    facts.KernelInfo: frozenset({Channel.SHELL, Channel.CONTROL}),
    facts.SubshellMade: frozenset({Channel.CONTROL}),
}

_DO: Mapping[type, Callable[[ManagedKernel, LiveRun, Any], None]] = {
    actions.SendExecute: ManagedKernel._send_execute,
    actions.SendInput: ManagedKernel._send_input,
    actions.RaiseBarrier: ManagedKernel._raise_barrier,
    actions.Probe: ManagedKernel._probe,
    actions.Interrupt: ManagedKernel._interrupt,
    actions.Terminate: ManagedKernel._terminate,
    actions.Kill: ManagedKernel._kill,
}
