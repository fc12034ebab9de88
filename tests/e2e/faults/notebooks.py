"""Notebooks that go wrong in one way each, what is done to them from outside, what we make of them.

benchmarks/faults.py puts the same before other runners, and docs/reference/faults.md shows both.
Knows cells and what is expected of them. Must not know who runs them.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum
from typing import Any

MARK = "pid"  # the file with which a cell says that its kernel is to be dealt with

_ONE = "print('one')"
_NEVER = "print('never')"
#: What was printed has left the kernel by then; it would go down with it, flushed or not.
_SAYS = "import os, sys, threading, time\nprint('before', flush=True)\ntime.sleep(.5)\n"
_MARKS = f"open({MARK!r}, 'w').write(str(os.getpid()))\n"
_WAITS = f"{_SAYS}{_MARKS}time.sleep(600)"
_BEFORE = ("one\n", "before\n", "")
_LATE = """import threading, time
def late():
    for n in range(3):
        time.sleep(.2)
        print('late', n)
threading.Thread(target=late).start()"""
_FLOOD = "for n in range(200_000): print(n)"
_TURNS = """import sys
for n in range(500):
    print('out', n)
    print('err', n, file=sys.stderr)"""


class Deed(Enum):
    """To whom, and which signal."""

    TERMINATE_RUNNER = ("runner", signal.SIGTERM)
    KILL_RUNNER = ("runner", signal.SIGKILL)
    STOP_KERNEL = ("kernel", signal.SIGSTOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    title: str
    cells: tuple[str, ...]
    texts: tuple[str, ...]  # on stdout, of each cell
    exit_code: int
    states: tuple[str, ...]
    reason: str
    tags: tuple[str, ...] = ()  # of the second cell
    metadata: dict[str, Any] | None = None  # of the notebook; None: a kernelspec that is there
    options: tuple[str, ...] = ()
    limit_s: int | None = None  # of a cell, also for others
    deed: Deed | None = None

    def notebook(self) -> dict[str, Any]:
        """Each of its cells has an output of old."""
        cells = [
            {
                "cell_type": "code",
                "execution_count": 9,
                "id": f"c{number}",
                "metadata": {"tags": list(self.tags)} if self.tags and number == 1 else {},
                "outputs": [{"output_type": "stream", "name": "stdout", "text": "of old"}],
                "source": source,
            }
            for number, source in enumerate(self.cells)
        ]
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        metadata = {"kernelspec": spec} if self.metadata is None else self.metadata
        return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}

    def arguments(self) -> list[str]:
        """Of `kernel-gateway run`, behind the names."""
        limit = [] if self.limit_s is None else [f"--cell-timeout={self.limit_s}"]
        return [*limit, *self.options]

    def told(self) -> str:
        """Our end of it, as the table has it."""
        end = f"exit {shown(self.exit_code)}, `{self.reason}`: {', '.join(self.states)}"
        return f"{end}, by `recover`" if self.deed is Deed.KILL_RUNNER else end


def shown(exit_code: int) -> int:
    """As a shell has it."""
    return exit_code if exit_code >= 0 else 128 - exit_code


FAULTS = (
    Fault(
        title="the kernel is killed in a cell",
        cells=(_ONE, f"{_SAYS}os.kill(os.getpid(), 9)", _NEVER),
        texts=_BEFORE,
        exit_code=6,
        states=("ok", "died", "not-run"),
        reason="kernel_died",
    ),
    Fault(
        title="`os._exit(0)` in a cell",
        cells=(_ONE, f"{_SAYS}os._exit(0)", _NEVER),
        texts=_BEFORE,
        exit_code=6,
        states=("ok", "died", "not-run"),
        reason="kernel_died",
    ),
    Fault(
        title="a cell takes longer than it may",
        cells=(_ONE, _WAITS, _NEVER),
        texts=_BEFORE,
        exit_code=5,
        states=("ok", "timed-out", "not-run"),
        reason="step_limit",
        limit_s=2,
    ),
    Fault(
        title="a cell says nothing any more",
        cells=(_ONE, _WAITS, _NEVER),
        texts=_BEFORE,
        exit_code=5,
        states=("ok", "timed-out", "not-run"),
        reason="idle_limit",
        options=("--idle-timeout=2",),
    ),
    Fault(
        title="the kernel is stopped (SIGSTOP)",
        cells=(_ONE, _WAITS, _NEVER),
        texts=_BEFORE,
        exit_code=5,
        states=("ok", "timed-out", "not-run"),
        reason="idle_limit",
        options=("--idle-timeout=2",),
        deed=Deed.STOP_KERNEL,
    ),
    Fault(
        title="SIGTERM to the runner",
        cells=(_ONE, _WAITS, _NEVER),
        texts=_BEFORE,
        exit_code=143,
        states=("ok", "cancelled", "not-run"),
        reason="cancelled",
        deed=Deed.TERMINATE_RUNNER,
    ),
    Fault(
        title="`sys.exit(0)`",
        cells=(_ONE, f"{_SAYS}sys.exit(0)", _NEVER),
        texts=_BEFORE,
        exit_code=0,
        states=("ok", "ok", "not-run"),
        reason="exited",
    ),
    Fault(
        title="`sys.exit(3)`",
        cells=(_ONE, f"{_SAYS}sys.exit(3)", _NEVER),
        texts=_BEFORE,
        exit_code=1,
        states=("ok", "error", "not-run"),
        reason="exit_code",
    ),
    Fault(
        title="an exception",
        cells=(_ONE, f"{_SAYS}1 / 0", _NEVER),
        texts=_BEFORE,
        exit_code=1,
        states=("ok", "error", "not-run"),
        reason="exception",
    ),
    Fault(
        title="an exception with the tag `raises-exception`",
        cells=(_ONE, f"{_SAYS}1 / 0", "print('on')"),
        texts=("one\n", "before\n", "on\n"),
        tags=("raises-exception",),
        exit_code=0,
        states=("ok", "allowed-error", "ok"),
        reason="done",
    ),
    Fault(
        title="a cell asks for input and there is none",
        cells=(_ONE, f"{_SAYS}input('name? ')", _NEVER),
        texts=_BEFORE,
        exit_code=7,
        states=("ok", "error", "not-run"),
        reason="no_input",
    ),
    Fault(
        title="a thread prints after the last cell",
        cells=(_ONE, _LATE),
        texts=("one\n", "late 0\nlate 1\nlate 2\n"),
        exit_code=0,
        states=("ok", "ok"),
        reason="done",
    ),
    Fault(
        title="200,000 lines",
        cells=(_FLOOD,),
        texts=("".join(f"{n}\n" for n in range(200_000)),),
        exit_code=0,
        states=("ok",),
        reason="done",
    ),
    Fault(
        title="stdout and stderr by turns",
        cells=(_TURNS,),
        texts=("".join(f"out {n}\n" for n in range(500)),),
        exit_code=0,
        states=("ok",),
        reason="done",
    ),
    Fault(
        title="the kernelspec of somebody else's machine",
        cells=(_ONE,),
        texts=("one\n",),
        metadata={"kernelspec": {"name": "conda-env-a", "display_name": "A", "language": "python"}},
        exit_code=0,
        states=("ok",),
        reason="done",
    ),
    Fault(
        title="no kernelspec at all",
        cells=(_ONE,),
        texts=("one\n",),
        metadata={},
        exit_code=0,
        states=("ok",),
        reason="done",
    ),
)

#: The runner cannot tell its end any more: `kernel-gateway recover` does, from the log.
KILLED = Fault(
    title="SIGKILL to the runner",
    cells=(_ONE, _WAITS, _NEVER),
    texts=_BEFORE,
    exit_code=-signal.SIGKILL,
    states=("ok", "died", "not-run"),
    reason="gateway_lost",
    deed=Deed.KILL_RUNNER,
)
