"""`commands/progress.py`: what somebody sees who waits. The line that moves: `tests/e2e`."""

from __future__ import annotations

import io
from itertools import count
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.commands.progress import Progress, Screen, summary
from kernel_gateway.notebook.choice import Choice
from kernel_gateway.notebook.runner import (
    KernelChosen,
    NotebookResult,
    NotSaved,
    StillPrinting,
)
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Reason, Record, Seq
from kernel_gateway.runs.view import Outcome, StepOutcome, StepView
from kernel_gateway.service import KernelSpecView

if TYPE_CHECKING:
    from kernel_gateway.runs.records import Body

SPEC = KernelSpecView(name="python3", display_name="Python", language="python")
ERROR = records.ErrorRaised(ename="E", evalue="v", traceback=("\x1b[31mline 1\x1b[0m", "line 2"))


class Watched:
    """Progress on something that is no terminal."""

    def __init__(self, *codes: str, log_output: bool = False) -> None:
        self._stream = io.StringIO()
        self._numbers = count(1)
        self.progress = Progress(Screen(self._stream, len(codes)), codes, log_output=log_output)

    def hear(self, body: Body, step: int | None = 0, at: float = 0.0) -> Watched:
        self.progress.tell(Record(seq=Seq(next(self._numbers)), at=at, step=step, body=body))
        return self

    def step(self, state: str, step: int = 0, at: float = 0.0) -> Watched:
        return self.hear(records.StepChanged(state=state), step, at)

    def prints(self, text: str) -> Watched:
        return self.hear(records.LogText(stream="stdout", text=text))

    @property
    def lines(self) -> list[str]:
        return self._stream.getvalue().split("\n")[:-1]


def test_a_cell_leaves_a_line_when_it_is_over() -> None:
    watched = Watched("a", "b").step("running", 1, at=10.0)
    assert watched.lines == []
    assert watched.step("ok", 1, at=12.26).lines == ["[2/2] ok 2.3 s  b"]


def test_a_cell_that_never_ran_took_no_time() -> None:
    assert Watched("a").step("skipped").lines == ["[1/1] skipped  a"]


def test_cells_behind_the_end_leave_no_line() -> None:
    assert Watched("a").step("not-run").lines == []


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
    assert Watched(code).step("skipped").lines == [f"[1/1] skipped  {words}"]


def test_a_clock_that_was_set_back_shows_no_negative_time() -> None:
    watched = Watched("a").step("running", at=10.0).step("ok", at=5.0)
    assert watched.lines == ["[1/1] ok 0.0 s  a"]


def test_the_traceback_of_the_cell_that_failed_is_shown_without_colours() -> None:
    watched = Watched("a").hear(ERROR).step("error")
    assert watched.lines == ["[1/1] error  a", "line 1", "line 2"]


def test_an_error_that_is_allowed_needs_no_traceback() -> None:
    assert Watched("a").hear(ERROR).step("allowed-error").lines == ["[1/1] allowed-error  a"]


def test_an_error_without_a_traceback_is_shown_by_its_name() -> None:
    error = records.ErrorRaised(ename="E", evalue="v", traceback=())
    assert Watched("a").hear(error).step("error").lines[1:] == ["E: v"]


def test_output_is_shown_only_when_wanted() -> None:
    result = records.Output(
        index=0, output_type="execute_result", data={"text/plain": "42"}, metadata={}
    )
    picture = records.Output(
        index=1, output_type="display_data", data={"image/png": ""}, metadata={}
    )
    quiet, loud = Watched("a"), Watched("a", log_output=True)
    for watched in (quiet, loud):
        watched.prints("text\n").hear(result).hear(picture).hear(ERROR).step("error")
    assert quiet.lines == ["[1/1] error  a", "line 1", "line 2"]
    assert loud.lines == ["text", "42", "line 1", "line 2", "[1/1] error  a"]


def test_a_line_of_ours_does_not_join_unfinished_text() -> None:
    watched = Watched("a", log_output=True).prints("no ").prints("end").step("ok")
    assert watched.lines == ["no end", "[1/1] ok  a"]


def test_only_a_fallback_is_said_of_the_kernel() -> None:
    watched = Watched("a")
    watched.progress.tell(KernelChosen(Choice(spec=SPEC)))
    assert watched.lines == []
    assert watched.progress.begun
    watched.progress.tell(KernelChosen(Choice(spec=SPEC, fallback="Another is used.")))
    assert watched.lines == ["Another is used."]


def test_trouble_is_said() -> None:
    watched = Watched("a")
    watched.progress.tell(NotSaved("No space."))
    watched.progress.tell(StillPrinting(10.0))
    assert watched.lines == [
        "The output cannot be written, it is tried again: No space.",
        "Threads still print after 10 s, they are ended.",
    ]


def test_a_stream_that_is_gone_stops_nothing() -> None:
    stream = io.StringIO()
    screen = Screen(stream, 1)
    stream.close()
    screen.line("text")
    screen.tick()
    screen.close()


def result(outcome: Outcome, reason: Reason, *states: str) -> NotebookResult:
    steps = tuple(
        StepView(index=index, name="", state=StepOutcome(state))
        for index, state in enumerate(states)
    )
    return NotebookResult(outcome=outcome, reason=reason, steps=steps)


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
