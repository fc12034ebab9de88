"""`commands/progress.py`: what somebody sees who waits. The line that moves: `tests/e2e`."""

from __future__ import annotations

import io
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.commands.progress import Part, Progress, Screen
from kernel_gateway.notebook.batch import Retried
from kernel_gateway.notebook.choice import Choice
from kernel_gateway.notebook.runner import (
    KernelChosen,
    NotebookResult,
    NotSaved,
)
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Reason, Record, Seq
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import KernelSpecView
from tests.unit.commands.done import done

if TYPE_CHECKING:
    from kernel_gateway.notebook.batch import BatchEvent
    from kernel_gateway.runs.records import Body

SPEC = KernelSpecView(name="python3", display_name="Python", language="python")
ERROR = records.ErrorRaised(ename="E", evalue="v", traceback=("\x1b[31mline 1\x1b[0m", "line 2"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def notebook(*codes: str) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "source": code} for code in codes]}


class Watched:
    """Progress on something that is no terminal."""

    def __init__(self, *codes: str, log_output: bool = False) -> None:
        self._stream = io.StringIO()
        self._numbers = count(1)
        self.progress = Progress(Screen(self._stream, len(codes)), codes, log_output=log_output)

    def tell(self, event: BatchEvent) -> Watched:
        self.progress.tell(event)
        return self

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
    watched.progress.tell(KernelChosen(Choice(spec=SPEC), notebook("a")))
    assert watched.lines == []
    chosen = Choice(spec=SPEC, fallback="Another is used.")
    watched.progress.tell(KernelChosen(chosen, notebook("a")))
    assert watched.lines == ["Another is used."]


def test_trouble_is_said() -> None:
    watched = Watched("a")
    watched.progress.tell(NotSaved("No space."))
    watched.hear(records.Dropped(why="still_printing"), step=None)
    assert watched.lines == [
        "The output cannot be written, it is tried again: No space.",
        "Threads go on printing after the end; they are ended.",
    ]


def test_a_stream_that_is_gone_stops_nothing() -> None:
    stream = io.StringIO()
    screen = Screen(stream, 1)
    stream.close()
    screen.line("text")
    screen.tick()
    screen.close()


def test_a_cell_of_parameters_that_is_put_in_is_counted() -> None:
    watched = Watched("a").tell(KernelChosen(Choice(spec=SPEC), notebook("x = 1", "a")))
    assert ["[1/2] skipped  x = 1"] == watched.step("skipped").lines


def test_another_attempt_is_announced_and_begins_anew() -> None:
    chosen = KernelChosen(Choice(spec=SPEC, fallback="Another is used."), notebook("a"))
    failed = NotebookResult(
        outcome=Outcome.LOST, reason=Reason(code="kernel_died", message="It died."), steps=()
    )
    watched = Watched("a").tell(chosen).hear(ERROR).step("running").step("died", at=1.0)
    watched.tell(Retried(attempt=2, failed=failed)).tell(chosen).step("error", at=5.0)
    assert [
        "Another is used.",
        "[1/1] died 1.0 s  a",
        "lost: It died. Attempt 2 begins.",
        "[1/1] error  a",
    ] == watched.lines


# -- several runs on one screen --------------------------------------------------------------------


def test_what_is_said_meanwhile_comes_above_the_question() -> None:
    shown = io.StringIO()
    screen = Screen(shown, 1)
    screen.text("begun")
    with screen.asking("Name? ") as show:
        show()
        screen.line("another run")
        screen.text("half")
        screen.current("words")
        screen.tick()
    screen.text(" a line\n")
    assert "begunName? \nanother run\nName? half a line\n" == shown.getvalue()


def test_the_line_that_moves_stands_aside_for_a_question() -> None:
    shown = Terminal()
    screen = Screen(shown, 2)
    screen.text("begun: ")
    with screen.asking("Name? ") as show:
        before = shown.getvalue()
        show()
        screen.line("another run")
        screen.current("words")
        screen.advance(1)
        screen.tick()
    asked, _, after = shown.getvalue().removeprefix(before).partition("another run\nName? ")
    screen.close()
    assert "begun: Name? \n" == asked
    assert "1/2 cells" in after
    assert "words" in after


def test_each_line_says_whose_it_is() -> None:
    stream = io.StringIO()
    part = Part(Screen(stream, 1), "a\x1b.ipynb")
    part.line("one")
    part.line("two\nlines\n")
    assert "a\\x1b.ipynb: one\na\\x1b.ipynb:\ntwo\nlines\n" == stream.getvalue()


def test_text_without_an_end_does_not_run_into_that_of_another() -> None:
    stream = io.StringIO()
    screen = Screen(stream, 2)
    one, other = Part(screen, "a"), Part(screen, "b")
    one.text("no ")
    other.text("first\nsecond\n")
    one.text("end\nno")
    other.line("ok")
    one.flush()
    one.flush()
    assert "b: first\nb: second\na: no end\nb: ok\na: no\n" == stream.getvalue()


def test_what_was_printed_last_is_shown_at_the_end() -> None:
    stream = io.StringIO()
    progress = Progress(Part(Screen(stream, 1), "a"), ["a"], log_output=True)
    progress.tell(
        Record(seq=Seq(1), at=0.0, step=0, body=records.LogText(stream="stdout", text="no end"))
    )
    progress.tell(done("a", None))
    assert "a: no end\n" == stream.getvalue()
