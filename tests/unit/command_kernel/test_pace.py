"""How fast a command may print."""

from __future__ import annotations

from kernel_gateway.command_kernel.pace import BURST_S, BYTES_PER_S, Pace

SECOND = BYTES_PER_S


def test_a_burst_is_free_and_what_is_beyond_it_has_to_wait() -> None:
    pace = Pace(now=10.0)
    pace.printed(int(BURST_S * SECOND), 10.0)
    assert 0.0 == pace.rest_s(10.0)
    pace.printed(SECOND, 10.0)
    assert [1.0, 0.25, 0.0] == [pace.rest_s(now) for now in (10.0, 10.75, 12.0)]


def test_silence_is_not_saved_up() -> None:
    pace = Pace(now=0.0)
    pace.printed(2 * SECOND, 1000.0)
    assert 2 - BURST_S == pace.rest_s(1000.0)


def test_who_prints_little_never_waits() -> None:
    pace = Pace(now=0.0)
    for tenth in range(100):
        pace.printed(SECOND // 20, tenth / 10)
        assert 0.0 == pace.rest_s(tenth / 10)
