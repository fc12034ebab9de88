"""Runs that bring kernels of their own: their slots, their turns, their ends, their names."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import (
    Draining,
    KernelDead,
    KernelNotFound,
    KernelSpecNotFound,
    NotWaiting,
    RunExpired,
    RunIdAmbiguous,
    RunIdConflict,
    SessionNotFound,
    StoreUnavailable,
    TooManyKernels,
    TooManyRuns,
)
from kernel_gateway.execution.local import STORE_LIMIT_S, LocalService
from kernel_gateway.execution.sessions import LOOK_AGAIN_S
from kernel_gateway.execution.settings import START_MARGIN_S
from kernel_gateway.execution.slots import Turns
from kernel_gateway.kernels.fake import FakeBehaviour
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import (
    KernelRequest,
    NotebookSessionRequest,
    Owner,
    RunQuery,
    RunRequest,
)
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.fake.execution.conftest import ME, Bench
from tests.fake.execution.test_trouble import locked
from tests.shared.limits import descriptors_left

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.service import RunInfo

YOU = Owner("you")
COMMANDS = "kernel-gateway-command"


@pytest.fixture
def more(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    given: Mapping[str, Any] = getattr(request, "param", {})
    return given


@pytest.fixture
def engine_settings(engine_settings: EngineSettings, more: Mapping[str, Any]) -> EngineSettings:
    return replace(engine_settings, **{"own_kernels": 1, **more})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(StoreSettings(folder=tmp_path / "store", busy_timeout_s=0.1))
    yield store
    await store.close()


def ending(info: RunInfo) -> tuple[str | None, str]:
    assert info.view.reason is not None
    return info.view.outcome, info.view.reason.code


async def running(bench: Bench, run_id: str, **more: Any) -> RunInfo:
    """Has its slot, and sleeps."""
    info = await bench.submit("sleep", run_id=run_id, **more)
    await bench.until_state(run_id, "running")
    return info


# -- one run ---------------------------------------------------------------------------------------


async def test_a_run_that_names_no_kernel_has_one_for_itself_which_ends_with_it(
    bench: Bench,
) -> None:
    info = await bench.submit("print a", run_id="r")
    assert info.created
    end = await bench.over("r")
    assert ("ok", "done") == ending(end)
    assert ("python3", 1, info.kernel_id) == (end.kernel_name, end.generation, end.kernel_id)
    assert info.kernel_id == bench.kernel.request.kernel_id
    await bench.kernel.wait_dead()
    with pytest.raises(KernelNotFound):
        await bench.service.kernel(ME, info.kernel_id)


async def test_the_id_is_answered_while_its_kernel_starts(
    bench: Bench, gate: asyncio.Event
) -> None:
    gate.clear()
    info = await bench.submit("print a", run_id="r")
    assert RunState.STARTING == (await bench.service.run(ME, "r")).view.state
    assert "starting" == (await bench.service.kernel(ME, info.kernel_id)).state
    gate.set()
    history = [state for state, _ in (await bench.over("r")).view.history]
    assert ["queued", "starting", "running", "finished"] == history


async def test_its_variables_are_nobody_elses(bench: Bench) -> None:
    for number in (1, 2):
        await bench.submit("print x", run_id=f"r{number}")
        await bench.over(f"r{number}")
    one, two = bench.launcher.kernels
    assert one.request.kernel_id != two.request.kernel_id


async def test_the_kernelspec_can_be_chosen(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", kernel_name=COMMANDS)
    assert COMMANDS == (await bench.over("r")).kernel_name
    assert COMMANDS == bench.kernel.request.spec_name


@pytest.mark.parametrize("more", [{"own_kernels": 0}], indirect=True)
async def test_an_unknown_kernelspec_is_told_at_once(bench: Bench) -> None:
    with pytest.raises(KernelSpecNotFound, match="nothing"):
        await bench.submit("print a", run_id="r", kernel_name="nothing")
    assert () == (await bench.service.runs(ME, RunQuery())).runs


async def test_a_batch_has_the_kernel_of_commands_and_no_other(bench: Bench) -> None:
    plan = RunPlan(mode=Mode.BATCH, steps=(StepPlan(code="print a", phase="exec"),))
    info = await bench.service.submit(ME, RunRequest(plan=plan))
    assert ("ok", "done") == ending(await bench.over(info.uid))
    assert [COMMANDS] == [one.request.spec_name for one in bench.launcher.kernels]


async def test_it_can_be_cancelled_while_it_runs(bench: Bench) -> None:
    await running(bench, "r")
    await bench.service.cancel(ME, "r")
    assert ("cancelled", "cancelled") == ending(await bench.over("r"))
    await bench.kernel.wait_dead()


async def test_it_takes_input(bench: Bench) -> None:
    await bench.submit("input name? \necho", run_id="r")
    await bench.until_state("r", "waiting-input")
    await bench.service.give_input(ME, "r", "Ann")
    assert ("ok", "done") == ending(await bench.over("r"))
    with pytest.raises(NotWaiting):
        await bench.service.give_input(ME, "r", "Ann")


async def test_the_last_answer_once_more_is_taken_when_the_run_is_over(bench: Bench) -> None:
    """Its sender did not hear that it had arrived."""
    await bench.submit("input name? \necho", run_id="r")
    await bench.until_state("r", "waiting-input")
    await bench.service.give_input(ME, "r", "Ann", 1)
    await bench.over("r")
    await bench.service.give_input(ME, "r", "Ann", 1)
    with pytest.raises(NotWaiting):
        await bench.service.give_input(ME, "r", "Bob", 1)


async def test_to_delete_its_kernel_cancels_it(bench: Bench) -> None:
    info = await running(bench, "r")
    await bench.submit("print b", run_id="next")
    await bench.service.delete_kernel(ME, info.kernel_id)
    assert ("cancelled", "cancelled") == ending(await bench.over("r"))
    assert ("ok", "done") == ending(await bench.over("next"))


async def test_a_kernel_that_dies_with_it_is_not_started_again(bench: Bench) -> None:
    await bench.submit("die SIGKILL", run_id="r")
    assert ("lost", "kernel_died") == ending(await bench.over("r"))
    await bench.submit("print b", run_id="next")
    assert ("ok", "done") == ending(await bench.over("next"))
    assert 2 == len(bench.launcher.kernels)


async def test_to_restart_its_kernel_loses_it(bench: Bench) -> None:
    info = await running(bench, "r")
    await bench.service.restart_kernel(ME, info.kernel_id)
    assert ("lost", "kernel_restarted") == ending(await bench.over("r"))
    await bench.submit("print b", run_id="next")
    assert ("ok", "done") == ending(await bench.over("next"))


async def test_what_others_have_sent_to_its_kernel_ends_with_it(bench: Bench) -> None:
    info = await running(bench, "r")
    await bench.submit("print other", run_id="other", kernel_id=info.kernel_id)
    bench.kernel.release()
    assert ("ok", "done") == ending(await bench.over("r"))
    assert ("cancelled", "cancelled") == ending(await bench.over("other"))


class TestAKernelThatNeverComesUp:
    @pytest.fixture
    def behaviour(self) -> FakeBehaviour:
        return FakeBehaviour(dies_at_start=KernelExit(exit_code=3, start_fault="exit code 3"))

    async def test_ends_its_run_and_frees_the_slot(self, bench: Bench) -> None:
        for run_id in ("one", "two"):
            await bench.submit("print a", run_id=run_id)
        for run_id in ("one", "two"):
            assert ("lost", "kernel_start_failed") == ending(await bench.over(run_id))


async def test_a_kernelspec_that_is_gone_when_its_turn_comes_ends_the_run(bench: Bench) -> None:
    await running(bench, "first")
    for number in range(300):  # without a stack that grows with them
        await bench.submit("print a", run_id=f"r{number}", kernel_name=COMMANDS)
    bench.launcher._specs = ("python3",)
    bench.kernel.release()
    for number in range(300):
        assert ("lost", "kernel_start_failed") == ending(await bench.over(f"r{number}"))


async def test_a_kernel_has_no_longer_to_start_than_its_run_may_wait(
    bench: Bench, gate: asyncio.Event
) -> None:
    gate.clear()
    await bench.submit("print a", run_id="r", limits=Limits(start=7.0))
    assert 7.0 + START_MARGIN_S == bench.kernel.request.start_limit_s
    bench.clock.advance(6.9)
    assert RunState.STARTING == (await bench.service.run(ME, "r")).view.state
    bench.clock.advance(0.2)
    assert ("timeout", "start_limit") == ending(await bench.over("r"))
    await bench.kernel.wait_dead()


async def test_without_a_limit_the_configured_one_holds(bench: Bench, gate: asyncio.Event) -> None:
    gate.clear()
    await bench.submit("print a", run_id="r")
    bench.clock.advance(59.9)
    assert RunState.STARTING == (await bench.service.run(ME, "r")).view.state
    bench.clock.advance(0.2)
    assert ("timeout", "start_limit") == ending(await bench.over("r"))


# -- slots and turns -------------------------------------------------------------------------------


async def test_more_runs_than_slots_wait_in_the_order_of_their_creation(bench: Bench) -> None:
    await running(bench, "one")
    for place, run_id in enumerate(("two", "three", "four")):
        assert place == (await bench.submit(f"print {run_id}", run_id=run_id)).queue_position
    waiting = await bench.service.runs(ME, RunQuery(state=RunState.QUEUED))
    assert {"two", "three", "four"} == {run.id for run in waiting.runs}
    bench.kernel.release()
    ends = [(await bench.over(run_id)).view.started_at for run_id in ("two", "three", "four")]
    assert sorted(ends, key=str) == ends
    assert 4 == len(bench.launcher.kernels)


@pytest.mark.parametrize("more", [{"own_kernels": 2}], indirect=True)
async def test_as_many_run_at_once_as_there_are_slots(bench: Bench) -> None:
    await running(bench, "one")
    await running(bench, "two")
    assert 0 == (await bench.submit("print a", run_id="three")).queue_position
    assert 2 == len(bench.launcher.kernels)
    bench.launcher.kernels[0].release()
    assert ("ok", "done") == ending(await bench.over("three"))
    assert RunState.RUNNING == (await bench.service.run(ME, "two")).view.state


async def test_the_next_one_has_its_turn_when_the_process_is_gone(bench: Bench) -> None:
    await running(bench, "one")
    await bench.submit("print b", run_id="two")
    first = bench.kernel
    alive = []
    launch = bench.launcher.launch

    def watched(*given: Any) -> Any:
        alive.append(first.alive)
        return launch(*given)

    bench.launcher.launch = watched  # type: ignore[assignment, method-assign]
    first.release()
    await bench.over("two")
    assert [False] == alive


async def test_owners_take_turns(bench: Bench) -> None:
    await running(bench, "first")
    for run_id in ("a", "b", "c"):
        await bench.submit(f"print {run_id}", run_id=run_id)
    yours = await bench.submit("print yours", run_id="yours", owner=YOU)
    assert 1 == yours.queue_position
    assert 2 == (await bench.service.run(ME, "b")).queue_position
    bench.kernel.release()
    await bench.over("c")
    sent = [str(one.requests[0].content.get("code")) for one in bench.launcher.kernels[1:]]
    assert ["print a", "print yours", "print b", "print c"] == sent


def test_turns_are_taken_by_owner_and_skip_who_may_not_go() -> None:
    turns: Turns[str] = Turns()
    for owner, name in ((ME, "m1"), (ME, "m2"), (ME, "m3"), (YOU, "y1"), (YOU, "y2")):
        turns.join(owner, name)
    assert ["m1", "m2", "m3", "y1", "y2"] == list(turns)
    places = {"m1": 0, "y1": 1, "m2": 2, "y2": 3, "m3": 4}
    assert places == {name: turns.position(YOU if name[0] == "y" else ME, name) for name in places}
    assert "y1" == turns.take(lambda name: name[0] == "y")
    assert turns.take(lambda name: name == "m2") is None  # m1 is before it
    turns.leave(ME, "m2")
    turns.leave(ME, "m2")
    taken = [turns.take(lambda name: True) for _ in range(4)]
    assert ["m1", "y2", "m3", None] == taken
    assert turns.position(ME, "m1") is None


async def test_a_run_that_is_cancelled_while_it_waits_is_over_at_once(bench: Bench) -> None:
    await running(bench, "one")
    await bench.submit("print b", run_id="two")
    await bench.submit("print c", run_id="three")
    cancelled = await bench.service.cancel(ME, "two")
    assert ("cancelled", "cancelled") == ending(cancelled)
    assert 0 == (await bench.service.run(ME, "three")).queue_position
    bench.kernel.release()
    await bench.over("three")
    assert 2 == len(bench.launcher.kernels)


async def test_a_run_may_wait_no_longer_than_its_limit(bench: Bench) -> None:
    await running(bench, "one")
    await bench.submit("print b", run_id="two", limits=Limits(queue=5.0))
    bench.clock.advance(5.1)
    assert ("timeout", "queue_limit") == ending(await bench.over("two"))


@pytest.mark.parametrize("more", [{"queue_bound": 2}], indirect=True)
async def test_as_many_may_wait_as_the_bound_says(bench: Bench) -> None:
    await running(bench, "one")
    ends = await asyncio.gather(
        *(bench.submit("print x", run_id=f"r{number}") for number in range(5)),
        return_exceptions=True,
    )
    assert 3 == sum(isinstance(end, TooManyRuns) for end in ends)
    bench.kernel.release()
    for end in ends:
        if not isinstance(end, BaseException):
            await bench.over(end.uid)
    assert (await bench.submit("print x", run_id="again")).created


@pytest.mark.parametrize("more", [{"own_kernels": 8, "max_kernels": 2}], indirect=True)
async def test_a_run_waits_for_room_where_kernels_are_limited(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await running(bench, "one")
    assert 0 == (await bench.submit("print b", run_id="two")).queue_position
    with pytest.raises(TooManyKernels):
        await bench.a_kernel()
    await bench.service.delete_kernel(ME, kernel)
    assert ("ok", "done") == ending(await bench.over("two"))


async def test_a_run_waits_for_descriptors_though_no_kernel_ends(bench: Bench) -> None:
    with descriptors_left(0):
        reads = (bench.service.runs(ME, RunQuery()) for _ in range(2))
        await asyncio.gather(*reads)  # with both readers of the store: one is not there yet
        assert 0 == (await bench.submit("print b", run_id="r")).queue_position
        bench.clock.advance(LOOK_AGAIN_S)
        assert [] == bench.launcher.kernels
    bench.clock.advance(LOOK_AGAIN_S)
    assert ("ok", "done") == ending(await bench.over("r"))


@pytest.mark.parametrize("more", [{"own_kernels": 8, "max_kernels_per_owner": 1}], indirect=True)
async def test_who_has_no_room_lets_others_go_before(bench: Bench) -> None:
    await running(bench, "one")
    await bench.submit("print b", run_id="two")
    await bench.submit("print y", run_id="yours", owner=YOU)
    assert ("ok", "done") == ending(await bench.over("yours", YOU))
    assert RunState.QUEUED == (await bench.service.run(ME, "two")).view.state


@pytest.mark.parametrize("more", [{"max_kernels_per_spec": {"python3": 0}}], indirect=True)
async def test_a_run_does_not_wait_for_room_that_never_comes(bench: Bench) -> None:
    with pytest.raises(TooManyKernels):
        await bench.submit("print a")


@pytest.mark.parametrize("more", [{"own_kernels": 4}], indirect=True)
async def test_200_runs_have_200_kernels_and_leave_none(bench: Bench) -> None:
    made = await asyncio.gather(*(bench.submit("print x") for _ in range(200)))
    for info in made:
        assert ("ok", "done") == ending(await bench.over(info.uid))
    assert 200 == len({one.request.kernel_id for one in bench.launcher.kernels})
    await asyncio.gather(*(one.wait_dead() for one in bench.launcher.kernels))


@pytest.mark.parametrize("more", [{"own_kernels": 3, "max_kernels_per_owner": 2}], indirect=True)
@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_to_them_all_end_and_no_kernel_is_left(
    bench: Bench, seed: int
) -> None:
    chance = random.Random(seed)
    codes = ["sleep", "print x", "raise ValueError no", "die SIGKILL", "save f.txt a\nsleep"]
    made: list[RunInfo] = []

    async def something() -> None:
        if not made or chance.random() < 0.5:
            code, owner = chance.choice(codes), chance.choice([ME, YOU])
            made.append(await bench.submit(code, owner=owner))
            return
        info = chance.choice(made)
        with contextlib.suppress(KernelNotFound, KernelDead):  # it is over, or just ending
            if chance.random() < 0.5:
                await bench.service.cancel(info.owner, info.uid)
            elif chance.random() < 0.5:
                await bench.service.delete_kernel(info.owner, info.kernel_id)
            else:
                await bench.service.restart_kernel(info.owner, info.kernel_id)

    for _ in range(15):
        await asyncio.gather(*(something() for _ in range(4)))
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        assert 3 >= sum(one.alive for one in bench.launcher.kernels)
    for info in made:
        await bench.service.cancel(info.owner, info.uid)
    for info in made:
        ended = await bench.over(info.uid, info.owner)
        told = await bench.records(info.uid, info.owner)
        assert 1 == sum(record.body.kind == "completed" for record in told)
        assert "completed" == told[-1].body.kind
        assert RunState.FINISHED == ended.view.state
    await bench.until(lambda: not any(one.alive for one in bench.launcher.kernels))
    assert (await bench.submit("print x")).queue_position in {None, 0}


# -- drain and close -------------------------------------------------------------------------------


async def test_what_waits_goes_on_while_the_gateway_drains(bench: Bench) -> None:
    await running(bench, "one")
    await bench.submit("print b", run_id="two")
    bench.service.drain()
    with pytest.raises(Draining):
        await bench.submit("print c")
    bench.kernel.release()
    await bench.service.idle()
    assert ("ok", "done") == ending(await bench.over("two"))


async def test_at_the_end_of_the_gateway_those_that_run_or_wait_are_cancelled(
    bench: Bench,
) -> None:
    await running(bench, "one")
    await bench.submit("print b", run_id="two")
    submitting = asyncio.create_task(bench.submit("print c", run_id="three"))
    while bench.service.runs_in_flight < 3:
        await asyncio.sleep(0)
    await bench.service.close()
    await submitting
    for run_id in ("one", "two", "three"):
        assert ("cancelled", "cancelled") == ending(await bench.over(run_id))
    assert 1 == len(bench.launcher.kernels)
    assert not bench.kernel.alive


async def test_a_kernel_that_is_being_ended_at_the_end_of_the_gateway_is_waited_for(
    bench: Bench,
) -> None:
    await running(bench, "one")
    bench.kernel.release()
    await bench.over("one")
    await bench.service.close()
    assert not bench.kernel.alive


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{"own_kernels": 8}], indirect=True)
async def test_50_submits_at_once_are_one_run(bench: Bench) -> None:
    made = await asyncio.gather(*(bench.submit("print x", run_id="r") for _ in range(50)))
    assert 1 == len({info.uid for info in made})
    assert 1 == sum(info.created for info in made)
    await bench.over("r")
    assert 1 == len(bench.launcher.kernels)


async def test_the_same_id_with_another_body_is_a_conflict(bench: Bench) -> None:
    first = await bench.submit("print x", run_id="r", context={"a": "1", "b": "2"})
    again = await bench.submit(
        "print x", run_id="r", context={"b": "2", "a": "1"}, labels={"night": "1"}
    )
    assert (first.uid, False, {}) == (again.uid, again.created, again.labels)
    others: list[dict[str, Any]] = [{"context": {"a": "1"}}, {"kernel_name": COMMANDS}]
    for other in others:
        with pytest.raises(RunIdConflict):
            await bench.submit("print x", run_id="r", **{"context": first.context, **other})
    yours = await bench.submit("print y", run_id="r", owner=YOU)
    assert yours.created


async def test_an_id_is_known_after_a_restart_of_the_gateway(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    first = await bench.submit("print x", run_id="r")
    await bench.over("r")
    later = Bench(
        LocalService(bench.launcher, store, engine_settings, clock=bench.clock),
        bench.launcher,
        bench.clock,
    )
    again = await later.submit("print x", run_id="r")
    assert (first.uid, False, "ok") == (again.uid, again.created, again.view.outcome)
    with pytest.raises(RunIdConflict):
        await later.submit("print y", run_id="r")


async def test_an_id_that_was_deleted_or_has_expired_is_not_used_anew(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    await bench.submit("print x", run_id="deleted")
    await bench.over("deleted")
    await bench.service.delete_run(ME, "deleted")
    await bench.submit("print x", run_id="expired")
    await bench.over("expired")
    later = Bench(
        LocalService(bench.launcher, store, engine_settings, clock=bench.clock),
        bench.launcher,
        bench.clock,
    )
    for one in (bench, later):
        with pytest.raises(RunExpired):
            await one.submit("print x", run_id="deleted")
    kernel = await bench.a_kernel()  # of another scope
    assert (await bench.submit("print x", run_id="deleted", kernel_id=kernel)).created
    await store.sweep(bench.clock.now().wall + engine_settings.retention_s + 1)
    with pytest.raises(RunExpired):
        await later.submit("print x", run_id="expired")


async def test_runs_with_own_kernels_have_a_scope_apart(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    own = await bench.submit("print x", run_id="r")
    other = await bench.submit("print x", run_id="r", kernel_id=kernel)
    with pytest.raises(RunIdAmbiguous):
        await bench.service.run(ME, "r")
    await bench.over(own.uid)
    assert other.uid == (await bench.service.run(ME, "r", kernel)).uid
    assert own.uid == (await bench.service.run(ME, "r", own.kernel_id)).uid
    for info in (own, other):
        page = await bench.service.runs(ME, RunQuery(kernel_id=info.kernel_id))
        assert [info.uid] == [run.uid for run in page.runs]


@pytest.mark.parametrize("more", [{"recent_runs": 1}], indirect=True)
async def test_a_run_that_memory_has_forgotten_is_found_by_its_id(bench: Bench) -> None:
    first = await bench.submit("print x", run_id="r")
    await bench.over("r")
    for run_id in ("a", "b"):
        await bench.submit("print x", run_id=run_id)
        await bench.over(run_id)
    assert first.uid not in bench.service._live
    assert first.uid == (await bench.submit("print x", run_id="r")).uid
    assert first.uid == (await bench.service.run(ME, "r", first.kernel_id)).uid


@pytest.mark.logs_error("does not take writes .*locked")
async def test_a_run_that_could_not_be_stored_has_no_kernel_and_its_id_is_free(
    bench: Bench, store: Store, tmp_path: Path
) -> None:
    await bench.submit("print before", run_id="before")
    await bench.over("before")
    await bench.kernel.wait_dead()
    with locked(tmp_path):
        submitting = asyncio.ensure_future(bench.submit("print a", run_id="r"))
        await bench.until(lambda: store.fault)
        bench.clock.advance(STORE_LIMIT_S)
        with pytest.raises(StoreUnavailable):
            await submitting
        with pytest.raises(StoreUnavailable):
            await bench.submit("print b", run_id="s")
    await bench.until(lambda: not store.fault)
    assert 1 == len(bench.launcher.kernels)
    assert (await bench.submit("print a", run_id="r")).created
    assert ("ok", "done") == ending(await bench.over("r"))


# -- where it is executed --------------------------------------------------------------------------


async def test_a_session_is_named_by_name_or_id(bench: Bench) -> None:
    session = await bench.a_session("mine")
    for address in ("mine", session.id):
        info = await bench.submit("print a", session=address, run_id="r")
        assert (session.id, "python3") == (info.kernel_id, info.kernel_name)
    assert Outcome.OK == (await bench.over("r")).view.outcome
    assert 1 == len(bench.launcher.kernels)


async def test_a_session_of_a_notebook_is_named_by_its_id(bench: Bench) -> None:
    request = NotebookSessionRequest(path="a.ipynb")
    notebook = await bench.service.open_notebook_session(ME, request)
    info = await bench.submit("print a", session=notebook.id)
    assert notebook.kernel.id == info.kernel_id
    for owner, name in ((ME, "nobody's"), (YOU, notebook.id)):
        with pytest.raises(SessionNotFound):
            await bench.submit("print a", session=name, owner=owner)
    await bench.service.delete_kernel(ME, notebook.kernel.id)
    with pytest.raises(KernelNotFound):
        await bench.submit("print a", session=notebook.id)


async def test_a_kernel_of_its_own_is_not_culled_and_is_listed(bench: Bench) -> None:
    info = await running(bench, "r")
    assert [info.kernel_id] == [view.id for view in await bench.service.kernels(ME)]
    assert [] == await bench.service.kernels(YOU)
    assert (await bench.service.create_kernel(ME, KernelRequest())).id != info.kernel_id
    assert info.kernel_id not in bench.service._culler._sessions
