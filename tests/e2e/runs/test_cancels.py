"""A cancel that comes as early as it can: it ends its run and never harms the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.runs.caller import path_of

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

ROUNDS = 100
FOR_EVER = "while True: time.sleep(60)"


async def test_a_cancel_right_after_the_creation_ends_the_run_and_not_the_one_behind_it(
    kernel: Kernel, caller: Caller
) -> None:
    """The one behind is created at the same moment, so a late interrupt would hit it."""
    assert 0 == (await kernel.run("import time; kept = 'kept'")).exit_code
    for number in range(ROUNDS):
        run = await caller.create(kernel=kernel.id, code=FOR_EVER)
        cancelled, behind = await asyncio.gather(
            caller.call("POST", path_of(run["uid"], "/cancel"), {}),
            kernel.begin(f"print({number}, kept)", wait=20.0),
        )
        assert cancelled.status in {200, 202}
        assert ("finished", 0) == (behind.last["status"], behind.exit_code), behind.answers
        assert f"{number} kept\n" == behind.text()
        found = await caller.run(run["uid"])
        assert ("finished", "cancelled") == (found["state"], found["outcome"])
        again = await caller.call("POST", path_of(run["uid"], "/cancel"), {})
        assert (200, found["history"]) == (again.status, again.json["history"])
    assert 1 == await kernel.generation()
