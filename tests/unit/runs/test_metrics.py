"""The metrics of a run: what is one, and what they come to."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs.metrics import MOST_BYTES, Metrics, checked
from kernel_gateway.runs.records import Metric
from kernel_gateway.scope import METRIC_MIME

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json


def metric(name: str, value: Json, mode: str = "replace") -> Metric:
    return Metric(name=name, value=value, mode=mode)


def merged(*metrics: Metric) -> dict[str, Json]:
    """What they come to; none of them has a fault, and their size is counted right."""
    held = Metrics()
    assert [None] * len(metrics) == [held.merge(one) for one in metrics]
    assert len(encode(held.values)) == held._bytes
    return dict(held.values)


def fault(*metrics: Metric) -> str:
    """Of the last one, which has changed nothing."""
    held = Metrics()
    assert [None] * (len(metrics) - 1) == [held.merge(one) for one in metrics[:-1]]
    before = json.dumps(held.values)
    found = held.merge(metrics[-1])
    assert found is not None
    assert before == json.dumps(held.values)
    return found


# -- what is one ----------------------------------------------------------------------------------


def test_a_metric_is_an_object_with_a_name_a_value_and_a_mode() -> None:
    given: Json = {"name": "a.b", "value": [1], "mode": "append", "more": "is ignored"}
    assert metric("a.b", [1], "append") == checked({METRIC_MIME: given, "text/plain": "x"})
    assert metric("a", None) == checked({METRIC_MIME: {"name": "a", "value": None}})


@pytest.mark.parametrize("raw", ["text", None, [], {"name": "a"}, {"value": 1}])
def test_anything_else_is_a_fault_that_says_what_is_needed(raw: Json) -> None:
    assert "name" in str(checked({METRIC_MIME: raw}))


def test_what_the_code_may_not_say_is_refused_here_too() -> None:
    found = checked({METRIC_MIME: {"name": "a__b", "value": 1}})
    assert "A metric's name has no double and no last _: 'a__b'." == found


def test_a_value_above_the_limit_of_all_metrics_is_none() -> None:
    value = "x" * (MOST_BYTES - 2)
    assert metric("a", value) == checked({METRIC_MIME: {"name": "a", "value": value}})
    assert "at most 1048576 bytes" in str(
        checked({METRIC_MIME: {"name": "a", "value": f"{value}x"}})
    )


def test_a_number_that_json_does_not_have_becomes_a_text() -> None:
    raw: Json = {"name": "a", "value": [float("nan"), float("inf")]}
    assert metric("a", ["NaN", "Infinity"]) == checked({METRIC_MIME: raw})


# -- modes ----------------------------------------------------------------------------------------


def test_replace_sets_whatever_was_there() -> None:
    assert {"a": 2} == merged(metric("a", 1), metric("a", 2))
    assert {"a": 2} == merged(metric("a.b.c", 1), metric("a", 2))
    assert {"a": {"x": [1]}} == merged(metric("a", "text"), metric("a", {"x": [1]}))


def test_null_deletes_and_leaves_no_empty_object() -> None:
    assert {} == merged(metric("a", 1), metric("a", None))
    assert {"d": 1} == merged(metric("a.b.c", 1), metric("d", 1), metric("a.b.c", None))
    assert {"a": {"d": 1}} == merged(metric("a.b.c", 1), metric("a.d", 1), metric("a.b.c", None))
    assert {} == merged(metric("a.b.c", 1), metric("a.b", None))


def test_to_delete_what_is_not_there_changes_nothing() -> None:
    assert {} == merged(metric("a", None), metric("a.b.c", None))
    assert {"a": {"b": 1}} == merged(metric("a.b", 1), metric("a.c", None))


def test_increment_adds_and_begins_at_nothing() -> None:
    assert {"a": 6} == merged(*(metric("a", number, "increment") for number in (1, 2, 3)))
    assert {"a": {"b": 0.5}} == merged(metric("a.b", 1), metric("a.b", -0.5, "increment"))


def test_append_makes_a_list_and_wraps_what_is_none() -> None:
    assert {"a": [1, [2], None]} == merged(
        metric("a", 1, "append"), metric("a", [2], "append"), metric("a", None, "append")
    )
    assert {"a": ["first", 2]} == merged(metric("a", "first"), metric("a", 2, "append"))
    assert {"a": [{"b": 1}, 2]} == merged(metric("a.b", 1), metric("a", 2, "append"))
    assert {"a": [1]} == merged(metric("a", []), metric("a", 1, "append"))


def test_dots_nest_also_into_an_object_that_was_a_value() -> None:
    assert {"a": {"b": {"c": {"d": 1}}, "e": 2}} == merged(metric("a.b.c.d", 1), metric("a.e", 2))
    assert {"a": {"x": 1, "y": 2}} == merged(metric("a", {"x": 1}), metric("a.y", 2))


# -- conflicts and limits -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, "text", [1], None])
def test_nothing_can_be_nested_in_a_value(value: Json) -> None:
    there = metric("a", {"b": value})
    assert "a.b.c cannot be nested in b, which is a value." == fault(there, metric("a.b.c", 1))


@pytest.mark.parametrize("value", ["1", [1], {"b": 1}, True])
def test_only_a_number_can_be_incremented(value: Json) -> None:
    assert "Only a number can be incremented." == fault(
        metric("a", value), metric("a", 1, "increment")
    )


@pytest.mark.parametrize(
    ("old", "more"),
    [(1.7e308, 1.7e308), (-1.7e308, -1.7e308), (10**300, 10**302), (10**400, 1.5)],
)
def test_a_sum_that_is_no_number_of_json_is_a_fault(old: Json, more: Json) -> None:
    assert "too big" in fault(metric("a", old), metric("a", more, "increment"))


def test_all_metrics_together_have_a_limit_and_may_still_become_smaller() -> None:
    big = metric("a", "x" * (MOST_BYTES - 8))
    assert MOST_BYTES == len(encode(merged(big)))
    assert "at most 1048576 bytes" in fault(big, metric("b", 1))
    assert "at most 1048576 bytes" in fault(big, metric("a", 1, "append"))
    assert {"a": "y", "b": 1} == merged(big, metric("a", "y"), metric("b", 1))


def test_what_was_given_is_not_changed_by_what_comes() -> None:
    held = Metrics()
    held.merge(metric("a.b", [1]))
    before = held.values
    for one in (metric("a.b", 2, "append"), metric("a.c", 3), metric("d", 4)):
        held.merge(one)
    assert {"a": {"b": [1]}} == before


NAMES = st.sampled_from(["a", "b", "a.b", "a.c", "a.b.c", "b.a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
METRICS = st.one_of(
    st.builds(metric, NAMES, VALUES, st.sampled_from(["replace", "append"])),
    st.builds(metric, NAMES, st.integers(-9, 9), st.just("increment")),
)


@given(st.lists(METRICS, max_size=30))
def test_their_size_is_known_whatever_comes(metrics: list[Metric]) -> None:
    held = Metrics()
    for one in metrics:
        before = held.values
        if held.merge(one) is not None:
            assert before is held.values
        assert len(encode(held.values)) == held._bytes


def test_many_metrics_of_one_name_are_a_list_in_their_order() -> None:
    numbers = list(range(2000))
    assert {"a": numbers} == merged(*(metric("a", number, "append") for number in numbers))
    last = list(accumulate(numbers))[-1]
    assert {"a": last} == merged(*(metric("a", number, "increment") for number in numbers))
