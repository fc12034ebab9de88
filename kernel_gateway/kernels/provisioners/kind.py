"""Which kernels can come from one fork server: those that nothing tells apart until they run code.

A forked kernel has inherited what its server has imported, and what that was done under: the
interpreter and its flags, the variables that are read at import, the packages as they were on disk,
the surroundings of the process. Whoever wants any of it otherwise gets another server. Pure: what
is on disk and in /proc is an argument.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LAUNCHER = ("-m", "ipykernel_launcher")
#: Of the interpreter, without a value. `-i` and `-x` mean nothing to a module, `-c` is another.
_PLAIN_FLAGS = frozenset("bBdEIOPqsSuv")
_VALUED_FLAGS = frozenset("WX")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKind:
    python: str
    flags: tuple[str, ...] = ()
    #: Modules it imports beside ipykernel.
    preload: tuple[str, ...] = ()
    #: Its kernels share the seed of hashes and the layout of memory: nobody is to learn another's.
    owner: str = ""
    #: Those that are read at import.
    env: tuple[tuple[str, str], ...] = ()
    #: What a process inherits beside its variables.
    surroundings: str = ""
    #: Of the packages on disk.
    stamp: str = ""

    @property
    def name(self) -> str:
        """Another one for whatever differs; fits into the name of a file."""
        told = [self.python, self.flags, self.preload, self.owner, self.env]
        text = json.dumps([*told, self.surroundings, self.stamp])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def supersedes(self, other: ServerKind) -> bool:
        """Nobody will ask for the other again: it has imported what is no longer on disk."""
        return self.stamp != other.stamp and replace(self, stamp="") == replace(other, stamp="")


def interpreter_of(command: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """Python and its flags, where the command starts ipykernel and does nothing else."""
    for at in range(1, len(command) - 1):
        if tuple(command[at : at + 2]) == _LAUNCHER:
            flags = tuple(command[1:at])
            return (command[0], flags) if _are_flags(flags) else None
    return None


def _are_flags(words: Sequence[str]) -> bool:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if len(word) < 2 or word[0] != "-":
            return False
        if word[1] in _VALUED_FLAGS:
            if len(word) == 2 and not rest:
                return False
            del rest[: len(word) == 2]  # its value is a word of its own
        elif not _PLAIN_FLAGS.issuperset(word[1:]):
            return False
    return True
