"""A place in users' code where it stops until the test lets it pass. No clock, no threads."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 25.0


class Gate:
    """Two FIFOs that the test holds open at both ends, so that nobody waits for the other to open.

    Code may come late: what lets it pass is kept for it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.arrived = folder / f"{name}.arrived"
        self.go = folder / f"{name}.go"
        self._fds: list[int] = []
        for fifo in (self.arrived, self.go):
            os.mkfifo(fifo)
            self._fds.append(os.open(fifo, os.O_RDWR))

    @property
    def python(self) -> str:
        """An interrupt gets it out."""
        return (
            f"_ = open({str(self.arrived)!r}, 'w').write('x')\n"
            f"_ = open({str(self.go)!r}).readline()\n"
        )

    @property
    def shell(self) -> str:
        return f"printf x >'{self.arrived}'; read -r _ <'{self.go}'"

    def wait(self) -> None:
        """Returns when code stands at it."""
        ready, _, _ = select.select([self._fds[0]], [], [], LIMIT_S)
        assert ready, "the code has not come to the gate"
        os.read(self._fds[0], 1)

    def open(self) -> None:
        os.write(self._fds[1], b"\n")

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
