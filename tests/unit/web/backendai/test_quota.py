"""Calls of a key in a rolling window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import TooManyCalls
from kernel_gateway.web.backendai.quota import SLOT_S, WINDOW_S, Quota


def test_each_call_leaves_one_less() -> None:
    quota = Quota(3)
    assert [2, 1, 0] == [quota.take("a", now) for now in (0.0, 1.0, 100.0)]


def test_a_call_too_many_is_refused_and_not_counted() -> None:
    quota = Quota(1)
    quota.take("a", 0.0)
    for _ in range(3):
        with pytest.raises(TooManyCalls):
            quota.take("a", 1.0)
    assert 0 == quota.take("a", WINDOW_S + SLOT_S)


def test_keys_do_not_take_from_each_other() -> None:
    quota = Quota(1)
    assert [0, 0] == [quota.take(key, 0.0) for key in "ab"]


@given(
    st.integers(1, 5),
    st.lists(st.floats(0, 400, allow_nan=False), max_size=60),
)
def test_no_window_has_more_calls_than_the_limit(limit: int, gaps: list[float]) -> None:
    quota = Quota(limit)
    now, taken = 0.0, list[float]()
    for gap in gaps:
        now += gap
        try:
            left = quota.take("a", now)
        except TooManyCalls:
            assert limit <= sum(at > now - WINDOW_S - SLOT_S for at in taken)
        else:
            taken.append(now)
            assert left < limit
        assert sum(at > now - WINDOW_S for at in taken) <= limit
