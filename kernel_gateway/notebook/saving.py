"""When the output is saved, and how: never half, never too often.

Knows files and durations. Must not know notebooks: it is given bytes. A reader of the file sees the
whole of one save or the whole of the one before, whatever happens in between.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self.path = path.resolve()  # behind a link, which stays one

    def save(self, data: bytes) -> None:
        temporary = self.path.with_name(f".kernel-gateway-{secrets.token_hex(8)}.tmp")
        try:
            self._write(temporary, data)
            temporary.replace(self.path)
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise
        _sync_folder(self.path.parent)

    def close(self) -> None:
        """Each save was complete."""

    def _write(self, temporary: Path, data: bytes) -> None:
        # Made as any program makes a file, so that the umask decides who may read it.
        with temporary.open("xb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(self.path.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


class StreamSink:
    """A pipe, a terminal, a device: what is written cannot be replaced, so it is written last."""

    def __init__(self, stream: BinaryIO, *, closes: bool = False) -> None:
        self._stream = stream
        self._closes = closes  # those of a process are not ours to close
        self._last = b""

    def save(self, data: bytes) -> None:
        self._last = data

    def close(self) -> None:
        self._stream.write(self._last)
        self._stream.flush()
        if self._closes:
            self._stream.close()


class RemoteSink:
    """Storage behind a network: each save is put into a local file, then sent as a whole. When it
    cannot be sent the file stays, so that nothing is lost but the way there."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._folder: Path | None = None

    def save(self, data: bytes) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kernel-gateway-"))
        copy = self._folder / "notebook.ipynb"
        FileSink(copy).save(data)
        try:
            self._send(data)
        except OSError as fault:
            why = str(fault).rstrip(".")
            raise OSError(f"{why}; the notebook is kept in {copy}") from fault

    def close(self) -> None:
        """What was sent last is whole, and the local copy of no use any more."""
        if self._folder is not None:
            shutil.rmtree(self._folder)


class LastSink:
    """Passes on the last save only: for who asks that nothing is written until the end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._last: bytes | None = None

    def save(self, data: bytes) -> None:
        self._last = data

    def close(self) -> None:
        if self._last is not None:
            self._sink.save(self._last)
        self._sink.close()


class CopySink:
    """Keeps the last save in memory for who goes on with it, and writes it where it belongs."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self.last = b""

    def save(self, data: bytes) -> None:
        self.last = data
        if self._sink is not None:
            self._sink.save(data)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()


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
