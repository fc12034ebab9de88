"""When a kernel is ready: it answered a `kernel_info_request`, and its iopub is heard.

The question is asked at once; ZeroMQ keeps it until the kernel binds. Kernels of protocol 5.4 greet
each new subscriber of iopub (`iopub_welcome`); with others a subscription is in force some time
after the connection, so the question is asked again until its busy and idle come through. Never
asked while an answer is due: that kernel is busy starting, and would only have more to do.

Knows when to ask; must not know how a question travels.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_gateway.messaging.facts import KernelInfo

_FIRST_WAIT_S = 0.1  # a fallback: with a welcome it is never waited for
_LONGEST_WAIT_S = 2.0


class Readiness:
    """Calls `ask` as often as is needed and `on_ready` once. Call `close` when either is void."""

    def __init__(self, ask: Callable[[], None], on_ready: Callable[[KernelInfo], None]) -> None:
        self._ask = ask
        self._on_ready = on_ready
        self._info: KernelInfo | None = None
        self._heard = False
        self._told = False
        self._wait_s = _FIRST_WAIT_S
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._ask()

    def answered(self, info: KernelInfo) -> None:
        self._info = info
        self._decide()
        if not self._told:
            self._timer = asyncio.get_running_loop().call_later(self._wait_s, self._ask)
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def heard(self) -> None:
        """Something came over iopub, so that whatever follows will come too."""
        if not self._heard:
            self._heard = True
            self._decide()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _decide(self) -> None:
        if self._info and self._heard and not self._told:
            self._told = True
            self.close()
            self._on_ready(self._info)
