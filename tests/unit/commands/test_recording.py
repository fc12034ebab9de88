"""`commands/recording.py`: what happens, as JSON on stdout. Records in a file: `tests/fake`."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from kernel_gateway.commands.recording import JsonEvents
from kernel_gateway.errors import NotebookUnwritable
from kernel_gateway.notebook.batch import Retried
from kernel_gateway.notebook.choice import Choice
from kernel_gateway.notebook.runner import KernelChosen, NotebookResult, NotSaved
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Reason, Record, Seq
from kernel_gateway.runs.view import Outcome, StepOutcome, StepView
from kernel_gateway.service import KernelSpecView
from tests.unit.commands.done import done, order
from tests.unit.notebook.test_metadata import info

if TYPE_CHECKING:
    from kernel_gateway.notebook.batch import BatchEvent

SPEC = KernelSpecView(name="python3", display_name="Python", language="python")
CELLS = {"cells": [{"cell_type": "code", "id": name, "source": ""} for name in ("c1", "c2")]}
CHOSEN = KernelChosen(Choice(spec=SPEC, fallback="Another is used."), CELLS)


def told(*events: BatchEvent, log_output: bool = False) -> list[dict[str, Any]]:
    stream = io.StringIO()
    shown = JsonEvents(stream, log_output=log_output, exit_code=lambda done: 9)
    for event in events:
        shown.tell(order("o.ipynb"), event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def record(body: records.Body, step: int | None = 0, at: float = 0.0) -> Record:
    return Record(seq=Seq(1), at=at, step=step, body=body)


def change(state: str, step: int = 0, at: float = 0.0) -> Record:
    return record(records.StepChanged(state=state), step, at)


def test_each_event_says_whose_it_is() -> None:
    assert [
        {
            "event": "kernel",
            "output": "o.ipynb",
            "input": "in.ipynb",
            "name": "python3",
            "fallback": "Another is used.",
            "cells": 2,
        },
        {"event": "not_saved", "output": "o.ipynb", "message": "No space."},
    ] == told(CHOSEN, NotSaved("No space."))


def test_a_cell_is_told_when_it_begins_and_when_it_is_over() -> None:
    cell = {"event": "cell", "output": "o.ipynb", "step": 1, "cell": "c2"}
    assert [
        {**cell, "state": "running"},
        {**cell, "state": "ok", "seconds": 1.235},
        {**cell, "step": 0, "cell": "c1", "state": "skipped"},
    ] == told(
        CHOSEN, change("running", 1, 10.0), change("ok", 1, 11.2346), change("skipped", 0, 12.0)
    )[1:]


def test_text_is_told_when_it_is_wanted() -> None:
    text = record(records.LogText(stream="stderr", text="\ud800\n"))
    result = record(
        records.Output(index=0, output_type="display_data", data={"text/plain": "x"}, metadata={})
    )
    assert 1 == len(told(CHOSEN, text, result))
    assert {
        "event": "text",
        "output": "o.ipynb",
        "step": 0,
        "stream": "stderr",
        "text": "\ud800\n",
    } == told(CHOSEN, text, result, log_output=True)[-1]


def test_another_attempt_and_the_end_say_why() -> None:
    died = NotebookResult(
        outcome=Outcome.LOST, reason=Reason(code="kernel_died", signal="SIGKILL"), steps=()
    )
    steps = tuple(
        StepView(index=index, name="", state=state)
        for index, state in enumerate([StepOutcome.OK, StepOutcome.ERROR, StepOutcome.OK])
    )
    failed = NotebookResult(
        outcome=Outcome.ERROR, reason=Reason(code="exception"), steps=steps, run=info()
    )
    retry, end = told(Retried(attempt=2, failed=died), done("o.ipynb", failed, attempt=2))
    assert {
        "event": "retry",
        "output": "o.ipynb",
        "attempt": 2,
        "outcome": "lost",
        "reason": {"code": "kernel_died", "signal": "SIGKILL"},
    } == retry
    assert {
        "event": "end",
        "output": "o.ipynb",
        "attempt": 2,
        "seconds": 1.23,
        "outcome": "error",
        "reason": {"code": "exception"},
        "exit_code": 9,
        "uid": "u",
        "cells": {"ok": 2, "error": 1},
    } == end


def test_an_output_that_was_not_written_is_told() -> None:
    (end,) = told(done("o.ipynb", None, fault=NotebookUnwritable("No space.")))
    assert ("No space.", 9) == (end["fault"], end["exit_code"])
    assert "outcome" not in end


def test_a_reader_that_has_gone_stops_nothing() -> None:
    stream = io.StringIO()
    events = JsonEvents(stream, log_output=False, exit_code=lambda done: 9)
    stream.close()
    events.tell(order("o.ipynb"), NotSaved("No space."))
