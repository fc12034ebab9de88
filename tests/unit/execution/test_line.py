"""Whose request a kernel executes, and who is behind it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.execution.line import Line


def line_of(*members: str) -> Line[str]:
    line: Line[str] = Line()
    for one in members:
        line.join(one)
    return line


def test_who_comes_first_is_first_and_the_others_are_behind() -> None:
    assert None is line_of().first
    line = line_of()
    assert [False, True, True] == [line.join(one) for one in "abc"]
    assert ("a", 3) == (line.first, len(line))


def test_who_leaves_from_the_front_makes_the_next_one_first() -> None:
    line = line_of("a", "b", "c")
    assert "b" == line.leave("a")
    assert "c" == line.leave("b")
    assert None is line.leave("c")
    assert (None, 0) == (line.first, len(line))


def test_who_leaves_from_the_middle_changes_nothing_for_the_others() -> None:
    line = line_of("a", "b", "c")
    assert None is line.leave("b")
    assert "c" == line.leave("a")


def test_who_is_not_in_the_line_can_leave_it() -> None:
    line = line_of("a", "b")
    assert None is line.leave("x")
    assert None is line_of().leave("x")
    assert ("a", 2) == (line.first, len(line))


def test_who_joins_once_more_stands_at_the_end() -> None:
    line = line_of("a", "b")
    assert line.join("a")
    assert "b" == line.first
    assert "a" == line.leave("b")


def test_who_joins_once_more_and_is_alone_is_behind_nobody() -> None:
    line = line_of("a")
    assert not line.join("a")
    assert 1 == len(line)


def test_the_line_is_clear_of_those_who_had_joined_when_they_have_left() -> None:
    line = line_of("a", "b")
    before = line.last
    line.join("c")
    assert not line.is_clear_of(before)
    line.leave("a")
    assert not line.is_clear_of(before)
    line.leave("b")
    assert line.is_clear_of(before)
    assert not line.is_clear_of(line.last)


def test_an_empty_line_is_clear_of_everybody() -> None:
    line = line_of("a")
    line.leave("a")
    assert line.is_clear_of(0)
    assert line.is_clear_of(line.last)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40), st.integers(0, 40))
def test_a_line_is_a_list(moves: list[tuple[bool, int]], marked: int) -> None:
    line: Line[int] = Line()
    model: list[int] = []
    before: set[int] = set()
    mark = 0
    for number, (joins, one) in enumerate(moves):
        if number == marked:
            mark, before = line.last, set(model)
        first = model[0] if model else None
        if one in model:
            model.remove(one)
        if joins:
            before.discard(one)
            assert bool(model) is line.join(one)
            model.append(one)
        else:
            before.discard(one)
            next_ = model[0] if model and first == one else None
            assert next_ == line.leave(one)
        assert (model[0] if model else None, len(model)) == (line.first, len(line))
        assert (not before) is line.is_clear_of(mark)
