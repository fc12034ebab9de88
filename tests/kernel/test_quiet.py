"""Whether code has left something behind that may still print, and what is done when it has not."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.execution.local import LocalService
from kernel_gateway.kernels.inside import IS_QUIET
from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.messaging.message import VALUE, MsgId, evaluate_request
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Dropped, LogText, Seq
from kernel_gateway.service import Owner, RunRequest
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.shared.kernels import HANG_LIMIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.shared.kernels import Bench, Started

ME = Owner("me")

#: What a cell leaves behind, and the cell that does away with it.
_LEFT = {
    "a thread": (
        "from threading import *; go = Event(); thread = Thread(target=go.wait); thread.start()",
        "go.set(); thread.join()",
    ),
    "a task": (
        "import asyncio; task = asyncio.get_running_loop().create_task(asyncio.sleep(600))",
        "task.cancel()\nawait asyncio.sleep(0)",
    ),
    "a timer of the loop": (
        "timer = asyncio.get_running_loop().call_later(600, print, 'late')",
        "timer.cancel()",
    ),
    "a timer of signals": ("import signal; signal.alarm(600)", "signal.alarm(0)"),
    "a process": (
        "import subprocess; process = subprocess.Popen(['sleep', '600'])",
        "process.kill(); process.wait()",
    ),
    "a callback of the loop, over and over": (
        (
            "def again():\n"
            "    global handle\n"
            "    handle = asyncio.get_event_loop().call_soon(again)\n"
            "again()"
        ),
        "handle.cancel()",
    ),
    "a handler of a signal": (
        "signal.signal(signal.SIGUSR1, print)",
        "signal.signal(signal.SIGUSR1, signal.SIG_DFL)",
    ),
    "a process that holds it by another number": (
        (
            "kept = os.dup(1)\n"
            "nowhere = subprocess.DEVNULL\n"
            "process = subprocess.Popen(['sleep', '600'], stdout=nowhere, stderr=nowhere,\n"
            "    pass_fds=[kept])\n"
            "os.close(kept)"
        ),
        "process.kill(); process.wait()",
    ),
    "a process, and the descriptor was changed since": (
        (
            "process = subprocess.Popen(['sleep', '600'], stderr=subprocess.DEVNULL)\n"
            "kept = os.dup(1); other = os.open('/dev/zero', os.O_WRONLY); os.dup2(other, 1)"
        ),
        "process.kill(); process.wait(); os.dup2(kept, 1); os.close(kept); os.close(other)",
    ),
    "text that is being carried": (  # a cell's end undoes what it makes of `sys.stdout.write`
        (
            "from threading import *\n"
            "gate = Event()\n"
            "sys.stdout._schedule_flush = gate.wait\n"
            "os.write(1, b'carried')"
        ),
        "del sys.stdout._schedule_flush; gate.set()",
    ),
    "an orphan": (
        "pid = int(subprocess.check_output('sleep 600 >/dev/null & echo $!', shell=True))",
        "os.kill(pid, 9)\nwhile os.path.exists(f'/proc/{pid}/fd/2'): pass",
    ),
}


async def is_quiet(kernel: Started, numbers: Iterator[int]) -> bool:
    """By two looks, as the engine takes them."""
    for _ in range(2):
        msg_id = MsgId(f"quiet{next(numbers)}")
        kernel.kernel.send(evaluate_request(msg_id, IS_QUIET))
        value = (await kernel.recorder.ended(msg_id)).expressions[VALUE]
        assert isinstance(value, dict)
        if {"text/plain": "True"} != value["data"]:
            return False
    return True


async def test_what_may_still_print_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it ipykernel reads no descriptors
    kernel = await bench.ready()
    asked = count()

    async def becomes_quiet() -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while not await is_quiet(kernel, asked):  # what was printed is on its way
                pass

    await kernel.run("print(1); import os, sys; os.system('echo 2')")
    await becomes_quiet()
    for what, (begin, end) in _LEFT.items():
        assert "ok" == kernel.recorder.reply(await kernel.run(begin)).status
        assert not await is_quiet(kernel, asked), what
        assert "ok" == kernel.recorder.reply(await kernel.run(end)).status
        await becomes_quiet()
    await kernel.kernel.kill()
    await kernel.recorder.dead()


async def test_who_asks_is_not_the_parent_of_what_threads_print(kernel: Started) -> None:
    cell = await kernel.run(
        "import threading; go = threading.Event()\n"
        "def work(): go.wait(); print('of its cell', flush=True)\n"
        "threading.Thread(target=work).start()"
    )
    asked = MsgId("asked")
    kernel.kernel.send(evaluate_request(asked, "go.set()"))
    await kernel.printed(cell, "of its cell\n")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[LocalService]:
    store = await Store.open(StoreSettings(folder=tmp_path / "store"))
    launcher = LocalLauncher()
    service = LocalService(launcher, store)
    await service.start()
    yield service
    await service.close()
    await launcher.close()
    await store.close()


async def printed(service: LocalService, code: str, quiet_s: float = 600.0) -> str:
    """By a run with a kernel of its own, until nothing more can come of it."""
    plan = RunPlan(mode=Mode.QUERY, steps=(StepPlan(code=code),), quiet_s=quiet_s)
    info = await service.submit(ME, RunRequest(plan=plan))
    text, after, sealed = "", Seq(0), False
    dropped: list[Dropped] = []
    async with asyncio.timeout(HANG_LIMIT_S):
        while not sealed:
            page = await service.log(ME, info.uid, after=after, wait_s=HANG_LIMIT_S)
            after, sealed = page.next, page.sealed
            text += "".join(one.body.text for one in page.records if isinstance(one.body, LogText))
            dropped += [one.body for one in page.records if isinstance(one.body, Dropped)]
    assert [] == dropped  # as it would be said after `QUIET_CAP_S`
    return text


async def test_nobody_waits_for_code_that_has_left_nothing_behind(service: LocalService) -> None:
    assert "said\n" == await printed(service, "print('said')")


async def test_code_that_has_left_a_thread_is_listened_to(service: LocalService) -> None:
    """Until it is gone with its process."""
    code = (
        "import os, threading, time\n"
        "def work(): time.sleep(0.5); print('late', flush=True); time.sleep(0.3); os._exit(0)\n"
        "threading.Thread(target=work).start(); print('said')"
    )
    assert "said\nlate\n" == await printed(service, code)


async def test_a_kernel_that_stands_still_is_not_silent(service: LocalService) -> None:
    """As on a machine that has no processor for it."""
    code = (
        "import os, subprocess, threading, time\n"
        "def work():\n"
        "    for number in range(3): time.sleep(0.2); print(number, flush=True)\n"
        "me = os.getpid()\n"
        "stop = f'sleep 0.3; kill -STOP {me}; sleep 1; kill -CONT {me}'\n"
        "subprocess.Popen(['sh', '-c', stop], start_new_session=True, stdout=-3, stderr=-3)\n"
        "threading.Thread(target=work, daemon=True).start()"
    )
    assert "0\n1\n2\n" == await printed(service, code, quiet_s=0.5)
