"""One session: its queue, its kernels and its runs. Events go in, actions are done here.

Knows the order of things: whose turn it is, and on which kernel. A session has one kernel, which is
made with it, and one for the commands of batch runs, which is made when the first of them has its
turn; both share the queue, the folder and the environment. Must not know owners' rights, the web,
how messages travel (`kernel.py`, `relay.py`) or how a run decides (`runs/`).

Two ways lead to the kernel. Runs of the queue are sent by us, one at a time. Clients of the
channels send what they like when they like, and it goes to the kernel at once, where it stands in
line; each cell of theirs is a run too, which we observe. So that neither waits for ever behind the
other, a run of the queue has its turn when all that clients had sent before it came is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import CannotCancel, Draining, ImpossibleTransition, MalformedMessage
from kernel_gateway.execution.artifacts import has_files
from kernel_gateway.execution.health import Health
from kernel_gateway.execution.kernel import NEVER, ManagedKernel, Recipe
from kernel_gateway.execution.line import Line
from kernel_gateway.execution.losses import DELETED, not_launched
from kernel_gateway.execution.relay import Key, Link, Relay, is_cell
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.kernels.kernel import KernelId
from kernel_gateway.messaging.message import Channel, MsgId
from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.runs import actions, events
from kernel_gateway.runs.masking import Masker, mask_of
from kernel_gateway.runs.plan import Mode
from kernel_gateway.runs.queue import Queue
from kernel_gateway.runs.records import StateChanged
from kernel_gateway.runs.state import RunState
from kernel_gateway.service import (
    ChannelsClient,
    Completion,
    KernelInfoView,
    KernelState,
    Parting,
    SessionEventName,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.execution.artifacts import Work
    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.execution.folder import SessionFolder
    from kernel_gateway.execution.languages import Language
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.kernels.kernel import Launcher
    from kernel_gateway.messaging.message import Header
    from kernel_gateway.messaging.raw import RawMessage
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.events import Instant
    from kernel_gateway.runs.records import Reason
    from kernel_gateway.service import Owner

log = logging.getLogger("kernel_gateway.execution")

COMPLETION_LIMIT_S = 10.0  # the first one of an IPython parses half of its library
WARM_UP_AFTER_S = 2.0  # of idleness: a run that comes while it is under way has to wait for it
WARM_UP = "pri"

HELD_MESSAGES = 10_000  # of clients, between two generations of the kernel

NOTHING = Completion(matches=(), start=0, end=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a session was made from; it never changes."""

    owner: Owner
    name: str
    image: str
    spec_name: str
    language: Language | None
    tag: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = ()  # names in `env` whose values nobody is to see
    cwd: Path | None = None
    start_limit_s: float
    for_jupyter_server: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """An execute request that a client has sent."""

    key: Key
    code: str
    allow_stdin: bool
    request: RawMessage
    in_line: bool  # false: its subshell has a line of its own

    @property
    def digest(self) -> str:
        """The same for a request that is the same to the byte."""
        return hashlib.sha256(b"\0".join(self.request.parts)).hexdigest()


class Session:
    """`<Session 1f2e python3 BUSY waiting=0>`. Implements `kernel.Host` and `relay.Desk`."""

    def __init__(
        self,
        session_id: KernelId,
        origin: Origin,
        *,
        folder: SessionFolder | None,
        launcher: Launcher,
        settings: EngineSettings,
        clock: Clock,
        new_id: Callable[[], str],
        tell: Callable[[Session, SessionEventName, str], None],
        observe: Callable[[Session, Cell], LiveRun],
        check_open: Callable[[], None],
        artifact_dir: Path | None,
        collect: Callable[[LiveRun, Path | None, Work | None], Awaitable[None]],
    ) -> None:
        self.id = session_id
        self.origin = origin
        self.folder = folder  # None: it has none of its own
        self.artifact_dir = artifact_dir  # where its kernels leave files for their runs
        self.work: Work | None = None  # its folder as it was when files had been put into it
        #: Called when a run is over, and its files are yet to be saved.
        self.when_finished: Callable[[LiveRun], None] = _nobody_waits
        #: Called when a run is over and all that it needs here is done.
        self.when_released: Callable[[LiveRun], None] = _nobody_waits
        self.queue: Queue[LiveRun] = Queue(settings.queue_bound)
        self.run_ids: dict[str, str] = {}  # of all its runs: run ID -> uid
        self.run_count = 0
        self.created = clock.now()
        self.health: Health | None = None  # once somebody has asked
        self._mask = mask_of(origin.env, origin.secrets)
        self._launcher = launcher
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._tell = tell
        self._observe = observe
        self._check_open = check_open  # raises `Draining`
        self._collect = collect  # the files of a run
        #: Of a run that has ended, while its files are saved: what is to be done then.
        self._ends: dict[LiveRun, list[actions.Action]] = {}
        self._tasks = Tasks(f"session {session_id}")
        self.relay = Relay(self, settings, clock=clock, new_id=new_id)
        self._line: Line[LiveRun] = Line()  # in the main kernel
        self._arrived: dict[LiveRun, int] = {}  # who waits -> the end of the line when it came
        self._cells: dict[LiveRun, Cell] = {}  # that have not ended
        self._held: list[RawMessage] = []  # of clients, while there is no kernel to send to
        self._last_activity = clock.now()
        self._deleted = False
        self._was_up = False
        self._dispatching = False
        self._turn_on: ManagedKernel | None = None  # where the run in flight is executed
        self._warm_up: Handle | None = None
        self._is_warm = folder is None  # Jupyter's clients see to that themselves
        self.kernel = self._made(session_id, origin.spec_name)
        self._command_kernel: ManagedKernel | None = None
        if origin.spec_name == settings.command_spec:
            self._command_kernel = self.kernel

    def __repr__(self) -> str:
        state = self.view().state.name
        return f"<Session {self.id[:4]} {self.origin.spec_name} {state} waiting={len(self.queue)}>"

    def _made(self, kernel_id: KernelId, spec_name: str) -> ManagedKernel:
        origin = self.origin
        recipe = Recipe(
            kernel_id=kernel_id,
            owner=origin.owner,
            spec_name=spec_name,
            cwd=origin.cwd,
            env=origin.env,
            mask=self._mask,
            artifact_dir=self.artifact_dir,
            start_limit_s=origin.start_limit_s,
        )
        return ManagedKernel(
            recipe,
            self,
            launcher=self._launcher,
            settings=self._settings,
            clock=self._clock,
            new_id=self._new_id,
        )

    # -- its life ----------------------------------------------------------------------------------

    def launch(self) -> None:
        """At once. Raises `KernelSpecNotFound`."""
        self.kernel.launch()

    def view(self) -> KernelInfoView:
        kernel = self.kernel
        return KernelInfoView(
            id=self.id,
            name=self.origin.spec_name,
            owner=self.origin.owner,
            state=self._state(),
            generation=kernel.generation,
            last_activity=self._last_activity.wall,
            queue_length=len(self.queue),
            connections=self.connections,
            reason=kernel.reason,
            language_info=kernel.info.language_info if kernel.info else {},
            for_jupyter_server=self.origin.for_jupyter_server,
        )

    def _state(self) -> KernelState:
        return self.kernel.state(busy=self.queue.in_flight is not None or bool(self._cells))

    def masker(self) -> Masker | None:
        """For a new run of it; None: it has no secrets."""
        return None if self._mask is None else Masker(self._mask)

    @property
    def connections(self) -> int:
        """Clients of its kernel's channels."""
        return self.relay.connections

    @property
    def is_busy(self) -> bool:
        """Something is executed, or waits for it."""
        return bool(self.queue.in_flight is not None or len(self.queue) or self._cells)

    @property
    def last_activity(self) -> Instant:
        return self._last_activity

    async def ready(self) -> KernelInfoView:
        """When its kernel has come up. Raises `KernelDead` with the reason when it will not."""
        await self.kernel.ready()
        return self.view()

    def check_takes(self, mode: Mode) -> None:
        """Raises `KernelDead`. The kernel of batch runs is started anew when it has died."""
        if mode is not Mode.BATCH or self._command_kernel is self.kernel:
            self.kernel.check_alive()

    def spec_of(self, mode: Mode) -> str:
        """The kernelspec that runs of this mode are executed with."""
        return self._settings.command_spec if mode is Mode.BATCH else self.origin.spec_name

    @property
    def never_came_up(self) -> bool:
        """And never will."""
        return self.kernel.closed_by is not None and not self._was_up

    @property
    def is_starting(self) -> bool:
        """A kernel of it is on its way up, or about to be."""
        return any(one.closed_by is None and not one.is_up for one in self._kernels())

    def restart(self) -> None:
        """At once; the run in flight ends as lost when the old process is gone."""
        for kernel in self._kernels():
            kernel.restart()
        self.relay.tell_state(self._state())

    async def delete(self, grace_s: float | None = None, why: Reason = DELETED) -> None:
        """Returns when the processes are gone and every run has its end."""
        grace_s = self._settings.shutdown_grace_s if grace_s is None else grace_s
        self.condemn(why)
        kernels = self._kernels(with_closed=True)
        await asyncio.gather(*(kernel.gone(grace_s) for kernel in kernels))
        await self._tasks.join()
        if self.health is not None:
            await self.health.close()
        self.relay.tell_state(KernelState.DEAD)
        self.relay.close(Parting.DELETED)

    def condemn(self, why: Reason) -> None:
        """Its kernels will not be replaced any more; `delete` ends them."""
        if not self._deleted:
            self._deleted = True
            self._stop_warm_up()
            self._tell(self, SessionEventName.TERMINATING, "")
        for kernel in self._kernels(with_closed=True):
            kernel.delete(why)

    async def is_quiet(self) -> bool:
        """Whether its kernel can say nothing more, and all that it said is heard; False: nobody
        knows. It may take for ever."""
        return await self.kernel.is_quiet()

    async def is_heard(self, limit_s: float) -> bool:
        """All that its kernel has said by now; False: it does not answer in time."""
        return await self.kernel.is_heard(limit_s)

    async def gone(self) -> None:
        """When somebody else deletes it."""
        for kernel in self._kernels(with_closed=True):
            await kernel.wait_gone()

    def interrupt(self) -> None:
        """What is executed, by interrupts only; harmless when nothing is.

        A run of ours is cancelled, so that the interrupt is repeated until it ends. A client's cell
        gets one, as its user has asked for one: it may want to end in its own time.
        """
        live = self.queue.in_flight
        first = self._line.first
        elsewhere = self._turn_on is not self.kernel
        if live is not None and (elsewhere or first in (None, live)):
            self.feed(live, events.CancelAsked("interrupted", escalate=False))
        if first not in (None, live) or (live is None and self.kernel.says_busy):
            self.kernel.interrupt()

    def _kernels(self, *, with_closed: bool = False) -> list[ManagedKernel]:
        """The main one first, and always."""
        other = self._command_kernel
        if other is None or other is self.kernel or (other.closed_by and not with_closed):
            return [self.kernel]
        return [self.kernel, other]

    # -- completion --------------------------------------------------------------------------------

    async def complete(self, code: str, cursor: int) -> Completion:
        """Nothing while it executes a run: it answers no sooner than that ends."""
        if len(self._line) or not self.kernel.is_up:
            return NOTHING
        found = await self.kernel.completions(code, cursor, COMPLETION_LIMIT_S)
        if found is None:
            return NOTHING
        return Completion(matches=found.matches, start=found.start, end=found.end)

    def _warm_up_later(self) -> None:
        """The first completion of an IPython takes seconds: it is asked for when nobody waits."""
        self._stop_warm_up()
        if not self._is_warm and self.kernel.is_up:
            self._warm_up = self._clock.call_later(WARM_UP_AFTER_S, self._warm)

    def _warm(self) -> None:
        self._is_warm = True  # once is enough
        self.kernel.warm_completions(WARM_UP)

    def _stop_warm_up(self) -> None:
        if self._warm_up is not None:
            self._warm_up.cancel()
            self._warm_up = None

    def watched(self, expression: str | None) -> Health:
        """How its kernel is. `expression`: the check that its kernelspec asks for."""
        if self.health is None:
            self.health = Health(
                self,
                self._settings,
                clock=self._clock,
                new_id=self._new_id,
                expression=expression,
            )
        return self.health

    # -- what its kernels tell ---------------------------------------------------------------------

    def in_flight_on(self, kernel: ManagedKernel) -> LiveRun | None:
        return self.queue.in_flight if self._turn_on is kernel else None

    def lives_on(self, kernel: ManagedKernel) -> list[LiveRun]:
        live = self.in_flight_on(kernel)
        sent = [one for one in self._cells if one.generation is not None]
        return [*([live] if live else []), *(sent if kernel is self.kernel else [])]

    def lose(self, live: LiveRun, why: events.KernelLost) -> None:
        cell = self._cells.get(live)
        self.feed(live, why)
        if cell is not None:
            reply = _reply_of(why.reason)
            self.relay.end_request(cell.request, reply, shown=why.reason.code in _SHOWN)

    def on_replaced(self, kernel: ManagedKernel) -> None:
        if kernel is self.kernel:
            self.relay.tell_state(KernelState.AUTORESTARTING)

    def hear(self, kernel: ManagedKernel, message: RawMessage) -> None:
        if kernel is self.kernel:
            self.relay.hear(message)

    def touch(self) -> None:
        self._last_activity = self._clock.now()

    def on_up(self, kernel: ManagedKernel) -> None:
        self.touch()
        if kernel is self.kernel and not self._was_up:
            self._was_up = True
            self._tell(self, SessionEventName.STARTED, "")
        live = self.in_flight_on(kernel)
        if live is not None and not live.machine.finished:
            self._begin(live, kernel)
        if kernel is self.kernel:
            self._send_held()
            self.relay.tell_state(self._state())
        self._dispatch()

    def on_closed(self, kernel: ManagedKernel, why: events.KernelLost) -> None:
        if kernel is self.kernel and not (self._deleted or self._was_up):
            self._tell(self, SessionEventName.CANCELLED, why.reason.code)
        for live in self.queue.withdraw(lambda live: self._serves(kernel, live)):
            self.feed(live, why)
        if kernel is self.kernel:
            self._held.clear()
            gone = not kernel.has_process
            for live in [one for one in self._cells if gone or one.generation is None]:
                self.lose(live, why)
            if not self._deleted:  # else it is told when the rest of its cells is over, too
                self.relay.tell_state(KernelState.DEAD)

    def _serves(self, kernel: ManagedKernel, live: LiveRun) -> bool:
        if self._deleted:
            return True
        if live.identity.plan.mode is Mode.BATCH:
            return kernel is self._command_kernel
        return kernel is self.kernel

    # -- runs --------------------------------------------------------------------------------------

    def put(self, live: LiveRun) -> None:
        """It is stored: it may have its turn. It may have been cancelled meanwhile, or the kernel
        may be gone for good."""
        if live.machine.finished:
            return
        closed_by = self.kernel.closed_by
        if closed_by is not None and self._serves(self.kernel, live):
            self.feed(live, closed_by)
            return
        self.queue.put(live)
        self._arrived[live] = self._line.last
        self._dispatch()

    def feed(self, live: LiveRun, event: events.Event) -> None:
        """One event, and what it asks for. Raises what the caller of an input did wrong."""
        for kernel in (self.kernel, self._command_kernel):
            if kernel is not None:
                kernel.tell_text()
        asked: list[actions.Action] = []
        try:
            for one in live.heard(event):
                asked += live.machine.receive(one, self._clock.now())
        except ImpossibleTransition:
            log.exception("%r, %r: a bug of the gateway; the kernel is replaced", self, live)
            asked.append(actions.Kill())
        if live in self._ends:
            self._ends[live] += asked
            return
        for action in self._without_end(live, asked):
            self.perform(live, action)
        if live in self._ends:
            self.when_finished(live)

    def _without_end(self, live: LiveRun, asked: list[actions.Action]) -> Sequence[actions.Action]:
        """What may be done now. The end of a run that has left files is told when they are saved,
        so that who hears of it finds them all, and the next run finds none of them."""
        is_over = asked and isinstance(asked[-1], actions.Release)
        if not is_over or not self._has_left_files(live):
            return asked
        at = next(place for place, action in enumerate(asked) if _is_end(action))
        self._ends[live] = asked[at:]
        live.end_is_held = True
        self._tasks.start(self._save_files(live))
        return asked[:at]

    def _has_left_files(self, live: LiveRun) -> bool:
        """Perhaps; if it was executed, and by us."""
        has_run = any(state is RunState.RUNNING for state, _ in live.machine.history)
        if not has_run or self.queue.in_flight is not live:
            return False
        folder = self.artifact_dir
        return self.work is not None or (folder is not None and has_files(folder))

    async def _save_files(self, live: LiveRun) -> None:
        try:
            await self._collect(live, self.artifact_dir, self.work)
        finally:
            live.end_is_held = False
            for action in self._ends.pop(live):
                self.perform(live, action)

    def perform(self, live: LiveRun, action: actions.Action) -> None:
        """What concerns the run alone is done here, the rest by the kernel that executes it."""
        do = _DO.get(type(action))
        if do is not None:
            do(self, live, action)
        elif (kernel := self._kernel_of(live)) is not None:
            kernel.perform(live, action)

    def cancel(self, live: LiveRun, asked: events.CancelAsked) -> None:
        """Raises `CannotCancel`."""
        cell = self._cells.get(live)
        if cell is not None and not cell.in_line:
            raise CannotCancel(
                "A cell in a subshell cannot be interrupted: that would hit what the main shell "
                "executes. Restart the kernel to end it."
            )
        self.feed(live, asked)

    def _kernel_of(self, live: LiveRun) -> ManagedKernel | None:
        """That executes it."""
        if live in self._cells:
            return self.kernel
        return self._turn_on if self.queue.in_flight is live else None

    def _send_execute(self, live: LiveRun, action: actions.SendExecute) -> None:
        kernel = self._kernel_of(live)
        if kernel is None or live in self._cells:  # its client has sent it
            return
        kernel.perform(live, action)
        if kernel is self.kernel:
            self._join_line(live)

    def _join_line(self, live: LiveRun) -> None:
        """At its end, also with a further request, when it may still stand there with another."""
        reached = self._line.leave(live)
        if self._line.join(live):
            self.feed(live, events.Behind())
        if reached is not None:
            self.feed(reached, events.Reached())

    def _dispatch(self) -> None:
        """Give turns until somebody has it. A run may end within its turn, and come back here."""
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self._may_go(self.queue.next) and (live := self.queue.admit()) is not None:
                self._arrived.pop(live, None)
                self._stop_warm_up()
                self._give_turn(live)
        finally:
            self._dispatching = False
        if self.queue.in_flight is None and not self._deleted:
            self._warm_up_later()

    def _may_go(self, live: LiveRun | None) -> bool:
        """What clients had sent to its kernel before it came is over."""
        if live is None:
            return False
        if live.identity.plan.mode is Mode.BATCH and self._command_kernel is not self.kernel:
            return True
        return self._line.is_clear_of(self._arrived.get(live, 0))

    def _give_turn(self, live: LiveRun) -> None:
        try:
            kernel = self._turn_on = self._kernel_for(live)
        except Exception as fault:  # the kernelspec is gone, or its provisioner fails
            self.feed(live, events.KernelLost(not_launched(fault)))
            return
        live.generation = kernel.generation
        if kernel.can_begin:
            self._begin(live, kernel)
        else:
            self.feed(live, events.Admitted())

    def _kernel_for(self, live: LiveRun) -> ManagedKernel:
        """The command kernel is made when it is needed, and anew when it was given up."""
        if live.identity.plan.mode is not Mode.BATCH:
            return self.kernel
        known = self._command_kernel
        if known is not None and known.closed_by is None:
            return known
        made = self._made(KernelId(f"{self.id}-commands"), self._settings.command_spec)
        made.launch(after=known.generation if known is not None else NEVER)
        self._command_kernel = made
        return made

    def _begin(self, live: LiveRun, kernel: ManagedKernel) -> None:
        live.generation = kernel.generation
        is_notebook = live.machine.plan.mode is Mode.NOTEBOOK
        self.feed(live, events.KernelReady(kernel.introduced if is_notebook else None))

    def _append(self, live: LiveRun, action: actions.Append) -> None:
        live.append(action.body, action.step, self._clock.now())

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

    def _release(self, live: LiveRun, action: actions.Release) -> None:
        for handle in live.timers.values():
            handle.cancel()
        live.timers.clear()
        live.needs_no_reader()
        self._arrived.pop(live, None)
        kernel = self._kernel_of(live)
        cell = self._cells.pop(live, None)
        if self.queue.in_flight is live:
            self._turn_on = None
        self.queue.release(live)
        self.touch()
        if cell is not None and live.generation is None:
            self._take_back(cell)
        elif kernel is not None:
            kernel.released(live)
        if (reached := self._line.leave(live)) is not None:
            self.feed(reached, events.Reached())
        self.when_released(live)
        self._dispatch()

    # -- clients of the channels -------------------------------------------------------------------

    def attach(self, client: ChannelsClient, session_id: str | None, *, behind_lab: bool) -> Link:
        """Raises `TooManyClients`."""
        return self.relay.attach(client, session_id, self._state(), behind_lab=behind_lab)

    @property
    def is_full(self) -> bool:
        """Of clients' cells."""
        return len(self._cells) >= self._settings.max_cells

    def take_request(self, message: RawMessage, header: Header) -> None:
        """Raises `MalformedMessage`."""
        if self.kernel.is_ours(header.session):
            raise MalformedMessage("header.session is that of the gateway")
        if message.msg_type not in self._settings.culling.untracked_message_types:
            self.touch()
        if is_cell(message):
            self._take_cell(_cell_of(message, header))
            return
        self._pass_on(message)
        if message.msg_type == "shutdown_request" and message.channel is Channel.CONTROL:
            self._shut_down(restart=message.content.get("restart") is True)

    def _pass_on(self, message: RawMessage) -> None:
        """What comes while there is no kernel that is up waits for it."""
        if self.kernel.takes_requests:
            self.kernel.pass_on(message)
        elif self.kernel.closed_by is None and self._can_hold(message):
            self._held.append(message)
        else:
            log.info("%r: a %s of a client is dropped", self, message.msg_type)

    def _can_hold(self, message: RawMessage) -> bool:
        """Cells are counted elsewhere, and waited for. A next generation is not to end as well."""
        if is_cell(message):
            return True
        return message.msg_type != "shutdown_request" and len(self._held) < HELD_MESSAGES

    def _shut_down(self, *, restart: bool) -> None:
        if self._deleted:
            return
        if restart:
            self.kernel.restart()
            self.relay.tell_state(self._state())
        else:
            self.kernel.retire()

    def _take_cell(self, cell: Cell) -> None:
        """The kernel is at work already when we make a record of it."""
        try:
            self._check_open()
        except Draining:
            self.relay.end_request(cell.request, {"status": "aborted"}, shown=False)
            return
        self._pass_on(cell.request)
        known = self.kernel.routed(cell.key)
        if known is not None and (
            not known.machine.finished or known.identity.digest == cell.digest
        ):
            return  # sent twice: one run; a kernel that has seen it before drops it in silence
        live = self._observe(self, cell)
        self._cells[live] = cell
        self.kernel.route(cell.key, live)
        if self.kernel.closed_by is not None:
            self.lose(live, self.kernel.closed_by)
            return
        if cell.in_line:
            self._line.join(live)
        if self.kernel.takes_requests:
            self._begin_cell(live)
        else:
            self.feed(live, events.Admitted())

    def _begin_cell(self, live: LiveRun) -> None:
        """It has been sent to the kernel."""
        live.generation = self.kernel.generation
        self.feed(live, events.KernelReady())
        if self._cells[live].in_line and self._line.first is not live:
            self.feed(live, events.Behind())

    def _send_held(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self.kernel.pass_on(message)
        for live in [one for one in self._cells if one.generation is None]:
            self._begin_cell(live)

    def _take_back(self, cell: Cell) -> None:
        """Its run is over before the kernel was there to be sent to."""
        if cell.request in self._held:
            self._held.remove(cell.request)
            self.relay.end_request(cell.request, {"status": "aborted"}, shown=False)

    def take_input(self, message: RawMessage, asked: Key, value: str) -> None:
        live = self.kernel.routed(asked)
        if live is None or self.kernel.take_prompt(live) is None:
            log.debug("%r: a prompt that is answered already", self)
            return
        self.kernel.pass_on(message)
        self.feed(live, events.InputSent(MsgId(asked[1]), value))

    def run_of(self, parent: Header) -> str | None:
        live = self.kernel.routed((parent.session, parent.msg_id))
        return live.identity.uid if live is not None else None


def _nobody_waits(live: LiveRun) -> None:
    pass


def _is_end(action: actions.Action) -> bool:
    """With it a run is told to be over."""
    return (
        isinstance(action, actions.Append)
        and isinstance(action.body, StateChanged)
        and action.body.state == RunState.FINISHED
    )


def _cell_of(message: RawMessage, header: Header) -> Cell:
    content = message.content
    code = content.get("code")
    if not isinstance(code, str):
        raise MalformedMessage("content.code must be text")
    return Cell(
        key=(header.session, header.msg_id),
        code=clean_text(code),
        allow_stdin=content.get("allow_stdin") is True,
        request=message,
        in_line=not header.more.get("subshell_id"),
    )


def _reply_of(reason: Reason) -> dict[str, Json]:
    """What a kernel that is gone would have said of the cell that it executed."""
    if reason.code not in _SHOWN:
        return {"status": "aborted"}
    return {
        "status": "error",
        "ename": "KernelDied",
        "evalue": reason.message,
        "traceback": [reason.message],
    }


#: Losses that nobody has asked for: they are shown where the output of the cell is.
_SHOWN = frozenset({"kernel_died", "kernel_start_failed"})

_DO: Mapping[type, Callable[[Session, LiveRun, Any], None]] = {
    actions.Append: Session._append,
    actions.SendExecute: Session._send_execute,
    actions.SetTimer: Session._set_timer,
    actions.StopTimer: Session._stop_timer,
    actions.Release: Session._release,
}
