"""Sessions as Jupyter's clients know them: the path of a document, and the kernel it runs on.

Knows paths, and which kernel belongs to which. They are kept over restarts of the gateway, kernels
are not: a session whose kernel is gone says so, and gets another one when it is opened again. What
is decided here is decided without waiting, so that two calls at once make one session.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from kernel_gateway.errors import SessionExists, SessionNotFound
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.service import (
    KernelInfoView,
    KernelState,
    NotebookSessionView,
)
from kernel_gateway.store.values import (
    DeleteNotebookSession,
    PutNotebookSession,
    StoredNotebookSession,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_gateway.execution.clock import Clock
    from kernel_gateway.execution.session import Session
    from kernel_gateway.execution.sessions import Sessions
    from kernel_gateway.service import (
        KernelRequest,
        NotebookSessionChange,
        NotebookSessionRequest,
        Owner,
    )
    from kernel_gateway.store.store import Store
    from kernel_gateway.store.values import Write

STORE_LIMIT_S = 2.0  # that an answer waits for the disk: a session works without one, too
ENDED_WITH_US = "The kernel ended with the gateway."
ENDED = "The kernel has ended."


class NotebookSessions:
    def __init__(
        self, sessions: Sessions, store: Store, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._by_id: dict[str, StoredNotebookSession] = {}  # oldest first
        self._by_path: dict[tuple[Owner, str], str] = {}
        self._tasks = Tasks("notebook sessions")
        sessions.when_ended = self._kernel_ended

    # -- its life ----------------------------------------------------------------------------------

    async def load(self) -> None:
        """What the last gateway has left: paths without kernels."""
        now = self._clock.now().wall
        for record in await self._store.notebook_sessions():
            if record.gone_at is None:
                self._put(replace(record, gone_at=now, reason=ENDED_WITH_US))
            else:
                self._keep(record)

    async def close(self) -> None:
        """Everything is stored when it returns, if the disk takes it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STORE_LIMIT_S):
                await self._tasks.join()
        await self._tasks.cancel()

    def forget_old(self, retention_s: float) -> None:
        """Those whose kernel has been gone for so long; else every path there ever was stays."""
        until = self._clock.now().wall - retention_s
        for record in list(self._by_id.values()):
            if record.gone_at is not None and record.gone_at <= until:
                self._remove(record)

    # -- finding -----------------------------------------------------------------------------------

    def view(self, owner: Owner, session_id: str) -> NotebookSessionView:
        return self._view(self._of(owner, session_id))

    def all_of(self, owner: Owner) -> list[NotebookSessionView]:
        return [self._view(record) for record in self._by_id.values() if record.owner == owner]

    def _of(self, owner: Owner, session_id: str) -> StoredNotebookSession:
        """Raises `SessionNotFound`."""
        record = self._by_id.get(session_id)
        if record is None or record.owner != owner:
            raise SessionNotFound(f"There is no session {session_id[:200]!r}.")
        return record

    def _at(self, owner: Owner, path: str) -> StoredNotebookSession | None:
        known = self._by_path.get((owner, path))
        return None if known is None else self._by_id[known]

    def _view(self, record: StoredNotebookSession, *, created: bool = False) -> NotebookSessionView:
        kernel = self._sessions.get(record.kernel_id)
        return NotebookSessionView(
            id=record.id,
            path=record.path,
            name=record.name,
            type=record.type,
            kernel=_gone(record) if kernel is None else kernel.view(),
            created=created,
        )

    # -- acting ------------------------------------------------------------------------------------

    async def open(self, owner: Owner, request: NotebookSessionRequest) -> NotebookSessionView:
        record = self._at(owner, request.path)
        if record is None:
            kernel = self._kernel(owner, request.kernel, request.kernel_id, None)
            made = self._made(owner, request, kernel)
            await self._stored(self._put(made))
            return self._view(made, created=True)
        if self._lives(record):
            return self._view(record)
        wanted = replace(request.kernel, name=request.kernel.name or record.kernel_name)
        reopened = replace(record, name=request.name or record.name, type=request.type)
        return await self._with_kernel(reopened, wanted, request.kernel_id)

    async def change(
        self, owner: Owner, session_id: str, change: NotebookSessionChange
    ) -> NotebookSessionView:
        record = self._of(owner, session_id)
        changed = replace(
            record,
            path=record.path if change.path is None else change.path,
            name=record.name if change.name is None else change.name,
            type=record.type if change.type is None else change.type,
        )
        other = self._at(owner, changed.path)
        if other is not None and other.id != record.id:
            raise SessionExists(changed.path, other.id)
        if change.kernel is not None or change.kernel_id is not None:
            return await self._with_kernel(changed, change.kernel, change.kernel_id)
        await self._stored(self._put(changed))
        return self.view(owner, session_id)

    async def end(self, owner: Owner, session_id: str) -> None:
        record = self._of(owner, session_id)
        stored = self._remove(record)
        kernel = self._sessions.get(record.kernel_id)
        if kernel is not None:
            await self._sessions.end(kernel)
        await self._stored(stored)

    def _made(
        self, owner: Owner, request: NotebookSessionRequest, kernel: Session
    ) -> StoredNotebookSession:
        return StoredNotebookSession(
            id=self._new_id(),
            owner=owner,
            path=request.path,
            name=request.name,
            type=request.type,
            kernel_id=kernel.id,
            kernel_name=kernel.origin.spec_name,
            created_at=self._clock.now().wall,
        )

    async def _with_kernel(
        self, record: StoredNotebookSession, wanted: KernelRequest | None, kernel_id: str | None
    ) -> NotebookSessionView:
        """The new kernel takes the place of the present one, which ends if nobody else has it."""
        own = self._own(record)
        kernel = self._kernel(record.owner, wanted, kernel_id, own)
        stored = self._put(
            replace(
                record,
                kernel_id=kernel.id,
                kernel_name=kernel.origin.spec_name,
                gone_at=None,
                reason=None,
            )
        )
        if own is not None and own is not kernel:
            await self._sessions.end(own)
        await self._stored(stored)
        return self.view(record.owner, record.id)

    def _kernel(
        self,
        owner: Owner,
        wanted: KernelRequest | None,
        kernel_id: str | None,
        instead_of: Session | None,
    ) -> Session:
        """Raises `KernelNotFound`, `KernelSpecNotFound`, `TooManyKernels`."""
        if kernel_id is not None:
            return self._sessions.of(owner, kernel_id)
        assert wanted is not None
        return self._sessions.make_kernel(owner, wanted, instead_of=instead_of)

    # -- their kernels -----------------------------------------------------------------------------

    def _lives(self, record: StoredNotebookSession) -> bool:
        kernel = self._sessions.get(record.kernel_id)
        return kernel is not None and kernel.view().state is not KernelState.DEAD

    def _own(self, record: StoredNotebookSession) -> Session | None:
        """Its kernel, dead or alive, if no other session has it."""
        users = sum(one.kernel_id == record.kernel_id for one in self._by_id.values())
        return self._sessions.get(record.kernel_id) if users == 1 else None

    def _kernel_ended(self, kernel: Session, why: str) -> None:
        now = self._clock.now().wall
        for record in list(self._by_id.values()):
            if record.kernel_id == kernel.id:
                self._put(replace(record, gone_at=now, reason=why))

    # -- what is kept ------------------------------------------------------------------------------

    def _put(self, record: StoredNotebookSession) -> asyncio.Task[None]:
        known = self._by_id.get(record.id)
        if known is not None:
            self._let_go(known)
        self._keep(record)
        return self._write(PutNotebookSession(record))

    def _keep(self, record: StoredNotebookSession) -> None:
        self._by_id[record.id] = record
        self._by_path[record.owner, record.path] = record.id

    def _remove(self, record: StoredNotebookSession) -> asyncio.Task[None]:
        del self._by_id[record.id]
        self._let_go(record)
        return self._write(DeleteNotebookSession(record.id))

    def _let_go(self, record: StoredNotebookSession) -> None:
        """Its path may be that of another by now."""
        place = record.owner, record.path
        if self._by_path.get(place) == record.id:
            del self._by_path[place]

    def _write(self, write: Write) -> asyncio.Task[None]:
        """Written in the order in which this is called."""
        return self._tasks.start(self._store.write(write))

    async def _stored(self, write: asyncio.Task[None]) -> None:
        await asyncio.wait({write}, timeout=STORE_LIMIT_S)


def _gone(record: StoredNotebookSession) -> KernelInfoView:
    """What a client that only knows kernels needs to see."""
    return KernelInfoView(
        id=record.kernel_id,
        name=record.kernel_name,
        owner=record.owner,
        state=KernelState.DEAD,
        generation=0,
        last_activity=record.created_at if record.gone_at is None else record.gone_at,
        queue_length=0,
        reason=record.reason or ENDED,
    )
