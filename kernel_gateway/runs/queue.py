"""Who is next on a kernel: first in, first out, one run in flight, bounded.

Knows order and the state of the slot; must not know what a run is or how it is executed. The slot
is one kernel process. A slot whose kernel died or had to be killed is poisoned until a new kernel
has come up. That is the same state as before its first kernel, STARTING, so a poisoned slot cannot
report idle; a run may have its turn meanwhile, and then waits for the kernel.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Generic, TypeVar

from kernel_gateway.errors import QueueFull

T = TypeVar("T")


class Slot(StrEnum):
    STARTING = "starting"  # no kernel that answers: not yet, or poisoned and being replaced
    IDLE = "idle"
    TAKEN = "taken"  # a run is in flight
    CLOSED = "closed"  # no kernel will come


class Queue(Generic[T]):
    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._waiting: deque[T] = deque()
        self._in_flight: T | None = None
        self._usable = False  # a kernel is up
        self._closed = False

    def __repr__(self) -> str:
        return f"<Queue {self.slot.name} waiting={len(self._waiting)}>"

    def __len__(self) -> int:
        """Runs that wait for their turn."""
        return len(self._waiting)

    @property
    def slot(self) -> Slot:
        if self._closed:
            return Slot.CLOSED
        if not self._usable:
            return Slot.STARTING
        return Slot.IDLE if self._in_flight is None else Slot.TAKEN

    @property
    def in_flight(self) -> T | None:
        return self._in_flight

    def check_room(self) -> None:
        """Raises `QueueFull`; call it before a run is created, so that none is stored in vain."""
        if len(self._waiting) >= self._bound:
            raise QueueFull(f"{self._bound} runs wait for this kernel already; try again later.")

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
        if self._in_flight is not None or not self._waiting or self._closed:
            return None
        self._in_flight = self._waiting.popleft()
        return self._in_flight

    def release(self, run: T) -> None:
        """It is over; whether it had its turn or still waited."""
        if self._in_flight is run:
            self._in_flight = None
        elif run in self._waiting:
            self._waiting.remove(run)

    def kernel_up(self) -> None:
        self._usable = True

    def kernel_gone(self) -> None:
        self._usable = False

    def close(self) -> list[T]:
        """No kernel will come any more; gives those that waited."""
        self._closed = True
        left = list(self._waiting)
        self._waiting.clear()
        return left
