"""Comms of a kernel: kept of notebook runs, and of all others not even read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kernel_gateway.messaging.message import Channel
from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.records import Comm, LogText
from kernel_gateway.runs.widgets import MIME
from tests.fake.execution.conftest import ME

if TYPE_CHECKING:
    import pytest

    from kernel_gateway.messaging.strict_json import Json
    from tests.fake.execution.conftest import Bench

UPDATES = 1000


def says(bench: Bench, msg_type: str, **content: Json) -> None:
    """Of what it executes now."""
    parent = bench.kernel.parent_of(bench.kernel.requests[-1])
    bench.kernel.tell(Channel.IOPUB, msg_type, content, parent)


async def test_a_flood_of_updates_is_few_records_and_the_last_one_counts(bench: Bench) -> None:
    await bench.submit("print begun\nsleep", run_id="r")
    await bench.until_told("r", "begun")
    state: dict[str, Json] = {"_model_name": "FloatProgressModel", "value": 0}
    says(bench, "comm_open", comm_id="c", target_name="jupyter.widget", data={"state": state})
    for value in range(1, UPDATES + 1):
        update: dict[str, Json] = {"method": "update", "state": {"value": value}}
        says(bench, "comm_msg", comm_id="c", data=update)
    await bench.service.cancel(ME, "r")
    await bench.over("r")
    comms, page = 0, Outputs()
    for record in await bench.records("r"):
        page.apply(record)
        comms += isinstance(record.body, Comm)
    assert comms < UPDATES // 10
    widgets: Any = page.widgets()
    assert {**state, "value": UPDATES} == widgets[MIME]["state"]["c"]["state"]


async def test_of_other_runs_a_comm_is_not_even_read(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "print begun\nsleep", "r")
    await bench.until_told("r", "begun")
    says(bench, "comm_msg", comm_id=["malformed"])
    says(bench, "stream", name="stdout", text="next")
    await bench.until_told("r", "next")
    found = [record.body for record in await bench.records("r")]
    assert LogText(stream="stdout", text="next") in found
    assert not any(isinstance(body, Comm) for body in found)
    assert [] == [one for one in caplog.records if one.levelno >= logging.WARNING]
