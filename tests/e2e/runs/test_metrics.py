"""Metrics of a run: what the code gives, by the scope or by its MIME type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

RUN = "from kernel_gateway.scope import current_run; run = current_run()"
BY_SCOPE = f"""
{RUN}
run.metric("epoch", 1); run.metric("epoch", 2)
for n in range(3):
    run.metric("examples", 32, "increment")
    run.metric("train.loss.values", 1 / 2**n, "append")
run.metric("train.loss.unit", "nat")
run.metric("passing", "x"); run.metric("passing", None)
run.metric("train.gone.too", 1); run.metric("train.gone.too", None)
"""
BY_TYPE = """
from IPython.display import display
def metric(name, value, mode):
    content = {"name": name, "value": value, "mode": mode}
    display({"application/vnd.kernel-gateway.metric+json": content}, raw=True)
"""
BAD_NAMES = ["", "1st", "a..b", "a__b", "a_", "a.b.c.d.e", "ä", "a" * 129, "predict_time"]


async def test_they_are_set_added_to_appended_nested_and_deleted(
    caller: Caller, shared: Kernel
) -> None:
    run = await caller.done(kernel=shared.id, code=BY_SCOPE)
    loss = {"values": [1.0, 0.5, 0.25], "unit": "nat"}
    assert {"epoch": 2, "examples": 96, "train": {"loss": loss}} == run["metrics"]
    events = await caller.events(run["uid"])
    told = [_content(event.data) for event in events if event.event == "metric"]
    assert told == [_content(one) for one in await _of_kind(caller, run, "metric")]
    assert [
        ("epoch", 1, "replace"),
        ("epoch", 2, "replace"),
        ("examples", 32, "increment"),
        ("train.loss.values", 1.0, "append"),
        ("examples", 32, "increment"),
        ("train.loss.values", 0.5, "append"),
        ("examples", 32, "increment"),
        ("train.loss.values", 0.25, "append"),
        ("train.loss.unit", "nat", "replace"),
        ("passing", "x", "replace"),
        ("passing", None, "replace"),
        ("train.gone.too", 1, "replace"),
        ("train.gone.too", None, "replace"),
    ] == told
    [completed] = [event.data for event in events if event.event == "completed"]
    assert run["metrics"] == completed["run"]["metrics"]
    assert ([], False) == (run["outputs"], run["is_stream"])


async def test_any_language_has_them_by_a_display_and_a_bad_one_changes_nothing(
    caller: Caller, shared: Kernel
) -> None:
    code = (
        f"{BY_TYPE}metric('accuracy', 0.75, 'replace')\n"
        f"for name in {BAD_NAMES!r}: metric(name, 1, 'replace')\n"
        "metric('accuracy', 'much', 'increment'); metric('accuracy', 1, 'subtract')"
    )
    run = await caller.done(kernel=shared.id, code=code)
    assert ("ok", {"accuracy": 0.75}) == (run["outcome"], run["metrics"])
    errors = await _of_kind(caller, run, "error")
    assert ["BadMetric"] * (len(BAD_NAMES) + 2) == [error["ename"] for error in errors]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_bad_name_raises_in_the_code(caller: Caller, shared: Kernel, name: str) -> None:
    run = await caller.done(kernel=shared.id, code=f"{RUN}; run.metric({name!r}, 1)")
    assert ("error", "ValueError", {}) == (run["outcome"], run["error"]["ename"], run["metrics"])


async def _of_kind(caller: Caller, run: Any, kind: str) -> list[Any]:
    return [one for one in await caller.records(run["uid"]) if one["kind"] == kind]


def _content(record: Any) -> tuple[str, Any, str]:
    return record["name"], record.get("value"), record["mode"]
