"""What Linux lets this process have: above all descriptors, of which kernels and clients take many.

Knows what the limit is, how much of it is used, and what is kept back so that whoever is there can
go on. Must not know what descriptors are used for: who wants some asks whether there is room.
"""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: The soft limit that the process was started with: programs that use select() break above 1,024,
#: so kernels get this one and not ours.
STARTED_WITH: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

#: What a local kernel takes: eight of libzmq's mailboxes, its four connections, the pidfd, the end
#: of its output, the lock of its folder, and the connection to a fork server.
KERNEL_DESCRIPTORS = 16

_KEPT_BACK = 64  # files of the store, answers to who is there, deliveries to webhooks
_SHARE = 16  # of a small limit this part is kept back
_LEAST_KEPT_BACK = 8  # the store alone takes so many, when it reads and writes at once
_OPEN = "/proc/self/fd"
_NICEST = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    limit: int
    used: int

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def kept_back(self) -> int:
        return min(_KEPT_BACK, max(_LEAST_KEPT_BACK, self.limit // _SHARE))

    @property
    def are_short(self) -> bool:
        """Whoever would stay is sent away; calls are still answered."""
        return self.free < self.kept_back

    @property
    def are_out(self) -> bool:
        """Not even calls are taken, until some have ended."""
        return self.free <= self.kept_back // 4

    def have_room(self, kernels: int) -> bool:
        return self.free - KERNEL_DESCRIPTORS * kernels >= self.kept_back

    def __str__(self) -> str:
        return f"{self.used} of {self.limit} descriptors (ulimit -n)"


def descriptors() -> Descriptors:
    """As it is now; it costs some microseconds."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Descriptors(limit=limit, used=_used() or _lowest_free())


def _used() -> int:
    """0 before Linux 6.2."""
    return os.stat(_OPEN).st_size


def _lowest_free() -> int:
    """All below are in use, so it is that many at least. To count them takes milliseconds."""
    try:
        found = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.close(found)
    return found


def raise_descriptor_limit() -> None:
    """To as many as we may have; the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def set_descriptor_limit(pid: int, soft: int) -> None:
    """Of another process of ours, as far as its hard limit lets us. Raises `OSError`."""
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(soft, hard), hard))


def step_back(leader: int, by: int) -> None:
    """A process that leads a session, and all its threads. Raises `OSError`.

    Linux may share processors out by sessions, and then by processes within one. A session can be
    told to step back as well, by all but root only ten times a second: it is not tried again.
    """
    nice = min(_NICEST, os.getpriority(os.PRIO_PROCESS, 0) + by)
    os.setpriority(os.PRIO_PGRP, leader, nice)  # of a process it would be that of its first thread
    with suppress(OSError):  # also where it is not shared out like that
        Path(f"/proc/{leader}/autogroup").write_text(str(by))


def explained(fault: BaseException) -> str:
    """What it says and, if it tells of a limit, which one: in words for a person."""
    limit = _limit_behind(fault)
    return str(fault) if limit is None else f"{fault}. {limit}"


def _limit_behind(fault: BaseException) -> str | None:
    number = getattr(fault, "errno", None)  # also of ZeroMQ's errors, which are no OSError
    if number == errno.EMFILE:
        return f"The gateway has {descriptors()}."
    return _BEHIND.get(number) if isinstance(number, int) else None


_BEHIND = {
    errno.ENFILE: "The machine has no descriptors left (fs.file-max).",
    errno.EAGAIN: "No more processes or threads are let (ulimit -u, or pids.max of the container).",
    errno.ENOMEM: "The machine has no memory left for another process.",
}
