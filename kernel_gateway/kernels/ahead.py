"""The kernel that will be asked for first, started before anybody can ask.

A program that knows which kernel it wants has this process come up while it makes itself ready: who
asks then finds it on its way. An `AheadLauncher` stands before another launcher and looks like it.
Knows the seam of kernels alone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from kernel_gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel_gateway.kernels.kernel import (
        Kernel,
        KernelExit,
        KernelListener,
        Launcher,
        LaunchRequest,
        SpecEntry,
    )
    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.raw import RawMessage

LOG = logging.getLogger("kernel_gateway.kernels")

#: Kept until somebody has asked. A kernel that was sent nothing says next to nothing.
HELD_MESSAGES = 1000


class AheadLauncher:
    """Implements `Launcher`. Close it in place of the other one."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._ahead: _Ahead | None = None

    def launch_ahead(self, request: LaunchRequest) -> None:
        """At once. Call it at most once, with the very request that will come: another gets a
        process of its own. What cannot be launched is told to who asks."""
        ahead = _Ahead(request)
        try:
            ahead.kernel = self._launcher.launch(request, ahead)
        except GatewayError as fault:
            LOG.debug("nothing is launched ahead: %s", fault)
        else:
            self._ahead = ahead

    def launch(self, request: LaunchRequest, listener: KernelListener) -> Kernel:
        ahead = self._ahead
        if ahead is None or ahead.request != request:
            return self._launcher.launch(request, listener)
        self._ahead = None
        # Not before who asks has the kernel: its listener may want to answer.
        asyncio.get_running_loop().call_soon(ahead.give_to, listener)
        return ahead.kernel

    @property
    def warm(self) -> int:
        return self._launcher.warm

    def default_spec(self) -> str:
        return self._launcher.default_spec()

    def kernelspec(self, name: str) -> SpecEntry:
        return self._launcher.kernelspec(name)

    def kernelspecs(self) -> Sequence[SpecEntry]:
        return self._launcher.kernelspecs()

    async def close(self) -> None:
        """A process that nobody has asked for is killed: it has nothing to lose."""
        try:
            if self._ahead is not None:
                await self._ahead.kernel.kill()
                await self._ahead.kernel.wait_dead()
        finally:
            await self._launcher.close()


class _Ahead:
    """One process. Implements `KernelListener` towards it: tells all of it to whoever comes."""

    kernel: Kernel  # set in the turn in which it is launched

    def __init__(self, request: LaunchRequest) -> None:
        self.request = request
        self._listener: KernelListener | None = None
        self._told: list[Callable[[KernelListener], None]] = []

    def give_to(self, listener: KernelListener) -> None:
        for tell in self._told:
            tell(listener)
        self._listener = listener

    def on_ready(self, info: KernelInfo) -> None:
        if self._listener is None:
            self._told.append(lambda listener: listener.on_ready(info))
        else:
            self._listener.on_ready(info)

    def on_message(self, message: RawMessage) -> None:
        if self._listener is not None:
            self._listener.on_message(message)
        elif len(self._told) < HELD_MESSAGES:
            self._told.append(lambda listener: listener.on_message(message))

    def on_dead(self, how: KernelExit) -> None:
        if self._listener is None:
            self._told.append(lambda listener: listener.on_dead(how))
        else:
            self._listener.on_dead(how)
