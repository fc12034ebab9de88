"""Kernels kept ready, over the kernel in memory: who gets one, and what becomes of the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.kernels.fake import FakeBehaviour, FakeKernel, FakeLauncher
from kernel_gateway.kernels.kernel import Generation, KernelExit, KernelId
from kernel_gateway.kernels.pool import FAILURES, REST_S, WarmKernel, WarmLauncher
from kernel_gateway.messaging.facts import KernelInfo
from kernel_gateway.messaging.message import Channel
from tests.shared.kernels import HANG_LIMIT_S, Bench, Script, Started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


class Pauses:
    """Pauses that end at once; how long they would have been is kept."""

    def __init__(self) -> None:
        self.told: list[float] = []

    async def __call__(self, delay_s: float) -> None:
        self.told.append(delay_s)
        await asyncio.sleep(0)


@dataclass(slots=True)
class Pool:
    launcher: WarmLauncher
    fake: FakeLauncher
    pauses: Pauses
    folder: Path

    @property
    def bench(self) -> Bench:
        return Bench(self.launcher, Script())

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while not happened():
                await asyncio.sleep(0)

    async def full(self, **wanted: int) -> None:
        await self.until(lambda: self.launcher.ready() == wanted)

    def given(self, started: Started) -> FakeKernel:
        """The process behind it."""
        assert isinstance(started.kernel, WarmKernel)
        assert isinstance(started.kernel.kernel, FakeKernel)
        return started.kernel.kernel


@pytest.fixture
async def make_pool(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """A pool whose first ones are on their way; await `full`."""
    pools: list[Pool] = []

    async def make(
        warm: Mapping[str, int], *, gate: asyncio.Event | None = None, **behaviour: Any
    ) -> Pool:
        fake = FakeLauncher(behaviour=FakeBehaviour(**behaviour), gate=gate)
        pauses = Pauses()
        folder = tmp_path / "warm"
        pool = Pool(WarmLauncher(fake, warm, folder=folder, pause=pauses), fake, pauses, folder)
        pools.append(pool)
        await pool.launcher.start()
        return pool

    yield make
    for pool in pools:
        for kernel in pool.fake.kernels:
            await kernel.kill()
        await pool.launcher.close()


async def test_a_request_gets_a_process_that_is_ready_already(
    make_pool: Callable[..., Any],
) -> None:
    pool = await make_pool({"python3": 2})
    await pool.full(python3=2)
    first = list(pool.fake.kernels)
    started = await pool.bench.ready(kernel_id=KernelId("mine"), generation=Generation(7))
    assert pool.given(started) is first[0]
    assert started.kernel.generation == 7
    msg_id = await started.run("print hello")
    assert started.recorder.stdout(msg_id) == "hello\n"
    assert [KernelInfo] == [type(told) for told in started.recorder.told[:1]]


async def test_another_is_started_when_one_was_taken_and_after_a_rest(
    make_pool: Callable[..., Any],
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    started = pool.bench.launch()
    assert len(pool.fake.kernels) == 1
    await started.recorder.ready()
    await pool.full(python3=1)
    assert len(pool.fake.kernels) == 2
    assert pool.pauses.told == [REST_S]


async def test_who_comes_when_none_is_ready_gets_a_new_process(
    make_pool: Callable[..., Any],
) -> None:
    gate = asyncio.Event()
    pool = await make_pool({"python3": 1}, gate=gate)
    await pool.until(lambda: pool.fake.kernels)
    started = pool.bench.launch()
    assert isinstance(started.kernel, FakeKernel)
    gate.set()
    await started.recorder.ready()
    await pool.full(python3=1)


@pytest.mark.parametrize(
    "own", [{"env": {"A": "b"}}, {"cwd": Path("/")}, {"spec_name": "kernel-gateway-command"}]
)
async def test_who_wants_something_of_its_own_gets_a_new_process(
    make_pool: Callable[..., Any], own: dict[str, Any]
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    started = await pool.bench.ready(**own)
    assert isinstance(started.kernel, FakeKernel)
    assert pool.launcher.ready() == {"python3": 1}


async def test_without_a_number_nothing_is_started(make_pool: Callable[..., Any]) -> None:
    pool = await make_pool({"python3": 0})
    assert (pool.launcher.ready(), pool.fake.kernels) == ({}, [])
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    assert pool.launcher.default_spec() == "python3"
    assert pool.launcher.kernelspecs() == pool.fake.kernelspecs()
    with pytest.raises(KernelSpecNotFound):
        pool.bench.launch(spec_name="no-such")


async def test_nothing_that_it_said_before_it_was_taken_is_told(
    make_pool: Callable[..., Any],
) -> None:
    pool = await make_pool({"python3": 1}, setup="loading\n")
    await pool.full(python3=1)
    kernel = pool.fake.kernels[0]
    kernel.tell(Channel.IOPUB, "status", {"execution_state": "starting"}, None)
    started = await pool.bench.ready()
    assert started.recorder.messages == []
    assert started.kernel.output().text == "loading\n"
    assert kernel.session == started.kernel.session


async def test_the_folder_that_the_process_was_told_leads_to_that_of_the_request(
    make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    mine = tmp_path / "artifacts" / "mine"
    started = await pool.bench.ready(artifact_dir=mine)
    await started.run("save plots/a.txt hello")
    told = pool.given(started).request.artifact_dir
    assert told is not None
    assert told.parent == pool.folder
    assert (mine / "plots/a.txt").read_text() == "hello"
    assert mine.stat().st_mode & 0o777 == 0o700
    await started.kernel.kill()
    await started.kernel.wait_dead()
    await pool.until(lambda: not told.is_symlink())
    assert (mine / "plots/a.txt").read_text() == "hello"


async def test_a_folder_that_cannot_be_made_is_a_failed_start(
    make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    (tmp_path / "file").write_text("")
    started = pool.bench.launch(artifact_dir=tmp_path / "file" / "folder")
    exit_ = await started.recorder.dead()
    assert exit_.start_fault is not None
    assert f"The artifact folder {tmp_path}/file/folder cannot be made" in exit_.start_fault
    assert started.recorder.told == [exit_]


async def test_one_that_is_stopped_while_it_is_handed_over_was_never_ready(
    make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    started = pool.bench.launch(artifact_dir=tmp_path / "mine")
    await started.kernel.shutdown(0.1)
    (exit_,) = started.recorder.told
    assert isinstance(exit_, KernelExit)
    assert exit_.start_fault == "It was stopped before it was ready."


async def test_one_that_dies_while_it_is_handed_over_was_ready(
    make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    """So that whoever launched it starts another, as after any death."""
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    started = pool.bench.launch(artifact_dir=tmp_path / "mine")
    await pool.given(started).terminate()
    exit_ = await started.recorder.dead()
    assert [KernelInfo, KernelExit] == [type(told) for told in started.recorder.told]
    assert (exit_.signal, exit_.start_fault) == ("SIGTERM", None)


async def test_a_dead_one_is_never_handed_over_though_its_death_is_not_told_yet(
    make_pool: Callable[..., Any],
) -> None:
    pool = await make_pool({"python3": 2})
    await pool.full(python3=2)
    first, second = pool.fake.kernels
    await first.kill()
    assert pool.launcher.ready() == {"python3": 2}
    started = await pool.bench.ready()
    assert pool.given(started) is second
    await pool.full(python3=2)
    assert not {first, second} & set(pool.fake.kernels[2:])


async def test_one_that_dies_unused_is_replaced_later_and_later_up_to_a_bound(
    make_pool: Callable[..., Any],
) -> None:
    pool = await make_pool({"python3": 1})
    for number in range(FAILURES):
        await pool.full(python3=1)
        assert len(pool.fake.kernels) == number + 1
        await pool.fake.kernels[-1].kill()
        await pool.fake.kernels[-1].wait_dead()
    await pool.until(lambda: len(pool.pauses.told) == FAILURES)
    assert pool.pauses.told == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert pool.launcher.ready() == {"python3": 0}
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    assert len(pool.fake.kernels) == FAILURES + 1


async def test_one_that_was_taken_makes_up_for_earlier_failures(
    make_pool: Callable[..., Any],
) -> None:
    pool = await make_pool({"python3": 1})
    for _ in range(2 * FAILURES):
        await pool.full(python3=1)
        await pool.fake.kernels[-1].kill()
        await pool.full(python3=0)
        await pool.full(python3=1)
        await pool.bench.ready()
    assert set(pool.pauses.told) == {1.0, REST_S}


async def test_starts_that_fail_do_not_go_on_for_ever(make_pool: Callable[..., Any]) -> None:
    how = KernelExit(exit_code=1, start_fault="It ended before it was ready.")
    pool = await make_pool({"python3": 1}, dies_at_start=how)
    await pool.until(lambda: len(pool.pauses.told) == FAILURES)
    assert len(pool.fake.kernels) == FAILURES
    assert pool.launcher.ready() == {"python3": 0}


async def test_a_kernelspec_that_is_not_there_is_no_trouble_for_others(
    make_pool: Callable[..., Any],
) -> None:
    pool = await make_pool({"no-such": 1, "python3": 1})
    await pool.full(**{"no-such": 0, "python3": 1})
    await pool.until(lambda: len(pool.pauses.told) == FAILURES)
    with pytest.raises(KernelSpecNotFound):
        pool.bench.launch(spec_name="no-such")


async def test_what_a_killed_gateway_has_left_is_removed_and_not_where_it_leads(
    make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "warm").mkdir()
    (tmp_path / "warm" / "old").symlink_to(kept)
    (tmp_path / "warm" / "older").mkdir()
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    assert kept.is_dir()
    assert len(list(pool.folder.iterdir())) == 1


async def test_closing_leaves_none_behind(make_pool: Callable[..., Any]) -> None:
    gate = asyncio.Event()
    pool = await make_pool({"python3": 2}, gate=gate)
    await pool.until(lambda: len(pool.fake.kernels) == 1)
    gate.set()
    await pool.full(python3=2)
    gate.clear()
    started = pool.bench.launch()
    await pool.until(lambda: len(pool.fake.kernels) == 3)  # on its way
    await started.kernel.kill()
    await pool.launcher.close()
    assert [False] * 3 == [kernel.alive for kernel in pool.fake.kernels]
    assert not pool.folder.exists()


@pytest.mark.logs_error("what is done for a kernel that was kept ready has failed.*told badly")
async def test_a_listener_that_fails_is_said(make_pool: Callable[..., Any]) -> None:
    class Bad:
        def on_ready(self, info: KernelInfo) -> None:
            raise RuntimeError("told badly")

        def on_message(self, message: object) -> None: ...

        def on_dead(self, how: KernelExit) -> None: ...

    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    started = pool.bench.launch(listener=Bad())
    await pool.full(python3=1)
    await started.kernel.interrupt()
    await started.kernel.kill()
    await started.kernel.wait_dead()
