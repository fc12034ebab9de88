"""What Linux lets this process have, as it is asked."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kernel_gateway import process_limits
from kernel_gateway.process_limits import (
    descriptors,
    explained,
    raise_descriptor_limit,
    set_descriptor_limit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """Those of this process, and again when the test is over."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_is_open_is_counted() -> None:
    before = descriptors()
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    try:
        assert (before.limit, before.used + 5) == (descriptors().limit, descriptors().used)
    finally:
        for number in held:
            os.close(number)


def test_where_linux_does_not_count_the_lowest_free_number_says_how_many_there_are_at_least(
    limits: tuple[int, int],
) -> None:
    lowest = process_limits._lowest_free()
    assert 3 <= lowest <= descriptors().used
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    assert lowest == process_limits._lowest_free()  # none is left to try with


def test_the_limit_is_raised_as_far_as_it_can_be(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    for _ in range(2):
        raise_descriptor_limit()
        assert (limits[1], limits[1]) == resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.parametrize(("asked", "given"), [(100, 100), (10**7, 200)])
def test_another_process_gets_what_its_hard_limit_lets_it(asked: int, given: int) -> None:
    code = "import resource; input(); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (200, 200))
        set_descriptor_limit(process.pid, asked)
        said, _ = process.communicate("\n")
    assert f"({given}, 200)" == said.strip()


def test_a_fault_tells_which_limit_is_behind_it() -> None:
    told = explained(OSError(errno.EMFILE, "Too many open files"))
    assert told.startswith("[Errno 24] Too many open files. The gateway has ")
    assert told.endswith(f" of {descriptors().limit} descriptors (ulimit -n).")
    assert "pids.max" in explained(BlockingIOError(errno.EAGAIN, "no"))
    for other in (OSError(errno.ENOENT, "no"), OSError("no"), ValueError("no")):
        assert str(other) == explained(other)
