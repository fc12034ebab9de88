"""Who is let in, and what every route says when it cannot do what it was asked.

None of this changes anything: the routes of a test share its gateway, each as a subtest.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.web.settings import WebSettings
from tests.fake.web.gateway import JSON, TOKEN, Gateway, authorization, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

JUPYTER = [
    ("GET", "/api"),
    ("GET", "/api/kernels"),
    ("POST", "/api/kernels"),
    ("GET", "/api/kernels/none"),
    ("DELETE", "/api/kernels/none"),
    ("POST", "/api/kernels/none/interrupt"),
    ("POST", "/api/kernels/none/restart"),
    ("GET", "/api/kernels/none/sub/route"),
    ("GET", "/api/kernels/none/health"),
    ("PUT", "/api/kernels/none/health"),
    ("GET", "/api/kernels/none/output"),
    ("GET", "/api/kernelspecs"),
    ("GET", "/api/kernelspecs/none"),
    ("GET", "/api/kernelspecs/none/sub"),
    ("GET", "/kernelspecs/none/logo-64x64.png"),
    ("GET", "/kernelspecs/none"),
    ("GET", "/api/status"),
    ("GET", "/api/status/sub"),
    ("GET", "/api/me"),
]
OURS = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/api/limits"),
    ("POST", "/api/kernels/none/execute"),
    ("GET", "/api/runs"),
    ("POST", "/api/runs"),
    ("GET", "/api/runs/none"),
    ("PUT", "/api/runs/none"),
    ("DELETE", "/api/runs/none"),
    ("GET", "/api/runs/none/log"),
    ("GET", "/api/runs/none/records"),
    ("GET", "/api/runs/none/events"),
    ("GET", "/api/runs/none/artifacts"),
    ("GET", "/api/runs/none/artifacts/none"),
    ("GET", "/api/runs/none/notebook"),
    ("POST", "/api/runs/none/input"),
    ("POST", "/api/runs/none/cancel"),
    ("GET", "/no/such/route"),
    ("POST", "/"),
]
ALL = JUPYTER + OURS
WITH_BODY = [("POST", "/api/kernels"), ("PUT", "/api/kernels/none/health")] + [
    (verb, path) for verb, path in OURS if verb in {"POST", "PUT"} and path != "/"
]

THERE = {
    "/api",
    "/api/kernels",
    "/api/kernelspecs",
    "/api/status",
    "/api/me",
    "/api/limits",
    "/api/runs",
    "/healthz",
    "/readyz",
}

OTHER_HOSTS = ("evil.example", "localhost.evil.example", "evil.example:8888", "10.0.0.1", "")

CHANGING = [(verb, path) for verb, path in ALL if verb != "GET" and path != "/"]


def check_shape(path: str, answer: Any) -> None:
    body = answer.json
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(body["error"]["code"], str)
    assert body["error"]["message"]
    if path in {one for _, one in JUPYTER}:
        assert set(body) == {"message", "reason", "error"}
        assert body["message"] == body["error"]["message"]
    elif path != "/api":
        assert set(body) == {"error"}
    assert b"Traceback" not in answer.body
    assert TOKEN.encode() not in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "token wrong"},
        {"Authorization": "token"},
        {"Authorization": "token "},
        {"Authorization": "Bearer"},
        {"Authorization": ""},
        {"Authorization": "Basic czNjcmV0OnMzY3JldA=="},
        {"Authorization": authorization(TOKEN).removeprefix("token ")},
        {"Cookie": "token=s3cret"},
    ],
)
async def test_every_route_wants_a_token(
    gateway: Gateway, subtests: pytest.Subtests, headers: dict[str, str]
) -> None:
    for verb, path in ALL:
        with subtests.test(verb=verb, path=path):
            answer = await gateway.call(verb, path, token=None, headers=headers)
            assert answer.status == 401
            assert answer.error["code"] == "unauthorized"
            check_shape(path, answer)
            by_query = await gateway.call(verb, f"{path}?token=", token=None, headers=headers)
            assert by_query.status == 401


async def test_another_host_name_is_refused(gateway: Gateway, subtests: pytest.Subtests) -> None:
    for verb, path in ALL:
        with subtests.test(verb=verb, path=path):
            for host in OTHER_HOSTS:
                answer = await gateway.call(verb, path, headers={"Host": host})
                assert answer.status == 403, host
                assert answer.error["code"] == "host_refused"
                check_shape(path, answer)


async def test_loopback_names_are_served_at_any_port(gateway: Gateway) -> None:
    for host in ("localhost", "LOCALHOST:9999", "127.0.0.1:1", "[::1]:8888", "127.1.2.3"):
        assert (await gateway.get("/api", headers={"Host": host})).status == 200, host


async def test_names_that_the_deployer_allows_are_served(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, allowed_hosts=("lab.example",))
    async with running_gateway(tmp_path, settings) as gateway:
        assert (await gateway.get("/api", headers={"Host": "lab.example:80"})).status == 200
        assert (await gateway.get("/api", headers={"Host": "bad.example"})).status == 403


async def test_no_page_of_another_site_can_change_anything(
    gateway: Gateway, subtests: pytest.Subtests
) -> None:
    for verb, path in CHANGING:
        with subtests.test(verb=verb, path=path):
            query = f"{path}?token=s3cret-t%C3%B6k%C3%A9n"
            for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
                headers = {"Content-Type": kind}
                answer = await gateway.call(verb, query, body=b"{}", token=None, headers=headers)
                assert (answer.status, answer.error["code"]) == (415, "json_needed")
                assert "Authorization" in answer.error["message"]
            assert gateway.launcher.kernels == []


async def test_a_page_that_says_it_is_of_another_origin_can_change_nothing(
    gateway: Gateway, subtests: pytest.Subtests
) -> None:
    from_there = {**JSON, "Origin": "https://evil.example"}
    for verb, path in CHANGING:
        with subtests.test(verb=verb, path=path):
            query = f"{path}?token=s3cret-t%C3%B6k%C3%A9n"
            for target, token in ((path, TOKEN), (query, None)):
                answer = await gateway.call(
                    verb, target, body=b"{}", token=token, headers=from_there
                )
                assert (answer.status, answer.error["code"]) == (403, "origin_refused")
                check_shape(path, answer)
            assert gateway.launcher.kernels == []


async def test_a_token_in_the_query_opens_with_a_json_type(gateway: Gateway) -> None:
    answer = await gateway.call(
        "POST",
        "/api/kernels?token=s3cret-t%C3%B6k%C3%A9n",
        body=b"{}",
        token=None,
        headers=JSON,
    )
    assert answer.status == 201


async def test_no_answer_is_a_page_or_shared(gateway: Gateway, subtests: pytest.Subtests) -> None:
    for verb, path in (*ALL, ("PATCH", "/api"), ("PUT", "/api/kernels")):
        with subtests.test(verb=verb, path=path):
            answer = await gateway.call(verb, path, headers={"Origin": "https://evil.example"})
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert not [name for name in answer.headers if name.startswith("Access-Control-")]
            assert "Set-Cookie" not in answer.headers
            assert "Location" not in answer.headers or answer.status == 201


async def test_what_does_not_exist_is_told_in_json(
    gateway: Gateway, subtests: pytest.Subtests
) -> None:
    for verb, path in ALL:
        with subtests.test(verb=verb, path=path):
            body = {"POST": b"{}", "PUT": b'{"expression": null}'}.get(verb)
            answer = await gateway.call(verb, path, body=body, headers=JSON)
            if answer.status >= 400:
                check_shape(path, answer)
            there = path in THERE and (verb, path) != ("POST", "/api/runs")
            expected = {200, 201} if there else {404, 422}
            assert answer.status in expected


async def test_a_wrong_verb_is_405_and_told_the_right_one(
    gateway: Gateway, subtests: pytest.Subtests
) -> None:
    for verb, path in ALL:
        if path in ("/no/such/route", "/", "/kernelspecs/none") or "/sub" in path:
            continue
        with subtests.test(verb=verb, path=path):
            for wrong in ("PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "PREPARE"):
                if (wrong, path) in ALL:
                    continue
                answer = await gateway.call(wrong, path)
                assert answer.status == 405, wrong
                if wrong == "PATCH":
                    assert verb in answer.headers["Allow"].split(", ")
                    assert answer.error["code"] == "method_not_allowed"
                    check_shape(path, answer)


BAD_BODIES = [
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"7",
    b"\xff\xfe",
    b'{"code": NaN}',
    b'{"code": Infinity}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"1" * 10_000,
    b'{"code": "\xff"}',
    b'{"code": "a\nb"}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:12]))
async def test_what_is_no_json_object_is_400(
    gateway: Gateway, subtests: pytest.Subtests, body: bytes
) -> None:
    for verb, path in WITH_BODY:
        with subtests.test(verb=verb, path=path):
            answer = await gateway.call(verb, path, body=body, headers=JSON)
            assert (answer.status, answer.error["code"]) == (400, "bad_json")
            check_shape(path, answer)


async def test_routes_of_runs_want_a_json_type(gateway: Gateway, subtests: pytest.Subtests) -> None:
    for verb, path in (one for one in WITH_BODY if one in OURS):
        with subtests.test(verb=verb, path=path):
            for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
                answer = await gateway.call(verb, path, body=b"{}", headers={"Content-Type": kind})
                assert (answer.status, answer.error["code"]) == (415, "json_needed")
                assert "-H 'Content-Type: application/json'" in answer.error["message"]


@pytest.mark.parametrize("segment", ["%ff", "%ed%a0%80", "%00", "a%0ab", "x" * 256])
async def test_a_run_id_that_cannot_be_is_422(gateway: Gateway, segment: str) -> None:
    for rest in ("", "/log", "/records", "/events", "/artifacts", "/artifacts/x", "/notebook"):
        answer = await gateway.get(f"/api/runs/{segment}{rest}")
        assert (answer.status, answer.error["field"]) == (422, "id")


async def test_a_kernel_id_can_be_anything_that_is_not_there(gateway: Gateway) -> None:
    for segment in ("%ff", "%00", "..", "%2e%2e%2f", "x" * 10_000):
        answer = await gateway.get(f"/api/kernels/{segment}")
        assert answer.status == 404, segment


# -- our own faults ------------------------------------------------------------------------------


@pytest.mark.logs_error(r"failed on our side, id [0-9a-f]{32} \(ZeroDivisionError")
async def test_a_fault_of_ours_is_told_by_its_id_alone(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        return 1 / 0

    gateway.service.kernels = broken  # type: ignore[method-assign, assignment]
    answer = await gateway.get("/api/kernels")
    assert answer.status == 500
    assert answer.error["code"] == "internal"
    assert b"Zero" not in answer.body
    record = next(r for r in caplog.records if "failed on our side" in r.getMessage())
    assert answer.error["details"]["id"] in record.getMessage()
    assert record.exc_info is not None


async def test_no_token_gets_into_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "s3cret-t%C3%B6k%C3%A9n"
    for path in ("/api", "/no", "/api/kernels?x=1&token=wrong%0d%0aline"):
        for name in ("token", "%74oken", "tok%65n"):
            mark = "&" if "?" in path else "?"
            await gateway.get(f"{path}{mark}a=b&{name}={secret}&c=d", token=None)
    await gateway.get("/api")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("kernel")]
    assert any("a=b&token=[secret]&c=d" in line for line in lines)
    assert not any("s3cret" in line or "wrong" in line for line in lines)
    assert not any("\n" in line or "\r" in line for line in lines)


async def test_errors_are_json_that_any_parser_takes(gateway: Gateway) -> None:
    answer = await gateway.execute("k", mode="query", code="x", **{"\ud800": 1, "<b>": 2})
    assert json.loads(answer.body.decode("utf-8"))["error"]["fields"].keys() == {"�", "<b>"}
