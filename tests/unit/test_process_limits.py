"""What is kept back of the descriptors that a process may have."""

from __future__ import annotations

import pytest

from kernel_gateway.process_limits import KERNEL_DESCRIPTORS, Descriptors

KEPT = 64  # of a thousand


@pytest.mark.parametrize(
    ("free", "are_short", "are_out"),
    [(KEPT, False, False), (KEPT - 1, True, False), (17, True, False), (16, True, True)],
)
def test_first_who_stays_is_sent_away_and_then_all_are(
    free: int, are_short: bool, are_out: bool
) -> None:
    now = Descriptors(limit=1024, used=1024 - free)
    assert (are_short, are_out) == (now.are_short, now.are_out)


@pytest.mark.parametrize(
    ("limit", "kept"), [(20, 8), (160, 10), (256, 16), (1024, 64), (10**6, 64)]
)
def test_a_small_limit_is_not_kept_back_as_a_whole(limit: int, kept: int) -> None:
    assert kept == Descriptors(limit=limit, used=0).kept_back


def test_there_is_room_for_a_kernel_when_it_leaves_what_is_kept_back() -> None:
    exact = Descriptors(limit=1024, used=1024 - KEPT - 3 * KERNEL_DESCRIPTORS)
    assert (True, False) == (exact.have_room(3), exact.have_room(4))


def test_a_limit_that_was_lowered_meanwhile_leaves_nothing() -> None:
    now = Descriptors(limit=10, used=20)
    assert (0, True, False) == (now.free, now.are_out, now.have_room(1))
