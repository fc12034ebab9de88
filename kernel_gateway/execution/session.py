"""One session: its queue, its kernels and its runs. Events go in, actions are done here.

Knows the order of things: whose turn it is, and on which kernel. A session has one kernel, which is
made with it, and one for the commands of batch runs, which is made when the first of them has its
turn; both share the queue, the folder and the environment. Must not know owners' rights, the web,
messages (`kernel.py`) or how a run decides (`runs/`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import ImpossibleTransition
from kernel_gateway.execution.kernel import NEVER, ManagedKernel, Recipe
from kernel_gateway.execution.losses import not_launched
from kernel_gateway.kernels.kernel import KernelId
from kernel_gateway.runs import actions, events
from kernel_gateway.runs.plan import Mode
from kernel_gateway.runs.queue import Queue
from kernel_gateway.service import Completion, KernelInfoView, SessionEventName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.execution.folder import SessionFolder
    from kernel_gateway.execution.languages import Language
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.kernels.kernel import Launcher
    from kernel_gateway.service import Owner

log = logging.getLogger("kernel_gateway.execution")

COMPLETION_LIMIT_S = 10.0  # the first one of an IPython parses half of its library
WARM_UP_AFTER_S = 2.0  # of idleness: a run that comes while it is under way has to wait for it
WARM_UP = "pri"

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
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    start_limit_s: float


class Session:
    """`<Session 1f2e python3 BUSY waiting=0>`. Implements `kernel.Host`."""

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
    ) -> None:
        self.id = session_id
        self.origin = origin
        self.folder = folder  # None: it has none of its own
        self.queue: Queue[LiveRun] = Queue(settings.queue_bound)
        self.run_ids: dict[str, str] = {}  # of all its runs: run ID -> uid
        self.run_count = 0
        self.created = clock.now()
        self._launcher = launcher
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._tell = tell
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
            spec_name=spec_name,
            cwd=origin.cwd,
            env=origin.env,
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
            state=kernel.state(busy=self.queue.in_flight is not None),
            generation=kernel.generation,
            last_activity=self._last_activity.wall,
            queue_length=len(self.queue),
            reason=kernel.reason,
            language_info=kernel.info.language_info if kernel.info else {},
        )

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

    def restart(self) -> None:
        """At once; the run in flight ends as lost when the old process is gone."""
        for kernel in self._kernels():
            kernel.restart()

    async def delete(self, grace_s: float | None = None) -> None:
        """Returns when the processes are gone and every run has its end."""
        grace_s = self._settings.shutdown_grace_s if grace_s is None else grace_s
        if not self._deleted:
            self._deleted = True
            self._stop_warm_up()
            self._tell(self, SessionEventName.TERMINATING, "")
        kernels = self._kernels(with_closed=True)
        for kernel in kernels:
            kernel.delete()
        await asyncio.gather(*(kernel.gone(grace_s) for kernel in kernels))

    def interrupt(self) -> None:
        """The run in flight is cancelled, by interrupts only; harmless when there is none."""
        live = self.queue.in_flight
        if live is not None:
            self.feed(live, events.CancelAsked("interrupted", escalate=False))

    def _kernels(self, *, with_closed: bool = False) -> list[ManagedKernel]:
        """The main one first, and always."""
        other = self._command_kernel
        if other is None or other is self.kernel or (other.closed_by and not with_closed):
            return [self.kernel]
        return [self.kernel, other]

    # -- completion --------------------------------------------------------------------------------

    async def complete(self, code: str, cursor: int) -> Completion:
        """Nothing while it executes a run: it answers no sooner than that ends."""
        if self.in_flight_on(self.kernel) is not None or not self.kernel.is_up:
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

    # -- what its kernels tell ---------------------------------------------------------------------

    def in_flight_on(self, kernel: ManagedKernel) -> LiveRun | None:
        return self.queue.in_flight if self._turn_on is kernel else None

    def touch(self) -> None:
        self._last_activity = self._clock.now()

    def on_up(self, kernel: ManagedKernel) -> None:
        self.touch()
        if kernel is self.kernel and not self._was_up:
            self._was_up = True
            self._tell(self, SessionEventName.STARTED, "")
        live = self.in_flight_on(kernel)
        if live is not None:
            self._begin(live, kernel)
        self._dispatch()

    def on_closed(self, kernel: ManagedKernel, why: events.KernelLost) -> None:
        if kernel is self.kernel and not (self._deleted or self._was_up):
            self._tell(self, SessionEventName.CANCELLED, why.reason.code)
        for live in self.queue.withdraw(lambda live: self._serves(kernel, live)):
            self.feed(live, why)

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
        self._dispatch()

    def feed(self, live: LiveRun, event: events.Event) -> None:
        """One event, and what it asks for. Raises what the caller of an input did wrong."""
        try:
            asked = live.machine.receive(event, self._clock.now())
        except ImpossibleTransition:
            log.exception("%r, %r: a bug of the gateway; the kernel is replaced", self, live)
            asked = [actions.Kill()]
        for action in asked:
            self.perform(live, action)

    def perform(self, live: LiveRun, action: actions.Action) -> None:
        """What concerns the run alone is done here, the rest by the kernel that executes it."""
        do = _DO.get(type(action))
        if do is not None:
            do(self, live, action)
        elif self._turn_on is not None and self.queue.in_flight is live:
            self._turn_on.perform(live, action)

    def _dispatch(self) -> None:
        """Give turns until somebody has it. A run may end within its turn, and come back here."""
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while (live := self.queue.admit()) is not None:
                self._stop_warm_up()
                self._give_turn(live)
        finally:
            self._dispatching = False
        if self.queue.in_flight is None and not self._deleted:
            self._warm_up_later()

    def _give_turn(self, live: LiveRun) -> None:
        try:
            kernel = self._turn_on = self._kernel_for(live)
        except Exception as fault:  # the kernelspec is gone, or its provisioner fails
            self.feed(live, events.KernelLost(not_launched(fault)))
            return
        live.generation = kernel.generation
        if kernel.is_up:
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
        self.feed(live, events.KernelReady())

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
        kernel = self._turn_on if self.queue.in_flight is live else None
        self.queue.release(live)
        self.touch()
        if kernel is not None:
            self._turn_on = None
            kernel.released(live)
        self._dispatch()


_DO: Mapping[type, Callable[[Session, LiveRun, Any], None]] = {
    actions.Append: Session._append,
    actions.SetTimer: Session._set_timer,
    actions.StopTimer: Session._stop_timer,
    actions.Release: Session._release,
}
