"""A gateway with little room: how many runs go on at once, and what is too much of a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import Gate, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel, Server
    from tests.e2e.runs.caller import Caller

MIB = 2**20
SMALL = (
    "--Runs.own_kernels=2",
    "--Runs.restart_limit=2",
    "--Runs.restart_backoff_s=0.1",
    f"--Runs.log_bytes={MIB}",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("small") / "data", *SMALL) as server:
        yield server


async def test_as_many_runs_as_there_are_slots_go_on_at_once_and_the_next_one_waits(
    caller: Caller, tmp_path: Path
) -> None:
    names = ("one", "other")
    gates = [Gate(tmp_path, name) for name in names]
    runs = [
        await caller.create(code=f"print({name!r}); {gate.code}")
        for name, gate in zip(names, gates, strict=True)
    ]
    third = await caller.create(code="print('third')")
    openings = [await gate.held() for gate in gates]  # both are executed at this moment
    standing = await caller.run(third["uid"])
    assert ("queued", 0) == (standing["state"], standing["queue_position"])
    for gate, opening in zip(gates, openings, strict=True):
        gate.pass_(opening)
    assert ["ok"] * 3 == [(await caller.over(run["uid"]))["outcome"] for run in (*runs, third)]
    texts = [await caller.text(run["uid"]) for run in (*runs, third)]
    assert ["one\n", "other\n", "third\n"] == texts


async def test_a_kernel_that_dies_of_every_run_stays_dead(caller: Caller, kernel: Kernel) -> None:
    """Two restarts in a row are tried here, each later than the last."""
    for generation in (1, 2, 3):
        ended = await caller.done(kernel=kernel.id, code="import os; os._exit(7)")
        assert ("lost", "kernel_died", 7, generation) == (
            ended["outcome"],
            ended["reason"]["code"],
            ended["reason"]["exit_code"],
            ended["kernel"]["generation"],
        )
    assert "dead" == (await kernel.call("GET")).json["execution_state"]
    refused = await caller.post(kernel=kernel.id, code="1")
    assert (409, "kernel_dead") == (refused.status, refused.error["code"])
    assert 200 == (await kernel.restart()).status
    assert "ok" == (await caller.done(kernel=kernel.id, code="1"))["outcome"]


async def test_a_death_is_told_before_the_next_kernel_is_there_and_hits_no_other(
    caller: Caller, kernel: Kernel, tmp_path: Path
) -> None:
    gate, last = Gate(tmp_path), Gate(tmp_path, "last")
    beside = await caller.create(code=f"{gate.code}; print('untouched')")
    opening = await gate.held()
    dying = await caller.create(
        kernel=kernel.id, code=f"print('last words'); {last.code}; import os; os._exit(7)"
    )
    after = await caller.create(kernel=kernel.id, code="print('after')")
    await caller.printed(dying["uid"], "last words\n")
    await last.open()
    lost = await caller.over(dying["uid"])
    assert ("lost", 7, 1) == (lost["outcome"], lost["exit_code"], lost["kernel"]["generation"])
    assert "last words\n" == await caller.text(dying["uid"])
    works = await caller.over(after["uid"])
    assert ("ok", 2) == (works["outcome"], works["kernel"]["generation"])
    assert lost["finished_at"] < works["started_at"]
    assert "running" == (await caller.run(beside["uid"]))["state"]
    gate.pass_(opening)
    untouched = await caller.over(beside["uid"])
    assert ("ok", 1) == (untouched["outcome"], untouched["kernel"]["generation"])
    assert "untouched\n" == await caller.text(beside["uid"])


async def test_text_beyond_the_limit_of_a_run_is_counted(caller: Caller, kernel: Kernel) -> None:
    code = "for number in range(30_000): print(f'{number:099}')\n1 / 0"
    run = await caller.done(kernel=kernel.id, code=code)
    dropped = [one for one in await caller.records(run["uid"]) if one["kind"] == "dropped"]
    assert {"log_limit"} == {one["why"] for one in dropped}
    counts = [one["bytes"] for one in dropped]
    assert sorted(counts) == counts  # each is all that is missing so far
    kept = await caller.text(run["uid"])
    assert MIB - 64 * 1024 <= len(kept) <= MIB
    assert "".join(f"{number:099}\n" for number in range(30_000)).startswith(kept)
    assert 3_000_000 - len(kept) == counts[-1] == run["log"]["dropped"]
    assert ("error", "ZeroDivisionError") == (run["outcome"], run["error"]["ename"])
