"""What a process can see of itself. Its text is run in a kernel, by the first cell.

Knows Python and Linux. `look` gives what must be the same in every kernel that had the same
request, without what cannot be: addresses, numbers of processes, the connection file.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

# Before the probe imports anything that a kernel may not have.
MODULES = sorted(sys.modules)
THREADS = len(os.listdir("/proc/self/task"))

import asyncio  # noqa: E402
import ctypes  # noqa: E402
import getpass  # noqa: E402
import locale  # noqa: E402
import logging  # noqa: E402
import multiprocessing  # noqa: E402
import re  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import site  # noqa: E402
import socket  # noqa: E402
import stat  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import tracemalloc  # noqa: E402
import warnings  # noqa: E402
from collections import Counter  # noqa: E402
from contextlib import suppress  # noqa: E402

from ipykernel.parentpoller import ParentPollerUnix  # noqa: E402


def look() -> dict[str, Any]:
    return {name: looks() for name, looks in _LOOKS.items()}


def _environment() -> Any:
    return {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}


def _environment_of_libraries() -> Any:
    """That of C, which is another; a child of C's own has it as well."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    names = [*os.environ, "OLDPWD", "JPY_PARENT_PID", "PYTHONSTARTUP"]
    return {name: (getenv(name.encode()) or b"").decode() for name in names if name[:4] != "JPY_"}


def _folders() -> Any:
    return {
        "cwd": os.getcwd(),
        "home": str(Path.home()),
        "temporary": tempfile.gettempdir(),
        "user": getpass.getuser(),
        "umask": _umask(),
    }


def _umask() -> int:
    umask = os.umask(0o77)
    os.umask(umask)
    return umask


def _interpreter() -> Any:
    return {
        "argv": _without_file(sys.argv),
        "orig_argv": _without_file(sys.orig_argv),
        "path": sys.path,
        "flags": repr(sys.flags),
        "executable": [sys.executable, sys._base_executable],  # type: ignore[attr-defined]
        "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix],
        "site": [site.getsitepackages(), site.ENABLE_USER_SITE],
        "options": [sys.warnoptions, dict(sys._xoptions), sys.dont_write_bytecode],
        "finders": [_name(finder) for finder in sys.meta_path],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()],
        "hooks": [_name(getattr(sys, name)) for name in _HOOKS],
        "traces": [sys.gettrace(), sys.getprofile(), threading.gettrace()],
        "audited": [sys.flags.dev_mode, tracemalloc.is_tracing(), sys.pycache_prefix],
        "hash": hash("text") if os.environ.get("PYTHONHASHSEED") else None,
    }


_HOOKS = ("excepthook", "displayhook", "breakpointhook", "unraisablehook")


def _without_file(words: list[str]) -> list[str]:
    """The connection file is each kernel's own."""
    return ["FILE" if word.endswith(".json") else word for word in words]


def _main() -> Any:
    main = sys.modules["__main__"]
    return {
        "names": sorted(vars(main)),
        "spec": [repr(getattr(main, name, "none")) for name in ("__name__", "__file__")],
        "more": [_name(getattr(main, name, None)) for name in ("__spec__", "__loader__")],
        "package": getattr(main, "__package__", "none"),
    }


def _streams() -> Any:
    found = {}
    for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
        stream = getattr(sys, name)
        found[name] = [type(stream).__qualname__, *(repr(getattr(stream, a, "")) for a in _ABOUT)]
    return found


_ABOUT = ("encoding", "errors", "line_buffering", "write_through", "mode", "name", "newlines")


def _words() -> Any:
    return {
        "encodings": [locale.getpreferredencoding(), sys.getfilesystemencoding()],
        "locale": [locale.setlocale(locale.LC_ALL), locale.getlocale()],
        "time": [time.tzname, time.timezone, time.localtime(0).tm_hour],
    }


def _frames() -> Any:
    """From the probe's caller to the first of the process."""
    frames = []
    frame = sys._getframe().f_back
    while frame is not None:
        frames.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    return [re.sub(r"ipykernel_\d+", "ipykernel_PID", line) for line in frames]


def _signals() -> Any:
    found = {number.name: _name(signal.getsignal(number)) for number in signal.Signals}
    return found | {
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "wakeup": _wakeup(),
        "timers": [signal.getitimer(signal.ITIMER_REAL), signal.alarm(0)],
    }


def _wakeup() -> bool:
    number = signal.set_wakeup_fd(-1)
    if number != -1:
        signal.set_wakeup_fd(number)
    return number != -1


def _process() -> Any:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "status": {name: status[name].strip() for name in _STATUS},
        "leads": [os.getpid() == os.getpgid(0), os.getpid() == os.getsid(0)],
        "terminal": _terminal(),
        "limits": {
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "priority": [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)],
        "cores": sorted(os.sched_getaffinity(0)),
        "badness": Path("/proc/self/oom_score_adj").read_text(),
        "group": Path("/proc/self/cgroup").read_text(),
        "name": Path("/proc/self/comm").read_text(),
        "command": _without_file(Path("/proc/self/cmdline").read_text().split("\0")),
        "main thread": threading.main_thread().native_id == os.getpid(),
        "threads": sorted(f"{_unnumbered(one.name)} {one.daemon}" for one in _threads()),
        "native threads": THREADS - (len(threading.enumerate()) - len(_threads())),
        "slack": Path("/proc/self/timerslack_ns").read_text(),
        "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    }


def _threads() -> list[threading.Thread]:
    """Without that of a cold kernel which looks whether its parent is there."""
    return [one for one in threading.enumerate() if not isinstance(one, ParentPollerUnix)]


def _unnumbered(name: str) -> str:
    return re.sub(r"-\d+", "", name)


_STATUS = (
    "Name", "Umask", "State", "TracerPid", "Uid", "Gid", "Groups",
    "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp",
)  # fmt: skip


def _terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def _descriptors() -> Any:
    """What is open, but for sockets and events: how many there are of these is ZeroMQ's matter. Of
    the sockets that are somebody else's."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # of the listing itself
            continue
        if target.startswith("socket:"):
            found.update(_foreign_names(int(number)))
        elif target != "anon_inode:[eventfd]" and int(number) > 0:  # 0: a pipe, or /dev/null
            found[re.sub(r":\[\d+\]", "", target)] += 1
    return dict(found)


def _foreign_names(number: int) -> list[str]:
    with socket.socket(fileno=os.dup(number)) as found:
        if found.family != socket.AF_UNIX:
            return []  # debugpy's
        names = [found.getsockname()]
        with suppress(OSError):
            names.append(found.getpeername())
    folder = os.path.dirname(_CONNECTION_FILE)
    return [str(name) for name in names if name and not str(name).startswith(folder)]


def _stdin() -> Any:
    stream = sys.__stdin__
    assert stream is not None
    return [os.read(0, 1).decode(), stream.isatty(), stat.S_IMODE(os.fstat(0).st_mode) != 0]


def _settings() -> Any:
    root = logging.getLogger()
    return {
        "collector": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks)],
        "warnings": [repr(one) for one in warnings.filters],
        "shown": _name(warnings.showwarning),
        "root logger": [
            root.level,
            [_handler(one) for one in root.handlers],
            logging.raiseExceptions,
        ],
        "loggers": _loggers(),
        "multiprocessing": [
            multiprocessing.get_start_method(allow_none=True),
            multiprocessing.current_process().name,
            multiprocessing.parent_process() is None,
            multiprocessing.active_children(),
        ],
        "loop": [_name(type(asyncio.get_running_loop())), asyncio.get_running_loop().get_debug()],
    }


def _loggers() -> Any:
    """Those that somebody has set up."""
    found = {}
    for name, logger in logging.Logger.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and (logger.handlers or logger.level):
            handlers = [_handler(handler) for handler in logger.handlers]
            found[name] = [logger.level, handlers, logger.propagate]
    return found


def _handler(handler: logging.Handler) -> list[str]:
    stream = getattr(handler, "stream", None)
    return [
        type(handler).__qualname__,
        type(stream).__qualname__,
        logging.getLevelName(handler.level),
    ]


def _shell() -> Any:
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    kernel = shell.kernel
    return {
        "config": repr(_flat(shell.config)),
        "profile": shell.profile_dir.location,
        "history": shell.history_manager.enabled,
        "startup": shell.user_ns.get("from_startup"),
        "magics": {kind: sorted(names) for kind, names in shell.magics_manager.lsmagic().items()},
        "extensions": sorted(shell.extension_manager.loaded),
        "kernel": [_name(type(kernel)), kernel.session.key == b"", kernel.implementation],
        "application": [_name(type(kernel.parent)), kernel.parent.name, kernel.parent.log_level],
        "parent": bool(kernel.parent.parent_handle),
        "completer": [shell.Completer.use_jedi, shell.Completer.omit__names],
        "formatters": sorted(shell.display_formatter.formatters),
    }


def _flat(config: Any) -> Any:
    if not isinstance(config, dict):
        return "FILE" if isinstance(config, str) and config.endswith(".json") else config
    return {name: _flat(config[name]) for name in sorted(config)}


def _left_of_others() -> Any:
    """Objects of the gateway's code. A collector that was frozen hides them until it thaws."""
    gc.unfreeze()
    return sorted(
        {
            f"{type(one).__module__}.{type(one).__qualname__}"
            for one in gc.get_objects()
            if str(type(one).__module__).startswith("kernel_gateway")
        }
    )


def _name(thing: Any) -> str:
    """Of a function, a class, a constant; of anything else its type's: no address is the same."""
    if thing is None or isinstance(thing, int):
        return repr(thing)
    thing = getattr(thing, "__func__", thing)
    if not hasattr(thing, "__qualname__"):
        thing = type(thing)
    return f"{thing.__module__}.{thing.__qualname__}"


def _connection_file() -> str:
    from ipykernel.connect import get_connection_file

    return get_connection_file()


_CONNECTION_FILE = _connection_file()

_LOOKS = {
    "environment": _environment,
    "environment of libraries": _environment_of_libraries,
    "folders": _folders,
    "interpreter": _interpreter,
    "main": _main,
    "streams": _streams,
    "words": _words,
    "frames": _frames,
    "signals": _signals,
    "process": _process,
    "descriptors": _descriptors,
    "stdin": _stdin,
    "settings": _settings,
    "shell": _shell,
    "left of others": _left_of_others,
}
