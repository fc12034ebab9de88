"""`/api/kernels` over HTTP, as Jupyter's clients use it."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

from kernel_gateway.web.settings import WebSettings
from tests.fake.web.gateway import TOKEN, authorization, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.fake.web.gateway import Gateway


async def test_api_tells_the_version(gateway: Gateway) -> None:
    assert (await gateway.get("/api")).json == {"version": "1.2.3"}


async def test_a_new_kernel_is_answered_at_once_with_its_place(gateway: Gateway) -> None:
    answer = await gateway.post("/api/kernels", {})
    model = answer.json
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/kernels/{model['id']}"
    assert model["execution_state"] == "starting"
    assert model["name"] == "python3"
    assert model["connections"] == 0
    assert model["generation"] == 1
    assert model["queue_length"] == 0


async def test_last_activity_has_six_digits_and_a_z(gateway: Gateway) -> None:
    model = (await gateway.post("/api/kernels", {})).json
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", model["last_activity"])


async def test_a_model_has_jupyters_fields_and_ours(gateway: Gateway) -> None:
    model = (await gateway.post("/api/kernels", {})).json
    jupyters = {"id", "name", "last_activity", "execution_state", "connections"}
    ours = {"generation", "isolation", "queue_length", "owner"}
    assert jupyters | ours == set(model)
    assert ("none", "local") == (model["isolation"], model["owner"])


async def test_an_empty_body_is_the_default_kernel(gateway: Gateway) -> None:
    answer = await gateway.call("POST", "/api/kernels", body=b"")
    assert answer.status == 201


async def test_jupyter_clients_need_not_name_their_content_type(gateway: Gateway) -> None:
    answer = await gateway.call(
        "POST",
        "/api/kernels",
        body=b'{"name": "python3", "unknown": 1}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status == 201


async def test_kernels_are_listed_and_read(gateway: Gateway) -> None:
    ids = {await gateway.new_kernel(), await gateway.new_kernel()}
    assert ids == {model["id"] for model in (await gateway.get("/api/kernels")).json}
    for kernel_id in ids:
        assert (await gateway.get(f"/api/kernels/{kernel_id}")).json["id"] == kernel_id


async def test_a_deleted_kernel_is_gone(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    deleted = await gateway.delete(f"/api/kernels/{kernel_id}")
    assert (deleted.status, deleted.body) == (204, b"")
    again = await gateway.delete(f"/api/kernels/{kernel_id}")
    assert again.status == 404
    assert again.error["code"] == "kernel_not_found"
    assert (await gateway.get("/api/kernels")).json == []


async def test_an_unknown_kernelspec_is_404_and_starts_nothing(gateway: Gateway) -> None:
    answer = await gateway.post("/api/kernels", {"name": "cobol"})
    assert answer.status == 404
    assert answer.json["reason"] == "Not Found"
    assert "cobol" in answer.json["message"]
    assert answer.error["code"] == "kernelspec_not_found"
    assert gateway.launcher.kernels == []


async def test_a_bad_body_is_400_with_each_field(gateway: Gateway) -> None:
    answer = await gateway.post("/api/kernels", {"name": 5, "env": {"A": 1, "B": "x\0"}})
    assert answer.status == 400
    assert answer.error["code"] == "invalid_field"
    assert set(answer.error["fields"]) == {"name", "env.A", "env.B"}
    assert answer.json["message"] == answer.error["message"]


async def test_env_is_passed_for_names_of_ours_alone(gateway: Gateway) -> None:
    env = {"KERNEL_USERNAME": "ada", "PATH": "/evil", "LD_PRELOAD": "x.so"}
    await gateway.post("/api/kernels", {"env": env})
    assert gateway.kernel.request.env == {"KERNEL_USERNAME": "ada"}


async def test_the_working_folder_is_used_if_it_is_there(gateway: Gateway, tmp_path: Path) -> None:
    for asked, expected in ((str(tmp_path), tmp_path), ("/no/such/folder", None), ("rel", None)):
        answer = await gateway.post("/api/kernels", {"env": {"KERNEL_WORKING_DIR": asked}})
        assert answer.status == 201
        assert gateway.kernel.request.cwd == expected


async def test_a_folder_that_cannot_be_is_no_fault_of_ours(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    for asked in ("/root/" * 2000, "/" + "x" * 300, "/dev/null", "/dev/null/x", "", "a\nb"):
        answer = await gateway.post("/api/kernels", {"env": {"KERNEL_WORKING_DIR": asked}})
        assert 201 == answer.status
        assert gateway.kernel.request.cwd is None
    lines = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert all("\n" not in line.getMessage() for line in lines)


async def test_the_working_folder_must_be_in_one_that_is_allowed(tmp_path: Path) -> None:
    allowed, linked = await asyncio.to_thread(_make_folders, tmp_path)
    settings = WebSettings(token=TOKEN, port=0, allowed_working_dirs=(allowed, linked))
    async with running_gateway(tmp_path, settings) as gateway:
        for asked, expected in (
            ("a", "a"),
            ("a/b", "a/b"),
            ("a/b/../b", "a/b"),
            ("linked", "a/b"),
            ("linked/.", "a/b"),
            ("ab", None),
            ("a/..", None),
            ("a/../ab", None),
            ("a/out", None),
            (".", None),
        ):
            env = {"KERNEL_WORKING_DIR": f"{tmp_path}/{asked}"}
            assert 201 == (await gateway.post("/api/kernels", {"env": env})).status
            used = gateway.kernel.request.cwd
            assert (expected and tmp_path / expected) == used, asked


def _make_folders(top: Path) -> tuple[Path, Path]:
    (top / "a" / "b").mkdir(parents=True)
    (top / "ab").mkdir()
    (top / "a" / "out").symlink_to(top / "ab")
    (top / "linked").symlink_to(top / "a" / "b")
    return top / "a", top / "linked"


async def test_variables_never_mix_between_calls(gateway: Gateway) -> None:
    asked = [{"KERNEL_X": str(n), f"KERNEL_{n}": "1"} for n in range(20)]
    bodies = [{"env": env} if n % 2 else {} for n, env in enumerate(asked)]
    answers = await asyncio.gather(*(gateway.post("/api/kernels", body) for body in bodies))
    assert {201} == {answer.status for answer in answers}
    given = [dict(kernel.request.env) for kernel in gateway.launcher.kernels]
    assert sorted(map(str, given)) == sorted(str(body.get("env", {})) for body in bodies)
    await gateway.post("/api/kernels", {})
    assert {} == gateway.kernel.request.env


async def test_the_launch_timeout_is_taken_up_to_ours(gateway: Gateway) -> None:
    for asked, expected in (("40", 40.0), ("1e9", 300.0)):
        await gateway.post("/api/kernels", {"env": {"KERNEL_LAUNCH_TIMEOUT": asked}})
        assert gateway.kernel.request.start_limit_s == expected
    for bad in ("soon", "-1", "nan", "inf"):
        answer = await gateway.post("/api/kernels", {"env": {"KERNEL_LAUNCH_TIMEOUT": bad}})
        assert answer.status == 400
        assert answer.error["field"] == "env.KERNEL_LAUNCH_TIMEOUT"


async def test_a_bad_idle_time_is_told_by_name(gateway: Gateway) -> None:
    for text, status in (("0", 201), ("60", 201), ("soon", 400), ("-1", 400)):
        answer = await gateway.post("/api/kernels", {"env": {"KERNEL_CULL_IDLE_TIMEOUT": text}})
        assert status == answer.status
        if status == 400:
            assert "env.KERNEL_CULL_IDLE_TIMEOUT" == answer.error["field"]


async def test_what_programs_are_loaded_by_is_no_matter_of_patterns(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, allowed_env=("*", "PYTHONPATH"))
    async with running_gateway(tmp_path, settings) as gateway:
        env = {"PROJECT": "x", "PYTHONPATH": "/mine", "PATH": "/evil", "LD_PRELOAD": "x.so"}
        await gateway.post("/api/kernels", {"env": env})
        assert {"PROJECT": "x", "PYTHONPATH": "/mine"} == gateway.kernel.request.env


async def test_interrupt_of_an_idle_kernel_is_harmless(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    answer = await gateway.post(f"/api/kernels/{kernel_id}/interrupt", {})
    assert (answer.status, answer.body) == (204, b"")
    result = await gateway.query(kernel_id, "print on")
    assert result["console"] == [["stdout", "on\n"]]


async def test_interrupt_ends_the_run_in_flight(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    begun = await gateway.query(kernel_id, "print in\nsleep", options={"wait": 0.05})
    await gateway.post(f"/api/kernels/{kernel_id}/interrupt")
    ended = await gateway.execute(kernel_id, mode="continue", runId=begun["runId"])
    assert ended.json["status"] == "finished"
    run = (await gateway.get(f"/api/runs/{begun['runId']}")).json
    assert run["outcome"] == "cancelled"


async def test_restart_keeps_the_id_and_counts_the_generation(gateway: Gateway) -> None:
    kernel_id = await gateway.new_kernel()
    await gateway.query(kernel_id, "print up")
    answer = await gateway.post(f"/api/kernels/{kernel_id}/restart", {})
    assert answer.status == 200
    assert answer.json["id"] == kernel_id
    result = await gateway.query(kernel_id, "print again")
    assert result["status"] == "finished"
    assert (await gateway.get(f"/api/kernels/{kernel_id}")).json["generation"] == 2


async def test_both_schemes_and_the_query_open_the_door(gateway: Gateway) -> None:
    wire = authorization(TOKEN).removeprefix("token ")
    for scheme in ("token", "Token", "Bearer", "bearer"):
        answer = await gateway.get(
            "/api/kernels", token=None, headers={"Authorization": f"{scheme} {wire}"}
        )
        assert answer.status == 200, scheme
    by_query = await gateway.get("/api/kernels?token=s3cret-t%C3%B6k%C3%A9n", token=None)
    assert by_query.status == 200
