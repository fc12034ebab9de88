"""`fork_server/rebirth.py`: what a forked kernel has of its own, and nothing of its server."""

from __future__ import annotations

import os
import select
import signal
import sys
import tty
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.fork_server.wire import Exited, Fault
from tests.kernel.fork_server.served import (
    FLAGS,
    LIMIT_S,
    Kernel,
    Served,
    kernel_of,
    kernel_request,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is preloaded: it finds out where files go, and keeps what there is when it is imported. For
#: a fork server it is also numpy's random numbers.
PRELOADED = """
import multiprocessing, os, random, sys, tempfile
tempfile.gettempdir()
BEFORE = frozenset(sys.modules)
BACKEND = os.environ["MPLBACKEND"]
AUTHKEY = bytes(multiprocessing.current_process().authkey)
os.environ["SET_BY_IMPORT"] = "yes"
seeds = []
def seed():
    seeds.append(None)
sys.modules["numpy.random"] = sys.modules[__name__]
"""
BROKEN = "raise SystemExit('not today')"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "preloaded.py").write_text(PRELOADED)
    (folder / "broken.py").write_text(BROKEN)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, modules: Path) -> Iterator[Served]:
    env = {**os.environ, "PYTHONPATH": str(modules), "OF_SERVER": "yes"}
    env.pop("PYTHONUNBUFFERED", None)
    folder = tmp_path_factory.mktemp("served")
    preload = "absent_module,broken,preloaded"
    with whole(folder, preload=preload, env=env) as served, served.client():
        yield served


@pytest.fixture(scope="module")
def env(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the kernel."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(modules),
        "TZ": "XYZ-3",
        "TMPDIR": str(tmp_path_factory.mktemp("temporary")),
        "JPY_PARENT_PID": "1234",
        "NO_UTF8": b"\xff".decode(errors="surrogateescape"),
    }


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cwd")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output") / "output"


@pytest.fixture(scope="module")
def kernel(
    served: Served,
    tmp_path_factory: pytest.TempPathFactory,
    env: dict[str, str],
    cwd: Path,
    output: Path,
) -> Iterator[Kernel]:
    """One for all tests that only look at it."""
    folder = tmp_path_factory.mktemp("kernel") / "files"
    with (
        output.open("wb") as file,
        kernel_of(served, folder, cwd=cwd, env=env, output=file.fileno()) as kernel,
    ):
        kernel.run("import ctypes, gc, os, random, signal, sys, tempfile, time, threading")
        kernel.run("import multiprocessing, preloaded")
        yield kernel


def proc(pid: int, name: str) -> list[str]:
    text = Path(f"/proc/{pid}/{name}").read_text(errors="surrogateescape")
    return text.removesuffix("\0").split("\0")


def held(pid: int) -> set[str]:
    """Sockets and pipes, each of which has a number of its own."""
    folder = Path(f"/proc/{pid}/fd")
    names = {os.readlink(file) for file in folder.iterdir()}
    return {name for name in names if name.startswith(("socket:", "pipe:"))}


# -- what it has -----------------------------------------------------------------------------------


def test_it_leads_a_session_and_a_group_and_is_a_child_of_the_server(
    kernel: Kernel, served: Served
) -> None:
    told = kernel.value("(os.getpid(), os.getpgid(0), os.getsid(0), os.getppid())")
    assert (kernel.pid, kernel.pid, kernel.pid, served.process.pid) == told


def test_it_has_the_variables_of_its_request_and_those_that_imports_have_set(
    kernel: Kernel, env: dict[str, str]
) -> None:
    of_imports = {"SET_BY_IMPORT", "PYDEVD_USE_FRAME_EVAL"}
    of_start = {"MPLBACKEND", "JPY_SESSION_NAME", "LC_CTYPE", "TERM", "CLICOLOR", "PAGER"}
    of_start |= {"FORCE_COLOR", "CLICOLOR_FORCE", "GIT_PAGER"}  # ipykernel's own
    told = kernel.value("dict(os.environ)")
    given = {name: value for name, value in env.items() if name != "JPY_PARENT_PID"}
    assert given == {name: value for name, value in told.items() if name in given}
    assert set(told) - set(given) - of_start == of_imports


def test_its_children_have_the_variables_that_it_has(kernel: Kernel) -> None:
    told = kernel.value("os.popen('echo $TZ,$OF_SERVER,$JPY_PARENT_PID').read()")
    assert told == "XYZ-3,,\n"


def test_it_has_the_time_zone_of_its_variables(kernel: Kernel) -> None:
    assert kernel.value("time.tzname")[0] == "XYZ"


def test_it_has_the_folder_for_files_of_its_variables(kernel: Kernel, env: dict[str, str]) -> None:
    assert env["TMPDIR"] == kernel.value("tempfile.gettempdir()")


def test_it_has_its_folder_and_imports_from_it(kernel: Kernel, cwd: Path) -> None:
    (cwd / "beside.py").write_text("found = True")
    assert str(cwd) == kernel.value("os.getcwd()")
    assert kernel.value("__import__('beside').found")
    assert kernel.value("sys.path").count("") == 1
    assert str(cwd) not in kernel.value("sys.path")


def test_a_folder_to_import_from_may_be_its_own(
    served: Served, modules: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    with kernel_of(served, tmp_path / "kernel", cwd=modules, env=env) as kernel:
        assert str(modules) in kernel.value("__import__('sys').path")


def test_it_has_its_arguments(kernel: Kernel) -> None:
    arguments = kernel.value("sys.argv")
    assert Path(arguments[0]).name == "ipykernel_launcher.py"
    assert Path(arguments[0]).exists()
    assert arguments[1] == "-f"
    command = [sys.executable, *FLAGS, "-m", "ipykernel_launcher", *arguments[1:]]
    assert command == kernel.value("sys.orig_argv")


def test_its_command_and_its_variables_are_seen_from_outside(
    kernel: Kernel, env: dict[str, str]
) -> None:
    assert kernel.value("sys.orig_argv") == proc(kernel.pid, "cmdline")
    assert [f"{name}={value}" for name, value in env.items()] == proc(kernel.pid, "environ")


def test_its_signals_are_as_at_the_start_of_python(kernel: Kernel) -> None:
    status = "{line.split(':')[0]: line.split()[-1] for line in open('/proc/self/status')}"
    status = kernel.value(status)
    ignored = {signum for signum in range(1, 65) if int(status["SigIgn"], 16) >> signum - 1 & 1}
    assert {signal.SIGPIPE, signal.SIGXFSZ} == ignored
    assert int(status["SigBlk"], 16) == 0
    assert kernel.value("signal.getsignal(signal.SIGTERM) is signal.SIG_DFL")
    assert kernel.value("signal.set_wakeup_fd(-1)") == -1


def test_its_streams_are_made_for_its_descriptors(kernel: Kernel, output: Path) -> None:
    kernel.run("sys.__stdout__.write('one'); sys.__stdout__.flush(); os.write(2, b'')")
    assert kernel.value("[sys.__stdin__.name, sys.__stdout__.name, sys.__stderr__.name]") == [
        "<stdin>",
        "<stdout>",
        "<stderr>",
    ]
    assert kernel.value("(sys.__stdout__.line_buffering, sys.__stderr__.line_buffering)") == (
        False,
        True,
    )
    assert output.read_text() == "one"  # and nothing for a person at a terminal before it


def test_a_terminal_is_seen_to_be_one(served: Served, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    try:
        with kernel_of(served, tmp_path / "kernel", output=theirs) as kernel:
            assert kernel.value("__import__('sys').__stdout__.line_buffering")
    finally:
        os.close(ours)
        os.close(theirs)


# -- what it does not have -------------------------------------------------------------------------


def test_it_has_no_descriptor_of_the_server_nor_of_another_kernel(
    kernel: Kernel, served: Served
) -> None:
    assert not held(kernel.pid) & held(served.process.pid)


def test_nothing_of_the_server_is_left_in_it(kernel: Kernel) -> None:
    kernel.run("gc.collect()")
    ours = "[name for name in sys.modules if name.startswith('kernel_gateway')]"
    assert [] == kernel.value(ours)
    objects = "[repr(one) for one in gc.get_objects() if type(one).__module__[:14] == %r]"
    assert [] == kernel.value(objects % "kernel_gateway")
    assert kernel.value("gc.isenabled()")


def test_it_has_its_own_random_numbers(kernel: Kernel, served: Served, tmp_path: Path) -> None:
    looks = "(random.random(), bytes(multiprocessing.current_process().authkey))"
    with kernel_of(served, tmp_path / "kernel") as other:
        other.run("import random, multiprocessing, preloaded")
        numbers, keys = zip(kernel.value(looks), other.value(looks), strict=True)
        assert len(set(numbers)) == 2
        assert len({*keys, kernel.value("preloaded.AUTHKEY")}) == 3
    assert [None] == kernel.value("preloaded.seeds")


def test_its_main_thread_is_the_one_that_it_has(kernel: Kernel) -> None:
    assert kernel.pid == kernel.value("threading.main_thread().native_id")


# -- its beginning and its end ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cwd", "env", "why"),
    [
        ("/nowhere", {}, "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'"),
        ("/", {"A=B": "1"}, "ValueError: illegal environment variable name"),
        ("/", {"A": "\0"}, "ValueError: embedded null byte"),
        ("/\0", {}, "ValueError: "),
        ("/\udcff", {}, "FileNotFoundError: "),
    ],
)
def test_what_no_process_can_have_is_said(
    served: Served, cwd: str, env: dict[str, str], why: str
) -> None:
    with served.asked(kernel_request(cwd=cwd, env=env)) as client:
        answer = client.heard()
        assert isinstance(answer, Fault)
        assert answer.why.startswith(why)


def test_it_ends_as_a_program_of_its_own(served: Served, tmp_path: Path) -> None:
    with kernel_of(served, tmp_path / "kernel") as kernel:
        kernel.run("import atexit; ended = open('ended', 'w'); atexit.register(ended.write, 'all')")
        kernel.run("exit")
        assert Exited(0) == kernel.connection.heard()
        assert (tmp_path / "kernel" / "ended").read_text() == "all"


def test_it_does_not_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    with whole(tmp_path) as served, kernel_of(served, tmp_path / "kernel") as kernel:
        pidfd = os.pidfd_open(kernel.pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        served.process.kill()
        assert poll.poll(LIMIT_S * 1000)
        assert kernel.connection.heard() is None
        os.close(pidfd)


def test_a_server_that_cannot_fork_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "opening.py").write_text("kept = open(__file__)")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    request = kernel_request(cwd="/", env=env)
    with (
        whole(tmp_path, preload="opening", env=env) as served,
        served.asked(request) as client,
    ):
        assert client.heard() is None
        assert 1 == served.wait()
        assert "Imports have opened what kernels would share: " in served.errors


# -- imports ---------------------------------------------------------------------------------------


def test_it_imports_next_to_nothing_any_more(served: Served, tmp_path: Path) -> None:
    """Else it is time for a longer list in `preparation.py`."""
    with kernel_of(served, tmp_path / "kernel") as kernel:
        kernel.run("import preloaded, sys; before = set(sys.modules)")
        assert set() == {
            name
            for name in kernel.value("before - preloaded.BEFORE")
            if name not in ("preloaded", "numpy.random")
        }
        kernel.run("1/0")
        kernel.ask("complete", "sys.pa")
        kernel.ask("inspect", "sys.path")
        assert set() == kernel.value("set(sys.modules) - before")


def test_a_module_for_pictures_finds_the_backend_of_kernels(kernel: Kernel) -> None:
    assert kernel.value("preloaded.BACKEND") == "module://matplotlib_inline.backend_inline"


def test_what_cannot_be_preloaded_is_left_out_and_said(kernel: Kernel, served: Served) -> None:
    assert served.errors.splitlines() == [
        "'absent_module' cannot be preloaded: ModuleNotFoundError: No module named 'absent_module'",
        "'broken' cannot be preloaded: SystemExit: not today",
    ]
