"""How a real kernel is: one that stands still, one whose own check takes for ever."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.execution.clock import LoopClock
from kernel_gateway.execution.health import Health
from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.service import (
    ExecuteCall,
    ExecuteMode,
    HealthCheck,
    KernelRequest,
    Owner,
    Vitality,
)
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.shared.kernels import HANG_LIMIT_S
from tests.shared.processes import stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ME = Owner("me")
SHORT_S = 0.3
PATIENT_S = 10.0


class Patient:
    """A kernel of a service, and questions of how it is with limits of a test's own."""

    def __init__(self, service: LocalService, kernel_id: str) -> None:
        self.service = service
        self.id = kernel_id
        self._asked: list[Health] = []
        self._ids = iter(range(10_000))

    def health(self, limit_s: float) -> Health:
        health = Health(
            self.service._sessions.of(ME, self.id),
            EngineSettings(health_limit_s=limit_s),
            clock=LoopClock(),
            new_id=lambda: f"health-{next(self._ids)}",
        )
        self._asked.append(health)
        return health

    async def check(self, expression: str, limit_s: float = PATIENT_S) -> HealthCheck | None:
        health = self.health(limit_s)
        health.set_expression(expression)
        return (await health.check()).check

    async def run(self, code: str) -> str:
        """What it printed."""
        call = ExecuteCall(
            kernel_id=self.id, mode=ExecuteMode.QUERY, run_id=None, code=code, wait_s=HANG_LIMIT_S
        )
        answer = await self.service.execute(ME, call)
        assert answer.status == "finished"
        return "".join(str(item.value) for item in answer.console if item.type == "stdout")

    async def close(self) -> None:
        for health in self._asked:
            await health.close()


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    store = await Store.open(StoreSettings(folder=tmp_path / "store"))
    launcher = LocalLauncher()
    service = LocalService(launcher, store, EngineSettings())
    await service.start()
    view = await service.create_kernel(ME, KernelRequest())
    await service.kernel_ready(ME, view.id)
    patient = Patient(service, view.id)
    yield patient
    await patient.close()
    await service.close()
    await launcher.close()
    await store.close()


async def test_a_kernel_that_is_stopped_is_unresponsive_until_it_goes_on(
    patient: Patient,
) -> None:
    pid = int(await patient.run("import os; print(os.getpid())"))
    health = patient.health(SHORT_S)
    stop(pid)
    assert Vitality.UNRESPONSIVE == (await health.check()).status
    os.kill(pid, signal.SIGCONT)
    assert Vitality.HEALTHY == (await patient.health(PATIENT_S).check()).status


async def test_a_kernel_that_executes_is_healthy(patient: Patient) -> None:
    running = asyncio.create_task(patient.run("import time; time.sleep(0.5); print('done')"))
    while patient.service._sessions.of(ME, patient.id).view().state != "busy":  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    assert Vitality.HEALTHY == (await patient.health(PATIENT_S).check()).status
    assert not running.done()
    assert "done\n" == await running


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("loaded", HealthCheck(ok=True)),
        ("not loaded", HealthCheck(ok=False, message="False")),
        ("1", HealthCheck(ok=False, message="1")),
        ("1 / 0", HealthCheck(ok=False, message="ZeroDivisionError: division by zero")),
    ],
)
async def test_a_check_sees_what_the_cells_have_made(
    patient: Patient, expression: str, expected: HealthCheck
) -> None:
    await patient.run("loaded = True")
    assert expected == await patient.check(expression)


async def test_a_check_that_sleeps_delays_no_run(patient: Patient) -> None:
    await patient.run("import threading; gate = threading.Event()")
    late = await patient.check("gate.wait(600)", SHORT_S)
    assert HealthCheck(ok=False, message="no answer within 0.3 s") == late
    assert "through\n" == await patient.run("print('through')")
    assert HealthCheck(ok=True) == await patient.check("True")  # of a subshell of its own
    await patient.run("gate.set()")


async def test_what_a_check_prints_is_nobodys(patient: Patient) -> None:
    checking = asyncio.create_task(patient.check("print('from the check') is None"))
    assert "mine\n" == await patient.run("print('mine')")
    assert HealthCheck(ok=True) == await checking


async def test_what_threads_of_a_cell_print_is_of_their_cell_after_a_check(
    patient: Patient,
) -> None:
    """In ipykernel they print for whatever request came last, and a check is nobody's output."""
    await patient.run("import threading; go, checked = threading.Event(), threading.Event()")
    running = asyncio.create_task(
        patient.run(
            "def work():\n"
            "    checked.wait(30); print('from a thread', flush=True)\n"
            "thread = threading.Thread(target=work); thread.start(); go.set()\n"
            "thread.join()"
        )
    )
    assert HealthCheck(ok=True) == await patient.check("go.wait(30)")
    assert HealthCheck(ok=True) == await patient.check("checked.set() is None")
    assert "from a thread\n" == await running
