"""How kernels end and begin anew: the same codes, nothing of the old, nothing left."""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.kernel import KernelExit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernel.alike.conftest import Answering, Way

pytestmark = pytest.mark.asyncio(loop_scope="package")

ENDS = {
    "os._exit(7)": (7, None),
    "os.abort()": (None, "SIGABRT"),
    "os.kill(os.getpid(), 9)": (None, "SIGKILL"),
    "import ctypes; ctypes.string_at(0)": (None, "SIGSEGV"),
    "os.killpg(0, 15)": (None, "SIGTERM"),
}


@pytest.mark.parametrize("code", ENDS)
async def test_a_kernel_that_dies_says_how(own: Answering, code: str) -> None:
    own.started.send(f"import os\n{code}")
    exit_ = await own.started.recorder.dead()
    exit_code, signal = ENDS[code]
    assert KernelExit(exit_code=exit_code, signal=signal, stderr_tail="") == exit_


async def test_an_exit_of_a_cell_is_an_exception_like_any_other(kernel: Answering) -> None:
    assert "SystemExit" in (await kernel.raises("import sys; sys.exit(3)"))[-1]
    assert 1 == await kernel.tells("1")


async def test_what_is_to_run_at_the_end_runs_at_the_end(own: Answering, tmp_path: Path) -> None:
    """In the order of a cold one, with threads that are waited for and text that is not lost."""
    said = tmp_path / "said"
    await own.runs(
        "import atexit, threading\n"
        f"file = open({str(said)!r}, 'a')\n"
        "def say(word): file.write(word + '\\n')\n"
        "atexit.register(say, 'first'); atexit.register(say, 'second')\n"
        "def stay(): threading.main_thread().join(); say('thread')\n"
        "threading.Thread(target=stay).start()"
    )
    own.started.send("exit()")
    assert KernelExit(exit_code=0, stderr_tail="") == await own.started.recorder.dead()
    assert ["thread", "second", "first"] == said.read_text().split()


async def test_a_kernel_that_is_asked_to_end_ends(own: Answering) -> None:
    """ipykernel 7.4, cold or not, hangs in about every fifth shutdown; then it is terminated."""
    await own.started.kernel.shutdown(1.0)
    (exit_,) = own.started.recorder.exits
    assert (exit_.exit_code, exit_.signal) in {(0, None), (None, "SIGTERM")}


async def test_a_kernel_that_begins_anew_has_nothing_of_the_old(way: Way) -> None:
    """Another process, from the same place, with the same beginning."""
    look = "import os\n[os.getpid(), sorted(globals()), sorted(os.environ), os.getcwd()]"
    first = await way.another()
    process, *expected = await first.tells(look)
    await first.runs(
        "import os, sys\nos.environ['LEFT'] = 'over'; os.chdir('/'); sys.path.append('left')\n"
        "import builtins; builtins.left = 1; sys.modules['left'] = sys; open('/dev/null')"
    )
    await first.started.kernel.kill()
    await first.started.kernel.wait_dead()
    second = await way.another(generation=2)
    other, *found = await second.tells(look)
    left = (
        "import builtins, sys\n"
        "['left' in sys.modules, 'left' in sys.path, hasattr(builtins, 'left')]"
    )
    assert [False] * 3 == await second.tells(left)
    await second.started.kernel.kill()
    await second.started.kernel.wait_dead()
    assert process != other
    assert expected == found


async def test_children_die_with_their_kernel(own: Answering) -> None:
    child = await own.tells("import subprocess\nsubprocess.Popen(['sleep', '600']).pid")
    watched = os.pidfd_open(child)
    own.started.send("import os; os._exit(0)")
    await own.started.recorder.dead()
    await _ended(watched)


async def test_a_process_that_left_the_group_lives_on(own: Answering) -> None:
    """As a service that somebody starts from a notebook does."""
    child = await own.tells(
        "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True).pid"
    )
    watched = os.pidfd_open(child)
    await own.started.kernel.kill()
    await own.started.kernel.wait_dead()
    assert not select.select([watched], [], [], 0)[0]
    os.kill(child, 9)
    await _ended(watched)


async def test_two_kernels_end_each_by_itself(way: Way) -> None:
    first, second = await way.another(), await way.another()
    await first.started.kernel.kill()
    await first.started.kernel.wait_dead()
    assert 1 == await second.tells("1")
    await second.started.kernel.kill()
    assert "SIGKILL" == (await second.started.kernel.wait_dead()).signal


async def test_a_start_that_cannot_be_is_told(way: Way, tmp_path: Path) -> None:
    started = way.bench.launch(cwd=tmp_path / "is not there")
    exit_ = await started.recorder.dead()
    assert exit_.start_fault is not None
    assert "is not there" in exit_.start_fault
    assert "FileNotFoundError" in exit_.start_fault


async def _ended(watched: int) -> None:
    """Returns when the process is over."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(watched, over.set)
    async with asyncio.timeout(30):
        await over.wait()
    loop.remove_reader(watched)
    os.close(watched)
