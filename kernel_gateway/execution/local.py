"""The service in process: who may see what, which run a call means, how long it waits.

Knows owners, sessions and runs by name. Must not know messages (`kernel.py`) or how a run decides
(`runs/`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from kernel_gateway.errors import (
    ArtifactNotFound,
    Draining,
    FileNotThere,
    GatewayError,
    InvalidField,
    KernelSpecNotFound,
    NotFound,
    NotWaiting,
    OurFault,
    RunActive,
    RunExpired,
    RunIdAmbiguous,
    RunIdConflict,
    RunNotFound,
    SessionNotFound,
    StoreUnavailable,
)
from kernel_gateway.execution.answering import answer_call
from kernel_gateway.execution.archives import pieces
from kernel_gateway.execution.clock import Clock, LoopClock
from kernel_gateway.execution.culling import Culler
from kernel_gateway.execution.health import check_of
from kernel_gateway.execution.kernelspecs import spec_view, specs_view
from kernel_gateway.execution.listing import list_runs
from kernel_gateway.execution.live import Identity, LiveRun
from kernel_gateway.execution.losses import culled
from kernel_gateway.execution.notebook_sessions import NotebookSessions
from kernel_gateway.execution.past import PastRun
from kernel_gateway.execution.plans import batch_plan, query_plan
from kernel_gateway.execution.printed import printed
from kernel_gateway.execution.recovery import lost_run
from kernel_gateway.execution.resources import read_resource
from kernel_gateway.execution.sessions import Sessions
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.execution.slots import Slots
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.execution.webhooks import Webhooks
from kernel_gateway.messaging.message import MsgId
from kernel_gateway.runs import events
from kernel_gateway.runs.log import Log
from kernel_gateway.runs.masking import fault_of, mask_of
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Seq
from kernel_gateway.runs.run import Run
from kernel_gateway.service import (
    ApiKey,
    ArtifactContent,
    ChannelsClient,
    ChannelsLink,
    Completion,
    ExecuteCall,
    ExecuteMode,
    FileListing,
    KernelHealth,
    KernelInfoView,
    KernelOutput,
    KernelRequest,
    KernelSpecsView,
    KernelSpecView,
    LogPage,
    NotebookSessionChange,
    NotebookSessionRequest,
    NotebookSessionView,
    Owner,
    Readiness,
    RunId,
    RunInfo,
    RunPage,
    RunQuery,
    RunRequest,
    RunUid,
    SessionEvent,
    SessionRequest,
    SessionView,
)
from kernel_gateway.store.values import DeleteRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from kernel_gateway.execution.answering import Found
    from kernel_gateway.execution.folder import SessionFolder
    from kernel_gateway.execution.health import Health
    from kernel_gateway.execution.session import Cell, Session
    from kernel_gateway.execution.webhooks import Render
    from kernel_gateway.kernels.kernel import Launcher
    from kernel_gateway.runs.answer import Answer
    from kernel_gateway.store.store import Store
    from kernel_gateway.store.values import StoredRun, Write
    from kernel_gateway.webhooks.sender import Sender

log = logging.getLogger("kernel_gateway.execution")

CATCH_UP_S = 1.0  # for what was gathered of an observed run to be stored
OWN = ""  # scope of the IDs of runs with kernels of their own
READER_GRACE_S = 1.0  # for a reader who has a page of the log to come for the next one
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
        sender: Sender | None = None,
        render: Render | None = None,
    ) -> None:
        """`sender` and `render` go together; without them no webhook can be called."""
        self._launcher = launcher
        self._store = store
        self._settings = settings or EngineSettings()
        self._clock = clock or LoopClock()
        self._new_id = new_id
        self._live: OrderedDict[str, LiveRun] = OrderedDict()  # by uid, oldest first
        self._own_ids: dict[tuple[Owner, RunId], RunUid] = {}  # of those with kernels of their own
        self._abandoned: set[RunUid] = set()  # stored too late: nobody was ever told of them
        self._tasks = Tasks("service")
        self._culler = Culler(launcher, self._settings.culling, self._clock, self._cull)
        self._sessions = Sessions(
            launcher,
            store,
            self._settings,
            clock=self._clock,
            new_id=new_id,
            check_open=self._check_open,
            observe=self._observe,
            culler=self._culler,
        )
        self._notebooks = NotebookSessions(self._sessions, store, self._clock, new_id)
        self._slots = Slots(self._sessions, self._settings, self._clock)
        self._webhooks: Webhooks | None = None
        if sender is not None and render is not None:
            self._webhooks = Webhooks(
                store, sender, self._settings.webhooks, self._clock, new_id, render
            )
        self._draining = False

    # -- its life ----------------------------------------------------------------------------------

    async def start(self, *, is_new: bool = False) -> None:
        """`is_new`: there is nothing in its folders and its store that is not of this engine."""
        if not is_new:
            await self._recover()
        self._tasks.start(self._sweep_for_ever())

    async def _recover(self) -> None:
        """What a crashed gateway left behind becomes true first: its runs are lost."""
        await self._sessions.remove_left_behind()
        for run in await self._store.unfinished():
            await self._store.write(*await self._lost(run))
        if self._webhooks is not None:
            await self._webhooks.resume()
        await self._notebooks.load()

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
        return sum(not live.has_ended for live in self._live.values())

    def readiness(self) -> Readiness:
        fault = self._store.fault
        return Readiness(
            draining=self._draining,
            store_fault=None if fault is None else fault.message,
            kernels=len(self._sessions),
            warm=self._launcher.warm,
            runs=self.runs_in_flight,
        )

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
        self._culler.stop()
        self._slots.close()
        await self._sessions.close(grace_s)
        await self._slots.join()
        for live in self._live.values():
            live.hurry()
        if self._webhooks is not None:
            await self._webhooks.close()
        await self._culler.join()
        await self._notebooks.close()
        await self._tasks.cancel()

    async def _sweep_for_ever(self) -> None:
        while True:
            self._notebooks.forget_old(self._settings.retention_s)
            self._forget_expired()
            try:
                await self._store.sweep(self._clock.now().wall)
            except GatewayError as fault:  # there is another time
                log.warning("runs whose retention is over could not be removed: %s", fault)
            await asyncio.sleep(self._settings.sweep_every_s)

    def _forget_expired(self) -> None:
        """What the store is about to remove is not to be told from memory."""
        until = self._clock.now().wall - self._settings.retention_s
        for live in [one for one in self._live.values() if one.over]:
            ended = live.view.finished_at
            if ended is not None and ended <= until:
                live.close()
                self._forget(live)

    # -- kernels -----------------------------------------------------------------------------------

    async def kernelspecs(self) -> KernelSpecsView:
        return await asyncio.to_thread(specs_view, self._launcher)

    async def kernelspec(self, name: str) -> KernelSpecView:
        return await asyncio.to_thread(lambda: spec_view(self._launcher.kernelspec(name)))

    async def kernelspec_file(self, name: str, file: str) -> bytes:
        return await asyncio.to_thread(
            lambda: read_resource(self._launcher.kernelspec(name).resource_dir, file)
        )

    async def create_kernel(self, owner: Owner, request: KernelRequest) -> KernelInfoView:
        return self._sessions.make_kernel(owner, request).view()

    async def kernels(self, owner: Owner) -> list[KernelInfoView]:
        return [session.view() for session in self._sessions.all_of(owner)]

    async def kernel(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        return self._sessions.of(owner, kernel_id).view()

    async def kernel_ready(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        return await self._sessions.of(owner, kernel_id).ready()

    async def delete_kernel(self, owner: Owner, kernel_id: str) -> None:
        await self._sessions.end(self._sessions.of(owner, kernel_id))

    async def interrupt_kernel(self, owner: Owner, kernel_id: str) -> None:
        self._sessions.of(owner, kernel_id).interrupt()

    async def restart_kernel(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        session = self._sessions.of(owner, kernel_id)
        if session.folder is not None:  # its own code may have removed it
            await asyncio.to_thread(session.folder.create)
        session.restart()
        return session.view()

    async def kernel_output(self, owner: Owner, kernel_id: str) -> KernelOutput:
        return self._sessions.of(owner, kernel_id).kernel.output()

    async def kernel_health(self, owner: Owner, kernel_id: str) -> KernelHealth:
        health = await self._health_of(self._sessions.of(owner, kernel_id))
        return await health.check()

    async def set_health_check(
        self, owner: Owner, kernel_id: str, expression: str | None
    ) -> KernelHealth:
        health = await self._health_of(self._sessions.of(owner, kernel_id))
        health.set_expression(expression)
        return await health.check()

    async def _health_of(self, session: Session) -> Health:
        if session.health is not None:
            return session.health
        try:
            entry = await asyncio.to_thread(self._launcher.kernelspec, session.origin.spec_name)
        except KernelSpecNotFound:  # it has been removed since
            return session.watched(None)
        return session.watched(check_of(entry.spec))

    async def complete(self, owner: Owner, kernel_id: str, code: str, cursor: int) -> Completion:
        return await self._sessions.of(owner, kernel_id).complete(code, cursor)

    def channels(
        self,
        owner: Owner,
        kernel_id: str,
        client: ChannelsClient,
        *,
        session_id: str | None = None,
        behind_lab: bool = False,
    ) -> ChannelsLink:
        session = self._sessions.of(owner, kernel_id)
        return session.attach(client, session_id, behind_lab=behind_lab)

    def _check_open(self) -> None:
        if self._draining:
            raise Draining("The gateway is shutting down and takes nothing new.")

    async def _cull(self, session: Session, idle_s: float) -> None:
        """A run that has come to it within this moment shares its end."""
        if self._sessions.get(session.id) is session:
            await self._sessions.end(session, culled(idle_s))

    # -- sessions of notebooks ---------------------------------------------------------------------

    async def open_notebook_session(
        self, owner: Owner, request: NotebookSessionRequest
    ) -> NotebookSessionView:
        return await self._notebooks.open(owner, request)

    async def notebook_sessions(self, owner: Owner) -> list[NotebookSessionView]:
        return self._notebooks.all_of(owner)

    async def notebook_session(self, owner: Owner, session_id: str) -> NotebookSessionView:
        return self._notebooks.view(owner, session_id)

    async def change_notebook_session(
        self, owner: Owner, session_id: str, change: NotebookSessionChange
    ) -> NotebookSessionView:
        return await self._notebooks.change(owner, session_id, change)

    async def end_notebook_session(self, owner: Owner, session_id: str) -> None:
        await self._notebooks.end(owner, session_id)

    # -- sessions ----------------------------------------------------------------------------------

    async def create_session(self, owner: Owner, request: SessionRequest) -> SessionView:
        session, created = await self._sessions.make(owner, request)
        return self._sessions.view(session, created=created)

    async def session(self, owner: Owner, name_or_id: str) -> SessionView:
        return self._sessions.view(self._sessions.named(owner, name_or_id))

    async def sessions(self, owner: Owner) -> list[SessionView]:
        return [self._sessions.view(session) for session in self._sessions.all_of(owner)]

    async def session_log(self, owner: Owner, session_id: str, *, limit_chars: int) -> str:
        session = self._sessions.named(owner, session_id)
        return await printed(self._store, owner, session.id, limit_chars)

    def session_events(
        self, owner: Owner, name_or_id: str | None = None
    ) -> AsyncIterator[SessionEvent]:
        one = None if name_or_id is None else self._sessions.named(owner, name_or_id).id
        return self._sessions.feed.read(owner, one)

    async def put_files(self, owner: Owner, session_id: str, files: Mapping[str, bytes]) -> None:
        folder = self._folder(owner, session_id)
        await asyncio.to_thread(folder.put, files)

    async def list_files(self, owner: Owner, session_id: str, path: str) -> FileListing:
        folder = self._folder(owner, session_id)
        return await asyncio.to_thread(folder.list, path)

    async def archives(
        self, owner: Owner, session_id: str, paths: Sequence[str]
    ) -> Sequence[AsyncIterator[bytes]]:
        folder = self._folder(owner, session_id)
        for path in paths:
            await asyncio.to_thread(folder.check, path)
        limit_bytes = self._settings.archive_bytes
        return [pieces(folder, path, limit_bytes=limit_bytes) for path in paths]

    def _folder(self, owner: Owner, session_id: str) -> SessionFolder:
        folder = self._sessions.named(owner, session_id).folder
        if folder is None:
            raise FileNotThere("This session has no folder of its own.")
        return folder

    async def key(self, access_key: str) -> ApiKey | None:
        """Implements `service.Keys`."""
        stored = await self._store.key(access_key)
        if stored is None or stored.revoked_at is not None:
            return None
        return ApiKey(access_key=stored.access_key, secret=stored.secret, owner=stored.owner)

    # -- runs: creation ----------------------------------------------------------------------------

    async def submit(self, owner: Owner, request: RunRequest) -> RunInfo:
        found, created = await self._create(owner, request)
        await self._known(found)
        return replace(await self._told_info(found), created=created)

    async def _create(
        self, owner: Owner, request: RunRequest, *, reuse_finished: bool = False
    ) -> tuple[Found, bool]:
        """The run of this ID if there is one with the same body, else a new one."""
        session = self._addressed(owner, request)
        if session is not None:
            digest = digest_of(request.plan, session.id)
            found = await self._of_this_id(session, request.run_id)
        else:
            digest = digest_of(request.plan, await self._own_kernel(request))
            name = request.kernel_name or self._launcher.default_spec()
            request = replace(request, kernel_name=name)
            found = await self._own_of_this_id(owner, request.run_id, name)
        if found is not None and found.identity.digest == digest:
            return found, False
        if found is not None and not (reuse_finished and found.over):
            raise RunIdConflict(
                f"The run ID {request.run_id!r} is taken by a run with another body."
            )
        return self._new_run(owner, session, request, digest), True

    async def _own_kernel(self, request: RunRequest) -> str:
        """Files are hashed in a thread: others do not wait for that."""
        if not request.files:
            return _own_kernel(request)
        return await asyncio.to_thread(_own_kernel, request)

    def _addressed(self, owner: Owner, request: RunRequest) -> Session | None:
        """None: the run brings a kernel of its own."""
        if request.kernel_id is not None:
            return self._sessions.of(owner, request.kernel_id)
        if request.session is None:
            return None
        try:
            return self._sessions.named(owner, request.session)
        except SessionNotFound:
            view = self._notebooks.view(owner, request.session)
            return self._sessions.of(owner, view.kernel.id)

    async def _own_of_this_id(
        self, owner: Owner, run_id: RunId | None, spec_name: str
    ) -> Found | None:
        """Once more in memory at last, behind all that is waited for here. Raises `RunExpired`, and
        `KernelSpecNotFound` where a new run would have no kernel."""
        if run_id is not None and (owner, run_id) not in self._own_ids:
            stored = await self._store.find_run(owner, OWN, run_id)
            if stored is not None and stored.uid not in self._abandoned:
                return self._live.get(stored.uid) or PastRun(stored, self._store)
            if await self._store.is_expired(owner, run_id, session=OWN):
                raise RunExpired(f"The run {run_id!r} is over and no longer kept.")
        if run_id is None or (owner, run_id) not in self._own_ids:
            await asyncio.to_thread(self._launcher.kernelspec, spec_name)
        uid = None if run_id is None else self._own_ids.get((owner, run_id))
        return None if uid is None else self._live[uid]

    async def _of_this_id(self, session: Session, run_id: RunId | None) -> Found | None:
        """The newest. While a finished one is looked for another can take its ID: once more.

        Raises `RunExpired`; when even that is forgotten the ID is free.
        """
        if run_id is None:
            return None
        owner = session.origin.owner
        while (uid := session.run_ids.get(run_id)) is not None:
            try:
                found = await self._by_uid(owner, uid)
            except RunNotFound:
                found = None
            if session.run_ids.get(run_id) != uid:
                continue
            if found is None:
                del session.run_ids[run_id]
            return found
        return None

    def _new_run(
        self, owner: Owner, session: Session | None, request: RunRequest, digest: str
    ) -> LiveRun:
        """Known by its ID before anything is awaited, so that two calls at once make one run."""
        self._check_open()
        start_limit_s = self._settings.start_limit_s
        if session is not None:
            start_limit_s = session.origin.start_limit_s
            session.check_takes(request.plan.mode)
            session.queue.check_room()
        else:
            self._slots.check_room()
        _check_secrets(request)
        self._check_webhook(request)
        if (fault := self._fault()) is not None:
            raise fault
        request = _with_start_limit(request, start_limit_s)
        home = session or self._own_session(owner, request)
        scope = OWN if session is None else session.id
        live = self._recorded(home, request, digest, lambda: MsgId(self._new_id()), scope=scope)
        if session is None:
            self._slots.add(live, home, request.files)
        self._expect_reader(live)
        queue = home if session is not None else self._slots
        live.when_known = lambda: queue.put(live)  # stored first, executed then
        if self._webhooks is not None and request.webhook is not None:
            self._webhooks.watch(live)
        self._store.enlist(live)
        return live

    def _own_session(self, owner: Owner, request: RunRequest) -> Session:
        """Steps of a batch are executed by the kernel of commands, whatever language is theirs."""
        is_batch = request.plan.mode is Mode.BATCH
        name = self._settings.command_spec if is_batch else request.kernel_name
        assert name is not None, "a run with a kernel of its own is created with its kernelspec"
        start_limit_s = self._settings.own_start_limit_s(request.plan.limits.start)
        return self._sessions.make_own(owner, name, start_limit_s, request)

    def _check_webhook(self, request: RunRequest) -> None:
        """Raises `InvalidField`."""
        if request.webhook is None:
            return
        if self._webhooks is None:
            raise InvalidField({"webhook": "no webhooks are called from here"})
        self._webhooks.check(request.webhook)

    def _observe(self, session: Session, cell: Cell) -> LiveRun:
        """A run that its client has sent to the kernel itself; it is stored when it suits."""
        plan = RunPlan(
            mode=Mode.QUERY,
            steps=(StepPlan(code=cell.code),),
            allow_stdin=cell.allow_stdin,
            observed=True,
        )
        request = RunRequest(plan=plan, kernel_id=session.id)
        _, msg_id = cell.key
        return self._recorded(
            session, request, cell.digest, lambda: MsgId(msg_id), scope=session.id
        )

    def _recorded(
        self,
        session: Session,
        request: RunRequest,
        digest: str,
        new_id: Callable[[], MsgId],
        *,
        scope: str,
    ) -> LiveRun:
        uid = RunUid(self._new_id())
        run_id = request.run_id if request.run_id is not None else RunId(uid)
        identity = Identity(
            uid=uid,
            run_id=run_id,
            owner=session.origin.owner,
            session=scope,
            kernel_id=session.id,
            kernel_name=session.spec_of(request.plan.mode),
            digest=digest,
            plan=request.plan,
            labels=request.labels,
            webhook=request.webhook,
        )
        now = self._clock.now()
        machine = Run(uid, request.plan, now, new_id)
        live = LiveRun(
            identity,
            machine,
            Log(self._settings.log),
            self._store,
            self._clock,
            tail_chars=self._settings.tail_chars,
            retention_s=self._settings.retention_s,
            masker=session.masker(),
        )
        if scope == OWN:
            self._own_ids[identity.owner, run_id] = uid
        elif request.run_id is not None:  # ours is found by itself
            session.run_ids[run_id] = uid
        session.run_count += 1
        self._live[uid] = live
        self._forget_old()
        for action in machine.open():
            session.perform(live, action)
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
        live.hurry()
        if not await live.until(stored, STORE_LIMIT_S):
            raise self._fault() or StoreUnavailable("The run could not be stored in time.")

    def _abandon(self, live: LiveRun, message: str) -> None:
        """Its caller is told that it could not be taken: so it must not be executed later, and its
        ID is free for another try."""
        session, identity = self._session_of(live), live.identity
        self._forget(live)
        self._abandoned.add(identity.uid)
        if session is not None:
            if session.run_ids.get(identity.run_id) == identity.uid:  # no other try has it by now
                del session.run_ids[identity.run_id]
            session.feed(live, events.CancelAsked(message))

    def _forget_old(self) -> None:
        """The store has them; a run that has not ended is never forgotten. Two at a time: one more
        than comes, so that the number falls again, and little enough for each new run."""
        for _ in range(min(2, len(self._live) - self._settings.recent_runs)):
            uid, oldest = next(iter(self._live.items()))
            if oldest.over:
                self._forget(oldest)
            else:
                self._live.move_to_end(uid)

    def _forget(self, live: LiveRun) -> None:
        identity = live.identity
        live.needs_no_reader()
        self._live.pop(identity.uid, None)
        own = identity.owner, identity.run_id
        if self._own_ids.get(own) == identity.uid:
            del self._own_ids[own]

    # -- runs: finding -----------------------------------------------------------------------------

    async def run(
        self, owner: Owner, run_id: str, kernel_id: str | None = None, *, wait_s: float = 0.0
    ) -> RunInfo:
        """Who waits for the end alone makes no record be stored sooner."""
        found = await self._find(owner, run_id, kernel_id)
        if wait_s > 0 and isinstance(found, LiveRun):
            await self._await(found, lambda: found.over or found.is_closed, wait_s)
        return await self._told_info(found)

    async def runs(self, owner: Owner, query: RunQuery) -> RunPage:
        page, next_ = await list_runs(self._store, self._live.values(), owner, query)
        for one in page:  # so that what they wait for below is one commit
            if isinstance(one, LiveRun):
                one.hurry()
        return RunPage(runs=tuple([await self._told_info(one) for one in page]), next=next_)

    async def _find(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> Found:
        live = self._live.get(run_id)
        if (
            live is not None
            and live.identity.owner == owner
            and kernel_id in {None, live.identity.kernel_id}
        ):
            return live
        stored = await self._store.find_runs(owner, run_id)
        if kernel_id is not None:
            stored = [run for run in stored if run.kernel_id == kernel_id]
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
        if found.has_ended:
            found.hurry()
            await self._until(lambda: found.over, found)
        sent = () if self._webhooks is None else self._webhooks.deliveries(found)
        return found.info(self._queue_position(found), sent)

    def _queue_position(self, found: Found) -> int | None:
        session = self._session_of(found)
        if session is None or not isinstance(found, LiveRun):
            return None
        position = self._slots.position(found)
        return session.queue.position(found) if position is None else position

    async def run_plan(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> RunPlan:
        found = await self._find(owner, run_id, kernel_id)
        if isinstance(found, LiveRun) and not found.is_slim:
            return found.identity.plan
        plan = await self._store.plan(found.identity.uid)
        if plan is None:  # it was removed meanwhile
            raise RunExpired(f"The run {run_id!r} is over and no longer kept.")
        return plan

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
            await self._catch_up(found)
            await self._wait_behind(found, after, wait_s)
        over, told = found.standing.completed is not None, found.told
        page = await found.read(after, limit)
        next_ = page[-1].seq if page else after
        finished = over and next_ >= told
        sealed = finished and not self._may_go_on(found)
        return LogPage(records=tuple(page), next=next_, finished=finished, sealed=sealed)

    def _may_go_on(self, found: Found) -> bool:
        """A run that is over, whose kernel is its own and still there."""
        if not isinstance(found, LiveRun) or found.is_closed:
            return False
        return self._slots.holds(found) or found.told < found.log.next - 1

    async def _catch_up(self, live: LiveRun) -> None:
        """An observed run is stored with patience: whoever asks is told what there is by now."""
        last = live.log.next - 1
        if live.machine.plan.observed and live.told < last:
            live.hurry()
            await live.until(lambda: live.told >= last or live.over, CATCH_UP_S)

    async def _wait_behind(self, live: LiveRun, after: Seq, wait_s: float) -> None:
        live.follow()
        try:
            await self._await(
                live,
                lambda: live.told > after or (live.over and not self._may_go_on(live)),
                wait_s,
            )
        finally:
            live.unfollow()

    async def _await(self, live: LiveRun, happened: Callable[[], bool], wait_s: float) -> None:
        """For somebody who is there as long as he waits."""
        live.readers += 1
        try:
            await live.until(happened, wait_s)
        finally:
            live.readers -= 1
            live.read_at = self._clock.now().mono
            self._expect_reader(live)

    async def blob(self, owner: Owner, run_id: str, artifact: str) -> bytes:
        found = await self._find(owner, run_id)
        data = await self._store.blob(found.identity.uid, artifact)
        if data is None:
            raise _no_artifact(run_id, artifact)
        return data

    async def artifact(
        self,
        owner: Owner,
        run_id: str,
        artifact_id: str,
        *,
        start: int = 0,
        stop: int | None = None,
        kernel_id: str | None = None,
    ) -> ArtifactContent:
        found = await self._find(owner, run_id, kernel_id)
        told = found.artifacts if isinstance(found, LiveRun) else found.identity.artifacts
        artifact = next((one for one in told if one.id == artifact_id), None)
        pieces = await self._store.blob_pieces(found.identity.uid, artifact_id, start, stop)
        if artifact is None or pieces is None:
            raise _no_artifact(run_id, artifact_id)
        return ArtifactContent(artifact=artifact, pieces=pieces)

    # -- runs: acting ------------------------------------------------------------------------------

    async def give_input(
        self,
        owner: Owner,
        run_id: str,
        value: str | None,
        prompt_id: int | None = None,
        *,
        kernel_id: str | None = None,
    ) -> None:
        found = await self._find(owner, run_id, kernel_id)
        self._give(found, value, prompt_id)

    def _give(self, found: Found, value: str | None, prompt_id: int | None) -> None:
        session = self._session_of(found)
        given = events.InputGiven(value, prompt_id)
        if isinstance(found, LiveRun) and found.machine.was_given(given):
            return
        if session is None or not isinstance(found, LiveRun):
            raise NotWaiting("The run is over; the text was not kept.")
        session.feed(found, given)

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
            asked = events.CancelAsked(message, grace_s=grace_s, escalate=escalate)
            session.cancel(found, asked)
        if isinstance(found, LiveRun):
            self._slots.hear_no_more(found)
        return await self._told_info(found)

    def _session_of(self, found: Found) -> Session | None:
        if not isinstance(found, LiveRun):
            return None
        home = self._slots.session_of(found)
        return home or self._sessions.get(found.identity.kernel_id)

    async def reader_left(self, owner: Owner, run_id: str) -> None:
        try:
            found = await self._find(owner, run_id)
        except (NotFound, RunExpired):
            return  # it has been removed since
        if isinstance(found, LiveRun) and found.identity.plan.cancel_on_disconnect:
            left = self._clock.now().mono
            gone = "its last reader has gone"
            self._clock.call_later(READER_GRACE_S, lambda: self._cancel_unread(found, left, gone))

    def _expect_reader(self, live: LiveRun) -> None:
        """Whose reader dies between two pages is found out by silence: no connection tells it."""
        limit_s = live.identity.plan.unread_s
        live.needs_no_reader()
        if limit_s is None or live.has_ended:
            return
        now, gone = self._clock.now().mono, f"nobody has read its log for {limit_s:g} s"
        live.unread = self._clock.call_later(limit_s, lambda: self._cancel_unread(live, now, gone))

    def _cancel_unread(self, live: LiveRun, left: float, message: str) -> None:
        """Unless another reader has been there since."""
        session = self._session_of(live)
        if session is not None and not live.readers and live.read_at <= left:
            session.cancel(live, events.CancelAsked(message))

    async def delete_run(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> None:
        found = await self._find(owner, run_id, kernel_id)
        if not found.over:
            raise RunActive("The run is not over; cancel it first.")
        if (fault := self._fault()) is not None:
            raise fault
        if isinstance(found, LiveRun):
            found.close()  # or output of a thread would be stored after it
        await self._store.write(DeleteRun(found.identity.uid))
        if isinstance(found, LiveRun):
            self._forget(found)
            found.forget_text()  # its kernel remembers the run itself for a while

    # -- execute -----------------------------------------------------------------------------------

    async def execute(self, owner: Owner, call: ExecuteCall) -> Answer:
        deadline = self._clock.now().mono + call.wait_s
        if call.mode in {ExecuteMode.QUERY, ExecuteMode.BATCH}:
            request = await self._request(owner, call)
            found, _ = await self._create(owner, request, reuse_finished=call.reuse_finished)
        else:
            found = await self._in_session(owner, call)
        if call.mode is ExecuteMode.INPUT:
            self._give(found, call.code, call.prompt_id)
        given = await answer_call(found, call, self._clock, deadline)
        await self._known(found)
        return replace(given, queue_position=self._queue_position(found))

    async def _request(self, owner: Owner, call: ExecuteCall) -> RunRequest:
        limits = Limits(run=self._settings.run_limit_s)
        if call.mode is ExecuteMode.QUERY:
            plan = query_plan(call.code, limits)
        else:
            session = self._sessions.of(owner, call.kernel_id)
            wanted = call.commands.want_defaults
            language = await self._sessions.language(session) if wanted else None
            plan = batch_plan(call.commands, language, limits)
        return RunRequest(plan=plan, kernel_id=call.kernel_id, run_id=call.run_id)

    async def _in_session(self, owner: Owner, call: ExecuteCall) -> Found:
        """The run of this ID on this kernel; the kernel itself may be gone."""
        assert call.run_id is not None
        session = self._sessions.get(call.kernel_id)
        if session is not None and session.origin.owner == owner:
            uid = session.run_ids.get(call.run_id)
            if uid is not None:
                return await self._by_uid(owner, uid)
        return await self._find(owner, call.run_id, call.kernel_id)


def digest_of(plan: RunPlan, where: str) -> str:
    """Of all that decides what is executed, and where: two runs of one digest do the same."""
    in_order = replace(plan, context=dict(sorted(plan.context.items())))
    return hashlib.sha256(repr((in_order, where)).encode()).hexdigest()


def _own_kernel(request: RunRequest) -> str:
    """All that decides what a kernel of its own is like, but for secrets: what is kept of this must
    not tell whether somebody has guessed one."""
    shown = {name: value for name, value in request.env.items() if name not in request.secrets}
    kind = (
        request.kernel_name,
        None if request.cwd is None else str(request.cwd),
        sorted(shown.items()),
        sorted(request.secrets),
        None if request.files is None else _digests(request.files),
    )
    return f"own {kind!r}"


def _check_secrets(request: RunRequest) -> None:
    """Raises `InvalidField`, without the values. Names of files, output and the like are masked;
    an ID, a webhook, a context and labels are given back as they came."""
    env = request.env
    if not all(name in env for name in request.secrets):
        raise InvalidField({"secrets": "must name variables that are in env"})
    faults = {f"env.{name}": fault_of(env[name]) for name in request.secrets}
    if found := {field: why for field, why in faults.items() if why is not None}:
        raise InvalidField(found)
    mask = mask_of(env, request.secrets)
    context, labels, webhook = request.plan.context, request.labels, request.webhook
    told: dict[str, Sequence[str]] = {
        "runId": [request.run_id or ""],
        "webhook.url": [] if webhook is None else [webhook.url],
        "context": [*context, *context.values()],
        "labels": [*labels, *labels.values()],
    }
    for field, values in told.items():
        if mask is not None and any(map(mask.spans, values)):
            raise InvalidField({field: "holds the value of a secret, and would be stored"})


def _digests(files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    return sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items())


def _with_start_limit(request: RunRequest, default_s: float) -> RunRequest:
    limits = request.plan.limits
    if limits.start is not None:
        return request
    limits = replace(limits, start=default_s)
    return replace(request, plan=replace(request.plan, limits=limits))


def _no_artifact(run_id: str, artifact: str) -> ArtifactNotFound:
    return ArtifactNotFound(f"The run {run_id!r} has no artifact {artifact!r}.")
