"""Whether a delivery is tried again, and when."""

from __future__ import annotations

import pytest

from kernel_gateway.webhooks.retrying import Verdict, pause_s, verdict_of
from kernel_gateway.webhooks.settings import WebhookSettings

SETTINGS = WebhookSettings(first_pause_s=0.5, most_pause_s=60.0)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (301, Verdict.REFUSED),
        (304, Verdict.REFUSED),
        (307, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (410, Verdict.REFUSED),
        (429, Verdict.AGAIN),
        (500, Verdict.AGAIN),
        (503, Verdict.AGAIN),
        (599, Verdict.AGAIN),
    ],
)
def test_a_status_says_what_becomes_of_a_delivery(status: int, expected: Verdict) -> None:
    assert expected is verdict_of(status)


def test_pauses_double_up_to_the_longest() -> None:
    expected = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert expected == [pause_s(SETTINGS, attempt, None) for attempt in range(1, 10)]
    assert 60.0 == pause_s(SETTINGS, 100_000, None)


@pytest.mark.parametrize(
    ("asked_s", "expected"), [(0.0, 0.5), (5.0, 5.0), (3600.0, 60.0), (float("inf"), 60.0)]
)
def test_a_receiver_is_not_called_before_it_wants_to_be_within_the_longest_pause(
    asked_s: float, expected: float
) -> None:
    assert expected == pause_s(SETTINGS, 1, asked_s)
