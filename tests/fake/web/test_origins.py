"""Pages of other origins: what their browsers are told (CORS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.web.settings import OriginSettings, WebSettings
from tests.fake.web.gateway import JSON, TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOTES = "https://notes.example"
EVIL = "https://evil.example"
PATHS = ["/api", "/api/kernels", "/api/kernels/none", "/no/such/route", "/session/x", "/"]


def settings(**origins: Any) -> WebSettings:
    return WebSettings(token=TOKEN, port=0, origins=OriginSettings(**origins))


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Gateway]:
    """To the pages of one other origin."""
    async with running_gateway(tmp_path, settings(allow_origin=(NOTES,))) as running:
        yield running


def shared(answer: Any) -> dict[str, str]:
    return {
        name.removeprefix("Access-Control-"): value
        for name, value in answer.headers.items()
        if name.startswith("Access-Control-")
    }


async def preflight(gateway: Gateway, path: str, origin: str = NOTES) -> Any:
    """What a browser sends before a call with a token: without one."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return await gateway.call("OPTIONS", path, token=None, headers=headers)


@pytest.mark.parametrize("path", PATHS)
async def test_an_allowed_page_may_ask_what_it_may_do(opened: Gateway, path: str) -> None:
    answer = await preflight(opened, path)
    assert (204, b"") == (answer.status, answer.body)
    assert NOTES == answer.headers["Access-Control-Allow-Origin"]
    assert "Origin" == answer.headers["Vary"]
    assert "GET, POST, PUT, PATCH, DELETE" == answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "Last-Event-ID", "Prefer", "Range"} < {*allowed}
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Allow" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
async def test_another_page_is_told_nothing(opened: Gateway, path: str) -> None:
    for origin in (EVIL, "null"):
        answer = await preflight(opened, path, origin)
        assert (answer.status in {400, 401}, {}) == (True, shared(answer))


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_may_ask_unless_the_deployer_wants_it(gateway: Gateway, path: str) -> None:
    answer = await preflight(gateway, path)
    assert (answer.status in {400, 401}, {}) == (True, shared(answer))


async def test_a_question_for_another_host_is_refused(opened: Gateway) -> None:
    headers = {"Origin": NOTES, "Access-Control-Request-Method": "GET", "Host": "evil.example"}
    answer = await opened.call("OPTIONS", "/api", token=None, headers=headers)
    assert (403, "host_refused") == (answer.status, answer.error["code"])


async def test_options_that_no_browser_asks_need_a_token_like_all(opened: Gateway) -> None:
    for headers in ({}, {"Origin": NOTES}, {"Access-Control-Request-Method": "GET"}):
        assert 401 == (await opened.call("OPTIONS", "/api", token=None, headers=headers)).status
        assert 405 == (await opened.call("OPTIONS", "/api", headers=headers)).status


async def test_an_allowed_page_may_read_answers_and_errors(opened: Gateway) -> None:
    for path, token, status in (
        ("/api", TOKEN, 200),
        ("/api/kernels/none", TOKEN, 404),
        ("/api", None, 401),
        ("/session/none", None, 400),
    ):
        answer = await opened.get(path, token=token, headers={"Origin": NOTES})
        assert status == answer.status
        told = shared(answer)
        exposed = told.pop("Expose-Headers").split(", ")
        assert {"Allow-Origin": NOTES} == told
        assert {"Content-Range", "ETag", "Location", "Retry-After"} < {*exposed}
        assert "Origin" == answer.headers["Vary"]


async def test_another_page_may_not_read_them(opened: Gateway) -> None:
    for headers in ({"Origin": EVIL}, {}):
        answer = await opened.get("/api", headers=headers)
        assert (200, {}, "Origin") == (answer.status, shared(answer), answer.headers["Vary"])


async def test_an_allowed_page_may_change_things(opened: Gateway) -> None:
    created = await opened.post("/api/kernels", {}, headers={"Origin": NOTES})
    assert (201, NOTES) == (created.status, created.headers["Access-Control-Allow-Origin"])
    with_query = "/api/kernels?token=s3cret-t%C3%B6k%C3%A9n"
    for headers, status in (({**JSON, "Origin": NOTES}, 201), ({"Origin": NOTES}, 415)):
        answer = await opened.call("POST", with_query, body=b"{}", token=None, headers=headers)
        assert status == answer.status


async def test_our_own_page_may_change_things(gateway: Gateway) -> None:
    own = {"Origin": f"http://127.0.0.1:{gateway.port}"}
    assert 201 == (await gateway.post("/api/kernels", {}, headers=own)).status
    for other in (f"https://127.0.0.1:{gateway.port}", "http://127.0.0.1:1", "null"):
        answer = await gateway.post("/api/kernels", {}, headers={"Origin": other})
        assert (403, "origin_refused") == (answer.status, answer.error["code"])


async def test_each_option_has_its_header(tmp_path: Path) -> None:
    chosen = settings(
        allow_origin_pat=r"https://\w+\.lab\.example",
        allow_credentials=True,
        allow_headers=("X-A", "X-B"),
        allow_methods=("GET",),
        expose_headers=("X-C",),
        max_age_s=600,
    )
    async with running_gateway(tmp_path, chosen) as gateway:
        page = "https://ada.lab.example"
        answer = await preflight(gateway, "/api", page)
        assert shared(answer) == {
            "Allow-Origin": page,
            "Allow-Credentials": "true",
            "Allow-Headers": "X-A, X-B",
            "Allow-Methods": "GET",
            "Expose-Headers": "X-C",
            "Max-Age": "600",
        }
        assert 401 == (await preflight(gateway, "/api", f"{page}.evil.example")).status


async def test_a_star_lets_every_page_in_that_has_the_token(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, settings(allow_origin=("*",))) as gateway:
        for page in (EVIL, "null"):
            assert 204 == (await preflight(gateway, "/api/kernels", page)).status
            answer = await gateway.post("/api/kernels", {}, headers={"Origin": page})
            assert (201, page) == (answer.status, answer.headers["Access-Control-Allow-Origin"])
        assert 401 == (await gateway.get("/api", token=None, headers={"Origin": EVIL})).status
