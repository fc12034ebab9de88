"""What a kernel is let, and what it takes of what its gateway is let."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.kernel import KernelId
from kernel_gateway.process_limits import KERNEL_DESCRIPTORS, descriptors

if TYPE_CHECKING:
    from tests.kernel.conftest import MakeBench

LIMIT = 200
CODE = """\
import os, resource, select
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
numbers = [os.dup(1) for _ in range(30)]
print(select.select([], numbers, [], 0)[1] == numbers)
"""
#: Of its threads, and of what it starts.
PRIORITIES = """\
import os, subprocess
stats = [open(f"/proc/self/task/{thread}/stat").read() for thread in os.listdir("/proc/self/task")]
print({stat.rpartition(")")[2].split()[16] for stat in stats}, subprocess.getoutput("nice"))
"""


@pytest.mark.parametrize("fork_server", [False, True])
async def test_a_kernel_has_a_limit_of_its_own_and_takes_no_more_of_ours_than_is_reckoned(
    make_bench: MakeBench, fork_server: bool
) -> None:
    bench = make_bench(fork_server=fork_server, descriptors=LIMIT)
    first = await bench.ready()
    before = descriptors().used
    second = await bench.ready(kernel_id=KernelId("second"))
    assert descriptors().used - before <= KERNEL_DESCRIPTORS
    said = first.recorder.stdout(await first.run(CODE))
    assert f"{LIMIT} {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}\nTrue\n" == said
    for one in (first, second):
        await one.kernel.kill()
        await one.recorder.dead()


@pytest.mark.parametrize("fork_server", [False, True])
async def test_a_kernel_and_what_it_starts_step_back(
    make_bench: MakeBench, fork_server: bool
) -> None:
    bench = make_bench(fork_server=fork_server, nice=3)
    kernel = await bench.ready()
    said = kernel.recorder.stdout(await kernel.run(PRIORITIES))
    expected = str(os.nice(0) + 3)
    assert f"{ {expected} } {expected}\n" == said
    await kernel.kernel.kill()
    await kernel.recorder.dead()


async def test_a_start_without_descriptors_fails_with_the_name_of_the_limit(
    make_bench: MakeBench,
) -> None:
    bench = make_bench()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = descriptors().used + 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        died = await bench.launch().recorder.dead()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert f"of {few} descriptors (ulimit -n)" in str(died.start_fault)
