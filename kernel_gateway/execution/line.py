"""Who stands in a kernel's line: requests that it executes one after the other, as they were sent.

Knows order. Must not know runs nor messages. Runs of the queue send one request at a time, clients
send theirs when they like; whoever was sent is executed in the order of the line.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    def __init__(self) -> None:
        self._places: dict[T, int] = {}  # the lowest first
        self._last = 0

    def __len__(self) -> int:
        return len(self._places)

    @property
    def first(self) -> T | None:
        """Whose request is being executed, or is next."""
        return next(iter(self._places), None)

    @property
    def last(self) -> int:
        """The number of whoever joined last; for `is_clear_of`."""
        return self._last

    def join(self, one: T) -> bool:
        """At the end, also if it stood in the line before. Gives whether others are before it."""
        self._places.pop(one, None)
        self._last += 1
        self._places[one] = self._last
        return len(self._places) > 1

    def leave(self, one: T) -> T | None:
        """Gives whoever is first because of that. Harmless for one that is not in the line."""
        was_first = self.first is one
        self._places.pop(one, None)
        return self.first if was_first else None

    def is_clear_of(self, number: int) -> bool:
        """Whether all that joined up to this one have left."""
        return not self._places or next(iter(self._places.values())) > number
