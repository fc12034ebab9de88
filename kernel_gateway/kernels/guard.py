"""Kills the process groups that a killed gateway leaves behind.

Who is killed ends nothing, and many kernels (R, Deno) do not notice that their parent has gone. So
a small process in a session of its own is told the groups through a pipe, and kills them when the
pipe ends: that is when the gateway does, in whatever way. It costs 1 ms and 1 MB, once.

Not PR_SET_PDEATHSIG: that reaches the leader of a group alone, it fires at the end of the *thread*
that started it, and it is set between fork and exec, where a process with threads may run no
Python. Knows groups by their numbers. Must not know kernels.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess

LOG = logging.getLogger("kernel_gateway.kernels")

#: Whoever stops the gateway may mean all processes of its service: the guard goes last.
_PROGRAM = """
trap '' HUP INT TERM
groups=' '
while read -r line; do
    group=${line#?}
    case $line in
    +*) groups="$groups$group " ;;
    -*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
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
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.to_thread(self._process.wait)

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
