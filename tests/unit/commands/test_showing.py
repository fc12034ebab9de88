"""`commands/showing.py`: what a terminal shows of a run, and its exit code."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from kernel_gateway.client import parse
from kernel_gateway.commands.showing import Shown, exit_code
from kernel_gateway.commands.terminal import Screen
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Reason, Spilled
from kernel_gateway.runs.view import Outcome
from tests.unit.client.samples import run_json


def shown(*bodies: records.Body) -> tuple[str, str]:
    """On stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    one = Shown(Screen(out, err), "command")
    for body in bodies:
        one.show(body)
    return out.getvalue(), err.getvalue()


def test_text_goes_to_the_stream_that_it_came_from() -> None:
    text = [records.LogText(stream=stream, text=f"{stream}\n") for stream in ("stdout", "stderr")]
    assert ("stdout\n", "stderr\n") == shown(*text)


def display(**data: str) -> records.Output:
    return records.Output(
        index=0,
        output_type="display_data",
        data={name.replace("_", "/"): value for name, value in data.items()},
        metadata={},
    )


def test_a_display_stands_on_a_line_of_its_own() -> None:
    text = records.LogText(stream="stdout", text="no newline")
    assert ("no newline\nx\n", "") == shown(text, display(text_plain="x", text_html="<b>"))


def test_a_display_without_text_is_named_by_its_types() -> None:
    spilled = Spilled(artifact="a1", size=9, digest="sha256:0", preview="abc")
    assert "[image/png]\n" == shown(display(image_png="aGk="))[0]
    big = replace(display(), spilled={"text/html": spilled})
    assert "[text/html]\n" == shown(big)[0]
    assert "abc...\n" == shown(replace(display(), spilled={"text/plain": spilled}))[0]


def test_an_error_is_shown_as_its_traceback_without_colours() -> None:
    error = records.ErrorRaised(ename="E", evalue="v", traceback=("\x1b[31mone\x1b[0m", "two"))
    assert ("", "one\ntwo\n") == shown(error)
    assert ("", "E: v\n") == shown(replace(error, traceback=()))


@pytest.mark.parametrize(("evalue", "expected"), [("3", ""), ("", ""), ("no good", "no good\n")])
def test_a_program_that_exits_says_what_it_was_told_to_say(evalue: str, expected: str) -> None:
    error = records.ErrorRaised(ename="SystemExit", evalue=evalue, traceback=("long",))
    assert ("", expected) == shown(error)


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        (records.Dropped(why="log_limit", bytes=3), "3 bytes of output are missing (log_limit)"),
        (records.Dropped(why="x", count=2), "2 messages of output are missing (x)"),
    ],
)
def test_what_is_missing_is_said(dropped: records.Dropped, expected: str) -> None:
    assert ("", f"command: {expected}\n") == shown(dropped)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("ok", ""), ("error", ""), ("timeout", "command: why\n"), ("lost", "command: why\n")],
)
def test_an_end_that_the_code_did_not_make_is_explained(outcome: str, expected: str) -> None:
    reason = Reason(code="c", message="why")
    assert ("", expected) == shown(records.Completed(outcome=outcome, reason=reason))


def test_an_end_without_words_is_explained_by_its_code() -> None:
    end = records.Completed(outcome="lost", reason=Reason(code="kernel_died"))
    assert ("", "command: kernel_died\n") == shown(end)


def test_what_has_no_form_for_a_terminal_is_passed_over() -> None:
    assert ("", "") == shown(records.StateChanged(state="running"), records.Cleared(wait=True))


@pytest.mark.parametrize(
    ("outcome", "own", "reason", "expected"),
    [
        ("ok", 0, "done", 0),
        ("error", 3, "exited", 3),
        ("error", -1, "exited", 255),
        ("error", None, "exception", 1),
        ("cancelled", None, "cancelled", 130),
        ("timeout", None, "run_limit", 124),
        ("lost", None, "kernel_died", 6),
        ("lost", None, "kernel_start_failed", 4),
        (None, None, None, 6),
    ],
)
def test_each_end_has_its_exit_code(
    outcome: str | None, own: int | None, reason: str | None, expected: int
) -> None:
    told = None if reason is None else {"code": reason, "message": ""}
    run = parse.run_info(run_json(outcome=outcome, exit_code=own, reason=told))
    assert (outcome and Outcome(outcome)) == run.view.outcome
    assert expected == exit_code(run)
