"""The execute call over HTTP: `{mode, runId, code, options}` in, the bare result object out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.fake.web.gateway import Gateway


async def test_a_query_is_held_until_its_end(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    result = await gateway.query(kernel_id, "print one\nstderr two", runId="a")
    assert result == {
        "runId": "a",
        "status": "finished",
        "exitCode": 0,
        "console": [["stdout", "one\n"], ["stderr", "two\n"]],
        "options": None,
        "files": [],
        "cursor": result["cursor"],
    }


async def test_a_run_without_an_id_gets_one(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    for body in ({}, {"runId": None}):
        result = await gateway.query(kernel_id, "print x", **body)
        run = (await gateway.get(f"/api/runs/{result['runId']}")).json
        assert run["id"] == run["uid"] == result["runId"]


async def test_failing_code_is_no_error_of_the_call(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    result = await gateway.query(kernel_id, "raise ValueError bad")
    assert (result["status"], result["exitCode"]) == ("finished", 1)
    assert result["console"] == [["stderr", "ValueError: bad"]]


async def test_the_next_part_comes_by_continue(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    first = await gateway.query(kernel_id, "print one\nsleep\nprint two", options={"wait": 0.2})
    assert first["status"] == "continued"
    assert first["console"] == [["stdout", "one\n"]]
    gateway.kernel.release()
    last = await gateway.execute(kernel_id, mode="continue", runId=first["runId"], code="")
    assert last.json["status"] == "finished"
    assert last.json["console"] == [["stdout", "two\n"]]


async def test_a_cursor_gives_a_lost_answer_again(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print one\nprint two", runId="r")
    for spelling in ("options", "opts"):
        for after in (0, "0"):
            again = await gateway.execute(
                kernel_id, mode="continue", runId="r", **{spelling: {"after": after}}
            )
            assert again.json["console"] == [["stdout", "one\ntwo\n"]]


async def test_a_prompt_is_told_and_answered(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    asked = await gateway.query(kernel_id, "print hi\npassword Pin?\necho", runId="p")
    assert asked["status"] == "waiting-input"
    assert asked["console"] == [["stdout", "hi\nPin?"]]
    assert asked["options"] == {"is_password": True, "prompt_id": 1}
    answer = await gateway.execute(
        kernel_id, mode="input", runId="p", code="1234", options={"prompt_id": 1}
    )
    assert answer.json["status"] == "finished"
    assert answer.json["console"] == [["stdout", "1234\n"]]


async def test_input_that_nothing_waits_for_is_refused(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print x", runId="r")
    answer = await gateway.execute(kernel_id, mode="input", runId="r", code="hello")
    assert answer.status == 409
    assert answer.error["code"] == "not_waiting"


async def test_the_answer_to_another_prompt_is_refused(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "input a", runId="r")
    answer = await gateway.execute(
        kernel_id, mode="input", runId="r", code="x", options={"prompt_id": 2}
    )
    assert (answer.status, answer.error["code"]) == (409, "wrong_prompt")


async def test_the_same_id_is_the_same_run_or_a_conflict(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    answers = await asyncio.gather(
        *(gateway.query(kernel_id, "print once", runId="r") for _ in range(5))
    )
    assert all(answer["console"] == [["stdout", "once\n"]] for answer in answers)
    sent = [r for r in gateway.kernel.requests if r.msg_type == "execute_request"]
    assert len(sent) == 1
    other = await gateway.execute(kernel_id, mode="query", runId="r", code="print other")
    assert (other.status, other.error["code"]) == (409, "run_id_conflict")


async def test_an_unknown_run_is_404_and_nothing_is_created(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    answer = await gateway.execute(kernel_id, mode="continue", runId="none")
    assert (answer.status, answer.error["code"]) == (404, "run_not_found")
    assert (await gateway.get("/api/runs/none")).status == 404


async def test_an_unknown_kernel_is_404(gateway: Gateway) -> None:
    answer = await gateway.execute("none", mode="query", code="print x")
    assert (answer.status, answer.error["code"]) == (404, "kernel_not_found")
    assert gateway.launcher.kernels == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"mode"}),
        ({"mode": "complete", "code": ""}, {"mode"}),
        ({"mode": 5, "code": "x"}, {"mode"}),
        ({"mode": "query"}, {"code"}),
        ({"mode": "query", "code": None}, {"code"}),
        ({"mode": "query", "code": ["x"]}, {"code"}),
        ({"mode": "query", "code": "a\0b"}, {"code"}),
        ({"mode": "query", "code": "\ud800"}, {"code"}),
        ({"mode": "continue"}, {"runId"}),
        ({"mode": "input", "runId": None, "code": ""}, {"runId"}),
        ({"mode": "input", "runId": "r"}, {"code"}),
        ({"mode": "query", "code": "x", "runId": ""}, {"runId"}),
        ({"mode": "query", "code": "x", "runId": "r" * 256}, {"runId"}),
        ({"mode": "query", "code": "x", "runId": "a\nb"}, {"runId"}),
        ({"mode": "query", "code": "x", "runId": "\udfff"}, {"runId"}),
        ({"mode": "query", "code": "x", "runId": 7}, {"runId"}),
        ({"mode": "query", "code": "x", "options": {"wait": 61}}, {"options.wait"}),
        ({"mode": "query", "code": "x", "options": {"wait": -1}}, {"options.wait"}),
        ({"mode": "query", "code": "x", "options": {"wait": True}}, {"options.wait"}),
        ({"mode": "query", "code": "x", "options": {"after": "x"}}, {"options.after"}),
        ({"mode": "query", "code": "x", "options": {"after": -1}}, {"options.after"}),
        ({"mode": "query", "code": "x", "options": {"after": 1.0}}, {"options.after"}),
        ({"mode": "query", "code": "x", "opts": {"prompt_id": 0}}, {"opts.prompt_id"}),
        ({"mode": "query", "code": "x", "options": {"build": "*"}}, {"options.build"}),
        ({"mode": "query", "code": "x", "options": []}, {"options"}),
        ({"mode": "query", "code": "x", "options": {}, "opts": {}}, {"opts"}),
        ({"mode": "query", "code": "x", "more": 1, "MORE": 2}, {"more", "MORE"}),
        ({"mode": "input", "runId": 1, "options": {"x": 1}}, {"runId", "code", "options.x"}),
    ],
)
async def test_all_faults_of_a_body_are_told(
    gateway: Gateway, body: dict[str, Any], fields: set[str]
) -> None:
    kernel_id = await gateway.new_kernel()
    answer = await gateway.execute(kernel_id, **body)
    assert answer.status == 422
    assert answer.error["code"] == "invalid_field"
    assert set(answer.error["fields"]) == fields
    assert answer.error["field"] in fields
    assert set(answer.json) == {"error"}


async def test_a_mode_that_does_not_exist_is_told_which_do(gateway: Gateway) -> None:
    answer = await gateway.execute("k", mode="complete", code="")
    assert answer.error["fields"] == {"mode": "must be one of query, batch, continue, input"}


async def test_what_was_sent_is_never_in_the_error(gateway: Gateway) -> None:
    answer = await gateway.execute("k", mode="query", code="my pass\0word", runId="tell\nme")
    assert b"pass" not in answer.body
    assert b"tell" not in answer.body


async def test_ids_of_any_script_are_carried(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    for run_id in ("a/b", "../x", "ünï cödé", "50%", "%2F", "a?b#c", " x ", "🐧", "r" * 255):
        assert (await gateway.query(kernel_id, "print x", runId=run_id))["runId"] == run_id


async def test_a_client_that_leaves_ends_its_own_waiting_alone(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    body = b'{"mode":"query","runId":"left","code":"sleep\\nprint done","options":{"wait":60}}'
    _reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"POST /api/kernels/{kernel_id}/execute?token=s3cret-t%C3%B6k%C3%A9n HTTP/1.1\r\n"
        "Host: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    while (await gateway.get("/api/runs/left")).status == 404:
        pass
    writer.close()
    await writer.wait_closed()
    gateway.kernel.release()
    result = await gateway.execute(kernel_id, mode="continue", runId="left")
    assert result.json["status"] == "finished"
    assert result.json["console"] == [["stdout", "done\n"]]


async def test_a_draining_gateway_takes_nothing_new(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print x", runId="old")
    gateway.service.drain()
    refused = await gateway.execute(kernel_id, mode="query", code="print y")
    assert (refused.status, refused.error["code"]) == (503, "draining")
    assert int(refused.headers["Retry-After"]) > 0
    assert (await gateway.post("/api/kernels", {})).status == 503
    assert (await gateway.execute(kernel_id, mode="continue", runId="old")).status == 200
