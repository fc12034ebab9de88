"""Sessions over Backend.AI's API."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.kernels.fake import FakeBehaviour
from kernel_gateway.kernels.kernel import KernelExit
from tests.fake.web.backendai.test_access import check_problem

if TYPE_CHECKING:
    from tests.fake.web.backendai.client import Caller
    from tests.fake.web.gateway import Gateway


# -- create --------------------------------------------------------------------------------------


async def test_a_session_is_made_and_can_take_runs(caller: Caller) -> None:
    answer = await caller.post("/session", {"name": "mine", "image": "python:3.11"})
    assert 201 == answer.status
    made = answer.json
    assert str(uuid.UUID(made["sessionId"])) == made["sessionId"]
    assert ("mine", "RUNNING", [], True) == (
        made["sessionName"],
        made["status"],
        made["servicePorts"],
        made["created"],
    )


async def test_the_same_name_is_the_same_session(caller: Caller) -> None:
    first = await caller.create()
    answer = await caller.post("/session", {"name": "mine", "image": "python"})
    assert 200 == answer.status
    assert (first["sessionId"], False) == (answer.json["sessionId"], answer.json["created"])


@pytest.mark.parametrize(
    "more", [{"reuseIfExists": False}, {"image": "gcc"}], ids=["no reuse", "another image"]
)
async def test_a_name_that_is_taken_is_refused(caller: Caller, more: dict[str, Any]) -> None:
    first = await caller.create()
    answer = await caller.post("/session", {"name": "mine", "image": "python", **more})
    check_problem(answer, 400, "session-already-exists")
    assert {"existingSessionId": first["sessionId"]} == answer.json["data"]


async def test_a_session_without_a_name_has_its_id_for_one(caller: Caller) -> None:
    made = (await caller.post("/session", {"image": "python"})).json
    assert made["sessionId"] == made["sessionName"]


async def test_bad_fields_are_named(caller: Caller) -> None:
    answer = await caller.post("/session", {"name": "-x", "image": "python"})
    check_problem(answer, 400, "invalid-api-params")
    assert {"name"} == set(answer.json["data"])


async def test_an_image_that_is_not_there_is_refused(caller: Caller) -> None:
    answer = await caller.post("/session", {"name": "mine", "image": "no/such:1"})
    check_problem(answer, 400, "invalid-api-params")
    assert "no/such:1" in answer.json["msg"]


async def test_a_body_that_is_no_object_is_refused(caller: Caller) -> None:
    for body in (b"[]", b"{", b"1", b"\xff", b""):
        check_problem(await caller.post("/session", body=body), 400, "invalid-api-params")


async def test_who_only_queues_does_not_wait(caller: Caller) -> None:
    gate = asyncio.Event()
    caller.gateway.launcher._gate = gate
    made = await caller.create(enqueueOnly=True)
    assert ("PENDING", True) == (made["status"], made["created"])
    info = (await caller.get("/session/mine")).json
    assert "PREPARING" == info["status"]
    gate.set()
    assert "RUNNING" == (await caller.create())["status"]
    assert "RUNNING" == (await caller.create(enqueueOnly=True))["status"]


async def test_who_has_waited_long_enough_is_told_so(caller: Caller) -> None:
    gate = asyncio.Event()
    caller.gateway.launcher._gate = gate
    assert "TIMEOUT" == (await caller.create(maxWaitSeconds=0.01))["status"]
    gate.set()
    assert "RUNNING" == (await caller.create(maxWaitSeconds=20))["status"]


async def test_a_kernel_that_does_not_come_up_leaves_the_name_free(caller: Caller) -> None:
    launcher = caller.gateway.launcher
    launcher.behaviour = FakeBehaviour(dies_at_start=KernelExit(exit_code=1, stderr_tail="no lib"))
    answer = await caller.post("/session", {"name": "mine", "image": "python"})
    check_problem(answer, 409, "session-dead")
    assert answer.json["msg"]
    launcher.behaviour = FakeBehaviour()
    assert (await caller.create())["created"]


async def test_the_startup_command_of_a_batch_session_is_run(caller: Caller) -> None:
    await caller.create(type="batch", startupCommand="print made")
    assert 1 == (await caller.get("/session/mine")).json["numQueriesExecuted"]
    await caller.create()
    await caller.query("print next")  # behind it
    assert "made\nnext\n" == (await caller.get("/session/mine/logs")).json["result"]["logs"]
    await caller.create("other", type="interactive", startupCommand="print no")
    assert 0 == (await caller.get("/session/other")).json["numQueriesExecuted"]


async def test_the_startup_command_of_a_session_that_nobody_waits_for_is_run_too(
    caller: Caller,
) -> None:
    await caller.create(type="batch", startupCommand="print made", enqueueOnly=True)
    assert 1 == (await caller.get("/session/mine")).json["numQueriesExecuted"]


async def test_the_probe_takes_no_body_of_a_stranger(caller: Caller) -> None:
    answer = await caller.gateway.call("GET", "/", body=b"x" * 1000, token=None)
    assert 413 == answer.status


async def test_the_environment_reaches_the_kernel(caller: Caller) -> None:
    await caller.create(config={"environ": {"A": "1"}})
    assert "1" == caller.gateway.kernel.request.env["A"]


# -- look at -------------------------------------------------------------------------------------


async def test_a_session_is_found_by_name_and_by_id_on_both_paths(caller: Caller) -> None:
    made = await caller.create("my.own-1")
    for prefix in ("session", "kernel"):
        for name in ("my.own-1", "my%2Eown-1", made["sessionId"]):
            answer = await caller.get(f"/{prefix}/{name}")
            assert (200, "python") == (answer.status, answer.json["image"])


async def test_the_info_counts_runs_and_ages(caller: Caller) -> None:
    await caller.create(tag="blue")
    before = (await caller.get("/session/mine")).json
    await caller.query("print x")
    after = (await caller.get("/session/mine")).json
    assert ("blue", 0, 1) == (
        after["tag"],
        before["numQueriesExecuted"],
        after["numQueriesExecuted"],
    )
    assert before["age"] <= after["age"]


async def test_the_log_is_the_text_of_all_runs(caller: Caller) -> None:
    await caller.create()
    await caller.query("print one\nstderr two")
    await caller.query("print three")
    answer = await caller.get("/session/mine/logs")
    assert {"result": {"logs": "one\ntwo\nthree\n"}} == answer.json


async def test_a_completion_is_of_the_word_before_the_cursor(caller: Caller) -> None:
    await caller.create()
    options = {"row": 0, "col": 2, "line": "pr", "post": "x"}
    answer = await caller.post("/session/mine/complete", {"code": "pr", "options": options})
    assert {"status": "finished", "error": None, "suggestions": ["print"]} == answer.json["result"]


# -- interrupt, restart, destroy -----------------------------------------------------------------


async def test_an_interrupt_ends_the_run_and_harms_nobody_else(caller: Caller) -> None:
    await caller.create()
    assert 204 == (await caller.post("/session/mine/interrupt")).status  # idle
    run = asyncio.create_task(caller.query("print on\nsleep", runId="r"))
    while (await caller.get("/session/mine/logs")).json["result"]["logs"] != "on\n":
        pass
    answer = await caller.post("/session/mine/interrupt")
    assert (204, b"") == (answer.status, answer.body)
    result = await run
    assert "finished" == result["status"]
    assert 0 != result["exitCode"]
    assert "KeyboardInterrupt" in result["console"][-1][1]
    assert 0 == (await caller.query("print fine"))["exitCode"]


async def test_a_restart_ends_the_run_and_is_over_when_the_next_can_be_taken(
    caller: Caller,
) -> None:
    await caller.create()
    run = asyncio.create_task(caller.query("sleep", runId="r"))
    while (await caller.get("/session/mine")).json["numQueriesExecuted"] == 0:
        pass
    assert 204 == (await caller.call("PATCH", "/session/mine")).status
    assert "RUNNING" == (await caller.get("/session/mine")).json["status"]
    result = await run
    assert "finished" == result["status"]
    assert 0 != result["exitCode"]
    assert [["stdout", "new\n"]] == (await caller.query("print new"))["console"]


async def test_a_destroyed_session_is_gone_and_its_name_free(caller: Caller) -> None:
    made = await caller.create()
    answer = await caller.call("DELETE", "/session/mine?forced=true&recursive=true")
    assert (200, "terminated") == (answer.status, answer.json["stats"]["status"])
    for path in ("/session/mine", f"/session/{made['sessionId']}"):
        check_problem(await caller.get(path), 404, "object-not-found")
        check_problem(await caller.call("DELETE", path), 404, "object-not-found")
    assert (await caller.create())["created"]


async def test_who_waits_in_a_destroyed_session_is_told_the_end(caller: Caller) -> None:
    await caller.create()
    runs = [asyncio.create_task(caller.query("sleep", runId=str(n))) for n in range(3)]
    while (await caller.get("/session/mine")).json["numQueriesExecuted"] < 3:
        pass
    await caller.call("DELETE", "/session/mine")
    for run in runs:
        result = await run
        assert ("finished", 130, []) == (result["status"], result["exitCode"], result["console"])


async def test_the_announcement_is_none(caller: Caller) -> None:
    answer = await caller.get("/manager/announcement")
    assert {"enabled": False, "message": ""} == answer.json


async def test_kernels_of_the_other_door_are_sessions_too(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    assert "python3" == (await gateway.get(f"/session/{kernel_id}")).json["image"]
