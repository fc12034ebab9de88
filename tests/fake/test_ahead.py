"""The kernel that is launched before anybody asks, over the kernel in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.kernels.ahead import AheadLauncher
from kernel_gateway.kernels.fake import FakeBehaviour, FakeLauncher
from kernel_gateway.kernels.kernel import Generation, KernelExit, KernelId, LaunchRequest
from kernel_gateway.messaging.facts import KernelInfo
from kernel_gateway.messaging.message import MsgId, execute_request
from tests.shared.kernels import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST = LaunchRequest(
    kernel_id=KernelId("k1"), generation=Generation(1), spec_name="python3", env={"A": "1"}
)


@pytest.fixture
def fake() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
async def launcher(fake: FakeLauncher) -> AsyncIterator[AheadLauncher]:
    launcher = AheadLauncher(fake)
    yield launcher
    await launcher.close()
    assert not any(kernel.alive for kernel in fake.kernels)


async def test_who_asks_gets_the_kernel_that_is_on_its_way(
    fake: FakeLauncher, launcher: AheadLauncher
) -> None:
    recorder = Recorder()
    launcher.launch_ahead(REQUEST)
    kernel = launcher.launch(replace(REQUEST), recorder)
    await recorder.ready()
    assert [kernel] == fake.kernels


async def test_who_comes_late_is_told_all_of_it_and_not_before_he_has_the_kernel(
    fake: FakeLauncher, launcher: AheadLauncher
) -> None:
    launcher.launch_ahead(REQUEST)
    fake.kernels[0].send(execute_request(MsgId("m1"), "print early\nexit 3", allow_stdin=False))
    await fake.kernels[0].wait_dead()
    recorder = Recorder()
    launcher.launch(REQUEST, recorder)
    assert [] == recorder.told
    await recorder.dead()
    assert isinstance(recorder.told[0], KernelInfo)
    assert "early\n" == recorder.stdout(MsgId("m1"))
    assert isinstance(recorder.told[-1], KernelExit)


async def test_another_request_gets_a_process_of_its_own(
    fake: FakeLauncher, launcher: AheadLauncher
) -> None:
    launcher.launch_ahead(REQUEST)
    for other in (
        replace(REQUEST, env={"A": "2"}),
        replace(REQUEST, kernel_id=KernelId("k2")),
        replace(REQUEST, generation=Generation(2)),
    ):
        recorder = Recorder()
        kernel = launcher.launch(other, recorder)
        assert kernel is fake.kernels[-1]
        await recorder.ready()
        await kernel.kill()
        await recorder.dead()
    assert launcher.launch(REQUEST, Recorder()) is fake.kernels[0]


async def test_it_is_given_away_once(fake: FakeLauncher, launcher: AheadLauncher) -> None:
    launcher.launch_ahead(REQUEST)
    kernels = [launcher.launch(REQUEST, Recorder()) for _ in range(2)]
    assert fake.kernels == kernels
    for kernel in kernels:
        await kernel.kill()
        await kernel.wait_dead()


async def test_what_cannot_be_launched_is_told_to_who_asks(launcher: AheadLauncher) -> None:
    request = replace(REQUEST, spec_name="nope")
    launcher.launch_ahead(request)
    with pytest.raises(KernelSpecNotFound):
        launcher.launch(request, Recorder())


async def test_a_start_that_fails_is_told_to_who_asks(
    fake: FakeLauncher, launcher: AheadLauncher
) -> None:
    no_room = KernelExit(exit_code=1, start_fault="no room")
    fake.behaviour = FakeBehaviour(dies_at_start=no_room)
    launcher.launch_ahead(REQUEST)
    await fake.kernels[0].wait_dead()
    recorder = Recorder()
    launcher.launch(REQUEST, recorder)
    assert no_room == await recorder.dead()


@pytest.mark.parametrize("gate", [None, asyncio.Event()], ids=["ready", "starting"])
async def test_one_that_nobody_has_asked_for_is_ended(gate: asyncio.Event | None) -> None:
    fake = FakeLauncher(gate=gate)
    launcher = AheadLauncher(fake)
    launcher.launch_ahead(REQUEST)
    await launcher.close()
    assert not fake.kernels[0].alive
