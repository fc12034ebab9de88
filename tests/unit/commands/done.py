"""Notebooks that were run, as values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_gateway.notebook.batch import Done, Order
from kernel_gateway.notebook.bringing import Homes
from kernel_gateway.notebook.choice import Wish
from kernel_gateway.notebook.document import Source
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.runner import NotebookResult
from kernel_gateway.notebook.saving import CopySink
from kernel_gateway.runs.view import Outcome, StepOutcome, StepView

if TYPE_CHECKING:
    from kernel_gateway.runs.records import Reason

HOMES = Homes(work=Path("work"), artifacts=Path("artifacts"))


def result(outcome: Outcome, reason: Reason, *states: str) -> NotebookResult:
    steps = tuple(
        StepView(index=index, name="", state=StepOutcome(state))
        for index, state in enumerate(states)
    )
    return NotebookResult(outcome=outcome, reason=reason, steps=steps)


def order(name: str) -> Order:
    source = Source(notebook={"cells": []}, wish=Wish(), digest="sha256:ab", version="4.5")
    job = NotebookJob(source=source, version="1", input_name="in.ipynb")
    return Order(name=name, job=job, sink=CopySink(None), homes=HOMES)


def done(name: str, ended: NotebookResult | None, **more: Any) -> Done:
    values = {"attempt": 1, "duration_s": 1.23, "notebook": {"cells": []}, **more}
    return Done(order=order(name), result=ended, **values)
