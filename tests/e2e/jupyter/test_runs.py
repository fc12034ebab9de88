"""Cells of clients are runs, and runs of the REST API are fair to them, on one kernel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.e2e.jupyter.channels import lines
from tests.e2e.jupyter.test_control import stands

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.jupyter.conftest import Connect
    from tests.e2e.main_job.gateway import Gate, Kernel


async def runs_of(kernel: Kernel, rest: str = "") -> list[Any]:
    """Oldest first."""
    answer = await kernel.client.call("GET", f"/api/runs?kernel={kernel.id}{rest}")
    assert 200 == answer.status
    return list(reversed(answer.json["items"]))


async def one_of(kernel: Kernel, state: str) -> Any:
    """The run in this state, when there is one."""
    async with asyncio.timeout(25):
        while not (runs := await runs_of(kernel, f"&state={state}")):
            pass
    (run,) = runs
    return run


async def follow(kernel: Kernel, uid: str, text: str) -> str:
    """Its log as soon as it has this text."""
    told = ""
    after = 0
    async with asyncio.timeout(25):
        while text not in told:
            path = f"/api/runs/{uid}/log?after={after}&wait=5"
            page = (await kernel.client.call("GET", path)).json
            told += "".join(part for _, _, part in page["items"])
            after = page["next"]
    return told


# -- cells are runs -------------------------------------------------------------------------------


async def test_a_cell_can_be_followed_by_rest_while_it_runs_and_when_its_client_has_gone(
    kernel: Kernel, connect: Connect, gate: Callable[[str], Gate], framing: str
) -> None:
    held = gate("held")
    channels = await connect(kernel, framing=framing)
    await channels.execute(
        f"print('before', flush=True)\n{held.code}\nfor i in range(1000): print('line', i)\n42"
    )
    opening = await held.held()
    run = await one_of(kernel, "running")
    assert "before\n" == await follow(kernel, run["uid"], "before\n")
    await channels.socket.cut()
    held.pass_(opening)
    assert "before\n" + lines(range(1000)) == await kernel.client.text(run["uid"])
    over = await kernel.client.run(run["uid"])
    assert ("finished", "ok", 1) == (
        over["state"],
        over["outcome"],
        len([one for one in await runs_of(kernel) if one["uid"] == run["uid"]]),
    )
    records = await kernel.client.records(run["uid"])
    assert "42" in str(records)


async def test_every_cell_is_listed_with_what_became_of_it(
    kernel: Kernel, connect: Connect
) -> None:
    before = len(await runs_of(kernel))
    channels = await connect(kernel)
    await channels.run("print('fine')")
    await channels.run("1 / 0")
    await channels.ask("shell", "kernel_info_request")
    cell = await stands(channels)
    await channels.ask("control", "interrupt_request")
    await channels.over(cell)
    listed = (await runs_of(kernel))[before:]
    assert ["ok", "error", "error"] == [run["outcome"] for run in listed]
    errors = [run["error"] and run["error"]["ename"] for run in listed]
    assert [None, "ZeroDivisionError", "KeyboardInterrupt"] == errors


# -- side by side ---------------------------------------------------------------------------------


async def test_run_all_stops_at_its_error_and_a_rest_run_in_its_midst_does_not(
    kernel: Kernel, connect: Connect, gate: Callable[[str], Gate], framing: str
) -> None:
    held = gate("held")
    channels = await connect(kernel, framing=framing)
    codes = [f"print('cell {number}')" for number in range(20)]
    codes[5] = held.code
    codes[10] = "1 / 0"
    cells = [await channels.execute(code) for code in codes]
    opening = await held.held()
    talk = await kernel.begin("print('by rest')")
    held.pass_(opening)
    for cell in cells:
        await channels.over(cell)
    replies = [channels.of(cell).reply["status"] for cell in cells]
    assert ["ok"] * 10 + ["error"] + ["aborted"] * 9 == replies
    await talk.to_the_end()
    assert ("by rest\n", 0) == (talk.text(), talk.exit_code)
    outcomes = [run["outcome"] for run in (await runs_of(kernel))[-21:]]
    assert 11 == outcomes.count("ok")  # ten cells and the run


async def test_a_rest_run_that_fails_aborts_no_cell(
    shared: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    channels = await connect(shared)
    talk = await shared.begin(f"{held.code}\n1 / 0")
    opening = await held.held()
    cells = [await channels.execute(f"print({number})") for number in range(5)]
    await channels.ask("control", "kernel_info_request")
    held.pass_(opening)
    for cell in cells:
        assert "ok" == (await channels.over(cell)).reply["status"]
    assert "0\n1\n2\n3\n4\n" == channels.of(*cells).text()
    await talk.to_the_end()
    assert 1 == talk.exit_code


async def test_a_client_that_always_has_a_next_cell_starves_nobody(
    shared: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    """A run has its turn when what had come before it is over, however much has come since."""
    held = gate("held")
    channels = await connect(shared)
    cells = [await channels.execute(held.code)]
    opening = await held.held()
    talks = [await shared.begin(f"print('run {number}')") for number in range(3)]
    cells += [await channels.execute(f"print('cell {number}')") for number in range(3)]
    held.pass_(opening)
    while not channels.heard.of("execute_input") or "run 2" not in channels.heard.text():
        cells.append(await channels.execute("pass"))
        await channels.reply(cells[-2])  # one is in line at any time
    for talk in talks:
        await talk.to_the_end()
    for cell in cells:
        await channels.over(cell)
    assert ["run 0\n", "run 1\n", "run 2\n"] == [talk.text() for talk in talks]


async def test_the_cancellation_of_a_queued_run_does_not_touch_the_cell_before_it(
    shared: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    channels = await connect(shared)
    cell = await channels.execute(f"{held.code}\nprint('to its end')")
    opening = await held.held()
    talk = await shared.begin("print('never')")
    await shared.client.cancel(talk.run_id, within=shared)
    await talk.to_the_end()
    assert "cancelled" == (await talk.standing())["outcome"]
    held.pass_(opening)
    assert "to its end\n" == (await channels.over(cell)).text()


async def test_the_cancellation_of_a_run_behind_a_cell_in_the_kernel_does_not_touch_the_cell(
    shared: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    """The run stands in the kernel's own line: the cell came when it had been sent."""
    first, second = gate("first"), gate("second")
    channels = await connect(shared)
    talk = await shared.begin(first.code)
    opening = await first.held()
    cell = await channels.execute(f"{second.code}\nprint('to its end')")
    await channels.ask("control", "kernel_info_request")
    behind = await shared.begin("print('never')")
    first.pass_(opening)
    opening = await second.held()
    await shared.client.cancel(behind.run_id, within=shared)
    await behind.to_the_end()
    second.pass_(opening)
    assert "to its end\n" == (await channels.over(cell)).text()
    await talk.to_the_end()
    assert 0 == talk.exit_code


async def test_an_interrupt_by_rest_hits_the_cell_that_executes(
    shared: Kernel, connect: Connect
) -> None:
    channels = await connect(shared)
    cell = await stands(channels)
    talk = await shared.begin("print('behind it')")
    assert 204 == (await shared.interrupt()).status
    assert "KeyboardInterrupt" == (await channels.over(cell)).reply["ename"]
    await talk.to_the_end()
    assert ("behind it\n", 0) == (talk.text(), talk.exit_code)


async def test_a_cell_can_be_cancelled_as_a_run(shared: Kernel, connect: Connect) -> None:
    channels = await connect(shared)
    cell = await stands(channels)
    run = await one_of(shared, "running")
    assert (await shared.client.cancel(run["uid"])).status in {200, 202}
    assert "KeyboardInterrupt" == (await channels.over(cell)).reply["ename"]
    await shared.client.text(run["uid"])
    assert "cancelled" == (await shared.client.run(run["uid"]))["outcome"]


async def test_a_prompt_of_a_cell_can_be_answered_by_rest(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.execute("print('Hello', input('Who? '))\nprint('And', input('Who? '))")
    prompt = await channels.prompt(cell)
    run = await one_of(shared, "waiting-input")
    assert "Who? " == run["input_request"]["prompt"]
    path = f"/api/runs/{run['uid']}/input"
    assert 200 == (await shared.client.call("POST", path, {"value": "Rest"})).status
    second = await channels.prompt(cell, since=channels.heard.index(prompt) + 1)
    await channels.answer(prompt, "Late")
    await channels.ask("control", "kernel_info_request")
    await channels.answer(second, "Ada")
    assert "Hello Rest\nAnd Ada\n" == (await channels.over(cell)).text()


async def test_a_prompt_that_its_client_has_answered_is_closed_for_rest(
    shared: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    channels = await connect(shared)
    cell = await channels.execute(f"name = input('Who? ')\n{held.code}\nprint(name)")
    prompt = await channels.prompt(cell)
    run = await one_of(shared, "waiting-input")
    await channels.answer(prompt, "Ada")
    opening = await held.held()
    path = f"/api/runs/{run['uid']}/input"
    assert 409 == (await shared.client.call("POST", path, {"value": "Rest"})).status
    held.pass_(opening)
    assert "Ada\n" == (await channels.over(cell)).text()


async def test_a_rest_run_is_heard_by_clients_but_its_replies_are_not(
    kernel: Kernel, connect: Connect
) -> None:
    channels = await connect(kernel)
    await channels.status("idle")
    await kernel.run("print('by rest')")
    await channels.run("print('by a client')")
    assert "by rest\nby a client\n" == channels.heard.text()
    assert 1 == len(channels.heard.of("execute_reply"))


async def test_nothing_of_the_gateways_own_questions_is_told_to_clients(
    kernel: Kernel, connect: Connect
) -> None:
    """A prompt of a run is told behind a barrier, which is a question to the kernel."""
    channels = await connect(kernel)
    await channels.status("idle")
    talk = await kernel.begin("print(input('Who? '))", wait=10.0)
    assert "waiting-input" == talk.last["status"]
    await talk.give("Ada")
    await talk.to_the_end()
    await channels.run("pass")
    parents = {one.parent.get("msg_type") for one in channels.heard if one.parent}
    assert {"execute_request"} == parents
    assert [] == channels.heard.of("input_request")


async def test_a_message_that_the_kernel_drops_does_not_stop_its_runs(
    kernel: Kernel, connect: Connect
) -> None:
    """To the byte the same as one before it: the kernel takes it for a replay, without a word."""
    channels = await connect(kernel)
    for _ in range(2):
        await channels.execute("print('once')", msg_id="repeated", date="2026-01-01")
        await channels.ask("shell", "kernel_info_request")
    assert "2" == await kernel.value("1 + 1")
    assert "idle" == (await kernel.call("GET")).json["execution_state"]
