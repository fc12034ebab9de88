"""Kernels that come up late, with many words, or not at all: what becomes of runs that wait."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import Counter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

TRACEBACK = re.compile(rb"Traceback|\.py\b|site-packages")


async def test_a_kernelspec_that_nobody_knows_is_refused_by_its_name(caller: Caller) -> None:
    for body in ({"code": "1"}, {"mode": "batch", "steps": {"exec": "true"}}):
        refused = await caller.post(kernel={"name": "no-such-spec"}, **body)
        assert (404, "kernelspec_not_found") == (refused.status, refused.error["code"])
        assert "'no-such-spec'" in refused.error["message"]
        assert TRACEBACK.search(refused.body) is None


async def test_a_run_has_its_name_before_its_kernel_is_there(
    caller: Caller, closed_gate: Path, tmp_path: Path
) -> None:
    """The kernel does not come up before the gate is opened, so nothing can have waited for it."""
    counter = Counter(tmp_path)
    run = await caller.create(kernel={"name": "held-shut"}, code=counter.code())
    assert run["state"] in {"queued", "starting"}
    assert run["uid"] == (await caller.run(run["uid"]))["uid"]
    standing = await caller.reached(run["uid"], "starting")
    assert ("starting", None) == (standing["state"], standing["started_at"])
    assert [] == counter.marks
    _open(closed_gate)
    ended = await caller.over(run["uid"])
    assert ("ok", ["x"]) == (ended["outcome"], counter.marks)
    states = [item["state"] for item in ended["history"]]
    assert ["queued", "starting", "running", "finished"] == states


async def test_runs_are_taken_while_their_kernel_starts(caller: Caller, closed_gate: Path) -> None:
    kernel = await caller.start_kernel(name="held-shut")
    assert "starting" == (await kernel.call("GET")).json["execution_state"]
    assert "starting" == (await kernel.call("GET", "/health")).json["status"]
    runs = [await caller.create(kernel=kernel.id, code=f"print({n})") for n in range(3)]
    _open(closed_gate)
    for number, run in enumerate(runs):
        ended = await caller.over(run["uid"])
        assert ("ok", 1) == (ended["outcome"], ended["kernel"]["generation"])
        assert f"{number}\n" == await caller.text(run["uid"])
    model = (await kernel.call("GET")).json
    assert ("idle", 1) == (model["execution_state"], model["generation"])
    assert "healthy" == (await kernel.call("GET", "/health")).json["status"]
    assert 204 == (await kernel.delete()).status


async def test_what_a_kernel_says_at_its_start_is_its_own_and_of_no_run(caller: Caller) -> None:
    kernel = await caller.start_kernel(name="wordy-start")
    code = "import logging; logging.warning('by its code'); print('by its code')"
    talk = await kernel.run(code)
    told = [item for answer in talk.answers for item in answer["console"]]
    assert {"stdout", "stderr"} == {kind for kind, _ in told}
    assert ("by its code\n", "WARNING:root:by its code\n") == (talk.text(), talk.text("stderr"))
    assert "by its code\n" == await caller.text(talk.run_id)
    output = (await kernel.call("GET", "/output")).json
    assert ("I am starting\nand complain\n", 0) == (output["text"], output["dropped"])
    assert 204 == (await kernel.delete()).status


async def test_runs_of_a_kernel_that_cannot_start_end_with_its_last_words(
    caller: Caller, closed_gate: Path
) -> None:
    """Once, for all that wait; whoever comes later is told at once. Nobody tries again."""
    kernel = await caller.start_kernel(name="broken-behind-gate")
    runs = [await caller.create(kernel=kernel.id, code="1") for _ in range(3)]
    _open(closed_gate)
    for run in runs:
        ended = await caller.over(run["uid"])
        assert ("lost", "kernel_start_failed") == (ended["outcome"], ended["reason"]["code"])
        assert "no module frobnicate" in ended["reason"]["message"]
        assert (3, None) == (ended["reason"]["exit_code"], ended["started_at"])
    await _is_dead(caller, kernel)
    assert ["start"] == closed_gate.with_name("starts").read_text().split()
    assert 204 == (await kernel.delete()).status


async def test_a_run_with_a_kernel_of_its_own_that_cannot_start_ends_with_its_last_words(
    caller: Caller,
) -> None:
    ended = await caller.done(kernel={"name": "broken"}, code="1")
    assert ("lost", "kernel_start_failed") == (ended["outcome"], ended["reason"]["code"])
    assert ("broken", 1) == (ended["kernel"]["name"], ended["kernel"]["generation"])
    assert "no module frobnicate" in ended["reason"]["message"]


def _open(gate: Path) -> None:
    """The kernels that wait for it go on."""
    gate.touch()


async def _is_dead(caller: Caller, kernel: Kernel) -> None:
    """And says why, wherever it is asked."""
    model = (await kernel.call("GET")).json
    health = (await kernel.call("GET", "/health")).json
    refused = await caller.post(kernel=kernel.id, code="1")
    assert ("dead", "dead") == (model["execution_state"], health["status"])
    assert (409, "kernel_dead") == (refused.status, refused.error["code"])
    for words in (model["reason"], health["message"], refused.error["message"]):
        assert "no module frobnicate" in words
    assert "no module frobnicate\n" == (await kernel.call("GET", "/output")).json["text"]
