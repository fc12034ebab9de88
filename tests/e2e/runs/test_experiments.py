"""An experiment as its caller sees it: an ID at once, true states, and a log that stays."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

from tests.e2e import commands
from tests.e2e.main_job.gateway import Client, Gate, Server, serving
from tests.e2e.runs.caller import Caller, path_of
from tests.e2e.runs.conftest import ODD_KERNELS, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel

FAILING = {"failing": "print('before')\nraise LookupError('so')", "never": "print('never')"}
LOOP = "import time\nwhile True: time.sleep(0.01)"


# -- a run here and a run there --------------------------------------------------------------------


def notebook() -> Any:
    """An example with outputs of all kinds, and an end that is no good one."""
    found = json.loads((commands.ROOT / "notebooks/outputs.ipynb").read_text())
    kind: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    found["cells"] += [{**kind, "id": name, "source": code} for name, code in FAILING.items()]
    return found


def told(cells: list[Any]) -> list[tuple[Any, ...]]:
    """Of each what it has left and how it has ended."""
    return [
        (
            cell["id"],
            cell["metadata"]["kernel_gateway"]["state"],
            cell["execution_count"],
            [as_text(output) for output in cell["outputs"]],
        )
        for cell in cells
    ]


def as_text(output: Any) -> Any:
    """A file has text as a list of lines, an answer has it whole."""
    if "data" in output:
        data = {kind: "".join(value) for kind, value in output["data"].items()}
        return {**output, "data": data}
    return {**output, "text": "".join(output["text"])} if "text" in output else output


def code_cells(found: Any) -> list[Any]:
    return [cell for cell in found["cells"] if cell["cell_type"] == "code"]


async def test_a_notebook_leaves_the_same_headless_over_rest_and_cell_by_cell(
    caller: Caller, tmp_path: Path
) -> None:
    """Outputs, exit code, kinds of records and their order: one engine, whichever door."""
    source, output = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    source.write_text(json.dumps(notebook()))
    headless = asyncio.create_task(
        asyncio.to_thread(commands.run, tmp_path, "run", str(source), str(output))
    )
    whole = await caller.done(mode="notebook", notebook=notebook())
    there = code_cells((await caller.call("GET", path_of(whole["uid"], "/notebook"))).json)
    assert (1, 1) == ((await headless).returncode, whole["exit_code"])
    assert told(code_cells(json.loads(output.read_text()))) == told(there)
    assert [step["state"] for step in whole["steps"]] == [state for _, state, _, _ in told(there)]
    assert {"ok", "allowed-error", "skipped", "error", "not-run"} == {
        step["state"] for step in whole["steps"]
    }

    by_step: dict[int, list[str]] = {}
    for record in await caller.records(whole["uid"]):
        by_step.setdefault(record["step"], []).append(record["kind"])
    kernel = await caller.start_kernel()
    for number, cell in enumerate(there):
        if whole["steps"][number]["state"] in {"skipped", "not-run"}:
            continue
        run = await caller.done(kernel=kernel.id, code="".join(cell["source"]))
        kinds = [item["kind"] for item in await caller.records(run["uid"])]
        assert without_pieces(by_step[number]) == without_pieces(kinds), cell["id"]
        if cell["id"] != "first-display":  # in the notebook a later cell has updated it
            assert [as_text(item) for item in cell["outputs"]] == run["outputs"]
    assert 204 == (await kernel.delete()).status


def without_pieces(kinds: list[str]) -> list[str]:
    """Text comes in as many records as the clock will have it; states are of the run."""
    told = [kind for kind in kinds if kind not in {"state", "completed"}]
    return [kind for kind, before in zip(told, [None, *told], strict=False) if kind != before]


# -- its ID and its states -------------------------------------------------------------------------


async def test_the_id_is_there_before_any_kernel_and_history_never_goes_back(
    caller: Caller, closed_gate: Path
) -> None:
    """Its own kernel stands still at its start until the gate is opened."""
    run = await caller.create(kernel={"name": "held-shut"}, code="input('go? ')")
    assert run["state"] in {"queued", "starting"}
    assert (run["uid"], None) == (run["id"], run["started_at"])
    seen = [await caller.reached(run["uid"], "starting")]
    assert "starting" == seen[0]["state"]
    closed_gate.touch()  # noqa: ASYNC240 - it is no more than a name in a folder
    seen.append(await caller.reached(run["uid"], "waiting-input"))
    await caller.call("POST", path_of(run["uid"], "/input"), {"value": "yes"})
    seen.append(await caller.over(run["uid"]))
    states = [item["state"] for item in seen[-1]["history"]]
    assert ["queued", "starting", "running", "waiting-input", "running", "finished"] == states
    times = [item["at"] for item in seen[-1]["history"]]
    assert sorted(times) == times
    assert (times[0], times[-1]) == (seen[-1]["created_at"], seen[-1]["finished_at"])
    for earlier in seen:
        assert earlier["history"] == seen[-1]["history"][: len(earlier["history"])]
    assert states == [
        record["state"] for record in await caller.records(run["uid"]) if record["kind"] == "state"
    ]


async def test_a_finished_phase_is_a_milestone_before_any_output_of_the_next(
    caller: Caller, kernel: Kernel
) -> None:
    steps = {"clean": "echo c", "build": "echo b", "exec": "echo e"}
    run = await caller.done(kernel=kernel.id, mode="batch", steps=steps)
    told = [
        record.get("phase") or record["text"]
        for record in await caller.records(run["uid"])
        if record["kind"] in {"phase_finished", "log"}
    ]
    assert ["c\n", "clean", "b\n", "build", "e\n"] == told
    assert ["ok"] * 3 == [step["state"] for step in run["steps"]]


async def test_the_death_of_a_kernel_moves_its_run_and_the_log_outlives_the_kernel(
    caller: Caller, kernel: Kernel, tmp_path: Path
) -> None:
    process, gate = await kernel.process(), Gate(tmp_path)
    code = f"print('last words', flush=True); {gate.code}"
    run = await caller.create(kernel=kernel.id, code=code)
    opening = await gate.held()
    await caller.printed(run["uid"], "last words\n")
    process.signal(signal.SIGKILL)
    found = await caller.over(run["uid"])
    gate.pass_(opening)
    assert ("lost", "SIGKILL") == (found["outcome"], found["reason"]["signal"])
    assert ["queued", "running", "finished"] == [item["state"] for item in found["history"]]
    await process.end()
    assert 204 == (await kernel.delete()).status
    log = (await caller.call("GET", found["links"]["log"])).json
    assert ["last words\n"] == [text for _, stream, text in log["items"] if stream == "stdout"]
    assert found == {**await caller.run(run["uid"])}


# -- the end of the gateway ------------------------------------------------------------------------


async def test_after_a_kill_of_the_gateway_no_run_goes_on_in_any_state(tmp_path: Path) -> None:
    """One in each state; what was printed can be read, and each is told to be lost."""
    data = tmp_path / "data"
    gate = tmp_path / "gate"
    write_spec(tmp_path / "specs", "held-shut", ODD_KERNELS["held-shut"], GATE=str(gate))
    before = "print('before', flush=True)\n"
    server = Server(data, f"--Kernels.spec_folders={tmp_path / 'specs'}")
    caller = Caller(server)
    try:
        kernel = await caller.kernel()
        other = await caller.start_kernel()
        stubborn = "import signal\nsignal.signal(signal.SIGINT, lambda *_: None)\n"
        made = {
            "starting": await caller.create(kernel={"name": "held-shut"}, code="1"),
            "running": await caller.create(kernel=kernel.id, code=before + LOOP),
            "queued": await caller.create(kernel=kernel.id, code=before),
            "waiting-input": await caller.create(code=f"{before}input()"),
            "cancelling": await caller.create(kernel=other.id, code=before + stubborn + LOOP),
        }
        for state in ("running", "waiting-input", "cancelling"):
            await caller.printed(made[state]["uid"], "before\n")
        await caller.cancel(made["cancelling"]["uid"], grace=60)
        for state, run in made.items():
            await caller.reached(run["uid"], state)
    finally:
        await asyncio.to_thread(server.kill)
        gate.touch()
        Client.close(caller)  # there is nobody left to cancel anything
    with serving(data) as again:
        caller = Caller(again)
        for state in made:
            listed = (await caller.call("GET", f"/api/runs?state={state}")).json
            assert [] == listed["items"], state
        for state, run in made.items():
            found = await caller.run(run["uid"])
            assert ("finished", "lost", "gateway_lost") == (
                found["state"],
                found["outcome"],
                found["reason"]["code"],
            )
            has_printed = state in {"running", "waiting-input", "cancelling"}
            assert "before\n" * has_printed == await caller.text(run["uid"])
            kinds = [record["kind"] for record in await caller.records(run["uid"])]
            assert ("completed", 1) == (kinds[-1], kinds.count("completed"))
            events = await caller.events(run["uid"])
            assert "lost" == events[-1].data["outcome"]
        await caller.close()
