"""Other processes, as Linux shows them."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def is_alive(pid: int) -> bool:
    """False also when it is dead and its parent has not asked how it ended."""
    return _state(Path(f"/proc/{pid}/stat")) not in "XZ"


def stop(pid: int) -> None:
    """Stands still when this returns.

    The signal alone is not enough: one thread has to take it and stops the others, and as long as
    that one gets no processor the others go on and answer. Nobody but the parent is told of it.
    """
    os.kill(pid, signal.SIGSTOP)
    while any(_state(stat) not in "TXZ" for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        os.sched_yield()


def _state(stat: Path) -> str:
    """By the letter of proc(5): T for stopped, Z for dead, X for gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
