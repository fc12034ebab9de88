"""What a process shows of itself in /proc, to `ps` and others: its command and its environment.

The kernel of the system has the addresses of both, which a process may change (PR_SET_MM_MAP).
Where it may not, the words are written over those that it was started with, as far as there is
room.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PR_SET_MM = 35
_PR_SET_MM_MAP = 14
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.malloc.restype = ctypes.c_void_p
_LIBC.sbrk.restype = ctypes.c_void_p


def show_as(command: Sequence[str], env: Mapping[str, str]) -> None:
    """It is only shown: when it cannot be, nothing is said of it."""
    words = _zero_ended(command)
    variables = _zero_ended(f"{name}={value}" for name, value in env.items())
    try:
        if not _move(words, variables):
            _overwrite(words)
    except (OSError, ValueError, IndexError):  # no /proc, or not as it is known
        return


def _zero_ended(words: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def _move(words: bytes, variables: bytes) -> bool:
    """Have the system look for them in memory of ours, which stays for good."""
    size = len(words) + len(variables)
    address = _LIBC.malloc(max(size, 1))
    ctypes.memmove(address, words + variables, size)
    ends = [address, address + len(words), address + len(words), address + size]
    places = _Places.read()
    layout = [*places.before_stack, _LIBC.sbrk(0), places.stack, *ends]
    # struct prctl_mm_map: eleven addresses, an auxiliary vector (none: as it is), the size of that,
    # and the descriptor of a program (-1: as it is).
    new = struct.pack("=11QQIi", *layout, 0, 0, -1)
    number, option = ctypes.c_ulong(_PR_SET_MM_MAP), ctypes.c_ulong(len(new))
    failed: int = _LIBC.prctl(_PR_SET_MM, number, ctypes.c_char_p(new), option, ctypes.c_ulong(0))
    return not failed


def _overwrite(words: bytes) -> None:
    places = _Places.read()
    room = places.arguments_end - places.arguments
    ctypes.memmove(places.arguments, words[: room - 1].ljust(room, b"\0"), room)


@dataclass(frozen=True, slots=True)
class _Places:
    """Addresses, as proc_pid_stat(5) has them."""

    before_stack: Sequence[int]  # code and its end, data and its end, heap
    stack: int
    arguments: int
    arguments_end: int

    @classmethod
    def read(cls) -> _Places:
        # The name of the program, in parentheses, may hold anything; 3 is the first field after it.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        at = {number: int(field) for number, field in enumerate(fields, 3) if number > 3}
        return cls([at[26], at[27], at[45], at[46], at[47]], at[28], at[48], at[49])
