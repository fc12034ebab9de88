"""What callers ask of kernels and their runs: both modes in one line, and a cancel in any state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import Counter, Gate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller


async def test_queries_and_batches_of_a_kernel_stand_in_one_line(
    caller: Caller, kernel: Kernel, tmp_path: Path
) -> None:
    gate, marks = Gate(tmp_path), Counter(tmp_path)
    first = await caller.create(kernel=kernel.id, code=gate.code)
    opening = await gate.held()
    steps = {"exec": f"echo batch >>{tmp_path / 'counter'}"}
    waiting = [
        await caller.create(kernel=kernel.id, code=marks.code("query")),
        await caller.create(kernel=kernel.id, mode="batch", steps=steps),
        await caller.create(kernel=kernel.id, code=marks.code("again")),
    ]
    standing = [await caller.run(run["uid"]) for run in waiting]
    assert [("queued", n) for n in range(3)] == [
        (run["state"], run["queue_position"]) for run in standing
    ]
    gate.pass_(opening)
    runs = [await caller.over(run["uid"]) for run in (first, *waiting)]
    assert ["ok"] * 4 == [run["outcome"] for run in runs]
    assert ["query", "batch", "again"] == marks.marks


async def test_a_cancel_ends_its_own_run_and_no_other(caller: Caller, tmp_path: Path) -> None:
    """A run that goes on beside another has a process of its own, so no interrupt is shared."""
    gates = [Gate(tmp_path, name) for name in ("one", "other")]
    runs = [await caller.create(code=f"{gate.code}; print('whole')") for gate in gates]
    openings = [await gate.held() for gate in gates]
    assert 2 == len({run["kernel"]["id"] for run in runs})
    assert 202 == (await caller.cancel(runs[0]["uid"])).status
    cancelled = await caller.over(runs[0]["uid"])
    assert ("cancelled", "interrupt") == (cancelled["outcome"], cancelled["reason"]["worked"])
    assert "running" == (await caller.run(runs[1]["uid"]))["state"]
    for gate, opening in zip(gates, openings, strict=True):
        gate.pass_(opening)
    assert "ok" == (await caller.over(runs[1]["uid"]))["outcome"]
    assert "whole\n" == await caller.text(runs[1]["uid"])


async def test_a_run_is_cancelled_in_each_of_its_states(
    caller: Caller, kernel: Kernel, tmp_path: Path, closed_gate: Path
) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    starting = await caller.create(kernel={"name": "held-shut"}, code=counter.code())
    await caller.reached(starting["uid"], "starting")
    running = await caller.create(kernel=kernel.id, code=f"{gate.code}\nwhile True: pass")
    queued = await caller.create(kernel=kernel.id, code=counter.code())
    await gate.open()
    for run in (starting, queued):
        answer = await caller.cancel(run["uid"])
        assert (200, "finished") == (answer.status, answer.json["state"])
    answer = await caller.cancel(running["uid"])
    assert (202, "cancelling") == (answer.status, answer.json["state"])
    asking = await caller.create(kernel=kernel.id, code="input('name? ')")
    await caller.reached(asking["uid"], "waiting-input")
    assert 202 == (await caller.cancel(asking["uid"])).status
    ended = [await caller.over(run["uid"]) for run in (starting, queued, running, asking)]
    assert [("cancelled", 130)] * 4 == [(run["outcome"], run["exit_code"]) for run in ended]
    assert [] == counter.marks
    for run in ended:  # once more, when there is nothing to be cancelled
        answer = await caller.cancel(run["uid"])
        assert (200, run) == (answer.status, {**answer.json, "outputs": run["outputs"]})
    unknown = await caller.cancel("nobody")
    assert (404, "run_not_found") == (unknown.status, unknown.error["code"])
    after = await caller.done(kernel=kernel.id, code="print('after')")
    assert ("ok", 1) == (after["outcome"], after["kernel"]["generation"])
