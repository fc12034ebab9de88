"""Nothing that a benchmark has started outlives it, however it ends.

This process adopts what its children leave behind when they die (Linux' *subreaper*), so all that
was ever started below it can be found and ended: by `sweep`, after each measure.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from benchmarks.measure import descendants

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36
_END_LIMIT_S = 20.0


class TimeIsUp(BaseException):
    """A measure took too long: no error of a contender, and not caught as those are."""


def adopt_orphans() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot be a subreaper")


def sweep() -> None:
    """Ends whatever is still there below this process."""
    deadline = time.monotonic() + _END_LIMIT_S
    while (left := [pid for pid, _ in descendants(os.getpid())]) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """In the main thread only."""

    def strike(*_: Any) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def end(process: subprocess.Popen[Any]) -> None:
    """Asks it to end, and does not wait for ever."""
    process.terminate()
    try:
        process.wait(_END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
