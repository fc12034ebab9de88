"""Run IDs: whose they are, what they make one, and that they are nothing but data."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import Counter, Gate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

AT_ONCE = 50
MARK = f"escape-{os.urandom(8).hex()}"

LEGAL = (
    f"{MARK}/y",
    f"../../{MARK}/y",
    f"/tmp/{MARK}/y",
    f"..\\..\\{MARK}",
    f"%2e%2e%2f{MARK}",
    f" {MARK} ",
    f"' OR 1=1; -- {MARK}",
    f"{MARK} ünï 🙂 \u202e\ufeff",
    f"{MARK}?kernel=x#y",
    "..",
    ".",
    "x" * 255,
    "🙂" * 255,
)
ILLEGAL = ("", "x" * 256, "x" * 10_000, "a\0b", "a\nb", "\x7f", "\x85", "\ud800")


async def test_fifty_puts_of_one_id_at_once_execute_once(
    shared: Kernel, caller: Caller, tmp_path: Path
) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    body = {"kernel": shared.id, "code": f"{counter.code()}; {gate.code}; print('ran')"}
    calls = (caller.put("one of 50", **body) for _ in range(AT_ONCE))
    answers = await asyncio.gather(*calls)
    assert [200] * (AT_ONCE - 1) + [201] == sorted(answer.status for answer in answers)
    (uid,) = {answer.json["uid"] for answer in answers}
    await gate.open()
    assert "ok" == (await caller.over(uid))["outcome"]
    again = await caller.put("one of 50", **body)
    assert (200, uid, "finished") == (again.status, again.json["uid"], again.json["state"])
    posted = await caller.post(runId="one of 50", **body)
    assert (200, uid) == (posted.status, posted.json["uid"])
    assert "ran\n" == await caller.text(uid)
    assert ["x"] == counter.marks


@pytest.mark.parametrize("state", ["queued", "running", "finished"])
async def test_another_body_under_a_known_id_is_a_conflict_whatever_became_of_the_first(
    shared: Kernel, caller: Caller, tmp_path: Path, state: str
) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    before = await shared.begin(gate.code if state == "queued" else "pass")
    body = {"kernel": shared.id, "code": gate.code if state == "running" else "print('first')"}
    first = (await caller.put(f"taken while {state}", **body)).json
    opening = await gate.held() if state != "finished" else None
    if state == "finished":
        await caller.over(first["uid"])
    assert state == (await caller.run(first["uid"]))["state"]
    others: list[dict[str, Any]] = [
        {**body, "code": counter.code()},
        {**body, "context": {"a": "b"}},
        {**body, "options": {"allow_stdin": False}},
        {**body, "limits": {"run": 60}},
        {**body, "mode": "batch", "code": None, "steps": {"exec": "true"}},
    ]
    for other in others:
        sent = {name: value for name, value in other.items() if value is not None}
        refused = await caller.put(f"taken while {state}", **sent)
        assert (409, "run_id_conflict") == (refused.status, refused.error["code"]), sent
    # What changes nothing of what is executed is no other body.
    same = await caller.put(f"taken while {state}", **body, labels={"seen": "again"})
    assert (200, first["uid"]) == (same.status, same.json["uid"])
    if opening is not None:
        gate.pass_(opening)
    assert "ok" == (await caller.over(first["uid"]))["outcome"]
    await before.to_the_end()
    assert [] == counter.marks


async def test_an_id_is_data_and_never_a_path(
    shared: Kernel, caller: Caller, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each run leaves whatever a run can leave: text, an artifact, a value too big to be inline."""
    code = (
        "import os\n"
        "with open(os.environ['KERNEL_GATEWAY_ARTIFACT_DIR'] + '/kept.txt', 'w') as file:\n"
        "    _ = file.write('kept')\n"
        "print('ran')"
    )
    for run_id in LEGAL:
        run = await caller.done(runId=run_id, kernel=shared.id, code=code)
        assert (run_id, "ok") == (run["id"], run["outcome"])
        assert run_id == (await caller.records(run["uid"]))[0]["run_id"]
        assert ["kept.txt"] == [artifact["name"] for artifact in run["artifacts"]]
        if run_id not in {".", ".."}:  # no URL can carry them
            assert run["uid"] == (await caller.run(run_id))["uid"]
    for run_id in ILLEGAL:
        refused = await caller.post(runId=run_id, kernel=shared.id, code=code)
        assert (422, "runId") == (refused.status, refused.error["field"]), run_id
    for segment in ("a%00b", "x" * 10_000, "%0A", "%C3%28"):
        refused = await caller.call("GET", f"/api/runs/{segment}")
        assert (422, "invalid_field") == (refused.status, refused.error["code"]), segment
    assert [] == named(tmp_path_factory.getbasetemp())
    assert [] == [name for name in os.listdir("/tmp") if MARK in name]


def named(folder: Path) -> list[str]:
    """What has our mark in its name, here or anywhere below."""
    return [
        os.path.join(place, name)
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if MARK in name
    ]
