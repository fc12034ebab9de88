"""One gateway a folder: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from kernel_gateway.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "lock"


def is_held(folder: Path) -> bool:
    """Whether a gateway that lives has locked it. One that never had a gateway is not held."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


class FolderLock:
    """Made: the folder is ours. Raises `Refused` with a line for the person who started us."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise Refused(
                f"The folder {folder} is in use by another gateway (process {holder}). "
                "Stop that one, or choose another folder."
            ) from None
        except OSError:
            os.close(self._file)
            raise
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """The file stays: removing it would let two lock two files of one name."""
        os.ftruncate(self._file, 0)
        os.close(self._file)
