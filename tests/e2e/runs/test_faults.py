"""What others get wrong by their design, and no other test shows."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import HANG_LIMIT_S, Gate
from tests.e2e.runs.caller import path_of
from tests.shared.receiver import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

GENERATOR = """
import asyncio
from IPython.display import display

async def numbers():
    for gate in {gates}:
        yield gate
        await asyncio.to_thread(lambda: open(gate).read())

async for gate in numbers():
    print(gate)
    display(gate)
"""

#: ipykernel's own packer refuses half of it.
UNSPEAKABLE = """
import json
from IPython.display import display
get_ipython().kernel.session.pack = lambda value: json.dumps(value, default=str).encode()
print("\\ud800")
display({"application/json": {"x": float("nan"), "y": ["\\ud800"]}}, raw=True)
display({"text/plain": "\\udfff", "text/html": "\\ud83d"}, raw=True, metadata={"z": float("inf")})
prompt = input("\\udc00 ")
class Odd(Exception): pass
raise Odd("\\ud800", float("nan"), "\\0\\x1b[31m\\u2028")
"""


async def test_what_an_async_generator_yields_is_told_before_it_yields_the_next(
    kernel: Kernel, caller: Caller, tmp_path: Path
) -> None:
    gates = {str(tmp_path / name): Gate(tmp_path, name) for name in ("first", "second", "third")}
    run = await caller.create(kernel=kernel.id, code=GENERATOR.format(gates=list(gates)))
    told: list[str] = []
    for path, gate in gates.items():
        opening = await gate.held()
        told.append(path)
        await caller.printed(run["uid"], f"{path}\n")
        standing = await caller.run(run["uid"])
        assert "running" == standing["state"]
        assert "".join(f"{one}\n" for one in told) == await so_far(caller, run["uid"])
        gate.pass_(opening)
    assert "ok" == (await caller.over(run["uid"]))["outcome"]


async def so_far(caller: Caller, uid: str) -> str:
    page = (await caller.call("GET", path_of(uid, "/log"))).json
    return "".join(text for _, _, text in page["items"])


async def test_what_json_cannot_say_breaks_no_answer_of_any_route(
    kernel: Kernel, caller: Caller
) -> None:
    def strictly(data: bytes) -> Any:
        value = json.loads(data, parse_constant=pytest.fail)
        json.dumps(value, ensure_ascii=False).encode()  # with no lone surrogate in it
        return value

    async with receiving() as receiver:
        body: dict[str, Any] = {"mode": "query", "kernel": kernel.id, "code": UNSPEAKABLE}
        body["webhook"] = {"url": receiver.url}
        created = await caller.call("POST", "/api/runs", body)
        uid = strictly(created.body)["uid"]
        await caller.reached(uid, "waiting-input")
        call = {"mode": "continue", "runId": uid, "options": {"after": 0, "wait": 0}}
        status = "continued"  # until the log has it, too
        async with asyncio.timeout(HANG_LIMIT_S):
            while status == "continued":
                status = strictly((await kernel.execute(**call)).body)["status"]
        assert "waiting-input" == status
        path = path_of(uid, "/input")
        strictly((await caller.call("POST", path, {"value": "go"})).body)
        run = await caller.over(uid)
        assert ("error", "Odd") == (run["outcome"], run["error"]["ename"])
        assert {"x": None, "y": ["\ufffd"]} == run["outputs"][1]["data"]["application/json"]
        for answer in (
            await kernel.execute(**call),
            await caller.call("POST", path_of(uid, "/cancel"), {}),
            await caller.call("GET", f"/api/runs?kernel={kernel.id}"),
            *[
                await caller.call("GET", path_of(uid, rest))
                for rest in ("", "/log", "/records", "/notebook", "/artifacts")
            ],
        ):
            assert 200 == answer.status, answer.body
            strictly(answer.body)
        assert "completed" == (await caller.events(uid))[-1].event
        await receiver.until(lambda: b'"completed"' in receiver.posts[-1].body)
        for post in receiver.posts:
            strictly(post.body)
