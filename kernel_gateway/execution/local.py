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
from typing import TYPE_CHECKING, cast

from kernel_gateway.errors import (
    Draining,
    FileNotThere,
    GatewayError,
    KernelSpecNotFound,
    NotWaiting,
    OurFault,
    RunExpired,
    RunIdAmbiguous,
    RunIdConflict,
    RunNotFound,
    StoreUnavailable,
)
from kernel_gateway.execution.answering import answer_call
from kernel_gateway.execution.archives import pieces
from kernel_gateway.execution.clock import Clock, LoopClock
from kernel_gateway.execution.culling import Culler
from kernel_gateway.execution.listing import list_runs
from kernel_gateway.execution.live import Identity, LiveRun
from kernel_gateway.execution.losses import culled
from kernel_gateway.execution.notebook_sessions import NotebookSessions
from kernel_gateway.execution.past import PastRun
from kernel_gateway.execution.plans import batch_plan, query_plan
from kernel_gateway.execution.printed import printed
from kernel_gateway.execution.recovery import lost_run
from kernel_gateway.execution.resources import read_resource, resource_names
from kernel_gateway.execution.sessions import Sessions
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.messaging.message import MsgId
from kernel_gateway.runs import events
from kernel_gateway.runs.log import Log
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Seq
from kernel_gateway.runs.run import Run
from kernel_gateway.service import (
    ApiKey,
    ChannelsClient,
    ChannelsLink,
    Completion,
    ExecuteCall,
    ExecuteMode,
    FileListing,
    KernelInfoView,
    KernelRequest,
    KernelSpecsView,
    KernelSpecView,
    LogPage,
    NotebookSessionChange,
    NotebookSessionRequest,
    NotebookSessionView,
    Owner,
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

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from kernel_gateway.execution.answering import Found
    from kernel_gateway.execution.folder import SessionFolder
    from kernel_gateway.execution.session import Cell, Session
    from kernel_gateway.kernels.kernel import Launcher
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.answer import Answer
    from kernel_gateway.store.store import Store
    from kernel_gateway.store.values import StoredRun, Write

log = logging.getLogger("kernel_gateway.execution")

CATCH_UP_S = 1.0  # for what was gathered of an observed run to be stored
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
        self._live: OrderedDict[str, LiveRun] = OrderedDict()  # by uid, oldest first
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
        self._draining = False

    # -- its life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """What a crashed gateway left behind becomes true first: its runs are lost."""
        await self._sessions.remove_left_behind()
        for run in await self._store.unfinished():
            await self._store.write(*await self._lost(run))
        await self._notebooks.load()
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
        self._culler.stop()
        await self._sessions.close(grace_s)
        for live in self._live.values():
            live.hurry()
        await self._culler.join()
        await self._notebooks.close()
        await self._tasks.cancel()

    async def _sweep_for_ever(self) -> None:
        while True:
            self._notebooks.forget_old(self._settings.retention_s)
            try:
                await self._store.sweep(self._clock.now().wall)
            except GatewayError as fault:  # there is another time
                log.warning("runs whose retention is over could not be removed: %s", fault)
            await asyncio.sleep(self._settings.sweep_every_s)

    # -- kernels -----------------------------------------------------------------------------------

    async def kernelspecs(self) -> KernelSpecsView:
        return await asyncio.to_thread(self._read_specs)

    def _read_specs(self) -> KernelSpecsView:
        return KernelSpecsView(
            default=self._launcher.default_spec(),
            specs=tuple(
                KernelSpecView(
                    name=entry.name,
                    display_name=str(entry.spec.get("display_name", entry.name)),
                    language=str(entry.spec.get("language", "")),
                    spec=cast("Mapping[str, Json]", entry.spec),  # it was read from JSON
                    resources=resource_names(entry.resource_dir),
                )
                for entry in self._launcher.kernelspecs()
            ),
        )

    async def kernelspec_file(self, name: str, file: str) -> bytes:
        return await asyncio.to_thread(self._read_spec_file, name, file)

    def _read_spec_file(self, name: str, file: str) -> bytes:
        for entry in self._launcher.kernelspecs():
            if entry.name.lower() == name.lower():  # as kernels are started by it
                return read_resource(entry.resource_dir, file)
        raise KernelSpecNotFound(f"There is no kernelspec {name[:200]!r}.")

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
        found = await self._create(owner, request)
        await self._known(found)
        return await self._told_info(found)

    async def _create(
        self, owner: Owner, request: RunRequest, *, reuse_finished: bool = False
    ) -> Found:
        """The run of this ID if there is one with the same body, else a new one."""
        session = self._sessions.of(owner, request.kernel_id)
        digest = digest_of(request.plan)
        found = await self._of_this_id(session, request.run_id)
        if found is not None and found.identity.digest == digest:
            return found
        if found is not None and not (reuse_finished and found.over):
            raise RunIdConflict("This run ID is taken by a run with another body.")
        self._check_open()
        session.check_takes(request.plan.mode)
        session.queue.check_room()
        if (fault := self._fault()) is not None:
            raise fault
        return self._new_run(session, request, digest)

    async def _of_this_id(self, session: Session, run_id: RunId | None) -> Found | None:
        """The newest. While a finished one is looked for another can take its ID: once more."""
        if run_id is None:
            return None
        owner = session.origin.owner
        while (uid := session.run_ids.get(run_id)) is not None:
            found = await self._by_uid(owner, uid)
            if session.run_ids.get(run_id) == uid:
                return found
        return None

    def _new_run(self, session: Session, request: RunRequest, digest: str) -> LiveRun:
        """Known by its ID before anything is awaited, so that two calls at once make one run."""
        live = self._recorded(session, request, digest, lambda: MsgId(self._new_id()))
        live.when_known = lambda: session.put(live)  # stored first, executed then
        self._store.enlist(live)
        return live

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
        return self._recorded(session, request, cell.digest, lambda: MsgId(msg_id))

    def _recorded(
        self, session: Session, request: RunRequest, digest: str, new_id: Callable[[], MsgId]
    ) -> LiveRun:
        uid = RunUid(self._new_id())
        run_id = request.run_id if request.run_id is not None else RunId(uid)
        identity = Identity(
            uid=uid,
            run_id=run_id,
            owner=session.origin.owner,
            session=session.id,
            kernel_name=session.spec_of(request.plan.mode),
            digest=digest,
            plan=request.plan,
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
        )
        if request.run_id is not None:  # ours is found by itself
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
        self._live.pop(identity.uid, None)
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
                del self._live[uid]
            else:
                self._live.move_to_end(uid)

    # -- runs: finding -----------------------------------------------------------------------------

    async def run(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> RunInfo:
        return await self._told_info(await self._find(owner, run_id, kernel_id))

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
            found.hurry()
            await self._until(lambda: found.over, found)
        return found.info(self._queue_position(found))

    def _queue_position(self, found: Found) -> int | None:
        session = self._session_of(found)
        if session is None or not isinstance(found, LiveRun):
            return None
        return session.queue.position(found)

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
        return LogPage(records=tuple(page), next=next_, finished=over and next_ >= told)

    async def _catch_up(self, live: LiveRun) -> None:
        """An observed run is stored with patience: whoever asks is told what there is by now."""
        last = live.log.next - 1
        if live.machine.plan.observed and live.told < last:
            live.hurry()
            await live.until(lambda: live.told >= last or live.over, CATCH_UP_S)

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
            asked = events.CancelAsked(message, grace_s=grace_s, escalate=escalate)
            session.cancel(found, asked)
        return await self._told_info(found)

    def _session_of(self, found: Found) -> Session | None:
        if not isinstance(found, LiveRun):
            return None
        return self._sessions.get(found.identity.session)

    # -- execute -----------------------------------------------------------------------------------

    async def execute(self, owner: Owner, call: ExecuteCall) -> Answer:
        deadline = self._clock.now().mono + call.wait_s
        if call.mode in {ExecuteMode.QUERY, ExecuteMode.BATCH}:
            request = await self._request(owner, call)
            found = await self._create(owner, request, reuse_finished=call.reuse_finished)
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


def digest_of(plan: RunPlan) -> str:
    """Of all that decides what is executed: two runs of one digest do the same."""
    return hashlib.sha256(repr(plan).encode()).hexdigest()
