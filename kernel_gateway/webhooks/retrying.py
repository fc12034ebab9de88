"""Whether a delivery is tried again, and when.

Knows answers and settings. Must not know the clock.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel_gateway.webhooks.settings import WebhookSettings

_TOO_MANY = 429
_LONGEST_POWER = 60  # of two; a pause of so many doublings is longer than any that is allowed


class Verdict(Enum):
    DELIVERED = auto()
    AGAIN = auto()  # the receiver may do better later
    REFUSED = auto()  # it will say the same next time


def verdict_of(status: int) -> Verdict:
    """A redirect is not followed: it could lead anywhere."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == _TOO_MANY or status >= 500:
        return Verdict.AGAIN
    return Verdict.REFUSED


def pause_s(settings: WebhookSettings, attempt: int, retry_after_s: float | None) -> float:
    """Behind this attempt, counted from 1: what is longer of ours and what was asked for."""
    own = settings.first_pause_s * 2.0 ** min(attempt - 1, _LONGEST_POWER)
    return min(settings.most_pause_s, max(own, retry_after_s or 0.0))
