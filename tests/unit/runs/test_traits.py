"""`runs/traits.py`: what an update does to the state of a widget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.runs.traits import Traits

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json


def traits(state: dict[str, Json], **buffers: str | None) -> Traits:
    """Each buffer is a trait of its own."""
    paths: list[Json] = [[name] for name in buffers]
    return Traits.of({"state": state, "buffer_paths": paths}, list(buffers.values()))


def after(*updates: Traits) -> Traits:
    state = Traits()
    for update in updates:
        state.take(update)
    return state


def test_an_update_leaves_what_it_does_not_name() -> None:
    state = after(traits({"a": 1, "b": 2}, c="Yw=="), traits({"b": [3]}))
    assert {"a": 1, "b": [3]} == state.values
    assert [(("c",), "Yw==")] == state.placed()


def test_a_buffer_takes_the_place_of_a_value_and_the_other_way_round() -> None:
    state = after(traits({"a": 1}, b="Yg=="), traits({"b": None}, a="YQ=="))
    assert {"b": None} == state.values
    assert [(("a",), "YQ==")] == state.placed()


def test_the_buffers_inside_a_trait_go_with_it() -> None:
    inside: dict[str, Json] = {
        "state": {"data": [{}, {}]},
        "buffer_paths": [["data", 0, "x"], ["data", 1, "x"]],
    }
    state = after(Traits.of(inside, ["AA==", "AQ=="]))
    assert [(("data", 0, "x"), "AA=="), (("data", 1, "x"), "AQ==")] == state.placed()
    shorter = Traits.of({"state": {"data": [{}]}, "buffer_paths": [["data", 0, "x"]]}, ["Ag=="])
    state.take(shorter)
    assert [(("data", 0, "x"), "Ag==")] == state.placed()


def test_a_buffer_that_is_not_to_be_had_leaves_nothing_of_its_trait() -> None:
    state = after(traits({}, a="YQ=="), traits({}, a=None))
    assert ({}, []) == (state.values, state.placed())


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"state": None},
        {"state": [1], "buffer_paths": 3},
        {"buffer_paths": [[], "a", [None], [{}], ["a", 1.5]]},
        {"state": {}, "buffer_paths": [["a"]]},
    ],
)
def test_what_makes_no_sense_says_nothing(data: dict[str, Json]) -> None:
    assert set() == Traits.of(data, [] if data.get("state") == {} else ["YQ=="] * 5).names


def test_the_size_is_that_of_values_names_and_buffers() -> None:
    state = traits({"ab": "cd"}, e="YQ==", f=None)
    assert 2 + 4 + len('["e"]') + 4 + len('["f"]') == state.size({"ab", "e", "f", "not there"})


UPDATES = st.lists(
    st.builds(
        lambda state, buffers: traits(state, **buffers),
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
        st.dictionaries(st.sampled_from("cde"), st.sampled_from(["AA==", "AQ=="])),
    ),
    max_size=6,
)


def plain(state: Traits) -> tuple[Any, ...]:
    return state.values, sorted(state.placed())


@given(before=UPDATES, merged=UPDATES)
def test_updates_that_became_one_do_what_they_did_one_by_one(
    before: list[Traits], merged: list[Traits]
) -> None:
    assert plain(after(*before, *merged)) == plain(after(*before, after(*merged)))
