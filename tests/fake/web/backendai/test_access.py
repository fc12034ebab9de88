"""Who is let in, how often, and in which dialect errors are told."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.web.settings import BackendAISettings, WebSettings
from tests.fake.web.backendai.client import ACCESS_KEY, OTHERS_KEY, Caller, add_key
from tests.fake.web.gateway import TOKEN, Gateway, authorization, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

CALLS = [
    ("GET", "/manager/announcement"),
    ("POST", "/session"),
    ("GET", "/session/mine"),
    ("POST", "/session/mine"),
    ("PATCH", "/session/mine"),
    ("DELETE", "/session/mine?forced=true&recursive=true"),
    ("POST", "/session/mine/interrupt"),
    ("POST", "/session/mine/complete"),
    ("GET", "/session/mine/logs"),
    ("POST", "/session/mine/upload"),
    ("GET", "/session/mine/files"),
    ("GET", "/session/mine/download"),
    ("GET", "/stream/session/mine/execute"),
    ("GET", "/events/session?sessionName=mine&scope=*"),
    ("POST", "/admin/gql"),
    ("GET", "/session/mine/no-such"),
    ("POST", "/session/_/create-from-template"),
]

#: What is changed after signing, and what it leads to.
CHANGES: list[tuple[dict[str, str | None], int, str]] = [
    ({"Authorization": None}, 401, "auth-failed"),
    ({"Authorization": "token no"}, 401, "auth-failed"),
    ({"Authorization": "BackendAI"}, 400, "invalid-auth-params"),
    ({"Authorization": "Basic YTpi"}, 400, "invalid-auth-params"),
    ({"Date": None}, 400, "invalid-auth-params"),
]


def check_problem(answer: Any, status: int, slug: str) -> None:
    assert (status, f"https://api.backend.ai/probs/{slug}") == (answer.status, answer.json["type"])
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert answer.json["title"]
    assert {"type", "title", "msg", "data"} >= set(answer.json)
    assert b"Traceback" not in answer.body


async def test_the_version_is_told_without_a_signature(gateway: Gateway) -> None:
    answer = await gateway.get("/", token=None)
    assert {"version": "v7.20230615", "manager": "1.2.3"} == answer.json
    assert "application/json" == answer.headers["Content-Type"]


async def test_only_the_probe_goes_unsigned_at_the_root(gateway: Gateway) -> None:
    assert 401 == (await gateway.post("/", token=None)).status
    assert 403 == (await gateway.get("/", token=None, headers={"Host": "evil.example"})).status


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_every_call_is_signed(caller: Caller, method: str, path: str) -> None:
    async def refused(who: Caller, status: int, slug: str) -> None:
        check_problem(await who.call(method, path, {}), status, slug)
        check_problem(await who.call(method, path), status, slug)

    await refused(replace(caller, secret="wrong"), 401, "auth-failed")
    await refused(replace(caller, access_key="AKIANOBODY"), 401, "auth-failed")
    for changes, status, slug in CHANGES:
        await refused(replace(caller, changes=changes), status, slug)
    assert [] == caller.gateway.launcher.kernels


async def test_an_unsigned_call_without_a_date_has_bad_parameters(gateway: Gateway) -> None:
    check_problem(await gateway.get("/session/mine", token=None), 400, "invalid-auth-params")


async def test_a_signature_is_of_one_call(caller: Caller) -> None:
    signed = caller.signed("GET", "/manager/announcement", "")
    signed["Content-Type"] = "text/plain"
    answer = await caller.gateway.get("/manager/announcement", token=None, headers=signed)
    check_problem(answer, 401, "auth-failed")


@pytest.mark.parametrize("path", ["/session/mine", "/api/kernels"])
async def test_a_refusal_leaves_the_connection_as_it_was(gateway: Gateway, path: str) -> None:
    """Nobody would expect it to be closed: the next call on it would be lost."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        for _ in range(3):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            assert length is not None
            assert (
                b"message" in (body := await reader.readexactly(int(length[1]))) or b"msg" in body
            )
    finally:
        writer.close()


async def test_a_revoked_key_is_an_unknown_one(gateway: Gateway) -> None:
    await add_key(gateway, ACCESS_KEY, revoked_at=1.0)
    check_problem(await Caller(gateway).get("/manager/announcement"), 401, "auth-failed")


async def test_the_date_may_have_a_header_of_its_own(caller: Caller) -> None:
    headers = caller.signed("GET", "/manager/announcement")
    headers["X-BackendAI-Date"] = headers.pop("Date")
    answer = await caller.gateway.get("/manager/announcement", token=None, headers=headers)
    assert 200 == answer.status


async def test_the_names_of_the_days_of_sorna_are_known(caller: Caller) -> None:
    headers = caller.signed("GET", "/manager/announcement")
    headers["X-Sorna-Date"] = headers.pop("Date")
    headers["Authorization"] = headers["Authorization"].replace("BackendAI", "Sorna")
    answer = await caller.gateway.get("/manager/announcement", token=None, headers=headers)
    assert 200 == answer.status


async def test_a_version_that_is_not_spoken_is_refused(caller: Caller) -> None:
    headers = caller.signed("GET", "/manager/announcement", version="v1.20160915")
    answer = await caller.gateway.get("/manager/announcement", token=None, headers=headers)
    check_problem(answer, 400, "invalid-api-params")


async def test_the_token_opens_these_routes_too(gateway: Gateway) -> None:
    await gateway.post("/session", {"name": "mine", "image": "python"})
    assert "RUNNING" == (await gateway.get("/session/mine")).json["status"]
    by_query = await gateway.get("/session/mine?token=s3cret-t%C3%B6k%C3%A9n", token=None)
    assert 200 == by_query.status
    kernels = (await gateway.get("/api/kernels")).json
    assert 1 == len(kernels), "one owner, whichever the door"


async def test_no_page_of_another_site_can_use_a_token_in_a_query(gateway: Gateway) -> None:
    query = "/session?token=s3cret-t%C3%B6k%C3%A9n"
    answer = await gateway.post(
        query, body=b"{}", token=None, headers={"Content-Type": "text/plain"}
    )
    check_problem(answer, 400, "invalid-api-params")


async def test_another_host_name_is_refused(caller: Caller) -> None:
    answer = await caller.get("/session/mine", headers={"Host": "evil.example"})
    check_problem(answer, 403, "generic-forbidden")


async def test_owners_do_not_see_each_other(caller: Caller, other: Caller) -> None:
    made = await caller.create()
    for path in ("/session/mine", f"/session/{made['sessionId']}"):
        answer = await other.get(path)
        check_problem(answer, 404, "object-not-found")
        assert "No such session." == answer.json["title"]


async def test_nobody_acts_for_somebody_else(caller: Caller, other: Caller) -> None:
    await caller.create()
    answer = await other.get(f"/session/mine?owner_access_key={ACCESS_KEY}")
    check_problem(answer, 403, "generic-forbidden")
    body = {"name": "mine", "image": "python", "owner_access_key": OTHERS_KEY}
    check_problem(await caller.post("/session", body), 403, "generic-forbidden")
    own = await caller.get(f"/session/mine?owner_access_key={ACCESS_KEY}")
    assert 200 == own.status


async def test_post_may_stand_for_another_method(caller: Caller) -> None:
    await caller.create()
    for method in ("POST", "DELETE"):  # whichever is signed
        signed = caller.signed(method, "/session/mine", "application/json")
        headers = {**signed, "X-Method-Override": "delete", "Content-Type": "application/json"}
        answer = await caller.gateway.post("/session/mine", token=None, headers=headers)
        assert answer.status == (200 if method == "POST" else 404)
    answer = await caller.post("/session/mine", headers={"X-Method-Override": "BREW"})
    check_problem(answer, 405, "method-not-allowed")
    await caller.create()
    answer = await caller.get("/session/mine", headers={"X-Method-Override": "DELETE"})
    assert "RUNNING" == answer.json["status"]


async def test_unknown_paths_and_methods_are_named(caller: Caller) -> None:
    for path in ("/session/mine/rename", "/stream/session/mine/pty", "/session/_/logs", "/admin/x"):
        check_problem(await caller.get(path), 404, "url-not-found")
        check_problem(await caller.post(path, {}), 404, "url-not-found")
    answer = await caller.call("PUT", "/session/mine", {})
    check_problem(answer, 405, "method-not-allowed")
    assert "GET, POST, PATCH, DELETE" == answer.headers["Allow"]


async def test_a_verb_that_nobody_knows_is_no_method_either(caller: Caller) -> None:
    signed = caller.signed("BREW", "/session/mine")
    lines = [f"{name}: {value}" for name, value in signed.items()]
    head = "\r\n".join(["BREW /session/mine HTTP/1.1", "Host: localhost", *lines])
    answer = await caller.gateway.raw(f"{head}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"method-not-allowed" in answer


@pytest.mark.logs_error(r"failed on our side, id [0-9a-f]{32} \(ZeroDivisionError")
async def test_a_fault_of_ours_is_told_by_its_id_alone(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        return 1 / 0

    caller.gateway.service.session = broken  # type: ignore[method-assign, assignment]
    answer = await caller.get("/session/mine")
    check_problem(answer, 500, "internal-server-error")
    assert b"Zero" not in answer.body
    said = next(r.getMessage() for r in caplog.records if "failed on our side" in r.getMessage())
    assert any(word in said for word in answer.json["msg"].split())


async def test_calls_are_counted(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, backendai=BackendAISettings(rate_limit=3))
    async with running_gateway(tmp_path, settings) as gateway:
        await add_key(gateway, ACCESS_KEY)
        caller = Caller(gateway)
        for left in ("2", "1", "0"):  # errors count, and say so
            headers = (await caller.get("/session/none")).headers
            assert ("3", left, "900") == tuple(
                headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Window")
            )
        refused = await caller.get("/manager/announcement")
        check_problem(refused, 429, "rate-limit-exceeded")
        assert "0" == refused.headers["X-RateLimit-Remaining"]
        assert int(refused.headers["Retry-After"]) > 0
        forged = await replace(caller, secret="no").get("/manager/announcement")
        check_problem(forged, 401, "auth-failed")
        token = {"Authorization": authorization(TOKEN)}
        assert 200 == (await gateway.get("/manager/announcement", headers=token)).status


async def test_a_path_can_stand_before_all_of_it(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, backendai=BackendAISettings(base_path="/b.i/"))
    async with running_gateway(tmp_path, settings) as gateway:
        await add_key(gateway, ACCESS_KEY)
        caller = Caller(gateway)
        for root in ("/b.i", "/b.i/", "/"):
            answer = await gateway.get(root, token=None)
            assert "v7.20230615" == answer.json["version"]
        assert 200 == (await caller.get("/b.i/manager/announcement")).status
        assert 200 == (await caller.get("/manager/announcement")).status
        made = await caller.post("/b.i/session", {"name": "mine", "image": "python"})
        assert 201 == made.status
        async with caller.stream("/b.i/stream/session/mine/execute") as stream:
            await stream.begin("print x")
            assert "finished" == (await stream.until("finished"))[-1]["status"]
        assert 404 == (await gateway.get("/bXi/manager/announcement")).status


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, max_body_bytes=1000)
    async with running_gateway(tmp_path, settings) as gateway:
        await add_key(gateway, ACCESS_KEY)
        caller = Caller(gateway)
        headers = caller.signed("POST", "/session", "application/json")
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(
            [
                "POST /session HTTP/1.1",
                f"Host: 127.0.0.1:{gateway.port}",
                "Content-Type: application/json",
                "Content-Length: 1001",
                *lines,
            ]
        )
        answer = await gateway.raw(f"{head}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"invalid-api-params" in answer


async def test_a_draining_gateway_takes_nothing_new(caller: Caller) -> None:
    await caller.create()
    caller.gateway.service.drain()
    for path, body in (
        ("/session", {"name": "other", "image": "python"}),
        ("/session/mine", {"mode": "query", "code": "print x", "runId": None}),
    ):
        answer = await caller.post(path, body)
        check_problem(answer, 503, "service-unavailable")
        assert int(answer.headers["Retry-After"]) > 0


async def test_a_signed_call_to_nowhere_is_told_so_in_words_that_its_client_knows(
    caller: Caller,
) -> None:
    for path in ("/nope", "//session/mine", "/api/nope"):
        check_problem(await caller.get(path), 404, "url-not-found")


async def test_a_stream_that_is_called_as_if_it_were_a_call_says_what_it_is(
    caller: Caller,
) -> None:
    await caller.create()
    answer = await caller.get("/stream/session/mine/execute")
    check_problem(answer, 400, "invalid-api-params")
    assert "websocket" in answer.json["msg"]
