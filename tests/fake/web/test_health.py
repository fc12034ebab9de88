"""How the gateway and its kernels are, and what the limits are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import StoreUnavailable
from kernel_gateway.service import Readiness
from kernel_gateway.web.settings import WebSettings
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

READY = {"status": "ok", "ready": True, "kernels": 0, "warm": 0, "runs": 0}


async def test_a_gateway_that_serves_is_ready(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await gateway.get(path)
        told = answer.json
        taken = told.pop("descriptors")
        assert (200, READY) == (answer.status, told)
        assert 0 < taken["used"] < taken["limit"]
    await gateway.new_kernel()
    await gateway.run("sleep", wait=0)
    told = (await gateway.get("/readyz")).json
    assert 1 == told["runs"]
    assert told["kernels"] >= 1


@pytest.mark.parametrize(
    ("draining", "fault", "status"),
    [(True, None, "draining"), (False, "disk full", "store_unavailable")],
)
async def test_a_gateway_that_takes_nothing_new_lives_and_is_not_ready(
    gateway: Gateway, draining: bool, fault: str | None, status: str
) -> None:
    def readiness() -> Readiness:
        return Readiness(draining=draining, store_fault=fault, kernels=0, warm=0, runs=0)

    gateway.service.readiness = readiness  # type: ignore[method-assign]
    alive, ready = await gateway.get("/healthz"), await gateway.get("/readyz")
    assert (200, 503) == (alive.status, ready.status)
    assert _lasting(alive.json) == _lasting(ready.json)
    assert (status, False) == (ready.json["status"], ready.json["ready"])


def _lasting(told: dict[str, Any]) -> dict[str, Any]:
    """But for the descriptors: connections come and go with each call."""
    return {name: value for name, value in told.items() if name != "descriptors"}


async def test_limits_are_told_as_they_are_set(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, limits={"line_bytes": 7, "step_s": None})
    async with running_gateway(tmp_path, settings) as gateway:
        answer = await gateway.get("/api/limits")
    assert (200, {"line_bytes": 7, "step_s": None}) == (answer.status, answer.json)


# -- kernels ---------------------------------------------------------------------------------------


async def test_a_kernel_that_answers_is_healthy(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print a")
    answer = await gateway.get(f"/api/kernels/{kernel_id}/health")
    assert 200 == answer.status
    assert {"status", "checked_at", "message", "check"} == set(answer.json)
    assert ("healthy", None) == (answer.json["status"], answer.json["check"])
    assert answer.json["checked_at"].endswith("Z")


async def test_a_kernel_has_a_check_of_its_users_own(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print a")
    path = f"/api/kernels/{kernel_id}/health"
    for value, status, passed in (("True", "healthy", True), ("False", "unhealthy", False)):
        gateway.kernel.expressions["well"] = value
        told = await gateway.put(path, {"expression": "well"})
        assert (200, status, passed) == (
            told.status,
            told.json["status"],
            told.json["check"]["ok"],
        )
    gone = await gateway.put(path, {"expression": None})
    assert ("healthy", None) == (gone.json["status"], gone.json["check"])


@pytest.mark.parametrize("body", [{}, {"expression": 7}, {"expression": "a\0"}, {"x": 1}])
async def test_a_check_that_cannot_be_is_400_as_on_jupyters_routes(
    gateway: Gateway, body: dict[str, Any]
) -> None:
    kernel_id = await gateway.new_kernel()
    answer = await gateway.put(f"/api/kernels/{kernel_id}/health", body)
    assert (400, "invalid_field") == (answer.status, answer.error["code"])
    assert {"message", "reason", "error"} == set(answer.json)


async def test_what_a_process_has_written_itself_is_told(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "setup it is üp\nprint a")
    path = f"/api/kernels/{kernel_id}/output"
    answer = await gateway.get(path)
    assert {"text": "it is üp\n", "dropped": 0, "generation": 1} == answer.json
    plain = await gateway.get(path, headers={"Accept": "text/plain"})
    assert "text/plain; charset=utf-8" == plain.headers["Content-Type"]
    assert "it is üp\n" == plain.body.decode()
    refused = await gateway.get(path, headers={"Accept": "image/png"})
    assert (406, "not_acceptable") == (refused.status, refused.error["code"])
    assert {"message", "reason", "error"} == set(refused.json)


async def test_a_kernel_of_somebody_else_has_neither(gateway: Gateway) -> None:
    for verb, rest in (("GET", "health"), ("PUT", "health"), ("GET", "output")):
        body = {"expression": None} if verb == "PUT" else None
        answer = await gateway.call(verb, f"/api/kernels/none/{rest}", body)
        assert (404, "kernel_not_found") == (answer.status, answer.error["code"])
        assert {"message", "reason", "error"} == set(answer.json)


async def test_a_store_that_fails_is_503_with_a_time_to_come_back(gateway: Gateway) -> None:
    async def refused(*_: Any) -> Any:
        raise StoreUnavailable("The store takes nothing.")

    gateway.service.submit = refused  # type: ignore[method-assign, assignment]
    answer = await gateway.post("/api/runs", {"mode": "query", "code": "print a"})
    assert (503, "store_unavailable") == (answer.status, answer.error["code"])
    assert answer.headers["Retry-After"]
