"""`parameters` of a run over HTTP, and `POST /api/notebooks/inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fake.web.gateway import Gateway
    from tests.shared.http import Response

COMMANDS = "kernel-gateway-command"  # a kernelspec in whose language nothing can be said


def notebook(source: str = "a = 1", **metadata: Any) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "c",
        "metadata": {"tags": ["parameters"]},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}


def body(parameters: Any, **more: Any) -> dict[str, Any]:
    return {"mode": "notebook", "notebook": notebook(), "parameters": parameters, **more}


async def created(gateway: Gateway, parameters: Mapping[str, Any], **more: Any) -> Response:
    return await gateway.put("/api/runs/r", body(parameters, **more))


async def faults(gateway: Gateway, parameters: Any, **more: Any) -> dict[str, str]:
    answer = await gateway.post("/api/runs", body(parameters, **more))
    assert 422 == answer.status
    found: dict[str, str] = answer.error["fields"]
    return found


async def test_values_are_in_a_cell_of_their_own(gateway: Gateway) -> None:
    assert 201 == (await created(gateway, {"a": [1, "x"]})).status
    first, second = (await gateway.get("/api/runs/r/notebook")).json["cells"]
    assert ["a = 1"] == first["source"]
    assert '# Parameters\na = [1, "x"]\n' == "".join(second["source"])
    assert ["injected-parameters"] == second["metadata"]["tags"]
    steps = (await gateway.get("/api/runs/r")).json["steps"]
    assert ["c", "injected-parameters"] == [step["name"] for step in steps]


async def test_the_kernelspec_is_found_in_any_case_as_kernels_are_started_by_it(
    gateway: Gateway,
) -> None:
    assert 201 == (await created(gateway, {"a": 2}, kernel={"name": "PYTHON3"})).status
    assert 404 == (await created(gateway, {"a": 2}, kernel={"name": "cobol"})).status


async def test_values_are_part_of_what_the_run_is(gateway: Gateway) -> None:
    answers = [await created(gateway, {"a": value}) for value in (1, 1, 2)]
    assert [201, 200, 409] == [answer.status for answer in answers]


@pytest.mark.parametrize("parameters", [None, {}])
async def test_without_values_the_notebook_is_as_it_was(gateway: Gateway, parameters: Any) -> None:
    assert 201 == (await created(gateway, parameters)).status
    assert 1 == len((await gateway.get("/api/runs/r/notebook")).json["cells"])
    assert 200 == (await gateway.put("/api/runs/r", body(None))).status


async def test_a_name_that_the_notebook_does_not_have_is_refused_unless_allowed(
    gateway: Gateway,
) -> None:
    found = await faults(gateway, {"a": 1, "b": 2})
    assert {"parameters.b": "is no parameter of the notebook; it has a"} == found
    allowed = {"allow_unknown_parameters": True}
    assert 201 == (await created(gateway, {"a": 1, "b": 2}, options=allowed)).status


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"a-b": 1, "class": 2}, {"parameters.a-b", "parameters.class"}),
        ({"a": "\ud800"}, {"parameters.a"}),
        ([], {"parameters"}),
        ({f"a{number}": 1 for number in range(1001)}, {"parameters"}),
    ],
)
async def test_what_cannot_be_said_is_told_by_its_name(
    gateway: Gateway, parameters: Any, expected: set[str]
) -> None:
    options = {"allow_unknown_parameters": True}
    assert expected == set(await faults(gateway, parameters, options=options))


async def test_the_language_is_that_of_the_kernel_that_executes_it(gateway: Gateway) -> None:
    kernel = (await gateway.post("/api/kernels", {"name": COMMANDS})).json["id"]
    path = {"path": "a.ipynb", "kernel": {"name": COMMANDS}}
    session = (await gateway.post("/api/sessions", path)).json["id"]
    places: list[dict[str, Any]] = [
        {"kernel": {"name": COMMANDS}},
        {"kernel": kernel},
        {"session": session},
        {"session": kernel},
    ]
    for place in places:
        found = await faults(gateway, {"a": 1}, **place)
        assert {"parameters": "cannot be written in the language 'script'"} == found


@pytest.mark.parametrize(
    "place", [{"kernel": {"name": "none"}}, {"kernel": "none"}, {"session": "none"}], ids=str
)
async def test_a_kernel_that_is_not_there_is_told_as_without_values(
    gateway: Gateway, place: dict[str, Any]
) -> None:
    without, given = [await created(gateway, values, **place) for values in ({}, {"a": 1})]
    assert (404, without.error["code"]) == (given.status, given.error["code"])


async def test_a_notebook_tells_its_parameters(gateway: Gateway) -> None:
    sent = {"notebook": notebook("a: int = 1  # One.\nb = f()")}
    answer = await gateway.post("/api/notebooks/inspect", sent)
    assert 200 == answer.status
    assert {
        "parameters": [
            {"name": "a", "type": "int", "default": "1", "help": "One."},
            {"name": "b", "type": None, "default": "f()", "help": ""},
        ],
        "inspectable": True,
    } == answer.json
    spec: dict[str, Any] = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
    answer = await gateway.post("/api/notebooks/inspect", {"notebook": notebook(**spec)})
    assert {"parameters": [], "inspectable": False} == answer.json


@pytest.mark.parametrize("sent", [{}, {"notebook": 1}, {"notebook": {}}, {"notebook": {}, "x": 1}])
async def test_what_is_no_notebook_cannot_be_inspected(
    gateway: Gateway, sent: dict[str, Any]
) -> None:
    answer = await gateway.post("/api/notebooks/inspect", sent)
    assert 422 == answer.status
    assert {"notebook", "x"} >= set(answer.error["fields"])
