"""Spill files: values that were too big for the log, one file each.

    blobs/<first two of the uid>/<uid>/<artifact>

Knows files. Must not know the database. Both parts of the path are ours; an ID of a client never
gets here, and what does not look like ours is not a path. A file appears under its name when it is
whole, and before the row that refers to it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.runs.log import Blob
    from kernel_gateway.service import RunUid

LOG = logging.getLogger("kernel_gateway.store")
_OURS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)


class Blobs:
    def __init__(self, folder: Path, *, sync: bool) -> None:
        self._folder = folder
        self._sync = sync  # onto the medium, for who wants to survive a loss of power

    def write(self, uid: RunUid, blob: Blob) -> None:
        """Raises `OSError`. Writing the same again is harmless."""
        path = self._path(uid, blob.artifact)
        for folder in (self._folder, path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        with open(part, "wb", opener=_private) as file:
            file.write(blob.data)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if self._sync:
            for folder in (path.parent, path.parent.parent, self._folder):
                _sync_folder(folder)

    def read(self, uid: RunUid, artifact: str) -> bytes | None:
        """None for what is not there. The artifact may be any text: it can come from a client."""
        if not _OURS.fullmatch(artifact):
            return None
        try:
            return self._path(uid, artifact).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, uid: RunUid) -> None:
        """All files of a run. What cannot be removed is left, and said: nobody waits for it."""
        folder = self._path(uid, "any").parent
        if not folder.exists():
            return
        try:
            shutil.rmtree(folder)
        except OSError as fault:
            LOG.warning("the spill files of run %s stay: %s", uid, fault)
            return
        with suppress(OSError):  # files of others are in it
            folder.parent.rmdir()

    def _path(self, uid: RunUid, artifact: str) -> Path:
        if not (_OURS.fullmatch(uid) and _OURS.fullmatch(artifact)):
            raise ValueError(f"not a name of ours: {uid!r}, {artifact!r}")
        return self._folder / uid[:2] / uid / artifact


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
