"""The private folder of one kernel: its connection file and its sockets.

Knows the file system. ipykernel makes its sockets readable for all, so the folder protects them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_SOCKET_PATH_BYTES = 107  # of sun_path, 108 with the zero at its end
_LONGEST_PORT = "-99999"


class PrivateFolder:
    """0700, made when it is created, gone after `remove`."""

    def __init__(self, base: Path | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="kg-", dir=(base or _usual_base()).absolute()))

    @property
    def connection_file(self) -> Path:
        return self.path / "kernel.json"

    @property
    def socket_base(self) -> Path:
        """jupyter_client appends a dash and a number for each socket."""
        return self.path / "k"

    @property
    def fits_sockets(self) -> bool:
        longest = os.fsencode(f"{self.socket_base}{_LONGEST_PORT}")
        return len(longest) <= _SOCKET_PATH_BYTES

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _usual_base() -> Path:
    """The user's own folder for sockets, where there is one; both are short."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime)
    return Path(tempfile.gettempdir())
