"""Fixtures of every test: what a test must not leave behind, checked at its end.

Knows processes, threads, descriptors, tasks and the log; knows nothing of the gateway but the name
of its logger, and who reads its JSON. A test that leaves something fails in its teardown, with a
line for each finding.

A fixture of a wider scope (a kernel that the tests of a module share) may hold what it wants: it
is there before the first look. Linux only: what a process holds is read in /proc.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blockbuster import BlockBuster

from kernel_gateway.messaging import strict_json

if TYPE_CHECKING:
    from collections.abc import Iterator

# One module of tests/shared tests a fake and the real thing: its asserts explain themselves too.
pytest.register_assert_rewrite("tests.shared")

# What ends by itself just after the test (a thread that saw its process die, a task that was told
# to stop) gets this long. It is waited for only when something is there that should not be.
GRACE_S = 1.0
POLL_S = 0.005

# Where a mistake becomes a log line: ours, the lost exception of a task, a web handler that failed.
WATCHED_LOGGERS = ("kernel_gateway", "asyncio", "tornado")

# Threads of a loop's own executor. They live as long as the loop, which other tests may share; of
# a loop that is not shared none is left when we look.
LOOP_THREADS = "asyncio_"


def pytest_configure() -> None:
    """Who starts tests in the background, or with nohup, has them ignore signals, and all that they
    start as well: nothing would be shown of what Ctrl-C and a hang-up do, nor of what kernels have.

    Users need not have msgspec, which also writes what is no JSON (bytes, dataclasses): so it is
    for the servers that tests start, and not for what runs here.
    """
    strict_json.quick = None
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def no_unexpected_error(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that logs an error, unless it says so: `@pytest.mark.logs_error("regex", ...)`.

    Each pattern must be found in some line, and each line must match some pattern.
    """
    patterns = [
        pattern for mark in request.node.iter_markers("logs_error") for pattern in mark.args
    ]
    log = _ErrorLog()
    for name in WATCHED_LOGGERS:
        logging.getLogger(name).addHandler(log)
    yield
    for name in WATCHED_LOGGERS:
        logging.getLogger(name).removeHandler(log)
    _fail_if(
        "logged errors that the test does not expect",
        [line for line in log.lines if not any(re.search(p, line) for p in patterns)],
    )
    _fail_if(
        "did not log the errors that the test expects",
        [pattern for pattern in patterns if not any(re.search(pattern, x) for x in log.lines)],
    )


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, no_unexpected_error: None) -> Iterator[None]:
    """Fail a test that leaves a child process, a thread, a socket or another descriptor."""
    scope = _loop_scope(request)
    if scope not in (None, "function"):
        _runner(request, scope)  # a loop that tests share is not of this test: have it made first
    before = _held()
    yield
    _fail_if("left behind", _left_since(before))


@pytest.fixture(autouse=True)
def no_task_left(request: pytest.FixtureRequest, nothing_left: None) -> Iterator[None]:
    """Fail an async test when a task outlives it and its fixtures: each task has an owner."""
    scope = _loop_scope(request)
    if scope is None:
        yield
        return
    runner = _runner(request, scope)
    before = asyncio.all_tasks(runner.get_loop())
    yield
    _fail_if("left tasks", runner.run(_tasks_since(before)))


@pytest.fixture
def no_blocking_call() -> Iterator[None]:
    """Fail a test in which code of the gateway blocks the loop (files, sockets, sleeps, locks).

    Not on by itself: a folder whose tests have a loop turns it on in its own conftest.
    """
    guard = BlockBuster(scanned_modules=["kernel_gateway"])
    # Coverage takes a lock of its own within each function that it sees for the first time.
    for function in guard.functions.values():
        function.can_block_in("coverage/collector.py", "lock_data")
    # One look that costs less than a thread; nearly every run ends with it.
    guard.functions["os.scandir"].can_block_in("kernel_gateway/execution/artifacts.py", "has_files")
    # A number that Linux has ready, of no file on a disk.
    guard.functions["os.stat"].can_block_in("kernel_gateway/process_limits.py", "_used")
    guard.activate()
    yield
    guard.deactivate()


class _ErrorLog(logging.Handler):
    """Keeps each error as one line: logger, message, exception."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        line = f"{record.name}: {record.getMessage()}"
        self.lines.append(line if error is None else f"{line} ({error!r})")


def _fail_if(what: str, findings: list[str]) -> None:
    if findings:
        pytest.fail("\n  ".join([f"{what}:", *findings]), pytrace=False)


def _loop_scope(request: pytest.FixtureRequest) -> str | None:
    """Whose loop an async test runs in (`function`: its own); None for a test without a loop."""
    mark = request.node.get_closest_marker("asyncio")
    if mark is None:
        return None
    scope: str = mark.kwargs.get("loop_scope") or request.config.getini(
        "asyncio_default_test_loop_scope"
    )
    return scope


def _runner(request: pytest.FixtureRequest, scope: str) -> asyncio.Runner:
    # A private name of pytest-asyncio. The public way, an async fixture, needs one for each scope.
    runner: asyncio.Runner = request.getfixturevalue(f"_{scope}_scoped_runner")
    return runner


async def _tasks_since(before: set[asyncio.Task[object]]) -> list[str]:
    def found() -> set[asyncio.Task[object]]:
        return asyncio.all_tasks() - before - {asyncio.current_task()}

    await asyncio.sleep(0)  # a transport that was closed lets go of its socket one turn later
    if left := found():
        await asyncio.wait(left, timeout=GRACE_S)
    return [repr(task) for task in found()]


def _left_since(before: dict[object, str]) -> list[str]:
    """What is held and was not `before`, after what ends by itself had its time to."""

    def found() -> list[str]:
        return [name for key, name in _held().items() if key not in before]

    if left := found():
        gc.collect()  # what only a cycle holds is let go, and complains of it by a warning
        end = time.monotonic() + GRACE_S
        while (left := found()) and time.monotonic() < end:
            time.sleep(POLL_S)
    return left


def _held() -> dict[object, str]:
    """The children, threads and descriptors of this process, each with a name for people."""
    held: dict[object, str] = {
        thread: f"thread {thread.name}"
        for thread in threading.enumerate()
        if not thread.name.startswith(LOOP_THREADS)
    }
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # another thread ended meanwhile
            for pid in Path(f"/proc/self/task/{task}/children").read_text().split():
                held["process", pid] = f"process {pid}: {_command(pid)}"
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            target = os.readlink(f"/proc/self/fd/{number}")
            held["descriptor", number, target] = f"descriptor {number}: {target}"
    return held


def _command(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return "gone"
    return b" ".join(words).decode(errors="replace").strip() or "dead and not waited for"
