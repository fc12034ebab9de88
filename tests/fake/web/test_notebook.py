"""`/api/runs/{id}/notebook`: any run as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat

from kernel_gateway.web.runs import notebook
from tests.fake.web.gateway import Gateway, run_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


MIME = "application/x-ipynb+json"
AS_NOTEBOOK = {"Accept": MIME}


def cell(cell_id: str, source: str, kind: str = "code") -> dict[str, Any]:
    code: dict[str, Any] = {"outputs": [], "execution_count": None}
    return {
        "cell_type": kind,
        "id": cell_id,
        "metadata": {},
        "source": source,
        **(code if kind == "code" else {}),
    }


NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"title": "Täst"},
    "cells": [cell("text", "# Text", "markdown"), cell("one", "print 1"), cell("two", "raise E x")],
}


async def page_of(gateway: Gateway, uid: str) -> Any:
    answer = await gateway.get(f"/api/runs/{uid}/notebook")
    assert 200 == answer.status
    assert MIME == answer.headers["Content-Type"]
    page = answer.json
    nbformat.validate(page)
    return page


def texts(one: Mapping[str, Any]) -> list[str]:
    """Of a cell: what was printed, and the names of errors."""
    return [
        "".join(output["text"]) if output["output_type"] == "stream" else output["ename"]
        for output in one["outputs"]
    ]


async def test_a_notebook_run_is_the_notebook_that_was_sent_filled(gateway: Gateway) -> None:
    body = {"mode": "notebook", "notebook": NOTEBOOK}
    answer = await gateway.post("/api/runs", body, headers={"Prefer": "wait=30"})
    page = await page_of(gateway, answer.json["uid"])
    text, one, two = page["cells"]
    assert (["# Text"], "Täst") == (text["source"], page["metadata"]["title"])
    assert (["1\n"], ["E"]) == (texts(one), texts(two))
    assert 1 == one["execution_count"]
    assert "error" == two["metadata"]["kernel_gateway"]["state"]
    told = page["metadata"]["kernel_gateway"]
    assert (answer.json["uid"], "error") == (told["run"]["uid"], told["run"]["outcome"])
    assert "python3" == page["metadata"]["kernelspec"]["name"]


async def test_one_call_executes_a_notebook_and_brings_it_back(gateway: Gateway) -> None:
    body = {"mode": "notebook", "notebook": NOTEBOOK, "runId": "r"}
    answer = await gateway.post("/api/runs", body, headers={**AS_NOTEBOOK, "Prefer": "wait=30"})
    assert (201, MIME, "wait=30") == (
        answer.status,
        answer.headers["Content-Type"],
        answer.headers["Preference-Applied"],
    )
    page = answer.json
    nbformat.validate(page)
    assert (["1\n"], ["E"]) == (texts(page["cells"][1]), texts(page["cells"][2]))
    uid = page["metadata"]["kernel_gateway"]["run"]["uid"]
    assert f"/api/runs/{uid}" == answer.headers["Location"]
    assert page == await page_of(gateway, uid)
    again = await gateway.put("/api/runs/r", body, headers=AS_NOTEBOOK)
    assert (200, page) == (again.status, again.json)


async def test_who_waits_too_short_has_the_notebook_of_a_run_that_goes_on(gateway: Gateway) -> None:
    body = {"mode": "query", "code": "sleep"}
    page = (await gateway.post("/api/runs", body, headers=AS_NOTEBOOK)).json
    assert "finished" != page["metadata"]["kernel_gateway"]["run"]["state"]
    assert "pending" == page["cells"][0]["metadata"]["kernel_gateway"]["state"]


async def test_what_is_too_long_for_a_notebook_is_told_as_a_run(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "MOST_BYTES", 3)
    body = {"mode": "query", "code": "print abc"}
    answer = await gateway.post("/api/runs", body, headers={**AS_NOTEBOOK, "Prefer": "wait=30"})
    assert (201, "application/json") == (answer.status, answer.headers["Content-Type"])
    assert "finished" == answer.json["state"]


async def test_who_can_read_neither_creates_nothing(gateway: Gateway) -> None:
    body = {"mode": "query", "code": "print a"}
    answer = await gateway.post("/api/runs", body, headers={"Accept": "image/png"})
    assert (406, "not_acceptable") == (answer.status, answer.error["code"])
    assert [] == (await gateway.get("/api/runs")).json["items"]


async def test_a_query_is_one_cell(gateway: Gateway) -> None:
    run = await gateway.run("print a\nresult 5")
    [one] = (await page_of(gateway, run["uid"]))["cells"]
    assert ["print a\n", "result 5"] == one["source"]
    assert ["stream", "execute_result"] == [output["output_type"] for output in one["outputs"]]


async def test_a_batch_is_a_cell_a_step(gateway: Gateway) -> None:
    body = {"mode": "batch", "options": {"build": "print b", "exec": "print e"}}
    answer = await gateway.post("/api/runs", body, headers={"Prefer": "wait=30"})
    cells = (await page_of(gateway, answer.json["uid"]))["cells"]
    assert ["clean", "build", "exec"] == [one["id"] for one in cells]
    assert [[], ["b\n"], ["e\n"]] == [texts(one) for one in cells]


async def test_a_run_that_goes_on_is_told_as_far_as_it_has_come(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    run = await gateway.run("print a\nsleep\nprint b", wait=0, kernel=kernel_id)
    await gateway.get(f"/api/runs/{run['uid']}/log?wait=30")
    page = await page_of(gateway, run["uid"])
    assert ["a\n"] == texts(page["cells"][0])
    assert "running" == page["cells"][0]["metadata"]["kernel_gateway"]["state"]
    assert "script" == page["metadata"]["language_info"]["name"]


async def test_it_is_saved_under_the_id_of_its_run(gateway: Gateway) -> None:
    await gateway.run("print a", runId="ä/b")
    answer = await gateway.get(run_path("ä/b", "/notebook"))
    assert answer.headers["Content-Disposition"].endswith("filename*=UTF-8''%C3%A4_b.ipynb")


async def test_a_log_that_is_too_long_for_a_page_is_413(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in ("print abc", "display text/html abc"):
        uid = (await gateway.run(code))["uid"]
        with monkeypatch.context() as patch:
            patch.setattr(notebook, "MOST_BYTES", 3)
            answer = await gateway.get(f"/api/runs/{uid}/notebook")
        assert (413, "too_large") == (answer.status, answer.error["code"])


async def test_a_kernelspec_that_is_gone_leaves_its_place_empty(gateway: Gateway) -> None:
    uid = (await gateway.run("print a"))["uid"]
    gateway.launcher._specs = ()
    assert "kernelspec" not in (await page_of(gateway, uid))["metadata"]


async def test_a_run_that_is_not_there_has_none(gateway: Gateway) -> None:
    assert 404 == (await gateway.get("/api/runs/none/notebook")).status
