"""`/api/runs/{id}` and what is below it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake.web.gateway import run_path

if TYPE_CHECKING:
    from tests.fake.web.gateway import Gateway

RUN_FIELDS = {
    "id", "uid", "owner", "mode", "kernel", "state", "outcome", "reason", "phase",
    "queue_position", "created_at", "started_at", "finished_at", "queue_time", "predict_time",
    "execution_count", "exit_code", "error", "input_request", "steps", "is_stream", "log",
    "history", "links",
}  # fmt: skip


async def test_a_run_has_the_fields_of_the_contract(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print x", runId="r")
    run = (await gateway.get("/api/runs/r")).json
    assert set(run) == RUN_FIELDS
    assert run["kernel"] == {"id": kernel_id, "name": "python3", "generation": 1}
    assert (run["state"], run["outcome"], run["exit_code"]) == ("finished", "ok", 0)
    assert run["owner"] == "local"
    assert run["mode"] == "query"
    assert [step["state"] for step in run["steps"]] == ["ok"]
    assert run["log"]["first"] == 1
    assert run["log"]["bytes"] == 2
    assert [entry["state"] for entry in run["history"]][-1] == "finished"


async def test_links_lead_to_routes_that_exist(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print x", runId=".")
    uid = (await gateway.query(kernel_id, "print x"))["runId"]
    links = (await gateway.get(f"/api/runs/{uid}")).json["links"]
    assert {link: (await gateway.get(path)).status for link, path in links.items()} == {
        "self": 200,
        "log": 200,
        "records": 200,
        "input": 405,
        "cancel": 405,
    }


async def test_an_id_of_any_script_is_found_percent_encoded(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    for run_id in ("a/b", "../x", "ünï cödé", "50%", "%2F", "a?b#c", " x ", "🐧"):
        await gateway.query(kernel_id, "print x", runId=run_id)
        assert (await gateway.get(run_path(run_id))).json["id"] == run_id
        assert (await gateway.get(run_path(run_id, "/log"))).json["items"][0][2] == "x\n"


async def test_an_id_in_two_sessions_is_settled_by_kernel_or_uid(gateway: Gateway) -> None:
    kernels = [await gateway.new_kernel(), await gateway.new_kernel()]
    for kernel_id in kernels:
        await gateway.query(kernel_id, "print x", runId="r")
    answer = await gateway.get("/api/runs/r")
    assert (answer.status, answer.error["code"]) == (409, "run_id_ambiguous")
    uids = answer.error["details"]["uids"]
    assert len(uids) == 2
    for rest in ("", "/log", "/records"):
        assert (await gateway.get(f"/api/runs/{uids[0]}{rest}")).status == 200
        assert (await gateway.get(f"/api/runs/r{rest}?kernel={kernels[0]}")).status == 200
    assert (await gateway.post(f"/api/runs/r/cancel?kernel={kernels[1]}", {})).status == 200
    assert (await gateway.post("/api/runs/r/cancel", {})).status == 409


async def test_an_etag_saves_reading_the_same_twice(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "input ?", runId="r")
    tag = (await gateway.get("/api/runs/r")).headers["ETag"]
    same = await gateway.get("/api/runs/r", headers={"If-None-Match": tag})
    assert (same.status, same.body) == (304, b"")
    await gateway.post("/api/runs/r/input", {"value": "x"})
    await gateway.execute(kernel_id, mode="continue", runId="r")
    assert (await gateway.get("/api/runs/r", headers={"If-None-Match": tag})).status == 200


async def test_an_error_is_told_with_and_without_colours(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "raise ValueError \x1b[31mred\x1b[0m", runId="r")
    error = (await gateway.get("/api/runs/r")).json["error"]
    assert error["ename"] == "ValueError"
    assert error["traceback"] == ["ValueError: \x1b[31mred\x1b[0m"]
    assert error["plain"] == "ValueError: red"


async def test_the_place_in_the_queue_is_told(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    for number in range(3):
        await gateway.query(kernel_id, "sleep", runId=f"r{number}", options={"wait": 0})
    runs = [(await gateway.get(f"/api/runs/r{number}")).json for number in range(3)]
    assert [run["queue_position"] for run in runs] == [None, 0, 1]


# -- input and cancel ----------------------------------------------------------------------------


async def test_input_goes_to_the_prompt_that_waits(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "input Name?\necho", runId="r")
    run = (await gateway.get("/api/runs/r")).json
    assert run["input_request"] == {"prompt_id": 1, "prompt": "Name?", "password": False}
    wrong = await gateway.post("/api/runs/r/input", {"value": "Ada", "prompt_id": 7})
    assert (wrong.status, wrong.error["code"]) == (409, "wrong_prompt")
    given = await gateway.post("/api/runs/r/input", {"value": "Ada", "prompt_id": 1})
    assert given.status == 200
    result = await gateway.execute(kernel_id, mode="continue", runId="r")
    assert ["stdout", "Ada\n"] in result.json["console"]
    late = await gateway.post("/api/runs/r/input", {"value": "more"})
    assert (late.status, late.error["code"]) == (409, "not_waiting")


async def test_a_password_is_in_no_record(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "password Pin?", runId="r")
    await gateway.post("/api/runs/r/input", {"value": "4711"})
    await gateway.execute(kernel_id, mode="continue", runId="r")
    assert b"4711" not in (await gateway.get("/api/runs/r/records")).body


async def test_a_run_in_flight_is_cancelling_first(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "sleep", runId="r", options={"wait": 0.1})
    cancelled = await gateway.post("/api/runs/r/cancel", {"grace": 5, "escalate": "none"})
    assert (cancelled.status, cancelled.json["state"]) == (202, "cancelling")
    await gateway.execute(kernel_id, mode="continue", runId="r")
    again = await gateway.post("/api/runs/r/cancel")
    assert again.status == 200, again.body
    assert again.json["outcome"] == "cancelled"


async def test_a_queued_run_is_cancelled_at_once(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "sleep", runId="first", options={"wait": 0.1})
    await gateway.query(kernel_id, "print x", runId="second", options={"wait": 0})
    cancelled = await gateway.post("/api/runs/second/cancel", {})
    assert (cancelled.status, cancelled.json["outcome"]) == (200, "cancelled")
    assert (await gateway.get("/api/runs/first")).json["state"] == "running"


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/api/runs/r/input", {}, {"value"}),
        ("/api/runs/r/input", {"value": 1, "prompt_id": "1", "x": 1}, {"value", "prompt_id", "x"}),
        ("/api/runs/r/input", {"value": "a\0"}, {"value"}),
        ("/api/runs/r/cancel", {"grace": -1, "escalate": "maybe"}, {"grace", "escalate"}),
        ("/api/runs/r/cancel", {"reason": "x"}, {"reason"}),
    ],
)
async def test_their_bodies_are_checked(
    gateway: Gateway, path: str, body: dict[str, Any], fields: set[str]
) -> None:
    answer = await gateway.post(path, body)
    assert answer.status == 422
    assert set(answer.error["fields"]) == fields


# -- log and records -----------------------------------------------------------------------------


async def test_the_log_is_text_with_its_place(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print a\nstderr b\nresult 5\nprint c", runId="r")
    page = (await gateway.get("/api/runs/r/log")).json
    assert [item[1:] for item in page["items"]] == [
        ["stdout", "a\n"],
        ["stderr", "b\n"],
        ["stdout", "c\n"],
    ]
    assert page["finished"] is True
    errors = (await gateway.get("/api/runs/r/log?stream=stderr")).json["items"]
    assert [item[1:] for item in errors] == [["stderr", "b\n"]]
    rest = (await gateway.get(f"/api/runs/r/log?after={errors[0][0]}")).json["items"]
    assert [item[1:] for item in rest] == [["stdout", "c\n"]]
    end = (await gateway.get(f"/api/runs/r/log?after={page['next']}&wait=30")).json
    assert end == {"items": [], "next": page["next"], "finished": True}


async def test_pages_give_the_whole_log_however_small(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    code = "\n".join(f"print {i}\nresult {i}" for i in range(20))
    await gateway.query(kernel_id, code, runId="r")
    items: list[Any] = []
    after, finished = 0, False
    while not finished:
        page = (await gateway.get(f"/api/runs/r/log?after={after}&limit=3&wait=10")).json
        items += page["items"]
        after, finished = page["next"], page["finished"]
    assert "".join(text for _, _, text in items) == "".join(f"{i}\n" for i in range(20))
    assert sorted({seq for seq, _, _ in items}) == [seq for seq, _, _ in items]


async def test_a_reader_waits_for_text_and_for_nothing_else(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(
        kernel_id, "sleep\nresult 1\nprint a\nsleep", runId="r", options={"wait": 0}
    )
    reading = asyncio.create_task(gateway.get("/api/runs/r/log?wait=30"))
    while not any(r.msg_type == "execute_request" for r in gateway.kernel.requests):
        await asyncio.sleep(0)
    gateway.kernel.release()
    page = (await reading).json
    assert [item[1:] for item in page["items"]] == [["stdout", "a\n"]]
    assert page["finished"] is False


async def test_a_wait_that_is_over_gives_what_there_is(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "sleep", runId="r", options={"wait": 0.1})
    page = (await gateway.get("/api/runs/r/log?wait=0.05")).json
    assert page["items"] == []
    assert page["finished"] is False


async def test_as_plain_text_the_log_is_the_text_alone(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print a\nstderr b\nprint ünï", runId="r")
    plain = {"Accept": "text/plain"}
    answer = await gateway.get("/api/runs/r/log?limit=1", headers=plain)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body.decode() == "a\nb\nünï\n"
    errors = await gateway.get("/api/runs/r/log?stream=stderr", headers=plain)
    assert errors.body == b"b\n"


async def test_records_tell_every_kind(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print a\nresult 5\nraise E x", runId="r")
    uid = (await gateway.get("/api/runs/r")).json["uid"]
    page = (await gateway.get("/api/runs/r/records")).json
    records = page["items"]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert {"state", "log", "output", "error", "completed"} <= {r["kind"] for r in records}
    assert all((record["run_id"], record["uid"]) == ("r", uid) for record in records)
    assert all(record["at"].endswith("Z") and "step" in record for record in records)
    assert records[-1]["kind"] == "completed"
    assert page["next"] == records[-1]["seq"]
    assert page["finished"] is True
    few = (await gateway.get("/api/runs/r/records?limit=2&after=1")).json
    assert few["items"] == records[1:3]
    assert few["finished"] is False


@pytest.mark.parametrize("rest", ["/log", "/records"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=x", "after"),
        ("after=-1", "after"),
        ("wait=61", "wait"),
        ("wait=nan", "wait"),
        ("wait=soon", "wait"),
        ("limit=0", "limit"),
        ("limit=1.5", "limit"),
        ("limit=100000", "limit"),
        ("stream=stdlog", "stream"),
        ("kernel=%ff", "kernel"),
    ],
)
async def test_queries_are_checked(gateway: Gateway, rest: str, query: str, field: str) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print a", runId="r")
    answer = await gateway.get(f"/api/runs/r{rest}?{query}")
    assert answer.status == 422
    assert answer.error["field"] == field


# -- the list --------------------------------------------------------------------------------------


async def test_runs_are_listed_by_pages(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    for name in ("a", "b", "c"):
        await gateway.query(kernel_id, "print x", runId=name)
    first = (await gateway.get(f"/api/runs?kernel={kernel_id}&limit=2")).json
    assert ["c", "b"] == [run["id"] for run in first["items"]]
    assert RUN_FIELDS == set(first["items"][0])
    second = (await gateway.get(f"/api/runs?limit=2&cursor={first['next']}")).json
    assert (["a"], None) == ([run["id"] for run in second["items"]], second["next"])


async def test_a_kernel_that_nobody_knows_has_no_runs(gateway: Gateway) -> None:
    answer = await gateway.get("/api/runs?kernel=nobody&state=finished&outcome=ok")
    assert (200, {"items": [], "next": None}) == (answer.status, answer.json)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("cursor=17", "cursor"),
        ("cursor=nan_5fac", "cursor"),
        ("state=asleep", "state"),
        ("outcome=good", "outcome"),
        ("kernel=%00", "kernel"),
    ],
)
async def test_a_bad_parameter_of_the_list_is_named(
    gateway: Gateway, query: str, field: str
) -> None:
    answer = await gateway.get(f"/api/runs?{query}")
    assert (422, [field]) == (answer.status, list(answer.error["fields"]))
