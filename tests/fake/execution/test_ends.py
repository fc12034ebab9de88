"""Every run ends, with a true reason: cancels, deaths, restarts, deletions, limits."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import Draining, KernelDead, KernelNotFound, KernelSpecNotFound
from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.fake import FakeBehaviour, FakeLauncher
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.runs.view import StepOutcome
from kernel_gateway.service import KernelRequest, RunId, RunInfo, RunRequest
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.fake.execution.conftest import ME, text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake.execution.conftest import Bench


async def end_of(bench: Bench, run_id: str) -> tuple[str | None, str, int | None]:
    info = await bench.service.run(ME, run_id)
    assert info.view.reason is not None
    return info.view.outcome, info.view.reason.code, info.view.exit_code


async def submit(bench: Bench, kernel: str, *codes: str, run_id: str, **limits: float) -> RunInfo:
    plan = RunPlan(
        mode=Mode.NOTEBOOK,
        steps=tuple(StepPlan(code=code) for code in codes),
        limits=Limits(**limits),
    )
    request = RunRequest(plan=plan, kernel_id=kernel, run_id=RunId(run_id))
    return await bench.service.submit(ME, request)


# -- cancelling ------------------------------------------------------------------------------------


async def test_a_cancelled_sleep_ends_by_the_interrupt(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep", "r")
    await bench.until_state("r", "running")
    await bench.service.cancel(ME, "r")
    await bench.ended(kernel, "r")
    assert ("cancelled", "cancelled", 130) == await end_of(bench, "r")
    reason = (await bench.service.run(ME, "r")).view.reason
    assert reason is not None
    assert "interrupt" == reason.worked


async def test_a_queued_run_is_cancelled_without_touching_the_kernel(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep\nprint done", "one")
    await bench.started(kernel, "print two", "two")
    await bench.service.cancel(ME, "two")
    assert ("cancelled", "cancelled", 130) == await end_of(bench, "two")
    await bench.until_state("one", "running")
    bench.kernel.release()
    assert "done\n" == text(await bench.ended(kernel, "one"))


async def test_a_cell_that_ignores_interrupts_is_terminated_and_the_next_run_works(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "ignore-interrupts\nsleep", "r")
    await bench.until_state("r", "running")
    await bench.service.cancel(ME, "r", grace_s=3.0)
    bench.clock.advance(2.9)
    assert "cancelling" == (await bench.service.run(ME, "r")).view.state
    bench.clock.advance(0.2)
    await bench.ended(kernel, "r")
    reason = (await bench.service.run(ME, "r")).view.reason
    assert reason is not None
    assert ("terminate", "SIGTERM") == (reason.worked, reason.signal)
    answer = await bench.run(kernel, "print next")
    assert "next\n" == text(answer)
    assert 2 == (await bench.service.run(ME, answer.run_id)).generation


async def test_an_interrupt_without_escalation_leaves_the_kernel(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "ignore-interrupts\nsleep", "r")
    await bench.until_state("r", "running")
    await bench.service.interrupt_kernel(ME, kernel)
    bench.clock.advance(60.0)
    assert "cancelling" == (await bench.service.run(ME, "r")).view.state
    assert 1 == len(bench.launcher.kernels)
    bench.kernel.release()
    await bench.ended(kernel, "r")


async def test_an_interrupt_of_an_idle_kernel_is_harmless(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.service.interrupt_kernel(ME, kernel)
    assert "a\n" == text(await bench.run(kernel, "print a"))


async def test_a_waiting_prompt_can_be_cancelled(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "input name? ", "r")
    await bench.service.cancel(ME, "r")
    assert "finished" == (await bench.ended(kernel, "r")).status
    assert "cancelled" == (await end_of(bench, "r"))[0]


class TestAKernelThatOwesTheReply:
    @pytest.fixture
    def behaviour(self) -> FakeBehaviour:
        return FakeBehaviour(replies_to_interrupt=False)

    async def test_is_asked_whether_it_is_well_and_not_killed(self, bench: Bench) -> None:
        kernel = await bench.a_kernel()
        await bench.started(kernel, "sleep", "r")
        await bench.until_state("r", "running")
        await bench.service.cancel(ME, "r")
        ending = asyncio.ensure_future(bench.ended(kernel, "r"))
        await bench.until(lambda: bench.kernel._main.cell is None)
        bench.clock.advance(0.1)
        assert "finished" == (await ending).status
        assert "cancelled" == (await end_of(bench, "r"))[0]
        assert "a\n" == text(await bench.run(kernel, "print a"))
        assert 1 == len(bench.launcher.kernels)


class TestChannelsThatOvertakeOneAnother:
    @pytest.fixture(params=["idle_first", "iopub_last"])
    def behaviour(self, request: pytest.FixtureRequest) -> FakeBehaviour:
        return FakeBehaviour(order=request.param)

    async def test_the_prompt_still_comes_behind_the_prints(self, bench: Bench) -> None:
        kernel = await bench.a_kernel()
        answer = await bench.run(kernel, "print a\nprint b\ninput c? ", "r")
        assert "a\nb\nc? " == text(answer)
        answer = await bench.call(kernel, "x", run_id="r", mode="input", wait_s=5.0)
        assert "finished" == answer.status

    async def test_output_and_end_are_all_told(self, bench: Bench) -> None:
        kernel = await bench.a_kernel()
        answer = await bench.run(kernel, "print a\nresult 2\nstderr b")
        assert ("a\n2", "b\n", 0) == (text(answer), text(answer, "stderr"), answer.exit_code)


# -- kernels that go away --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "exit_code", "signal"),
    [("print a\nexit 3", 3, None), ("print a\ndie SIGKILL", 137, "SIGKILL")],
)
async def test_the_run_of_a_kernel_that_dies_is_lost_and_keeps_its_output(
    bench: Bench, code: str, exit_code: int, signal: str | None
) -> None:
    kernel = await bench.a_kernel()
    answer = await bench.run(kernel, code, "r")
    assert ("finished", exit_code, "a\n") == (answer.status, answer.exit_code, text(answer))
    assert ("lost", "kernel_died", exit_code) == await end_of(bench, "r")
    reason = (await bench.service.run(ME, "r")).view.reason
    assert reason is not None
    assert signal == reason.signal
    assert "b\n" == text(await bench.run(kernel, "print b"))
    assert 2 == (await bench.service.kernel(ME, kernel)).generation


async def test_what_was_in_flight_at_a_restart_is_lost_and_never_runs_afterwards(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep\nprint never", "one")
    await bench.started(kernel, "print two", "two")
    await bench.until_state("one", "running")
    view = await bench.service.restart_kernel(ME, kernel)
    assert "restarting" == view.state
    await bench.ended(kernel, "one")
    assert ("lost", "kernel_restarted", 1) == await end_of(bench, "one")
    assert "two\n" == text(await bench.ended(kernel, "two"))
    codes = [request.content.get("code") for request in bench.kernel.requests]
    assert "sleep\nprint never" not in codes


async def test_five_restarts_at_once_are_one(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await asyncio.gather(*(bench.service.restart_kernel(ME, kernel) for _ in range(5)))
    await bench.service.kernel_ready(ME, kernel)
    assert "a\n" == text(await bench.run(kernel, "print a"))
    assert 2 == len(bench.launcher.kernels)


async def test_a_deleted_kernel_ends_its_runs_as_cancelled(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep", "one")
    await bench.started(kernel, "print two", "two")
    await bench.until_state("one", "running")
    waiting = asyncio.ensure_future(bench.ended(kernel, "one"))
    await bench.service.delete_kernel(ME, kernel)
    assert ("finished", 130) == ((await waiting).status, (await waiting).exit_code)
    assert ("cancelled", "cancelled", 130) == await end_of(bench, "one")
    assert ("cancelled", "cancelled", 130) == await end_of(bench, "two")
    with pytest.raises(KernelNotFound):
        await bench.service.delete_kernel(ME, kernel)
    again = await bench.call(kernel, run_id="one", mode="continue")
    assert "finished" == again.status


class TestAKernelThatIsHeldShut:
    @pytest.fixture
    def gate(self) -> asyncio.Event:
        return asyncio.Event()

    async def test_has_its_runs_accepted_and_known_at_once(
        self, bench: Bench, gate: asyncio.Event
    ) -> None:
        view = await bench.service.create_kernel(ME, KernelRequest())
        assert "starting" == view.state
        run = await submit(bench, view.id, "print a", run_id="r")
        assert "starting" == (await bench.service.run(ME, run.uid)).view.state
        gate.set()
        assert "a\n" == text(await bench.ended(view.id, "r"))

    async def test_can_be_deleted(self, bench: Bench) -> None:
        view = await bench.service.create_kernel(ME, KernelRequest())
        await submit(bench, view.id, "print a", run_id="r")
        await bench.service.delete_kernel(ME, view.id)
        assert ("cancelled", "cancelled", 130) == await end_of(bench, "r")
        assert "SIGKILL" == (await bench.kernel.wait_dead()).signal

    async def test_keeps_the_run_that_waits_for_it_over_a_restart(
        self, bench: Bench, gate: asyncio.Event
    ) -> None:
        view = await bench.service.create_kernel(ME, KernelRequest())
        await submit(bench, view.id, "print a", run_id="r")
        await bench.service.restart_kernel(ME, view.id)
        await bench.until(lambda: len(bench.launcher.kernels) == 2)
        gate.set()
        assert "a\n" == text(await bench.ended(view.id, "r"))

    async def test_a_start_limit_ends_the_run_that_waits(self, bench: Bench) -> None:
        view = await bench.service.create_kernel(ME, KernelRequest())
        await submit(bench, view.id, "print a", run_id="r", start=20.0)
        bench.clock.advance(20.0)
        assert ("timeout", "start_limit", 124) == await end_of(bench, "r")


async def test_a_run_that_is_stored_when_its_kernel_is_deleted_is_cancelled(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    submitting = asyncio.ensure_future(submit(bench, kernel, "print a", run_id="r"))
    await bench.until(lambda: bench.service.runs_in_flight)
    await bench.service.delete_kernel(ME, kernel)
    await submitting
    assert ("cancelled", "cancelled", 130) == await end_of(bench, "r")


class TestAKernelThatCannotStart:
    @pytest.fixture
    def behaviour(self) -> FakeBehaviour:
        return FakeBehaviour(
            dies_at_start=KernelExit(
                exit_code=1, start_fault="It ended before it answered.", stderr_tail="no module x"
            )
        )

    async def test_ends_what_waits_for_it_and_takes_no_more(self, bench: Bench) -> None:
        view = await bench.service.create_kernel(ME, KernelRequest())
        with pytest.raises(KernelDead, match="no module x"):
            await bench.service.kernel_ready(ME, view.id)
        with pytest.raises(KernelDead):
            await bench.run(view.id, "print a")
        assert "dead" == (await bench.service.kernel(ME, view.id)).state
        assert 1 == len(bench.launcher.kernels)


async def test_an_unknown_kernelspec_is_refused(bench: Bench) -> None:
    with pytest.raises(KernelSpecNotFound):
        await bench.service.create_kernel(ME, KernelRequest(name="nobody"))
    assert [] == await bench.service.kernels(ME)


async def test_a_kernel_that_dies_again_and_again_is_given_up(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    settings = EngineSettings()
    for number in range(settings.restart_limit + 1):
        await bench.started(kernel, "die SIGSEGV", f"r{number}")
        bench.clock.advance(settings.restart_backoff_most_s)
        await bench.ended(kernel, f"r{number}")
        assert "lost" == (await end_of(bench, f"r{number}"))[0]
    view = await bench.service.kernel(ME, kernel)
    assert "dead" == view.state
    assert "SIGSEGV" in str(view.reason)
    with pytest.raises(KernelDead):
        await bench.run(kernel, "print a")


# -- limits ----------------------------------------------------------------------------------------


async def test_a_step_limit_keeps_the_partial_output(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await submit(bench, kernel, "print a\nsleep", "print b", run_id="r", step=10.0)
    await bench.until_told("r", "a\\n")
    bench.clock.advance(10.0)
    answer = await bench.ended(kernel, "r")
    assert "a\n" == text(answer)
    assert ("timeout", "step_limit", 124) == await end_of(bench, "r")
    steps = [step.state for step in (await bench.service.run(ME, "r")).view.steps]
    assert [StepOutcome.TIMED_OUT, StepOutcome.NOT_RUN] == steps


async def test_a_queue_limit_touches_no_kernel(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep", "one")
    await submit(bench, kernel, "print b", run_id="two", queue=5.0)
    bench.clock.advance(5.0)
    assert ("timeout", "queue_limit", 124) == await end_of(bench, "two")


async def test_a_run_of_several_steps_stops_at_the_first_error(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await submit(bench, kernel, "print a", "raise E no", "print c", run_id="r")
    await bench.ended(kernel, "r")
    steps = [step.state for step in (await bench.service.run(ME, "r")).view.steps]
    assert [StepOutcome.OK, StepOutcome.ERROR, StepOutcome.NOT_RUN] == steps
    assert ("error", "exception", 1) == await end_of(bench, "r")


# -- the gateway itself ----------------------------------------------------------------------------


async def test_a_draining_gateway_takes_nothing_new_and_finishes_what_runs(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep\nprint a", "r")
    await bench.until_state("r", "running")
    bench.service.drain()
    with pytest.raises(Draining):
        await bench.run(kernel, "print b")
    with pytest.raises(Draining):
        await bench.service.create_kernel(ME, KernelRequest())
    idle = asyncio.ensure_future(bench.service.idle())
    assert 1 == bench.service.runs_in_flight
    bench.kernel.release()
    await idle
    assert "a\n" == text(await bench.ended(kernel, "r"))


async def test_runs_that_a_killed_gateway_left_are_lost(bench: Bench, tmp_path: Path) -> None:
    kernel = await bench.a_kernel()
    await submit(bench, kernel, "print a", "print b\nsleep", "print c", run_id="r")
    await bench.until_told("r", "b\\n")
    # What a gateway leaves that is killed right now.
    await asyncio.to_thread(shutil.copytree, tmp_path / "store", tmp_path / "left")

    store = await Store.open(StoreSettings(folder=tmp_path / "left"))
    launcher = FakeLauncher()
    service = LocalService(launcher, store, clock=bench.clock)
    await service.start()
    info = await service.run(ME, "r")
    assert info.view.reason is not None
    assert ("finished", "lost", "gateway_lost") == (
        info.view.state,
        info.view.outcome,
        info.view.reason.code,
    )
    states = [step.state for step in info.view.steps]
    assert [StepOutcome.OK, StepOutcome.DIED, StepOutcome.NOT_RUN] == states
    page = await service.log(ME, "r")
    assert page.finished
    assert list(range(1, len(page.records) + 1)) == [record.seq for record in page.records]
    assert 1 == sum(record.body.kind == "completed" for record in page.records)
    await service.close()
    await launcher.close()
    await store.close()


async def test_a_retained_run_reads_the_same_after_a_restart_of_the_gateway(
    bench: Bench, store: Store
) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print a\nraise E no", "r")
    before = await bench.service.run(ME, "r")
    page = await bench.service.log(ME, "r")
    service = LocalService(bench.launcher, store, clock=bench.clock)
    await service.start()
    after = await service.run(ME, "r")
    assert before == replace(after, queue_position=None)
    assert page == await service.log(ME, "r")
    await service.close()


# -- hostile kernels -------------------------------------------------------------------------------


async def test_forged_marks_of_an_end_over_the_wrong_channel_change_nothing(bench: Bench) -> None:
    from kernel_gateway.messaging.message import Channel

    kernel = await bench.a_kernel()
    await bench.started(kernel, "print a\nsleep\nprint b", "r")
    await bench.until_told("r", "a\\n")
    (request,) = [one for one in bench.kernel.requests if one.msg_type == "execute_request"]
    parent = bench.kernel.parent_of(request)
    bench.kernel.tell(Channel.IOPUB, "execute_reply", {"status": "ok"}, parent)
    bench.kernel.tell(Channel.SHELL, "status", {"execution_state": "idle"}, parent)
    bench.kernel.tell(Channel.IOPUB, "stream", {"name": "stdout", "text": 5}, parent)
    assert "running" == (await bench.service.run(ME, "r")).view.state
    bench.kernel.release()
    assert "finished" == (await bench.ended(kernel, "r")).status


async def test_output_of_a_thread_after_the_end_is_kept_and_marked_late(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print a\nlate b", "r")
    await bench.until_told("r", "b\\n")
    page = await bench.service.log(ME, "r")
    assert "log" == page.records[-1].body.kind
    assert getattr(page.records[-1].body, "late", False)
    assert "completed" == page.records[-2].body.kind
