"""The engine before a pool: whoever asks is served from it, and notices nothing of how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel_gateway.execution.local import LocalService
from kernel_gateway.kernels.fake import FakeBehaviour, FakeLauncher
from kernel_gateway.kernels.pool.launcher import WarmLauncher
from tests.fake.execution.conftest import ME, Bench, ManualClock, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.store.store import Store


@pytest.fixture(params=[True, False], ids=["adopted", "replaced"])
async def bench(
    request: pytest.FixtureRequest, store: Store, engine_settings: EngineSettings, tmp_path: Path
) -> AsyncIterator[Bench]:
    """Two kernels are ready. They become those of who asks, or others have to be started."""
    fake = FakeLauncher(behaviour=FakeBehaviour(adoptable=request.param))
    pool = WarmLauncher(fake, {"python3": 2}, folder=tmp_path / "warm", owner=ME)
    clock = ManualClock()
    service = LocalService(pool, store, engine_settings, clock=clock)
    await service.start()
    await pool.start()
    bench = Bench(service, fake, clock)
    await bench.until(lambda: pool.warm == 2)
    yield bench
    await service.close()
    await pool.close()


async def test_runs_come_to_their_end_and_restarts_too(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    assert "hello\n" == text(await bench.run(kernel_id, "print hello"))
    await bench.service.restart_kernel(ME, kernel_id)
    await bench.service.kernel_ready(ME, kernel_id)
    assert "again\n" == text(await bench.run(kernel_id, "print again"))
    assert [kernel_id] == [kernel.id for kernel in await bench.service.kernels(ME)]


async def test_sessions_with_a_folder_are_served(bench: Bench) -> None:
    session = await bench.a_session()
    assert "hello\n" == text(await bench.run(session.kernel.id, "print hello"))
    (given,) = [one for one in bench.launcher.kernels if one.request.kernel_id == session.id]
    assert given.request.cwd is not None
    assert given.request.cwd.is_dir()


async def test_unused_kernels_are_counted_and_nobodys(bench: Bench) -> None:
    assert (0, 2) == (bench.service.readiness().kernels, bench.service.readiness().warm)
    assert [] == await bench.service.kernels(ME)
    await bench.a_kernel()
    assert (1, 1) == (bench.service.readiness().kernels, bench.service.readiness().warm)
