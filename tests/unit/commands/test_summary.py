"""`commands/summary.py`: how runs ended, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel_gateway.commands.summary import summary, table
from kernel_gateway.errors import NotebookUnwritable
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.view import Outcome
from tests.unit.commands.done import done, result

if TYPE_CHECKING:
    from kernel_gateway.notebook.runner import NotebookResult

OK = result(Outcome.OK, Reason(code="done"), "ok", "skipped")
FAILED = result(Outcome.ERROR, Reason(code="exception", message="E: v"), "ok", "error", "not-run")


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        (
            result(Outcome.OK, Reason(code="done"), "ok"),
            "ok: 1 cell in 1.2 s -> o",
        ),
        (
            result(Outcome.OK, Reason(code="done"), "ok", "skipped", "ok"),
            "ok: 3 cells (2 ok, 1 skipped) in 1.2 s -> o",
        ),
        (
            result(Outcome.ERROR, Reason(code="exception", message="E: v\nw"), "ok", "error"),
            "error: cell 2: E: v w. 2 cells (1 ok, 1 error) in 1.2 s -> o",
        ),
        (
            result(Outcome.LOST, Reason(code="kernel_start_failed"), "not-run"),
            "lost: kernel_start_failed. 1 cell (1 not-run) in 1.2 s -> o",
        ),
        (
            result(
                Outcome.CANCELLED,
                Reason(code="cancelled", message="stopped", worked="kill"),
                "cancelled",
            ),
            "cancelled: cell 1: stopped, the kernel was killed. 1 cell (1 cancelled) in 1.2 s -> o",
        ),
    ],
)
def test_the_summary_is_one_line(ended: NotebookResult, line: str) -> None:
    assert summary(ended, 1.23, "o") == line


def test_more_than_one_attempt_is_told() -> None:
    expected = "ok: 2 cells (1 ok, 1 skipped) in 1.2 s, attempt 3 -> o"
    assert expected == summary(OK, 1.23, "o", attempt=3)


def test_of_several_there_is_a_table() -> None:
    all_done = [
        done("a.ipynb", OK),
        done("much-longer.ipynb", FAILED, attempt=2),
        done("c\x1b.ipynb", None, fault=NotebookUnwritable("The disk is full.")),
        done("d.ipynb", OK, attempt=2),
    ]
    assert [
        "OUTPUT             OUTCOME      CELLS  TIME   WHY",
        "a.ipynb            ok           1/2    1.2 s",
        "much-longer.ipynb  error        1/3    1.2 s  cell 2: E: v. (attempt 2)",
        "c\\x1b.ipynb        not written         1.2 s  The disk is full.",
        "d.ipynb            ok           1/2    1.2 s  (attempt 2)",
        "2 of 4 notebooks are ok.",
    ] == table(all_done)
