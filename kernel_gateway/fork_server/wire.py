"""What a fork server and its clients tell each other, over a Unix socket: a line of JSON each.

A connection is a hold on the server, which ends when nobody has one any more. Who wants a kernel
sends a `ForkRequest`, with three descriptors (stdin, stdout, stderr; SCM_RIGHTS) beside its first
byte, and has a connection for each kernel:

    client   {"fork": {"command": [...], "env": {...}, "cwd": "..."}}
    server   {"pid": 123}          the kernel is a process of its own, leader of its group
             {"fault": "..."}      there is none, and the server closes
    server   {"exit": -9}          it is over; as subprocess has it, a signal is negative

The kernel is a zombie until the client closes, so that until then nobody else gets its number. When
the client closes earlier, or is gone, its group is killed.

Knows JSON alone: it is read in the gateway, and in the interpreter of the kernels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DESCRIPTORS = 3  # beside a request
#: Of a line. What Linux takes for arguments and environment is less.
MOST_BYTES = 2**23


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRequest:
    """A kernel as a cold start would have it."""

    command: Sequence[str]  # [python, *its flags, "-m", "ipykernel_launcher", *arguments]
    env: Mapping[str, str]  # all of it
    cwd: str  # absolute


@dataclass(frozen=True, slots=True)
class Forked:
    pid: int  # and the number of its process group, and of its session


@dataclass(frozen=True, slots=True)
class Fault:
    why: str  # a sentence


@dataclass(frozen=True, slots=True)
class Exited:
    code: int  # a signal is negative


Answer: TypeAlias = Forked | Fault | Exited


def request_line(request: ForkRequest) -> bytes:
    body = {"command": list(request.command), "env": dict(request.env), "cwd": request.cwd}
    return _line({"fork": body})


def read_request(line: bytes) -> ForkRequest:
    """Raises `ValueError` for what is none."""
    match _value(line):
        case {"fork": {"command": [*command], "env": dict(env), "cwd": str(cwd)}}:
            if all(isinstance(text, str) for text in (*command, *env, *env.values())):
                return ForkRequest(command=tuple(command), env=env, cwd=cwd)
    raise ValueError("This is no request for a kernel.")


def answer_line(answer: Answer) -> bytes:
    match answer:
        case Forked(pid):
            return _line({"pid": pid})
        case Fault(why):
            return _line({"fault": why})
        case Exited(code):
            return _line({"exit": code})


def read_answer(line: bytes) -> Answer:
    """Raises `ValueError` for what is none."""
    match _value(line):
        case {"pid": int(pid)}:
            return Forked(pid)
        case {"fault": str(why)}:
            return Fault(why)
        case {"exit": int(code)}:
            return Exited(code)
    raise ValueError("This is no answer of a fork server.")


def _line(value: object) -> bytes:
    # Names and values of variables can be any bytes; Python has those as lone surrogates, which
    # JSON's escapes keep.
    return json.dumps(value).encode() + b"\n"


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise ValueError("This is no JSON.") from fault
