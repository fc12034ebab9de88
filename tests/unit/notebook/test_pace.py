"""`notebook/saving.py`: when a save is due. How it is done needs files: `tests/fake`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.notebook.saving import Pace


def test_the_first_save_is_due_at_once() -> None:
    assert 0.0 == Pace().wait_s(100.0)


def test_saves_are_two_seconds_apart() -> None:
    pace = Pace()
    pace.saved(100.0, 100.1)
    assert (1.5, 0.0, 0.0) == (pace.wait_s(100.5), pace.wait_s(102.0), pace.wait_s(110.0))


def test_a_slow_save_waits_longer() -> None:
    pace = Pace()
    pace.saved(100.0, 103.0)
    assert 27.0 == round(pace.wait_s(103.0), 6)


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=20))
def test_saving_never_takes_more_than_a_tenth_of_the_time(durations: list[float]) -> None:
    pace, now = Pace(), 0.0
    for duration in durations:
        now += pace.wait_s(now)
        pace.saved(now, now + duration)
        now += duration
    total = now + pace.wait_s(now)
    assert sum(durations) <= 0.1 * total + 1e-6
    assert 2.0 * len(durations) <= total + 1e-6
