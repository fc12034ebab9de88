"""One process that nobody has asked for yet. Knows the seam of kernels alone."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.kernels.folder import make_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kernel_gateway.kernels.kernel import (
        AdoptableKernel,
        KernelExit,
        KernelListener,
        LaunchRequest,
        Seed,
    )
    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.raw import RawMessage


@dataclass(frozen=True, slots=True)
class _Heir:
    """Who is told what the process says, once somebody has it."""

    tell: Callable[[RawMessage], None]
    tell_dead: Callable[[KernelExit], None]


class Spare:
    """On a shelf, and given away once. Implements `KernelListener` towards the process."""

    def __init__(self, seed: Seed, folder: Path, when_dead: Callable[[Spare], None]) -> None:
        """`folder` is a name that leads to the artifact folder of a request, once there is one: for
        a process that cannot be told another later."""
        loop = asyncio.get_running_loop()
        self.seed = seed
        self.folder = folder
        self.kernel: AdoptableKernel  # set in the turn in which it is launched
        self.info: KernelInfo | None = None
        self.memory = 0  # bytes, when it was put on its shelf
        #: Done when it is ready, or dead.
        self.settled: asyncio.Future[None] = loop.create_future()
        self.dead: asyncio.Future[KernelExit] = loop.create_future()
        self._when_dead = when_dead
        self._heir: _Heir | None = None

    def __repr__(self) -> str:
        return f"<Spare {self.seed.spec_name} of {self.seed.owner!r} {self.kernel!r}>"

    @property
    def exit(self) -> KernelExit | None:
        return self.dead.result() if self.dead.done() else None

    async def becomes(self, request: LaunchRequest) -> bool:
        """Whether it is now as if it had been started for this request."""
        if self.seed.adopts:
            return await self.kernel.adopt(request)
        if request.artifact_dir is None:
            return True
        return await asyncio.to_thread(_link, self.folder, request.artifact_dir.absolute())

    def give_to(self, listener: KernelListener, tell_dead: Callable[[KernelExit], None]) -> None:
        """What it says is told to the listener, and its death to `tell_dead`."""
        self._heir = _Heir(listener.on_message, tell_dead)

    async def end(self) -> None:
        """It has nothing to lose."""
        await self.kernel.kill()
        await asyncio.shield(self.dead)

    def clear(self) -> None:
        """Remove the name that it was told; where that led stays. Touches files."""
        remove(self.folder)

    # -- what the process tells --------------------------------------------------------------------

    def on_ready(self, info: KernelInfo) -> None:
        self.info = info
        self._settle()

    def on_message(self, message: RawMessage) -> None:
        if self._heir is not None:
            self._heir.tell(message)

    def on_dead(self, how: KernelExit) -> None:
        self.dead.set_result(how)
        self._settle()
        try:
            if self._heir is not None:
                self._heir.tell_dead(how)
        finally:
            self._when_dead(self)

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)


def _link(name: Path, target: Path) -> bool:
    """What was written there before belongs to nobody. False: whoever starts another says why."""
    try:
        make_private(target)
        remove(name)
        name.symlink_to(target)
    except OSError:
        return False
    return True


def remove(path: Path) -> None:
    """The link itself, not what it leads to."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
