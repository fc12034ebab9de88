"""Values to rows and back: exact for everything that JSON can carry, and strict."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - for `get_type_hints`
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import plan, records, view
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import (
    Artifact,
    Body,
    Dropped,
    LogText,
    Output,
    Reason,
    Record,
    Seq,
    Spilled,
)
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import RunView
from kernel_gateway.service import Delivery, Webhook
from kernel_gateway.store import rows, shapes
from kernel_gateway.store.tables import records as records_table
from kernel_gateway.store.values import StoredKey
from tests.shared.store import ME, a_run, a_webhook, text

# Everything an UTF-8 text may hold: no lone surrogate, but U+0000 and the line separators.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

st.register_type_strategy(str, TEXT)
st.register_type_strategy(float, NUMBER)


def values_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Every field drawn by its type, those with a default too; bundles are JSON objects."""
    hints = get_type_hints(kind, localns=shapes.NAMES)
    drawn = {item.name: st.from_type(hints[item.name]) for item in fields(kind)}
    for name in {"data", "metadata", "metrics", "language_info"} & set(drawn):
        drawn[name] = st.dictionaries(TEXT, JSON, max_size=3)
    if "spilled" in drawn:
        drawn["spilled"] = st.none() | st.dictionaries(TEXT, st.from_type(Spilled), max_size=2)
    return st.builds(kind, **drawn)


st.register_type_strategy(shapes.AnyJson, JSON)
for inner in (plan.StepPlan, plan.Limits, view.StepView, Reason, Spilled, Artifact):
    st.register_type_strategy(inner, values_of(inner))


def strict(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"not JSON: {constant}")

    return json.loads(data.decode(), parse_constant=refuse)


@given(values_of(RunPlan))
def test_a_plan_comes_back_as_it_was(value: RunPlan) -> None:
    assert value == rows.plan_of(rows.plan_bytes(value))


@given(values_of(RunView))
def test_a_view_comes_back_as_it_was(value: RunView) -> None:
    again = rows.view_of(rows.view_bytes(value))
    assert value == again
    assert type(value.state) is type(again.state)


@pytest.mark.parametrize("kind", [Artifact, Delivery, Webhook])
@given(data=st.data())
def test_what_hangs_on_a_run_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(values_of(kind))
    assert value == shapes.load(kind, strict(encode(shapes.dump(value))))


@pytest.mark.parametrize("body", records.BODIES.values(), ids=records.BODIES)
@given(data=st.data())
def test_a_record_of_any_kind_comes_back_as_it_was(body: type[Body], data: st.DataObject) -> None:
    value = Record(
        seq=Seq(data.draw(st.integers(1, 2**62))),
        at=data.draw(NUMBER),
        step=data.draw(st.none() | st.integers(0, 10_000)),
        body=data.draw(values_of(body)),
    )
    run, *columns = rows.record_row(7, value)
    assert run == 7
    assert value == rows.record_of(columns)


def test_a_row_of_a_record_has_the_order_of_the_table() -> None:
    names = [column.name for column in records_table.c]
    row = dict(zip(names, rows.record_row(7, text(3, "x")), strict=True))
    assert {
        "run": 7,
        "seq": 3,
        "at": 1003.0,
        "step": 0,
        "kind": "log",
        "stream": "stdout",
        "late": False,
        "body": b"x",
    } == row


def test_only_texts_of_a_log_have_a_stream_column() -> None:
    lost = Record(seq=Seq(1), at=0.0, step=None, body=Dropped(why="log_limit", stream="stdout"))
    *_, stream, late, body = rows.record_row(7, lost)
    assert (None, None) == (stream, late)
    assert {"why": "log_limit", "stream": "stdout"} == strict(body)


@pytest.mark.parametrize(
    ("given_text", "stored"), [("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "\U0001f600")]
)
def test_what_no_encoding_can_carry_is_replaced(given_text: str, stored: str) -> None:
    *_, body = rows.record_row(7, text(1, given_text))
    assert stored.encode() == body
    code = RunPlan(mode=Mode.QUERY, steps=(StepPlan(code=given_text),))
    assert stored == rows.plan_of(rows.plan_bytes(code)).steps[0].code


def test_json_is_strict() -> None:
    body = Output(
        index=0, output_type="display_data", data={"a": [float("nan"), float("inf")]}, metadata={}
    )
    *_, data = rows.record_row(7, Record(seq=Seq(1), at=0.0, step=0, body=body))
    assert {"a": [None, None]} == strict(data)["data"]


def test_a_field_that_was_not_there_when_it_was_stored_has_its_default() -> None:
    old = b'{"mode":"query","steps":[{"code":"1"}]}'
    assert RunPlan(mode=Mode.QUERY, steps=(StepPlan(code="1"),)) == rows.plan_of(old)


def test_a_run_is_finished_when_its_view_is() -> None:
    assert rows.changing_parameters(a_run(state=RunState.FINISHED))["finished"]
    assert not rows.changing_parameters(a_run(state=RunState.CANCELLING))["finished"]


@dataclass(frozen=True)
class Odd:
    value: set[int]


@dataclass(frozen=True)
class Either:
    value: int | str


@dataclass(frozen=True)
class Numbered:
    value: Mapping[int, str]


@dataclass(frozen=True)
class Inner:
    value: Mapping[str, set[int]]


@pytest.mark.parametrize("value", [Odd({1}), Either(1), Numbered({1: ""}), Inner({})])
def test_a_field_of_a_kind_that_is_not_known_is_never_stored_wrongly(value: object) -> None:
    with pytest.raises(TypeError, match="no way to store"):
        shapes.dump(value)


@dataclass(frozen=True)
class Fixed:
    pair: tuple[RunState, float]
    perhaps: tuple[int, ...] | None


@pytest.mark.parametrize("perhaps", [None, (), (1, 2)])
def test_tuples_keep_their_length_and_kind(perhaps: tuple[int, ...] | None) -> None:
    value = Fixed((RunState.QUEUED, 1.5), perhaps)
    assert value == shapes.load(Fixed, shapes.dump(value))


@dataclass(frozen=True)
class Mapped:
    by_name: Mapping[str, tuple[RunState, ...]]


def test_mappings_keep_what_they_hold_and_its_kind() -> None:
    value = Mapped({"": (RunState.QUEUED,), "b": ()})
    again = shapes.load(Mapped, shapes.dump(value))
    assert value == again
    assert RunState is type(again.by_name[""][0])


def test_labels_are_asked_for_once_each_and_those_with_a_value_first() -> None:
    asked = [("b", None), ("a", "1"), ("b", None), ("b", "\ud800"), ("a", "1")]
    assert (
        (True, True, False),
        {"name0": "a", "value0": "1", "name1": "b", "value1": "\ufffd", "name2": "b"},
    ) == rows.label_parameters(asked)
    assert ((), {}) == rows.label_parameters(())


def test_labels_that_become_the_same_are_one() -> None:
    run = a_run("a", labels={chr(lone): hex(lone) for lone in (0xD800, 0xDFFF)})
    assert [("\ufffd", "0xdfff")] == [(row["name"], row["value"]) for row in rows.label_rows(run)]
    assert {"\ufffd": "0xdfff"} == strict(rows.plan_parameters(run)["labels"])


def test_sizes_follow_the_text_and_need_no_encoding() -> None:
    assert 6 == rows.size_of(text(1, "\u00e4bcdef"))
    image = Output(index=0, output_type="display_data", data={"image/png": "x" * 999}, metadata={})
    assert 999 <= rows.size_of(Record(seq=Seq(1), at=0.0, step=0, body=image)) <= 1999
    gone = Record(seq=Seq(1), at=0.0, step=0, body=records.Cleared(wait=True))
    assert 0 < rows.size_of(gone) < 1000


def test_a_secret_is_in_no_repr() -> None:
    key = StoredKey(access_key="AK", secret="hush", owner=ME, created_at=0.0, revoked_at=None)
    assert "hush" not in repr(key)
    assert "hush" not in repr(a_run(webhook=a_webhook(secret="hush")))


def test_a_log_text_needs_no_json() -> None:
    body = LogText(stream="stderr", text='{"a": 1}', late=True)
    row = rows.record_row(7, Record(seq=Seq(1), at=0.0, step=None, body=body))
    assert ("stderr", True, b'{"a": 1}') == row[-3:]
