"""One run over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import HTTPClientError

from kernel_gateway.messaging.message import Channel
from tests.fake.web.backendai.client import ACCESS_KEY, Caller, add_key
from tests.fake.web.backendai.test_access import check_problem

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from tests.fake.web.backendai.client import Stream
    from tests.fake.web.gateway import Gateway


@pytest.fixture
async def session(caller: Caller) -> Caller:
    """A caller with a session."""
    await caller.create()
    return caller


def console(frames: list[Any]) -> str:
    return "".join(value for frame in frames for kind, value in frame["console"])


async def busy_run(caller: Caller, code: str = "sleep") -> str:
    """A run that has its turn."""
    told = asyncio.create_task(caller.query(code, runId="busy"))
    while (await caller.get("/session/mine")).json["numQueriesExecuted"] == 0:
        pass
    told.cancel()
    await asyncio.wait({told})
    return "busy"


# -- to the end ----------------------------------------------------------------------------------


async def test_a_query_is_told_to_its_end_and_the_connection_closed(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("print one\nstderr two")
        assert {
            "status": "finished",
            "console": [["stdout", "one\n"], ["stderr", "two\n"]],
            "exitCode": 0,
            "options": None,
            "files": [],
        } == await stream.frame()
        assert await stream.frame() is None


async def test_the_session_may_be_named_by_its_id_and_by_the_old_path(session: Caller) -> None:
    session_id = (await session.create())["sessionId"]
    async with session.stream(f"/stream/kernel/{session_id}/execute") as stream:
        await stream.begin("print x")
        assert "finished" == (await stream.frame())["status"]


async def test_what_is_printed_comes_while_the_run_goes_on(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("print one\nsleep\nprint two\nsleep\nprint three")
        told = await stream.frame()
        assert ("continued", [["stdout", "one\n"]]) == (told["status"], told["console"])
        session.gateway.kernel.release()
        told = await stream.frame()
        assert ("continued", [["stdout", "two\n"]]) == (told["status"], told["console"])
        session.gateway.kernel.release()
        told = await stream.frame()
        assert ("finished", [["stdout", "three\n"]]) == (told["status"], told["console"])


async def test_a_silent_run_is_told_once_that_it_goes_on(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("sleep\nend 3")
        told = await stream.frame()
        assert ("continued", []) == (told["status"], told["console"])
        session.gateway.kernel.release()
        told = await stream.frame()
        assert ("finished", 3) == (told["status"], told["exitCode"])


async def test_a_batch_tells_each_of_its_steps(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin(mode="batch", clean="print c", build="end 2", exec="print never")
        told = await stream.until("finished")
    assert [("clean-finished", 0), ("build-finished", 2), ("finished", 127)] == [
        (frame["status"], frame["exitCode"]) for frame in told
    ]


async def test_no_frame_is_too_big_for_the_client(session: Caller) -> None:
    media, text = "A" * 3_000_000, "\x01" * 400_000
    code = f"display image/svg+xml {media}\nwrite {json.dumps(text)}\ndisplay text/html {media}"
    async with session.stream() as stream:
        await stream.begin(code)
        told = await stream.until("finished")
    assert len(told) > 1
    assert ["continued"] * (len(told) - 1) + ["finished"] == [frame["status"] for frame in told]
    items = [item for frame in told for item in frame["console"]]
    assert ["media", ["image/svg+xml", media]] == items[0]
    assert text == "".join(value for kind, value in items if kind == "stdout")
    assert ["html", media] == items[-1]


async def test_large_output_is_whole(session: Caller) -> None:
    line = "ü" * 100_000
    code = "\n".join([f"print {line}"] * 20)
    async with session.stream() as stream:
        await stream.begin(code)
        assert f"{line}\n" * 20 == console(await stream.until("finished"))


# -- input ---------------------------------------------------------------------------------------


async def test_input_is_one_frame_of_raw_text(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("print hi\ninput Name?\necho\npassword Pin?\necho")
        told = (await stream.until("waiting-input"))[-1]
        assert ([["stdout", "hi\nName?"]], {"is_password": False}) == (
            told["console"],
            told["options"],
        )
        await stream.send("Zoë")
        told = (await stream.until("waiting-input"))[-1]
        assert ([["stdout", "Zoë\nPin?"]], {"is_password": True}) == (
            told["console"],
            told["options"],
        )
        await stream.send("")
        assert "\n" == console(await stream.until("finished"))


async def test_a_frame_that_nothing_waits_for_is_not_kept(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("sleep\ninput a\necho")
        assert "continued" == (await stream.frame())["status"]
        await stream.send("too early")
        assert 200 == (await session.get("/session/mine")).status  # it has been read by now
        session.gateway.kernel.release()
        await stream.until("waiting-input")
        await stream.send("in time")
        assert "in time\n" == console(await stream.until("finished"))


async def test_what_is_printed_beside_a_prompt_asks_nobody_a_second_time(session: Caller) -> None:
    kernel = session.gateway.kernel
    async with session.stream() as stream:
        await stream.begin("input a\necho")
        await stream.until("waiting-input")
        cell = next(one for one in kernel.requests if one.msg_type == "execute_request")
        text: dict[str, Json] = {"name": "stdout", "text": "beside\n"}
        kernel.tell(Channel.IOPUB, "stream", text, kernel.parent_of(cell))
        told = await stream.frame()
        assert ("continued", [["stdout", "beside\n"]], None) == (
            told["status"],
            told["console"],
            told["options"],
        )
        await stream.send("answer")
        assert "answer\n" == console(await stream.until("finished"))


async def test_an_interrupt_ends_the_waiting(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("input a")
        await stream.until("waiting-input")
        assert 204 == (await session.post("/session/mine/interrupt")).status
        told = await stream.until("finished")
        assert "KeyboardInterrupt" in console(told)
        assert 0 != told[-1]["exitCode"]


# -- ends of another kind ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        "",
        "{",
        "[]",
        "5",
        '{"mode": "input", "code": ""}',
        '{"code": "x"}',
        '{"mode": "query", "code": 5}',
    ],
)
async def test_a_bad_first_frame_is_told_why(session: Caller, first: str) -> None:
    async with session.stream() as stream:
        await stream.send(first)
        told = await stream.frame()
        assert ("error", True) == (told["status"], bool(told["msg"]))
        assert await stream.frame() is None
    assert 0 == (await session.get("/session/mine")).json["numQueriesExecuted"]


async def test_who_leaves_has_interrupted_the_run(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("print on\nsleep")
        await stream.frame()
    assert [["stdout", "fine\n"]] == (await session.query("print fine"))["console"]


async def test_who_leaves_at_once_has_interrupted_the_run_too(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("print on\nsleep")
    assert [["stdout", "fine\n"]] == (await session.query("print fine"))["console"]


async def test_who_leaves_a_prompt_has_ended_it(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("input a")
        await stream.until("waiting-input")
    assert [["stdout", "fine\n"]] == (await session.query("print fine"))["console"]


async def test_who_leaves_the_queue_takes_their_own_run_away(session: Caller) -> None:
    run_id = await busy_run(session, "sleep\nprint unharmed")
    async with session.stream() as stream:
        await stream.begin("print never")
        assert "continued" == (await stream.frame())["status"]
    session.gateway.kernel.release()
    told = await session.execute(mode="continue", runId=run_id, options={"after": 0})
    assert [["stdout", "unharmed\n"]] == told["console"]
    await session.query("print last")
    sent = [r for r in session.gateway.kernel.requests if r.msg_type == "execute_request"]
    assert "print never" not in [request.content["code"] for request in sent]


async def test_who_leaves_before_the_first_frame_has_asked_for_nothing(session: Caller) -> None:
    async with session.stream():
        pass
    assert 0 == (await session.get("/session/mine")).json["numQueriesExecuted"]


async def test_a_destroyed_session_ends_its_streams(session: Caller) -> None:
    await busy_run(session)
    async with session.stream() as stream:
        await stream.begin("print never")
        assert "continued" == (await stream.frame())["status"]
        await session.call("DELETE", "/session/mine")
        told = await stream.frame()
        assert ("finished", 130, []) == (told["status"], told["exitCode"], told["console"])


async def test_a_restart_ends_the_run(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin("sleep")
        assert "continued" == (await stream.frame())["status"]
        assert 204 == (await session.call("PATCH", "/session/mine")).status
        told = await stream.frame()
        assert "finished" == told["status"]
        assert 0 != told["exitCode"]


async def test_a_gateway_that_takes_nothing_new_says_so(session: Caller) -> None:
    session.gateway.service.drain()
    async with session.stream() as stream:
        await stream.begin("print x")
        told = await stream.frame()
        assert ("server-restarting", True) == (told["status"], bool(told["msg"]))
        assert await stream.frame() is None


async def test_a_revoked_key_ends_its_streams(session: Caller) -> None:
    async with session.stream() as stream:
        await stream.begin('write "x"\n' + 'sleep\nwrite "x"\n' * 200)
        assert "continued" == (await stream.frame())["status"]
        await add_key(session.gateway, ACCESS_KEY, revoked_at=1.0)
        told = await until_error(session.gateway, stream)
        assert "key" in told["msg"]
        assert await stream.frame() is None


@pytest.mark.logs_error(r"a stream of session \S+ failed on our side \(ZeroDivisionError")
async def test_a_fault_of_ours_is_told_and_ends_the_run(session: Caller) -> None:
    def broken(*_: object, **__: object) -> Any:
        return 1 / 0

    async with session.stream() as stream:
        session.gateway.service.log = broken  # type: ignore[method-assign]
        await stream.begin("sleep")
        assert ["continued", "error"] == [frame["status"] for frame in await stream.until("error")]
        assert await stream.frame() is None
    assert 0 == (await session.query("print fine"))["exitCode"]


async def until_error(gateway: Gateway, stream: Stream) -> Any:
    """The run goes on with each frame that is told."""
    gateway.kernel.release()
    while (told := await stream.frame())["status"] != "error":
        gateway.kernel.release()
    return told


# -- before it is a WebSocket --------------------------------------------------------------------


async def test_what_cannot_be_opened_is_a_problem(session: Caller, other: Caller) -> None:
    path = "/stream/session/mine/execute"
    for who, where, status in (
        (session, "/stream/session/none/execute", 404),
        (other, path, 404),
        (Caller(session.gateway, secret="wrong"), path, 401),
    ):
        with pytest.raises(HTTPClientError) as refused:
            async with who.stream(where):
                pass
        assert status == refused.value.code
    check_problem(await session.get("/stream/session/none/execute"), 404, "object-not-found")
    check_problem(await session.post(path, {}), 405, "method-not-allowed")
    assert 400 == (await session.get(path)).status  # a plain GET


async def test_the_token_opens_a_stream_too(gateway: Gateway) -> None:
    await gateway.post("/session", {"name": "mine", "image": "python"})
    await add_key(gateway, ACCESS_KEY)
    caller = Caller(gateway, changes={"Authorization": "token s3cret-t\xc3\xb6k\xc3\xa9n"})
    async with caller.stream() as stream:
        await stream.begin("print x")
        assert "finished" == (await stream.frame())["status"]


async def test_a_prompt_is_told_once_however_much_is_shown_beside_it(session: Caller) -> None:
    """More than one answer can take in, which then says nothing of the prompt."""
    async with session.stream() as stream:
        await stream.begin("input name?\necho")
        await stream.until("waiting-input")
        kernel = session.gateway.kernel
        asked = next(one for one in kernel.requests if one.msg_type == "execute_request")
        shown: dict[str, Json] = {"data": {"text/html": "x"}, "metadata": {}}
        for _ in range(3000):
            kernel.tell(Channel.IOPUB, "display_data", shown, kernel.parent_of(asked))
        await stream.frame()
        await stream.send("Ann")
        told = await stream.until("finished")
        assert "waiting-input" not in {frame["status"] for frame in told}
        assert console(told[-1:]).endswith("Ann\n")
