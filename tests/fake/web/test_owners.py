"""Several tokens: what belongs to one owner does not exist for another."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.service import Owner
from kernel_gateway.web.settings import WebSettings
from tests.fake.web.gateway import JSON, TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ADA, ALAN = "of-ada", "of-alan"
OWNERS = {Owner("ada"): ADA, Owner("alan"): ALAN}


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = WebSettings(token=TOKEN, port=0, owner_tokens=OWNERS)
    async with running_gateway(tmp_path, settings) as running:
        yield running


async def test_a_kernel_is_its_owners_alone(shared: Gateway) -> None:
    created = await shared.post("/api/kernels", {}, token=ADA)
    assert (201, "ada") == (created.status, created.json["owner"])
    path = f"/api/kernels/{created.json['id']}"
    for token in (ALAN, TOKEN):
        assert [] == (await shared.get("/api/kernels", token=token)).json
        for verb, route in (
            ("GET", path),
            ("DELETE", path),
            ("POST", f"{path}/interrupt"),
            ("POST", f"{path}/restart"),
        ):
            answer = await shared.call(verb, route, token=token)
            assert (404, "kernel_not_found") == (answer.status, answer.error["code"])
    assert [created.json["id"]] == [k["id"] for k in (await shared.get(KERNELS, token=ADA)).json]


KERNELS = "/api/kernels"


async def test_every_token_opens_in_every_form(shared: Gateway) -> None:
    for token, owner in ((ADA, "ada"), (ALAN, "alan")):
        for headers in ({"Authorization": f"TOKEN {token}"}, {"Authorization": f"bearer {token}"}):
            answer = await shared.get("/api/me", token=None, headers=headers)
            assert owner == answer.json["identity"]["username"]
        by_query = await shared.get(f"/api/me?token={token}", token=None)
        assert owner == by_query.json["identity"]["username"]


async def test_backend_ai_routes_know_the_owner_too(shared: Gateway) -> None:
    query = "owner_access_key="
    for token, owner, status in ((ADA, "ada", 404), (ADA, "alan", 403), (ALAN, "alan", 404)):
        answer = await shared.get(f"/session/nobody?{query}{owner}", token=token)
        assert status == answer.status


async def test_no_token_is_logged(shared: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    carrier = "v1.token.websocket.jupyter.org."
    await shared.get(f"/api?token={ADA}", token=None)
    await shared.get("/api", token=ALAN)
    for token in (ADA, "wr0ng"):
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol": f"{carrier}{token}",
        }
        for path in ("/api/kernels/none/channels", "/stream/session/none/execute"):
            answer = await shared.get(path, token=None, headers=upgrade)
            assert (404 if token == ADA else 401) == answer.status
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "/api?token=[secret]" in said
    for token in (TOKEN, ADA, ALAN, "wr0ng"):
        assert token not in said


async def test_a_token_in_a_subprotocol_is_none_for_a_plain_call(shared: Gateway) -> None:
    headers = {**JSON, "Sec-WebSocket-Protocol": f"v1.token.websocket.jupyter.org.{ADA}"}
    assert 401 == (await shared.get("/api", token=None, headers=headers)).status
