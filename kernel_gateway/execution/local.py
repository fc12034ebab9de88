"""The service in process: who may see what, which run a call means, how long it waits.

Knows owners, kernels and runs by name. Must not know messages (`session.py`) or how a run decides
(`runs/`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING

from kernel_gateway.errors import (
    Draining,
    GatewayError,
    KernelNotFound,
    NotWaiting,
    OurFault,
    RunExpired,
    RunIdAmbiguous,
    RunIdConflict,
    RunNotFound,
    StoreUnavailable,
    TooManyKernels,
)
from kernel_gateway.execution.answering import answer_call
from kernel_gateway.execution.clock import Clock, LoopClock
from kernel_gateway.execution.live import Identity, LiveRun
from kernel_gateway.execution.past import PastRun
from kernel_gateway.execution.recovery import lost_run
from kernel_gateway.execution.session import KernelSession
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.kernels.kernel import KernelId, Launcher
from kernel_gateway.messaging.message import MsgId
from kernel_gateway.runs import events
from kernel_gateway.runs.log import Log
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Seq
from kernel_gateway.runs.run import Run
from kernel_gateway.service import (
    ExecuteCall,
    ExecuteMode,
    KernelInfoView,
    KernelRequest,
    KernelSpecsView,
    KernelSpecView,
    LogPage,
    Owner,
    RunId,
    RunInfo,
    RunRequest,
    RunUid,
)
from kernel_gateway.store.values import PutSession, StoredRun, StoredSession, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel_gateway.execution.answering import Found
    from kernel_gateway.runs.answer import Answer
    from kernel_gateway.store.store import Store

log = logging.getLogger("kernel_gateway.execution")

CLOSE_LIMIT_S = 2.0  # for what is written last
STORE_LIMIT_S = 10.0  # for a new run to be stored; after that the caller is told to come back


def _uuid() -> str:
    return str(uuid.uuid4())


class LocalService:
    """Implements `service.Service`. Start it, use it, drain it, close it."""

    def __init__(
        self,
        launcher: Launcher,
        store: Store,
        settings: EngineSettings | None = None,
        *,
        clock: Clock | None = None,
        new_id: Callable[[], str] = _uuid,
    ) -> None:
        self._launcher = launcher
        self._store = store
        self._settings = settings or EngineSettings()
        self._clock = clock or LoopClock()
        self._new_id = new_id
        self._sessions: dict[str, KernelSession] = {}
        self._live: OrderedDict[str, LiveRun] = OrderedDict()  # by uid, oldest first
        self._tasks = Tasks("service")
        self._draining = False

    # -- its life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """What a crashed gateway left behind becomes true first: its runs are lost."""
        for run in await self._store.unfinished():
            await self._store.write(*await self._lost(run))
        self._tasks.start(self._sweep_for_ever())

    async def _lost(self, run: StoredRun) -> Sequence[Write]:
        return await lost_run(
            self._store, run, self._clock.now(), retention_s=self._settings.retention_s
        )

    def drain(self) -> None:
        """From now on nothing new is taken: `Draining`."""
        self._draining = True

    @property
    def runs_in_flight(self) -> int:
        """Runs that have not ended, those in the queues with them."""
        return sum(not live.machine.finished for live in self._live.values())

    @property
    def has_run(self) -> bool:
        """Anything at all."""
        return bool(self._live)

    async def idle(self) -> None:
        """Returns when no run is left that has not ended."""
        while running := [live for live in self._live.values() if not live.over]:
            await running[0].changed(60.0)

    async def close(self, grace_s: float | None = None) -> None:
        """End every run and kernel, and wait until that is stored. The store stays open.

        A busy kernel has `grace_s` to end by itself; None: the configured grace.
        """
        self._draining = True
        await asyncio.gather(*(session.delete(grace_s) for session in self._sessions.values()))
        rows = [self._session_row(session, over=True) for session in self._sessions.values()]
        self._sessions.clear()
        with contextlib.suppress(TimeoutError):  # the disk takes nothing: the store will say so
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._store.write(*rows)
        await self._tasks.cancel()

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await self._store.sweep(self._clock.now().wall)
            except GatewayError as fault:  # there is another time
                log.warning("runs whose retention is over could not be removed: %s", fault)
            await asyncio.sleep(self._settings.sweep_every_s)

    # -- kernels -----------------------------------------------------------------------------------

    async def kernelspecs(self) -> KernelSpecsView:
        entries = await asyncio.to_thread(self._launcher.kernelspecs)
        return KernelSpecsView(
            default=self._launcher.default_spec(),
            specs=tuple(
                KernelSpecView(
                    name=entry.name,
                    display_name=str(entry.spec.get("display_name", entry.name)),
                    language=str(entry.spec.get("language", "")),
                )
                for entry in entries
            ),
        )

    async def create_kernel(self, owner: Owner, request: KernelRequest) -> KernelInfoView:
        self._check_open()
        limit = self._settings.max_kernels
        if limit is not None and len(self._sessions) >= limit:
            raise TooManyKernels(f"{limit} kernels are running already; delete one first.")
        session = KernelSession(
            KernelId(self._new_id()),
            owner,
            request,
            launcher=self._launcher,
            settings=self._settings,
            clock=self._clock,
            new_id=self._new_id,
        )
        session.launch()
        self._sessions[session.id] = session
        self._tasks.start(self._store.write(self._session_row(session)))
        return session.view()

    async def kernels(self, owner: Owner) -> list[KernelInfoView]:
        return [one.view() for one in self._sessions.values() if one.owner == owner]

    async def kernel(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        return self._session(owner, kernel_id).view()

    async def kernel_ready(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        return await self._session(owner, kernel_id).ready()

    async def delete_kernel(self, owner: Owner, kernel_id: str) -> None:
        session = self._session(owner, kernel_id)
        del self._sessions[kernel_id]
        await session.delete()
        self._tasks.start(self._store.write(self._session_row(session, over=True)))

    async def interrupt_kernel(self, owner: Owner, kernel_id: str) -> None:
        self._session(owner, kernel_id).interrupt()

    async def restart_kernel(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        session = self._session(owner, kernel_id)
        session.restart()
        return session.view()

    def _session(self, owner: Owner, kernel_id: str) -> KernelSession:
        session = self._sessions.get(kernel_id)
        if session is None or session.owner != owner:
            raise KernelNotFound(f"There is no kernel {kernel_id!r}.")
        return session

    def _session_row(self, session: KernelSession, *, over: bool = False) -> PutSession:
        now = self._clock.now().wall
        return PutSession(
            StoredSession(
                id=session.id,
                owner=session.owner,
                kernel_name=session.spec_name,
                created_at=session.created_at,
                ended_at=now if over else None,
                generation=session.generation,
            )
        )

    def _check_open(self) -> None:
        if self._draining:
            raise Draining("The gateway is shutting down and takes nothing new.")

    # -- runs: creation ----------------------------------------------------------------------------

    async def submit(self, owner: Owner, request: RunRequest) -> RunInfo:
        found = await self._create(owner, request)
        await self._known(found)
        return await self._told_info(found)

    async def _create(self, owner: Owner, request: RunRequest) -> Found:
        """The run of this ID if there is one with the same body, else a new one."""
        session = self._session(owner, request.kernel_id)
        digest = digest_of(request.plan)
        known = session.run_ids.get(request.run_id) if request.run_id is not None else None
        if known is not None:
            return await self._same(owner, known, digest)
        self._check_open()
        session.check_alive()
        session.queue.check_room()
        if (fault := self._fault()) is not None:
            raise fault
        return self._new_run(session, request, digest)

    async def _same(self, owner: Owner, uid: str, digest: str) -> Found:
        found = await self._by_uid(owner, uid)
        if found.identity.digest != digest:
            raise RunIdConflict("This run ID is taken by a run with another body.")
        return found

    def _new_run(self, session: KernelSession, request: RunRequest, digest: str) -> LiveRun:
        """Known by its ID before anything is awaited, so that two calls at once make one run."""
        uid = RunUid(self._new_id())
        run_id = request.run_id if request.run_id is not None else RunId(uid)
        identity = Identity(
            uid=uid,
            run_id=run_id,
            owner=session.owner,
            session=session.id,
            kernel_name=session.spec_name,
            digest=digest,
            plan=request.plan,
        )
        now = self._clock.now()
        machine = Run(uid, request.plan, now, lambda: MsgId(self._new_id()))
        live = LiveRun(
            identity,
            machine,
            Log(self._settings.log),
            self._store,
            self._clock,
            tail_chars=self._settings.tail_chars,
            retention_s=self._settings.retention_s,
        )
        session.run_ids[run_id] = uid
        self._live[uid] = live
        self._forget_old()
        for action in machine.open():
            session.perform(live, action)
        live.when_known = lambda: session.put(live)  # stored first, executed then
        self._store.enlist(live)
        return live

    def _fault(self) -> OurFault | None:
        """Of the store at present. A fresh one each time: a traceback grows with each raise."""
        fault = self._store.fault
        return None if fault is None else type(fault)(fault.message)

    async def _known(self, found: Found) -> None:
        """Returns when its ID is good: its first record is stored. No caller is told before."""
        if isinstance(found, PastRun) or found.told:
            return
        try:
            await self._until(lambda: found.told > 0 or found.over, found)
        except OurFault as fault:
            self._abandon(found, fault.message)
            raise

    async def _until(self, stored: Callable[[], bool], live: LiveRun) -> None:
        """Raises what is wrong with the store if that takes too long."""
        if not await live.until(stored, STORE_LIMIT_S):
            raise self._fault() or StoreUnavailable("The run could not be stored in time.")

    def _abandon(self, live: LiveRun, message: str) -> None:
        """Its caller is told that it could not be taken: so it must not be executed later, and its
        ID is free for another try."""
        session, identity = self._session_of(live), live.identity
        self._live.pop(identity.uid, None)
        if session is not None:
            if session.run_ids.get(identity.run_id) == identity.uid:  # no other try has it by now
                del session.run_ids[identity.run_id]
            session.feed(live, events.CancelAsked(message))

    def _forget_old(self) -> None:
        """The store has them; a run that has not ended is never forgotten."""
        for _ in range(len(self._live) - self._settings.recent_runs):
            uid, oldest = next(iter(self._live.items()))
            if oldest.over:
                del self._live[uid]
            else:
                self._live.move_to_end(uid)

    # -- runs: finding -----------------------------------------------------------------------------

    async def run(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> RunInfo:
        return await self._told_info(await self._find(owner, run_id, kernel_id))

    async def _find(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> Found:
        live = self._live.get(run_id)
        if (
            live is not None
            and live.identity.owner == owner
            and kernel_id in {None, live.identity.session}
        ):
            return live
        stored = await self._store.find_runs(owner, run_id)
        if kernel_id is not None:
            stored = [run for run in stored if run.session == kernel_id]
        if len(stored) > 1:
            raise RunIdAmbiguous(run_id, tuple(run.uid for run in stored))
        if stored:
            return self._live.get(stored[0].uid) or PastRun(stored[0], self._store)
        if await self._store.is_expired(owner, run_id):
            raise RunExpired(f"The run {run_id!r} is over and no longer kept.")
        raise RunNotFound(f"There is no run {run_id!r}.")

    async def _by_uid(self, owner: Owner, uid: str) -> Found:
        return self._live.get(uid) or await self._find(owner, uid)

    async def _told_info(self, found: Found) -> RunInfo:
        """An end is told when it is stored: a gateway that is killed now must not take it back."""
        if isinstance(found, PastRun):
            return found.info()
        if found.machine.finished:
            await self._until(lambda: found.over, found)
        session = self._session_of(found)
        return found.info(session.queue.position(found) if session else None)

    # -- runs: reading -----------------------------------------------------------------------------

    async def log(
        self,
        owner: Owner,
        run_id: str,
        *,
        after: Seq = Seq(0),
        wait_s: float = 0.0,
        limit: int = 1000,
        kernel_id: str | None = None,
    ) -> LogPage:
        found = await self._find(owner, run_id, kernel_id)
        if isinstance(found, LiveRun):
            await self._wait_behind(found, after, wait_s)
        over, told = found.standing.completed is not None, found.told
        page = await found.read(after, limit)
        next_ = page[-1].seq if page else after
        return LogPage(records=tuple(page), next=next_, finished=over and next_ >= told)

    async def _wait_behind(self, live: LiveRun, after: Seq, wait_s: float) -> None:
        live.follow()
        try:
            await live.until(lambda: live.told > after or live.over, wait_s)
        finally:
            live.unfollow()

    async def blob(self, owner: Owner, run_id: str, artifact: str) -> bytes:
        found = await self._find(owner, run_id)
        data = await self._store.blob(found.identity.uid, artifact)
        if data is None:
            raise RunNotFound(f"The run {run_id!r} has no artifact {artifact!r}.")
        return data

    # -- runs: acting ------------------------------------------------------------------------------

    async def give_input(
        self,
        owner: Owner,
        run_id: str,
        value: str,
        prompt_id: int | None = None,
        *,
        kernel_id: str | None = None,
    ) -> None:
        found = await self._find(owner, run_id, kernel_id)
        self._give(found, value, prompt_id)

    def _give(self, found: Found, value: str, prompt_id: int | None) -> None:
        session = self._session_of(found)
        if session is None or not isinstance(found, LiveRun):
            raise NotWaiting("The run is over; the text was not kept.")
        session.feed(found, events.InputGiven(value, prompt_id))

    async def cancel(
        self,
        owner: Owner,
        run_id: str,
        *,
        grace_s: float | None = None,
        escalate: bool = True,
        message: str = "cancelled",
        kernel_id: str | None = None,
    ) -> RunInfo:
        found = await self._find(owner, run_id, kernel_id)
        session = self._session_of(found)
        if isinstance(found, LiveRun) and session is not None:
            session.feed(found, events.CancelAsked(message, grace_s=grace_s, escalate=escalate))
        return await self._told_info(found)

    def _session_of(self, found: Found) -> KernelSession | None:
        if not isinstance(found, LiveRun):
            return None
        return self._sessions.get(found.identity.session)

    # -- execute -----------------------------------------------------------------------------------

    async def execute(self, owner: Owner, call: ExecuteCall) -> Answer:
        deadline = self._clock.now().mono + call.wait_s
        if call.mode is ExecuteMode.QUERY:
            found = await self._create(owner, _query(call))
        else:
            found = await self._in_session(owner, call)
        if call.mode is ExecuteMode.INPUT:
            self._give(found, call.code, call.prompt_id)
        given = await answer_call(found, call, self._clock, deadline)
        await self._known(found)
        return given

    async def _in_session(self, owner: Owner, call: ExecuteCall) -> Found:
        """The run of this ID on this kernel; the kernel itself may be gone."""
        assert call.run_id is not None
        session = self._sessions.get(call.kernel_id)
        if session is not None and session.owner == owner:
            uid = session.run_ids.get(call.run_id)
            if uid is not None:
                return await self._by_uid(owner, uid)
        return await self._find(owner, call.run_id, call.kernel_id)


def _query(call: ExecuteCall) -> RunRequest:
    plan = RunPlan(mode=Mode.QUERY, steps=(StepPlan(code=call.code),))
    return RunRequest(plan=plan, kernel_id=call.kernel_id, run_id=call.run_id)


def digest_of(plan: RunPlan) -> str:
    """Of all that decides what is executed: two runs of one digest do the same."""
    return hashlib.sha256(repr(plan).encode()).hexdigest()
