"""What can be asked of a run and of its kernel: labels, plan, removal, readers, output, health."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import (
    InvalidField,
    KernelNotFound,
    OurFault,
    RunActive,
    RunExpired,
    RunNotFound,
    StoreUnavailable,
)
from kernel_gateway.execution.live import KEPT_CHARS, READ_TAILS
from kernel_gateway.execution.local import READER_GRACE_S, LocalService
from kernel_gateway.execution.losses import reason_of
from kernel_gateway.kernels.fake import FakeBehaviour
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Record, Seq
from kernel_gateway.service import (
    HealthCheck,
    KernelRequest,
    Owner,
    Readiness,
    RunInfo,
    RunQuery,
    RunRequest,
    Vitality,
    Webhook,
    WebhookEvent,
    WebhookView,
)
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from kernel_gateway.webhooks.sender import Answer
from kernel_gateway.webhooks.settings import WebhookSettings
from tests.fake.execution.conftest import HANG_LIMIT_S, ME, Bench
from tests.fake.execution.test_trouble import locked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.messaging.strict_json import Json

YOU = Owner("you")
METRIC = "application/vnd.kernel-gateway.metric+json"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(StoreSettings(folder=tmp_path / "store", busy_timeout_s=0.1))
    yield store
    await store.close()


# -- what a run is told with -----------------------------------------------------------------------


async def test_runs_are_listed_by_their_labels(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    labels = {"a": {"night": "1", "who": "x"}, "b": {"night": "2"}, "c": {}}
    for run_id, given in labels.items():
        await bench.submit("print x", run_id=run_id, labels=given)
        await bench.over(run_id)
        bench.clock.advance(1)
    later = LocalService(bench.launcher, store, engine_settings, clock=bench.clock)
    for service in (bench.service, later):
        wanted: list[tuple[list[str], tuple[tuple[str, str | None], ...]]] = [
            (["b", "a"], (("night", None),)),
            (["a"], (("night", "1"),)),
            (["a"], (("night", None), ("who", "x"))),
            ([], (("night", "2"), ("who", "x"))),
        ]
        for expected, query in wanted:
            page = await service.runs(ME, RunQuery(labels=query))
            assert expected == [run.id for run in page.runs]
        assert labels["a"] == (await service.run(ME, "a")).labels


async def test_metrics_are_stored_while_the_run_goes_on(bench: Bench, store: Store) -> None:
    await bench.submit("sleep", run_id="r")
    await bench.until_told("r", "StepChanged")  # so that the row needs no other reason
    kernel = bench.kernel
    (sent,) = [one for one in kernel.requests if one.msg_type == "execute_request"]
    parent = kernel.parent_of(sent)
    data: dict[str, Json] = {METRIC: {"name": "loss", "value": 0.5, "mode": "replace"}}
    for _ in range(2):
        content: Mapping[str, Json] = {"data": data, "metadata": {}, "transient": {}}
        kernel.tell(kernel.message_of(sent).channel.IOPUB, "display_data", content, parent)
    await bench.until_told("r", "Metric")
    (stored,) = await store.find_runs(ME, "r")
    assert {"loss": 0.5} == stored.view.metrics
    kernel.release()
    assert {"loss": 0.5} == (await bench.over("r")).view.metrics


async def test_artifacts_are_stored_while_the_run_goes_on(bench: Bench, store: Store) -> None:
    await bench.submit("sleep\ndisplay image/png iVBORw0KGgo=\nsleep", run_id="r")
    await bench.until_told("r", "StepChanged")
    bench.kernel.release()
    await bench.until_told("r", "image/png")
    (stored,) = await store.find_runs(ME, "r")
    assert ["image/png"] == [one.mime for one in stored.artifacts]
    assert stored.artifacts == (await bench.service.run(ME, "r")).artifacts
    bench.kernel.release()
    await bench.over("r")


async def test_what_is_asked_of_a_run_is_told_with_it(bench: Bench) -> None:
    made = await bench.submit("print x", context={"a": "1"}, cancel_on_disconnect=True)
    assert ({"a": "1"}, True, True) == (made.context, made.cancel_on_disconnect, made.created)
    again = await bench.over(made.uid)
    assert ({"a": "1"}, True, False) == (again.context, again.cancel_on_disconnect, again.created)


async def test_the_plan_is_told_whole_also_when_memory_has_forgotten_its_code(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    plan = RunPlan(
        mode=Mode.NOTEBOOK,
        steps=(StepPlan(code="sleep", name="1"),),
        document='{"cells": []}'.ljust(KEPT_CHARS),
    )
    info = await bench.service.submit(ME, RunRequest(plan=plan))
    await bench.until_state(info.uid, "running")
    later = LocalService(bench.launcher, store, engine_settings, clock=bench.clock)
    for _ in range(2):
        for service in (bench.service, later):
            told = await service.run_plan(ME, info.uid)
            assert (plan.steps, plan.document) == (told.steps, told.document)
            with pytest.raises(RunNotFound):
                await service.run_plan(YOU, info.uid)
        bench.kernel.release()
        await bench.over(info.uid)
    live = bench.service._live[info.uid]
    assert live.is_slim
    await bench.service.delete_run(ME, info.uid)
    bench.service._live[info.uid] = live  # asked for when it was there, and then removed
    with pytest.raises(RunExpired):
        await bench.service.run_plan(ME, info.uid)


async def test_code_that_is_short_stays_in_memory_as_long_as_its_run(bench: Bench) -> None:
    plan = RunPlan(mode=Mode.QUERY, steps=(StepPlan(code="print(1)"),))
    info = await bench.service.submit(ME, RunRequest(plan=plan))
    await bench.over(info.uid)
    live = bench.service._live[info.uid]
    await bench.service.delete_run(ME, info.uid)
    bench.service._live[info.uid] = live  # the store knows it no more
    assert plan.steps == (await bench.service.run_plan(ME, info.uid)).steps


async def test_a_run_waits_for_its_kernel_as_long_as_that_may_take_to_start(
    bench: Bench, gate: asyncio.Event
) -> None:
    gate.clear()
    patient = await bench.service.create_kernel(ME, KernelRequest(start_limit_s=300.0))
    await bench.submit("print x", run_id="r", kernel_id=patient.id)
    await bench.submit("print y", run_id="next", kernel_id=patient.id, limits=Limits(start=1.0))
    bench.clock.advance(299.0)
    assert "starting" == (await bench.service.run(ME, "r")).view.state
    bench.clock.advance(1.1)
    end = await bench.over("r")
    assert end.view.reason is not None
    assert ("timeout", 300.0) == (end.view.outcome, end.view.reason.limit)
    bench.clock.advance(1.1)  # its turn began when that of the first was over
    assert "timeout" == (await bench.over("next")).view.outcome


# -- removal ---------------------------------------------------------------------------------------


async def test_a_removed_run_is_expired_with_all_it_left(bench: Bench, store: Store) -> None:
    info = await bench.submit("save f.txt a\nprint x", run_id="r")
    (artifact,) = (await bench.over("r")).artifacts
    await bench.service.delete_run(ME, "r")
    for name in ("r", info.uid):
        with pytest.raises(RunExpired):
            await bench.service.run(ME, name)
        with pytest.raises(RunExpired):
            await bench.service.log(ME, name)
        with pytest.raises(RunExpired):
            await bench.service.artifact(ME, name, artifact.id)
        with pytest.raises(RunExpired):
            await bench.service.delete_run(ME, name)
    assert [] == await store.records(info.uid, after=Seq(0), limit=10)
    assert () == (await bench.service.runs(ME, RunQuery())).runs


async def test_a_removed_run_leaves_no_text_in_memory(bench: Bench) -> None:
    """Its kernel remembers the run for a while, as it does all runs."""
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print x", "r")
    live = bench.service._live[(await bench.service.run(ME, "r")).uid]
    assert await live.read(Seq(0), 10)
    await bench.service.delete_run(ME, "r", kernel)
    assert [] == await live.read(Seq(0), 10)


async def test_a_run_that_is_not_over_is_not_removed(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep", "one")
    await bench.started(kernel, "print x", "two")
    for run_id in ("one", "two"):
        with pytest.raises(RunActive):
            await bench.service.delete_run(ME, run_id)
    bench.kernel.release()
    await bench.over("two")
    with pytest.raises(RunNotFound):
        await bench.service.delete_run(YOU, "one")
    calls = [bench.service.delete_run(ME, "one") for _ in range(3)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert None in ends
    assert all(end is None or isinstance(end, RunExpired) for end in ends)


async def test_the_id_of_a_removed_run_stays_expired_on_its_kernel(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print x", "r")
    await bench.service.delete_run(ME, "r", kernel)
    with pytest.raises(RunExpired):
        await bench.submit("print x", run_id="r", kernel_id=kernel)
    with pytest.raises(RunExpired):
        await bench.call(kernel, run_id="r", mode="continue")


async def test_a_forgotten_id_is_free_again_on_its_kernel(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print x", "r")
    await bench.service.delete_run(ME, "r", kernel)
    await store.sweep(bench.clock.now().wall + engine_settings.retention_s + 1)
    with pytest.raises(RunNotFound):
        await bench.call(kernel, run_id="r", mode="continue")
    calls = [bench.submit("print y", run_id="r", kernel_id=kernel) for _ in range(3)]
    made = await asyncio.gather(*calls)
    assert [False, False, True] == sorted(info.created for info in made)
    assert 1 == len({info.uid for info in made})


async def test_a_run_whose_retention_is_over_is_not_in_memory_either(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    settings = replace(engine_settings, retention_s=60.0, sweep_every_s=0.0)
    service = LocalService(bench.launcher, store, settings, clock=bench.clock)
    await service.start()
    try:
        own = Bench(service, bench.launcher, bench.clock)
        kernel = await own.a_kernel()
        await own.run(kernel, "print x", "r")
        await own.started(kernel, "sleep", "longer")
        uid = (await service.run(ME, "r")).uid
        bench.clock.advance(61.0)
        async with asyncio.timeout(HANG_LIMIT_S):
            while not await store.is_expired(ME, uid):  # the sweep has been there
                await asyncio.sleep(0)
        with pytest.raises(RunExpired):
            await service.run(ME, uid)
        assert "running" == (await service.run(ME, "longer")).view.state
    finally:
        await service.close()


async def test_late_output_of_a_removed_run_is_dropped_in_silence(
    bench: Bench, store: Store
) -> None:
    kernel = await bench.a_kernel()
    answer = await bench.run(kernel, "print x", "r")
    assert "finished" == answer.status
    uid = (await bench.service.run(ME, "r")).uid
    (sent,) = [one for one in bench.kernel.requests if one.msg_type == "execute_request"]
    await bench.service.delete_run(ME, "r")
    channel = bench.kernel.message_of(sent).channel.IOPUB
    content: Mapping[str, Json] = {"name": "stdout", "text": "late\n"}
    bench.kernel.tell(channel, "stream", content, bench.kernel.parent_of(sent))
    assert "finished" == (await bench.run(kernel, "print y", "next")).status
    assert [] == await store.records(uid, after=Seq(0), limit=10)
    assert [] == await store.find_runs(ME, uid)


async def test_a_reader_of_a_run_that_is_removed_hears_of_its_end(bench: Bench) -> None:
    info = await bench.submit("print x", run_id="r")
    await bench.over("r")
    live = bench.service._live[info.uid]
    waiting = asyncio.create_task(live.changed(60.0))
    await asyncio.sleep(0)
    await bench.service.delete_run(ME, "r")
    async with asyncio.timeout(HANG_LIMIT_S):
        await waiting


@pytest.mark.logs_error("does not take writes .*locked")
async def test_nothing_is_removed_while_the_store_takes_no_writes(
    bench: Bench, store: Store, tmp_path: Path
) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print x", "r")
    with locked(tmp_path):
        submitting = asyncio.create_task(bench.submit("print y", kernel_id=kernel))
        await bench.until(lambda: store.fault)
        with pytest.raises(StoreUnavailable):
            await bench.service.delete_run(ME, "r")
    await submitting
    assert "ok" == (await bench.service.run(ME, "r")).view.outcome


# -- readers that leave ----------------------------------------------------------------------------


async def test_a_reader_that_leaves_cancels_nothing_unless_the_run_asked_for_it(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    await bench.submit("sleep", run_id="r", kernel_id=kernel)
    await bench.until_state("r", "running")
    await bench.service.reader_left(ME, "r")
    bench.clock.advance(READER_GRACE_S)
    assert "running" == (await bench.service.run(ME, "r")).view.state
    bench.kernel.release()
    assert "ok" == (await bench.over("r")).view.outcome


async def test_the_last_reader_that_leaves_ends_a_run_that_asked_for_it(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", cancel_on_disconnect=True)
    await bench.until_state("r", "running")
    await bench.until_told("r", "StepChanged")
    (live,) = bench.service._live.values()
    last = live.told
    other = asyncio.create_task(bench.service.log(ME, "r", after=last, wait_s=60.0))
    await bench.until(lambda: live.readers)
    await bench.service.reader_left(ME, "r")
    bench.clock.advance(READER_GRACE_S)
    assert "running" == (await bench.service.run(ME, "r")).view.state  # another waits for more
    await bench.service.reader_left(ME, "r")
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    bench.clock.advance(READER_GRACE_S / 2)
    await bench.service.log(ME, "r", after=last)
    bench.clock.advance(READER_GRACE_S)
    assert "running" == (await bench.service.run(ME, "r")).view.state  # he came back in time
    await bench.service.reader_left(YOU, "r")
    bench.clock.advance(READER_GRACE_S)
    assert "running" == (await bench.service.run(ME, "r")).view.state
    await bench.service.reader_left(ME, "r")
    bench.clock.advance(READER_GRACE_S)
    end = await bench.over("r")
    assert end.view.reason is not None
    assert ("cancelled", "its last reader has gone") == (
        end.view.outcome,
        end.view.reason.message,
    )
    await bench.service.reader_left(ME, "r")
    await bench.service.delete_run(ME, "r")
    await bench.service.reader_left(ME, "r")


async def test_a_run_that_nobody_reads_for_too_long_ends(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", unread_s=60.0)
    await bench.until_state("r", "running")
    bench.clock.advance(59.0)
    await bench.service.log(ME, "r")
    bench.clock.advance(59.0)
    assert "running" == (await bench.service.run(ME, "r")).view.state  # it was read meanwhile
    bench.clock.advance(1.0)
    reason = (await bench.over("r")).view.reason
    assert reason is not None
    assert ("cancelled", "nobody has read its log for 60 s") == (reason.code, reason.message)


async def test_who_waits_for_the_next_record_is_a_reader_all_the_time(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", unread_s=60.0)
    await bench.until_state("r", "running")
    (live,) = bench.service._live.values()
    await bench.until_told("r", "StepChanged")
    waiting = asyncio.create_task(bench.service.log(ME, "r", after=live.told, wait_s=300.0))
    await bench.until(lambda: live.readers)
    bench.clock.advance(200.0)
    assert "running" == (await bench.service.run(ME, "r")).view.state
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bench.clock.advance(60.0)
    assert "cancelled" == (await bench.over("r")).view.outcome


async def test_who_reads_has_more_of_the_log_in_memory_and_no_longer_pages(bench: Bench) -> None:
    displays = "\n".join(["display text/plain " + "x" * 100] * 60)
    await bench.started(await bench.a_kernel(), f"sleep\n{displays}\nsleep", "r")
    (live,) = bench.service._live.values()
    live._tail_limit = 1000
    live.follow()
    bench.kernel.release()
    await bench.until(lambda: live.told > 60)
    assert 1000 < live._tail_chars <= 1000 * READ_TAILS
    seqs: list[Seq] = []
    while len(seqs) < live.told:
        page = (await bench.service.log(ME, "r", after=Seq(len(seqs)))).records
        in_memory = page[0].seq >= live._tail[0].seq
        assert not in_memory or len(page) <= 10
        seqs += [record.seq for record in page]
    assert list(range(1, live.told + 1)) == seqs
    live.unfollow()


async def test_a_run_that_is_over_needs_no_reader(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", unread_s=60.0)
    await bench.over("r")
    bench.clock.advance(60.0)
    assert "ok" == (await bench.service.run(ME, "r")).view.outcome


async def test_a_run_that_is_over_or_forgotten_has_no_timer_for_its_reader(bench: Bench) -> None:
    await bench.submit("print a", run_id="r", unread_s=60.0)
    await bench.over("r")
    await bench.submit("sleep", run_id="s", unread_s=60.0)
    over, forgotten = bench.service._live.values()
    assert over.unread is None
    bench.service._forget(forgotten)
    assert forgotten.unread is None


async def test_a_run_whose_log_the_store_has_refused_is_sealed(bench: Bench) -> None:
    await bench.submit("sleep", run_id="r", quiet_s=1.0)
    await bench.until_state("r", "running")
    (live,) = bench.service._live.values()
    waiting = asyncio.create_task(bench.service.log(ME, "r", after=live.log.next, wait_s=300.0))
    await bench.until(lambda: live.readers)
    live.refused(OurFault("a blob is too large"))
    assert (await waiting).sealed
    page = await bench.service.log(ME, "r", after=live.told)
    assert (True, True) == (page.finished, page.sealed)


# -- its kernel ------------------------------------------------------------------------------------


class TestAKernelThatPrintsAtItsStart:
    @pytest.fixture
    def behaviour(self) -> FakeBehaviour:
        return FakeBehaviour(setup="hello\n")

    async def test_has_its_output_apart_from_runs_also_after_its_death(self, bench: Bench) -> None:
        kernel = await bench.a_kernel()
        await bench.run(kernel, "setup more\nprint x", "r")
        told = await bench.service.kernel_output(ME, kernel)
        assert ("hello\nmore\n", 0, 1) == (told.text, told.dropped, told.generation)
        assert "hello" not in repr(await bench.records("r"))
        session = bench.service._sessions.of(ME, kernel)
        session.kernel.retire()
        await bench.until_kernel(kernel, "dead")
        assert told == await bench.service.kernel_output(ME, kernel)
        await bench.service.restart_kernel(ME, kernel)
        again = await bench.service.kernel_output(ME, kernel)
        assert ("hello\n", 2) == (again.text, again.generation)
        with pytest.raises(KernelNotFound):
            await bench.service.kernel_output(YOU, kernel)


async def test_a_kernel_is_asked_how_it_is_and_by_its_own_check(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    told = await bench.service.kernel_health(ME, kernel)
    assert (Vitality.HEALTHY, None) == (told.status, told.check)
    bench.kernel.expressions = {"well()": "True", "ill()": "False"}
    told = await bench.service.set_health_check(ME, kernel, "well()")
    assert (Vitality.HEALTHY, HealthCheck(ok=True)) == (told.status, told.check)
    told = await bench.service.set_health_check(ME, kernel, "ill()")
    assert Vitality.UNHEALTHY == told.status
    assert Vitality.UNHEALTHY == (await bench.service.kernel_health(ME, kernel)).status
    assert None is (await bench.service.set_health_check(ME, kernel, None)).check
    with pytest.raises(KernelNotFound):
        await bench.service.kernel_health(YOU, kernel)
    with pytest.raises(KernelNotFound):
        await bench.service.set_health_check(YOU, kernel, "well()")


async def test_a_kernelspec_may_bring_a_check_and_may_be_gone(bench: Bench) -> None:
    metadata = {"kernel_gateway": {"health_check": "well()"}}
    spec = bench.launcher.kernelspec("python3")
    with_check = replace(spec, spec={**spec.spec, "metadata": metadata})
    bench.launcher.kernelspec = lambda name: with_check  # type: ignore[method-assign]
    kernel, other = await bench.a_kernel(), await bench.a_kernel()
    for one in bench.launcher.kernels:
        one.expressions = {"well()": "True"}
    assert HealthCheck(ok=True) == (await bench.service.kernel_health(ME, kernel)).check
    bench.launcher._specs = ()
    del bench.launcher.kernelspec
    told = await bench.service.kernel_health(ME, other)
    assert (Vitality.HEALTHY, None) == (told.status, told.check)


async def test_a_question_that_is_open_when_the_kernel_is_deleted_is_answered(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    await bench.service.kernel_health(ME, kernel)
    bench.kernel.freeze()
    asking = asyncio.create_task(bench.service.kernel_health(ME, kernel))
    await asyncio.sleep(0)
    await bench.service.delete_kernel(ME, kernel)
    assert Vitality.DEAD == (await asking).status


def test_a_kernel_that_was_killed_for_want_of_memory_says_so() -> None:
    killed = KernelExit(signal="SIGKILL", out_of_memory=True)
    assert ("out_of_memory", "SIGKILL") == (reason_of(killed).code, reason_of(killed).signal)
    never = replace(killed, start_fault="It was killed.")
    assert "kernel_start_failed" == reason_of(never).code


# -- the gateway as a whole ------------------------------------------------------------------------


@pytest.mark.logs_error("does not take writes .*locked")
async def test_the_gateway_says_whether_it_takes_something_new(
    bench: Bench, store: Store, tmp_path: Path
) -> None:
    ready = bench.service.readiness()
    assert Readiness(draining=False, store_fault=None, kernels=0, warm=0, runs=0) == ready
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep", "r")
    with locked(tmp_path):
        submitting = asyncio.create_task(bench.submit("print y", kernel_id=kernel))
        await bench.until(lambda: store.fault)
        found = bench.service.readiness()
        assert (False, 1, 2) == (found.ready, found.kernels, found.runs)
        assert found.store_fault is not None
    await submitting
    bench.kernel.release()
    await bench.service.idle()
    assert bench.service.readiness().ready
    bench.service.drain()
    assert not bench.service.readiness().ready


# -- webhooks --------------------------------------------------------------------------------------


class Receiver:
    """Takes all that is sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.bodies.append(body)
        return Answer(status=200)


def _rendered(info: RunInfo, record: Record) -> Mapping[str, Json]:
    return {"kind": record.body.kind, "seq": record.seq}


async def test_a_webhook_is_told_of_its_run_and_the_run_of_its_deliveries(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    settings = replace(engine_settings, webhooks=WebhookSettings(allowed_hosts=("hook",)))
    receiver = Receiver()
    service = LocalService(
        bench.launcher, store, settings, clock=bench.clock, sender=receiver, render=_rendered
    )
    await service.start()
    other = Bench(service, bench.launcher, bench.clock)
    hook = Webhook(url="http://hook/x", events=(WebhookEvent.COMPLETED,), secret="s")
    made = await other.submit("print x", run_id="r", webhook=hook)
    assert WebhookView(url=hook.url, events=hook.events) == made.webhook
    await other.over("r")
    async with asyncio.timeout(10):
        while not (found := (await service.run(ME, "r")).webhook) or not found.deliveries:
            await asyncio.sleep(0)
    with pytest.raises(InvalidField, match=r"webhook\.url"):
        await other.submit("print x", webhook=replace(hook, url="http://127.0.0.1/"))
    await service.close()
    assert 1 == len(receiver.bodies)
    assert b'"completed"' in receiver.bodies[0]
    later = LocalService(bench.launcher, store, settings, clock=bench.clock)
    told = (await later.run(ME, "r")).webhook
    assert told is not None
    assert [(200, 1)] == [(one.status, one.attempt) for one in told.deliveries]


async def test_without_a_sender_no_webhook_is_taken(bench: Bench) -> None:
    with pytest.raises(InvalidField, match="webhook"):
        await bench.submit("print x", webhook=Webhook(url="http://example.com/"))
