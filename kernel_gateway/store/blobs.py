"""What belongs to a run and is too big for its log, or a file by itself: one file each.

    blobs/<first two of the uid>/<uid>/<artifact>

Knows files. Must not know the database. Both parts of the path are ours; an ID of a client never
gets here, and what does not look like ours is not a path. A file appears under its name when it is
whole, or grows at its end when it comes in parts, and before the row that refers to it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from kernel_gateway.store.adoption import adopt, private

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.runs.log import Blob
    from kernel_gateway.service import RunUid
    from kernel_gateway.store.adoption import Measures

LOG = logging.getLogger("kernel_gateway.store")
_OURS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)


class Blobs:
    def __init__(self, folder: Path, *, sync: bool) -> None:
        self._folder = folder
        self._sync = sync  # onto the medium, for who wants to survive a loss of power
        self._removing = Lock()  # two threads in one folder would stop each other

    def write(self, uid: RunUid, blob: Blob) -> None:
        """Raises `OSError`. Writing the same again is harmless."""
        path = self._place(uid, blob.artifact)
        if blob.offset:
            self._write_on(path, blob)
        else:
            self._write_whole(path, blob.data)
        self._sync_folders(path)

    def adopt(self, uid: RunUid, artifact: str, path: Path, most_bytes: int) -> Measures:
        """The file becomes this artifact; see `adoption.py`."""
        target = self._place(uid, artifact)
        measures = adopt(path, target, most_bytes=most_bytes)
        if self._sync:
            _sync(target)
        self._sync_folders(target)
        return measures

    def read(self, uid: RunUid, artifact: str) -> bytes | None:
        """None for what is not there. The artifact may be any text: it can come from a client."""
        if not _OURS.fullmatch(artifact):
            return None
        try:
            return self._path(uid, artifact).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, uid: RunUid, artifact: str) -> int | None:
        """As `read`; at present, of what comes in parts."""
        if not _OURS.fullmatch(artifact):
            return None
        try:
            return self._path(uid, artifact).stat().st_size
        except FileNotFoundError:
            return None

    def piece(self, uid: RunUid, artifact: str, start: int, most_bytes: int) -> bytes | None:
        """None when it is not there any more; empty behind its end."""
        try:
            with open(self._path(uid, artifact), "rb") as file:
                return os.pread(file.fileno(), most_bytes, start)
        except FileNotFoundError:
            return None

    def remove(self, uid: RunUid) -> None:
        """All files of a run. What cannot be removed is left, and said: nobody waits for it."""
        folder = self._path(uid, "any").parent
        with self._removing:
            if not folder.exists():
                return
            try:
                shutil.rmtree(folder)
            except OSError as fault:
                LOG.warning("the files of run %s stay: %s", uid, fault)
                return
            with suppress(OSError):  # files of others are in it
                folder.parent.rmdir()

    def _write_whole(self, path: Path, data: bytes) -> None:
        part = path.with_name(f"{path.name}.part")
        with open(part, "wb", opener=private) as file:
            file.write(data)
            self._sync_file(file)
        part.replace(path)

    def _write_on(self, path: Path, blob: Blob) -> None:
        with open(path, "ab", opener=private) as file:
            # Not behind its end but at this place: what was written by a commit that failed
            # afterwards is written again.
            file.truncate(blob.offset)
            file.write(blob.data)
            self._sync_file(file)

    def _sync_file(self, file: BinaryIO) -> None:
        if self._sync:
            file.flush()
            os.fsync(file.fileno())

    def _sync_folders(self, path: Path) -> None:
        if self._sync:
            for folder in (path.parent, path.parent.parent, self._folder):
                _sync(folder)

    def _place(self, uid: RunUid, artifact: str) -> Path:
        """Its path, in folders that are there."""
        path = self._path(uid, artifact)
        for folder in (self._folder, path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        return path

    def _path(self, uid: RunUid, artifact: str) -> Path:
        if not (_OURS.fullmatch(uid) and _OURS.fullmatch(artifact)):
            raise ValueError(f"not a name of ours: {uid!r}, {artifact!r}")
        return self._folder / uid[:2] / uid / artifact


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
