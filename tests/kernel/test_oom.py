"""Who was killed for want of memory: from files as the kernel of the system writes them, and, where
this machine lets us make a control group, from a real kill."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.oom import Count, OomKills
from tests.kernel.conftest import IPYKERNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.shared.kernels import Bench

V2 = "0::/user.slice/kernels\n"
V1 = "9:name=systemd:/\n4:cpu,memory:/kernels\n0::/\n"


class Machine:
    """The files of one process."""

    def __init__(self, tmp_path: Path, membership: str) -> None:
        self.proc = tmp_path / "proc"
        self.cgroups = tmp_path / "cgroup"
        self._write(self.proc / "7" / "cgroup", membership)
        self.kills = OomKills(self.proc, self.cgroups)

    def count(self, file: str, kills: int) -> Path:
        path = self.cgroups / file
        self._write(path, f"under_oom 0\nmax 12\noom_kill {kills}\n")
        return path

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "file"),
    [
        (V2, "user.slice/kernels/memory.events"),
        (V2, "unified/user.slice/kernels/memory.events"),
        (V2, "memory.events"),  # a container's own group is mounted as the root
        (V1, "memory/kernels/memory.oom_control"),
        (V1, "memory/memory.oom_control"),
    ],
)
def test_the_count_of_its_own_group_is_found(tmp_path: Path, membership: str, file: str) -> None:
    machine = Machine(tmp_path, membership)
    path = machine.count(file, 3)
    assert Count(path, 3) == machine.kills.count_of(7)


def test_its_own_group_comes_before_the_root(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V1)
    machine.count("memory/memory.oom_control", 9)
    path = machine.count("memory/kernels/memory.oom_control", 1)
    assert Count(path, 1) == machine.kills.count_of(7)


def test_where_nothing_is_counted_nothing_is_said(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V2)
    assert machine.kills.count_of(7) is None
    assert machine.kills.count_of(8) is None
    machine._write(machine.cgroups / "memory.events", "low 0\nhigh 0\n")
    assert machine.kills.count_of(7) is None
    assert not machine.kills.explains(Count(tmp_path / "gone", 0))


def test_a_count_that_has_risen_explains_a_death(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V2)
    before = Count(machine.count("memory.events", 2), 2)
    assert not machine.kills.explains(before)
    machine.count("memory.events", 3)
    assert machine.kills.explains(before)


def test_one_kill_explains_one_death_of_those_that_share_a_group(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V2)
    before = Count(machine.count("memory.events", 2), 2)
    machine.count("memory.events", 4)
    assert [True, True, False] == [machine.kills.explains(before) for _ in range(3)]


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 200 MiB that a process can put itself into."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    memory = [line.split(":", 2)[2] for line in lines if ":memory:" in line]
    if not memory:
        pytest.skip("the memory of this machine is not counted by version 1 of cgroups")
    group = Path(f"/sys/fs/cgroup/memory{memory[0]}") / f"kernel-gateway-test-{os.getpid()}"
    try:
        group.mkdir()
        for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            with suppress(FileNotFoundError):
                (group / name).write_text(str(200 * 2**20))
    except OSError as fault:
        pytest.skip(f"no control group can be made here: {fault}")
    yield group
    group.rmdir()


async def test_a_kernel_that_takes_too_much_memory_is_told_to_be_out_of_memory(
    bench: Bench, write_spec: Callable[..., str], small_group: Path
) -> None:
    enter = f'echo $$ > {small_group}/cgroup.procs; exec "$0" "$@"'
    started = await bench.ready(
        spec_name=write_spec(argv=["sh", "-c", enter, sys.executable, *IPYKERNEL[1:]])
    )
    started.send("filled = bytearray(b'x') * 2**29")
    exit_ = await started.recorder.dead()
    assert ("SIGKILL", True) == (exit_.signal, exit_.out_of_memory)


async def test_a_kernel_that_somebody_kills_is_not(bench: Bench) -> None:
    started = await bench.ready()
    started.send("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    exit_ = await started.recorder.dead()
    assert ("SIGKILL", False) == (exit_.signal, exit_.out_of_memory)
