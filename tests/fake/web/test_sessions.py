"""`/api/sessions` over HTTP, as Jupyter's clients use it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake.web.gateway import running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake.web.gateway import Gateway


async def opened(gateway: Gateway, path: str = "a/b.ipynb", **more: Any) -> Any:
    answer = await gateway.post("/api/sessions", {"path": path, "type": "notebook", **more})
    assert answer.status == 201, answer.body
    return answer.json


async def patched(gateway: Gateway, session_id: str, change: Any) -> Any:
    answer = await gateway.call("PATCH", f"/api/sessions/{session_id}", change)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_new_session_is_answered_with_its_place(gateway: Gateway) -> None:
    answer = await gateway.post(
        "/api/sessions",
        {"path": "a/b.ipynb", "name": "b.ipynb", "type": "notebook", "kernel": {"name": "python3"}},
    )
    model = answer.json
    assert (201, f"/api/sessions/{model['id']}") == (answer.status, answer.headers["Location"])
    assert {"id", "path", "name", "type", "kernel", "notebook"} == set(model)
    assert ("a/b.ipynb", "b.ipynb", "notebook") == (model["path"], model["name"], model["type"])
    assert {"path": "a/b.ipynb", "name": "b.ipynb"} == model["notebook"]
    kernel = (await gateway.get(f"/api/kernels/{model['kernel']['id']}")).json
    assert set(kernel) == set(model["kernel"])


async def test_a_path_that_is_known_is_the_same_session(gateway: Gateway) -> None:
    first, second = await opened(gateway), await opened(gateway)
    assert first["id"] == second["id"]
    assert [first["id"]] == [one["id"] for one in (await gateway.get("/api/sessions")).json]
    read = await gateway.get(f"/api/sessions/{first['id']}")
    assert (200, "a/b.ipynb") == (read.status, read.json["path"])


@pytest.mark.parametrize(
    "kernel", [None, {}, {"id": None, "name": None}, {"id": None, "name": "python3"}, {"id": ""}]
)
async def test_a_kernel_is_asked_for_in_all_the_ways_of_clients(
    gateway: Gateway, kernel: Any
) -> None:
    model = await opened(gateway, kernel=kernel)
    assert "python3" == model["kernel"]["name"]


async def test_a_path_alone_is_enough_and_only_a_notebook_has_the_old_field(
    gateway: Gateway,
) -> None:
    assert "notebook" == (await gateway.post("/api/sessions", {"path": "x"})).json["type"]
    console = (await gateway.post("/api/sessions", {"path": "y", "type": "console"})).json
    assert "notebook" not in console
    assert "" == console["name"]


@pytest.mark.parametrize("old", [{"path": "n.ipynb"}, {"name": "n.ipynb"}])
async def test_the_oldest_clients_send_a_notebook(gateway: Gateway, old: Any) -> None:
    answer = await gateway.post("/api/sessions", {"notebook": old, "kernel": {"name": "python3"}})
    assert (201, "n.ipynb", "notebook") == (
        answer.status,
        answer.json["path"],
        answer.json["type"],
    )
    session_id = answer.json["id"]
    moved = await patched(gateway, session_id, {"notebook": {"path": "m.ipynb"}})
    assert "m.ipynb" == moved["path"]


async def test_a_kernel_that_is_there_is_attached(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    model = await opened(gateway, kernel={"id": kernel_id, "name": "other"})
    assert kernel_id == model["kernel"]["id"]


async def test_what_is_not_there_is_404(gateway: Gateway) -> None:
    for kernel, code in (
        ({"id": "nobody"}, "kernel_not_found"),
        ({"name": "cobol"}, "kernelspec_not_found"),
    ):
        answer = await gateway.post("/api/sessions", {"path": "a", "kernel": kernel})
        assert (404, code, "Not Found") == (
            answer.status,
            answer.error["code"],
            answer.json["reason"],
        )
    for verb in ("GET", "DELETE", "PATCH"):
        answer = await gateway.call(verb, "/api/sessions/nobody", {} if verb == "PATCH" else None)
        assert (404, "session_not_found") == (answer.status, answer.error["code"])
    assert [] == (await gateway.get("/api/sessions")).json


async def test_a_session_is_renamed_moved_and_gets_another_kernel(gateway: Gateway) -> None:
    made = await opened(gateway)
    moved = await patched(gateway, made["id"], {"path": "c", "name": "C", "type": "file"})
    assert ("c", "C", "file") == (moved["path"], moved["name"], moved["type"])
    same = await patched(gateway, made["id"], {"kernel": {"id": None, "name": None}})
    assert made["kernel"]["id"] == same["kernel"]["id"]
    new = await patched(gateway, made["id"], {"kernel": {"name": "kernel-gateway-command"}})
    assert "kernel-gateway-command" == new["kernel"]["name"]
    kernel_id = await gateway.new_kernel()
    attached = await patched(gateway, made["id"], {"kernel": {"id": kernel_id, "name": "python3"}})
    assert kernel_id == attached["kernel"]["id"]
    assert [kernel_id] == [one["id"] for one in (await gateway.get("/api/kernels")).json]


async def test_a_path_that_is_taken_is_409(gateway: Gateway) -> None:
    await opened(gateway, "a")
    made = await opened(gateway, "b")
    answer = await gateway.call("PATCH", f"/api/sessions/{made['id']}", {"path": "a"})
    assert (409, "session_exists") == (answer.status, answer.error["code"])


async def test_a_session_is_deleted_with_its_kernel_and_once(gateway: Gateway) -> None:
    made = await opened(gateway)
    answers = [await gateway.delete(f"/api/sessions/{made['id']}") for _ in range(2)]
    assert [204, 404] == [answer.status for answer in answers]
    assert b"" == answers[0].body
    assert [] == (await gateway.get("/api/kernels")).json


async def test_a_dead_kernel_does_not_break_the_list(gateway: Gateway) -> None:
    made = await opened(gateway)
    await gateway.delete(f"/api/kernels/{made['kernel']['id']}")
    (left,) = (await gateway.get("/api/sessions")).json
    assert "dead" == left["kernel"]["execution_state"]
    assert "The kernel was deleted." == left["kernel"]["reason"]
    assert set(made["kernel"]) | {"reason"} == set(left["kernel"])
    assert "dead" != (await opened(gateway))["kernel"]["execution_state"]


async def test_variables_reach_the_kernel_from_both_places(
    gateway: Gateway, tmp_path: Path
) -> None:
    env = {"KERNEL_USERNAME": "ada", "KERNEL_WORKING_DIR": str(tmp_path), "PATH": "/evil"}
    await opened(gateway, "a", env=env)
    assert env.keys() - {"PATH"} == gateway.kernel.request.env.keys()
    assert tmp_path == gateway.kernel.request.cwd
    await opened(gateway, "folder/b", kernel={"name": "python3", "env": {"KERNEL_X": "1"}})
    assert {"KERNEL_X": "1"} == gateway.kernel.request.env
    assert None is gateway.kernel.request.cwd  # nothing is guessed from the path


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"path"}),
        ({"path": None, "kernel": {}}, {"path"}),
        ({"path": ""}, {"path"}),
        ({"path": 5, "name": [], "type": {}}, {"path", "name", "type"}),
        ({"path": "x\0"}, {"path"}),
        ({"path": "x" * 4097}, {"path"}),
        ({"path": "a", "kernel": "python3"}, {"kernel"}),
        ({"path": "a", "kernel": {"name": 5, "id": 5}}, {"kernel.name", "kernel.id"}),
        ({"path": "a", "env": {"A": 1}}, {"env.A"}),
        ({"path": "a", "kernel": {"env": {"A": 1}}}, {"kernel.env.A"}),
        ({"path": "a", "env": {"KERNEL_LAUNCH_TIMEOUT": "soon"}}, {"env.KERNEL_LAUNCH_TIMEOUT"}),
        ({"notebook": 5}, {"notebook"}),
    ],
)
async def test_a_bad_body_is_400_with_each_field(
    gateway: Gateway, body: Any, fields: set[str]
) -> None:
    answer = await gateway.post("/api/sessions", body)
    assert (400, fields) == (answer.status, set(answer.error["fields"]))
    assert answer.json["message"] == answer.error["message"]
    assert gateway.launcher.kernels == []


async def test_sessions_outlive_the_gateway(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as first:
        made = await opened(first, name="B")
    async with running_gateway(tmp_path) as second:
        (left,) = (await second.get("/api/sessions")).json
        assert (made["id"], "a/b.ipynb", "B") == (left["id"], left["path"], left["name"])
        assert "dead" == left["kernel"]["execution_state"]
        again = await opened(second)
        assert made["id"] == again["id"]
        assert made["kernel"]["id"] != again["kernel"]["id"]
        assert "dead" != again["kernel"]["execution_state"]


async def test_many_sessions_at_once_have_each_their_own_variables(gateway: Gateway) -> None:
    models = await asyncio.gather(
        *(opened(gateway, f"{number}", env={"KERNEL_N": f"{number}"}) for number in range(20))
    )
    given = {one.request.kernel_id: one.request.env for one in gateway.launcher.kernels}
    for number, model in enumerate(models):
        assert {"KERNEL_N": f"{number}"} == given[model["kernel"]["id"]]
