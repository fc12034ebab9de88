"""A run and the one process that executes it: when that is offered again, and what it is given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import HANG_LIMIT_S, TOKEN, Gate
from tests.shared.store import Outside

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel, Server
    from tests.e2e.runs.caller import Caller

MIB = 2**20
STUBBORN = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
{gate}
while True: pass
"""
WHO = "import os; print(os.getpid())"


async def test_no_run_lands_on_a_kernel_that_had_to_be_ended(
    caller: Caller, kernel: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    old = await kernel.process()
    stubborn = await caller.create(kernel=kernel.id, code=STUBBORN.format(gate=gate.code))
    await gate.open()
    waiting = [await caller.create(kernel=kernel.id, code=WHO) for _ in range(10)]
    await caller.cancel(stubborn["uid"], grace=0)
    later = [await caller.create(kernel=kernel.id, code=WHO) for _ in range(10)]
    ended = await caller.over(stubborn["uid"])
    assert ("cancelled", "terminate") == (ended["outcome"], ended["reason"]["worked"])
    assert 1 == ended["kernel"]["generation"]
    runs = [await caller.over(run["uid"]) for run in waiting + later]
    assert {("ok", 2)} == {(run["outcome"], run["kernel"]["generation"]) for run in runs}
    pids = {await caller.text(run["uid"]) for run in runs}
    assert 1 == len(pids)
    assert f"{old.pid}\n" not in pids
    assert old.ended_within(0.0)


async def test_errors_name_their_run(caller: Caller, shared: Kernel) -> None:
    run_id = "who/ever ../ünï 🙂"
    run = await caller.done(kernel=shared.id, runId=run_id, code="1 / 0")
    errors = [one for one in await caller.records(run["uid"]) if one["kind"] == "error"]
    assert [(run_id, run["uid"])] == [(one["run_id"], one["uid"]) for one in errors]
    conflict = await caller.post(kernel=shared.id, runId=run_id, code="2")
    assert (409, "run_id_conflict") == (conflict.status, conflict.error["code"])
    assert repr(run_id) in conflict.error["message"]
    assert 204 == (await caller.delete_run(run_id)).status
    for expected, unknown in (("run_expired", run_id), ("run_not_found", "who?")):
        refused = await caller.cancel(unknown)
        assert expected == refused.error["code"]
        assert repr(unknown) in refused.error["message"]


async def test_code_of_30_mib_is_executed_and_goes_with_its_run(
    caller: Caller, shared: Kernel, server: Server
) -> None:
    outside = Outside(server.data_dir)
    before = outside.size
    run = await caller.done(kernel={"name": "length"}, code="x" * 30 * MIB)
    assert ("ok", f"{30 * MIB}") == (run["outcome"], await caller.text(run["uid"]))
    assert 204 == (await caller.delete_run(run["uid"])).status
    # Its room goes back to the disk little by little, while others use the store.
    async with asyncio.timeout(HANG_LIMIT_S):
        while outside.database.stat().st_size > before + 4 * MIB:
            await caller.done(kernel=shared.id, code="pass")


async def test_an_upload_that_breaks_off_leaves_no_run_and_no_file(
    caller: Caller, server: Server
) -> None:
    before = _files(server.data_dir)
    whole = b'{"mode": "query", "labels": {"upload": "broken"}, "code": "%s"}' % (b"x" * MIB)
    broken = whole[:-2]
    refused = await caller.call("POST", "/api/runs", body=broken)
    assert (400, "bad_json") == (refused.status, refused.error["code"])
    await _hang_up_after(server, broken, promised=len(whole))
    listed = await caller.call("GET", "/api/runs?label=upload")
    assert [] == listed.json["items"]
    assert set() == _files(server.data_dir) - before


async def _hang_up_after(server: Server, data: bytes, *, promised: int) -> None:
    """Returns when the server has seen it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    fields = (
        "POST /api/runs HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Authorization: token {TOKEN}",
        "Content-Type: application/json",
        f"Content-Length: {promised}",
    )
    writer.write("\r\n".join((*fields, "", "")).encode() + data)
    writer.write_eof()
    async with asyncio.timeout(HANG_LIMIT_S):
        assert b"" == await reader.read()
    writer.close()


def _files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}
