"""`/api/status` and `/api/me`, in the shapes of Jupyter's own server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from kernel_gateway.service import Owner
from kernel_gateway.web.settings import WebSettings
from tests.fake.web.gateway import TOKEN, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake.web.gateway import Gateway

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


async def test_the_status_tells_of_kernels_and_times(gateway: Gateway) -> None:
    status = (await gateway.get("/api/status")).json
    assert {"connections", "kernels", "last_activity", "started"} == set(status)
    assert (0, 0) == (status["connections"], status["kernels"])
    assert status["started"] == status["last_activity"]
    assert re.fullmatch(TIME, status["started"])


async def test_what_changes_something_is_an_activity_and_a_look_is_none(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    after = (await gateway.get("/api/status")).json
    assert 1 == after["kernels"]
    assert after["started"] < after["last_activity"]
    await gateway.query(kernel_id, "print on")
    run = (await gateway.get("/api/status")).json
    assert after["last_activity"] < run["last_activity"]
    kernel = (await gateway.get(f"/api/kernels/{kernel_id}")).json
    assert kernel["last_activity"] <= run["last_activity"]
    assert run == (await gateway.get("/api/status")).json


async def test_the_status_is_of_the_callers_own_kernels(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, owner_tokens={Owner("ada"): "of-ada"})
    async with running_gateway(tmp_path, settings) as gateway:
        await gateway.new_kernel()
        assert 1 == (await gateway.get("/api/status")).json["kernels"]
        assert 0 == (await gateway.get("/api/status", token="of-ada")).json["kernels"]


async def test_who_calls_is_told(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, owner_tokens={Owner("ada"): "of-ada"})
    async with running_gateway(tmp_path, settings) as gateway:
        for token, owner in ((TOKEN, "local"), ("of-ada", "ada")):
            answer = await gateway.get("/api/me", token=token)
            assert answer.json == {
                "identity": {
                    "username": owner,
                    "name": owner,
                    "display_name": owner,
                    "initials": None,
                    "avatar_url": None,
                    "color": None,
                },
                "permissions": {"updatable_fields": []},
            }


async def test_what_a_caller_may_do_is_told_when_asked(gateway: Gateway) -> None:
    asked = {"kernels": ["execute", "fly"], "contents": ["read"], "api": []}
    answer = await gateway.get(f"/api/me?permissions={quote(json.dumps(asked))}")
    granted = {"kernels": ["execute"], "contents": [], "api": [], "updatable_fields": []}
    assert granted == answer.json["permissions"]


@pytest.mark.parametrize("asked", ["{", "[]", "7", '{"kernels": "read"}', '{"a": [1]}', "[" * 9999])
async def test_permissions_that_are_none_are_400(gateway: Gateway, asked: str) -> None:
    answer = await gateway.get(f"/api/me?permissions={quote(asked)}")
    assert (400, "invalid_field") == (answer.status, answer.error["code"])
    assert answer.error["field"].startswith("permissions")
