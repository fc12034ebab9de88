"""The engine in this process, without HTTP: what the doors cost, and what the store costs.

`engine` is the service as the server has it. `engine, no store` is the same with a store that keeps
nothing: it tells in the next turn of the loop that all is stored.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from benchmarks.cells import CODE, SHOWN
from benchmarks.measure import children, process_cpu
from kernel_gateway.app import SWITCH_INTERVAL_S
from kernel_gateway.execution.local import LocalService
from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.service import (
    ExecuteCall,
    ExecuteMode,
    KernelInfoView,
    KernelRequest,
    Owner,
    RunId,
)
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping, Sequence

    from kernel_gateway.store.values import Source, Write

OWNER = Owner("benchmark")


class MemoryStore:
    """What the engine asks of a `Store`, as far as trivial runs go."""

    fault = None
    backlog_bytes = 0

    def enlist(self, source: Source) -> None:
        asyncio.get_running_loop().call_soon(self._told, source)

    @staticmethod
    def _told(source: Source) -> None:
        if source.take():
            source.stored()

    async def write(self, *writes: Write) -> None:
        pass

    async def unfinished(self) -> Sequence[Any]:
        return ()

    async def notebook_sessions(self) -> Sequence[Any]:
        return ()

    async def sweep(self, now: float) -> int:
        return 0

    async def close(self) -> None:
        pass


class Engine:
    """One kernel of a service in process; the loop runs during the rounds only."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, store: Store) -> None:
        self.name = name
        self._loop = loop
        self._store = store
        self._launcher = loop.run_until_complete(_made(lambda: LocalLauncher(KernelSettings())))
        self._service = loop.run_until_complete(_made(lambda: LocalService(self._launcher, store)))
        before = children(_own_pid())
        self._kernel_id = loop.run_until_complete(self._start())
        (self._pid,) = children(_own_pid()) - before

    def round(self, calls: int) -> list[float]:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            return self._loop.run_until_complete(self._round(calls))
        finally:
            sys.setswitchinterval(before)

    def cpu(self) -> Mapping[str, float]:
        return {"gateway": time.process_time(), "kernel": process_cpu(self._pid)}

    def close(self) -> None:
        self._loop.run_until_complete(self._closed())

    async def _start(self) -> str:
        await self._service.start()
        kernel: KernelInfoView = await self._service.create_kernel(OWNER, KernelRequest())
        await self._service.kernel_ready(OWNER, kernel.id)
        return kernel.id

    async def _round(self, calls: int) -> list[float]:
        return [await self._timed() for _ in range(calls)]

    async def _timed(self) -> float:
        call = ExecuteCall(
            kernel_id=self._kernel_id,
            mode=ExecuteMode.QUERY,
            run_id=RunId(uuid.uuid4().hex),
            code=CODE,
            wait_s=60.0,
        )
        start = time.perf_counter()
        answer = await self._service.execute(OWNER, call)
        took = time.perf_counter() - start
        assert answer.console[-1].value == SHOWN, answer
        return took

    async def _closed(self) -> None:
        await self._service.close()
        await self._launcher.close()
        await self._store.close()


async def _made(make: Any) -> Any:
    """On the loop: they look for the running one."""
    return make()


def _own_pid() -> int:
    return int(Path("/proc/self").readlink().name)


@contextmanager
def engines() -> Iterator[list[Engine]]:
    """History off."""
    with TemporaryDirectory(prefix="bench-") as folder, _loop() as first, _loop() as second:
        opening: Awaitable[Store] = Store.open(StoreSettings(folder=Path(folder)))
        engine = Engine("engine", first, first.run_until_complete(opening))
        bare = Engine("engine, no store", second, cast("Store", MemoryStore()))
        yield [engine, bare]
        engine.close()
        bare.close()


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()
