"""Every kind of record and many refusals, to the letter: what a client is built on must not move.

`golden.json` has them as they were promised. What differs from run to run is left out, and what is
long is counted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.runs.caller import path_of
from tests.shared.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())

CODE = """
import getpass, sys
from IPython.display import clear_output, display, update_display
from kernel_gateway import scope
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
display("one", display_id="shown")
update_display("two", display_id="shown")
clear_output(wait=True)
display({"image/png": "iVBORw0KGgo="}, raw=True)
display({"text/x-large": "v" * (6 * 2**20 + 1)}, raw=True)
scope.current_run().metric("loss.train", 0.5)
scope.current_run().metric("loss", None)
(scope.current_run().artifact_dir / "a.txt").write_text("of a file")
print(input("name? "))
print("x" * (4 * 2**20 + 1))
getpass.getpass("word? ")
1 / 0
"""
NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {
            "cell_type": "code",
            "id": "one",
            "metadata": {},
            "source": "from comm import create_comm\n"
            "create_comm('t', comm_id='c', data={'state': {'n': 1}}, buffers=[b'ab']).close()",
            "outputs": [],
            "execution_count": None,
        }
    ],
}
RUNS: dict[str, Any] = {
    "query": {"code": CODE},
    "batch": {"mode": "batch", "steps": {"clean": "true", "build": "echo b", "exec": "exit 3"}},
    "notebook": {"mode": "notebook", "notebook": NOTEBOOK},
    "death": {"code": "import os; os._exit(7)"},
}


async def test_the_records_of_a_run_are_those_promised_on_every_way(
    caller: Caller, kernel: Kernel
) -> None:
    kinds: set[str] = set()
    described = await caller.described()
    for name, body in RUNS.items():
        async with receiving() as receiver:
            run = await caller.create(kernel=kernel.id, webhook={"url": receiver.url}, **body)
            if name == "query":
                for value in ("Ada", "secret"):
                    await _answer(caller, run["uid"], value)
            await caller.over(run["uid"])
            records = await caller.records(run["uid"])
            assert GOLDEN[name] == _bare(records)
            events = await caller.events(run["uid"])
            assert GOLDEN[name] == _bare(event.data for event in events)
            told = [(event.id, event.event) for event in events]
            assert told == [(number, one["kind"]) for number, one in enumerate(records, 1)]
            await receiver.until(lambda: receiver.posts[-1].records[-1]["kind"] == "completed")
            delivered = [record for post in receiver.posts for record in post.records]
            assert [] == described.faults_of_records(delivered)
            assert [one for one in GOLDEN[name] if _is_delivered(one)] == _bare(delivered)
            kinds.update(record["kind"] for record in records)
    assert described.kinds == kinds


async def test_what_is_not_there_is_absent_from_a_record(caller: Caller, shared: Kernel) -> None:
    """But for the step, which says with null that the run as a whole is meant."""
    run = await caller.done(kernel=shared.id, code="print('x'); 7")
    for record in await caller.records(run["uid"]):
        nulls = [name for name, value in record.items() if value is None]
        assert nulls in ([], ["step"]), record


async def test_refusals_are_those_promised(caller: Caller, shared: Kernel) -> None:
    run = (await caller.put("of the refusals", kernel=shared.id, code="print('done')")).json
    await caller.over(run["uid"])
    names = {"KERNEL": shared.id, "RUN": run["uid"]}
    told = []
    for verb, path, _, sent, _ in GOLDEN["refusals"]:
        body = json.loads(_named(json.dumps(sent), names))
        answer = await caller.call(verb, _named(path, names), body)
        told.append([verb, path, answer.status, sent, answer.json])
    assert GOLDEN["refusals"] == told


def _is_delivered(record: dict[str, Any]) -> bool:
    """No event of webhooks asks for the others."""
    if record["kind"] == "state":
        return record["state"] in {"queued", "starting", "running"}
    return record["kind"] not in {"step", "phase_finished", "kernel", "kernel_info"}


def _named(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(name, value)
    return text


async def _answer(caller: Caller, uid: str, value: str) -> None:
    """To the next prompt."""
    after = 0
    while (run := await caller.run(uid))["input_request"] is None:
        after = (await caller.call("GET", path_of(uid, f"/records?after={after}&wait=10"))).json[
            "next"
        ]
    body = {"value": value, "prompt_id": run["input_request"]["prompt_id"]}
    assert 200 == (await caller.call("POST", path_of(uid, "/input"), body)).status


def _bare(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without names, numbers, times and the run itself; a long text is one, and counted."""
    found: list[dict[str, Any]] = []
    for record in records:
        bare = {name: value for name, value in record.items() if name not in _MOVING}
        if found and _is_one_text(found[-1], bare):
            found[-1]["text"] += bare["text"]
        else:
            found.append(bare)
    return [_counted(bare) for bare in found]


_MOVING = {"run_id", "uid", "seq", "at", "run", "traceback", "msg_id", "version", "language_info"}


def _is_one_text(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """A text may come in any number of records."""
    return one["kind"] == "log" == other["kind"] and {**one, "text": ""} == {**other, "text": ""}


def _counted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _counted(one) for name, one in value.items()}
    if isinstance(value, str) and len(value) > 80:
        return f"{len(value)} characters"
    return value
