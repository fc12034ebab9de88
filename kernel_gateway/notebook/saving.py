"""When the output is saved, and how: never half, never too often.

Knows files and durations. Must not know notebooks: it is given bytes. A reader of the file sees the
whole of one save or the whole of the one before, whatever happens in between.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from pathlib import Path

LEAST_BETWEEN_S = 2.0
LARGEST_SHARE = 0.1  # of the time that may go into saving


class Sink(Protocol):
    """Where the output goes."""

    def save(self, data: bytes) -> None:
        """In place of what was saved before. Blocks; raises `OSError`."""

    def close(self) -> None:
        """Nothing more comes. Blocks; raises `OSError`."""


class FileSink:
    """A file that is replaced as a whole: temporary file in the same folder, sync, rename."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # behind a link, which stays one

    def save(self, data: bytes) -> None:
        temporary = self._path.with_name(f".kernel-gateway-{secrets.token_hex(8)}.tmp")
        try:
            self._write(temporary, data)
            temporary.replace(self._path)
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise
        _sync_folder(self._path.parent)

    def close(self) -> None:
        """Each save was complete."""

    def _write(self, temporary: Path, data: bytes) -> None:
        # Made as any program makes a file, so that the umask decides who may read it.
        with temporary.open("xb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(self._path.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


class StreamSink:
    """A pipe, a terminal, a device: what is written cannot be replaced, so it is written last."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._last = b""

    def save(self, data: bytes) -> None:
        self._last = data

    def close(self) -> None:
        self._stream.write(self._last)
        self._stream.flush()


def _sync_folder(folder: Path) -> None:
    """So that the new name, too, survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Pace:
    """Decides when the next save is due: by time, later when saving takes long."""

    least_between_s: float = LEAST_BETWEEN_S
    next_at: float = 0.0  # on the clock that the caller reads

    def saved(self, began: float, ended: float) -> None:
        rest = (ended - began) * (1 / LARGEST_SHARE - 1)
        self.next_at = max(began + self.least_between_s, ended + rest)

    def wait_s(self, now: float) -> float:
        """Until the next save may begin."""
        return max(0.0, self.next_at - now)
