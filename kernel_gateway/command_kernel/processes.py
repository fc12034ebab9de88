"""The processes of one command: a session of their own (setsid), led by its shell.

Knows processes, signals and pidfds. Must not know terminals but for their descriptors, nor
messages. A process that makes a session of its own (`setsid`) is a daemon: it outlives its command,
and is adopted by the kernel, which takes it along at its own end.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import re
import signal
import subprocess
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: For what a command leaves behind, between SIGHUP and SIGKILL.
PARTING_S = 0.1
#: For processes to be gone after SIGKILL. One that hangs in the system may never be.
BURIAL_S = 1.0
#: After an interrupt, for whoever did not hear it. From fork to exec it is about 1 ms.
AGAIN_S = (0.02, 0.1, 0.4)
#: A process can fork while its session is killed; its child is found the next time.
_ROUNDS = 5

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# Loaded here: nothing is to be loaded between the fork and the exec.
_prctl = ctypes.CDLL(None).prctl


class ProcessSession:
    """Started at once. Raises `OSError` or `ValueError` when the command cannot be started.

    `on_ended` is called when the leader has ended. Then await `end`; call `close` in any case.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        stdin: int,
        stdout: int,
        stderr: int,
        terminal: int,
        on_ended: Callable[[], None],
    ) -> None:
        def lead() -> None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

        # preexec_fn is for programs without Python threads, as this one is.
        self._leader = subprocess.Popen(
            argv,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=lead,
        )
        self.id = self._leader.pid
        self._on_ended = on_ended
        self._again: list[asyncio.TimerHandle] = []
        try:
            self._pidfd = os.pidfd_open(self.id)
        except OSError:
            self._leader.kill()
            self._leader.wait()
            raise
        asyncio.get_running_loop().add_reader(self._pidfd, self._leader_ended)

    def members(self) -> list[int]:
        """All processes that live. As long as the leader is not reaped, the number is ours."""
        return [pid for pid in _all_pids() if _session_of(pid) == self.id and _lives(pid)]

    def signal(self, number: int) -> None:
        """To whole groups: a process that forks just now is not missed."""
        for group in {_group_of(pid) for pid in self.members()} - {0}:
            with suppress(ProcessLookupError, PermissionError):  # ended by now; another user's
                os.killpg(group, number)

    def interrupt(self) -> None:
        """As Ctrl-C would, only surer: what a shell was just starting loses a signal between its
        fork and its exec, and its shell would wait for it for ever."""
        self.signal(signal.SIGINT)
        self.signal(signal.SIGCONT)  # one that is stopped hears nothing
        heard = self.members()
        loop = asyncio.get_running_loop()
        self._again += [loop.call_later(pause, self._interrupt_deaf, heard) for pause in AGAIN_S]

    def kill(self) -> None:
        for _ in range(_ROUNDS):
            self.signal(signal.SIGKILL)
            if not self.members():
                return

    async def end(self) -> int:
        """What the leader has left behind is ended; the exit code, as a shell says it."""
        if self.members():
            self.signal(signal.SIGHUP)
            self.signal(signal.SIGCONT)  # one that is stopped hears nothing
            await self._all_gone(PARTING_S)
            self.kill()
            await self._all_gone(BURIAL_S)
        code = self._leader.wait()
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        self._forget_pidfd()
        for timer in self._again:
            timer.cancel()
        if self._leader.returncode is None:  # cut short: nobody waits for it any more
            self.kill()
            self._leader.wait()

    def _interrupt_deaf(self, pids: list[int]) -> None:
        """Only those whom a SIGINT ends are told again: for others a second one may mean more."""
        for pid in pids:
            if _session_of(pid) == self.id and _dies_of(signal.SIGINT, pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGINT)

    def _leader_ended(self) -> None:
        self._forget_pidfd()
        self._on_ended()

    def _forget_pidfd(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    async def _all_gone(self, limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                for pid in self.members():
                    await _gone(pid)


# -- daemons --------------------------------------------------------------------------------------


def adopt_daemons() -> None:
    """From now on those whose parents have ended are children of this process, and not of init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def bury_daemons() -> None:
    """Those that have ended. Not while a command runs: its leader is waited for elsewhere."""
    with suppress(ChildProcessError):  # there is none
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def kill_descendants() -> None:
    """All processes that have come out of this one."""
    for _ in range(_ROUNDS):
        parents = {pid: _parent_of(pid) for pid in _all_pids()}
        left = [pid for pid in parents if os.getpid() in _ancestors(pid, parents) and _lives(pid)]
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return


def _ancestors(pid: int, parents: Mapping[int, int]) -> set[int]:
    found: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found


def _parent_of(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    return int(stat.rpartition(b")")[2].split()[1])


async def _gone(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # it is gone, or no descriptor is left to wait with
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return 0


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _dies_of(number: int, pid: int) -> bool:
    """It neither catches nor ignores the signal, nor blocks it in order to wait for it."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False
    masks = re.findall(rb"^Sig(?:Blk|Ign|Cgt):\s*([0-9a-f]+)", status, re.MULTILINE)
    return not any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def _lives(pid: int) -> bool:
    """Not a zombie: where PID 1 is no init, those stay."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")
