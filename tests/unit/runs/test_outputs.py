"""`runs/outputs.py`: a log as the page of a notebook."""

from __future__ import annotations

import base64
import json
from itertools import count
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.runs import records
from kernel_gateway.runs.outputs import Outputs, fold_lines
from kernel_gateway.runs.records import Reason, Record, Seq, Spilled

if TYPE_CHECKING:
    from kernel_gateway.runs.records import Body


class Page:
    """A fold that is fed bodies."""

    def __init__(self, **options: Any) -> None:
        self._outputs = Outputs(**options)
        self._numbers = count(1)

    def add(self, body: Body, step: int | None = 0) -> Page:
        seq = Seq(next(self._numbers))
        self._outputs.apply(Record(seq=seq, at=0.0, step=step, body=body))
        return self

    def out(self, text: str, step: int = 0, **fields: Any) -> Page:
        return self.add(records.LogText(stream="stdout", text=text, **fields), step)

    def err(self, text: str, step: int = 0) -> Page:
        return self.add(records.LogText(stream="stderr", text=text), step)

    def show(self, text: str, display_id: str | None = None, step: int = 0) -> Page:
        return self.add(display({"text/plain": text}, display_id=display_id), step)

    def update(self, text: str, display_id: str, step: int = 0) -> Page:
        body = records.Updated(display_id=display_id, data={"text/plain": text}, metadata={})
        return self.add(body, step)

    def clear(self, *, wait: bool = False) -> Page:
        return self.add(records.Cleared(wait=wait))

    def end(self, outcome: str, code: str, message: str = "") -> Page:
        reason = Reason(code=code, message=message)
        return self.add(records.Completed(outcome=outcome, reason=reason), None)

    def dropped(self, size: int, step: int | None = 0, why: str = "log_limit") -> Page:
        return self.add(records.Dropped(why=why, bytes=size), step)

    def step(self, state: str, step: int = 0) -> Page:
        return self.add(records.StepChanged(state=state), step)

    def __getitem__(self, step: int) -> list[dict[str, Any]]:
        return self._outputs.outputs(step)

    def texts(self, step: int = 0) -> list[str]:
        """Of each output what a reader sees first."""
        return [
            output["text"] if "text" in output else output["data"]["text/plain"]
            for output in self[step]
        ]


def display(data: dict[str, Any], **fields: Any) -> records.Output:
    values: dict[str, Any] = {"output_type": "display_data", "metadata": {}, "index": 0}
    return records.Output(**(values | fields), data=data)


def stream(text: str, name: str = "stdout") -> dict[str, str]:
    return {"output_type": "stream", "name": name, "text": text}


# -- streams ---------------------------------------------------------------------------------------


def test_a_step_without_output_has_none() -> None:
    assert Page()[0] == []


def test_neighbours_of_one_stream_are_one_output() -> None:
    assert [stream("cell 7\n")] == Page().out("cell").out(" 7").out("\n")[0]


def test_another_stream_begins_another_output() -> None:
    page = Page().out("a").err("b").out("c")
    assert [stream("a"), stream("b", "stderr"), stream("c")] == page[0]


def test_a_display_between_parts_a_stream() -> None:
    assert Page().out("a").show("picture").out("b").texts() == ["a", "picture", "b"]


def test_late_output_goes_to_its_own_step() -> None:
    page = Page().out("first", step=0).out("second", step=1).out(" late", step=0, late=True)
    assert page.texts(0) == ["first late"]
    assert page.texts(1) == ["second"]


def test_reading_changes_nothing() -> None:
    page = Page().out("a\rb")
    assert page[0] == page[0]
    assert [stream("bc\nd")] == page.out("c\nd")[0]


def test_what_is_read_is_the_readers_own() -> None:
    page = Page().show("text")
    page[0][0]["data"]["text/plain"] = "changed"
    assert page.texts() == ["text"]


# -- what a terminal would show --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n", "plain\n"),
        ("10%\r20%", "20%"),
        ("100%\r5", "500%"),  # a terminal erases nothing by going back
        ("abc\r", "abc"),
        ("abc\r\n", "abc\n"),
        ("abc\r\r\nd", "abc\nd"),
        ("one\ntwo\rTWO\nthree", "one\nTWO\nthree"),
        ("abc\b\bX", "aXc"),
        ("abc\b", "abc"),
        ("a\b\b\bX", "X"),  # not beyond the start of the line
        ("a\n\bb", "a\nb"),
        ("|\b/\b-", "-"),
        ("secret\b \b", "secre "),
        ("", ""),
        ("\r", ""),
        ("\r\n\r\n", "\n\n"),
        ("a\vb\fc\x85d\u2028e\rA", "A\vb\fc\x85d\u2028e"),  # only a newline ends a line
    ],
)
def test_returns_and_backspaces_show_as_on_a_terminal(text: str, shown: str) -> None:
    assert [stream(shown)] == Page().out(text)[0]
    assert shown == fold_lines(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # Overwritten in part, the rest keeps its colour and no escape is torn.
        ("\x1b[32mlong\x1b[0m\rab", "ab\x1b[32mng\x1b[0m"),
        ("\x1b[32m50%\x1b[0m\r\x1b[31m60%\x1b[0m", "\x1b[31m60%\x1b[0m"),
        ("\x1b[1m\x1b[32mab\x1b[m\rX", "X\x1b[1m\x1b[32mb\x1b[0m"),
        ("\x1b[31ma\x1b[0;32mb\r\x1b[mc", "c\x1b[0;32mb\x1b[0m"),
        ("\x1b[31mab\rc", "\x1b[31mcb"),  # a colour stays in force for what comes next
        ("1000%\r\x1b[Kdone", "done"),
        ("1000%\b\b\x1b[0K", "100"),
        ("abc\b\x1b[1KX", "  X"),
        ("abc\b\x1b[2KX", "  X"),
        ("a\r\x1b[?25lb", "\x1b[?25lb"),
        ("a\b\x1b]8;;http://x\x07b", "\x1b]8;;http://x\x07b"),
        ("a\bb\x1b[5", "b\x1b[5"),
        ("a\bb\x1b[A", "b\x1b[A"),
    ],
)
def test_escapes_have_no_width_and_stay_whole(text: str, shown: str) -> None:
    assert shown == fold_lines(text)


def test_lines_without_returns_keep_their_escapes_as_they_are() -> None:
    text = "\x1b[31m\x1b[31mred\x1b[0m\x1b[K\n"
    assert text == fold_lines(text)


def test_a_flood_of_colours_is_not_kept() -> None:
    shown = fold_lines("\x1b[31m" * 10_000 + "x\ry")
    assert shown.endswith("y")
    assert len(shown) < 1_000


def terminal(text: str) -> str:
    """An independent terminal without escapes: a dictionary of places."""
    screen: dict[tuple[int, int], str] = {}
    row = column = 0
    for char in text:
        if char == "\n":
            row, column = row + 1, 0
        elif char == "\r":
            column = 0
        elif char == "\b":
            column = max(0, column - 1)
        else:
            screen[row, column] = char
            column += 1
    widths = [max((c + 1 for r, c in screen if r == line), default=0) for line in range(row + 1)]
    return "\n".join(
        "".join(screen[line, c] for c in range(width)) for line, width in enumerate(widths)
    )


@given(st.text(alphabet="ab\r\b\n", max_size=40))
def test_the_fold_is_that_of_a_terminal(text: str) -> None:
    assert terminal(text) == fold_lines(text)


TERMINAL_TEXT = st.lists(
    st.sampled_from([*"ab\r\b\n", "\x1b[31m", "\x1b[0m", "\x1b[K"]), max_size=30
).map("".join)


@given(st.lists(TERMINAL_TEXT, max_size=6), st.data())
def test_how_streams_are_cut_into_records_does_not_matter(
    texts: list[str], data: st.DataObject
) -> None:
    """Nor when somebody looks."""
    whole, cut = Page(), Page()
    for number, text in enumerate(texts):
        write = Page.out if number % 2 else Page.err
        write(whole, text)
        at = data.draw(st.integers(0, len(text)))
        write(cut, text[:at])
        if data.draw(st.booleans()):
            cut[0]
        write(cut, text[at:])
    assert whole[0] == cut[0]


# -- clear_output ----------------------------------------------------------------------------------


def test_clear_empties_at_once() -> None:
    assert Page().out("a").show("b").clear()[0] == []


def test_clear_with_wait_empties_when_the_next_output_comes() -> None:
    page = Page().out("old").clear(wait=True)
    assert page.texts() == ["old"]
    assert page.out("new").texts() == ["new"]
    assert page.out("er").texts() == ["newer"]


def test_clear_with_wait_at_the_end_clears_nothing() -> None:
    assert Page().out("old").clear(wait=True).out("other", step=1).texts() == ["old"]


@pytest.mark.parametrize(
    "body",
    [
        display({"text/plain": "x"}),
        records.ErrorRaised(ename="E", evalue="", traceback=()),
        records.LogText(stream="stderr", text="x"),
    ],
)
def test_every_output_ends_a_clear_that_waits(body: Body) -> None:
    assert len(Page().out("old").show("old").clear(wait=True).add(body)[0]) == 1


def test_a_cleared_display_is_updated_no_more() -> None:
    page = Page().show("one", "id").clear().show("two", "id").update("three", "id")
    assert page.texts() == ["three"]


# -- rich outputs ----------------------------------------------------------------------------------


def test_a_display_keeps_its_data_and_metadata() -> None:
    body = display({"text/html": "<b>", "text/plain": "b"}, metadata={"isolated": True})
    expected = {
        "output_type": "display_data",
        "data": {"text/html": "<b>", "text/plain": "b"},
        "metadata": {"isolated": True},
    }
    assert [expected] == Page().add(body)[0]


@pytest.mark.parametrize(("count", "written"), [(3, 3), (None, None), (-1, None)])
def test_a_result_has_its_execution_count(count: int | None, written: int | None) -> None:
    body = display({"text/plain": "4"}, output_type="execute_result", execution_count=count)
    expected = {
        "output_type": "execute_result",
        "data": {"text/plain": "4"},
        "metadata": {},
        "execution_count": written,
    }
    assert [expected] == Page().add(body)[0]


def test_an_error_keeps_its_traceback() -> None:
    body = records.ErrorRaised(ename="E", evalue="v", traceback=("\x1b[31mline", "two"))
    expected = {
        "output_type": "error",
        "ename": "E",
        "evalue": "v",
        "traceback": ["\x1b[31mline", "two"],
    }
    assert [expected] == Page().add(body)[0]


def test_an_update_reaches_every_earlier_output_in_all_steps() -> None:
    page = Page().show("a", "id", step=0).show("b", step=0).show("c", "id", step=1)
    page.update("new", "id", step=2)
    assert page.texts(0) == ["new", "b"]
    assert page.texts(1) == ["new"]
    assert page[2] == []


def test_an_update_of_an_unknown_display_shows_nothing() -> None:
    assert Page().update("x", "id")[0] == []


def test_a_second_display_of_the_same_id_updates_the_first() -> None:
    page = Page().show("a", "id").show("b", "id", step=1)
    assert (page.texts(0), page.texts(1)) == (["b"], ["b"])


def test_an_update_replaces_metadata_too() -> None:
    page = Page().add(display({"text/plain": "a"}, display_id="id", metadata={"old": 1}))
    page.add(records.Updated(display_id="id", data={"text/plain": "b"}, metadata={"new": 2}))
    assert page[0][0]["metadata"] == {"new": 2}


@pytest.mark.parametrize(
    ("mime", "value", "written"),
    [
        ("text/plain", 5, "5"),
        ("text/html", {"a": None}, '{"a":null}'),
        ("image/png", ["a", 1], '["a",1]'),
        ("application/json", {"a": [1, None]}, {"a": [1, None]}),
        ("application/vnd.x+json", 1.5, 1.5),
        ("text/x+json", {"a": 1}, '{"a":1}'),
    ],
)
def test_values_that_nbformat_does_not_know_become_text(
    mime: str, value: Any, written: Any
) -> None:
    assert {mime: written} == Page().add(display({mime: value}))[0][0]["data"]


# -- values that are elsewhere ---------------------------------------------------------------------


def spilled(artifact: str = "7-0", preview: str = "begin") -> Spilled:
    return Spilled(artifact=artifact, size=9_000_000, digest="sha256:ab", preview=preview)


def test_a_spilled_value_is_brought_back() -> None:
    blobs = {"1": "text ü".encode(), "2": json.dumps({"a": 1}).encode(), "3": b"not json"}
    page = Page(resolve=blobs.get)
    body = display(
        {"text/html": "<b>"},
        spilled={
            "text/plain": spilled("1"),
            "application/json": spilled("2"),
            "application/x+json": spilled("3"),
        },
    )
    assert page.add(body)[0][0]["data"] == {
        "text/html": "<b>",
        "text/plain": "text ü",
        "application/json": {"a": 1},
        "application/x+json": "not json",
    }


def test_a_spilled_value_that_nobody_brings_back_is_a_reference_with_a_preview() -> None:
    page = Page().add(display({"text/html": "<b>"}, spilled={"text/plain": spilled()}))
    output = page[0][0]
    assert output["data"] == {"text/html": "<b>", "text/plain": "begin"}
    reference = {"artifact": "7-0", "size": 9_000_000, "digest": "sha256:ab"}
    assert {"text/plain": reference} == output["metadata"]["kernel_gateway"]["spilled"]


def test_half_an_image_is_not_shown_as_one() -> None:
    page = Page().add(display({}, spilled={"image/png": spilled(preview="iVBO")}))
    text = "A image/png value of 9000000 bytes is kept as artifact 7-0 of the run."
    assert {"text/plain": text} == page[0][0]["data"]


def test_an_update_can_be_spilled() -> None:
    page = Page(resolve={"7-0": b"big"}.get).show("small", "id")
    page.add(
        records.Updated(display_id="id", data={}, metadata={}, spilled={"text/plain": spilled()})
    )
    assert page.texts() == ["big"]


# -- what the gateway has to say -------------------------------------------------------------------


def test_a_full_log_is_told_once_with_the_last_total() -> None:
    page = Page().out("kept").dropped(10).dropped(25).dropped(40, step=None)
    notice = "40 bytes of output are missing: the log of this run was full.\n"
    assert [stream("kept"), stream(notice, "stderr")] == page[0]


def test_the_last_total_goes_where_the_last_notice_was() -> None:
    page = Page().dropped(10, step=0).dropped(20, step=1).out("x", step=2).dropped(30, step=None)
    assert page.texts(0)[0].startswith("10 bytes")
    assert page.texts(1)[0].startswith("30 bytes")
    assert page.texts(2) == ["x"]


def test_a_first_total_at_the_end_goes_to_the_latest_step() -> None:
    page = Page().out("a", step=0).out("b", step=1).dropped(30, step=None)
    assert page.texts(0) == ["a"]
    assert page.texts(1)[1].startswith("30 bytes")


def test_other_losses_are_told_where_they_are() -> None:
    """A cut line says so itself."""
    assert Page().out("line").dropped(10, why="line_too_long").texts() == ["line"]


def test_a_notice_joins_stderr_on_a_line_of_its_own() -> None:
    page = Page().err("warning").dropped(1)
    assert page.texts()[0].startswith("warning\n1 bytes")
    assert page.err("\n").texts()[0].startswith("warning\n1 bytes")
    assert len(page[0]) == 1


def test_a_notice_outlives_a_clear() -> None:
    assert len(Page().dropped(1).clear()[0]) == 1


@pytest.mark.parametrize(("state", "outcome"), [("timed-out", "timeout"), ("died", "lost")])
def test_the_step_that_was_hit_tells_why(state: str, outcome: str) -> None:
    page = Page().out("before\n", step=1).step(state, step=1).step("not-run", step=2)
    page.end(outcome, "code", "The sentence.")
    assert page.texts(1) == ["before\n", "The sentence.\n"]
    assert page[2] == []


def test_the_first_step_that_was_hit_tells_why_whatever_comes_of_the_clean_up() -> None:
    page = Page().step("timed-out", step=0).step("timed-out", step=1)
    page.end("timeout", "code", "The sentence.")
    assert page.texts(0) == ["The sentence.\n"]
    assert page.texts(1) == []


def test_a_step_that_was_hit_before_its_first_output_tells_why() -> None:
    assert Page().step("died").end("lost", "kernel_died").texts() == ["kernel_died\n"]


def test_an_end_that_hit_no_step_is_not_on_the_page() -> None:
    page = Page().out("x").step("ok").end("lost", "kernel_start_failed", "It never came up.")
    assert page.texts() == ["x"]


@pytest.mark.parametrize("outcome", ["ok", "error", "cancelled"])
def test_other_ends_are_told_by_the_code_itself(outcome: str) -> None:
    assert Page().out("x").step("cancelled").end(outcome, "code", "text").texts() == ["x"]


def test_records_of_other_kinds_show_nothing() -> None:
    page = Page().add(records.StateChanged(state="running"), None).step("running")
    page.add(records.InputAsked(prompt_id=1, prompt="? ", password=False))
    assert page[0] == []


# -- everything ------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
MIME = st.sampled_from(["text/plain", "image/png", "application/json", "application/x+json", ""])
BUNDLE = st.dictionaries(MIME, JSON, max_size=3)
BODY = st.one_of(
    st.builds(
        records.LogText, stream=st.sampled_from(["stdout", "stderr"]), text=st.text(max_size=9)
    ),
    st.builds(
        records.Output,
        index=st.just(0),
        output_type=st.sampled_from(["display_data", "execute_result"]),
        data=BUNDLE,
        metadata=st.dictionaries(st.text(max_size=3), JSON, max_size=2),
        display_id=st.sampled_from([None, "a", "b"]),
        execution_count=st.none() | st.integers(),
        spilled=st.none() | st.dictionaries(MIME, st.just(spilled()), max_size=2),
    ),
    st.builds(records.Updated, display_id=st.sampled_from("ab"), data=BUNDLE, metadata=BUNDLE),
    st.builds(records.Cleared, wait=st.booleans()),
    st.builds(
        records.ErrorRaised,
        ename=st.text(max_size=3),
        evalue=st.text(max_size=3),
        traceback=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    ),
    st.builds(records.Dropped, why=st.just("log_limit"), bytes=st.integers(1)),
)


def code_cell(step: int, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"c{step}",
        "metadata": {},
        "outputs": outputs,
        "source": "",
    }


@given(st.lists(st.tuples(BODY, st.integers(0, 1)), max_size=12))
def test_every_fold_is_valid_nbformat(told: list[tuple[Body, int]]) -> None:
    page = Page()
    for body, step in told:
        page.add(body, step)
    cells = [code_cell(step, page[step]) for step in (0, 1)]
    nbformat.validate({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def test_a_long_log_is_folded_in_one_go() -> None:
    """200,000 lines in 20,000 records, read now and then: each line is folded once."""
    page = Page()
    for number in range(20_000):
        page.out("".join(f"{10 * number + i}\r\n" for i in range(10)))
        if number % 2_000 == 0:
            page[0]
    (text,) = page.texts()
    assert "".join(f"{i}\n" for i in range(200_000)) == text


def test_bytes_of_an_image_stay_as_they_are() -> None:
    image = base64.b64encode(bytes(range(256))).decode()
    assert image == Page().add(display({"image/png": image}))[0][0]["data"]["image/png"]
