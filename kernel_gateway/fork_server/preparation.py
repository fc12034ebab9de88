"""What a fork server does once, so that its kernels need not: it imports, and compiles patterns.

Nothing else: a thread, a loop or a ZeroMQ context does not live through a fork, and an open file
would be shared by all kernels. An import that makes one makes the process `Unfit`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import select
import signal
import sys
import tokenize
from dataclasses import dataclass
from importlib.abc import InspectLoader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import CodeType

LAUNCHER = "ipykernel_launcher"

#: The kernel, and what it imports later: at its start, for its first cell, completion, traceback.
#: A version that does not have one of them is as good.
OF_KERNELS = (
    "ipykernel.kernelapp",
    # what that needs to start
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "IPython.utils.wildcard",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "faulthandler",
    "ipykernel.debugger",
    "pdb",
    "psutil",
    "pydoc",
    "resource",
    "runpy",
    "sqlite3",
    "tornado.platform.asyncio",
    "tornado.queues",
    # a traceback
    "IPython.core.ultratb",
    "pygments.formatters.html",
    "pygments.formatters.terminal256",
    "pygments.lexers.python",
    "pygments.styles.default",
    "stack_data",
    # completion, inspection
    "IPython.core._dunder_ops",
    "IPython.core.guarded_eval",
    "IPython.core.latex_symbols",
    "jedi",
    "jedi.inference.finder",
    "pydoc_data.topics",
)

#: Read by imports. A kernel sets the first for itself, if it has none, before any cell: a module
#: that is imported here would miss it. The second is a kernel's parent, whose end it watches for;
#: ours need not. With 1 it does not, and neither does it take itself for one that a person has
#: started in a terminal.
_FOR_IMPORTS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "JPY_PARENT_PID": "1",
}

_FORK_LIMIT_S = 5.0


class Unfit(Exception):
    """Kernels cannot be forked from this process. The text says why."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """What `python -m ipykernel_launcher` runs."""

    code: CodeType
    path: str
    names: Mapping[str, object]  # in `__main__`


def prepare(preload: Sequence[str]) -> None:
    """Import. Raises `Unfit`; one of `preload` that cannot be imported is a line on stderr."""
    descriptors = _descriptors()
    with _environment_of_imports():
        for name in OF_KERNELS:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        for name in preload:
            _preload(name)
    _tokenize()
    if _threads() > 1:
        _fork_in_vain()
    if (threads := _threads()) > 1:
        raise Unfit(f"Imports have started threads, which a fork loses: there are {threads}.")
    if opened := _descriptors() - descriptors:
        raise Unfit(f"Imports have opened what kernels would share: {', '.join(sorted(opened))}.")


def launcher() -> Launcher:
    """Raises `Unfit` when there is none."""
    spec = importlib.util.find_spec(LAUNCHER)
    if spec is None or spec.origin is None or not isinstance(spec.loader, InspectLoader):
        raise Unfit("This Python has no ipykernel.")
    code = spec.loader.get_code(LAUNCHER)
    if code is None:
        raise Unfit("This Python has no ipykernel.")
    names = {
        "__name__": "__main__",
        "__doc__": None,
        "__package__": spec.parent,
        "__loader__": spec.loader,
        "__spec__": spec,
        "__file__": spec.origin,
        "__cached__": spec.cached,
    }
    return Launcher(code, spec.origin, names)


def own_variables() -> dict[str, str]:
    """What the start of this interpreter and the imports have put into the environment (a locale
    that had to be chosen, a setting of a library), as those of a kernel would. Call it last."""
    given = set(Path("/proc/self/environ").read_bytes().split(b"\0"))
    return {
        name: value
        for name, value in os.environ.items()
        if os.fsencode(f"{name}={value}") not in given
    }


def _tokenize() -> None:
    """What reads the cells of a kernel: until Python 3.12 it compiles its patterns at first, which
    takes longer than the cell."""
    for _ in tokenize.generate_tokens(io.StringIO("None\n").readline):
        pass


def _preload(name: str) -> None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as fault:  # the boundary: modules raise what they like
        sys.stderr.write(f"{name!r} cannot be preloaded: {type(fault).__name__}: {fault}\n")


@contextlib.contextmanager
def _environment_of_imports() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update({name: before.get(name) or value for name, value in _FOR_IMPORTS.items()})
    os.environ["JPY_PARENT_PID"] = _FOR_IMPORTS["JPY_PARENT_PID"]
    yield
    for name in _FOR_IMPORTS:
        os.environ.pop(name, None)
    os.environ.update({name: before[name] for name in _FOR_IMPORTS if name in before})


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _fork_in_vain() -> None:
    """Some (OpenBLAS) end their threads before each fork, and start them when they are needed."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(_FORK_LIMIT_S * 1000):  # it waits for one of the threads that it has lost
        os.kill(pid, signal.SIGKILL)
    os.close(pidfd)
    os.waitpid(pid, 0)


def _descriptors() -> set[str]:
    """What is open, by number and name."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            found.add(f"{number} ({os.readlink(f'/proc/self/fd/{number}')})")
    return found
