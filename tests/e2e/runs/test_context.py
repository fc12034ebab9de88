"""The context that a caller gives with a run: for the code of this run alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import Gate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

READ = """
from kernel_gateway.scope import current_run
{gate}
print(sorted(current_run().context.items()))
"""
READ_AGAIN = READ.format(gate="")


async def test_two_runs_at_once_read_their_own_and_the_next_ones_read_none(
    caller: Caller, kernel: Kernel, shared: Kernel, tmp_path: Path
) -> None:
    gates = [Gate(tmp_path, name) for name in ("a", "b")]
    contexts = [{"user": "ada", "trace": "1"}, {"user": "alan"}]
    ids = [kernel.id, shared.id]
    runs = [
        await caller.create(kernel=kernel_id, context=context, code=READ.format(gate=gate.code))
        for kernel_id, context, gate in zip(ids, contexts, gates, strict=True)
    ]
    openings = await asyncio.gather(*(gate.held() for gate in gates))  # both are running now
    for gate, opening in zip(gates, openings, strict=True):
        gate.pass_(opening)
    for run, context in zip(runs, contexts, strict=True):
        assert context == (await caller.over(run["uid"]))["context"]
        assert f"{sorted(context.items())}\n" == await caller.text(run["uid"])
    for kernel_id in ids:
        run = await caller.done(kernel=kernel_id, code=READ_AGAIN)
        assert ({}, "[]\n") == (run["context"], await caller.text(run["uid"]))


@pytest.mark.parametrize("value", [1, None, True, ["text"], {"text": "text"}])
async def test_what_is_no_text_is_refused(caller: Caller, shared: Kernel, value: object) -> None:
    refused = await caller.post(kernel=shared.id, code="1", context={"fine": "x", "bad": value})
    assert (422, "context.bad") == (refused.status, refused.error["field"])
