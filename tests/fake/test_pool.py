"""Warm kernels, over the kernel in memory: who gets one, and what becomes of the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.kernels.fake import FakeBehaviour, FakeKernel, FakeLauncher
from kernel_gateway.kernels.kernel import Generation, KernelExit, KernelId
from kernel_gateway.kernels.pool.kernel import HELD_REQUESTS, WarmKernel
from kernel_gateway.kernels.pool.launcher import REST_S, RESTS, WarmLauncher
from kernel_gateway.kernels.pool.shelves import FAILURES, MOST_SHELVES
from kernel_gateway.messaging.facts import KernelInfo
from kernel_gateway.messaging.message import Channel
from kernel_gateway.messaging.raw import RawMessage
from tests.shared.kernels import HANG_LIMIT_S, Bench, Script, Started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from kernel_gateway.kernels.kernel import LaunchRequest


#: Of the variables that a fake reads when it starts.
EARLY = "EARLY_THREADS"
COMMANDS = "kernel-gateway-command"


class MakePool(Protocol):
    """`behaviour` is of the fakes."""

    async def __call__(
        self,
        warm: Mapping[str, int],
        *,
        gate: asyncio.Event | None = None,
        memory: int = 2**31,
        most: int | None = None,
        **behaviour: Any,
    ) -> Pool: ...


class Pauses:
    """Pauses that end at once; how long they would have been is kept."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.meanwhile: Callable[[], object] = lambda: None

    async def __call__(self, delay_s: float) -> None:
        self.told.append(delay_s)
        self.meanwhile()
        await asyncio.sleep(0)
        await self.gate.wait()


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

    async def holds(self, owners: list[str]) -> None:
        """Until these are whose the living are: of those that were taken none is."""
        await self.until(
            lambda: owners == sorted(k.request.owner for k in self.fake.kernels if k.alive)
        )

    def given(self, started: Started) -> FakeKernel:
        """The process behind it."""
        assert isinstance(started.kernel, WarmKernel)
        assert isinstance(started.kernel.kernel, FakeKernel)
        return started.kernel.kernel


@pytest.fixture
async def make_pool(tmp_path: Path) -> AsyncIterator[MakePool]:
    """A pool whose first ones are on their way; await `full`."""
    pools: list[Pool] = []

    async def make(
        warm: Mapping[str, int],
        *,
        gate: asyncio.Event | None = None,
        memory: int = 2**31,
        most: int | None = None,
        **behaviour: Any,
    ) -> Pool:
        fake = FakeLauncher(behaviour=FakeBehaviour(**behaviour), gate=gate)
        pauses = Pauses()
        folder = tmp_path / "warm"
        launcher = WarmLauncher(fake, warm, folder=folder, memory=memory, most=most, pause=pauses)
        pools.append(Pool(launcher, fake, pauses, folder))
        await launcher.start()
        return pools[-1]

    yield make
    for pool in pools:
        pool.fake.adoption_gate.set()
        for kernel in pool.fake.kernels:
            await kernel.kill()
        await pool.launcher.close()


async def test_a_request_gets_a_process_that_is_ready_already(
    make_pool: MakePool,
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
    make_pool: MakePool,
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
    make_pool: MakePool,
) -> None:
    gate = asyncio.Event()
    pool = await make_pool({"python3": 1}, gate=gate)
    await pool.until(lambda: pool.fake.kernels)
    started = pool.bench.launch()
    assert isinstance(started.kernel, FakeKernel)
    gate.set()
    await started.recorder.ready()
    await pool.full(python3=1)


async def test_who_wants_a_folder_and_variables_of_its_own_is_served(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    wanted = {"env": {"JPY_SESSION_NAME": "a.ipynb"}, "cwd": Path("/")}
    given = pool.given(await pool.bench.ready(**wanted))
    assert given is pool.fake.kernels[0]
    assert wanted == {"env": given.request.env, "cwd": given.request.cwd}


@pytest.mark.parametrize("own", [{"env": {"A": "b"}}, {"cwd": Path("/")}])
async def test_of_a_kernelspec_that_cannot_be_told_only_who_wants_nothing_of_its_own_is_served(
    make_pool: MakePool, own: dict[str, Any]
) -> None:
    pool = await make_pool({COMMANDS: 1})
    await pool.full(**{COMMANDS: 1})
    started = await pool.bench.ready(spec_name=COMMANDS, **own)
    assert isinstance(started.kernel, FakeKernel)
    assert {COMMANDS: 1} == pool.launcher.ready()
    assert pool.given(await pool.bench.ready(spec_name=COMMANDS)) is pool.fake.kernels[0]


async def test_who_wants_another_kernelspec_gets_a_new_process(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    assert isinstance((await pool.bench.ready(spec_name=COMMANDS)).kernel, FakeKernel)
    assert {"python3": 1} == pool.launcher.ready()


async def test_for_variables_that_are_read_at_the_start_there_are_processes_of_their_own(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    wanted = {"env": {EARLY: "2", "A": "b"}}
    assert isinstance((await pool.bench.ready(**wanted)).kernel, FakeKernel)
    await pool.full(python3=2)
    latest = pool.fake.kernels[-1]
    assert {EARLY: "2"} == latest.request.env
    assert pool.given(await pool.bench.ready(**wanted)) is latest


async def test_each_owner_has_his_own_from_his_first_launch_on(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 2})
    await pool.full(python3=2)
    assert isinstance((await pool.bench.ready(owner="eve")).kernel, FakeKernel)
    await pool.full(python3=4)
    assert ["", "", "eve", "eve", "eve"] == [one.request.owner for one in pool.fake.kernels]
    assert pool.given(await pool.bench.ready(owner="eve")) is pool.fake.kernels[3]
    assert pool.given(await pool.bench.ready()) is pool.fake.kernels[0]


async def test_without_a_number_nothing_is_started(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 0})
    assert (pool.launcher.ready(), pool.fake.kernels) == ({}, [])
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    assert pool.launcher.default_spec() == "python3"
    assert pool.launcher.kernelspecs() == pool.fake.kernelspecs()
    with pytest.raises(KernelSpecNotFound):
        pool.bench.launch(spec_name="no-such")


async def test_nothing_that_it_said_before_it_was_taken_is_told(
    make_pool: MakePool,
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
    make_pool: MakePool, tmp_path: Path
) -> None:
    """Where it cannot be told another."""
    pool = await make_pool({COMMANDS: 1})
    await pool.full(**{COMMANDS: 1})
    mine = tmp_path / "artifacts" / "mine"
    started = await pool.bench.ready(spec_name=COMMANDS, artifact_dir=mine)
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


@pytest.mark.parametrize("spec_name", ["python3", COMMANDS])
async def test_a_folder_that_cannot_be_made_is_a_failed_start(
    make_pool: MakePool, tmp_path: Path, spec_name: str
) -> None:
    pool = await make_pool({spec_name: 1})
    await pool.full(**{spec_name: 1})
    (tmp_path / "file").write_text("")
    started = pool.bench.launch(spec_name=spec_name, artifact_dir=tmp_path / "file" / "folder")
    exit_ = await started.recorder.dead()
    assert exit_.start_fault is not None
    assert f"The artifact folder {tmp_path}/file/folder cannot be made" in exit_.start_fault
    assert started.recorder.told == [exit_]


# -- the hand-over ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["shutdown", "kill", "terminate"])
async def test_one_that_is_stopped_while_it_is_handed_over_was_never_ready(
    make_pool: MakePool, stop: str
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    pool.fake.adoption_gate.clear()
    started = pool.bench.launch(kernel_id=KernelId("mine"))
    kernel = started.kernel
    stopping = kernel.shutdown(0.1) if stop == "shutdown" else getattr(kernel, stop)()
    stopped = asyncio.create_task(stopping)
    await pool.fake.kernels[0].wait_dead()
    pool.fake.adoption_gate.set()
    await stopped
    exit_ = await kernel.wait_dead()
    assert exit_.start_fault == "It was stopped before it was ready."
    assert started.recorder.told == [exit_]
    assert "mine" not in [one.request.kernel_id for one in pool.fake.kernels]


async def test_one_that_dies_while_it_is_handed_over_is_replaced_and_nobody_notices(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    pool.fake.adoption_gate.clear()
    started = pool.bench.launch(env={"A": "b"})
    msg_id = started.send("print hello")
    await started.kernel.interrupt()  # it is not his yet
    await pool.fake.kernels[0].terminate()
    pool.fake.adoption_gate.set()
    await started.recorder.ended(msg_id)
    assert started.recorder.stdout(msg_id) == "hello\n"
    assert pool.given(started) is pool.fake.kernels[1]
    assert {"A": "b"} == pool.fake.kernels[1].request.env
    assert not started.recorder.exits
    await pool.full(python3=1)
    await started.kernel.shutdown(0.1)
    assert [KernelInfo, KernelExit] == [
        type(told) for told in started.recorder.told if not isinstance(told, RawMessage)
    ]


async def test_one_that_does_not_take_the_request_is_ended_and_another_is_started(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 1}, adoptable=False)
    await pool.full(python3=1)
    started = await pool.bench.ready()
    assert pool.given(started) is pool.fake.kernels[1]
    await pool.fake.kernels[0].wait_dead()
    msg_id = await started.run("print hello")
    assert started.recorder.stdout(msg_id) == "hello\n"
    await started.kernel.interrupt()
    await started.kernel.terminate()
    assert "SIGTERM" == (await started.kernel.wait_dead()).signal
    assert [await started.recorder.dead()] == started.recorder.exits


async def test_when_another_cannot_be_started_either_it_is_a_failed_start(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 1}, adoptable=False)
    await pool.full(python3=1)
    pool.fake.adoption_gate.clear()
    started = pool.bench.launch()
    started.send("print hello")
    pool.fake._specs = ()
    pool.fake.adoption_gate.set()
    exit_ = await started.recorder.dead()
    assert exit_.start_fault == "There is no kernelspec 'python3'."
    assert [] == pool.fake.kernels[0].requests


@pytest.mark.logs_error("could not be handed over.*no such thing")
async def test_a_fault_of_ours_keeps_nobody_waiting(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def adopt(self: FakeKernel, request: LaunchRequest) -> bool:
        raise RuntimeError("no such thing")

    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    monkeypatch.setattr(FakeKernel, "adopt", adopt)
    assert pool.given(await pool.bench.ready()) is pool.fake.kernels[1]


async def test_what_is_sent_during_the_hand_over_arrives_in_its_order_and_is_bounded(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    pool.fake.adoption_gate.clear()
    started = pool.bench.launch()
    sent = [started.send(f"print {number}") for number in range(HELD_REQUESTS + 1)]
    assert "is dropped, too many wait" in caplog.text
    pool.fake.adoption_gate.set()
    await started.recorder.ended(sent[-2])
    held = [request.msg_id for request in pool.fake.kernels[0].requests]
    assert held == sent[:-1]


# -- what is not handed over -----------------------------------------------------------------------


async def test_one_that_can_never_be_adopted_is_not_kept_until_its_kernelspec_changes(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await make_pool({"python3": 2}, unfit="it has its reasons")
    await pool.until(lambda: pool.fake.kernels and not pool.fake.kernels[0].alive)
    assert "no kernel is kept warm of kernelspec 'python3': it has its reasons" in caplog.text
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    pool.fake.behaviour = FakeBehaviour()
    pool.fake.edition = "second"
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    await pool.full(python3=2)


async def test_what_was_made_from_what_is_no_longer_on_disk_is_ended(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 2})
    await pool.full(python3=2)
    old = list(pool.fake.kernels)
    pool.fake.edition = "second"
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    await pool.until(lambda: [False, False] == [kernel.alive for kernel in old])
    await pool.full(python3=2)
    assert pool.given(await pool.bench.ready()) not in old


async def test_a_dead_one_is_never_handed_over_though_its_death_is_not_told_yet(
    make_pool: MakePool,
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
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 1})
    for number in range(FAILURES):
        await pool.full(python3=1)
        assert len(pool.fake.kernels) == number + 1
        await pool.fake.kernels[-1].kill()
        await pool.fake.kernels[-1].wait_dead()
    assert pool.pauses.told == [1.0, 2.0, 4.0, 8.0]
    assert pool.launcher.ready() == {"python3": 0}
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    assert len(pool.fake.kernels) == FAILURES + 1


async def test_one_that_was_taken_makes_up_for_earlier_failures(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 1})
    for _ in range(2 * FAILURES):
        await pool.full(python3=1)
        await pool.fake.kernels[-1].kill()
        await pool.full(python3=0)
        await pool.full(python3=1)
        await pool.bench.ready()
    assert set(pool.pauses.told) == {1.0, REST_S}


async def test_starts_that_fail_do_not_go_on_for_ever(make_pool: MakePool) -> None:
    how = KernelExit(exit_code=1, start_fault="It ended before it was ready.")
    pool = await make_pool({"python3": 1}, dies_at_start=how)
    await pool.until(lambda: len(pool.fake.kernels) == FAILURES)
    await pool.until(lambda: not pool.fake.processes)
    assert pool.pauses.told == [1.0, 2.0, 4.0, 8.0]
    assert pool.launcher.ready() == {"python3": 0}


async def test_a_kernelspec_that_is_not_there_is_no_trouble_for_others(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"no-such": 1, "python3": 1})
    await pool.full(**{"no-such": 0, "python3": 1})
    await pool.until(lambda: len(pool.pauses.told) == FAILURES - 1)
    with pytest.raises(KernelSpecNotFound):
        pool.bench.launch(spec_name="no-such")


async def test_what_a_killed_gateway_has_left_is_removed_and_not_where_it_leads(
    make_pool: MakePool, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "warm").mkdir()
    (tmp_path / "warm" / "old").symlink_to(kept)
    (tmp_path / "warm" / "older").mkdir()
    pool = await make_pool({COMMANDS: 1})
    await pool.full(**{COMMANDS: 1})
    assert kept.is_dir()
    assert len(list(pool.folder.iterdir())) == 1


async def test_closing_leaves_none_behind(make_pool: MakePool) -> None:
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


@pytest.mark.logs_error("what is done for a warm kernel has failed.*told badly")
async def test_a_listener_that_fails_is_said(make_pool: MakePool) -> None:
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


# -- when others are started -----------------------------------------------------------------------


async def test_none_is_started_while_others_come(make_pool: MakePool) -> None:
    """A burst on a pool of two: it has the processors, and they are filled up afterwards."""
    pool = await make_pool({"python3": 2})
    await pool.full(python3=2)
    burst = [pool.bench.launch() for _ in range(6)]
    assert [WarmKernel] * 2 + [FakeKernel] * 4 == [type(one.kernel) for one in burst]
    pool.pauses.gate.clear()
    await pool.until(lambda: [REST_S] == pool.pauses.told)
    for started in burst:
        await started.recorder.ready()
    pool.bench.launch()
    assert len(pool.fake.kernels) == 7
    pool.pauses.gate.set()
    await pool.full(python3=2)
    assert [REST_S, REST_S] == pool.pauses.told
    assert len(pool.fake.kernels) == 9


async def test_who_comes_all_the_time_does_not_keep_the_pool_empty(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    pool.pauses.meanwhile = lambda: pool.bench.launch(spec_name=COMMANDS)
    pool.bench.launch()
    await pool.until(lambda: {"python3": 1} == pool.launcher.ready() and pool.pauses.told)
    assert [REST_S] * RESTS == pool.pauses.told


# -- how many --------------------------------------------------------------------------------------


async def test_the_memory_of_all_is_bounded_and_who_has_not_come_for_long_loses_his(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 2}, memory=4 * 2**20)
    await pool.full(python3=2)
    for owner, kept in (("ann", ["", "", "ann", "ann"]), ("bob", ["ann", "ann", "bob", "bob"])):
        await (await pool.bench.ready(owner=owner)).kernel.kill()
        await pool.holds(kept)
    await (await pool.bench.ready(owner="ann")).kernel.kill()
    await (await pool.bench.ready(owner="eve")).kernel.kill()
    await pool.holds(["ann", "ann", "eve", "eve"])


async def test_who_fills_the_bound_alone_has_what_fits(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 5}, memory=2 * 2**20)
    await pool.full(python3=2)
    assert pool.given(await pool.bench.ready()) is pool.fake.kernels[0]
    await pool.full(python3=2)
    assert len(pool.fake.kernels) == 3  # none was started in vain


async def test_where_none_fits_none_is_kept(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 5}, memory=2**19)
    await pool.until(lambda: pool.fake.kernels and not pool.fake.kernels[0].alive)
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    assert isinstance((await pool.bench.ready()).kernel, FakeKernel)
    assert len(pool.fake.kernels) == 3


async def test_of_all_that_was_asked_for_the_latest_is_kept(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 1})
    await pool.full(python3=1)
    first = pool.fake.kernels[0]
    for number in range(MOST_SHELVES):
        await (await pool.bench.ready(env={EARLY: f"{number}"})).kernel.kill()
    await pool.until(lambda: not first.alive)
    await pool.full(python3=MOST_SHELVES)


async def test_unused_ones_make_room_for_others_where_processes_are_limited(
    make_pool: MakePool,
) -> None:
    pool = await make_pool({"python3": 2}, most=3)
    await pool.full(python3=2)
    started = [await pool.bench.ready(spec_name=COMMANDS) for _ in range(2)]
    assert {"python3": 1} == pool.launcher.ready()
    started.append(await pool.bench.ready(spec_name=COMMANDS))
    assert {"python3": 0} == pool.launcher.ready()
    await pool.until(lambda: pool.fake.processes == 3)
    for one in started:
        await one.kernel.kill()
    await pool.bench.ready()
    await pool.full(python3=2)
    assert pool.fake.processes == 3


async def test_what_nobody_took_makes_room_when_it_ends_too(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 1}, most=1)
    await pool.full(python3=1)
    other = await pool.bench.ready(spec_name=COMMANDS)
    await pool.until(lambda: pool.fake.processes == 1)
    assert {"python3": 0} == pool.launcher.ready()
    await other.kernel.kill()
    await pool.full(python3=1)


async def test_one_that_waits_after_a_failure_holds_up_no_other(make_pool: MakePool) -> None:
    pool = await make_pool({"gone": 1, "gone too": 1, "python3": 0, COMMANDS: 1})
    pool.pauses.gate.clear()
    await pool.full(**{"gone": 0, "gone too": 0, COMMANDS: 1})


async def test_what_is_taken_and_ended_makes_room_again(make_pool: MakePool) -> None:
    pool = await make_pool({"python3": 1}, most=1)
    await pool.full(python3=1)
    started = await pool.bench.ready()
    assert (pool.launcher.warm, pool.fake.processes) == (0, 1)
    await started.kernel.kill()
    await pool.full(python3=1)
    assert pool.launcher.warm == 1
