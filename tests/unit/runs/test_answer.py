"""What one execute call is told: a fold of the log from a cursor on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.runs import records
from kernel_gateway.runs.answer import (
    CONSOLE_CHARS,
    Answer,
    ConsoleItem,
    Cursor,
    Standing,
    Status,
    answer,
)
from kernel_gateway.runs.records import Reason, Record, Seq, Spilled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Body

DONE = records.Completed(outcome="ok", reason=Reason(code="done"), exit_code=0)
ASKED = records.InputAsked(prompt_id=3, prompt="name? ", password=True)
WAITS = Standing(prompt_id=3, is_password=True)


def out(text: str) -> records.LogText:
    return records.LogText(stream="stdout", text=text)


def err(text: str) -> records.LogText:
    return records.LogText(stream="stderr", text=text)


def shown(data: dict[str, Json], spilled: dict[str, Spilled] | None = None) -> records.Output:
    return records.Output(
        index=0, output_type="display_data", data=data, metadata={}, spilled=spilled
    )


def logged(*bodies: Body) -> list[Record]:
    return [
        Record(seq=Seq(seq), at=0.25, step=0, body=body) for seq, body in enumerate(bodies, start=1)
    ]


def ask(
    log: Sequence[Record],
    cursor: Cursor | None = None,
    standing: Standing | None = None,
    chars: int = CONSOLE_CHARS,
) -> Answer:
    """As the engine asks: with the records behind the cursor."""
    at = cursor or Cursor()
    return answer("r", log[at.seq :], at, standing or Standing(), chars=chars)


def console(*bodies: Body) -> list[tuple[str, str | tuple[str, ...]]]:
    return [(item.type, item.value) for item in ask(logged(*bodies)).console]


# -- statuses -------------------------------------------------------------------------------------


def test_a_run_that_goes_on_is_continued_behind_what_was_told() -> None:
    given = ask(logged(records.StateChanged(state="queued"), out("a")))
    assert (
        Answer(
            run_id="r",
            status=Status.CONTINUED,
            exit_code=None,
            console=(ConsoleItem("stdout", "a"),),
            is_password=None,
            prompt_id=None,
            cursor=Cursor(Seq(2)),
        )
        == given
    )
    assert given.has_news is False


def test_an_answer_about_nothing_new_is_empty() -> None:
    given = ask(logged(out("a")), Cursor(Seq(1)))
    assert (Status.CONTINUED, (), Cursor(Seq(1))) == (given.status, given.console, given.cursor)


def test_finished_is_told_with_the_exit_code_after_everything() -> None:
    given = ask(logged(out("a"), replace(DONE, exit_code=3)))
    assert (Status.FINISHED, 3, Cursor(Seq(2))) == (given.status, given.exit_code, given.cursor)
    assert given.has_news


def test_finished_is_told_again_and_again() -> None:
    log = logged(out("a"), DONE)
    given = ask(log, Cursor(Seq(2)), Standing(completed=DONE))
    assert (Status.FINISHED, 0, ()) == (given.status, given.exit_code, given.console)


def test_the_end_of_what_was_read_is_not_the_end_of_the_run() -> None:
    log = logged(out("a"), out("b"), DONE)
    given = answer("r", log[:1], Cursor(), Standing())
    assert (Status.CONTINUED, Cursor(Seq(1))) == (given.status, given.cursor)


def test_waiting_for_input_is_told_with_the_prompt_and_what_was_printed_before() -> None:
    given = ask(logged(out("hello\n"), ASKED), standing=WAITS)
    assert (Status.WAITING_INPUT, True, 3, None) == (
        given.status,
        given.is_password,
        given.prompt_id,
        given.exit_code,
    )
    assert (ConsoleItem("stdout", "hello\nname? "),) == given.console


def test_waiting_for_input_is_told_again_with_nothing_new() -> None:
    given = ask(logged(out("a"), ASKED), Cursor(Seq(2)), WAITS)
    assert (Status.WAITING_INPUT, ()) == (given.status, given.console)


def test_a_prompt_that_was_answered_is_only_text() -> None:
    log = logged(ASKED, records.InputAnswered(prompt_id=3, value="Ada"), out("Hello"))
    given = ask(log)
    assert (Status.CONTINUED, (ConsoleItem("stdout", "name? Hello"),)) == (
        given.status,
        given.console,
    )


def test_a_finished_phase_is_told_once_and_before_any_output_of_the_next() -> None:
    log = logged(
        records.PhaseFinished(phase="clean", exit_code=0),
        out("cc"),
        records.PhaseFinished(phase="build", exit_code=2),
        out("hello"),
        DONE,
    )
    told = []
    cursor = Cursor()
    for _ in range(4):
        given = ask(log, cursor, Standing(completed=DONE))
        told.append((given.status.value, given.exit_code, [x.value for x in given.console]))
        cursor = given.cursor
    assert [
        ("clean-finished", 0, []),
        ("build-finished", 2, ["cc"]),
        ("finished", 0, ["hello"]),
        ("finished", 0, []),
    ] == told


# -- the limit ------------------------------------------------------------------------------------


def test_one_answer_carries_so_many_characters_a_stream() -> None:
    log = logged(out("abc"), err("xy"), out("def"), DONE)
    first = ask(log, chars=4)
    assert ["abc", "xy", "d"] == [item.value for item in first.console]
    assert (Status.CONTINUED, Cursor(Seq(2), 1)) == (first.status, first.cursor)
    second = ask(log, first.cursor, Standing(completed=DONE), chars=4)
    assert (ConsoleItem("stdout", "ef"),) == second.console
    assert Status.FINISHED is second.status


def test_a_text_of_any_length_is_told_in_pieces() -> None:
    log = logged(out("a" * 10), DONE)
    pieces, cursor = [], Cursor()
    while True:
        given = ask(log, cursor, chars=4)
        pieces += [item.value for item in given.console]
        cursor = given.cursor
        if given.status is Status.FINISHED:
            break
    assert ["aaaa", "aaaa", "aa"] == pieces


def test_a_full_answer_goes_no_further_than_what_it_could_tell() -> None:
    log = logged(out("abcd"), shown({"image/png": "x"}), out("e"), shown({"image/png": "y"}))
    first = ask(log, chars=4)
    assert (Cursor(Seq(2)), 2) == (first.cursor, len(first.console))
    assert ["e", ("image/png", "data:image/png;base64,y")] == [
        item.value for item in ask(log, first.cursor, chars=4).console
    ]


BODIES: st.SearchStrategy[Body] = st.one_of(
    st.builds(out, st.text("ab\n", max_size=9)),
    st.builds(err, st.text("xy\n", max_size=9)),
    st.text("r", max_size=9).map(lambda text: shown({"text/plain": text})),
    st.sampled_from(
        [
            ASKED,
            records.Cleared(wait=True),
            records.StateChanged(state="running"),
            records.PhaseFinished(phase="build", exit_code=1),
            records.Dropped(why="log_limit", bytes=7),
            records.ErrorRaised(ename="E", evalue="e", traceback=("one", "two")),
            shown({"image/png": "abc"}),
            shown(
                {},
                {"text/plain": Spilled(artifact="1", size=9, digest="d", preview="preview")},
            ),
        ]
    ),
)


@given(
    bodies=st.lists(BODIES, max_size=12),
    completed=st.sampled_from([DONE, records.Completed(outcome="lost", reason=Reason(code="x"))]),
    chars=st.integers(1, 12),
    page=st.integers(1, 5),
)
def test_the_console_of_all_answers_is_the_console_of_one_big_answer(
    bodies: list[Body], completed: records.Completed, chars: int, page: int
) -> None:
    log = logged(*bodies, completed)
    whole = _told(log, chars=10**6, page=10**6)
    parts = _told(log, chars=chars, page=page)
    assert whole.console == parts.console
    assert whole.statuses == parts.statuses
    assert ["finished"] == [status for status in parts.statuses if status == "finished"]
    assert parts.longest <= chars


@pytest.mark.parametrize("cursor", [Cursor(), Cursor(Seq(17)), Cursor(Seq(17), 524_288)])
def test_a_cursor_is_text_and_comes_back(cursor: Cursor) -> None:
    assert cursor == Cursor.parse(str(cursor))


def test_a_plain_number_is_a_cursor() -> None:
    assert Cursor(Seq(17)) == Cursor.parse(17)


@pytest.mark.parametrize(
    "value", ["", ":", "17:", ":4", "-1", "1.5", "a", "1:2:3", "٣", "9" * 16, " 1", True]
)
def test_anything_else_is_no_cursor(value: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        Cursor.parse(value)


# -- what is shown --------------------------------------------------------------------------------


def test_neighbours_of_one_stream_are_joined_and_the_order_across_kinds_is_kept() -> None:
    assert [
        ("stdout", "ab"),
        ("stderr", "c"),
        ("html", "<p>"),
        ("html", "<q>"),
        ("stdout", "d"),
    ] == (
        console(
            out("a"),
            records.Cleared(wait=True),
            out("b"),
            err("c"),
            shown({"text/html": "<p>"}),
            shown({"text/html": "<q>"}),
            out(""),
            out("d"),
        )
    )


@pytest.mark.parametrize(
    ("data", "item"),
    [
        ({"text/plain": "42"}, ("stdout", "42")),
        ({"text/plain": "x", "text/html": "<b>"}, ("html", "<b>")),
        (
            {"text/html": "<b>", "image/png": "iVBO\nRw0=\n"},
            ("media", ("image/png", "data:image/png;base64,iVBORw0=")),
        ),
        ({"image/jpeg": "/9j/"}, ("media", ("image/jpeg", "data:image/jpeg;base64,/9j/"))),
        ({"image/svg+xml": "<svg/>"}, ("media", ("image/svg+xml", "<svg/>"))),
        ({"text/plain": "x", "text/markdown": "*x*"}, ("media", ("text/markdown", "*x*"))),
        ({"text/latex": "$x$", "text/plain": "x"}, ("media", ("text/latex", "$x$"))),
        (
            {"text/plain": "x", "application/json": {"a": [1, None]}},
            ("media", ("application/json", '{"a":[1,null]}')),
        ),
        ({"application/x-other": "?", "text/plain": "x"}, ("stdout", "x")),
        ({"application/x-other": "?"}, ("media", ("application/x-other", "?"))),
        ({"text/plain": 3}, ("stdout", "3")),
    ],
)
def test_of_several_representations_the_richest_is_shown(
    data: dict[str, Json], item: tuple[str, str]
) -> None:
    assert [item] == console(shown(data))
    assert [item] == console(records.Updated(display_id="d", data=data, metadata={}))


def test_an_output_without_any_representation_shows_nothing() -> None:
    assert [] == console(shown({}))


def test_a_value_that_travels_by_reference_leaves_a_notice() -> None:
    item = Spilled(artifact="3-0", size=7_000_000, digest="sha256:0", preview="abc")
    notice = "A {} value of 7000000 bytes is kept as artifact 3-0 of the run."
    time = "1970-01-01T00:00:00.250000+00:00"
    assert [
        ("log", ("info", time, "kernel-gateway", notice.format("image/png"))),
        ("stdout", "abc"),
        ("log", ("info", time, "kernel-gateway", notice.format("text/plain"))),
    ] == console(shown({"text/plain": "x"}, {"image/png": item}), shown({}, {"text/plain": item}))


def test_a_traceback_goes_to_stderr() -> None:
    assert [("stderr", "one\ntwo")] == console(
        records.ErrorRaised(ename="E", evalue="e", traceback=("one", "two"))
    )
    assert [("stderr", "E: e")] == console(records.ErrorRaised(ename="E", evalue="e", traceback=()))


def test_losses_and_the_kernels_fate_are_messages_of_ours() -> None:
    told = console(
        records.Dropped(why="log_limit", bytes=7),
        records.Dropped(why="line_too_long", bytes=8, stream="stdout", artifact="a1"),
        records.Dropped(why="idle_missing", count=1),
        records.KernelEvent(what="died", message="It died."),
        records.KernelEvent(what="restarted"),
    )
    assert [
        ("warning", "7 bytes of output dropped: log_limit."),
        (
            "warning",
            "8 bytes of output dropped: line_too_long. The line is kept as artifact a1 of the run.",
        ),
        ("warning", "1 messages missing: idle_missing."),
        ("error", "It died."),
        ("error", "The kernel restarted."),
    ] == [(value[0], value[3]) for _, value in told]


def test_a_bad_end_says_why_on_stderr() -> None:
    reason = Reason(code="run_limit", message="The run limit of 5 s was reached.")
    for outcome, shown_ in {
        "timeout": [("stderr", "The run limit of 5 s was reached.\n")],
        "lost": [("stderr", "The run limit of 5 s was reached.\n")],
        "ok": [],
        "error": [],
        "cancelled": [],
    }.items():
        assert shown_ == console(records.Completed(outcome=outcome, reason=reason))
    assert [("stderr", "gateway_lost\n")] == console(
        records.Completed(outcome="lost", reason=Reason(code="gateway_lost"))
    )


def test_what_is_no_output_is_not_shown() -> None:
    assert [] == console(
        records.StateChanged(state="running"),
        records.StepChanged(state="ok"),
        records.InputAnswered(prompt_id=1, value="x"),
        records.Cleared(wait=False),
    )


# -- helpers --------------------------------------------------------------------------------------


class _Told:
    """All answers of a run, joined."""

    def __init__(self) -> None:
        self.console: list[tuple[str, str | tuple[str, ...]]] = []
        self.statuses: list[str] = []
        self.longest = 0

    def add(self, given: Answer) -> None:
        sizes = {"stdout": 0, "stderr": 0}
        for item in given.console:
            self._add(item)
            if item.type in sizes:
                sizes[item.type] += len(item.value)
        self.longest = max(self.longest, *sizes.values())
        if given.has_news:
            self.statuses.append(given.status.value)
            self.console.append(("status", given.status.value))

    def _add(self, item: ConsoleItem) -> None:
        last = self.console[-1] if self.console else ("", "")
        if item.type == last[0] and isinstance(item.value, str) and isinstance(last[1], str):
            self.console[-1] = (item.type, last[1] + item.value)
        else:
            self.console.append((item.type, item.value))


def _told(log: Sequence[Record], *, chars: int, page: int) -> _Told:
    told, cursor = _Told(), Cursor()
    while "finished" not in told.statuses:
        part = log[cursor.seq : cursor.seq + page]
        given = answer("r", part, cursor, Standing(), chars=chars)
        assert given.cursor > cursor, "each answer goes on"
        told.add(given)
        cursor = given.cursor
    return told
