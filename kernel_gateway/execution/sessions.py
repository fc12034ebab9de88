"""The sessions there are: made, found by ID or name, ended; each belongs to one owner.

Knows names, folders, limits and what the store keeps of a session. Must not know runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from kernel_gateway.errors import (
    GatewayError,
    KernelNotFound,
    KernelSpecNotFound,
    SessionExists,
    SessionNotFound,
    TooManyKernels,
)
from kernel_gateway.execution.artifacts import Collector, furnished
from kernel_gateway.execution.feed import SessionFeed
from kernel_gateway.execution.folder import SessionFolder
from kernel_gateway.execution.languages import language_of_image, language_of_spec
from kernel_gateway.execution.losses import DELETED
from kernel_gateway.execution.session import Origin, Session
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.kernels.kernel import KernelId
from kernel_gateway.process_limits import descriptors
from kernel_gateway.runs.masking import shown_env
from kernel_gateway.service import SessionEvent, SessionEventName, SessionView
from kernel_gateway.store.values import PutSession, StoredSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.execution.culling import Culler
    from kernel_gateway.execution.languages import Language
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.execution.session import Cell
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.kernels.kernel import Launcher
    from kernel_gateway.runs.records import Reason
    from kernel_gateway.service import KernelRequest, Owner, RunRequest, SessionRequest
    from kernel_gateway.store.store import Store

log = logging.getLogger("kernel_gateway.execution")

CLOSE_LIMIT_S = 2.0  # for what is written last
LOOK_AGAIN_S = 1.0  # for descriptors: nobody tells when there are some again

_BEGINNING = (
    SessionEventName.ENQUEUED,
    SessionEventName.SCHEDULED,
    SessionEventName.PREPARING,
    SessionEventName.CREATING,
)


class Sessions:
    def __init__(
        self,
        launcher: Launcher,
        store: Store,
        settings: EngineSettings,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        check_open: Callable[[], None],
        observe: Callable[[Session, Cell], LiveRun],
        culler: Culler,
    ) -> None:
        self.feed = SessionFeed()
        #: Called when one is ended, with the reason; not when all end with the gateway.
        self.when_ended: Callable[[Session, str], None] = _tell_nobody
        #: Called when there may be room for another kernel.
        self.when_room: Callable[[], None] = _nobody_waits
        self._launcher = launcher
        self._store = store
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._check_open = check_open  # raises `Draining`
        self._observe = observe
        self._culler = culler
        self._collector = Collector(store, clock)
        self._tasks = Tasks("sessions")
        self._ends: set[asyncio.Future[None]] = set()  # of sessions that are being ended
        self._expected: set[Session] = set()  # those that have a place, and no process yet
        self._looking: Handle | None = None  # for descriptors
        self._by_id: dict[str, Session] = {}
        self._by_name: dict[tuple[Owner, str], Session] = {}

    # -- finding -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, session_id: str) -> Session | None:
        return self._by_id.get(session_id)

    def of(self, owner: Owner, session_id: str) -> Session:
        """Raises `KernelNotFound`."""
        session = self._by_id.get(session_id)
        if session is None or session.origin.owner != owner:
            raise KernelNotFound(f"There is no kernel {session_id!r}.")
        return session

    def named(self, owner: Owner, name_or_id: str) -> Session:
        """Raises `SessionNotFound`."""
        session = self._by_name.get((owner, name_or_id)) or self._by_id.get(name_or_id)
        if session is None or session.origin.owner != owner:
            raise SessionNotFound(f"There is no session {name_or_id!r}.")
        return session

    def all_of(self, owner: Owner) -> list[Session]:
        """Oldest first."""
        return [session for session in self._by_id.values() if session.origin.owner == owner]

    def view(self, session: Session, *, created: bool = False) -> SessionView:
        origin = session.origin
        return SessionView(
            id=session.id,
            name=origin.name,
            owner=origin.owner,
            image=origin.image,
            language=origin.language.name if origin.language else "",
            tag=origin.tag,
            env=shown_env(origin.env, origin.secrets),
            kernel=session.view(),
            created=created,
            created_at=session.created.wall,
            age_s=self._clock.now().mono - session.created.mono,
            run_count=session.run_count,
        )

    # -- making ------------------------------------------------------------------------------------

    def make_kernel(
        self, owner: Owner, request: KernelRequest, *, instead_of: Session | None = None
    ) -> Session:
        """A kernel as Jupyter's clients make it: a session without a folder, named by its ID.

        `instead_of`: one that the caller ends as soon as this returns; limits do not count it.
        """
        session_id = KernelId(self._new_id())
        spec_name = request.name or self._launcher.default_spec()
        origin = Origin(
            owner=owner,
            name=session_id,
            image=spec_name,
            spec_name=spec_name,
            language=None,
            env=request.env,
            cwd=request.cwd,
            start_limit_s=request.start_limit_s or self._settings.start_limit_s,
            for_jupyter_server=request.for_jupyter_server,
        )
        return self._launched(
            session_id, origin, None, idle_s=request.cull_idle_s, instead_of=instead_of
        )

    async def make(self, owner: Owner, request: SessionRequest) -> tuple[Session, bool]:
        """The session of that name, and whether it was made now."""
        spec_name, language = await self._kind(request.image)
        if (known := await self._usable(owner, request)) is not None:
            return known, False
        session_id = KernelId(self._new_id())
        folder = self._folder(session_id)
        origin = Origin(
            owner=owner,
            name=request.name or session_id,
            image=request.image,
            spec_name=spec_name,
            language=language,
            tag=request.tag,
            env=request.env,
            cwd=folder.path,
            start_limit_s=self._settings.start_limit_s,
        )
        await asyncio.to_thread(folder.create)
        try:  # whoever was faster has the name
            known = self._known(owner, request)
            session = known or self._launched(session_id, origin, folder)
        except BaseException:
            await asyncio.to_thread(_remove, folder)
            raise
        if known is not None:
            await asyncio.to_thread(_remove, folder)
        return session, known is None

    async def _usable(self, owner: Owner, request: SessionRequest) -> Session | None:
        """One that never came up is out of the way of another try."""
        known = self._known(owner, request)
        if known is None or not known.never_came_up:
            return known
        await self.end(known)
        return self._known(owner, request)

    def _launched(
        self,
        session_id: KernelId,
        origin: Origin,
        folder: SessionFolder | None,
        *,
        idle_s: float | None = None,
        instead_of: Session | None = None,
    ) -> Session:
        """It can be found when its kernel is on its way, and not sooner: nothing in here waits."""
        self._check_open()
        self._check_room(origin, instead_of)
        session = self._new(session_id, origin, folder)
        session.launch()
        self._register(session)
        self._culler.watch(session, idle_s)
        return session

    def _new(
        self, session_id: KernelId, origin: Origin, folder: SessionFolder | None = None
    ) -> Session:
        return Session(
            session_id,
            origin,
            folder=folder,
            launcher=self._launcher,
            settings=self._settings,
            clock=self._clock,
            new_id=self._new_id,
            tell=self._tell,
            observe=self._observe,
            check_open=self._check_open,
            artifact_dir=self._settings.artifact_dir(session_id),
            collect=self._collector.collect,
        )

    def make_own(
        self, owner: Owner, spec_name: str, start_limit_s: float, request: RunRequest
    ) -> Session:
        """The kernel of one run, without a process and known to nobody until `admit`. A folder for
        the files of the request is there after `furnish`.

        Raises `TooManyKernels` where the limits leave room for no kernel at all.
        """
        session_id = KernelId(self._new_id())
        folder = None if request.files is None else self._folder(session_id)
        origin = Origin(
            owner=owner,
            name=session_id,
            image=spec_name,
            spec_name=spec_name,
            language=None,
            env=request.env,
            secrets=request.secrets,
            cwd=request.cwd if folder is None else folder.path,
            start_limit_s=start_limit_s,
        )
        self._check_limits(origin, [])
        return self._new(session_id, origin, folder)

    def expect(self, session: Session) -> None:
        """Limits count it until `expect_no_more`; while it is furnished nobody takes its place."""
        self._expected.add(session)

    def expect_no_more(self, session: Session) -> None:
        self._expected.discard(session)

    async def furnish(self, session: Session, files: Mapping[str, bytes]) -> None:
        """Put them into its new folder. Raises `OutsideFolder` and `OSError`."""
        assert session.folder is not None
        session.work = await asyncio.to_thread(furnished, session.folder, files)

    def has_room(self, session: Session) -> bool:
        """For one that is to be admitted."""
        try:
            self._check_room(session.origin, None)
        except _TooFewDescriptors:
            self._look_again()
            return False
        except TooManyKernels:
            return False
        return True

    def _look_again(self) -> None:
        if self._looking is None:
            self._looking = self._clock.call_later(LOOK_AGAIN_S, self._look)

    def _look(self) -> None:
        self._looking = None
        self.when_room()

    def admit(self, session: Session) -> None:
        """Launch it. It is never culled: it ends with its run. Raises what a launcher raises."""
        session.launch()
        self._register(session)

    def _known(self, owner: Owner, request: SessionRequest) -> Session | None:
        """The one to be used again. Raises `SessionExists`."""
        name = request.name
        known = self._by_name.get((owner, name)) if name is not None else None
        if known is None:
            return None
        if not request.reuse or known.origin.image != request.image:
            raise SessionExists(known.origin.name, known.id)
        return known

    async def _kind(self, image: str) -> tuple[str, Language | None]:
        """Kernelspec and language of an image. Raises `KernelSpecNotFound`."""
        settings = self._settings
        language = language_of_image(image, settings.languages, settings.images)
        if language is not None:
            return language.kernelspec, language
        name = settings.images.get(image, image)
        own = await self._language_of_spec(name)
        if own is not None:
            return name, language_of_spec(name, own, settings.languages)
        known = ", ".join(sorted(one.name for one in settings.languages))
        raise KernelSpecNotFound(
            f"There is no kernel for the image {image!r}. Known are {known}, and the name of any "
            "installed kernelspec; the setting Languages.images adds others."
        )

    async def language(self, session: Session) -> Language | None:
        """Of a session's code: what the default commands of its batch runs go by."""
        origin = session.origin
        if origin.language is not None:
            return origin.language
        own = await self._language_of_spec(origin.spec_name)
        return language_of_spec(origin.spec_name, own or "", self._settings.languages)

    async def _language_of_spec(self, name: str) -> str | None:
        """As its kernel.json has it; None when there is no such kernelspec."""
        for entry in await asyncio.to_thread(self._launcher.kernelspecs):
            if entry.name == name:
                return str(entry.spec.get("language", ""))
        return None

    def _register(self, session: Session) -> None:
        self._by_id[session.id] = session
        self._by_name[session.origin.owner, session.origin.name] = session
        for event in _BEGINNING:
            self._tell(session, event, "")
        self._tasks.start(self._store.write(self._row(session)))

    def _check_room(self, wanted: Origin, instead_of: Session | None) -> None:
        """Raises `TooManyKernels`. Dead ones count: what has died may be had by the thousand."""
        there = [one for one in (*self._by_id.values(), *self._expected) if one is not instead_of]
        self._check_limits(wanted, [one.origin for one in there])
        _check_descriptors(starting=sum(one.is_starting for one in there))

    def _check_limits(self, wanted: Origin, origins: list[Origin]) -> None:
        spec_name = wanted.spec_name.lower()  # as kernelspecs are found
        settings = self._settings
        _check_limit("Runs.max_kernels", "", settings.max_kernels, len(origins))
        _check_limit(
            "Runs.max_kernels_per_owner",
            " of yours",
            settings.max_kernels_per_owner,
            sum(one.owner == wanted.owner for one in origins),
        )
        _check_limit(
            "Runs.max_kernels_per_spec",
            f" of the kernelspec {spec_name!r}",
            _lowered(settings.max_kernels_per_spec).get(spec_name),
            sum(one.spec_name.lower() == spec_name for one in origins),
        )

    def _folder(self, session_id: str) -> SessionFolder:
        root = self._settings.sessions_dir
        assert root is not None, "sessions need EngineSettings.sessions_dir"
        return SessionFolder(root / session_id)

    def _tell(self, session: Session, event: SessionEventName, reason: str) -> None:
        origin = session.origin
        self.feed.tell(
            SessionEvent(
                event=event,
                session_id=session.id,
                session_name=origin.name,
                owner=origin.owner,
                reason=reason,
            )
        )

    async def remove_left_behind(self) -> None:
        """Folders of sessions whose gateway was killed: they ended with it."""
        for root in (self._settings.sessions_dir, self._settings.artifacts_dir):
            if root is not None:
                await asyncio.to_thread(_remove_all, root)

    # -- ending ------------------------------------------------------------------------------------

    async def end(self, session: Session, why: Reason = DELETED) -> None:
        """Its name is free at once; returns when its processes and its files are gone."""
        self._forget(session)
        self.when_ended(session, why.message)
        with self._ending():
            await session.delete(why=why)
            await self.remove_folders(session)
            self._tell(session, SessionEventName.TERMINATED, "")
            self._tasks.start(self._store.write(self._row(session, over=True)))

    async def close(self, grace_s: float | None) -> None:
        """End all that there are, and wait for those that are being ended, until that is stored.

        No other is made meanwhile: `check_open` has to see to that.
        """
        if self._looking is not None:
            self._looking.cancel()
        sessions = list(self._by_id.values())
        await asyncio.gather(*(session.delete(grace_s) for session in sessions))
        await asyncio.gather(*(self.remove_folders(session) for session in sessions))
        for session in sessions:
            self._tell(session, SessionEventName.TERMINATED, "shutdown")
            self._forget(session)
        while self._ends:
            await asyncio.wait(self._ends)
        rows = [self._row(session, over=True) for session in sessions]
        self._tasks.start(self._store.write(*rows))
        with contextlib.suppress(TimeoutError):  # the disk takes nothing: the store will say so
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._tasks.join()
        await self._tasks.cancel()

    async def remove_folders(self, session: Session) -> None:
        """What cannot be removed is said and stays: the session is over all the same."""
        if session.folder is not None:
            await asyncio.to_thread(_remove, session.folder)
        if session.artifact_dir is not None:
            await asyncio.to_thread(_remove, SessionFolder(session.artifact_dir))

    def _forget(self, session: Session) -> None:
        """Its name may be that of another by now."""
        self._culler.forget(session)
        self._by_id.pop(session.id, None)
        name = session.origin.owner, session.origin.name
        if self._by_name.get(name) is session:
            del self._by_name[name]
        self.when_room()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """`close` waits for it."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.add(over)
        try:
            yield
        finally:
            self._ends.discard(over)
            over.set_result(None)

    def _row(self, session: Session, *, over: bool = False) -> PutSession:
        origin = session.origin
        return PutSession(
            StoredSession(
                id=session.id,
                owner=origin.owner,
                kernel_name=origin.spec_name,
                created_at=session.created.wall,
                ended_at=self._clock.now().wall if over else None,
                generation=session.kernel.generation,
            )
        )


def _tell_nobody(session: Session, why: str) -> None:
    pass


def _nobody_waits() -> None:
    pass


def _check_limit(name: str, which: str, limit: int | None, count: int) -> None:
    if limit is not None and count >= limit:
        raise TooManyKernels(
            f"The limit {name} is {limit}, and there are so many kernels{which} already; "
            "delete one first."
        )


class _TooFewDescriptors(TooManyKernels):
    """This will pass without the end of a kernel as well."""


def _check_descriptors(*, starting: int) -> None:
    """Those that are on their way up have not taken all of theirs yet."""
    now = descriptors()
    if not now.have_room(kernels=1 + starting):
        raise _TooFewDescriptors(
            f"The gateway has {now}, and some are kept back: there is no room for another kernel. "
            "Delete one first, or start the gateway with a higher limit."
        )


def _lowered(limits: Mapping[str, int]) -> dict[str, int]:
    return {name.lower(): limit for name, limit in limits.items()}


def _remove(folder: SessionFolder) -> None:
    try:
        folder.remove()
    except GatewayError as fault:
        log.warning("%s", fault)


def _remove_all(root: Path) -> None:
    if root.is_dir():
        for folder in root.iterdir():
            _remove(SessionFolder(folder))
