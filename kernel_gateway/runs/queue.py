"""Who is next in a session: first in, first out, one run in flight, bounded.

Knows order; must not know what a run is, nor on which kernel it is executed. A session's kernel and
the command kernel of its batch steps share one queue, so that what was asked first is done first. A
run may have its turn while its kernel is still starting, and then waits for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from kernel_gateway.errors import QueueFull

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Queue(Generic[T]):
    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._waiting: deque[T] = deque()
        self._in_flight: T | None = None

    def __repr__(self) -> str:
        return f"<Queue in_flight={self._in_flight!r} waiting={len(self._waiting)}>"

    def __len__(self) -> int:
        """Runs that wait for their turn."""
        return len(self._waiting)

    @property
    def in_flight(self) -> T | None:
        return self._in_flight

    def check_room(self) -> None:
        """Raises `QueueFull`; call it before a run is created, so that none is stored in vain."""
        if len(self._waiting) >= self._bound:
            raise QueueFull(f"{self._bound} runs wait in this session already; try again later.")

    @property
    def next(self) -> T | None:
        """Whose turn would be next; None also while somebody has it."""
        return self._waiting[0] if self._waiting and self._in_flight is None else None

    def put(self, run: T) -> None:
        self._waiting.append(run)

    def position(self, run: T) -> int | None:
        """0 for the one whose turn is next, None for one that does not wait."""
        try:
            return self._waiting.index(run)
        except ValueError:
            return None

    def admit(self) -> T | None:
        """Give the first its turn when nobody has it. It has the turn while its kernel starts."""
        if self._in_flight is not None or not self._waiting:
            return None
        self._in_flight = self._waiting.popleft()
        return self._in_flight

    def release(self, run: T) -> None:
        """It is over; whether it had its turn or still waited."""
        if self._in_flight is run:
            self._in_flight = None
        elif run in self._waiting:
            self._waiting.remove(run)

    def withdraw(self, concerned: Callable[[T], bool]) -> list[T]:
        """Take those out that wait in vain: no kernel of theirs will come any more."""
        left = [run for run in self._waiting if concerned(run)]
        self._waiting = deque(run for run in self._waiting if not concerned(run))
        return left
