"""What a run hears of a kernel that knows secrets: everything but those, in its order."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.messaging import facts
from kernel_gateway.messaging.message import Channel, MsgId
from kernel_gateway.runs import events, records
from kernel_gateway.runs.events import Timer
from kernel_gateway.runs.masking import HIDDEN, Mask, Masker, fault_of, mask_of, shown_env
from kernel_gateway.runs.records import Artifact, ArtifactKind, Reason
from tests.unit.runs.driver import ASK, BUSY, IDLE, OK, printed

if TYPE_CHECKING:
    from kernel_gateway.messaging.facts import Fact
    from kernel_gateway.messaging.strict_json import Json

VALUE = "s3cr3t"
MASK = Mask([VALUE])


class Heard:
    """What comes through, in words."""

    def __init__(self, *values: str) -> None:
        self.masker = Masker(Mask(values or [VALUE]))

    def says(self, *said: Fact, to: str = "m1") -> list[str]:
        return self.hears(*(events.KernelSaid(MsgId(to), fact) for fact in said))

    def hears(self, *happened: events.Event) -> list[str]:
        return [_words(one) for event in happened for one in self.masker.take(event)]


def _words(event: events.Event) -> str:
    if not isinstance(event, events.KernelSaid):
        return type(event).__name__
    fact = event.fact
    return f"{fact.name} {fact.text!r}" if isinstance(fact, facts.Stream) else type(fact).__name__


# -- which values ----------------------------------------------------------------------------------


def test_a_value_that_would_be_found_in_everything_is_refused() -> None:
    assert "has fewer than 4 characters, and would be found in everything" == fault_of("abc")
    assert fault_of("abcd") is None


@pytest.mark.parametrize("value", ["ab\0cd", "ab\ud800cd"])
def test_a_value_that_no_environment_can_have_is_refused(value: str) -> None:
    assert "is no text that a variable of the environment can have" == fault_of(value)


def test_without_secrets_there_is_no_mask() -> None:
    assert mask_of({"A": "value"}, []) is None
    mask = mask_of({"A": "value", "B": "other"}, ["A"])
    assert mask is not None
    assert "*** other" == mask.text("value other")


def test_an_environment_is_shown_without_them() -> None:
    env = {"KEY": VALUE, "URL": f"https://me:{VALUE}@host", "PLAIN": "text"}
    shown = {"KEY": "***", "URL": "https://me:***@host", "PLAIN": "text"}
    assert shown == shown_env(env, ["KEY"])
    assert env == shown_env(env, [])


def test_a_mask_does_not_show_its_values() -> None:
    assert VALUE not in repr(MASK)


@pytest.mark.parametrize(
    "form",
    [
        "a/b 'ü\"\n\\",
        quote("a/b 'ü\"\n\\"),
        quote("a/b 'ü\"\n\\", safe=""),
        quote_plus("a/b 'ü\"\n\\"),
        base64.b64encode("a/b 'ü\"\n\\".encode()).decode(),
        base64.urlsafe_b64encode("a/b 'ü\"\n\\".encode()).decode().rstrip("="),
        repr("a/b 'ü\"\n\\")[1:-1],
        json.dumps("a/b 'ü\"\n\\")[1:-1],
        json.dumps("a/b 'ü\"\n\\", ensure_ascii=False)[1:-1],
    ],
)
def test_a_value_is_found_in_the_forms_it_is_often_written_in(form: str) -> None:
    assert "<***>" == Mask(["a/b 'ü\"\n\\"]).text(f"<{form}>")


def test_a_byte_that_is_no_text_is_found_as_it_is_shown() -> None:
    mask = Mask(["key\udcff1"])  # as os.environ has the byte FF
    assert "*** ***" == mask.text("key\ufffd1 key%FF1")


def test_values_that_overlap_are_hidden_as_one() -> None:
    assert "<***>" == Mask(["abcd", "cdef"]).text("<abcdef>")
    assert "<***>" == Mask(["aXXa"]).text("<aXXaXXa>")
    assert "<******>" == Mask(["abcd", "efgh"]).text("<abcdefgh>")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\r\nfirst\r\nlast\n", "first\nlast"),
        ("first\r\nlast", "first\nlast"),
        ("first\nlast", "first\r\nlast"),
        ("first\nlast\n", base64.b64encode(b"first\nlast").decode()),
    ],
)
def test_a_value_is_found_with_other_line_ends_and_without_its_last(value: str, shown: str) -> None:
    assert "<***>" == Mask([value]).text(f"<{shown}>")


def test_what_is_short_without_its_line_ends_is_found_only_with_them() -> None:
    assert "abc ***" == Mask(["abc\n"]).text("abc abc\n")


def test_a_value_that_is_within_itself_is_hidden_as_one() -> None:
    assert "<***>" == Mask(["----"]).text(f"<{'-' * 100_000}>")
    assert "<***X***>" == Mask(["abab"]).text("<abababXabab>")


def test_what_may_be_the_end_of_a_value_goes_where_the_beginning_of_the_text_is_gone() -> None:
    assert "*** and ***" == MASK.end(f"cr3t and {VALUE}")
    assert "at it, cr3t" == MASK.end("at it, cr3t")
    assert "***" == MASK.end(VALUE)
    assert "***X" == Mask(["aXXXa"]).end("XXXaX")
    assert "***>" == Mask(["abcd", "cdef"]).end("bcdef>")
    assert "" == MASK.end("")


# -- where -----------------------------------------------------------------------------------------


def test_values_are_found_in_nested_json_its_names_and_its_numbers() -> None:
    data: dict[str, Json] = {
        "text/plain": f"'{VALUE}'",
        "application/json": {VALUE: [1, True, None, 1234.0, {"deep": f"x{VALUE}"}]},
    }
    assert {
        "text/plain": "'***'",
        "application/json": {HIDDEN: [1, True, None, HIDDEN, {"deep": "x***"}]},
    } == Mask([VALUE, "1234.0"]).object(data)


def test_a_fact_is_masked_wherever_it_has_text() -> None:
    told: list[tuple[Fact, Fact]] = [
        (
            facts.Display({"a": VALUE}, {"b": VALUE}, display_id=VALUE, execution_count=1),
            facts.Display({"a": "***"}, {"b": "***"}, display_id="***", execution_count=1),
        ),
        (facts.Display({}, {}), facts.Display({}, {})),
        (
            facts.DisplayUpdate(VALUE, {"a": VALUE}, {"b": VALUE}),
            facts.DisplayUpdate("***", {"a": "***"}, {"b": "***"}),
        ),
        (
            facts.Raised(VALUE, f"no {VALUE}", (f"line {VALUE}", "line")),
            facts.Raised("***", "no ***", ("line ***", "line")),
        ),
        (
            facts.Replied("error", 1, VALUE, VALUE, (VALUE,), expressions={"x": VALUE}),
            facts.Replied("error", 1, "***", "***", ("***",), expressions={"x": "***"}),
        ),
        (
            facts.Comm("open", VALUE, {"state": {"value": VALUE}}, VALUE, (VALUE.encode(),)),
            facts.Comm("open", "***", {"state": {"value": "***"}}, "***", (VALUE.encode(),)),
        ),
        (
            facts.InputRequested(f"{VALUE}? ", password=True),
            facts.InputRequested("***? ", password=True),
        ),
        (facts.Clear(wait=True), facts.Clear(wait=True)),
    ]
    assert [shown for _, shown in told] == [MASK.fact(fact) for fact, _ in told]


def test_what_is_logged_without_a_fact_is_masked_too() -> None:
    artifact = Artifact(
        id="a1", name=f"{VALUE}.csv", kind=ArtifactKind.WORK, mime="text/csv", size=1, digest="d"
    )
    answer = MASK.body(records.InputAnswered(prompt_id=1, value=f"it is {VALUE}"))
    assert records.InputAnswered(prompt_id=1, value="it is ***") == answer
    file = MASK.body(records.ArtifactAdded(artifact=artifact))
    assert isinstance(file, records.ArtifactAdded)
    assert "***.csv" == file.artifact.name
    error = records.ErrorRaised(ename="ArtifactNotSaved", evalue=f"{VALUE}: full", traceback=())
    shown = MASK.body(error)
    assert isinstance(shown, records.ErrorRaised)
    assert "***: full" == shown.evalue
    password = records.InputAnswered(prompt_id=1)
    assert password is MASK.body(password)


def test_the_last_words_of_a_kernel_are_masked() -> None:
    lost = events.KernelLost(Reason(code="kernel_died", message=f"It said {VALUE}.", signal="X"))
    assert [events.KernelLost(Reason(code="kernel_died", message="It said ***.", signal="X"))] == (
        Masker(MASK).take(lost)
    )


# -- text in pieces --------------------------------------------------------------------------------


def test_a_value_in_several_texts_is_hidden() -> None:
    heard = Heard()
    assert ["stdout 'a '", "stdout ''", "stdout '*** b'"] == heard.says(
        printed("a s3"), printed("cr"), printed("3t b")
    )


def test_what_turns_out_to_be_no_value_comes_with_the_next_text() -> None:
    assert ["stdout 'it is '", "stdout 's3cond'"] == Heard().says(
        printed("it is s3c"), printed("ond")
    )


@pytest.mark.parametrize("last", [IDLE, facts.Clear(wait=False), facts.Display({}, {})])
def test_what_is_held_back_comes_before_the_end_and_before_other_outputs(last: Fact) -> None:
    heard = Heard()
    assert ["Busy", "stdout 'x '"] == heard.says(BUSY, printed("x s3"))
    assert ["stdout 's3'", type(last).__name__] == heard.says(last)


def test_what_is_held_back_comes_before_text_of_another_stream_or_cell() -> None:
    heard = Heard()
    heard.says(printed("s3"))
    assert ["stdout 's3'", "stderr 'no'"] == heard.says(printed("no", "stderr"))
    heard.says(printed("s3"))
    assert ["stdout 's3'", "stdout 'no'"] == heard.says(printed("no"), to="m2")


def test_text_may_come_behind_the_reply_and_the_prompt() -> None:
    """They have channels of their own."""
    heard = Heard()
    assert ["stdout ''", "InputRequested", "Replied", "stdout '***'"] == heard.says(
        printed("s3"), ASK, OK, printed("cr3t")
    )


def test_what_is_held_back_comes_before_the_prompt_is_told() -> None:
    heard = Heard()
    heard.says(printed("s3"))
    assert ["stdout 's3'", "BarrierPassed"] == heard.hears(events.BarrierPassed(MsgId("m1"), 1))


@pytest.mark.parametrize(
    "end",
    [
        events.KernelLost(Reason(code="kernel_died")),
        events.TimerOver(Timer.IDLE_OVER),
        events.ProbeAnswered(MsgId("m1"), Channel.IOPUB),
        events.TimerOver(Timer.PROBE_OVER),
    ],
)
def test_what_is_held_back_comes_before_a_bad_end(end: events.Event) -> None:
    heard = Heard()
    heard.says(printed("s3"))
    assert ["stdout 's3'", type(end).__name__] == heard.hears(end)


def test_a_cancel_is_no_end() -> None:
    heard = Heard()
    heard.says(printed("s3"))
    assert ["CancelAsked", "TimerOver"] == heard.hears(
        events.CancelAsked(), events.TimerOver(Timer.AGAIN)
    )
    assert ["stdout '***'"] == heard.says(printed("cr3t"))


def test_the_words_of_who_cancels_are_masked() -> None:
    asked = events.CancelAsked(f"no {VALUE}", grace_s=1.0)
    assert [events.CancelAsked("no ***", grace_s=1.0)] == Masker(MASK).take(asked)


def test_text_of_a_run_that_ended_without_an_idle_does_not_wait() -> None:
    heard = Heard()
    heard.says(printed("s3"))
    heard.hears(events.TimerOver(Timer.IDLE_OVER))
    late = events.KernelSaid(MsgId("m1"), printed("s3"))
    assert ["stdout 's3'"] == [_words(one) for one in heard.masker.take(late, is_over=True)]


def test_text_of_threads_does_not_wait() -> None:
    """Nothing need come behind it."""
    heard = Heard()
    assert ["Idle", "stdout 's3'", "stdout '***'"] == heard.says(
        IDLE, printed("s3"), printed("s3cr3t")
    )


def test_text_of_a_thread_lets_out_what_the_next_cell_holds_back() -> None:
    heard = Heard()
    heard.says(IDLE)
    heard.says(printed("s3"), to="m2")
    assert ["stdout 's3'", "stdout 'late'"] == heard.says(printed("late"))


def test_the_end_of_one_value_may_begin_another() -> None:
    heard = Heard("abcd", "cdef")
    assert ["stdout '<***'", "stdout '>'"] == heard.says(printed("<abcd"), printed("ef>"))
    heard = Heard("abcd", "cdef")
    assert ["stdout '***'", "stdout '>'"] == heard.says(printed("abcd"), printed(">"))
    heard = Heard("aXXXa")
    assert ["stdout '***'", "stdout ''", "stdout ''", "Idle"] == heard.says(
        printed("aXXXa"), printed("XXX"), printed("aXXXa"), IDLE
    )


def test_a_value_that_may_go_on_as_a_longer_one_waits_for_it() -> None:
    heard = Heard("abcd", "abcdef")
    assert ["stdout ''", "stdout '*** '"] == heard.says(printed("abcd"), printed("ef "))
    assert ["stdout ''", "stdout '***'", "Idle"] == heard.says(printed("abcd"), IDLE)


def test_no_more_is_held_back_than_may_be_a_beginning() -> None:
    assert [f"stdout {'a' * 96!r}"] == Heard("aaaab").says(printed("a" * 100))


@given(
    st.lists(st.text("abc", min_size=4, max_size=6), min_size=1, max_size=2),
    st.lists(st.text("abc", max_size=6), max_size=12),
)
def test_however_a_text_is_cut_the_same_of_it_is_hidden(
    values: list[str], texts: list[str]
) -> None:
    masker = Masker(Mask(values))
    spoken: list[Fact] = [*map(printed, texts), IDLE]
    said = [events.KernelSaid(MsgId("m1"), fact) for fact in spoken]
    heard = [one for event in said for one in masker.take(event)]
    shown = [one.fact for one in heard if isinstance(one, events.KernelSaid)]
    text = "".join(fact.text for fact in shown if isinstance(fact, facts.Stream))
    assert Mask(values).text("".join(texts)) == text
