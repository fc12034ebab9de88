"""What runs take of disk, memory and descriptors is given back when they are deleted."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import HANG_LIMIT_S, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.main_job.gateway import Kernel, Server
    from tests.e2e.runs.caller import Caller

MIB = 2**20
RUNS = 1000
AT_ONCE = 100
SPILLED = 20_000  # bytes of a value
INLINE = 4096

#: Leaves a value that is too big to be inline, a file, text and a metric.
CODE = f"""
from IPython.display import display
with open(os.environ['KERNEL_GATEWAY_ARTIFACT_DIR'] + '/kept.bin', 'wb') as file:
    _ = file.write(bytes({SPILLED}))
display({{'text/plain': 'x' * {SPILLED}}}, raw=True)
print('y' * {SPILLED})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("room")
    with serving(folder / "data", f"--Runs.inline_bytes={INLINE}") as server:
        yield server


def files(folder: Path) -> dict[str, int]:
    """The bytes that each takes on the disk; without SQLite's journal, which has its own bound."""
    found: dict[str, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with suppress(FileNotFoundError):  # the store has just put it away
                found[str(path.relative_to(folder))] = path.lstat().st_blocks * 512
    found.pop("gateway.db-wal")
    return found


async def make(kernel: Kernel, number: int) -> str:
    """Gives the path of a run that is over."""
    options = {"wait": 20}
    answer = await kernel.execute(mode="query", code=CODE, runId=str(number), options=options)
    assert ("finished", 0) == (answer.json["status"], answer.json["exitCode"]), answer.body
    return f"/api/runs/{number}?kernel={kernel.id}"


async def test_1_000_runs_with_spilled_values_leave_nothing_when_they_are_deleted(
    kernel: Kernel, caller: Caller, server: Server
) -> None:
    assert 0 == (await kernel.run("import os")).exit_code
    folder = server.data_dir
    names = set(files(folder))

    async def taken() -> int:
        """On the disk, when what was deleted is away: that is done by and by."""
        async with asyncio.timeout(HANG_LIMIT_S):
            while set(files(folder)) - names:
                await kernel.run("pass")
        return sum(files(folder).values())

    for start in range(-AT_ONCE, RUNS, AT_ONCE):
        if start == 0:  # what is loaded once is there by now
            disk, memory, descriptors = await taken(), server.memory_mb(), server.descriptors()
        numbers = range(start, start + AT_ONCE)
        made = await asyncio.gather(*(make(kernel, number) for number in numbers))
        if start == RUNS - AT_ONCE:
            assert 2 * AT_ONCE <= len(set(files(folder)) - names)  # so the search finds them
            artifacts = (await caller.call("GET", made[-1])).json["artifacts"]
            assert {"file", "oversized"} == {artifact["kind"] for artifact in artifacts}
            assert {SPILLED} == {artifact["size"] for artifact in artifacts}
        deleted = await asyncio.gather(*(caller.call("DELETE", path) for path in made))
        assert {204} == {answer.status for answer in deleted}
    assert 410 == (await caller.call("GET", made[-1])).status
    # Of 60 MB that were written; the database keeps some free pages, and the names of the runs.
    assert await taken() - disk < 6 * MIB
    assert descriptors == server.descriptors()
    # The gateway remembers that they were there, and none of what they have printed.
    assert server.memory_mb() - memory < RUNS * SPILLED / MIB
