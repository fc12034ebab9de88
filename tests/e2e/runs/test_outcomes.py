"""What a run tells of its outputs and of its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.e2e.main_job.gateway import Gate
from tests.e2e.runs.caller import notebook

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

IMPORT = "from IPython.display import clear_output, display"


async def test_outputs_are_numbered_and_told_when_they_come(
    caller: Caller, shared: Kernel, tmp_path: Path
) -> None:
    gates = [Gate(tmp_path, name) for name in ("a", "b")]
    code = "\n".join(
        (IMPORT, "display(0)", gates[0].code, "display(1)", gates[1].code, "display(2)", "'last'")
    )
    run = await caller.create(kernel=shared.id, code=code)
    for count, gate in enumerate(gates, start=1):
        opening = await gate.held()
        await _told(caller, run, count)
        assert "running" == (await caller.run(run["uid"]))["state"]
        assert count == len(await _told(caller, run, count))
        gate.pass_(opening)
    run = await caller.over(run["uid"])
    outputs = [one for one in await caller.records(run["uid"]) if one["kind"] == "output"]
    assert [0, 1, 2, 3] == [one["index"] for one in outputs]
    assert ["0", "1", "2", "'last'"] == [one["data"]["text/plain"] for one in outputs]
    kinds = ["display_data"] * 3 + ["execute_result"]
    assert kinds == [one["output_type"] for one in outputs]
    assert ("ok", True) == (run["outcome"], run["is_stream"])


async def test_an_update_reaches_earlier_outputs_of_its_name_in_other_steps_too(
    caller: Caller,
) -> None:
    cells = [
        f"{IMPORT}\nbar = display('0 %', display_id='bar')",
        "display('again 0 %', display_id='bar'); display('beside it')",
        "bar.update('100 %')",
    ]
    run = await caller.done(mode="notebook", notebook=notebook(*cells))
    texts = [output["data"]["text/plain"] for output in run["outputs"]]
    assert ["'100 %'", "'100 %'", "'beside it'"] == texts
    [update] = [one for one in await caller.records(run["uid"]) if one["kind"] == "update"]
    assert ("bar", 2) == (update["display_id"], update["step"])


async def test_what_is_cleared_is_in_the_log_and_no_longer_an_output(
    caller: Caller, shared: Kernel
) -> None:
    now = await caller.done(kernel=shared.id, code=f"{IMPORT}\ndisplay(1); clear_output()")
    assert ([], ["output", "clear"]) == (now["outputs"], await _shown(caller, now))
    code = f"{IMPORT}\ndisplay(1); clear_output(wait=True); display(2); clear_output(wait=True)"
    later = await caller.done(kernel=shared.id, code=code)
    assert ["2"] == [output["data"]["text/plain"] for output in later["outputs"]]
    assert ["output", "clear wait"] * 2 == await _shown(caller, later)


async def test_kernel_time_is_measured_apart_from_the_time_in_the_queue(
    caller: Caller, shared: Kernel, tmp_path: Path
) -> None:
    now = asyncio.get_running_loop().time
    gate = Gate(tmp_path)
    code = f"print('begun', flush=True); {gate.code}; import time; time.sleep(1)"
    asleep = await caller.create(kernel=shared.id, code=code)
    opening = await gate.held()
    await caller.printed(asleep["uid"], "begun")  # the gateway has heard that it is executed
    at = now()
    queued = await caller.create(kernel=shared.id, code="'one result'")
    gate.pass_(opening)
    queued = await caller.over(queued["uid"])
    took = now() - at
    asleep = await caller.over(asleep["uid"])
    assert 1.0 <= asleep["predict_time"]
    assert 1.0 <= queued["queue_time"]
    assert queued["predict_time"] <= took - queued["queue_time"]
    assert [False, False] == [asleep["is_stream"], queued["is_stream"]]


async def test_an_exception_is_told_with_all_its_fields_and_what_was_printed_before(
    caller: Caller, shared: Kernel
) -> None:
    run = await caller.done(kernel=shared.id, code="print('before'); 1 / 0")
    assert ("error", "exception", 1) == (run["outcome"], run["reason"]["code"], run["exit_code"])
    error = run["error"]
    assert {"ename", "evalue", "traceback", "plain"} == error.keys()
    assert ("ZeroDivisionError", "division by zero") == (error["ename"], error["evalue"])
    assert any("\x1b[" in line for line in error["traceback"])
    assert "\x1b" not in error["plain"]
    assert error["plain"].endswith("ZeroDivisionError: division by zero")
    assert "print('before'); 1 / 0" in error["plain"]
    assert error == run["steps"][0]["error"]
    assert "before\n" == await caller.text(run["uid"])


async def test_an_interrupt_that_nobody_asked_for_is_an_error(
    caller: Caller, shared: Kernel
) -> None:
    run = await caller.done(kernel=shared.id, code="raise KeyboardInterrupt")
    assert ("error", "exception") == (run["outcome"], run["reason"]["code"])
    assert "KeyboardInterrupt" == run["error"]["ename"]


async def _told(caller: Caller, run: Any, count: int) -> list[Any]:
    """Its outputs, when there are so many."""
    outputs: list[Any] = []
    after = 0
    while len(outputs) < count:
        path = f"{run['links']['records']}?after={after}&wait=10"
        page = (await caller.call("GET", path)).json
        outputs += [one for one in page["items"] if one["kind"] == "output"]
        after = page["next"]
        assert len(outputs) >= count or not page["finished"]
    return outputs


async def _shown(caller: Caller, run: Any) -> list[str]:
    records = [
        one for one in await caller.records(run["uid"]) if one["kind"] in {"output", "clear"}
    ]
    return [f"{one['kind']} wait" if one.get("wait") else one["kind"] for one in records]
