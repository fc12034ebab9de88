"""A copy of the fork server becomes a kernel: what a process has that `exec` would have replaced.

Runs in the child of a fork. By its end nothing tells it from a kernel of a cold start but
what it has imported.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from kernel_gateway.fork_server.command_line import show_as
from kernel_gateway.fork_server.preparation import LAUNCHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType

    from kernel_gateway.fork_server.preparation import Launcher
    from kernel_gateway.fork_server.wire import ForkRequest

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

#: What Python ignores from its start on; Python's own handler of Ctrl-C comes beside.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)

#: The first byte that a child reports.
REBORN = b"+"
FAULT = b"-"
_MOST_TOLD = 1000  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """All that a child has of the server. Its signals are blocked."""

    request: ForkRequest
    descriptors: Sequence[int]  # to be 0, 1 and 2
    report: int  # the end of a pipe
    parent: int  # the server


def be_reborn(birth: Birth, launcher: Launcher, variables: Mapping[str, str]) -> CodeType:
    """What is to run in `__main__`. Says over the pipe that there is a kernel now, or ends the
    process and says why not."""
    try:
        _become(birth, launcher, variables)
        os.write(birth.report, REBORN)
        os.close(birth.report)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    except Exception as fault:  # the boundary: nothing of the server may run on in a child
        _end(birth, f"{type(fault).__name__}: {fault}")
    return launcher.code


def _end(birth: Birth, why: str) -> NoReturn:
    try:
        os.write(birth.report, FAULT + why.encode(errors="replace")[:_MOST_TOLD])
    finally:
        os._exit(1)


def request_fault(request: ForkRequest) -> str | None:
    """Why it is none that a fork server can stand in for."""
    if _arguments(request.command) is None:
        return f"Only `python -m {LAUNCHER}` is forked, which {list(request.command[:4])} is not."
    paths = request.env.get("PYTHONPATH")
    if paths and not all(os.path.isabs(path) for path in paths.split(os.pathsep)):
        return f"PYTHONPATH has relative folders, whose meaning is lost: {paths!r}."
    return None


def _arguments(command: Sequence[str]) -> Sequence[str] | None:
    """Those of the kernel."""
    words = list(command)
    at = words.index("-m") if "-m" in words[1:] else len(words)
    return words[at + 2 :] if words[at + 1 : at + 2] == [LAUNCHER] else None


def _become(birth: Birth, launcher: Launcher, variables: Mapping[str, str]) -> None:
    request = birth.request
    _be_a_session_of_ones_own(birth.parent)
    _take_descriptors(birth.descriptors)
    os.chdir(request.cwd)
    _take_environment(request.env, variables)
    _reset_signals()
    _renew_randomness()
    _number_the_thread_anew()
    _forget_temporary_folder()
    show_as(request.command, request.env)
    _take_arguments(request.command, launcher)
    _take_streams()
    _forget_the_server(launcher)


def _be_a_session_of_ones_own(parent: int) -> None:
    os.setsid()
    if _LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "It would outlive its server")
    if os.getppid() != parent:  # it has died before it was to be noticed
        os._exit(1)


def _take_descriptors(descriptors: Sequence[int]) -> None:
    """None of them is below 3, where the server has its own."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)


def _take_environment(env: Mapping[str, str], variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update({**variables, **env})
    os.environ.pop("JPY_PARENT_PID", None)  # our end is noticed without looking for it
    time.tzset()


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        handler = signal.getsignal(number)
        if callable(handler) or handler is signal.SIG_IGN:  # else its default, or faulthandler's
            signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _renew_randomness() -> None:
    """That of `random` is new after each fork."""
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()
    if processes := sys.modules.get("multiprocessing.process"):
        processes.current_process().authkey = os.urandom(32)


def _number_the_thread_anew() -> None:
    """Before Python 3.13 a thread that goes through a fork keeps the system's number for it."""
    renew = getattr(threading.main_thread(), "_set_native_id", None)
    if renew is not None:
        renew()


def _forget_temporary_folder() -> None:
    """It was found by the variables of the server."""
    if tempfile := sys.modules.get("tempfile"):
        vars(tempfile)["tempdir"] = None


def _take_arguments(command: Sequence[str], launcher: Launcher) -> None:
    arguments = _arguments(command)
    assert arguments is not None
    sys.argv[:] = [launcher.path, *arguments]
    sys.orig_argv[:] = command
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd())  # as `-m` has it; the launcher removes it


def _take_streams() -> None:
    """What they know of their descriptors (a terminal, a file) is of the server's."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = _stream(descriptor, mode, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _stream(descriptor: int, mode: str, old: Any) -> object:
    """As the interpreter makes it."""
    raw = io.FileIO(descriptor, mode, closefd=False)
    raw.name = old.name
    buffer: Any = raw  # with -u
    if not isinstance(old.buffer, io.RawIOBase):
        buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    stream: Any = io.TextIOWrapper(
        buffer,
        old.encoding,
        old.errors,
        newline="\n",
        line_buffering=not old.write_through and (descriptor == 2 or raw.isatty()),
        write_through=old.write_through,
    )
    stream.mode = mode
    return stream


def _forget_the_server(launcher: Launcher) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "kernel_gateway"]:
        # For ever: to take it apart would copy the pages of all that it holds.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(sys.modules.pop(name)))
    main = sys.modules["__main__"].__dict__
    builtins = main["__builtins__"]
    main.clear()
    main.update(launcher.names, __builtins__=builtins)
