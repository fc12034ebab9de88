"""What kernels and callers tell each other, side by side: nobody stands in line behind a flood."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

FLOOD = "while True: print('x' * 50)"
TRIVIAL_RUNS = 20
CREATIONS = 200

MALFORMED = ["1", "%00", "%FF", "..%2F..%2Fetc", "%F0%9F%90%8D", "x" * 10_000, "NaN", "-1", "{}"]


async def test_a_kernel_that_floods_answers_on_control_and_is_cancelled(
    caller: Caller, kernel: Kernel
) -> None:
    """Its shell is busy and its output stands in line; neither is asked."""
    run = await caller.create(kernel=kernel.id, code=FLOOD)
    await caller.printed(run["uid"], "x\n")
    assert "healthy" == (await kernel.call("GET", "/health")).json["status"]
    cancelled = await caller.cancel(run["uid"])
    assert (202, "cancelling") == (cancelled.status, cancelled.json["state"])
    ended = await caller.over(run["uid"])
    assert ("cancelled", "interrupt") == (ended["outcome"], ended["reason"]["worked"])
    after = await caller.done(kernel=kernel.id, code="print('after')")
    assert ("ok", 1) == (after["outcome"], after["kernel"]["generation"])
    assert "after\n" == await caller.text(after["uid"])


async def test_prints_past_python_do_not_disturb_the_channels(
    caller: Caller, kernel: Kernel
) -> None:
    """Whatever stands in the descriptors that a worker's messages once went through."""
    code = (
        "import os\n"
        "for number in (0, 1, 2):\n"
        '    try: os.write(number, b\'{"type": "idle", "slot": 1}\\xff\\n\' * 1000)\n'
        "    except OSError: pass\n"
        "print('of Python')"
    )
    run = await caller.done(kernel=kernel.id, code=code)
    assert "ok" == run["outcome"]
    # The two ways to the gateway know nothing of each other, so a line of one may stand in another.
    assert "of Python" in await caller.text(run["uid"])
    assert "ok" == (await caller.done(kernel=kernel.id, code="pass"))["outcome"]


async def test_a_flood_on_one_kernel_holds_up_no_other(
    caller: Caller, kernel: Kernel, shared: Kernel
) -> None:
    flood = await caller.create(kernel=kernel.id, code=FLOOD)
    await caller.printed(flood["uid"], "x\n")
    for number in range(TRIVIAL_RUNS):
        run = await caller.done(kernel=shared.id, code=f"print({number})")
        assert f"{number}\n" == await caller.text(run["uid"])
    assert "running" == (await caller.run(flood["uid"]))["state"]
    assert 202 == (await caller.cancel(flood["uid"])).status
    assert "cancelled" == (await caller.over(flood["uid"]))["outcome"]


async def test_two_hundred_kernels_have_names_of_their_own(caller: Caller) -> None:
    """Each is made anew when the one before it is gone; these do not even come up."""
    names = []
    for _ in range(CREATIONS):
        kernel = await caller.start_kernel(name="broken")
        names.append(kernel.id)
        assert 204 == (await kernel.delete()).status
    assert CREATIONS == len(set(names))
    assert {4} == {UUID(name).version for name in names}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_name_is_refused(caller: Caller, name: str) -> None:
    for verb, path, value in [
        ("GET", f"/api/kernels/{name}", None),
        ("DELETE", f"/api/kernels/{name}", None),
        ("POST", f"/api/kernels/{name}/interrupt", {}),
        ("POST", f"/api/kernels/{name}/restart", {}),
        ("GET", f"/api/kernels/{name}/health", None),
        ("PUT", f"/api/kernels/{name}/health", {"expression": "1"}),
        ("GET", f"/api/kernels/{name}/output", None),
        ("POST", f"/api/kernels/{name}/execute", {"mode": "query", "code": "1"}),
        ("GET", f"/api/runs/{name}", None),
        ("GET", f"/api/runs/{name}/log", None),
        ("GET", f"/api/runs/{name}/events", None),
        ("GET", f"/api/runs/{name}/artifacts/{name}", None),
        ("POST", f"/api/runs/{name}/cancel", {}),
        ("DELETE", f"/api/runs/{name}", None),
    ]:
        answer = await caller.call(verb, path, value)
        assert answer.status in {404, 422}, (verb, path, answer.body)
        assert b"Traceback" not in answer.body
