"""Warm kernels: they are started before anybody asks, so that nobody waits for a start.

A `WarmLauncher` stands before another launcher and looks like it. Of some kernelspecs it keeps
processes ready, for each owner his own. A request takes one of them: to whoever asked, it has
started very soon. Others are started when nobody has asked for anything for a while, so that they
take the processors from nobody who waits.

Knows the seam of kernels alone; must not know how a process is started, nor runs.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kernel_gateway.kernels.kernel import Generation, KernelId, LaunchRequest, Seed
from kernel_gateway.kernels.pool.kernel import WarmKernel
from kernel_gateway.kernels.pool.shelves import Shelves
from kernel_gateway.kernels.pool.spare import Spare, remove

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.kernels.kernel import Kernel, KernelListener, PoolableLauncher, SpecEntry
    from kernel_gateway.kernels.pool.shelves import Shelf

LOG = logging.getLogger("kernel_gateway.kernels")

#: For which nobody must have come before another is started: whoever has come has work for it now.
REST_S = 0.5
#: So often that is waited for; somebody may come all the time.
RESTS = 10
#: Before the next start, when one has failed or a process has died unused; doubles.
BACK_OFF_S = 1.0
BACK_OFF_MOST_S = 60.0
#: There is no hurry; and one that hangs until its limit does not hold up all others.
STARTS_AT_ONCE = 2


class WarmLauncher:
    """Implements `Launcher`. Await `start`; `warm` is how many of which kernelspec.

    `owner` has his from the start, others from their first launch on. `folder` is its own: whatever
    is in it is removed. `memory` is of all unused processes together, in bytes. `most` processes
    may there be, those of others included: unused ones make room.
    """

    def __init__(
        self,
        launcher: PoolableLauncher,
        warm: Mapping[str, int],
        *,
        folder: Path,
        owner: str = "",
        memory: int = 2**31,
        most: int | None = None,
        pause: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._launcher = launcher
        self._folder = folder.absolute()
        self._owner = owner
        self._most = most
        self._pause = pause
        self._shelves = Shelves(warm, memory=memory)
        self._keepers: dict[Shelf, _Keeper] = {}
        self._newcomers = 0  # since the last rest
        self._resting = asyncio.Lock()
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        launcher.when_gone = self._wake_all

    async def start(self) -> None:
        """The first ones are on their way when it returns."""
        if self._shelves.spec_names:
            await asyncio.to_thread(remove, self._folder)
        for name in self._shelves.spec_names:
            self._keep_up(self._shelves.used(Seed(self._owner, name)))

    def launch(self, request: LaunchRequest, listener: KernelListener) -> Kernel:
        self._newcomers += 1
        spare = self._taken_for(request)
        if spare is None:
            self._make_room()
            return self._launcher.launch(request, listener)
        warm = WarmKernel(spare, request, listener, self._launcher)
        self._do(warm.serve())
        return warm

    def default_spec(self) -> str:
        return self._launcher.default_spec()

    def kernelspec(self, name: str) -> SpecEntry:
        return self._launcher.kernelspec(name)

    def kernelspecs(self) -> Sequence[SpecEntry]:
        return self._launcher.kernelspecs()

    @property
    def warm(self) -> int:
        return sum(self.ready().values())

    def ready(self) -> dict[str, int]:
        """How many are waiting, by kernelspec."""
        return self._shelves.ready()

    async def close(self) -> None:
        """Those that nobody has taken are killed: they have nothing to lose."""
        keepers, self._keepers = list(self._keepers.values()), {}
        for keeper in keepers:
            keeper.task.cancel()
        await asyncio.gather(*(keeper.task for keeper in keepers), return_exceptions=True)
        while (spare := self._shelves.give_up()) is not None:
            self._do(spare.end())
        await self._done()
        await self._launcher.close()
        await self._done()  # what is left to do for those that somebody had forgotten
        if self._shelves.spec_names:
            await asyncio.to_thread(remove, self._folder)

    # -- taking ------------------------------------------------------------------------------------

    def _taken_for(self, request: LaunchRequest) -> Spare | None:
        """One that is there, and made from what is on disk now. Looks at some files."""
        if not self._shelves.keeps(request.spec_name):
            return None
        seed = self._launcher.seed(request)
        if seed is None:
            return None
        shelf = self._shelves.used(seed)
        shelf.see(seed.edition)
        spare = self._taken_from(shelf, seed)
        self._keep_up(shelf)
        return spare

    def _taken_from(self, shelf: Shelf, seed: Seed) -> Spare | None:
        while shelf.ready:
            spare = shelf.ready.pop(0)
            if not spare.kernel.alive:
                shelf.fail("it has just died")
            elif spare.seed.edition == seed.edition:
                shelf.failures = 0
                return spare
            else:
                self._do(spare.end())
        return None

    def _make_room(self) -> None:
        """For one that is started now."""
        if self._most is not None and self._launcher.processes >= self._most:
            spare = self._shelves.give_up()
            if spare is not None:
                self._do(spare.end())

    # -- keeping -----------------------------------------------------------------------------------

    def _keep_up(self, shelf: Shelf) -> None:
        """See to it that there are as many as are wanted."""
        if shelf not in self._keepers:
            wake = asyncio.Event()
            self._keepers[shelf] = _Keeper(asyncio.create_task(self._keep(shelf, wake)), wake)
        self._keepers[shelf].wake.set()
        while (gone := self._shelves.too_many()) is not None:
            self._drop(gone)

    def _drop(self, shelf: Shelf) -> None:
        keeper = self._keepers.pop(shelf, None)
        if keeper is not None:
            keeper.task.cancel()
            self._do(_over(keeper.task))
        for spare in shelf.ready:
            self._do(spare.end())
        shelf.ready.clear()

    def _wake_all(self) -> None:
        """There may be room for another."""
        for keeper in self._keepers.values():
            keeper.wake.set()

    async def _keep(self, shelf: Shelf, wake: asyncio.Event) -> None:
        while True:
            await wake.wait()
            wake.clear()
            while self._may_start(shelf):
                if shelf.failures:
                    await self._pause(_back_off_s(shelf.failures))
                await self._rest()
                async with self._starting:
                    if self._may_start(shelf):
                        await self._put_one(shelf)

    def _may_start(self, shelf: Shelf) -> bool:
        is_free = self._most is None or self._launcher.processes < self._most
        return is_free and self._shelves.has_room(shelf)

    async def _rest(self) -> None:
        """Until nobody has come for a while."""
        async with self._resting:
            for _ in range(RESTS):
                if not self._newcomers:
                    return
                self._newcomers = 0
                await self._pause(REST_S)

    async def _put_one(self, shelf: Shelf) -> None:
        try:
            spare = self._launched(shelf)
        except Exception as fault:  # no such kernelspec, or its provisioner is not there
            shelf.fail(fault)
            return
        try:
            await asyncio.wait({spare.settled})
            why_not = await self._examined(spare)
        except asyncio.CancelledError:
            await spare.end()
            raise
        except Exception as fault:  # it says nothing, or a fault of ours: others go on
            self._do(spare.end())
            shelf.fail(str(fault) or type(fault).__name__)
            return
        if spare.exit is not None:
            shelf.fail(spare.exit)
        elif why_not is not None:
            shelf.refuse(why_not)
            self._do(spare.end())
        else:
            shelf.each = spare.memory
            shelf.ready.append(spare)
            for gone in self._shelves.over():
                self._do(gone.end())

    async def _examined(self, spare: Spare) -> str | None:
        """Why it cannot be kept."""
        if spare.exit is not None:
            return None
        why_not = await spare.kernel.prepare() if spare.seed.adopts else None
        spare.memory = await spare.kernel.memory()
        return why_not

    def _launched(self, shelf: Shelf) -> Spare:
        """Raises what a launcher raises."""
        name = str(uuid4())
        request = LaunchRequest(
            kernel_id=KernelId(name),
            generation=Generation(1),
            spec_name=shelf.seed.spec_name,
            owner=shelf.seed.owner,
            env=dict(shelf.seed.env),
        )
        seed = self._launcher.seed(request)
        if seed != shelf.seed:
            raise LookupError("its kernelspec has changed")
        shelf.see(seed.edition)
        spare = Spare(seed, self._folder / name, lambda dead: self._on_dead(shelf, dead))
        if not seed.adopts:
            request = replace(request, artifact_dir=spare.folder)
        spare.kernel = self._launcher.launch(request, spare)
        return spare

    def _on_dead(self, shelf: Shelf, spare: Spare) -> None:
        if spare in shelf.ready:
            shelf.ready.remove(spare)
            shelf.fail(spare.exit)
        if not spare.seed.adopts:
            self._do(asyncio.to_thread(spare.clear))

    # -- tasks -------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._did)

    def _did(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            LOG.error("what is done for a warm kernel has failed", exc_info=fault)

    async def _done(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Of one shelf."""

    task: asyncio.Task[None]
    wake: asyncio.Event


async def _over(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})


def _back_off_s(failures: int) -> float:
    return float(min(BACK_OFF_S * 2 ** (failures - 1), BACK_OFF_MOST_S))
