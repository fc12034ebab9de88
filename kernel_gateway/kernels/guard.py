"""Kills the process groups that a killed gateway leaves behind.

Who is killed ends nothing, and many kernels (R, Deno) do not notice that their parent has gone. So
a small process in a session of its own is told the groups through a pipe, and kills them when the
pipe ends: that is when the gateway does, in whatever way. It costs 1 ms and 1 MB, once.

Not PR_SET_PDEATHSIG: that reaches the leader of a group alone, it fires at the end of the *thread*
that started it, and it is set between fork and exec, where a process with threads may run no
Python. A process that the gateway's program has forked (`multiprocessing`) has the pipe, too: it
lets go of it at once, or the pipe would not end with the gateway. Knows groups by their numbers.
Must not know kernels.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import weakref

LOG = logging.getLogger("kernel_gateway.kernels")

CLOSE_LIMIT_S = 5.0  # somebody may have stopped it

#: Whoever stops the gateway may mean all processes of its service: the guard goes last.
_PROGRAM = """
trap '' HUP INT TERM
groups=' '
while read -r line; do
    group=${line#?}
    case $line in
    +*) groups="$groups$group " ;;
    -*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
    quit) break ;;
    esac
done
for group in $groups; do kill -9 "-$group"; done
"""


class Guard:
    """Close it when no group is left. Without a shell there is none, and a log line."""

    def __init__(self, shell: str = "/bin/sh") -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [shell, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
                bufsize=0,
            )
        except OSError as fault:
            self._failed(fault)
        else:
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)
            _GUARDS.add(self)

    def watch(self, group: int) -> None:
        """From its start on."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def release(self, group: int) -> None:
        """Before its leader is reaped: then the number may be somebody else's."""
        if group in self._groups:
            self._groups.remove(group)
            self._tell(f"-{group}\n")

    async def close(self) -> None:
        """It is told, since others may hold the pipe; and killed if it does not listen. Harmless
        when it is closed."""
        if self._process is None:
            return
        pipe = self._process.stdin
        assert pipe is not None
        if not pipe.closed:
            with contextlib.suppress(OSError):  # it is gone already
                os.write(pipe.fileno(), b"quit\n")
            pipe.close()
        try:
            await asyncio.to_thread(self._process.wait, CLOSE_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def let_go(self) -> None:
        """In a forked child: it is not who is watched."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _tell(self, line: str) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        try:
            os.write(self._process.stdin.fileno(), line.encode())
        except OSError as fault:  # somebody has killed or stopped it
            self._failed(fault)

    def _failed(self, fault: OSError) -> None:
        LOG.warning(
            "kernels may outlive this process if it is killed: their guard fails: %s", fault
        )


_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()  # of this process


def _let_go_all() -> None:
    for guard in _GUARDS:
        guard.let_go()


os.register_at_fork(after_in_child=_let_go_all)
