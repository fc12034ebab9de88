"""All routes below a path, for a proxy that passes it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel_gateway.web.settings import BackendAISettings, WebSettings
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def below(tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = WebSettings(
        token=TOKEN, port=0, base_url="/user/a.b", backendai=BackendAISettings(base_path="/bai")
    )
    async with running_gateway(tmp_path, settings) as running:
        yield running


async def test_the_routes_are_below_the_path_and_nowhere_else(below: Gateway) -> None:
    for route in ("/api", "/api/kernels", "/api/status", "/api/me", "/api/kernelspecs"):
        assert 200 == (await below.get(f"/user/a.b{route}")).status
        assert 404 == (await below.get(route)).status
    for path in ("/user/a.b", "/user/a.b/", "/user/a.b/bai", "/user/a.b/bai/"):
        assert 200 == (await below.get(path)).status
    for path in ("/", "/bai", "/user/axb/api", "/user/a.b.c/api", "/user/a.bapi", "/user"):
        answer = await below.get(path)
        assert (404, "route_not_found") == (answer.status, answer.error["code"])
        assert "Location" not in answer.headers


async def test_backend_ai_is_below_it_too(below: Gateway) -> None:
    for prefix, status in (("/user/a.b", 200), ("/user/a.b/bai", 200), ("/bai", 404), ("", 404)):
        assert status == (await below.get(f"{prefix}/manager/announcement")).status


async def test_who_asks_whether_we_live_need_not_know_it(below: Gateway) -> None:
    for path in ("/healthz", "/user/a.b/healthz", "/readyz", "/user/a.b/readyz"):
        assert 200 == (await below.get(path)).status
        assert 401 == (await below.get(path, token=None)).status


async def test_what_is_linked_carries_it(below: Gateway) -> None:
    created = await below.post("/user/a.b/api/kernels", {})
    kernel = f"/user/a.b/api/kernels/{created.json['id']}"
    assert kernel == created.headers["Location"]
    executed = await below.post(f"{kernel}/execute", {"mode": "query", "code": "print 1"})
    run = (await below.get(f"/user/a.b/api/runs/{executed.json['runId']}?outputs=false")).json
    for link in run["links"].values():
        assert link.startswith("/user/a.b/api/runs/")
    assert run["uid"] == (await below.get(run["links"]["self"])).json["uid"]
    listed = (await below.get("/user/a.b/api/runs")).json["items"]
    assert [run["links"]] == [one["links"] for one in listed]
    records = (await below.get(run["links"]["records"])).json["items"]
    assert run == records[-1]["run"]
    body = {"mode": "query", "code": "print 1"}
    made = await below.put("/user/a.b/api/runs/r", body, headers={"Prefer": "wait=30"})
    assert made.json["links"]["self"] == made.headers["Location"]
    assert 200 == (await below.get(made.headers["Location"])).status


async def test_errors_keep_their_shapes(below: Gateway) -> None:
    for path in ("/api/kernels/x/y", "/api/kernelspecs/x/y", "/kernelspecs/x", "/api/sessions/x/y"):
        for there in (f"/user/a.b{path}", path):
            assert {"message", "reason", "error"} == set((await below.get(there)).json)
    assert {"error"} == set((await below.get("/user/a.b/none")).json)
