"""`notebook/papermill/failure.py`: what a program catches when a notebook fails."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from kernel_gateway.notebook.papermill.banner import with_banner
from kernel_gateway.notebook.papermill.failure import NotebookFailed, failure
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.view import Failure, StepOutcome, StepView

CELLS: list[dict[str, Any]] = [
    {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Title"},
    {"cell_type": "code", "id": "a", "metadata": {}, "source": "a"},
    {"cell_type": "code", "id": "b", "metadata": {}, "source": "1/0"},
]
ERROR = StepView(
    index=1,
    name="b",
    state=StepOutcome.ERROR,
    execution_count=2,
    error=Failure(ename="ZeroDivisionError", evalue="by zero", traceback=("\x1b[31mred\x1b[0m",)),
)
OK = StepView(index=0, name="a", state=StepOutcome.OK)
REASON = Reason(code="exception", message="It failed.")


class PapermillExecutionError(Exception):
    """As papermill has it: it keeps its arguments."""

    def __init__(self, *args: Any) -> None:
        self.seen = args
        super().__init__(*args)


@pytest.fixture
def papermill(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("papermill.exceptions")
    module.PapermillExecutionError = PapermillExecutionError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "papermill.exceptions", module)


def test_it_tells_the_exception_and_its_cell_in_papermills_words() -> None:
    found = failure(CELLS, [OK, ERROR], REASON)
    assert (2, 2, "1/0") == (found.cell_index, found.exec_count, found.source)
    assert ("ZeroDivisionError", "by zero") == (found.ename, found.evalue)
    assert "\n".join(["", 75 * "-", 'Exception encountered at "In [2]":', "red", ""]) == str(found)


def test_the_cell_is_counted_without_the_banner() -> None:
    shown = with_banner({"cells": CELLS}, [OK, ERROR])["cells"]
    assert 2 == failure(shown, [OK, ERROR], REASON).cell_index


def test_where_the_code_raised_nothing_the_reason_is_told() -> None:
    died = StepView(index=0, name="a", state=StepOutcome.DIED)
    found = failure(CELLS, [died], Reason(code="kernel_died", message="It died by SIGKILL."))
    assert (1, None, "kernel_died") == (found.cell_index, found.exec_count, found.ename)
    assert 'at "In [ ]":\nkernel_died: It died by SIGKILL.\n' in str(found)


def test_a_run_may_fail_between_two_cells() -> None:
    not_run = StepView(index=0, name="a", state=StepOutcome.NOT_RUN)
    found = failure(CELLS, [not_run], Reason(code="total_limit", message="Too long."))
    assert (None, "", "total_limit") == (found.cell_index, found.source, found.ename)


@pytest.mark.usefixtures("papermill")
def test_whoever_has_loaded_papermill_catches_it_as_papermills() -> None:
    found = failure(CELLS, [OK, ERROR], REASON)
    assert isinstance(found, PapermillExecutionError)
    assert isinstance(found, NotebookFailed)
    assert found.args == found.seen
    again = pickle.loads(pickle.dumps(found))
    assert type(found) is type(again)


def test_without_papermill_it_is_ours_alone_also_behind_a_pipe_of_processes() -> None:
    again = pickle.loads(pickle.dumps(failure(CELLS, [OK, ERROR], REASON)))
    assert NotebookFailed is type(again)
    assert "by zero" == again.evalue
