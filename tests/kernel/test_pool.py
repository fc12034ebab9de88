"""Kernels kept ready that are processes: what they were told, and that none is left."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.pool import WarmKernel, WarmLauncher
from tests.shared.kernels import HANG_LIMIT_S, Bench, Python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kernel.conftest import MakeBench

WHERE = (
    "import os, pathlib\n"
    "folder = pathlib.Path(os.environ['KERNEL_GATEWAY_ARTIFACT_DIR'])\n"
    "(folder / 'a.txt').write_text('hello')\n"
    "print(folder.resolve())"
)


@pytest.fixture
async def warm(
    make_bench: MakeBench, write_spec: Callable[..., str], tmp_path: Path
) -> AsyncIterator[Bench]:
    """One of the kernelspec `made` is ready."""
    write_spec()
    launcher = WarmLauncher(
        make_bench(default_spec="made").launcher,
        {"made": 1},
        folder=tmp_path / "warm",
        pause=_a_turn,
    )
    await launcher.start()
    await _full(launcher)
    yield Bench(launcher, Python())
    await launcher.close()


async def _a_turn(_: float) -> None:
    await asyncio.sleep(0)


async def _full(launcher: WarmLauncher) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while launcher.ready() != {"made": 1}:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)


def _launcher(bench: Bench) -> WarmLauncher:
    assert isinstance(bench.launcher, WarmLauncher)
    return bench.launcher


def _process_told(folder: Path) -> int:
    """The kernel whose artifact folder is below this one."""
    told = f"KERNEL_GATEWAY_ARTIFACT_DIR={folder}/".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if told in environ.read_bytes():
                return int(environ.parent.name)
    raise AssertionError(f"no process was told {folder}")


def _kill_and_wait(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([pidfd], [], [])
    os.close(pidfd)


async def test_the_folder_in_its_environment_is_that_of_the_request(
    warm: Bench, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    started = await warm.ready(artifact_dir=mine)
    assert isinstance(started.kernel, WarmKernel)
    assert f"{mine}\n" == started.recorder.stdout(await started.run(WHERE))
    assert "hello" == (mine / "a.txt").read_text()
    await started.kernel.shutdown(0.5)


async def test_one_that_was_killed_is_not_handed_over(warm: Bench, tmp_path: Path) -> None:
    """The loop does not turn between the death and the request."""
    _kill_and_wait(_process_told(tmp_path / "warm"))
    assert {"made": 1} == _launcher(warm).ready()
    started = await warm.ready()
    assert not isinstance(started.kernel, WarmKernel)
    await _full(_launcher(warm))
    await started.kernel.kill()


async def test_after_a_change_of_the_kernelspec_one_is_started_anew(
    warm: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "specs" / "made" / "kernel.json"
    spec = json.loads(file.read_text())
    file.write_text(json.dumps({**spec, "env": {"EDITION": "second"}}))
    os.utime(file, ns=(1, 1))
    for is_warm in (False, True):
        started = await warm.ready()
        assert is_warm is isinstance(started.kernel, WarmKernel)
        msg_id = await started.run("import os; print(os.environ.get('EDITION'))")
        assert "second\n" == started.recorder.stdout(msg_id)
        await started.kernel.kill()
        await _full(_launcher(warm))
