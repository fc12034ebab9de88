"""Kernels that are started before anybody asks for them, so that nobody waits for a start.

A `WarmLauncher` stands before another launcher and looks like it. Of some kernelspecs it keeps
processes ready. A request that any process of its kernelspec can serve (no folder and no variables
of its own) takes one of them: to whoever asked, it has started very soon.

A variable of a process cannot be changed from outside, so the artifact folder that a warm process
was told is a name in a folder of ours; when it is taken, that name becomes a link to the folder of
the request. Knows the seam of kernels alone; must not know how a process is started, nor runs.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kernel_gateway.kernels.folder import artifact_dir_fault, make_private
from kernel_gateway.kernels.kernel import (
    Generation,
    Kernel,
    KernelExit,
    KernelId,
    LaunchRequest,
    ProcessOutput,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.kernels.kernel import KernelListener, Launcher, SpecEntry
    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.message import Request
    from kernel_gateway.messaging.raw import RawMessage

LOG = logging.getLogger("kernel_gateway.kernels")

#: Before the next start, when one was taken: whoever took it has work for it now.
REST_S = 0.5
#: Before the next start, when one has failed or a process has died unused; doubles.
BACK_OFF_S = 1.0
BACK_OFF_MOST_S = 60.0
#: Failures in a row after which no more are started, until the kernelspec changes.
FAILURES = 5


@dataclass(frozen=True, slots=True)
class _Edition:
    """Of a kernelspec: what a process was started from."""

    file: Path | None = None
    changed_ns: int | None = None

    def now(self) -> _Edition:
        """The same file as it is now."""
        if self.file is None:
            return self
        try:
            return _Edition(self.file, self.file.stat().st_mtime_ns)
        except OSError:
            return _Edition(self.file)


class WarmKernel:
    """One process, first on the shelf and then of who takes it. Implements `Kernel`, and
    `KernelListener` towards the process."""

    def __init__(
        self, folder: Path, edition: _Edition, when_dead: Callable[[WarmKernel], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.kernel: Kernel  # set in the turn in which it is launched
        self.edition = edition
        #: Done when it is ready, or dead.
        self.settled: asyncio.Future[None] = loop.create_future()
        self._folder = folder  # that the process was told
        self._when_dead = when_dead
        self._info: KernelInfo | None = None
        self._request: LaunchRequest | None = None
        self._listener: KernelListener | None = None
        self._told_ready = False
        self._stopped = False
        self._fault: str | None = None  # of the hand-over
        self._dead: asyncio.Future[KernelExit] = loop.create_future()

    def __repr__(self) -> str:
        return f"<WarmKernel {'taken' if self._listener else 'unused'} {self.kernel!r}>"

    # -- on the shelf ------------------------------------------------------------------------------

    @property
    def exit(self) -> KernelExit | None:
        return self._dead.result() if self._dead.done() else None

    def take(self, request: LaunchRequest, listener: KernelListener) -> None:
        """It is the kernel of this request from now on; await `serve`."""
        self._request = request
        self._listener = listener

    async def serve(self) -> None:
        """Lead its folder to that of the request, and say that it is ready."""
        target = self._request.artifact_dir if self._request else None
        if target is not None:
            try:
                await asyncio.to_thread(_link, self._folder, target.absolute())
            except OSError as fault:
                self._fault = artifact_dir_fault(target, fault)
                await self.kernel.kill()
        self._tell_ready()

    def clear(self) -> None:
        """Remove the name that it was told; where that led stays. Touches files."""
        _remove(self._folder)

    # -- what the process tells --------------------------------------------------------------------

    def on_ready(self, info: KernelInfo) -> None:
        self._info = info
        self._settle()

    def on_message(self, message: RawMessage) -> None:
        if self._listener is not None:
            self._listener.on_message(message)

    def on_dead(self, how: KernelExit) -> None:
        """One that dies by itself while it is handed over was ready: its death is no failed start,
        and another may follow."""
        self._tell_ready()
        taken = self._listener is not None
        exit_ = replace(how, start_fault=self._why_not) if taken and not self._told_ready else how
        try:
            if self._listener is not None:
                self._listener.on_dead(exit_)
        finally:
            self._dead.set_result(exit_)
            self._settle()
            self._when_dead(self)

    def _tell_ready(self) -> None:
        gone = self._stopped or self._fault is not None or self._dead.done()
        if self._listener is not None and self._info is not None and not (self._told_ready or gone):
            self._told_ready = True
            self._listener.on_ready(self._info)

    @property
    def _why_not(self) -> str:
        return self._fault or "It was stopped before it was ready."

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    # -- of who has taken it -----------------------------------------------------------------------

    @property
    def generation(self) -> Generation:
        return self._request.generation if self._request else self.kernel.generation

    @property
    def session(self) -> str:
        return self.kernel.session

    @property
    def alive(self) -> bool:
        return self.kernel.alive

    def output(self) -> ProcessOutput:
        return self.kernel.output()

    def send(self, request: Request | RawMessage) -> None:
        self.kernel.send(request)

    async def interrupt(self) -> None:
        await self.kernel.interrupt()

    async def terminate(self) -> None:
        self._stopped = True
        await self.kernel.terminate()

    async def kill(self) -> None:
        self._stopped = True
        await self.kernel.kill()

    async def shutdown(self, grace_s: float) -> None:
        self._stopped = True
        await self.kernel.shutdown(grace_s)

    async def wait_dead(self) -> KernelExit:
        return await asyncio.shield(self._dead)


@dataclass(slots=True)
class _Shelf:
    """Of one kernelspec."""

    name: str
    wanted: int
    ready: list[WarmKernel] = field(default_factory=list)  # the oldest first
    edition: _Edition = field(default_factory=_Edition)  # of the last start
    failures: int = 0  # in a row
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_room(self) -> bool:
        return len(self.ready) < self.wanted and self.failures < FAILURES

    def fail(self, why: object) -> None:
        self.failures += 1
        more = "none is started any more" if self.failures == FAILURES else "another is started"
        LOG.warning("a kernel kept ready of kernelspec %r failed, %s: %s", self.name, more, why)
        self.changed.set()

    def renew(self) -> None:
        """The kernelspec has changed: it may work now."""
        self.failures = 0
        self.changed.set()


class WarmLauncher:
    """Implements `Launcher`. Await `start`; `warm` is how many of which kernelspec.

    `folder` is its own: whatever is in it is removed.
    """

    def __init__(
        self,
        launcher: Launcher,
        warm: Mapping[str, int],
        *,
        folder: Path,
        pause: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._launcher = launcher
        self._folder = folder.absolute()
        self._pause = pause
        self._shelves = {name: _Shelf(name, wanted) for name, wanted in warm.items() if wanted > 0}
        self._keepers: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """The first ones are on their way when it returns."""
        if self._shelves:
            await asyncio.to_thread(_remove, self._folder)
        self._keepers = [asyncio.create_task(self._keep(one)) for one in self._shelves.values()]

    def launch(self, request: LaunchRequest, listener: KernelListener) -> Kernel:
        shelf = self._shelves.get(request.spec_name)
        if shelf is None or request.env or request.cwd is not None:
            return self._launcher.launch(request, listener)
        warm = self._taken_from(shelf)
        if warm is None:
            return self._launcher.launch(request, listener)
        warm.take(request, listener)
        self._do(self._hand_over(warm, shelf))
        return warm

    def default_spec(self) -> str:
        return self._launcher.default_spec()

    def kernelspecs(self) -> Sequence[SpecEntry]:
        return self._launcher.kernelspecs()

    def ready(self) -> dict[str, int]:
        """How many are waiting, by kernelspec."""
        return {name: len(shelf.ready) for name, shelf in self._shelves.items()}

    async def close(self) -> None:
        """Those that nobody has taken are killed: they have nothing to lose."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for shelf in self._shelves.values():
            ready, shelf.ready = shelf.ready, []
            for warm in ready:
                self._do(_end(warm))
        await self._done()
        await self._launcher.close()
        await self._done()  # what is left to do for those that somebody had forgotten
        if self._shelves:
            await asyncio.to_thread(_remove, self._folder)

    # -- taking ------------------------------------------------------------------------------------

    def _taken_from(self, shelf: _Shelf) -> WarmKernel | None:
        """One that is there, and made from what the kernelspec is now. Looks at one file."""
        edition = shelf.edition.now()
        if edition != shelf.edition:
            shelf.renew()
        while shelf.ready:
            warm = shelf.ready.pop(0)
            if not warm.alive:
                shelf.fail("it has just died")
            elif warm.edition == edition:
                shelf.failures = 0
                return warm
            else:
                self._do(_end(warm))
                shelf.changed.set()
        return None

    async def _hand_over(self, warm: WarmKernel, shelf: _Shelf) -> None:
        try:
            await warm.serve()
        finally:
            shelf.changed.set()

    # -- keeping -----------------------------------------------------------------------------------

    async def _keep(self, shelf: _Shelf) -> None:
        while True:
            while shelf.has_room:
                await self._put_one(shelf)
            shelf.changed.clear()
            await shelf.changed.wait()
            await self._pause(_rest_s(shelf.failures))

    async def _put_one(self, shelf: _Shelf) -> None:
        """One at a time: there is no hurry."""
        try:
            shelf.edition = await asyncio.to_thread(self._edition_of, shelf.name)
            warm = self._launched(shelf)
        except Exception as fault:  # no such kernelspec, or its provisioner is not there
            shelf.fail(fault)
            await self._pause(_rest_s(shelf.failures))
            return
        try:
            await asyncio.wait({warm.settled})
        except asyncio.CancelledError:
            await _end(warm)
            raise
        if warm.exit is None:
            shelf.ready.append(warm)
        else:
            shelf.fail(warm.exit)
            await self._pause(_rest_s(shelf.failures))

    def _launched(self, shelf: _Shelf) -> WarmKernel:
        name = str(uuid4())
        folder = self._folder / name
        warm = WarmKernel(folder, shelf.edition, lambda dead: self._on_dead(shelf, dead))
        request = LaunchRequest(
            kernel_id=KernelId(name),
            generation=Generation(1),
            spec_name=shelf.name,
            artifact_dir=folder,
        )
        warm.kernel = self._launcher.launch(request, warm)
        return warm

    def _on_dead(self, shelf: _Shelf, warm: WarmKernel) -> None:
        if warm in shelf.ready:
            shelf.ready.remove(warm)
            shelf.fail(warm.exit)
        self._do(asyncio.to_thread(warm.clear))

    def _edition_of(self, name: str) -> _Edition:
        for entry in self._launcher.kernelspecs():
            if entry.name == name:
                return _Edition(entry.resource_dir / "kernel.json").now()
        return _Edition()

    # -- tasks -------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._did)

    def _did(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            LOG.error("what is done for a kernel that was kept ready has failed", exc_info=fault)

    async def _done(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))


async def _end(warm: WarmKernel) -> None:
    await warm.kill()
    await warm.wait_dead()


def _rest_s(failures: int) -> float:
    if not failures:
        return REST_S
    return float(min(BACK_OFF_S * 2 ** (failures - 1), BACK_OFF_MOST_S))


def _link(name: Path, target: Path) -> None:
    """What was written there before belongs to nobody."""
    make_private(target)
    _remove(name)
    name.symlink_to(target)


def _remove(path: Path) -> None:
    """The link itself, not what it leads to."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
