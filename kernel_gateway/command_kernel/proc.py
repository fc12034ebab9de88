"""What Linux tells of threads: which call they sleep in, and what their descriptors are.

Knows /proc and the numbers of system calls. Must not know what follows from it (`waiting.py`).
Every process may end, and every thread wake, between two lines of this file.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_DEV_TTY = os.makedev(5, 0)
_POLLFD = struct.Struct("=ihh")
_POLLIN = 1
#: A set of descriptors is read up to this many; the terminal is among the first.
_MOST_DESCRIPTORS = 1024


class Sleep(Enum):
    """The calls in which a program can wait for a terminal."""

    READ = auto()
    SELECT = auto()
    POLL = auto()
    EPOLL = auto()


_SLEEPS: Mapping[str, Mapping[int, Sleep]] = {
    "x86_64": {
        0: Sleep.READ,
        19: Sleep.READ,  # readv
        23: Sleep.SELECT,
        270: Sleep.SELECT,  # pselect6
        7: Sleep.POLL,
        271: Sleep.POLL,  # ppoll
        232: Sleep.EPOLL,  # epoll_wait
        281: Sleep.EPOLL,  # epoll_pwait
        441: Sleep.EPOLL,  # epoll_pwait2
    },
    "aarch64": {
        63: Sleep.READ,
        65: Sleep.READ,  # readv
        72: Sleep.SELECT,  # pselect6
        73: Sleep.POLL,  # ppoll
        22: Sleep.EPOLL,  # epoll_pwait
        441: Sleep.EPOLL,  # epoll_pwait2
    },
}
_OUR_SLEEPS = _SLEEPS.get(os.uname().machine, {})


@dataclass(frozen=True, slots=True)
class Thread:
    pid: int
    tid: int


@dataclass(frozen=True, slots=True)
class Call:
    """A thread asleep in a system call."""

    sleep: Sleep
    arguments: tuple[int, ...]


def threads_of(pids: Iterable[int]) -> Iterator[Thread]:
    for pid in pids:
        try:
            tids = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        yield from (Thread(pid, int(tid)) for tid in tids)


def call_of(thread: Thread) -> Call | None:
    """None for what runs or sleeps in another call. Raises `PermissionError` for the programs of
    other users (sudo and its like)."""
    try:
        return parsed_call(_read(f"/proc/{thread.pid}/task/{thread.tid}/syscall"), _OUR_SLEEPS)
    except PermissionError:
        raise
    except OSError:
        return None


def parsed_call(line: bytes, sleeps: Mapping[int, Sleep]) -> Call | None:
    """`number argument...` in decimal and hexadecimal; `running`, or -1 outside of any call."""
    words = line.split()
    if len(words) < 2 or (sleep := sleeps.get(int(words[0]))) is None:
        return None
    return Call(sleep, tuple(int(word, 16) for word in words[1:7]))


def awaits(thread: Thread, call: Call, device: int) -> bool:
    """Whether one of the descriptors that the call waits for is this terminal."""
    try:
        numbers = _AWAITED[call.sleep](thread, call.arguments)
        return any(_is_terminal(thread, number, device) for number in numbers)
    except OSError:
        return False


def switches_of(thread: Thread) -> int | None:
    """How often it has gone to sleep: the same number is the same sleep."""
    try:
        status = _read(f"/proc/{thread.pid}/task/{thread.tid}/status")
    except OSError:
        return None
    found = re.search(rb"^voluntary_ctxt_switches:\s*(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else None


@cache
def can_see() -> bool:
    """Whether this system lets us see the calls of our own children: tried once, on a shell."""
    if not _OUR_SLEEPS:
        return False
    with subprocess.Popen(["/bin/sh", "-c", "read x"], stdin=subprocess.PIPE) as child:
        try:
            call_of(Thread(child.pid, child.pid))
            return os.path.exists(f"/proc/{child.pid}/syscall")
        except PermissionError:
            return False


def _of_read(thread: Thread, arguments: tuple[int, ...]) -> list[int]:
    return [arguments[0]]


def _of_select(thread: Thread, arguments: tuple[int, ...]) -> list[int]:
    count, address = min(arguments[0], _MOST_DESCRIPTORS), arguments[1]
    bits = int.from_bytes(_memory(thread, address, (count + 7) // 8), "little")
    return [number for number in range(count) if bits >> number & 1]


def _of_poll(thread: Thread, arguments: tuple[int, ...]) -> list[int]:
    address, count = arguments[0], min(arguments[1], _MOST_DESCRIPTORS)
    polled = _POLLFD.iter_unpack(_memory(thread, address, count * _POLLFD.size))
    return [number for number, events, _ in polled if number >= 0 and events & _POLLIN]


def _of_epoll(thread: Thread, arguments: tuple[int, ...]) -> list[int]:
    info = _read(f"/proc/{thread.pid}/fdinfo/{arguments[0]}")
    found = re.findall(rb"^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)", info, re.MULTILINE)
    return [int(number) for number, events in found if int(events, 16) & _POLLIN]


_AWAITED = {
    Sleep.READ: _of_read,
    Sleep.SELECT: _of_select,
    Sleep.POLL: _of_poll,
    Sleep.EPOLL: _of_epoll,
}


def _is_terminal(thread: Thread, number: int, device: int) -> bool:
    status = os.stat(f"/proc/{thread.pid}/fd/{number}")
    return stat.S_ISCHR(status.st_mode) and status.st_rdev in (device, _DEV_TTY)


def _memory(thread: Thread, address: int, size: int) -> bytes:
    """Empty for no address: select may be given no set."""
    if not address or not size:
        return b""
    with open(f"/proc/{thread.pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
