"""What a killed gateway leaves behind is killed, whatever it is; what it let go of is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels import guard as guards
from kernel_gateway.kernels.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Lets go of the group that it is given; starts two, each a shell with a child; forks; both wait.
PARENT = """
import os, subprocess, sys
from kernel_gateway.kernels.guard import Guard
guard = Guard()
released = int(sys.argv[1])
guard.watch(released)
shell = ["/bin/sh", "-c", "sleep 600 & echo started; wait"]
for _ in range(2):
    guard.watch(subprocess.Popen(shell, start_new_session=True).pid)
guard.release(released)
guard.release(released)
print("told", flush=True)
if os.fork() == 0:
    os.close(1)
sys.stdin.read()
os._exit(0)
"""
LIMIT_S = 30


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def test_groups_die_with_a_killed_process_and_released_ones_do_not(
    sleeper: subprocess.Popen[bytes],
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(sleeper.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        said = sorted(parent.stdout.readline() for _ in range(3))
        assert ["started\n", "started\n", "told\n"] == said
        parent.kill()
        assert "" == parent.stdout.read()  # the pipe ends with its last holder
    assert sleeper.poll() is None


async def test_what_is_watched_at_a_close_is_killed(sleeper: subprocess.Popen[bytes]) -> None:
    guard = Guard()
    guard.watch(sleeper.pid)
    await guard.close()
    assert -signal.SIGKILL == sleeper.wait(LIMIT_S)


async def test_a_close_does_not_wait_for_others_who_hold_the_pipe(
    sleeper: subprocess.Popen[bytes],
) -> None:
    guard = Guard()
    guard.watch(sleeper.pid)
    assert guard._process is not None
    assert guard._process.stdin is not None
    holder = os.dup(guard._process.stdin.fileno())
    async with asyncio.timeout(LIMIT_S):
        await guard.close()
        await guard.close()
    os.close(holder)
    assert -signal.SIGKILL == sleeper.wait(LIMIT_S)


async def test_a_guard_that_was_stopped_is_waited_for_with_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guards, "CLOSE_LIMIT_S", 0.01)
    guard = Guard()
    assert guard._process is not None
    guard._process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(LIMIT_S):
        await guard.close()
    assert -signal.SIGKILL == guard._process.returncode


async def test_a_guard_that_is_gone_is_told_and_holds_up_nobody(
    sleeper: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard()
    assert guard._process is not None
    guard._process.kill()
    guard._process.wait(LIMIT_S)
    guard.watch(sleeper.pid)
    await guard.close()
    assert ["Broken pipe" in line for line in caplog.messages] == [True]
    assert sleeper.poll() is None


async def test_where_there_is_no_shell_kernels_start_all_the_same(
    sleeper: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(shell="/no/shell")
    guard.watch(sleeper.pid)
    guard.release(sleeper.pid)
    await guard.close()
    assert ["may outlive this process" in line for line in caplog.messages] == [True]
