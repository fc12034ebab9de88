"""The sessions there are: made, found by ID or name, ended; each belongs to one owner.

Knows names, folders, limits and what the store keeps of a session. Must not know runs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from kernel_gateway.errors import (
    KernelNotFound,
    KernelSpecNotFound,
    SessionExists,
    SessionNotFound,
    TooManyKernels,
)
from kernel_gateway.execution.feed import SessionFeed
from kernel_gateway.execution.folder import SessionFolder
from kernel_gateway.execution.languages import language_of_image, language_of_spec
from kernel_gateway.execution.session import Origin, Session
from kernel_gateway.kernels.kernel import KernelId
from kernel_gateway.service import SessionEvent, SessionEventName, SessionView
from kernel_gateway.store.values import PutSession, StoredSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kernel_gateway.execution.clock import Clock
    from kernel_gateway.execution.languages import Language
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.execution.tasks import Tasks
    from kernel_gateway.kernels.kernel import Launcher
    from kernel_gateway.service import KernelRequest, Owner, SessionRequest
    from kernel_gateway.store.store import Store

log = logging.getLogger("kernel_gateway.execution")

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
        tasks: Tasks,
    ) -> None:
        self.feed = SessionFeed()
        self._launcher = launcher
        self._store = store
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._tasks = tasks
        self._by_id: dict[str, Session] = {}
        self._by_name: dict[tuple[Owner, str], Session] = {}

    # -- finding -----------------------------------------------------------------------------------

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
            env=origin.env,
            kernel=session.view(),
            created=created,
            created_at=session.created.wall,
            age_s=self._clock.now().mono - session.created.mono,
            run_count=session.run_count,
        )

    # -- making ------------------------------------------------------------------------------------

    def make_kernel(self, owner: Owner, request: KernelRequest) -> Session:
        """A kernel as Jupyter's clients make it: a session without a folder, named by its ID."""
        self._check_room()
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
        )
        session = self._made(session_id, origin)
        session.launch()
        self._register(session)
        return session

    async def make(self, owner: Owner, request: SessionRequest) -> tuple[Session, bool]:
        """The session of that name, and whether it was made now."""
        kind = await self._kind(request.image)
        if (known := self._known(owner, request)) is not None:
            return known, False
        self._check_room()
        session_id = KernelId(self._new_id())
        folder = self._folder(session_id)
        origin = Origin(
            owner=owner,
            name=request.name or session_id,
            image=request.image,
            spec_name=kind[0],
            language=kind[1],
            tag=request.tag,
            env=request.env,
            cwd=folder.path,
            start_limit_s=self._settings.start_limit_s,
            completes=True,
        )
        session = self._made(session_id, origin, folder)
        self._register(session)
        await self._bring_up(session, folder)
        return session, True

    async def _bring_up(self, session: Session, folder: SessionFolder) -> None:
        """It can be found by now, so that two calls at once make one session."""
        try:
            await asyncio.to_thread(folder.create)
            if self._by_id.get(session.id) is session:  # not deleted meanwhile
                session.launch()
        except BaseException:
            await self.end(session)
            raise

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

    def _made(
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
        )

    def _register(self, session: Session) -> None:
        self._by_id[session.id] = session
        self._by_name[session.origin.owner, session.origin.name] = session
        for event in _BEGINNING:
            self._tell(session, event, "")
        self._tasks.start(self._store.write(self._row(session)))

    def _check_room(self) -> None:
        limit = self._settings.max_kernels
        if limit is not None and len(self._by_id) >= limit:
            raise TooManyKernels(f"{limit} kernels are running already; delete one first.")

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
        if self._settings.sessions_dir is not None:
            await asyncio.to_thread(_remove_all, self._settings.sessions_dir)

    # -- ending ------------------------------------------------------------------------------------

    async def end(self, session: Session, grace_s: float | None = None) -> None:
        """Its name is free at once; returns when its processes and its files are gone."""
        self._by_id.pop(session.id, None)
        self._by_name.pop((session.origin.owner, session.origin.name), None)
        await session.delete(grace_s)
        if session.folder is not None:
            await asyncio.to_thread(session.folder.remove)
        self._tell(session, SessionEventName.TERMINATED, "")
        self._tasks.start(self._store.write(self._row(session, over=True)))

    async def end_all(self, grace_s: float | None = None) -> Sequence[PutSession]:
        """What is to be stored of it is given back: the gateway is on its way down."""
        sessions = list(self._by_id.values())
        await asyncio.gather(*(session.delete(grace_s) for session in sessions))
        folders = [session.folder for session in sessions if session.folder is not None]
        await asyncio.gather(*(asyncio.to_thread(folder.remove) for folder in folders))
        for session in sessions:
            self._tell(session, SessionEventName.TERMINATED, "shutdown")
        self._by_id.clear()
        self._by_name.clear()
        return [self._row(session, over=True) for session in sessions]

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


def _remove_all(root: Path) -> None:
    if root.is_dir():
        for folder in root.iterdir():
            SessionFolder(folder).remove()
