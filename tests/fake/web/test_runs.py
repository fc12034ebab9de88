"""`/api/runs/{id}` and what is below it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.kernels.fake import FakeLauncher
from kernel_gateway.web.runs import reading
from tests.fake.web.gateway import run_path, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake.web.gateway import Gateway

RUN_FIELDS = {
    "id", "uid", "owner", "mode", "kernel", "state", "outcome", "reason", "phase",
    "queue_position", "created_at", "started_at", "finished_at", "queue_time", "predict_time",
    "execution_count", "exit_code", "error", "input_request", "steps", "is_stream", "log",
    "history", "links", "labels", "context", "metrics", "artifacts", "attempt", "webhook",
}  # fmt: skip


async def test_a_run_has_the_fields_of_the_contract(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print x", runId="r")
    run = (await gateway.get("/api/runs/r")).json
    assert set(run) == {*RUN_FIELDS, "outputs"}
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
        "events": 200,
        "log": 200,
        "records": 200,
        "artifacts": 200,
        "notebook": 200,
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
    for rest in ("", "/log", "/records", "/events", "/artifacts", "/notebook"):
        assert (await gateway.get(f"/api/runs/{uids[0]}{rest}")).status == 200
        assert (await gateway.get(f"/api/runs/r{rest}?kernel={kernels[0]}")).status == 200
    assert (await gateway.post(f"/api/runs/r/cancel?kernel={kernels[1]}", {})).status == 200
    assert (await gateway.post("/api/runs/r/cancel", {})).status == 409
    assert (await gateway.delete("/api/runs/r")).status == 409
    assert (await gateway.delete(f"/api/runs/r?kernel={kernels[1]}")).status == 204
    assert (await gateway.get("/api/runs/r")).status in {200, 409}


async def test_an_etag_saves_reading_the_same_twice(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "input ?", runId="r")
    tag = (await gateway.get("/api/runs/r")).headers["ETag"]
    same = await gateway.get("/api/runs/r", headers={"If-None-Match": tag})
    assert (same.status, same.body) == (304, b"")
    await gateway.post("/api/runs/r/input", {"value": "x"})
    await gateway.execute(kernel_id, mode="continue", runId="r")
    assert (await gateway.get("/api/runs/r", headers={"If-None-Match": tag})).status == 200
    bare = await gateway.get("/api/runs/r?outputs=false")
    whole = await gateway.get("/api/runs/r")
    assert bare.headers["ETag"] != whole.headers["ETag"]


async def test_an_etag_changes_with_the_state_before_its_record_is_stored(tmp_path: Path) -> None:
    """What a run does at first is stored with what comes next: with the end of a long step."""
    gate = asyncio.Event()
    async with running_gateway(tmp_path, launcher=FakeLauncher(gate=gate)) as gateway:
        kernel_id = await gateway.new_kernel()
        await gateway.post("/api/runs", {"mode": "query", "code": "sleep", "kernel": kernel_id})
        (run,) = (await gateway.get("/api/runs")).json["items"]
        path = f"/api/runs/{run['uid']}?outputs=false"
        before = await gateway.get(path)
        assert "starting" == before.json["state"]
        gate.set()
        while "running" != (await gateway.get(path)).json["state"]:
            await asyncio.sleep(0)
        tag = before.headers["ETag"]
        assert 200 == (await gateway.get(path, headers={"If-None-Match": tag})).status


# -- outputs ---------------------------------------------------------------------------------------


async def test_the_outputs_are_those_of_a_notebook(gateway: Gateway) -> None:
    run = await gateway.run("print a\nprint b\nresult 5\nraise E x")
    assert ["stream", "execute_result", "error"] == [out["output_type"] for out in run["outputs"]]
    assert "a\nb\n" == run["outputs"][0]["text"]
    told = await gateway.get(f"/api/runs/{run['uid']}")
    assert run["outputs"] == told.json["outputs"]


async def test_who_does_not_want_outputs_gets_none(gateway: Gateway) -> None:
    uid = (await gateway.run("print a"))["uid"]
    bare = (await gateway.get(f"/api/runs/{uid}?outputs=false")).json
    assert RUN_FIELDS == set(bare)
    bad = await gateway.get(f"/api/runs/{uid}?outputs=no")
    assert (422, "outputs") == (bad.status, bad.error["field"])


async def test_of_a_very_long_log_the_outputs_are_null(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "OUTPUTS_BYTES", 2)
    assert None is (await gateway.run("print abc"))["outputs"]
    assert [] != (await gateway.run("print a"))["outputs"]


async def test_of_very_big_values_the_outputs_are_null(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SHOWN_BYTES", 100)
    assert None is (await gateway.run(f"display text/html {'x' * 101}"))["outputs"]
    assert None is (await gateway.run(f"raise E {'x' * 101}"))["outputs"]
    assert [] != (await gateway.run("display text/html x"))["outputs"]


async def test_outputs_are_folded_over_many_pages(gateway: Gateway) -> None:
    run = await gateway.run("\n".join(f"result {n}" for n in range(250)))
    assert 250 == len(run["outputs"])


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
    await gateway.post("/api/runs/r/input", {"value": "a-secret-4711"})
    await gateway.execute(kernel_id, mode="continue", runId="r")
    assert b"a-secret-4711" not in (await gateway.get("/api/runs/r/records")).body


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


@pytest.mark.parametrize("accept", ["image/png", "text/html, image/*"])
async def test_a_form_that_there_is_not_is_406(gateway: Gateway, accept: str) -> None:
    uid = (await gateway.run("print a"))["uid"]
    answer = await gateway.get(f"/api/runs/{uid}/log", headers={"Accept": accept})
    assert (406, "not_acceptable") == (answer.status, answer.error["code"])


TEXT = "a\nünï\nc\n".encode()


@pytest.mark.parametrize("rest", ["", "?limit=1"])
@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("0-", 0, 10), ("0-0", 0, 1), ("3-5", 3, 6), ("-2", 8, 10), ("9-99", 9, 10)],
)
async def test_a_part_of_the_text_is_bytes_of_it(
    gateway: Gateway, wanted: str, start: int, stop: int, rest: str
) -> None:
    uid = (await gateway.run("print a\nresult 1\nprint ünï\nresult 2\nprint c"))["uid"]
    headers = {"Accept": "text/plain", "Range": f"bytes={wanted}"}
    answer = await gateway.get(f"/api/runs/{uid}/log{rest}", headers=headers)
    assert (206, TEXT[start:stop]) == (answer.status, answer.body)
    assert f"bytes {start}-{stop - 1}/10" == answer.headers["Content-Range"]
    assert str(stop - start) == answer.headers["Content-Length"]
    assert "bytes" == answer.headers["Accept-Ranges"]


async def test_a_part_behind_the_text_is_416(gateway: Gateway) -> None:
    uid = (await gateway.run("print a"))["uid"]
    headers = {"Accept": "text/plain", "Range": "bytes=2-"}
    answer = await gateway.get(f"/api/runs/{uid}/log", headers=headers)
    assert (416, "range_not_satisfiable") == (answer.status, answer.error["code"])
    assert "bytes */2" == answer.headers["Content-Range"]


@pytest.mark.parametrize(
    "headers", [{"Range": "bytes=0-0,2-2"}, {"Range": "bytes=0-0", "If-Range": '"x"'}]
)
async def test_what_is_no_single_part_of_this_text_is_all_of_it(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    uid = (await gateway.run("print a"))["uid"]
    answer = await gateway.get(f"/api/runs/{uid}/log", headers={"Accept": "text/plain", **headers})
    assert (200, b"a\n") == (answer.status, answer.body)


async def test_parts_of_one_stream_or_of_what_is_behind_a_cursor(gateway: Gateway) -> None:
    uid = (await gateway.run("print a\nstderr bcd\nprint e"))["uid"]
    headers = {"Accept": "text/plain", "Range": "bytes=1-"}
    errors = await gateway.get(f"/api/runs/{uid}/log?stream=stderr", headers=headers)
    assert (206, b"cd\n") == (errors.status, errors.body)
    items = (await gateway.get(f"/api/runs/{uid}/log")).json["items"]
    behind = await gateway.get(f"/api/runs/{uid}/log?after={items[0][0]}", headers=headers)
    assert (206, b"cd\ne\n") == (behind.status, behind.body)


async def test_while_a_run_goes_on_the_total_is_not_told(gateway: Gateway) -> None:
    uid = (await gateway.run("print abc\nsleep", wait=0))["uid"]
    await gateway.get(f"/api/runs/{uid}/log?wait=30")
    headers = {"Accept": "text/plain", "Range": "bytes=1-"}
    answer = await gateway.get(f"/api/runs/{uid}/log?wait=30", headers=headers)
    assert (206, b"bc\n") == (answer.status, answer.body)
    assert "bytes 1-3/*" == answer.headers["Content-Range"]


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
    assert records[-1]["run"] == (await gateway.get("/api/runs/r?outputs=false")).json
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
        ("label=a&label=%20", "label.1"),
    ],
)
async def test_a_bad_parameter_of_the_list_is_named(
    gateway: Gateway, query: str, field: str
) -> None:
    answer = await gateway.get(f"/api/runs?{query}")
    assert (422, [field]) == (answer.status, list(answer.error["fields"]))


async def test_runs_are_listed_by_their_labels(gateway: Gateway) -> None:
    for name, labels in (("a", {"team": "red"}), ("b", {"team": "blue", "x": ""}), ("c", {})):
        await gateway.run("print x", runId=name, labels=labels)
    for query, expected in (
        ("label=team", ["b", "a"]),
        ("label=team=red", ["a"]),
        ("label=team&label=x=", ["b"]),
        ("label=team=red&label=x", []),
        ("label=team%3Dblue", ["b"]),
    ):
        items = (await gateway.get(f"/api/runs?{query}")).json["items"]
        assert expected == [run["id"] for run in items], query


# -- the end ---------------------------------------------------------------------------------------


async def test_a_run_that_is_over_can_be_removed(gateway: Gateway) -> None:
    run = await gateway.run("print x\nsave f.txt abc", runId="r")
    removed = await gateway.delete("/api/runs/r")
    assert (204, b"") == (removed.status, removed.body)
    for path in ("/api/runs/r", f"/api/runs/{run['uid']}", "/api/runs/r/log"):
        answer = await gateway.get(path)
        assert (410, "run_expired") == (answer.status, answer.error["code"])
    again = await gateway.post("/api/runs", {"mode": "query", "code": "print x", "runId": "r"})
    assert (410, "run_expired") == (again.status, again.error["code"])


async def test_a_run_that_is_not_over_cannot_be_removed(gateway: Gateway) -> None:
    await gateway.run("sleep", wait=0, runId="r")
    answer = await gateway.delete("/api/runs/r")
    assert (409, "run_active") == (answer.status, answer.error["code"])
    assert 404 == (await gateway.delete("/api/runs/nobody")).status
