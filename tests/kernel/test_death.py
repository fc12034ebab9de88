"""How deaths are told: soon, once, after everything the kernel had sent; and nothing is left."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.kernel import KernelExit
from tests.shared.kernels import HANG_LIMIT_S
from tests.shared.processes import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.raw import RawMessage
    from tests.shared.kernels import Bench, Started

WORDY = Path(__file__).with_name("wordy_kernel.py")
WHERE = "from ipykernel.connect import get_connection_file as f; print(f())"


async def test_a_death_is_told_within_a_second(bench: Bench) -> None:
    started = await bench.ready()
    started.send("import os; os.abort()")
    async with asyncio.timeout(1.0):
        exit_ = await started.recorder.dead()
    assert exit_ == KernelExit(signal="SIGABRT", stderr_tail=exit_.stderr_tail)
    assert started.recorder.told[-1] is exit_


async def test_everything_that_a_kernel_had_sent_is_told_before_its_death(
    bench: Bench, write_spec: Callable[..., str], tmp_path: Path
) -> None:
    """The loop stands still, in the read of the fifo, until the process is gone."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [sys.executable, str(WORDY), "{connection_file}", str(fifo), "5000"]
    started = await bench.ready(spec_name=write_spec(argv=argv))
    msg_id = started.send("")
    fifo.read_bytes()
    exit_ = await started.recorder.dead()
    assert started.recorder.stdout(msg_id) == "".join(f"{n}\n" for n in range(5000))
    assert started.recorder.reply(msg_id).status == "ok"
    assert exit_.exit_code == 5
    assert started.recorder.told[-1] is exit_


async def test_a_kernel_has_a_folder_of_its_own_that_goes_with_it(bench: Bench) -> None:
    started = await bench.ready()
    file = Path(started.recorder.stdout(await started.run(WHERE)).strip())
    assert _private(file) == (0o600, 0o700)
    assert _sockets_beside(file) == 5
    await started.kernel.kill()
    await started.kernel.wait_dead()
    assert not _exists(file.parent)


async def test_a_kernel_that_deletes_its_folder_still_works_and_ends(bench: Bench) -> None:
    started = await bench.ready()
    file = started.recorder.stdout(await started.run(WHERE)).strip()
    await started.run(f"import os, shutil; shutil.rmtree(os.path.dirname({file!r}))")
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    await started.kernel.interrupt()
    assert (await started.recorder.ended(msg_id)).ename == "KeyboardInterrupt"
    await started.kernel.shutdown(0.5)


async def test_children_of_a_kernel_die_with_it(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = await started.run("import subprocess as s; print(s.Popen(['sleep', '600']).pid)")
    with _watched(int(started.recorder.stdout(msg_id))) as child_ended:
        await started.kernel.kill()
        await started.kernel.wait_dead()
        await asyncio.wait_for(child_ended.wait(), HANG_LIMIT_S)


async def test_a_fork_that_holds_the_sockets_does_not_hold_up_the_death(bench: Bench) -> None:
    """It left the process group, so only the limit of the last words helps."""
    started = await bench.ready()
    child = await _forked_away(started)
    started.send("import os; os._exit(9)")
    async with asyncio.timeout(1.5):
        assert (await started.recorder.dead()).exit_code == 9
    os.kill(child, signal.SIGKILL)


async def test_a_kernel_that_is_stopped_can_be_killed(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = await started.run("import os; print(os.getpid())")
    stop(int(started.recorder.stdout(msg_id)))
    await started.kernel.kill()
    assert (await started.kernel.wait_dead()).signal == "SIGKILL"


async def test_a_kernel_that_ignores_everything_is_killed_in_the_end(
    bench: Bench, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    started = await bench.ready()
    started.send(
        "import os, signal, ctypes\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "hold_the_gil = ctypes.PyDLL(None).sleep\n"
        f"open({str(fifo)!r}, 'w').close(); hold_the_gil(600)"
    )
    await asyncio.to_thread(fifo.read_bytes)
    await started.kernel.interrupt()
    await started.kernel.shutdown(0.1)
    assert started.recorder.exits[0].signal == "SIGKILL"


@pytest.mark.logs_error(r"a listener failed at the death.*told badly")
async def test_a_listener_that_fails_at_the_death_does_not_hide_it(bench: Bench) -> None:
    class Bad:
        def on_ready(self, info: KernelInfo) -> None: ...

        def on_message(self, message: RawMessage) -> None: ...

        def on_dead(self, exit: KernelExit) -> None:  # noqa: A002
            raise RuntimeError("told badly")

    started = bench.launch(listener=Bad())
    await started.kernel.kill()
    assert (await started.kernel.wait_dead()).start_fault


def _private(file: Path) -> tuple[int, int]:
    """The permissions of the file and of its folder."""
    file_mode, folder_mode = (stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent))
    return file_mode, folder_mode & 0o777


def _exists(path: Path) -> bool:
    return path.exists()


def _sockets_beside(file: Path) -> int:
    return sum(stat.S_ISSOCK(path.stat().st_mode) for path in file.parent.iterdir())


async def _forked_away(started: Started) -> int:
    """Fork, without exec and in a session of its own, a child that sleeps; its pid."""
    msg_id = await started.run(
        "import os, time\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    os.setsid(); time.sleep(600); os._exit(0)\n"
        "print('pid', pid)"
    )
    match = re.search(r"pid (\d+)", started.recorder.stdout(msg_id))
    assert match
    return int(match[1])


@contextmanager
def _watched(pid: int) -> Iterator[asyncio.Event]:
    """Set when the process, which need not be our child, has ended."""
    ended = asyncio.Event()
    pidfd = os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    yield ended
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
