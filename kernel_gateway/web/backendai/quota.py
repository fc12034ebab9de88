"""How many calls a key may make in a while: a rolling window.

Takes *now* as an argument. Must not know whose key it is, nor how it is told.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from kernel_gateway.errors import TooManyCalls

WINDOW_S = 900
SLOT_S = 10.0  # calls are forgotten so many at a time: a key costs 90 numbers, not one a call


@dataclass(slots=True)
class _Slot:
    since: float
    count: int = 0


@dataclass(slots=True)
class _Window:
    slots: deque[_Slot] = field(default_factory=deque)
    count: int = 0


class Quota:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._windows: dict[str, _Window] = {}

    def take(self, key: str, now: float) -> int:
        """Count a call and give how many are left. Raises `TooManyCalls`; that call is not counted.

        `key` is one that may call, so that there are only so many of them.
        """
        window = self._windows.setdefault(key, _Window())
        _forget(window, now)
        if window.count >= self.limit:
            raise TooManyCalls(
                f"This key has made the {self.limit} calls that it may make in {WINDOW_S} seconds."
            )
        _count(window, now)
        return self.limit - window.count


def _forget(window: _Window, now: float) -> None:
    """What is older than the window, its whole slot."""
    while window.slots and window.slots[0].since + SLOT_S + WINDOW_S <= now:
        window.count -= window.slots.popleft().count


def _count(window: _Window, now: float) -> None:
    if not window.slots or now >= window.slots[-1].since + SLOT_S:
        window.slots.append(_Slot(now))
    window.slots[-1].count += 1
    window.count += 1
