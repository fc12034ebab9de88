"""`notebook/papermill/metadata.py`: papermill's fields, and nothing in them that is not so."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from kernel_gateway.notebook.papermill.metadata import About, fill, of_run, of_step
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, RunView, StepOutcome, StepView

ABOUT = About(version="1.2", input_path="in", output_path="out", parameters={"x": 1})


def step(state: StepOutcome, **fields: Any) -> StepView:
    return StepView(index=0, name="a", state=state, **fields)


def view(**fields: Any) -> RunView:
    usual: dict[str, Any] = {
        "state": RunState.RUNNING,
        "outcome": None,
        "reason": None,
        "exit_code": None,
        "created_at": 1.0,
        "started_at": 4.0,
        "finished_at": None,
        "queue_time": None,
        "predict_time": None,
        "prompt": None,
        "steps": (),
        "history": ((RunState.QUEUED, 1.0), (RunState.STARTING, 2.0), (RunState.RUNNING, 4.0)),
        "is_stream": False,
    }
    return RunView(**(usual | fields))


def notebook(*kinds: str) -> dict[str, Any]:
    return {"metadata": {}, "cells": [{"cell_type": kind, "metadata": {}} for kind in kinds]}


def statuses(notebook: dict[str, Any]) -> list[str]:
    return [cell["metadata"]["papermill"]["status"] for cell in notebook["cells"]]


def test_a_run_has_papermills_fields() -> None:
    expected = {
        "default_parameters": {},
        "duration": 2.5,
        "end_time": "1970-01-01T00:00:04.500000+00:00",
        "environment_variables": {},
        "exception": None,
        "input_path": "in",
        "output_path": "out",
        "parameters": {"x": 1},
        "start_time": "1970-01-01T00:00:02.000000+00:00",
        "version": "2.7.0+kernel.gateway.1.2",
    }
    assert expected == of_run(ABOUT, view(finished_at=4.5), Outcome.OK)


def test_a_run_that_nobody_has_begun_has_no_times() -> None:
    told = of_run(ABOUT, None, None)
    assert (None, None, None) == (told["start_time"], told["end_time"], told["duration"])


def test_a_run_that_waits_for_its_turn_counts_from_its_creation() -> None:
    told = of_run(ABOUT, view(history=((RunState.QUEUED, 1.0),)), None)
    assert ("1970-01-01T00:00:01.000000+00:00", None) == (told["start_time"], told["duration"])


def test_a_clock_that_was_set_back_gives_no_negative_duration() -> None:
    assert 0.0 == of_run(ABOUT, view(finished_at=0.5), Outcome.OK)["duration"]


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.OK])
def test_every_bad_end_is_an_exception(outcome: Outcome) -> None:
    assert of_run(ABOUT, view(), outcome)["exception"] is True


@pytest.mark.parametrize("ours", ["0.1.0", "0+not.installed", "1.0.dev3+g12ab"])
def test_the_version_is_that_of_papermills_fields_and_names_us(ours: str) -> None:
    found = Version(str(of_run(About(version=ours), None, None)["version"]))
    assert ("2.7.0", True) == (found.public, str(found.local).startswith("kernel.gateway."))


@pytest.mark.parametrize(
    ("state", "status", "exception"),
    [
        (StepOutcome.PENDING, "pending", None),
        (StepOutcome.RUNNING, "running", False),
        (StepOutcome.OK, "completed", False),
        (StepOutcome.ALLOWED_ERROR, "completed", False),
        (StepOutcome.ERROR, "failed", True),
        (StepOutcome.TIMED_OUT, "failed", True),
        (StepOutcome.CANCELLED, "failed", True),
        (StepOutcome.DIED, "failed", True),
        (StepOutcome.SKIPPED, "pending", None),
        (StepOutcome.NOT_RUN, "pending", None),
    ],
)
def test_a_step_is_told_in_papermills_words(
    state: StepOutcome, status: str, exception: bool | None
) -> None:
    told = of_step(step(state))
    assert (status, exception) == (told["status"], told["exception"])


def test_a_step_has_papermills_fields() -> None:
    assert {
        "duration": 0.25,
        "end_time": "1970-01-01T00:00:02.000000+00:00",
        "exception": False,
        "start_time": "1970-01-01T00:00:01.500000+00:00",
        "status": "completed",
    } == of_step(step(StepOutcome.OK, started_at=1.5, finished_at=2.0, duration=0.25))


def test_what_lies_behind_the_cell_that_failed_was_never_completed() -> None:
    page = notebook("markdown", "code", "raw", "code", "markdown", "code")
    steps = [step(StepOutcome.OK), step(StepOutcome.DIED), step(StepOutcome.NOT_RUN)]
    fill(page, ABOUT, steps, view(), Outcome.LOST)
    expected = ["completed", "completed", "completed", "failed", "pending", "pending"]
    assert expected == statuses(page)
    assert page["metadata"]["papermill"]["exception"] is True


def test_a_run_comes_by_skipped_cells_and_allowed_errors() -> None:
    page = notebook("code", "code", "markdown")
    fill(page, ABOUT, [step(StepOutcome.SKIPPED), step(StepOutcome.ALLOWED_ERROR)], view(), None)
    assert ["pending", "completed", "completed"] == statuses(page)


@pytest.mark.parametrize("seen", [None, view(started_at=None)])
def test_before_the_kernel_is_up_no_text_is_completed(seen: RunView | None) -> None:
    page = notebook("markdown", "code")
    fill(page, ABOUT, [step(StepOutcome.PENDING)], seen, None)
    assert ["pending", "pending"] == statuses(page)
