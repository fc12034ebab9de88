"""`notebook/report.py`: JUnit that any reader takes, whatever a kernel has sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import NotebookUnwritable
from kernel_gateway.notebook.report import Suite, first_words, junit
from kernel_gateway.notebook.runner import NotebookResult
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.view import Failure, Outcome, StepOutcome, StepView
from tests.unit.notebook.test_metadata import info

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

REASON = Reason(code="step_limit", message="The limit of 1 s was reached.")


def step(index: int, state: str, **more: Any) -> StepView:
    return StepView(index=index, name=f"c{index}", state=StepOutcome(state), **more)


def suite(*steps: StepView, outcome: Outcome = Outcome.TIMEOUT, **more: Any) -> Element:
    cells = [{"cell_type": "code", "source": f"cell {view.index}"} for view in steps]
    result = NotebookResult(outcome=outcome, reason=REASON, steps=steps, run=more.pop("run", None))
    notebook = {"cells": [{"cell_type": "markdown", "source": "text"}, *cells]}
    values = {"name": "out/a.ipynb", "notebook": notebook, "result": result, **more}
    (found,) = ET.fromstring(junit([Suite(**values)]))
    return found


def test_a_notebook_is_a_suite_and_a_cell_is_a_case() -> None:
    found = suite(
        step(0, "ok", duration=1.25, started_at=0.0),
        step(1, "allowed-error", duration=0.5),
        outcome=Outcome.OK,
        run=info(),
        attempt=2,
    )
    assert {
        "name": "out/a.ipynb",
        "tests": "2",
        "failures": "0",
        "errors": "0",
        "skipped": "0",
        "time": "1.750",
        "timestamp": "1970-01-01T00:00:00+00:00",
    } == found.attrib
    told = {one.get("name"): one.get("value") for one in found.iter("property")}
    assert {"outcome": "ok", "attempt": "2", "uid": "u"} == told
    cases = found.findall("testcase")
    assert [
        {"classname": "out/a.ipynb", "name": "1: cell 0", "time": "1.250"},
        {"classname": "out/a.ipynb", "name": "2: cell 1", "time": "0.500"},
    ] == [case.attrib for case in cases]
    assert [[], []] == [list(case) for case in cases]


def test_a_cell_that_failed_has_its_traceback_without_colours() -> None:
    error = Failure(ename="E", evalue="v<", traceback=("\x1b[31mline 1\x1b[0m", "line\0 2"))
    found = suite(step(0, "error", error=error), step(1, "not-run"), step(2, "skipped"))
    failure = found.find("testcase/failure")
    assert failure is not None
    assert {"type": "E", "message": "E: v<"} == failure.attrib
    assert "line 1\nline\N{REPLACEMENT CHARACTER} 2" == failure.text
    assert ["not-run", "skipped"] == [one.get("message") for one in found.iter("skipped")]
    assert ("1", "0", "2") == (found.get("failures"), found.get("errors"), found.get("skipped"))


@pytest.mark.parametrize("state", ["timed-out", "died", "cancelled"])
def test_an_end_that_is_not_of_the_code_is_an_error(state: str) -> None:
    found = suite(step(0, state))
    error = found.find("testcase/error")
    assert error is not None
    assert {"type": "step_limit", "message": REASON.message} == error.attrib
    assert "1" == found.get("errors")


def test_an_end_before_the_first_cell_is_a_case_of_its_own() -> None:
    found = suite(step(0, "not-run"))
    assert ["kernel", "1: cell 0"] == [case.get("name") for case in found.findall("testcase")]
    assert ("1", "1") == (found.get("errors"), found.get("skipped"))


def test_an_error_without_a_traceback_says_what_there_is() -> None:
    failure = suite(step(0, "error", error=Failure(ename="E", evalue="v"))).find(".//failure")
    assert failure is not None
    assert "E: v" == failure.text


def test_a_notebook_that_was_refused_is_a_suite_with_an_error() -> None:
    fault = NotebookUnwritable("No space.")
    found = suite(result=None, fault=fault)
    assert ("1", "1") == (found.get("tests"), found.get("errors"))
    error = found.find("testcase/error")
    assert error is not None
    assert {"type": fault.code, "message": "No space."} == error.attrib


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_nothing_that_is_sent_breaks_the_xml(text: str) -> None:
    error = Failure(ename=text, evalue=text, traceback=(text, text))
    found = suite(step(0, "error", error=error), name=text)
    assert 1 == len(found.findall("testcase"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("\n\n  first()\nsecond()", "first()"),
        ("%%time\nwork()", "work()"),
        ("%%bash", "%%bash"),
        ("x" * 60, "x" * 47 + "..."),
    ],
)
def test_a_cell_is_known_by_its_first_words(code: str, words: str) -> None:
    assert words == first_words(code)
