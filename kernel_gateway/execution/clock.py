"""The clock of the engine: the one place that reads the time. Tests bring one they can advance."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from kernel_gateway.runs.events import Instant

if TYPE_CHECKING:
    from collections.abc import Callable


class Handle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    def now(self) -> Instant: ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle: ...


class LoopClock:
    """The running event loop's own."""

    def now(self) -> Instant:
        return Instant(wall=time.time(), mono=time.monotonic())

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        return asyncio.get_running_loop().call_later(delay_s, callback)
