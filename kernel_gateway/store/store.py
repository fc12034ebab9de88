"""The store: the only thing other packages call. Writes go to `writer.py`, reads are in here.

    store = await Store.open(settings)
    await store.write(PutRun(run))          # returns after the commit
    store.enlist(source)                    # or: ask the source when the writer is free
    await store.records(uid, after=Seq(0), limit=1000)
    await store.close()                     # everything is written when it returns

Knows threads, and which statement answers which question. Must not know what a run is about.
Nothing here blocks the loop: one thread writes, two others read, each on connections of their own
(write-ahead log: neither waits for the other). What a reader sees is what was committed. Files of
any size are taken over in threads of their own, so no reader waits for them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kernel_gateway.errors import (
    ArtifactNotFound,
    DiskFull,
    Refused,
    RunNotFound,
    StoreUnavailable,
)
from kernel_gateway.store import rows, statements
from kernel_gateway.store.blobs import Blobs
from kernel_gateway.store.committer import Committer
from kernel_gateway.store.database import reading_engine, writing_engine
from kernel_gateway.store.faults import weather
from kernel_gateway.store.lock import FolderLock
from kernel_gateway.store.migrate import migrate
from kernel_gateway.store.values import (
    Expire,
    ForgetExpired,
    PendingWebhook,
    RunFilter,
    Source,
    StoredKey,
    StoredNotebookSession,
    StoredRun,
    StoredSession,
    Write,
)
from kernel_gateway.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Engine, Executable, Row

    from kernel_gateway.runs.plan import RunPlan
    from kernel_gateway.runs.records import Record, Seq
    from kernel_gateway.service import Owner, RunId, RunUid
    from kernel_gateway.store.adoption import Measures
    from kernel_gateway.store.settings import StoreSettings

T = TypeVar("T")

_READERS = 2
_ADOPTERS = 2
_EXPIRED_AT_ONCE = 500

EVERY_RUN = RunFilter()

#: What a page of records may hold by default, so that one page is never much memory.
PAGE_CHARS = 2**20

_PIECE_BYTES = 256 * 2**10


class Store:
    """Made by `open`. Close it, last: after everything that enlists."""

    def __init__(
        self, settings: StoreSettings, lock: FolderLock, writing: Engine, reading: Engine
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._reading = reading
        self._blobs = Blobs(settings.folder / "blobs", sync=settings.durability == "full")
        self._readers = ThreadPoolExecutor(_READERS, "kernel_gateway.store reader")
        self._adopters = ThreadPoolExecutor(_ADOPTERS, "kernel_gateway.store adopter")
        self._writer = Writer(Committer(writing, self._blobs), settings)

    @classmethod
    async def open(cls, settings: StoreSettings) -> Store:
        """Raises `Refused`: in use by another gateway, newer than we are, not to be written."""
        return cls(*await asyncio.to_thread(_prepared, settings))

    async def close(self) -> None:
        """Writes everything first; if the disk does not take it, gives up after a limit."""
        await self._writer.close()
        await asyncio.to_thread(self._end_reading)

    # -- writing ---------------------------------------------------------------------------------

    def enlist(self, source: Source) -> None:
        """`source` has something to write: it is asked for it as soon as the writer is free."""
        self._writer.enlist(source)

    async def write(self, *writes: Write) -> None:
        """Returns after the commit of all of them. While `fault` is set this can take for ever.

        Raises `OurFault` when they can never be stored. When it is cancelled, they may or may not
        have been stored; what waits for a disk to recover is not.
        """
        await self._writer.write(writes)

    @property
    def backlog_bytes(self) -> int:
        """About what was taken and is not committed."""
        return self._writer.backlog_bytes

    @property
    def fault(self) -> DiskFull | StoreUnavailable | None:
        """Why commits fail at present; the next one that succeeds clears it."""
        return self._writer.fault

    async def sweep(self, now: float) -> int:
        """Remove the runs whose retention is over, and forget IDs that were expired long enough.

        Returns how many runs were removed, when all that they left is erased.
        """
        count = 0
        until = now + self._settings.expired_s
        while uids := await self._read(lambda connection: _expired(connection, now)):
            await self.write(Expire(uids, until))
            count += len(uids)
        await self._writer.tidied()
        await self.write(ForgetExpired(now))
        return count

    # -- runs ------------------------------------------------------------------------------------

    async def find_run(self, owner: Owner, session: str, run_id: RunId) -> StoredRun | None:
        """The newest of this ID, where the ID of a finished run was used anew.

        The session is the scope of the ID: empty for runs on kernels of their own.
        """
        found = await self._runs(
            statements.RUN_OF_SESSION, owner=owner, session=session, run_id=run_id
        )
        return found[0] if found else None

    async def find_runs(self, owner: Owner, id_or_uid: str) -> list[StoredRun]:
        """The run of this uid; else those of this run ID, the newest of each session."""
        if found := await self._runs(statements.RUN_BY_UID, owner=owner, uid=id_or_uid):
            return found
        found = await self._runs(statements.RUNS_BY_ID, owner=owner, run_id=id_or_uid)
        newest: dict[str, StoredRun] = {}
        for run in found:
            newest.setdefault(run.session, run)
        return list(newest.values())

    async def plan(self, uid: RunUid) -> RunPlan | None:
        """All of it; None when the run is not there."""
        found = await self._rows(statements.PLAN, {"of": uid})
        return rows.plan_of(found[0].plan) if found else None

    async def unfinished(self) -> list[StoredRun]:
        """Of all owners, oldest first: at the start, what the last gateway left behind."""
        return await self._runs(statements.UNFINISHED_RUNS)

    async def list_runs(
        self, owner: Owner, wanted: RunFilter = EVERY_RUN, *, limit: int = 100
    ) -> list[StoredRun]:
        """Newest first: by the time of their creation, and by their uids where that is the same."""
        given = rows.filter_parameters(wanted)
        with_values, labels = rows.label_parameters(wanted.labels)
        statement = statements.list_runs(frozenset(given), with_values)
        return await self._runs(statement, owner=owner, limit=limit, **given, **labels)

    async def is_expired(self, owner: Owner, id_or_uid: str, session: str | None = None) -> bool:
        """Whether there was such a run. Ask for the run itself first: an ID may be used anew.

        With a session (it may be empty) only runs of that scope count.
        """
        asked: rows.Parameters = {"owner": owner, "name": id_or_uid}
        if session is None:
            return bool(await self._rows(statements.IS_EXPIRED, asked))
        asked["session"] = session
        return bool(await self._rows(statements.IS_EXPIRED_IN_SESSION, asked))

    async def pending_webhooks(self) -> list[PendingWebhook]:
        """Of all owners, oldest first, also of finished runs: at the start, what is to be told."""
        return await self._read(
            lambda connection: list(
                map(rows.pending_webhook_of, connection.execute(statements.PENDING_WEBHOOKS))
            )
        )

    # -- logs ------------------------------------------------------------------------------------

    async def records(
        self, uid: RunUid, *, after: Seq, limit: int, limit_chars: int = PAGE_CHARS
    ) -> list[Record]:
        """The records behind `after`, in order, until one of the limits; the first in any case."""

        def page(connection: Connection) -> list[Record]:
            parameters = {"uid": uid, "after": after, "limit": limit}
            return _page(connection, parameters, limit_chars)

        return await self._read(page)

    async def last_records(self, uid: RunUid, *, limit: int) -> list[Record]:
        """The last records, in order."""
        found = await self._rows(statements.LAST_RECORDS, {"uid": uid, "limit": limit})
        return [rows.record_of(row) for row in reversed(found)]

    async def blob(self, uid: RunUid, artifact: str) -> bytes | None:
        """A spilled value; None when the run or the artifact is not there."""

        def read(connection: Connection) -> bytes | None:
            return self._blobs.read(uid, artifact) if _is_there(connection, uid) else None

        return await self._read(read)

    async def blob_size(self, uid: RunUid, artifact: str) -> int | None:
        """In bytes; None when the run or the artifact is not there."""

        def look(connection: Connection) -> int | None:
            return self._blobs.size(uid, artifact) if _is_there(connection, uid) else None

        return await self._read(look)

    async def blob_pieces(
        self, uid: RunUid, artifact: str, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[bytes, None] | None:
        """The bytes from `start` to before `stop`; None when the run or the artifact is not there.

        Raises `ArtifactNotFound` when it is removed while it is read.
        """
        if await self.blob_size(uid, artifact) is None:
            return None
        return self._pieces(uid, artifact, start, stop)

    async def _pieces(
        self, uid: RunUid, artifact: str, start: int, stop: int | None
    ) -> AsyncGenerator[bytes, None]:
        # Opened anew for each piece: a reader that pauses, or never begins, holds no file.
        while stop is None or start < stop:
            most = _PIECE_BYTES if stop is None else min(_PIECE_BYTES, stop - start)
            piece = await self._in_thread(partial(self._piece, uid, artifact, start, most))
            if piece is None:
                raise ArtifactNotFound(f"{artifact} was removed while it was read.")
            if not piece:
                return
            yield piece
            start += len(piece)

    def _piece(self, uid: RunUid, artifact: str, start: int, most_bytes: int) -> bytes | None:
        with _readable():
            return self._blobs.piece(uid, artifact, start, most_bytes)

    async def adopt(self, uid: RunUid, artifact: str, path: Path, *, most_bytes: int) -> Measures:
        """Make a file the artifact of a run: its size and digest. The file at `path` is gone then.

        A link is not followed: what is kept is where it points to. Raises `TooLarge`, `ValueError`
        for anything else that is not a file, and `OSError`: the file stays where it is. Raises
        `RunNotFound` when the run is not there, or is removed meanwhile, and the file with it.
        """
        loop = asyncio.get_running_loop()
        taking = partial(self._adopt, uid, artifact, path, most_bytes)
        return await loop.run_in_executor(self._adopters, taking)

    def _adopt(self, uid: RunUid, artifact: str, path: Path, most_bytes: int) -> Measures:
        self._check_there(uid)
        try:
            return self._blobs.adopt(uid, artifact, path, most_bytes)
        finally:
            # Removed by now: then its files may have been erased before this one came. Not yet:
            # then they will be, after this (see `committer.py`).
            self._check_there(uid)

    def _check_there(self, uid: RunUid) -> None:
        if not self._answer(lambda connection: _is_there(connection, uid)):
            self._blobs.remove(uid)
            raise RunNotFound(f"There is no run {uid} any more.")

    # -- sessions and keys -----------------------------------------------------------------------

    async def session(self, session_id: str) -> StoredSession | None:
        found = await self._rows(statements.SESSION, {"id": session_id})
        return rows.session_of(found[0]) if found else None

    async def sessions(self, owner: Owner) -> list[StoredSession]:
        """Newest first, ended ones too."""
        found = await self._rows(statements.SESSIONS_OF_OWNER, {"owner": owner})
        return [rows.session_of(row) for row in found]

    async def sessions_not_ended(self) -> list[StoredSession]:
        """Of all owners, oldest first: at the start, what the last gateway left behind."""
        return [rows.session_of(row) for row in await self._rows(statements.SESSIONS_NOT_ENDED)]

    async def notebook_sessions(self) -> list[StoredNotebookSession]:
        """Of all owners, oldest first."""
        return [
            rows.notebook_session_of(row) for row in await self._rows(statements.NOTEBOOK_SESSIONS)
        ]

    async def key(self, access_key: str) -> StoredKey | None:
        """Revoked ones too."""
        found = await self._rows(statements.KEY, {"access_key": access_key})
        return rows.key_of(found[0]) if found else None

    async def keys(self, owner: Owner) -> list[StoredKey]:
        """Newest first, revoked ones too."""
        found = await self._rows(statements.KEYS_OF_OWNER, {"owner": owner})
        return [rows.key_of(row) for row in found]

    # -- reading ---------------------------------------------------------------------------------

    async def _runs(self, statement: Executable, **parameters: object) -> list[StoredRun]:
        # Decoding plans and views takes longer than finding them: in the thread, too.
        return await self._read(
            lambda connection: list(map(rows.run_of, connection.execute(statement, parameters)))
        )

    async def _rows(
        self, statement: Executable, parameters: rows.Parameters | None = None
    ) -> Sequence[Row[Any]]:
        return await self._read(lambda connection: connection.execute(statement, parameters).all())

    async def _read(self, question: Callable[[Connection], T]) -> T:
        return await self._in_thread(partial(self._answer, question))

    def _answer(self, question: Callable[[Connection], T]) -> T:
        with _readable(), self._reading.connect() as connection:
            return question(connection)

    async def _in_thread(self, reading: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, reading)

    def _end_reading(self) -> None:
        self._adopters.shutdown()
        self._readers.shutdown()
        self._reading.dispose()
        self._lock.release()


def _prepared(settings: StoreSettings) -> tuple[StoreSettings, FolderLock, Engine, Engine]:
    # Files are opened again and again; the working folder may be another one then.
    settings = replace(settings, folder=settings.folder.absolute())
    try:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock(settings.folder)
    except OSError as fault:
        raise Refused(f"The folder {settings.folder} cannot be used: {fault}") from fault
    try:
        return settings, lock, _migrated(settings), reading_engine(settings)
    except BaseException:
        lock.release()
        raise


def _migrated(settings: StoreSettings) -> Engine:
    try:
        engine = writing_engine(settings)
        try:
            migrate(engine)
        finally:
            engine.dispose()  # connections are of the thread that made them
    except Exception as fault:
        if weather(fault):
            raise Refused(f"The store in {settings.folder} cannot be opened: {fault}") from fault
        raise
    return engine


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        if weather(fault):
            raise StoreUnavailable(f"The store cannot be read at present: {fault}") from fault
        raise


def _is_there(connection: Connection, uid: RunUid) -> bool:
    return connection.execute(statements.LOG_NEXT, {"of": uid}).first() is not None


def _expired(connection: Connection, now: float) -> list[RunUid]:
    found = connection.execute(statements.EXPIRED_RUNS, {"now": now, "limit": _EXPIRED_AT_ONCE})
    return [row.uid for row in found]


def _page(connection: Connection, parameters: rows.Parameters, limit_chars: int) -> list[Record]:
    page: list[Record] = []
    chars = 0
    # Rows come one by one: what is behind the limit is never read.
    with connection.execute(statements.RECORDS_AFTER, parameters) as found:
        for row in found:
            chars += len(row.body)
            if page and chars > limit_chars:
                break
            page.append(rows.record_of(row))
    return page
