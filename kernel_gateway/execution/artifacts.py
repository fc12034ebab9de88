"""Files that a run has left behind: saved with the run before it is over.

They lie in its kernel's artifact folder and, where files were sent with the run, in the working
folder that was made for them. Knows both, the store that takes the files, and the limits of a run's
artifacts. Must not know when a run is over. The user's code owns the folders and may change them at
any moment: what is there is taken as it is, links are told and never followed, and whatever cannot
be taken is said in the log of the run and removed. A run never fails for it, and never waits for
longer than a limit.
"""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from kernel_gateway.errors import GatewayError, TooLarge
from kernel_gateway.execution.folder import SessionFolder
from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.runs import records
from kernel_gateway.runs.artifacts import UNKNOWN_MIME
from kernel_gateway.runs.records import Artifact, ArtifactKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kernel_gateway.execution.clock import Clock
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.store.store import Store

log = logging.getLogger("kernel_gateway.execution")

SAVE_LIMIT_S = 300.0  # the next run of the queue waits meanwhile
MOST_FOUND = 10_000  # files that are looked at; of the rest of such a folder the number is told

LINK = "inode/symlink"
_PACKED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}
_ITSELF = "the artifact folder"


def has_files(folder: Path) -> bool:
    """Or may have, if it cannot be read. One look that does not wait for a thread: nearly always
    there is nothing, and a run would pay more for the thread than for all else of its end."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return True


#: Inode, size, and when its content and its inode were changed: the user's code can set the former.
_State: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Work:
    """A working folder as it was when the run began."""

    folder: Path
    sent: Mapping[str, _State]  # what was in it, by name

    def has(self, file: _File) -> bool:
        """As it was sent."""
        return self.sent.get(file.name) == file.state


def furnished(folder: SessionFolder, files: Mapping[str, bytes]) -> Work:
    """Blocks. Raises `OutsideFolder` and what a full disk raises."""
    folder.create()
    folder.put(files)
    found = _look(folder.path)
    return Work(folder.path, {file.name: file.state for file in found.files})


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str  # its path below the folder, as text
    size: int
    mime: str
    state: _State


@dataclass(slots=True)
class _Found:
    """What lies in a folder."""

    files: list[_File] = field(default_factory=list)  # by path
    more: int = 0  # files beyond those that are looked at
    faults: list[tuple[str, str]] = field(default_factory=list)  # a name and what is wrong with it


class Collector:
    """Of all sessions."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def collect(self, live: LiveRun, folder: Path | None, work: Work | None) -> None:
        """Each file becomes an artifact of the run, or a record that says why not. The artifact
        folder is empty then; of the working folder those are taken that were not sent as they are.
        """
        try:
            async with asyncio.timeout(SAVE_LIMIT_S):
                if folder is not None:
                    found = await asyncio.to_thread(_look, folder)
                    await self._save(live, found, ArtifactKind.FILE)
                if work is not None:
                    found = await asyncio.to_thread(_look, work.folder)
                    found.files = [one for one in found.files if not work.has(one)]
                    await self._save(live, found, ArtifactKind.WORK)
        except TimeoutError:
            self._fail(live, _ITSELF, f"not saved within {SAVE_LIMIT_S:g} s")
        if folder is not None:
            await self._empty(live, folder)

    async def _empty(self, live: LiveRun, folder: Path) -> None:
        try:
            await asyncio.to_thread(_clear, folder)
        except (OSError, GatewayError) as fault:
            log.warning("%r: the artifact folder cannot be emptied: %s", live, fault)

    async def _save(self, live: LiveRun, found: _Found, kind: ArtifactKind) -> None:
        for name, why in found.faults:
            self._fail(live, name, why)
        for file in found.files:
            room = live.log.artifact_room
            if room is None or file.size > room:
                self._refuse(live, file)
            else:
                await self._take(live, file, kind, room)
        if found.more:
            self._fail(live, _ITSELF, f"it holds {found.more} more files than are looked at")

    async def _take(self, live: LiveRun, file: _File, kind: ArtifactKind, room: int) -> None:
        uid, artifact_id = live.identity.uid, live.log.next_artifact_id()
        try:
            size, digest = await self._store.adopt(uid, artifact_id, file.path, most_bytes=room)
        except TooLarge:  # it has grown meanwhile
            self._refuse(live, file)
        except (OSError, ValueError, GatewayError) as fault:
            self._fail(live, file.name, _why(fault))
        else:
            artifact = Artifact(
                id=artifact_id,
                name=file.name,
                kind=kind,
                mime=file.mime,
                size=size,
                digest=digest,
            )
            live.append(records.ArtifactAdded(artifact=artifact), None, self._clock.now())

    def _refuse(self, live: LiveRun, file: _File) -> None:
        """The run has as much as it may have."""
        live.log.refuse_artifact(file.size, step=None, at=self._clock.now().wall)

    def _fail(self, live: LiveRun, name: str, why: str) -> None:
        error = records.ErrorRaised(ename="ArtifactNotSaved", evalue=f"{name}: {why}", traceback=())
        live.append(error, None, self._clock.now())


# -- in a thread -------------------------------------------------------------------------------


def _look(folder: Path) -> _Found:
    found = _Found()
    if folder.is_symlink():  # what it leads to is not ours to take
        found.faults.append((_ITSELF, "a link has taken its place"))
        return found
    paths: list[str] = []
    todo = [os.fspath(folder)]  # not `os.walk`, which recurses: the user's code may nest them deep
    while todo:
        above = todo.pop()
        try:
            with os.scandir(above) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif len(paths) < MOST_FOUND:
                        paths.append(entry.path)
                    else:
                        found.more += 1
        except OSError as fault:
            where = os.path.relpath(above, folder)
            found.faults.append((_ITSELF if where == "." else clean_text(where), _why(fault)))
    for path in sorted(paths):
        _look_at(found, folder, path)
    return found


def _look_at(found: _Found, folder: Path, path: str) -> None:
    name = clean_text(os.path.relpath(path, folder))
    try:
        status = os.lstat(path)
    except OSError as fault:
        found.faults.append((name, _why(fault)))
        return
    is_link = stat.S_ISLNK(status.st_mode)
    if is_link or stat.S_ISREG(status.st_mode):
        mime = LINK if is_link else _mime_of(name)
        state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        found.files.append(_File(folder / path, name, status.st_size, mime, state))
    else:
        found.faults.append((name, "neither a file nor a link"))


def _mime_of(name: str) -> str:
    # As a path: a name like "data:text/html,x" would be taken for a URL that says its own type.
    mime, packed = mimetypes.guess_type(f"./{name}", strict=False)
    if packed is not None:
        return _PACKED.get(packed, UNKNOWN_MIME)
    return mime or UNKNOWN_MIME


def _clear(folder: Path) -> None:
    """The folder itself stays: it may be where the kernel works. One that is gone is made anew, and
    so is one whose place a file or a link has taken."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
    kept = SessionFolder(folder)
    kept.create()
    kept.clear()


def _why(fault: Exception) -> str:
    if isinstance(fault, OSError) and fault.strerror is not None:
        return fault.strerror
    return str(fault) or type(fault).__name__
