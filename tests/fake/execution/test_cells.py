"""Cells that clients send over a kernel's channels: runs, beside those of the queue."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import CannotCancel, KernelNotFound, MalformedMessage, NotWaiting
from kernel_gateway.execution import session as session_module
from kernel_gateway.execution.live import PATIENCE_S, PATIENT_RECORDS
from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.fake import FakeBehaviour, FakeKernel, FakeLauncher
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.messaging.message import Channel, Header
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.runs import records
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.service import (
    KernelRequest,
    Parting,
    RunId,
    RunQuery,
    RunRequest,
    RunUid,
)
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.fake.execution.clients import Client, is_about, joined, word_of
from tests.fake.execution.conftest import HANG_LIMIT_S, ME, Bench, ManualClock, text

if TYPE_CHECKING:
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.messaging.strict_json import Json


@pytest.fixture
def engine_settings(tmp_path: Path, request: pytest.FixtureRequest) -> EngineSettings:
    limits: dict[str, Any] = getattr(request, "param", {})
    return EngineSettings(sessions_dir=tmp_path / "sessions", **limits)


def with_settings(**limits: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("engine_settings", [limits], indirect=True)


def with_behaviour(**ways: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("behaviour", [FakeBehaviour(**ways)])


def uid_of(bench: Bench, kernel: str, cell: Header) -> str:
    session = bench.service._sessions.get(kernel)
    assert session is not None
    uid = session.run_of(cell)
    assert uid is not None
    return uid


async def end_of(bench: Bench, kernel: str, cell: Header) -> tuple[str | None, str | None]:
    view = (await bench.service.run(ME, uid_of(bench, kernel, cell))).view
    return view.outcome, view.reason.code if view.reason else None


async def log_of(bench: Bench, run_id: str) -> list[records.Body]:
    await bench.service.run(ME, run_id)  # if it has ended, that is told now
    return [record.body for record in (await bench.service.log(ME, run_id)).records]


async def printed(bench: Bench, run_id: str) -> str:
    bodies = await log_of(bench, run_id)
    return "".join(body.text for body in bodies if isinstance(body, records.LogText))


def codes(kernel: FakeKernel) -> list[Json]:
    """All that it was sent to execute, in order."""
    sent = [request for request in kernel.requests if request.msg_type == "execute_request"]
    return [request.content["code"] for request in sent]


def replies_sent(kernel: FakeKernel) -> list[Json]:
    sent = [request for request in kernel.requests if request.msg_type == "input_reply"]
    return [request.content["value"] for request in sent]


async def submit(bench: Bench, kernel: str, *steps: str, run_id: str, **limits: float) -> None:
    plan = RunPlan(
        mode=Mode.NOTEBOOK,
        steps=tuple(StepPlan(code=code) for code in steps),
        limits=Limits(**limits),
    )
    await bench.service.submit(ME, RunRequest(plan=plan, kernel_id=kernel, run_id=RunId(run_id)))


async def a_starting_kernel(bench: Bench, gate: asyncio.Event) -> str:
    gate.clear()
    return (await bench.service.create_kernel(ME, KernelRequest())).id


async def a_resting_kernel(bench: Bench, kernel: str) -> None:
    """It has died twice in a row, and waits before it is started again."""
    for generation in (1, 2):
        await bench.until_kernel(kernel, "idle")
        assert generation == bench.kernel.generation
        await bench.kernel.kill()
        await bench.kernel.wait_dead()
    await bench.until_kernel(kernel, "autorestarting")
    assert 2 == len(bench.launcher.kernels)


# -- a cell is a run -------------------------------------------------------------------------------


async def test_a_cell_is_executed_and_told_as_the_kernel_tells_it(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("print a\nresult 2")
    await client.done(cell)
    assert ["busy", "execute_input", "stdout a", "execute_result", "reply ok", "idle"] == (
        client.of(cell)
    )


async def test_a_cell_is_a_run_with_its_log_and_its_end(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("print a\nresult 2")
    await client.done(cell)
    uid = uid_of(bench, kernel, cell)
    info = await bench.service.run(ME, uid)
    assert (uid, "query", kernel, 1) == (info.id, info.mode, info.kernel_id, info.generation)
    assert ("ok", "done") == await end_of(bench, kernel, cell)
    assert ["queued", "running", "finished"] == [state for state, _ in info.view.history]
    assert "a\n" == await printed(bench, uid)
    assert [uid] == [run.uid for run in (await bench.service.runs(ME, RunQuery())).runs]


async def test_an_error_ends_its_cell_and_aborts_what_its_client_had_sent_behind_it(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    fails, aborted = client.cell("raise E no"), client.cell("print never")
    await client.done(fails, aborted)
    assert ["busy", "execute_input", "error", "reply error", "idle"] == client.of(fails)
    assert ["busy", "reply aborted", "idle"] == client.of(aborted)
    assert ("error", "exception") == await end_of(bench, kernel, fails)
    assert ("cancelled", "aborted") == await end_of(bench, kernel, aborted)


@pytest.mark.parametrize("code", ["", "  \n"])
async def test_blank_code_is_sent_and_a_run(bench: Bench, code: str) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell(code)
    await client.done(cell)
    assert [code] == codes(bench.kernel)
    assert ("ok", "done") == await end_of(bench, kernel, cell)


async def test_silent_code_is_sent_as_it_is_and_a_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("print a", silent=True, store_history=False)
    await client.done(cell)
    content = bench.kernel.requests[-1].content
    assert (True, False) == (content["silent"], content["store_history"])
    assert ("ok", "done") == await end_of(bench, kernel, cell)


async def test_text_that_utf8_has_not_is_no_fault(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("print \ud800")
    await client.done(cell)
    assert "\N{REPLACEMENT CHARACTER}\n" == await printed(bench, uid_of(bench, kernel, cell))


async def test_a_cell_sent_twice_under_one_id_is_one_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("sleep\nprint a", "same")
    await client.hears("busy", cell)
    client.cell("sleep\nprint a", "same")
    bench.kernel.release()
    await client.done(cell)
    bench.kernel.release()
    await client.until(lambda: 2 == client.of(cell).count("reply ok"))
    assert 1 == len((await bench.service.runs(ME, RunQuery())).runs)


async def test_an_id_that_is_used_again_later_is_another_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("print a", "same")
    first = uid_of(bench, kernel, cell)
    await client.done(cell)
    client.cell("print b", "same")
    assert first != uid_of(bench, kernel, cell)
    await client.until(lambda: 2 == client.of(cell).count("idle"))


async def test_a_request_that_is_repeated_to_the_byte_is_no_other_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("print a", "same")
    first = uid_of(bench, kernel, cell)
    await client.done(cell)
    client.cell("print a", "same")  # ipykernel drops it, the kernel in memory does not
    assert first == uid_of(bench, kernel, cell)
    await client.until(lambda: 2 == client.of(cell).count("idle"))
    assert "ok" == (await bench.service.run(ME, first)).view.outcome


@pytest.mark.parametrize("content", [{}, {"code": None}, {"code": 5}])
async def test_a_request_to_execute_nothing_is_refused_and_not_passed_on(
    bench: Bench, content: dict[str, Json]
) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    before = list(bench.kernel.requests)
    with pytest.raises(MalformedMessage, match=r"content\.code"):
        client.send("execute_request", content)
    assert before == bench.kernel.requests
    assert () == (await bench.service.runs(ME, RunQuery())).runs
    await client.done(client.cell("print a"))


@pytest.mark.parametrize("msg_type", ["execute_request", "kernel_info_request", "comm_msg"])
async def test_nobody_may_ask_in_our_name(bench: Bench, msg_type: str) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    before = list(bench.kernel.requests)
    with pytest.raises(MalformedMessage, match="gateway"):
        client.send(msg_type, {"code": "x"}, session=bench.kernel.session)
    assert before == bench.kernel.requests


async def test_a_kernel_of_somebody_else_is_not_there(bench: Bench) -> None:
    with pytest.raises(KernelNotFound):
        joined(bench, "nowhere")


@with_settings(recent_runs=2)
async def test_any_number_of_cells_may_wait_and_each_has_its_end(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cells = [client.cell("sleep"), *(client.cell(f"print {n}") for n in range(9))]
    bench.kernel.release()
    await client.done(*cells)
    await bench.until_kernel(kernel, "idle")
    view = await bench.service.kernel(ME, kernel)
    assert ("idle", 0) == (view.state, view.queue_length)


@with_settings(max_cells=3)
async def test_who_sends_too_many_cells_is_parted_and_they_are_executed(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cells = [client.cell("sleep"), client.cell("print 1")]
    assert [] == client.parted
    cells.append(client.cell("print 2"))
    assert [Parting.TOO_MUCH] == client.parted
    assert 0 == (await bench.service.kernel(ME, kernel)).connections
    again = joined(bench, kernel)
    bench.kernel.release()
    await again.done(*cells)
    assert 3 == len(codes(bench.kernel))


# -- when it is stored -----------------------------------------------------------------------------


async def stored_states(store: Store, uid: str) -> list[str]:
    """Behind the engine's back."""
    return [str(run.view.state) for run in await store.find_runs(ME, uid)]


async def an_unstored_cell(bench: Bench, store: Store, code: str = "print a") -> tuple[str, str]:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell(code)
    if code != "sleep":
        await client.done(cell)
    await bench.run(await bench.a_kernel(), "print other", "other")  # commits go on meanwhile
    uid = uid_of(bench, kernel, cell)
    assert [] == await stored_states(store, uid)
    return kernel, uid


async def until_stored(store: Store, uid: str, state: str) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while await stored_states(store, uid) != [state]:
            await asyncio.sleep(0)


async def test_a_cell_is_stored_a_little_later(bench: Bench, store: Store) -> None:
    _, uid = await an_unstored_cell(bench, store)
    bench.clock.advance(PATIENCE_S)
    await until_stored(store, uid, "finished")


async def test_a_cell_is_stored_when_somebody_asks(bench: Bench, store: Store) -> None:
    _, uid = await an_unstored_cell(bench, store)
    await bench.service.run(ME, uid)
    assert ["finished"] == await stored_states(store, uid)


async def test_a_cell_is_stored_when_somebody_lists(bench: Bench, store: Store) -> None:
    _, uid = await an_unstored_cell(bench, store)
    page = await bench.service.runs(ME, RunQuery())
    assert uid in {run.uid for run in page.runs}
    assert ["finished"] == await stored_states(store, uid)


async def test_a_cell_is_stored_at_once_while_somebody_follows(bench: Bench, store: Store) -> None:
    kernel, uid = await an_unstored_cell(bench, store, "sleep")
    after = (await bench.service.log(ME, uid)).next
    followed = asyncio.create_task(bench.service.log(ME, uid, after=after, wait_s=60.0))
    await asyncio.sleep(0)
    bench.launcher.kernels[0].release()
    assert (await followed).records
    assert ("finished", "ok") == (
        (await bench.service.run(ME, uid)).view.state,
        (await bench.service.run(ME, uid)).view.outcome,
    )
    assert kernel == (await bench.service.run(ME, uid)).kernel_id


async def test_a_cell_of_many_records_does_not_wait(bench: Bench, store: Store) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("\n".join(["display text/plain x"] * 2 * PATIENT_RECORDS + ["sleep"]))
    async with asyncio.timeout(HANG_LIMIT_S):
        while not await store.last_records(RunUid(uid_of(bench, kernel, cell)), limit=1):
            await asyncio.sleep(0)
    bench.kernel.release()
    await client.done(cell)


async def test_what_was_not_stored_yet_is_when_the_gateway_ends(bench: Bench, store: Store) -> None:
    _, uid = await an_unstored_cell(bench, store)
    await bench.service.close()
    await until_stored(store, uid, "finished")


# -- before the kernel is there --------------------------------------------------------------------


async def test_a_client_is_told_when_its_kernel_has_come_up(
    bench: Bench, gate: asyncio.Event
) -> None:
    kernel = await a_starting_kernel(bench, gate)
    client = joined(bench, kernel)
    gate.set()
    await client.hears("idle")
    assert ["starting", "idle"] == client.words


async def test_what_is_sent_while_the_kernel_starts_is_executed_when_it_is_there(
    bench: Bench, gate: asyncio.Event
) -> None:
    kernel = await a_starting_kernel(bench, gate)
    client = joined(bench, kernel)
    asked = client.send("kernel_info_request")
    cells = [client.cell("print 1"), client.cell("print 2")]
    uid = uid_of(bench, kernel, cells[0])
    assert "starting" == (await bench.service.run(ME, uid)).view.state
    gate.set()
    await client.done(asked, *cells)
    assert ["print 1", "print 2"] == codes(bench.kernel)
    assert ["starting", "busy"] == client.states
    assert ["reply ok", "reply ok"] == [client.of(cell)[-2] for cell in cells]
    assert ("ok", "done") == await end_of(bench, kernel, cells[1])


async def test_a_run_that_had_its_turn_comes_before_cells_sent_while_the_kernel_starts(
    bench: Bench, gate: asyncio.Event
) -> None:
    kernel = await a_starting_kernel(bench, gate)
    client = joined(bench, kernel)
    await bench.started(kernel, "print run", "r")
    cell = client.cell("print cell")
    gate.set()
    await client.done(cell)
    assert "run\n" == text(await bench.ended(kernel, "r"))
    assert ["print run", "print cell"] == codes(bench.kernel)


async def test_what_is_sent_during_a_restart_is_for_the_next_generation(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    lost = client.cell("sleep")
    await client.hears("busy", lost)
    first = bench.kernel
    await bench.service.restart_kernel(ME, kernel)
    cells = [client.cell("print 1"), client.cell("print 2")]
    asked = client.send("kernel_info_request")
    await client.done(lost, asked, *cells)
    assert (["sleep"], ["print 1", "print 2"]) == (codes(first), codes(bench.kernel))
    assert ("lost", "kernel_restarted") == await end_of(bench, kernel, lost)
    for cell in cells:
        assert ("ok", "done") == await end_of(bench, kernel, cell)
        assert 2 == (await bench.service.run(ME, uid_of(bench, kernel, cell))).generation


async def test_what_is_sent_while_a_kernel_has_a_rest_is_for_the_next_generation(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await a_resting_kernel(bench, kernel)
    cells = [client.cell("print 1"), client.cell("print 2")]
    bench.clock.advance(60.0)
    await client.done(*cells)
    assert [[], [], ["print 1", "print 2"]] == [codes(one) for one in bench.launcher.kernels]


async def test_cells_are_lost_with_the_generation_that_they_were_held_for(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await a_resting_kernel(bench, kernel)
    held = client.cell("print held")
    bench.launcher.behaviour = FakeBehaviour(dies_at_start=KernelExit(signal="SIGKILL"))
    bench.clock.advance(60.0)
    await client.done(held)
    assert "lost" == (await end_of(bench, kernel, held))[0]
    assert "dead" == client.states[-1]


async def test_of_other_messages_only_so_many_are_held(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "HELD_MESSAGES", 2)
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await bench.service.restart_kernel(ME, kernel)
    for _ in range(5):
        client.send("comm_msg")
    cells = [client.cell("print 1"), client.cell("print 2")]
    await client.done(*cells)
    sent = [request.msg_type for request in bench.kernel.requests]
    assert ["comm_msg", "comm_msg", "execute_request", "execute_request"] == sent


@with_behaviour(dies_at_start=KernelExit(exit_code=1, stderr_tail="no such module"))
async def test_cells_of_a_kernel_that_never_starts_are_lost_and_answered(
    bench: Bench, gate: asyncio.Event
) -> None:
    kernel = await a_starting_kernel(bench, gate)
    client = joined(bench, kernel)
    cells = [client.cell("print 1"), client.cell("print 2")]
    gate.set()
    await client.done(*cells)
    await client.hears("dead")
    for cell in cells:
        assert ["error", "reply error", "idle"] == client.of(cell)
        assert ("lost", "kernel_start_failed") == await end_of(bench, kernel, cell)
    assert "dead" == client.words[-1]
    reply = next(one for one in client.told if one.msg_type == "execute_reply")
    assert "no such module" in str(reply.content["evalue"])


@with_behaviour(dies_at_start=KernelExit(exit_code=1))
async def test_cells_sent_to_a_dead_kernel_are_answered_at_once_and_the_rest_is_dropped(
    bench: Bench, gate: asyncio.Event
) -> None:
    kernel = await a_starting_kernel(bench, gate)
    gate.set()
    await bench.until_kernel(kernel, "dead")
    client = joined(bench, kernel)
    client.send("kernel_info_request")
    cell = client.cell("print 1")
    await client.done(cell)
    assert ["dead", "error", "reply error", "idle"] == client.words
    assert ("lost", "kernel_start_failed") == await end_of(bench, kernel, cell)
    assert [] == bench.kernel.requests


# -- when the kernel goes --------------------------------------------------------------------------

RESTARTS = ("idle", "autorestarting", "restarting", "idle")


@pytest.mark.parametrize("behind_lab", [False, True])
async def test_a_death_is_shown_in_the_cells_and_told_in_order(
    bench: Bench, behind_lab: bool
) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel, behind_lab=behind_lab)
    dies, behind = client.cell("print a\ndie SIGKILL"), client.cell("print never")
    await client.done(dies, behind)
    await client.until(lambda: len(client.states) == 4)
    assert list(RESTARTS) == client.states
    assert ["busy", "execute_input", "stdout a", "error", "reply error", "idle"] == client.of(dies)
    assert ["error", "reply error", "idle"] == client.of(behind)
    assert ["autorestarting", "restarting", "idle"] == client.words[-3:]
    for cell in (dies, behind):
        assert ("lost", "kernel_died") == await end_of(bench, kernel, cell)
    assert [] == codes(bench.kernel)
    assert [] == client.parted
    await client.done(client.cell("print again"))


async def test_who_was_away_when_the_kernel_died_is_told_so_too(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client, other = joined(bench, kernel), joined(bench, kernel, "other")
    cell = client.cell("sleep\ndie SIGKILL")
    await client.hears("execute_input", cell)
    client.acknowledge()
    client.link.detach()
    bench.kernel.release()
    await other.until(lambda: len(other.states) == 4)
    again = joined(bench, kernel)
    await again.until(lambda: len(again.words) == 6)
    assert ["error", "reply error", "idle", "autorestarting", "restarting", "idle"] == again.words
    assert [*RESTARTS] == other.states
    assert ["busy", "execute_input", "error", "idle"] == other.of(cell)


async def test_a_restart_that_was_asked_for_is_no_death_to_anybody(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    lab, other = joined(bench, kernel, "lab", behind_lab=True), joined(bench, kernel, "other")
    cells = [lab.cell("sleep"), lab.cell("print never")]
    await lab.hears("execute_input", cells[0])
    await bench.service.restart_kernel(ME, kernel)
    await lab.done(*cells)
    await bench.until_kernel(kernel, "idle")
    await other.until(lambda: len(other.states) == 3)
    assert ["idle", "starting", "idle"] == lab.states
    assert ["idle", "restarting", "idle"] == other.states
    assert ["busy", "execute_input", "reply aborted", "idle"] == lab.of(cells[0])
    assert ["reply aborted", "idle"] == lab.of(cells[1])
    assert ["idle"] == other.of(cells[1])
    for cell in cells:
        assert ("lost", "kernel_restarted") == await end_of(bench, kernel, cell)


async def test_who_deletes_a_kernel_ends_its_cells_and_parts_its_clients(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cells = [client.cell("sleep"), client.cell("print never")]
    await client.hears("execute_input", cells[0])
    uids = [uid_of(bench, kernel, cell) for cell in cells]
    await bench.service.delete_kernel(ME, kernel)
    assert ["busy", "execute_input", "reply aborted", "idle"] == client.of(cells[0])
    assert ["reply aborted", "idle"] == client.of(cells[1])
    assert (["idle", "dead"], "dead") == (client.states, client.words[-1])
    assert [Parting.DELETED] == client.parted
    for uid in uids:
        view = (await bench.service.run(ME, uid)).view
        assert ("cancelled", "cancelled") == (view.outcome, view.reason and view.reason.code)
    told = len(client.told)
    client.cell("print nothing")
    client.link.detach()
    client.take_all()
    assert told == len(client.told)


async def test_what_a_client_asks_while_its_kernel_is_deleted_harms_nobody(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    deleted = asyncio.create_task(bench.service.delete_kernel(ME, kernel))
    await asyncio.sleep(0)
    late = client.cell("print never")
    client.send("shutdown_request", {"restart": True}, channel=Channel.CONTROL)
    client.send("shutdown_request", {"restart": False}, channel=Channel.CONTROL)
    await deleted
    assert ["reply aborted", "idle"] == client.of(late)
    assert ("dead", [Parting.DELETED], 1) == (
        client.words[-1],
        client.parted,
        len(bench.launcher.kernels),
    )


async def test_the_cells_of_a_kernel_that_is_deleted_while_it_rests_are_answered(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await a_resting_kernel(bench, kernel)
    cell = client.cell("print never")
    await bench.service.delete_kernel(ME, kernel)
    assert ["reply aborted", "idle"] == client.of(cell)
    assert "dead" == client.words[-1]


@with_settings(restart_limit=0)
async def test_a_kernel_that_is_given_up_is_dead_when_all_its_cells_are_over(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cells = [client.cell("die SIGKILL"), client.cell("print never")]
    await client.hears("dead")
    for cell in cells:
        assert ["error", "reply error", "idle"] == client.of(cell)[-3:]
        assert ("lost", "kernel_died") == await end_of(bench, kernel, cell)
    assert "dead" == client.words[-1]
    assert [] == client.parted


async def test_a_client_may_tell_the_kernel_to_end(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client, other = joined(bench, kernel), joined(bench, kernel, "other")
    cell = client.cell("sleep")
    await client.hears("execute_input", cell)
    asked = client.send("shutdown_request", {"restart": False}, channel=Channel.CONTROL)
    late = client.cell("print never")  # it is on its way down, and nobody comes after it
    await client.hears("dead")
    assert ["busy", "reply ok", "idle"] == client.of(asked)
    assert ["reply aborted", "idle"] == client.of(cell)[-2:]
    assert ["reply aborted", "idle"] == client.of(late)
    assert (["idle", "dead"], ["idle", "dead"]) == (client.states, other.states)
    view = await bench.service.kernel(ME, kernel)
    assert ("dead", 1) == (view.state, len(bench.launcher.kernels))
    for one in (cell, late):
        assert ("lost", "kernel_shut_down") == await end_of(bench, kernel, one)


async def test_a_kernel_that_was_told_to_end_begins_anew_when_somebody_restarts_it(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    lab = joined(bench, kernel, "lab", behind_lab=True)
    client.send("shutdown_request", channel=Channel.CONTROL)
    await client.hears("dead")
    assert "restarting" == (await bench.service.restart_kernel(ME, kernel)).state
    await client.done(client.cell("print again"))
    assert ["idle", "dead", "restarting"] == client.states[:3]
    assert ["idle", "dead", "starting"] == lab.states[:3]
    assert ["print again"] == codes(bench.kernel)


async def test_a_client_may_tell_the_kernel_to_begin_anew(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("sleep")
    await client.hears("execute_input", cell)
    asked = client.send("shutdown_request", {"restart": True}, channel=Channel.CONTROL)
    client.send("shutdown_request", {"restart": True}, channel=Channel.CONTROL)  # impatient
    held = client.cell("print again")
    await client.done(cell, held)
    await bench.until_kernel(kernel, "idle")
    assert "reply ok" in client.of(asked)
    assert ["idle", "restarting"] == client.states[:2]
    assert "dead" not in client.words
    assert ("lost", "kernel_restarted") == await end_of(bench, kernel, cell)
    assert ("ok", "done") == await end_of(bench, kernel, held)
    assert 2 == len(bench.launcher.kernels)


async def test_the_end_of_a_kernel_is_asked_for_on_control_and_nowhere_else(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await client.done(client.send("shutdown_request"))
    assert "idle" == (await bench.service.kernel(ME, kernel)).state


# -- beside the queue ------------------------------------------------------------------------------


async def test_what_runs_of_the_queue_print_reaches_the_clients(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await bench.run(kernel, "print a", "r")
    await client.hears("stdout a")
    assert ["idle", "busy", "execute_input", "stdout a", "idle"] == client.words


async def test_a_run_waits_for_the_cells_before_it_and_not_for_those_that_come_later(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    before = client.cell("sleep\nprint A")
    await bench.started(kernel, "sleep\nprint run", "r")
    assert 1 == (await bench.service.kernel(ME, kernel)).queue_length
    later = client.cell("sleep\nprint B")
    bench.kernel.release()
    await client.done(before)
    await bench.until_state("r", "running")  # its turn; the kernel is busy with B
    last = client.cell("print C")
    for _ in range(2):
        bench.kernel.release()
        await client.until(lambda: "idle" in client.of(later))
    await client.done(later, last)
    assert "run\n" == text(await bench.ended(kernel, "r"))
    assert ["print A", "print B", "print run", "print C"] == [
        str(code).splitlines()[-1] for code in codes(bench.kernel)
    ]


async def behind_a_cell(bench: Bench, *steps: str, **limits: float) -> tuple[str, Client, Header]:
    """A run `r` that has its turn while the kernel is busy with a cell that came later."""
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    before = client.cell("sleep")
    await submit(bench, kernel, *steps, run_id="r", **limits)
    cell = client.cell("sleep\nprint cell")
    bench.kernel.release()
    await client.done(before)
    await client.hears("busy", cell)
    await bench.until_state("r", "running")
    return kernel, client, cell


async def test_limits_of_a_run_do_not_count_while_cells_are_before_it(bench: Bench) -> None:
    kernel, client, cell = await behind_a_cell(bench, "sleep", step=5.0, idle=5.0)
    bench.clock.advance(100.0)
    bench.kernel.release()
    await client.done(cell)
    assert "reply ok" in client.of(cell)
    await bench.until(lambda: "sleep" == codes(bench.kernel)[-1])
    await client.until(lambda: 3 == client.words.count("execute_input"))
    bench.clock.advance(4.0)
    assert "running" == (await bench.service.run(ME, "r")).view.state
    bench.clock.advance(2.0)
    await bench.ended(kernel, "r")
    assert "timeout" == (await bench.service.run(ME, "r")).view.outcome


async def test_a_cancel_of_a_run_behind_a_cell_interrupts_nobody_else(bench: Bench) -> None:
    kernel, client, cell = await behind_a_cell(bench, "sleep")
    await bench.service.cancel(ME, "r")
    bench.clock.advance(100.0)
    assert "cancelling" == (await bench.service.run(ME, "r")).view.state
    assert "idle" not in client.of(cell)
    bench.kernel.release()
    await client.done(cell)
    assert ["stdout cell", "reply ok", "idle"] == client.of(cell)[-3:]
    await bench.ended(kernel, "r")
    assert "cancelled" == (await bench.service.run(ME, "r")).view.outcome
    assert 1 == len(bench.launcher.kernels)


async def test_a_cancel_of_a_cell_behind_a_run_interrupts_nobody_else(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await bench.started(kernel, "sleep\nprint run", "r")
    await bench.until_state("r", "running")
    await client.until(lambda: "execute_input" in client.words)
    cell = client.cell("sleep")
    uid = uid_of(bench, kernel, cell)
    await bench.service.cancel(ME, uid)
    bench.clock.advance(100.0)
    assert "cancelling" == (await bench.service.run(ME, uid)).view.state
    bench.kernel.release()
    assert "run\n" == text(await bench.ended(kernel, "r"))
    await client.done(cell)
    assert ("cancelled", "cancelled") == await end_of(bench, kernel, cell)
    assert "error" in client.of(cell)


async def test_a_cell_that_fails_aborts_no_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    before = client.cell("sleep")
    await submit(bench, kernel, "print run", run_id="r")
    fails = client.cell("sleep\nraise E no")
    bench.kernel.release()
    await client.done(before)
    await bench.until_state("r", "running")
    bench.kernel.release()
    await client.done(fails)
    assert "run\n" == text(await bench.ended(kernel, "r"))
    assert ["print run", "print run"] == codes(bench.kernel)[-2:]  # it was aborted and sent again


async def test_a_run_that_fails_aborts_no_cell(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await bench.started(kernel, "sleep\nraise E no", "r")
    await bench.until_state("r", "running")
    await client.until(lambda: codes(bench.kernel))
    cell = client.cell("print cell")
    bench.kernel.release()
    await client.done(cell)
    assert "reply ok" in client.of(cell)
    await bench.ended(kernel, "r")
    assert "error" == (await bench.service.run(ME, "r")).view.outcome


async def test_an_interrupt_is_for_the_cell_that_is_executed(bench: Bench) -> None:
    kernel, client, cell = await behind_a_cell(bench, "print run")
    await bench.service.interrupt_kernel(ME, kernel)
    await client.done(cell)
    assert ["error", "reply error", "idle"] == client.of(cell)[-3:]
    assert ("error", "exception") == await end_of(bench, kernel, cell)
    assert "run\n" == text(await bench.ended(kernel, "r"))


async def test_an_interrupt_is_for_the_run_that_is_executed(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await bench.started(kernel, "sleep", "r")
    await client.until(lambda: "execute_input" in client.words)
    cell = client.cell("print cell")
    await bench.service.interrupt_kernel(ME, kernel)
    await client.done(cell)
    assert "reply ok" in client.of(cell)
    await bench.ended(kernel, "r")
    assert "cancelled" == (await bench.service.run(ME, "r")).view.outcome


async def test_an_interrupt_of_a_cell_is_one_interrupt(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("ignore-interrupts\nsleep\nprint on")
    await client.hears("execute_input", cell)
    await bench.service.interrupt_kernel(ME, kernel)
    bench.clock.advance(100.0)
    bench.kernel.release()
    await client.done(cell)
    assert "stdout on" in client.of(cell)
    assert ("ok", "done") == await end_of(bench, kernel, cell)


async def test_a_cell_can_be_cancelled_as_any_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("ignore-interrupts\nsleep")
    await client.hears("execute_input", cell)
    uid = uid_of(bench, kernel, cell)
    await bench.service.cancel(ME, uid, grace_s=1.0)
    bench.clock.advance(1.0)
    await client.done(cell)
    assert ("cancelled", "cancelled") == await end_of(bench, kernel, cell)
    await client.until(lambda: "autorestarting" in client.words)


async def test_cells_in_a_subshell_keep_nobody_waiting(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    content: dict[str, Json] = {"code": "sleep", "allow_stdin": True}
    cell = client.send("execute_request", content, subshell_id="sub")
    await bench.started(kernel, "print run", "r")
    await bench.until_state("r", "running")
    assert ["sleep", "print run"] == codes(bench.kernel)
    bench.kernel.release()  # the kernel in memory has no subshells
    await client.done(cell)
    assert ("ok", "done") == await end_of(bench, kernel, cell)
    assert "run\n" == text(await bench.ended(kernel, "r"))


async def test_a_cell_may_come_between_two_steps_of_a_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await submit(bench, kernel, "sleep\nprint 1", "print 2", run_id="r")
    await client.until(lambda: codes(bench.kernel))
    cell = client.cell("print cell")
    bench.kernel.release()
    await bench.ended(kernel, "r")
    await client.done(cell)
    printed_ = [word for word in client.words if word.startswith("stdout")]
    assert ["stdout 1", "stdout cell", "stdout 2"] == printed_
    assert "ok" == (await bench.service.run(ME, "r")).view.outcome


async def test_a_cell_that_a_step_makes_way_for_is_reached(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await submit(bench, kernel, "sleep\nprint 1", "print 2", run_id="r")
    await client.until(lambda: codes(bench.kernel))
    cell = client.cell("sleep")
    await bench.service.cancel(ME, uid_of(bench, kernel, cell))
    bench.kernel.release()
    await client.done(cell)
    assert ("cancelled", "cancelled") == await end_of(bench, kernel, cell)
    assert "1\n2\n" == text(await bench.ended(kernel, "r"))


async def test_a_batch_has_a_kernel_of_its_own_and_waits_for_no_cell(bench: Bench) -> None:
    made = await bench.a_session()
    client = joined(bench, made.id)
    cell = client.cell("sleep")
    await client.hears("busy", cell)
    main = bench.kernel
    told = await bench.batch(made.id, "b", build="print built", exec="print done")
    while told.status != "finished":
        told = await bench.ended(made.id, "b")
    assert ["sleep"] == codes(main)
    main.release()
    await client.done(cell)
    assert not any("built" in word for word in client.words)


async def test_a_death_of_the_kernel_of_batches_is_nothing_to_clients(bench: Bench) -> None:
    made = await bench.a_session()
    client = joined(bench, made.id)
    await bench.batch(made.id, "b", build="print built", exec="die SIGKILL")
    await bench.ended(made.id, "b")
    assert "a\n" == text(await bench.run(made.id, "print a"))
    assert ["idle"] == client.states


# -- input -----------------------------------------------------------------------------------------


class Quick(Client):
    """Answers a prompt in the moment that it hears of it."""

    def on_news(self) -> None:
        before = len(self.told)
        super().on_news()
        for message in self.told[before:]:
            if message.msg_type == "input_request":
                self.answer("quick", message.header)


def kinds(bodies: list[records.Body]) -> list[str]:
    return [body.kind for body in bodies]


async def test_a_client_answers_before_anybody_was_told_of_the_prompt(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = Quick()
    client.link = bench.service.channels(ME, kernel, client, session_id="s")
    cell = client.cell("input Name?\necho")
    await client.done(cell)
    assert "stdout quick" in client.of(cell)
    assert ("ok", "done") == await end_of(bench, kernel, cell)
    log = kinds(await log_of(bench, uid_of(bench, kernel, cell)))
    assert log.count(records.InputAsked.kind) == log.count(records.InputAnswered.kind)


async def prompted(bench: Bench, code: str) -> tuple[str, Client, Header, str]:
    """A cell whose prompt everybody knows."""
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell(code)
    uid = uid_of(bench, kernel, cell)
    await bench.until_state(uid, "waiting-input")
    return kernel, client, cell, uid


async def test_a_client_answers_its_prompt_and_the_run_is_told(bench: Bench) -> None:
    _, client, cell, uid = await prompted(bench, "input Name?\necho")
    client.answer("Zoë", await client.prompt(cell))
    await client.done(cell)
    assert "stdout Zoë" in client.of(cell)
    (answered,) = [
        body for body in await log_of(bench, uid) if isinstance(body, records.InputAnswered)
    ]
    assert "Zoë" == answered.value


async def test_a_password_that_a_client_gives_is_in_no_record(bench: Bench) -> None:
    _, client, cell, uid = await prompted(bench, "password Pin?")
    client.answer("s3cret", await client.prompt(cell))
    await client.done(cell)
    assert "s3cret" not in repr(await log_of(bench, uid))


async def test_who_answers_after_somebody_else_is_not_heard(bench: Bench) -> None:
    _, client, cell, uid = await prompted(bench, "input a\necho\ninput b\necho")
    first = await client.prompt(cell)
    await bench.service.give_input(ME, uid, "rest")
    client.answer("late", first)
    second = await client.prompt(cell, 2)
    client.answer("late", first)
    client.answer("client", second)
    with pytest.raises(NotWaiting):
        await bench.service.give_input(ME, uid, "late")
    await client.done(cell)
    assert ["stdout rest", "stdout client"] == [
        word for word in client.of(cell) if word.startswith("stdout")
    ]
    assert ["rest", "client"] == replies_sent(bench.kernel)


async def test_another_clients_answer_is_not_heard(bench: Bench) -> None:
    kernel, client, cell, _ = await prompted(bench, "input a\necho")
    other = joined(bench, kernel, "other")
    prompt = await client.prompt(cell)
    other.answer("not his", prompt)
    other.answer("not his", None)
    client.answer("hers", prompt)
    client.answer("twice", prompt)
    await client.done(cell)
    assert ["hers"] == replies_sent(bench.kernel)
    assert "input_request" not in other.words


async def test_a_prompt_of_a_run_of_the_queue_is_no_clients(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    answer = await bench.run(kernel, "input a\necho", "r")
    assert "waiting-input" == answer.status
    client.answer("not mine", None)
    assert "input_request" not in client.words
    await bench.service.give_input(ME, "r", "mine")
    assert "mine\n" == text(await bench.ended(kernel, "r"))
    assert ["mine"] == replies_sent(bench.kernel)


async def test_a_prompt_whose_client_is_gone_can_be_interrupted(bench: Bench) -> None:
    kernel, client, cell, _ = await prompted(bench, "input a")
    client.link.detach()
    await bench.service.interrupt_kernel(ME, kernel)
    await bench.until_kernel(kernel, "idle")
    assert ("error", "exception") == await end_of(bench, kernel, cell)


async def test_a_cell_that_takes_no_prompts_has_none(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("input a", allow_stdin=False)
    await client.done(cell)
    assert ("error", "no_input") == await end_of(bench, kernel, cell)
    assert [] == client.prompts(cell)


# -- what is ours, and the state -------------------------------------------------------------------


def check_only_cells(client: Client) -> None:
    """Nothing of what it was told is because of a question of ours."""
    parents = {message.parent.msg_type for message in client.told if message.parent is not None}
    assert {"execute_request"} == parents


async def test_no_client_hears_of_our_questions_about_a_prompt(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await bench.run(kernel, "print a\ninput b", "r")  # behind a barrier
    assert "kernel_info_request" in [request.msg_type for request in bench.kernel.requests]
    await bench.call(kernel, "x", run_id="r", mode="input")
    await bench.ended(kernel, "r")
    check_only_cells(client)
    assert ["idle", "busy", "execute_input", "stdout a", "idle"] == client.words


@with_behaviour(replies_to_interrupt=False)
async def test_no_client_hears_of_our_questions_whether_a_kernel_is_well(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("sleep")
    await client.hears("execute_input", cell)
    await bench.service.cancel(ME, uid_of(bench, kernel, cell))
    await client.hears("idle", cell)
    bench.clock.advance(1.0)  # the reply is missing: the kernel is asked
    await bench.until_kernel(kernel, "idle")
    assert "kernel_info_request" in [request.msg_type for request in bench.kernel.requests]
    check_only_cells(client)


async def test_no_client_hears_of_our_completions_and_the_kernel_is_idle(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    asked = asyncio.create_task(bench.service.complete(ME, kernel, "pr", 2))
    await bench.until(lambda: bench.kernel.requests)
    assert "idle" == (await bench.service.kernel(ME, kernel)).state
    assert (await asked).matches
    assert ["idle"] == client.words


async def test_there_are_no_completions_while_a_cell_is_executed(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("sleep")
    assert () == (await bench.service.complete(ME, kernel, "pr", 2)).matches
    bench.kernel.release()
    await client.done(cell)


async def test_a_kernel_is_busy_while_a_cell_is_worked_on(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    cell = client.cell("sleep")
    assert "busy" == (await bench.service.kernel(ME, kernel)).state
    late = joined(bench, kernel, "late")
    await late.hears("busy")
    bench.kernel.release()
    await client.done(cell)
    assert "idle" == (await bench.service.kernel(ME, kernel)).state


async def test_a_kernel_is_busy_while_it_works_on_a_comm_message(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    comm = client.send("comm_msg", {"comm_id": "c", "data": {}})
    bench.kernel.status("busy", comm)
    assert "busy" == (await bench.service.kernel(ME, kernel)).state
    await bench.service.interrupt_kernel(ME, kernel)
    bench.kernel.tell(Channel.IOPUB, "comm_msg", {"comm_id": "c"}, comm)
    bench.kernel.status("idle", comm)
    assert "idle" == (await bench.service.kernel(ME, kernel)).state
    await client.hears("comm_msg", comm)


async def test_what_a_kernel_says_of_itself_goes_to_all(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    bench.kernel.tell(Channel.IOPUB, "stream", {"name": "stderr", "text": "hm"}, None)
    await client.hears("stderr hm")


async def test_a_kernel_knows_how_many_are_connected(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    assert 0 == (await bench.service.kernel(ME, kernel)).connections
    clients = [joined(bench, kernel, name) for name in "ab"]
    assert 2 == (await bench.service.kernel(ME, kernel)).connections
    clients[0].link.detach()
    assert 1 == (await bench.service.kernel(ME, kernel)).connections


# -- in any order ----------------------------------------------------------------------------------

MOVES = st.sampled_from(
    ["cell", "run", "release", "interrupt", "restart", "kill", "cancel", "leave", "come", "turn"]
)
CODES = st.sampled_from(
    [
        "print a",
        "sleep",
        "raise E no",
        "input a",
        "die SIGKILL",
        "late x",
        "ignore-interrupts\nsleep",
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(MOVES, CODES, st.integers(0, 1)), max_size=30))
def test_whatever_happens_each_cell_and_each_run_has_one_end(
    moves: list[tuple[str, str, int]],
) -> None:
    asyncio.run(_play(moves))


async def _play(moves: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(StoreSettings(folder=Path(folder)))
        launcher, clock = FakeLauncher(), ManualClock()
        service = LocalService(launcher, store, EngineSettings(restart_limit=1000), clock=clock)
        await service.start()
        try:
            await _Play(Bench(service, launcher, clock)).play(moves)
        finally:
            await service.close()
            await launcher.close()
            await store.close()


class _Play:
    """Two clients, the queue and a kernel that is treated badly."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._cells: list[tuple[int, Header]] = []
        self._runs: list[str] = []
        self._heard: list[list[RawMessage]] = [[], []]

    async def play(self, moves: list[tuple[str, str, int]]) -> None:
        self._kernel = await self._bench.a_kernel()
        self._clients = [joined(self._bench, self._kernel, name) for name in "ab"]
        for move, code, which in moves:
            await self._make(move, code, which)
            await asyncio.sleep(0)
        for which in (0, 1):
            await self._make("come", "", which)
        async with asyncio.timeout(HANG_LIMIT_S):
            while not all(live.machine.finished for live in self._lives()):
                await self._make("release", "", 0)
                await self._make("interrupt", "", 0)
                self._bench.clock.advance(0.1)
                await asyncio.sleep(0)
        await self._check()

    async def _make(self, move: str, code: str, which: int) -> None:
        bench, client = self._bench, self._clients[which]
        if move == "cell" and client.is_there:
            self._cells.append((which, client.cell(code)))
        elif move == "run":
            self._runs.append(f"r{len(self._runs)}")
            await bench.started(self._kernel, code, self._runs[-1])
        elif move == "release":
            bench.kernel.release()
        elif move == "interrupt":
            await bench.service.interrupt_kernel(ME, self._kernel)
        elif move == "restart":
            await bench.service.restart_kernel(ME, self._kernel)
        elif move == "kill" and await self._is_up():
            await bench.kernel.kill()
        elif move == "cancel" and self._cells and await self._is_up():
            uid = uid_of(bench, self._kernel, self._cells[-1][1])
            await bench.service.cancel(ME, uid, grace_s=0.5)
        elif move == "leave":
            self._leave(which)
        elif move == "come" and not client.is_there:
            self._clients[which] = joined(bench, self._kernel, "ab"[which])
            # IDs go on where they were: a client does not begin anew
            self._clients[which].sent = client.sent

    async def _is_up(self) -> bool:
        state = (await self._bench.service.kernel(ME, self._kernel)).state
        return state in {"idle", "busy"}

    def _leave(self, which: int) -> None:
        client = self._clients[which]
        if client.is_there:
            self._heard[which] += client.told
            client.leave()

    def _lives(self) -> list[LiveRun]:
        return list(self._bench.service._live.values())

    async def _check(self) -> None:
        session = self._bench.service._sessions.get(self._kernel)
        assert session is not None
        assert (0, 0, False) == (len(session._line), len(session._cells), session.is_busy)
        for which in (0, 1):
            self._clients[which].take_all()
            self._leave(which)
        for which, cell in self._cells:
            told = {message.msg_id: message for message in self._heard[which]}
            words = [word_of(one) for one in told.values() if is_about(one, cell)]
            replies = [word for word in words if word.startswith("reply ")]
            assert (1, True) == (len(replies), "idle" in words), (cell, words)
        assert len(self._cells) + len(self._runs) == len(self._lives())
        for live in self._lives():
            assert live.machine.outcome is not None
        by_generation = [_cells_sent(kernel) for kernel in self._bench.launcher.kernels]
        sent = [header for headers in by_generation for header in headers]
        assert len(sent) == len(set(sent)), "each cell was sent to one generation, once"


def _cells_sent(kernel: FakeKernel) -> list[tuple[str, str]]:
    raws = [request for request in kernel.requests if isinstance(request, RawMessage)]
    headers = [raw.header for raw in raws if raw.msg_type == "execute_request"]
    return [(header.session, header.msg_id) for header in headers]


# -- cancelled before the kernel was there ---------------------------------------------------------


async def test_a_cell_that_is_cancelled_while_it_is_held_is_not_executed(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    await bench.service.restart_kernel(ME, kernel)
    cell = client.cell("print never")
    await bench.service.cancel(ME, uid_of(bench, kernel, cell))
    await client.done(cell)
    await bench.until_kernel(kernel, "idle")
    assert ["reply aborted", "idle"] == client.of(cell)
    assert [] == codes(bench.kernel)


async def test_a_cell_that_is_cancelled_while_its_kernel_starts_is_answered(
    bench: Bench, gate: asyncio.Event
) -> None:
    kernel = await a_starting_kernel(bench, gate)
    client = joined(bench, kernel)
    cell = client.cell("die SIGKILL")
    await bench.service.cancel(ME, uid_of(bench, kernel, cell))
    gate.set()
    await client.done(cell)
    assert ["reply aborted", "idle"] == client.of(cell)


# -- ends that concern the kernel ------------------------------------------------------------------


async def test_a_cell_that_ends_well_makes_good_for_the_death_before_it(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    for _ in range(8):
        await client.done(client.cell("die SIGKILL"))
        good = client.cell("print good")
        await client.done(good)
        assert "reply ok" in client.of(good)


async def test_a_cell_in_a_subshell_cannot_be_cancelled(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    content: dict[str, Json] = {"code": "sleep", "allow_stdin": False}
    cell = client.send("execute_request", content, subshell_id="sub")
    await client.hears("busy", cell)
    with pytest.raises(CannotCancel, match="subshell"):
        await bench.service.cancel(ME, uid_of(bench, kernel, cell))
    bench.kernel.release()
    await client.done(cell)
    assert ("ok", "done") == await end_of(bench, kernel, cell)


async def test_a_gateway_that_ends_takes_no_more_cells(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    client = joined(bench, kernel)
    bench.service.drain()
    cell = client.cell("print never")
    await client.done(cell)
    assert ["reply aborted", "idle"] == client.of(cell)
    assert [] == codes(bench.kernel)
