"""The execute call of Backend.AI's API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake.web.backendai.test_access import check_problem

if TYPE_CHECKING:
    from tests.fake.web.backendai.client import Caller


@pytest.fixture
async def session(caller: Caller) -> Caller:
    """A caller with a session."""
    await caller.create()
    return caller


async def test_a_query_is_told_when_it_is_over(session: Caller) -> None:
    result = await session.query("print one\nstderr two\ndisplay text/html <b>", runId="r")
    assert {
        "runId": "r",
        "status": "finished",
        "exitCode": 0,
        "console": [["stdout", "one\n"], ["stderr", "two\n"], ["html", "<b>"]],
        "options": None,
        "files": [],
        "cursor": result["cursor"],
    } == result


async def test_a_run_gets_an_id_when_it_has_none(session: Caller) -> None:
    first, second = [await session.query("print x") for _ in range(2)]
    assert first["runId"] != second["runId"]


@pytest.mark.parametrize("run_id", ["with space", "a/b", "größe ✓ \u202e", "x" * 500])
async def test_any_text_is_a_run_id(session: Caller, run_id: str) -> None:
    asked = await session.query("input a", runId=run_id)
    told = await session.execute(mode="input", code="x", runId=asked["runId"])
    assert (run_id, "finished") == (told["runId"], told["status"])


async def test_what_takes_longer_is_told_by_parts(session: Caller) -> None:
    run = asyncio.create_task(session.query("print one\nsleep\nprint two", runId="r"))
    told = await run
    assert ("continued", None, [["stdout", "one\n"]]) == (
        told["status"],
        told["exitCode"],
        told["console"],
    )
    session.gateway.kernel.release()
    told = await session.execute(mode="continue", runId="r")
    assert ("finished", [["stdout", "two\n"]]) == (told["status"], told["console"])
    again = await session.execute(mode="continue", runId="r", options={"after": 0})
    assert [["stdout", "one\ntwo\n"]] == again["console"]


async def test_a_prompt_says_no_more_than_the_client_expects(session: Caller) -> None:
    asked = await session.query("print hi\npassword Pin?\necho", runId="r")
    assert ("waiting-input", [["stdout", "hi\nPin?"]]) == (asked["status"], asked["console"])
    assert {"is_password": True} == asked["options"]
    wrong = {"prompt_id": asked["prompt_id"] + 1}
    body = {"mode": "input", "code": "x", "runId": "r", "options": wrong}
    check_problem(await session.post("/session/mine", body), 400, "invalid-api-params")
    told = await session.execute(mode="input", code="", runId="r")
    assert ("finished", [["stdout", "\n"]]) == (told["status"], told["console"])


async def test_an_exception_is_an_exit_code(session: Caller) -> None:
    told = await session.query("raise ValueError bad")
    assert ("finished", 1) == (told["status"], told["exitCode"])


# -- batch ---------------------------------------------------------------------------------------


async def batch(session: Caller, **options: Any) -> list[tuple[str, int, Any]]:
    told = await session.execute(mode="batch", runId=None, options=options)
    answers = [told]
    while told["status"] != "finished":
        told = await session.execute(mode="continue", runId=told["runId"])
        answers.append(told)
    return [(answer["status"], answer["exitCode"], answer["console"]) for answer in answers]


async def test_each_step_of_a_batch_is_told(session: Caller) -> None:
    told = await batch(session, clean="print c", build="print b", exec="print e", buildLog=False)
    assert [
        ("clean-finished", 0, [["stdout", "c\n"]]),
        ("build-finished", 0, [["stdout", "b\n"]]),
        ("finished", 0, [["stdout", "e\n"]]),
    ] == told


async def test_steps_that_are_left_out_are_told_too(session: Caller) -> None:
    told = await batch(session, clean=None, build="", exec="end 3")
    assert [("clean-finished", 0), ("build-finished", 0), ("finished", 3)] == [
        one[:2] for one in told
    ]


async def test_a_failed_build_ends_with_127(session: Caller) -> None:
    told = await batch(session, build="end 2", exec="print never")
    assert [("clean-finished", 0), ("build-finished", 2), ("finished", 127)] == [
        one[:2] for one in told
    ]
    assert ("finished", 0) == (await batch(session, build="print b", exec="print e"))[-1][:2]


# -- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"mode": "query", "code": "print x"},
        {"mode": "", "code": "print x", "runId": None},
        {"mode": "unknown", "code": "print x", "runId": None},
        {"mode": "continue", "code": "", "runId": None},
        {"mode": "input", "code": "", "runId": None},
        {"mode": "continue", "code": "", "runId": "never-begun"},
        {"mode": "input", "code": "", "runId": "never-begun"},
        {"mode": "query", "code": 1, "runId": None},
        [],
        "text",
    ],
    ids=str,
)
async def test_a_refused_call_harms_nothing(session: Caller, body: Any) -> None:
    check_problem(await session.post("/session/mine", body), 400, "invalid-api-params")
    assert 0 == (await session.query("print fine", runId="never-begun"))["exitCode"]
    assert 1 == (await session.get("/session/mine")).json["numQueriesExecuted"]


async def test_input_that_nothing_waits_for_is_refused(session: Caller) -> None:
    await session.query("print x", runId="r")
    answer = await session.post("/session/mine", {"mode": "input", "code": "x", "runId": "r"})
    check_problem(answer, 400, "invalid-api-params")


async def test_an_id_in_use_is_a_conflict_and_one_that_is_over_is_free(session: Caller) -> None:
    await session.query("input a", runId="r")
    answer = await session.post("/session/mine", {"mode": "query", "code": "x", "runId": "r"})
    check_problem(answer, 409, "run-id-conflict")
    await session.execute(mode="input", code="", runId="r")
    assert [["stdout", "new\n"]] == (await session.query("print new", runId="r"))["console"]


async def test_a_session_that_is_not_there_takes_nothing(session: Caller) -> None:
    answer = await session.post("/session/none", {"mode": "query", "code": "", "runId": None})
    check_problem(answer, 404, "object-not-found")
