"""Private folders; above all that of one kernel: its connection file and its sockets.

Knows the file system. ipykernel makes its sockets readable for all, so the folder protects them.
Each folder is locked by the gateway that made it, so that what a killed gateway has left can be
told from what is in use, also by gateways in other containers that share the base.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

_SOCKET_PATH_BYTES = 107  # of sun_path, 108 with the zero at its end
_LONGEST_PORT = "-99999"


_PREFIX = "kg-"
_CONNECTION_FILE = "kernel.json"
_SOCKET = "k"
_OF_FORK_SERVERS = "fork-"  # what they put into theirs
_YOUNG_S = 60.0  # a folder is made first and locked then


class PrivateFolder:
    """0700, made when it is created, gone after `remove`."""

    def __init__(self, base: Path | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base(base)))
        self._lock = _locked(self.path)

    @property
    def connection_file(self) -> Path:
        return self.path / _CONNECTION_FILE

    @property
    def socket_base(self) -> Path:
        """jupyter_client appends a dash and a number for each socket."""
        return self.path / _SOCKET

    @property
    def fits_sockets(self) -> bool:
        longest = os.fsencode(f"{self.socket_base}{_LONGEST_PORT}")
        return len(longest) <= _SOCKET_PATH_BYTES

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def make_private(path: Path) -> None:
    """0700, with the parents that are not there; what is there stays as it is."""
    for one in [*reversed(path.parents), path]:
        one.mkdir(mode=0o700, exist_ok=True)


def artifact_dir_fault(path: Path, fault: OSError) -> str:
    """Why a kernel cannot be started with this artifact folder."""
    return f"The artifact folder {path} cannot be made: {fault.strerror}."


def remove_left_behind(base: Path | None) -> int:
    """Folders of gateways that were killed; how many there were."""
    old = time.time() - _YOUNG_S
    left = [path for path in _base(base).glob(f"{_PREFIX}*") if _is_ours(path, older_than=old)]
    return sum(_remove_unless_used(path) for path in left)


def _is_ours(path: Path, *, older_than: float) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    is_old_folder = stat.S_ISDIR(found.st_mode) and found.st_mtime < older_than
    return is_old_folder and found.st_uid == os.getuid() and _holds_no_more_than_ours(path)


def _holds_no_more_than_ours(path: Path) -> bool:
    """Others may name a folder as we do, and keep in it what is dear to them."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    ours = (f"{_SOCKET}-", _OF_FORK_SERVERS)
    return all(name == _CONNECTION_FILE or name.startswith(ours) for name in names)


def _remove_unless_used(path: Path) -> bool:
    lock = _locked(path)
    if lock is None:
        return False
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)
    return True


def _locked(path: Path) -> int | None:
    """The descriptor that holds the lock; None when somebody else does, or the folder is gone."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        return None
    return folder


def _base(base: Path | None) -> Path:
    return (base or usual_base()).absolute()


def usual_base() -> Path:
    """The user's own folder for sockets, where there is one; both are short."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _is_usable(runtime):
        return Path(runtime)
    return Path(tempfile.gettempdir())


def _is_usable(folder: str) -> bool:
    """After `su` it is that of another user, who can put folders of his in place of ours."""
    try:
        is_own = os.stat(folder).st_uid == os.getuid()
    except OSError:
        return False
    return is_own and os.access(folder, os.W_OK | os.X_OK)
