"""The engine on the kernel in memory, with a real store and a clock that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import RunNotFound
from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.fake import FakeBehaviour, FakeKernel, FakeLauncher
from kernel_gateway.messaging.message import MsgId, execute_request
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.runs.events import Instant
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.service import (
    Answer,
    BatchCommands,
    Cursor,
    ExecuteCall,
    ExecuteMode,
    KernelRequest,
    Owner,
    Parting,
    RunId,
    RunInfo,
    RunRequest,
    SessionRequest,
    SessionView,
)
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.shared.databases import with_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kernel_gateway.runs.records import Record

ME = Owner("me")
HANG_LIMIT_S = 10.0


@dataclass(order=True)
class _Alarm:
    at: float
    number: int
    ring: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Stands still until a test advances it."""

    def __init__(self) -> None:
        self._mono = 0.0
        self._alarms: list[_Alarm] = []
        self._numbers = itertools.count()

    def now(self) -> Instant:
        return Instant(wall=1_800_000_000.0 + self._mono, mono=self._mono)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> _Alarm:
        alarm = _Alarm(self._mono + delay_s, next(self._numbers), callback)
        heapq.heappush(self._alarms, alarm)
        return alarm

    def advance(self, by_s: float) -> None:
        """Ring all alarms up to then, in order, also those that are set on the way."""
        end = self._mono + by_s
        while self._alarms and self._alarms[0].at <= end:
            alarm = heapq.heappop(self._alarms)
            self._mono = alarm.at
            if not alarm.cancelled:
                alarm.ring()
        self._mono = end


class Bench:
    """A service on fake kernels, and the words that tests of it share."""

    def __init__(self, service: LocalService, launcher: FakeLauncher, clock: ManualClock) -> None:
        self.service = service
        self.launcher = launcher
        self.clock = clock

    @property
    def kernel(self) -> FakeKernel:
        """The process that was started last."""
        return self.launcher.kernels[-1]

    async def a_kernel(self, owner: Owner = ME) -> str:
        view = await self.service.create_kernel(owner, KernelRequest())
        await self.service.kernel_ready(owner, view.id)
        return view.id

    async def call(
        self,
        kernel_id: str,
        code: str = "",
        *,
        run_id: str | None = None,
        mode: str = "query",
        wait_s: float = 0.0,
        after: Cursor | None = None,
        prompt_id: int | None = None,
        owner: Owner = ME,
        **more: Any,
    ) -> Answer:
        call = ExecuteCall(
            kernel_id=kernel_id,
            mode=ExecuteMode(mode),
            run_id=RunId(run_id) if run_id is not None else None,
            code=code,
            wait_s=wait_s,
            after=after,
            prompt_id=prompt_id,
            **more,
        )
        async with asyncio.timeout(HANG_LIMIT_S):
            return await self.service.execute(owner, call)

    async def a_session(self, name: str | None = None, owner: Owner = ME) -> SessionView:
        request = SessionRequest(image="python", name=name)
        view = await self.service.create_session(owner, request)
        await self.service.kernel_ready(owner, view.id)
        return view

    async def batch(self, session_id: str, run_id: str, **commands: str | None) -> Answer:
        """The first answer of a batch run that is worth giving."""
        return await self.call(
            session_id,
            run_id=run_id,
            mode="batch",
            wait_s=HANG_LIMIT_S,
            commands=BatchCommands(**commands),
        )

    async def run(self, kernel_id: str, code: str, run_id: str | None = None) -> Answer:
        """One call that waits for the end, or a prompt."""
        return await self.call(kernel_id, code, run_id=run_id, wait_s=HANG_LIMIT_S)

    async def started(self, kernel_id: str, code: str, run_id: str) -> None:
        """Queued, and told so."""
        await self.call(kernel_id, code, run_id=run_id)

    async def until(self, happened: Callable[[], object]) -> None:
        """The loop goes on until it is so."""
        async with asyncio.timeout(HANG_LIMIT_S):
            while not happened():
                await asyncio.sleep(0)

    async def until_state(self, run_id: str, state: str) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while await self._state(run_id) != state:
                await asyncio.sleep(0)

    async def until_kernel(self, kernel_id: str, state: str) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while (await self.service.kernel(ME, kernel_id)).state != state:
                await asyncio.sleep(0)

    async def until_told(self, run_id: str, what: str) -> None:
        """Its log holds this text."""
        async with asyncio.timeout(HANG_LIMIT_S):
            while what not in repr((await self.service.log(ME, run_id)).records):
                await asyncio.sleep(0)

    async def submit(
        self, *codes: str, run_id: str | None = None, owner: Owner = ME, **more: Any
    ) -> RunInfo:
        """On a kernel of its own, unless `kernel_id` or `session` is given."""
        fields = {one.name for one in dataclasses.fields(RunRequest)}
        plan = RunPlan(
            mode=Mode.NOTEBOOK,
            steps=tuple(StepPlan(code=code) for code in codes),
            **{name: value for name, value in more.items() if name not in fields},
        )
        request = RunRequest(
            plan=plan,
            run_id=None if run_id is None else RunId(run_id),
            **{name: value for name, value in more.items() if name in fields},
        )
        async with asyncio.timeout(HANG_LIMIT_S):
            return await self.service.submit(owner, request)

    async def over(self, run_id: str, owner: Owner = ME) -> RunInfo:
        """When it is."""
        async with asyncio.timeout(HANG_LIMIT_S):
            while True:
                info = await self.service.run(owner, run_id)
                if info.view.state == "finished":
                    return info
                await asyncio.sleep(0)

    async def records(self, run_id: str, owner: Owner = ME) -> list[Record]:
        return list((await self.service.log(owner, run_id, limit=10_000)).records)

    async def _state(self, run_id: str) -> str | None:
        with contextlib.suppress(RunNotFound):  # its creation is not stored yet
            return (await self.service.run(ME, run_id)).view.state
        return None

    async def ended(self, kernel_id: str, run_id: str) -> Answer:
        """The rest of the run, in one answer."""
        return await self.call(kernel_id, run_id=run_id, mode="continue", wait_s=HANG_LIMIT_S)


class Client:
    """Of a kernel's channels: it sends cells, and takes nothing."""

    def __init__(self, bench: Bench, kernel_id: str) -> None:
        self.link = bench.service.channels(ME, kernel_id, self)

    def on_news(self) -> None:
        pass

    def on_parted(self, why: Parting) -> None:
        pass

    def execute(self, code: str, msg_id: str) -> None:
        request = execute_request(MsgId(msg_id), code, allow_stdin=True)
        message = request.stamped(session="its own", date="2026-01-01T00:00:00Z")
        self.link.pass_on(RawMessage.of(message))


def text(answer: Answer, stream: str = "stdout") -> str:
    return "".join(str(item.value) for item in answer.console if item.type == stream)


@pytest.fixture
def behaviour() -> FakeBehaviour:
    return FakeBehaviour()


@pytest.fixture
def gate() -> asyncio.Event:
    """Holds all starts back while it is not set."""
    gate = asyncio.Event()
    gate.set()
    return gate


@pytest.fixture
def engine_settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings(sessions_dir=tmp_path / "sessions", artifacts_dir=tmp_path / "artifacts")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    folder = await asyncio.to_thread(with_database, tmp_path / "store")
    store = await Store.open(StoreSettings(folder=folder))
    yield store
    await store.close()


@pytest.fixture
async def bench(
    store: Store,
    behaviour: FakeBehaviour,
    gate: asyncio.Event,
    engine_settings: EngineSettings,
) -> AsyncIterator[Bench]:
    launcher = FakeLauncher(behaviour=behaviour, gate=gate)
    clock = ManualClock()
    service = LocalService(launcher, store, engine_settings, clock=clock)
    await service.start()
    yield Bench(service, launcher, clock)
    await service.close()
    await launcher.close()
