"""`POST /api/runs` and `PUT /api/runs/{id}`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.kernels.fake import FakeLauncher
from kernel_gateway.service import Webhook
from kernel_gateway.web.settings import WebSettings
from kernel_gateway.webhooks.sender import Answer
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

QUERY = {"mode": "query", "code": "print a"}
NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Text"},
        {
            "cell_type": "code",
            "id": "c",
            "metadata": {},
            "source": "print 1",
            "outputs": [],
            "execution_count": None,
        },
    ],
}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def prefer(text: str) -> dict[str, str]:
    return {"Prefer": text}


async def test_a_run_is_created_before_there_is_any_kernel(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running_gateway(tmp_path, launcher=FakeLauncher(gate=gate)) as gateway:
        created = await gateway.post("/api/runs", QUERY)
        assert 201 == created.status
        run = created.json
        assert run["links"]["self"] == created.headers["Location"]
        assert run["id"] == run["uid"]
        assert run["state"] in {"queued", "starting"}
        assert [] == run["outputs"]
        seen = (await gateway.get(created.headers["Location"])).json
        assert seen["outcome"] is None
        gate.set()


async def test_the_same_again_is_the_same_run(gateway: Gateway) -> None:
    first = await gateway.post("/api/runs", {**QUERY, "runId": "r"}, headers=prefer("wait=30"))
    again = await gateway.post("/api/runs", {**QUERY, "runId": "r"})
    assert (201, 200) == (first.status, again.status)
    assert first.json == again.json
    other = await gateway.post("/api/runs", {**QUERY, "runId": "r", "code": "print b"})
    assert (409, "run_id_conflict") == (other.status, other.error["code"])
    assert "Location" not in other.headers


async def test_an_id_in_the_address_makes_a_run_once(gateway: Gateway) -> None:
    path = "/api/runs/a%2Fb%20c"
    calls = [gateway.put(path, QUERY, headers=prefer("wait=30")) for _ in range(30)]
    answers = await asyncio.gather(*calls)
    assert [200] * 29 + [201] == sorted(answer.status for answer in answers)
    assert {"a/b c"} == {answer.json["id"] for answer in answers}
    assert 1 == len({answer.json["uid"] for answer in answers})
    assert 1 == len(gateway.launcher.kernels)
    other = await gateway.put(path, {**QUERY, "kernel": {"name": "kernel-gateway-command"}})
    assert (409, "run_id_conflict") == (other.status, other.error["code"])


async def test_the_address_and_the_body_must_name_the_same_run(gateway: Gateway) -> None:
    assert 201 == (await gateway.put("/api/runs/r", {**QUERY, "runId": "r"})).status
    answer = await gateway.put("/api/runs/r", {**QUERY, "runId": "s"})
    assert (422, ["runId"]) == (answer.status, list(answer.error["fields"]))


async def test_a_run_goes_where_it_is_told_to(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    run = await gateway.run("print a", kernel=kernel_id)
    assert kernel_id == run["kernel"]["id"]
    session = (await gateway.post("/api/sessions", {"path": "a.ipynb"})).json
    run = await gateway.run("print a", session=session["id"])
    assert session["kernel"]["id"] == run["kernel"]["id"]
    own = await gateway.run("print a", kernel={"name": "kernel-gateway-command"})
    assert "kernel-gateway-command" == own["kernel"]["name"]
    assert own["kernel"]["id"] not in {kernel_id, session["kernel"]["id"]}


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"kernel": "none"}, "kernel_not_found"),
        ({"session": "none"}, "session_not_found"),
        ({"kernel": {"name": "cobol"}}, "kernelspec_not_found"),
    ],
)
async def test_where_it_cannot_go_is_404(
    gateway: Gateway, where: dict[str, Any], code: str
) -> None:
    answer = await gateway.post("/api/runs", {**QUERY, **where})
    assert (404, code) == (answer.status, answer.error["code"])
    assert {"error"} == set(answer.json)


async def test_what_it_was_given_is_told_again(gateway: Gateway) -> None:
    labels, context = {"team": "red"}, {"b": "2", "a": "1"}
    run = await gateway.run("print a", labels=labels, context=context)
    assert (labels, context) == (run["labels"], run["context"])
    assert (None, 1, {}) == (run["webhook"], run["attempt"], run["metrics"])


async def test_a_limit_ends_it(gateway: Gateway) -> None:
    run = await gateway.run("print a\nsleep", timeout=0.05)
    assert ("timeout", "run_limit") == (run["outcome"], run["reason"]["code"])
    assert ["a\n"] == [output["text"] for output in run["outputs"][:1]]


async def test_steps_of_a_batch_are_told_one_by_one(gateway: Gateway) -> None:
    body = {"mode": "batch", "steps": {"build": "print b", "exec": "print e"}}
    answer = await gateway.post("/api/runs", body, headers=prefer("wait=30"))
    assert 201 == answer.status
    assert ["clean", "build", "exec"] == [step["name"] for step in answer.json["steps"]]
    assert ["b\n", "e\n"] == [output["text"] for output in answer.json["outputs"]]


async def test_a_notebook_is_executed_cell_by_cell(gateway: Gateway) -> None:
    body = {"mode": "notebook", "notebook": NOTEBOOK}
    answer = await gateway.post("/api/runs", body, headers=prefer("wait=30"))
    assert (201, "ok") == (answer.status, answer.json["outcome"])
    assert [("c", "ok")] == [(step["name"], step["state"]) for step in answer.json["steps"]]


async def test_what_is_no_notebook_is_422(gateway: Gateway) -> None:
    body = {"mode": "notebook", "notebook": {"cells": []}}
    answer = await gateway.post("/api/runs", body)
    assert (422, ["notebook"]) == (answer.status, list(answer.error["fields"]))


async def test_parameters_are_unknown(gateway: Gateway) -> None:
    answer = await gateway.post("/api/runs", {**QUERY, "parameters": {}})
    assert (422, ["parameters"]) == (answer.status, list(answer.error["fields"]))


async def test_an_empty_body_is_told_what_is_missing(gateway: Gateway) -> None:
    answer = await gateway.post("/api/runs")
    assert (422, ["mode"]) == (answer.status, list(answer.error["fields"]))


# -- who waits -------------------------------------------------------------------------------------


async def test_who_prefers_to_wait_is_told_the_end(gateway: Gateway) -> None:
    for preference in ("wait=30", 'respond-async, Wait="30"; x=y'):
        answer = await gateway.post("/api/runs", QUERY, headers=prefer(preference))
        assert (201, "wait=30") == (answer.status, answer.headers["Preference-Applied"])
        assert ("finished", "ok") == (answer.json["state"], answer.json["outcome"])
        assert "a\n" == answer.json["outputs"][0]["text"]


async def test_a_wait_that_is_over_gives_the_run_as_it_is(gateway: Gateway) -> None:
    body = {**QUERY, "code": "sleep", "runId": "r"}
    answer = await gateway.post("/api/runs", body, headers=prefer("wait=0"))
    assert (201, "wait=0") == (answer.status, answer.headers["Preference-Applied"])
    again = await gateway.put("/api/runs/r", {**QUERY, "code": "sleep"}, headers=prefer("wait=1"))
    assert (200, None) == (again.status, again.json["outcome"])


async def test_nobody_waits_longer_than_a_minute(gateway: Gateway) -> None:
    answer = await gateway.post("/api/runs", QUERY, headers=prefer("wait=3600"))
    assert "wait=60" == answer.headers["Preference-Applied"]


async def test_who_prefers_nothing_does_not_wait(gateway: Gateway) -> None:
    for headers in ({}, prefer("return=minimal"), prefer("wait=soon")):
        answer = await gateway.post("/api/runs", {**QUERY, "code": "sleep"}, headers=headers)
        assert 201 == answer.status
        assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("asked", [True, False])
async def test_a_client_that_goes_while_it_waits_ends_a_run_that_asked_for_it(
    gateway: Gateway, asked: bool
) -> None:
    """Told by whether the run is over before its sleep was."""
    body = (
        f'{{"mode":"query","code":"print a\\nsleep","cancel_on_disconnect":{str(asked).lower()}}}'
    )
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = (
        "PUT /api/runs/r?token=s3cret-t%C3%B6k%C3%A9n HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/json\r\nPrefer: wait=60\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write((head + body).encode())
    await writer.drain()
    while (await gateway.get("/api/runs/r/log?wait=30")).status != 200:
        await asyncio.sleep(0)
    writer.close()
    if not asked:
        gateway.kernel.release()
    while (run := (await gateway.get("/api/runs/r?outputs=false")).json)["state"] != "finished":
        await asyncio.sleep(0)  # and nobody reads meanwhile
    assert ("cancelled" if asked else "ok") == run["outcome"]


# -- webhooks --------------------------------------------------------------------------------------


class Kept:
    """A sender that keeps what it is given, and says that all is well."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Mapping[str, str], bytes]] = []

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.sent.append((url, headers, body))
        return Answer(status=204)


async def test_a_webhook_is_called_in_the_trace_of_who_created_the_run(tmp_path: Path) -> None:
    kept = Kept()
    async with running_gateway(tmp_path, sender=kept) as gateway:
        webhook = {"url": "https://hooks.example/x", "events": ["completed"], "secret": "hidden"}
        trace = {"traceparent": PARENT, "tracestate": "a=1", **prefer("wait=30")}
        answer = await gateway.post("/api/runs", {**QUERY, "webhook": webhook}, headers=trace)
        path = answer.headers["Location"]
        while not (told := (await gateway.get(path)).json["webhook"])["deliveries"]:
            await asyncio.sleep(0)
        listed = await gateway.get("/api/runs")
        for body in (answer.body, listed.body, (await gateway.get(path)).body):
            assert b"hidden" not in body
    assert ("https://hooks.example/x", ["completed"]) == (told["url"], told["events"])
    assert 204 == told["deliveries"][0]["status"]
    url, headers, _ = kept.sent[-1]
    assert "https://hooks.example/x" == url
    assert (PARENT, "a=1") == (headers["traceparent"], headers["tracestate"])


async def test_a_webhook_changes_the_etag(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, sender=Kept()) as gateway:
        webhook = {"url": "https://hooks.example/x", "events": ["completed"]}
        body = {**QUERY, "webhook": webhook}
        path = (await gateway.post("/api/runs", body)).headers["Location"]
        before = ""
        while not (answer := await gateway.get(path)).json["webhook"]["deliveries"]:
            before = answer.headers["ETag"]
        assert before != answer.headers["ETag"]


async def test_where_none_is_called_a_webhook_is_422(gateway: Gateway) -> None:
    assert "secret" not in repr(Webhook(url="u", secret="hidden"))
    answer = await gateway.post("/api/runs", {**QUERY, "webhook": {"url": "https://a.example"}})
    assert (422, ["webhook"]) == (answer.status, list(answer.error["fields"]))


# -- a kernel of its own ---------------------------------------------------------------------------


async def test_a_run_has_the_files_and_variables_that_it_brings(tmp_path: Path) -> None:
    async with running_gateway(
        tmp_path, WebSettings(token=TOKEN, port=0, allowed_env=("PROJECT",))
    ) as gateway:
        body = {
            **QUERY,
            "code": "print a\nsleep",
            "files": {"data/a.csv": "MSwy", "empty": ""},
            "env": {"PROJECT": "moon", "KERNEL_KEY": "s3cret"},
            "secrets": ["KERNEL_KEY"],
        }
        run = (await gateway.put("/api/runs/r", body)).json
        await gateway.get(f"/api/runs/r/records?after={run['log']['next']}&wait=30")
        request = gateway.kernel.request
        assert request.cwd is not None
        assert ("moon", "s3cret") == (request.env["PROJECT"], request.env["KERNEL_KEY"])
        assert (b"1,2", b"") == (
            (request.cwd / "data/a.csv").read_bytes(),
            (request.cwd / "empty").read_bytes(),
        )
        assert 200 == (await gateway.put("/api/runs/r", body)).status
        other = {**body, "files": {"data/a.csv": "MSwz", "empty": ""}}
        assert "run_id_conflict" == (await gateway.put("/api/runs/r", other)).error["code"]
        (request.cwd / "made").write_bytes(b"new")
        gateway.kernel.release()
        await gateway.get("/api/runs/r/records?after=99&wait=30")
        (artifact,) = (await gateway.get("/api/runs/r/artifacts")).json["items"]
        assert ("made", "work") == (artifact["name"], artifact["kind"])


async def test_files_that_are_not_in_base64_are_told_by_their_names(gateway: Gateway) -> None:
    body = {**QUERY, "files": {"a/b.txt": "no!", "c": "abc", "d": "YQ=="}}
    fault = (await gateway.post("/api/runs", body)).error
    assert {"files.a/b.txt", "files.c"} == set(fault["fields"])
    assert [] == gateway.launcher.kernels


async def test_a_log_is_sealed_when_its_kernel_can_say_no_more(gateway: Gateway) -> None:
    notebook = {**NOTEBOOK, "cells": [{**NOTEBOOK["cells"][1], "source": "print 1"}]}
    body = {"mode": "notebook", "notebook": notebook, "options": {"quiet": 0.1}}
    await gateway.put("/api/runs/r", body, headers=prefer("wait=30"))
    page = (await gateway.get("/api/runs/r/records")).json
    assert page["finished"]
    last = (await gateway.get(f"/api/runs/r/records?after={page['next']}&wait=30")).json
    assert ([], True, True) == (last["items"], last["finished"], last["sealed"])
    shared = await gateway.new_kernel()
    await gateway.run("print a", kernel=shared, runId="s")
    assert (await gateway.get("/api/runs/s/records")).json["sealed"]


async def test_a_cancel_may_say_why(gateway: Gateway) -> None:
    await gateway.put("/api/runs/r", {**QUERY, "code": "sleep"})
    await gateway.post("/api/runs/r/cancel", {"message": "ada has seen enough"})
    await gateway.get("/api/runs/r/records?after=99&wait=30")
    reason = (await gateway.get("/api/runs/r")).json["reason"]
    assert ("cancelled", "ada has seen enough") == (reason["code"], reason["message"])
    assert 422 == (await gateway.post("/api/runs/r/cancel", {"message": ""})).status
