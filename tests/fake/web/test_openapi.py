"""Answers are as `/api/openapi.json` says, those that succeed and those that fail."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from kernel_gateway.web.settings import WebSettings
from kernel_gateway.webhooks.sender import Answer
from tests.fake.web.events import listening
from tests.fake.web.gateway import JSON, TOKEN, Gateway, running_gateway
from tests.shared.openapi import Description

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.shared.http import Response

#: Runs that are there: over with all that a run can have, failed, waiting for input, in flight,
#: deleted.
DONE, FAILED, ASKS, SLEEPS, OLD = "it is/done", "failed", "asks", "sleeps", "old"
CELL = {"cell_type": "code", "id": "a", "metadata": {}, "source": "print x", "outputs": []}
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [{**CELL, "execution_count": None}],
}


MUCH = """\
print x
stderr y
result z
save plots/a.txt 0123
show d 1
update d 2
clear wait
print x"""


@dataclass(frozen=True, slots=True)
class Call:
    """Names in capitals stand for those that are there."""

    status: int
    names: Mapping[str, str] = field(default_factory=dict)  # in the path
    value: Any = None
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    token: str | None = TOKEN


def run(status: int, run_id: str, value: Any = None, **more: Any) -> Call:
    return Call(status, {"run_id": run_id}, value, **more)


def kernel(status: int, kernel_id: str = "KERNEL", value: Any = None, **more: Any) -> Call:
    return Call(status, {"kernel_id": kernel_id}, value, **more)


NOBODY = Call(401, token=None)
QUERY = {"mode": "query", "code": "print x", "kernel": "KERNEL"}
HOOK = {"url": "https://hooks.example/x", "events": ["completed"], "secret": "s3cret"}
PART = {"Range": "bytes=0-0"}
AS_TEXT = {"Accept": "text/plain"}

CASES: Mapping[str, list[Call]] = {
    "createRun": [
        Call(201, value=QUERY),
        Call(201, value={**QUERY, "labels": {"a": "b"}, "context": {"c": "d"}, "timeout": 60}),
        Call(201, value={"mode": "batch", "steps": {"exec": "print x"}, "kernel": "KERNEL"}),
        Call(201, value={"mode": "notebook", "notebook": NOTEBOOK, "kernel": "KERNEL"}),
        Call(201, value={"mode": "notebook", "notebook": NOTEBOOK, "parameters": {"a": 1}}),
        Call(201, value=QUERY, headers={"Prefer": "wait=0"}),
        Call(201, value=QUERY, headers={"Accept": "application/x-ipynb+json"}),
        Call(406, value=QUERY, headers={"Accept": "image/png"}),
        Call(201, value={**QUERY, "webhook": HOOK}),
        Call(400, body=b"{", headers=JSON),
        Call(404, value={**QUERY, "kernel": "none"}),
        Call(409, value={**QUERY, "runId": DONE}),
        Call(410, value={**QUERY, "runId": OLD}),
        Call(415, body=b"{}", headers={"Content-Type": "text/plain"}),
        Call(422, value={"mode": "query", "code": 7, "more": None}),
    ],
    "listRuns": [
        Call(200),
        Call(200, query="?limit=1&state=finished&label=team=risk"),
        Call(422, query="?limit=0"),
    ],
    "putRun": [
        run(201, "new", QUERY),
        run(200, SLEEPS, {**QUERY, "code": "sleep"}),
        run(409, DONE, QUERY),
        run(422, "new", {}),
    ],
    "getRun": [
        run(200, DONE),
        run(200, DONE, query="?outputs=false"),
        run(200, FAILED),
        run(200, ASKS),
        run(404, "none"),
        run(410, OLD),
        run(422, "x" * 256),
    ],
    "deleteRun": [run(204, DONE), run(409, SLEEPS), run(404, "none")],
    "readLog": [
        run(200, DONE),
        run(200, DONE, headers=AS_TEXT),
        run(206, DONE, headers={**AS_TEXT, **PART}),
        run(406, DONE, headers={"Accept": "image/png"}),
        run(416, DONE, headers={**AS_TEXT, "Range": "bytes=9999-"}),
        run(404, "none"),
        run(422, DONE, query="?wait=-1"),
    ],
    "readRecords": [run(200, DONE), run(200, FAILED), run(200, ASKS), run(404, "none")],
    "followRun": [run(200, DONE), run(204, DONE, query="?after=9999"), run(404, "none")],
    "listArtifacts": [run(200, DONE), run(404, "none")],
    "getArtifact": [
        Call(200, {"run_id": DONE, "artifact_id": "ARTIFACT"}),
        Call(206, {"run_id": DONE, "artifact_id": "ARTIFACT"}, headers=PART),
        Call(404, {"run_id": DONE, "artifact_id": "none"}),
        Call(416, {"run_id": DONE, "artifact_id": "ARTIFACT"}, headers={"Range": "bytes=999-"}),
    ],
    "getNotebook": [run(200, DONE), run(404, "none")],
    "inspectNotebook": [
        Call(200, value={"notebook": NOTEBOOK}),
        Call(422, value={"notebook": {}}),
    ],
    "giveInput": [
        run(200, ASKS, {"value": "Ada", "prompt_id": 1}),
        run(409, ASKS, {"value": "Ada", "prompt_id": 7}),
        run(409, SLEEPS, {"value": "Ada"}),
        run(422, ASKS, {}),
    ],
    "cancelRun": [
        run(200, DONE, {}),
        run(202, SLEEPS, {"grace": 1}),
        run(404, "none", {}),
        run(422, ASKS, {"grace": -1}),
    ],
    "execute": [
        kernel(200, value={"mode": "query", "code": "print x", "options": {"wait": 0}}),
        kernel(200, value={"mode": "continue", "runId": DONE, "options": {"after": 0}}),
        kernel(200, "OTHER", {"mode": "continue", "runId": ASKS, "options": {"after": 0}}),
        kernel(404, "none", {"mode": "query", "code": "print x"}),
        kernel(409, value={"mode": "input", "runId": DONE, "code": "x"}),
        kernel(422, value={"mode": "query"}),
    ],
    "getVersion": [Call(200), NOBODY],
    "getStatus": [Call(200), NOBODY],
    "getMe": [
        Call(200, query="?permissions=" + quote('{"kernels": ["read"]}')),
        Call(400, query="?permissions=x"),
    ],
    "listKernels": [Call(200), Call(403, headers={"Host": "evil.example"})],
    "createKernel": [
        Call(201, value={}),
        Call(400, value={"env": 7}),
        Call(404, value={"name": "no"}),
    ],
    "getKernel": [kernel(200), kernel(404, "none")],
    "deleteKernel": [kernel(204), kernel(404, "none")],
    "interruptKernel": [kernel(204), kernel(404, "none")],
    "restartKernel": [kernel(200), kernel(404, "none")],
    "getKernelHealth": [kernel(200), kernel(404, "none")],
    "setHealthCheck": [
        kernel(200, value={"expression": "well"}),
        kernel(200, value={"expression": None}),
        kernel(400, value={}),
    ],
    "getKernelOutput": [
        kernel(200),
        kernel(200, headers=AS_TEXT),
        kernel(404, "none"),
        kernel(406, headers={"Accept": "image/png"}),
    ],
    "listKernelSpecs": [Call(200), NOBODY],
    "getKernelSpec": [
        Call(200, {"kernelspec": "python3"}),
        Call(404, {"kernelspec": "none"}),
    ],
    "getKernelSpecFile": [Call(404, {"kernelspec": "python3", "file": "none"})],
    "listSessions": [Call(200), NOBODY],
    "openSession": [Call(201, value={"path": "a.ipynb"}), Call(400, value={})],
    "getSession": [Call(200, {"session_id": "SESSION"}), Call(404, {"session_id": "none"})],
    "changeSession": [
        Call(200, {"session_id": "SESSION"}, {"path": "c.ipynb"}),
        Call(400, {"session_id": "SESSION"}, {"path": ""}),
    ],
    "endSession": [Call(204, {"session_id": "SESSION"}), Call(404, {"session_id": "none"})],
    "getHealth": [Call(200), NOBODY],
    "getReadiness": [Call(200), NOBODY],
    "getLimits": [Call(200), NOBODY],
    "getOpenApi": [Call(200), NOBODY],
}


class World:
    """A gateway with something of everything, and its own description."""

    def __init__(self, gateway: Gateway, document: Any) -> None:
        self.gateway = gateway
        self.description = Description(document)
        self._operations = {
            operation["operationId"]: (verb, path)
            for verb, path, operation in self.description.operations()
        }
        self._ids: dict[str, str] = {}

    async def filled(self) -> World:
        gateway = self.gateway
        kernel_id = await gateway.new_kernel()
        self._ids["KERNEL"] = kernel_id
        done = await gateway.run(
            MUCH,
            kernel=kernel_id,
            runId=DONE,
            labels={"team": "risk"},
            context={"customer": "ada"},
            webhook=HOOK,
        )
        assert "ok" == done["outcome"], done
        self._ids["ARTIFACT"] = done["artifacts"][0]["id"]
        await gateway.run("raise ValueError no", kernel=kernel_id, runId=FAILED)
        await gateway.run("print x", kernel=kernel_id, runId=OLD)
        assert 204 == (await gateway.delete(f"/api/runs/{OLD}")).status
        other = self._ids["OTHER"] = await gateway.new_kernel()
        await gateway.run("input Name?", kernel=other, runId=ASKS, wait=0)
        await gateway.run("sleep", kernel=kernel_id, runId=SLEEPS, wait=0)
        while not (await gateway.get(f"/api/runs/{done['uid']}")).json["webhook"]["deliveries"]:
            pass
        opened = await gateway.post("/api/sessions", {"path": "b.ipynb"})
        self._ids["SESSION"] = opened.json["id"]
        page = f"/api/runs/{ASKS}/records?wait=9&after="
        after = 0
        while (await gateway.get(f"/api/runs/{ASKS}")).json["state"] != "waiting-input":
            after = (await gateway.get(f"{page}{after}")).json["next"]
        return self

    async def call(self, name: str, call: Call) -> Response:
        verb, template = self._operations[name]
        path = re.sub(r"{(\w+)}", lambda match: self._segment(call.names[match[1]]), template)
        value = call.value
        if isinstance(value, dict) and value.get("kernel") == "KERNEL":
            value = {**value, "kernel": self._ids["KERNEL"]}
        answer = await self.gateway.call(
            verb,
            path + call.query,
            value,
            body=call.body,
            headers=call.headers,
            token=call.token,
        )
        assert [] == self.description.faults_of(verb, template, answer), answer.body
        return answer

    def _segment(self, name: str) -> str:
        return quote(self._ids.get(name, name), safe="")


class Pleased:
    """Sends nothing, and was thanked for it."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return Answer(status=200)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_gateway(tmp_path, sender=Pleased()) as gateway:
        document = (await gateway.get("/api/openapi.json")).json
        yield await World(gateway, document).filled()


@pytest.mark.parametrize("name", CASES)
async def test_answers_are_as_the_document_says(world: World, name: str) -> None:
    found = [(await world.call(name, call)).status for call in CASES[name]]
    assert [call.status for call in CASES[name]] == found


async def test_every_operation_is_tried(gateway: Gateway) -> None:
    document = (await gateway.get("/api/openapi.json")).json
    names = {
        operation["operationId"]
        for _, _, operation in Description(document).operations()
        if "backendai" not in operation["tags"] and "101" not in operation["responses"]
    }
    assert set(CASES) == names


async def test_events_are_the_records_that_the_document_describes(world: World) -> None:
    path = f"/api/runs/{quote(DONE, safe='')}/events"
    async with listening(world.gateway, path) as stream:
        events = await stream.rest()
    record = {"$ref": "#/components/schemas/Record"}
    assert [] == [one for one in events if world.description.faults(one.data, record)]
    kinds = {event.kind for event in events}
    assert {"state", "step", "log", "output", "update", "clear", "artifact", "completed"} == kinds


async def test_it_describes_the_routes_below_the_base_url(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, base_url="/gw")
    async with running_gateway(tmp_path, settings) as gateway:
        assert 404 == (await gateway.get("/api/openapi.json")).status
        document = (await gateway.get("/gw/api/openapi.json")).json
    assert [{"url": "/gw"}] == document["servers"]
    assert "1.2.3" == document["info"]["version"]


async def test_a_gateway_that_takes_nothing_new_says_so_as_described(world: World) -> None:
    world.gateway.service.drain()
    assert 503 == (await world.call("getReadiness", Call(503))).status
    assert 503 == (await world.call("createRun", Call(503, value=QUERY))).status
