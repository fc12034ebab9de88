"""The kernel of who has asked, while a spare process becomes his, and afterwards.

When that fails he notices nothing: another process is started for him. Knows the seam of kernels
alone.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from kernel_gateway.kernels.kernel import KernelExit

if TYPE_CHECKING:
    from kernel_gateway.kernels.kernel import (
        Generation,
        Kernel,
        KernelListener,
        Launcher,
        LaunchRequest,
        ProcessOutput,
    )
    from kernel_gateway.kernels.pool.spare import Spare
    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.message import Request
    from kernel_gateway.messaging.raw import RawMessage

LOG = logging.getLogger("kernel_gateway.kernels")

#: Requests kept while a process is handed over, which takes some milliseconds.
HELD_REQUESTS = 1000


class WarmKernel:
    """Implements `Kernel`, and `KernelListener` towards a process that was started in place of the
    spare one. Await `serve` once."""

    def __init__(
        self, spare: Spare, request: LaunchRequest, listener: KernelListener, launcher: Launcher
    ) -> None:
        self.kernel: Kernel = spare.kernel
        self._spare = spare
        self._request = request
        self._listener = listener
        self._launcher = launcher
        self._held: list[Request | RawMessage] | None = []  # None: it is handed over
        self._stopped = False  # before that
        self._dead: asyncio.Future[KernelExit] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<WarmKernel {self._request.kernel_id[:8]} {self.kernel!r}>"

    async def serve(self) -> None:
        """Hand the process over, or start another."""
        is_his = await self._is_his()
        if self._stopped:
            exit_ = await asyncio.shield(self._spare.dead)
            self.on_dead(replace(exit_, start_fault="It was stopped before it was ready."))
        elif is_his and self._spare.exit is None and self._spare.info is not None:
            self._spare.give_to(self._listener, self.on_dead)
            self._pass_on()
            self.on_ready(self._spare.info)
        else:
            self._start_another()
            await self._spare.end()

    async def _is_his(self) -> bool:
        try:
            return await self._spare.becomes(self._request)
        except Exception:  # a fault of ours: he is not to wait for ever because of it
            LOG.exception("%r could not be handed over", self._spare)
            return False

    def _start_another(self) -> None:
        LOG.warning("%r could not be handed over, another is started", self._spare)
        try:
            self.kernel = self._launcher.launch(self._request, self)
        except Exception as fault:  # its kernelspec is gone since
            self._held = []  # not for the spare one, which may be alive
            self.on_dead(KernelExit(start_fault=str(fault)))
        self._pass_on()

    def _pass_on(self) -> None:
        held, self._held = self._held or [], None
        for request in held:
            self.kernel.send(request)

    # -- what the process tells --------------------------------------------------------------------

    def on_ready(self, info: KernelInfo) -> None:
        self._listener.on_ready(info)

    def on_message(self, message: RawMessage) -> None:
        self._listener.on_message(message)

    def on_dead(self, how: KernelExit) -> None:
        try:
            self._listener.on_dead(how)
        finally:
            self._dead.set_result(how)

    # -- of who has asked --------------------------------------------------------------------------

    @property
    def generation(self) -> Generation:
        return self._request.generation

    @property
    def session(self) -> str:
        return self.kernel.session

    @property
    def alive(self) -> bool:
        return self.kernel.alive

    def output(self) -> ProcessOutput:
        return self.kernel.output()

    def send(self, request: Request | RawMessage) -> None:
        if self._held is None:
            self.kernel.send(request)
        elif len(self._held) < HELD_REQUESTS:
            self._held.append(request)
        else:
            LOG.warning("%r: a %s is dropped, too many wait", self, request.msg_type)

    async def interrupt(self) -> None:
        """Nothing of his runs in a process that is not his yet."""
        if self._held is None:
            await self.kernel.interrupt()

    async def terminate(self) -> None:
        if self._held is None:
            await self.kernel.terminate()
        else:
            await self._stop()

    async def kill(self) -> None:
        if self._held is None:
            await self.kernel.kill()
        else:
            await self._stop()

    async def shutdown(self, grace_s: float) -> None:
        if self._held is None:
            await self.kernel.shutdown(grace_s)
        else:
            await self._stop()
        await self.wait_dead()

    async def _stop(self) -> None:
        self._stopped = True
        await self.kernel.kill()

    async def wait_dead(self) -> KernelExit:
        return await asyncio.shield(self._dead)
