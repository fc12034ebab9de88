"""What every store does, on a real database. Each database is a parameter of `store`.

At the end of each test the files are looked at from outside: no hole, no stray, nothing readable by
others (`Outside.check`).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.dialects import sqlite

from kernel_gateway.errors import OurFault
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import (
    BODIES as KINDS,
)
from kernel_gateway.runs.records import (
    ArtifactAdded,
    ArtifactKind,
    Cleared,
    Comm,
    Completed,
    Dropped,
    ErrorRaised,
    InputAnswered,
    InputAsked,
    KernelEvent,
    KernelIntroduced,
    LogText,
    Metric,
    Output,
    PhaseFinished,
    Reason,
    Record,
    Seq,
    Spilled,
    StateChanged,
    StepChanged,
    Updated,
)
from kernel_gateway.runs.state import RunState
from kernel_gateway.service import Owner, RunId, RunUid, WebhookEvent
from kernel_gateway.store import statements
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from kernel_gateway.store.values import (
    AppendRecords,
    DeleteNotebookSession,
    DeleteRun,
    PendingWebhook,
    PutDeliveries,
    PutKey,
    PutNotebookSession,
    PutRun,
    PutSession,
    RunFilter,
    StoredKey,
    StoredNotebookSession,
    StoredRun,
    StoredSession,
)
from tests.shared.store import (
    ME,
    Gatherer,
    Outside,
    a_blob,
    a_delivery,
    a_run,
    a_webhook,
    all_records,
    an_artifact,
    append,
    finished,
    record,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Select

    from kernel_gateway.runs.artifacts import Blob
    from kernel_gateway.runs.records import Body

pytestmark = pytest.mark.usefixtures("no_blocking_call")

YOU = Owner("you")


@pytest.fixture
def settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(folder=tmp_path / "state", expired_s=100.0)


@pytest.fixture(params=["sqlite"])
async def store(settings: StoreSettings) -> AsyncIterator[Store]:
    opened = await Store.open(settings)
    yield opened
    await opened.close()
    Outside(settings.folder).check()


@pytest.fixture
def outside(settings: StoreSettings) -> Outside:
    return Outside(settings.folder)


def as_stored(
    run: StoredRun, *, log_next: int, log_bytes: int = 0, log_dropped: int = 0
) -> StoredRun:
    return replace(run, log_next=Seq(log_next), log_bytes=log_bytes, log_dropped=log_dropped)


# -- runs ----------------------------------------------------------------------------------------


async def test_a_run_comes_back_as_it_was(store: Store) -> None:
    run = a_run(
        "report 7/../é",
        plan=RunPlan(
            mode=Mode.BATCH, steps=(StepPlan(code="make\0\n", phase="build"),), grace_s=0.5
        ),
        generation=None,
    )
    await store.write(PutRun(run))
    assert run == await store.find_run(ME, "kernel-1", run.run_id)


async def test_what_a_run_brings_along_comes_back_as_it_was(store: Store) -> None:
    plan = RunPlan(
        mode=Mode.NOTEBOOK,
        steps=(),
        context={"": "\0", "traceparent": "00-\u00e9"},
        document='{"cells": []}',
        cancel_on_disconnect=True,
    )
    run = a_run(
        session="",
        kernel_id="kernel-of-its-own",
        plan=plan,
        labels={"team/a": "", "night": "2026-11-21", "\u00e9": "\u2028"},
        webhook=a_webhook(),
        artifacts=(an_artifact(), an_artifact("x", kind=ArtifactKind.OVERSIZED, preview="<")),
    )
    run = replace(run, view=replace(run.view, metrics={"loss": {"train": [0.5, None]}, "n": 3}))
    await store.write(PutRun(run))
    assert run == await store.find_run(ME, "", run.run_id)
    assert [run] == await store.list_runs(ME, RunFilter(kernel_id="kernel-of-its-own"))
    assert [run] == await store.unfinished()
    plain = a_run(webhook=a_webhook(secret=None, trace=(), events=tuple(WebhookEvent)))
    await store.write(PutRun(plain))
    assert plain == await store.find_run(ME, "kernel-1", plain.run_id)


async def test_long_code_is_read_where_it_is_asked_for_alone(store: Store) -> None:
    """A page of runs can have as much of it as the memory."""
    steps = (StepPlan(code="x = 1\n" * 10_000, name="first"), StepPlan(code="", name="second"))
    plan = RunPlan(mode=Mode.NOTEBOOK, steps=steps, document="{}", context={"a": "b"})
    run = a_run(plan=plan)
    await store.write(PutRun(run))
    outlined = replace(run, plan=plan.without_code())
    assert [outlined] == await store.list_runs(ME)
    assert outlined == await store.find_run(ME, "kernel-1", run.run_id)
    assert plan == await store.plan(run.uid)
    assert await store.plan(RunUid("nobody")) is None


async def test_a_later_put_replaces_what_changes(store: Store) -> None:
    run = a_run()
    await store.write(PutRun(run))
    ended = replace(
        finished(run, expires_at=50.5),
        generation=2,
        kernel_name="bash",
        artifacts=(an_artifact(),),
    )
    await store.write(PutRun(ended))
    assert [ended] == await store.list_runs(ME)
    await store.write(PutRun(replace(ended, artifacts=())))
    assert [replace(ended, artifacts=())] == await store.list_runs(ME)


async def test_a_later_put_leaves_what_is_written_once(store: Store) -> None:
    run = a_run(labels={"a": "1"}, webhook=a_webhook())
    await store.write(PutRun(run))
    await store.write(PutRun(replace(run, labels={"b": "2"}, webhook=None, kernel_id="other")))
    assert [run] == await store.list_runs(ME, RunFilter(labels=(("a", "1"),)))
    assert [] == await store.list_runs(ME, RunFilter(labels=(("b", "2"),)))


async def test_ids_of_runs_on_kernels_of_their_own_share_one_scope(store: Store) -> None:
    lone, addressed = a_run("a", session="", kernel_id="k1"), a_run(uid="u2", run_id="a")
    await store.write(PutRun(lone), PutRun(addressed))
    assert lone == await store.find_run(ME, "", RunId("a"))
    assert addressed == await store.find_run(ME, "kernel-1", RunId("a"))
    assert None is await store.find_run(YOU, "", RunId("a"))
    assert [addressed, lone] == await store.find_runs(ME, "a")


async def test_a_run_is_found_in_its_session_alone(store: Store) -> None:
    run = a_run("a", session="kernel-1")
    await store.write(PutRun(run))
    assert None is await store.find_run(ME, "kernel-2", RunId("a"))
    assert None is await store.find_run(ME, "kernel-1", RunId("b"))


async def test_a_run_of_somebody_else_does_not_exist(store: Store) -> None:
    run = a_run("a")
    await store.write(PutRun(run))
    assert None is await store.find_run(YOU, "kernel-1", RunId("a"))
    assert [] == await store.find_runs(YOU, "a")
    assert [] == await store.find_runs(YOU, run.uid)
    assert [] == await store.list_runs(YOU)
    await store.write(DeleteRun(run.uid))
    assert not await store.is_expired(YOU, "a")


async def test_one_id_in_two_sessions_is_found_twice_and_settled_by_the_uid(store: Store) -> None:
    one, two = (a_run(uid=uid, run_id="a", session=uid) for uid in ("one", "two"))
    await store.write(PutRun(one), PutRun(two))
    assert [two, one] == await store.find_runs(ME, "a")
    assert [one] == await store.find_runs(ME, "one")


async def test_a_uid_goes_before_a_run_id_that_looks_like_it(store: Store) -> None:
    run, joker = a_run(uid="u1"), a_run(run_id="u1")
    await store.write(PutRun(run), PutRun(joker))
    assert [run] == await store.find_runs(ME, "u1")


async def test_an_id_that_was_used_anew_means_the_newest_run(store: Store) -> None:
    old, new = a_run(uid="old", run_id="a"), a_run(uid="new", run_id="a")
    await store.write(PutRun(finished(old, expires_at=9.0)))
    await store.write(PutRun(new))
    await store.write(PutRun(finished(old, expires_at=10.0)))
    assert new == await store.find_run(ME, "kernel-1", RunId("a"))
    assert [new] == await store.find_runs(ME, "a")
    assert 2 == len(await store.list_runs(ME))


async def test_what_is_unfinished_is_found_whoever_owns_it_oldest_first(store: Store) -> None:
    states = [state for state in RunState if state is not RunState.FINISHED]
    runs = [a_run(state=state, owner=f"owner of {state}") for state in states]
    await store.write(*map(PutRun, [*runs, a_run(state=RunState.FINISHED)]))
    assert runs == await store.unfinished()


async def test_runs_are_listed_newest_first(store: Store) -> None:
    runs = [a_run(f"r{number}", kernel_id=f"k{number % 2}") for number in range(6)]
    await store.write(*map(PutRun, runs))
    await store.write(PutRun(runs[0]))  # a change makes it no newer
    assert ["r5", "r4", "r3", "r2", "r1", "r0"] == [run.run_id for run in await store.list_runs(ME)]
    assert ["r5", "r4"] == [run.run_id for run in await store.list_runs(ME, limit=2)]
    of_kernel = await store.list_runs(ME, RunFilter(kernel_id="k0"), limit=2)
    assert ["r4", "r2"] == [run.run_id for run in of_kernel]


async def test_a_list_goes_on_behind_the_last_run_of_the_page_before(store: Store) -> None:
    """Whenever they were stored; those of one moment by their uids."""
    times = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 2.0, "e": 0.1 + 0.2}
    runs = {name: a_run(name) for name in times}
    views = {name: replace(run.view, created_at=times[name]) for name, run in runs.items()}
    await store.write(*(PutRun(replace(runs[name], view=views[name])) for name in runs))
    told: list[str] = []
    before = None
    while page := await store.list_runs(ME, RunFilter(before=before), limit=2):
        told.extend(run.run_id for run in page)
        before = page[-1].view.created_at, page[-1].uid
    assert ["b", "d", "c", "a", "e"] == told


async def test_runs_are_listed_by_how_they_stand(store: Store) -> None:
    running, over = a_run("running"), a_run("over", kernel_id="k2", state=RunState.FINISHED)
    await store.write(PutRun(running), PutRun(over))
    for wanted, expected in (
        (RunFilter(finished=False), [running]),
        (RunFilter(finished=True), [over]),
        (RunFilter(outcome="ok"), [over]),
        (RunFilter(outcome="lost"), []),
        (RunFilter(outcome="ok", kernel_id="k2"), [over]),
        (RunFilter(outcome="ok", kernel_id="kernel-1"), []),
    ):
        assert expected == await store.list_runs(ME, wanted)
    await store.write(PutRun(finished(running, expires_at=9.0)))
    found = await store.list_runs(ME, RunFilter(outcome="ok"))
    assert {"running", "over"} == {run.run_id for run in found}


LABELS: list[tuple[list[tuple[str, str | None]], str]] = [
    ([("a", "1")], "three one"),
    ([("a", None)], "three two one"),
    ([("a", "1"), ("b", "1")], "one"),
    ([("a", "1"), ("b", None)], "one"),
    ([("b", None), ("a", None)], "two one"),
    ([("b", None), ("b", "1"), ("a", "1"), ("a", "1")], "one"),
    ([("a", "1"), ("a", "2")], ""),
    ([("a", "")], ""),
    ([("1", "a")], ""),
    ([("\ud800", "\udfff"), ("a", None)], "two"),
]


@pytest.mark.parametrize(("asked", "expected"), LABELS, ids=str)
async def test_runs_are_listed_by_their_labels(
    store: Store, asked: list[tuple[str, str | None]], expected: str
) -> None:
    """All of them, with or without a value, in the order of every list."""
    runs = [
        a_run("one", labels={"a": "1", "b": "1"}),
        a_run("two", labels={"a": "2", "b": "2", "\ud800": "\udfff"}),
        a_run("none"),
        a_run("three", labels={"a": "1"}),
        a_run("yours", owner=YOU, labels={"a": "1", "b": "1", "\ud800": "\udfff"}),
    ]
    for at, run in enumerate(runs):
        await store.write(PutRun(replace(run, view=replace(run.view, created_at=float(at)))))
    found = await store.list_runs(ME, RunFilter(labels=tuple(asked)))
    assert expected == " ".join(run.run_id for run in found)


async def test_a_list_by_labels_goes_on_as_others_and_takes_other_conditions(store: Store) -> None:
    for number in range(9):
        state = RunState.FINISHED if number % 2 else RunState.RUNNING
        run = a_run(f"l{number}", state=state, labels={"all": "1", "third": str(number % 3)})
        view = replace(run.view, created_at=float(number // 4))
        await store.write(PutRun(replace(run, view=view)))
    told: list[str] = []
    before = None
    while page := await store.list_runs(
        ME, RunFilter(labels=(("all", None),), before=before), limit=4
    ):
        told.extend(run.run_id for run in page)
        before = page[-1].view.created_at, page[-1].uid
    assert [f"l{number}" for number in reversed(range(9))] == told
    wanted = RunFilter(labels=(("third", "0"),), finished=False, kernel_id="kernel-1")
    assert ["l6", "l0"] == [run.run_id for run in await store.list_runs(ME, wanted)]


@pytest.mark.parametrize("with_values", [(), (True,), (False,), (True, True, False)], ids=str)
@pytest.mark.parametrize("given", ["", "created_at", "kernel_id created_at", "finished"])
async def test_no_list_of_runs_is_sorted(
    store: Store, outside: Outside, given: str, with_values: tuple[bool, ...]
) -> None:
    """But for those of one moment: a page is as cheap as it is short."""
    statement = statements.list_runs(frozenset(given.split()), with_values)
    steps = _query_plan(outside, statement)
    table = "labels" if with_values else "runs"
    assert f"ix_{table}_owner" in steps[0], steps
    assert [] == [step for step in steps if "TEMP B-TREE FOR ORDER" in step or "SCAN" in step]


async def test_no_question_at_the_start_looks_at_every_run(store: Store, outside: Outside) -> None:
    for statement, index in (
        (statements.UNFINISHED_RUNS, "ix_runs_unfinished"),
        (statements.PENDING_WEBHOOKS, "ix_webhooks_pending"),
    ):
        scans = [step for step in _query_plan(outside, statement) if "SCAN" in step]
        assert [] == [step for step in scans if index not in step]


def _query_plan(outside: Outside, statement: Select[tuple[object, ...]]) -> list[str]:
    compiled = statement.compile(dialect=sqlite.dialect())
    values = (0 for _ in compiled.positiontup or ())
    return [step for *_, step in outside.rows(f"EXPLAIN QUERY PLAN {compiled}", *values)]


# -- webhooks ------------------------------------------------------------------------------------


async def test_what_is_left_to_be_told_is_found_oldest_first_whoever_owns_it(store: Store) -> None:
    runs = [a_run(webhook=a_webhook(), owner=f"owner {number}") for number in range(3)]
    await store.write(*map(PutRun, [a_run(), *runs]))
    runs[0] = finished(runs[0], expires_at=9.0)
    await store.write(PutRun(runs[0]))
    pending = [PendingWebhook(run=run, told=Seq(0)) for run in runs]
    assert pending == await store.pending_webhooks()


async def test_deliveries_are_kept_until_nothing_more_is_to_be_told(store: Store) -> None:
    run = a_run(webhook=a_webhook())
    await store.write(PutRun(run))
    tries = [a_delivery(1), a_delivery(2, status=200, error="")]
    await store.write(PutDeliveries(run.uid, Seq(3), False, tries))
    told = replace(run, deliveries=tuple(tries))
    assert [told] == await store.find_runs(ME, run.uid)
    assert [PendingWebhook(run=told, told=Seq(3))] == await store.pending_webhooks()
    # What a put says of them is no news.
    await store.write(PutRun(replace(run, deliveries=(a_delivery(7),))))
    assert [PendingWebhook(run=told, told=Seq(3))] == await store.pending_webhooks()
    await store.write(PutDeliveries(run.uid, Seq(9), True, []))
    assert [] == await store.pending_webhooks()
    assert [run] == await store.find_runs(ME, run.uid)


async def test_deliveries_of_a_deleted_run_are_discarded(store: Store, outside: Outside) -> None:
    run = a_run(webhook=a_webhook(), labels={"a": "1"})
    await store.write(PutRun(run))
    await store.write(DeleteRun(run.uid))
    await store.write(PutDeliveries(run.uid, Seq(1), False, [a_delivery()]))
    assert [] == await store.pending_webhooks()
    assert (0, 0) == (outside.count("webhooks"), outside.count("labels"))


@pytest.mark.logs_error("dropped: deliveries of run uid-[ab] cannot be stored: .*no webhook")
@pytest.mark.parametrize("name", ["a", "b"])
async def test_deliveries_of_no_webhook_are_a_mistake(store: Store, name: str) -> None:
    await store.write(PutRun(a_run("a")))
    with pytest.raises(OurFault, match="no webhook"):
        await store.write(PutDeliveries(RunUid(f"uid-{name}"), Seq(1), False, []))


# -- logs ----------------------------------------------------------------------------------------

REASON = Reason(code="kernel_died", message="gone", signal="SIGKILL")
SPILLED = Spilled(artifact="1-0", size=9, digest="sha256:00", preview="x")
BODIES: list[Body] = [
    StateChanged(state="finished", outcome="lost", reason=REASON),
    StepChanged(state="running"),
    LogText(stream="stdout", text="\0\r\x1b[31mé\U0001f600\u2028"),
    LogText(stream="stderr", text="late", late=True),
    Output(
        index=0,
        output_type="display_data",
        data={"text/plain": "x", "application/json": {"a": [1, 2.5, None, True, ""]}},
        metadata={"": {}},
        display_id="d",
        spilled={"image/png": SPILLED},
        late=True,
    ),
    Output(index=1, output_type="execute_result", data={}, metadata={}, execution_count=7),
    Updated(display_id="d", data={"text/plain": "y"}, metadata={}),
    Cleared(wait=False),
    ErrorRaised(ename="E", evalue="", traceback=("\x1b[0m", "b")),
    Comm(
        what="msg",
        comm_id="c",
        data={"method": "update", "state": {"a": None}, "buffer_paths": [["b"], ["c"]]},
        buffers=("AAE=", ""),
        spilled={"/buffers/1": SPILLED},
        late=True,
    ),
    Metric(name="loss.train", value=[0.5, None, {"a": "b"}], mode="append"),
    ArtifactAdded(artifact=an_artifact(preview="x"), late=True),
    InputAsked(prompt_id=1, prompt="name?", password=False),
    InputAnswered(prompt_id=1),
    PhaseFinished(phase="clean", exit_code=0),
    KernelEvent(what="died"),
    KernelIntroduced(
        name="python3",
        implementation="ipython",
        version="9.2.0",
        language_info={"name": "python", "codemirror_mode": {"version": 3}},
    ),
    Dropped(why="log_limit", bytes=10**12),
    Completed(outcome="lost", reason=REASON, exit_code=137),
]


async def test_records_of_all_kinds_come_back_as_they_were_and_in_order(store: Store) -> None:
    run = a_run()
    log = [record(seq, body) for seq, body in enumerate(BODIES, 1)]
    log[1] = replace(log[1], step=None)
    await store.write(PutRun(run), append(run, *log))
    assert log == await all_records(store, run)


@pytest.mark.parametrize("count", [1, 2, 3, 511, 512, 513, 1027])
async def test_a_batch_has_as_many_records_as_it_likes(store: Store, count: int) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, *texts(1, count)))
    assert texts(1, count) == await all_records(store, run)


async def test_reading_goes_on_behind_the_cursor(store: Store) -> None:
    run = a_run()
    log = texts(1, 10)
    await store.write(PutRun(run), append(run, *log))
    assert log[3:6] == await store.records(run.uid, after=Seq(3), limit=3)
    assert log[8:] == await store.records(run.uid, after=Seq(8), limit=3)
    assert [] == await store.records(run.uid, after=Seq(10), limit=3)
    assert log[7:] == await store.last_records(run.uid, limit=3)


async def test_a_page_ends_before_it_is_too_much_but_never_empty(store: Store) -> None:
    run = a_run()
    image = Output(index=0, output_type="display_data", data={"image/png": "i" * 5000}, metadata={})
    log = [text(1, "a" * 600), text(2, "b" * 400), text(3, "c"), record(4, image), text(5, "d")]
    await store.write(PutRun(run), append(run, *log))

    async def page(after: int) -> list[int]:
        found = await store.records(run.uid, after=Seq(after), limit=100, limit_chars=1000)
        return [item.seq for item in found]

    assert [1, 2] == await page(0)
    assert [2, 3] == await page(1)
    assert [4] == await page(3)
    assert [5] == await page(4)


async def test_logs_do_not_mix(store: Store) -> None:
    one, two = a_run(), a_run()
    await store.write(PutRun(one), PutRun(two))
    await store.write(append(one, text(1, "one")), append(two, text(1, "two")))
    await store.write(append(one, text(2, "one")))
    assert ["one", "one"] == [
        getattr(item.body, "text", None) for item in await all_records(store, one)
    ]
    assert [text(1, "two")] == await all_records(store, two)


async def test_an_unknown_run_has_no_records(store: Store) -> None:
    assert [] == await store.records(RunUid("none"), after=Seq(0), limit=1)
    assert None is await store.blob(RunUid("none"), "1-0")


async def test_the_measures_of_a_log_are_those_of_what_is_stored(store: Store) -> None:
    run = a_run()
    source = Gatherer(PutRun(run), append(run, *texts(1, 3), size=15, lost=2))
    store.enlist(source)
    await source.until_told()
    assert [as_stored(run, log_next=4, log_bytes=15, log_dropped=2)] == await store.list_runs(ME)
    # What a put says of them is no news.
    await store.write(PutRun(replace(run, log_next=Seq(99), log_bytes=99, log_dropped=99)))
    await store.write(append(run, size=15, lost=900))
    assert [as_stored(run, log_next=4, log_bytes=15, log_dropped=900)] == await store.list_runs(ME)


async def test_what_a_source_gives_later_follows_on_what_it_gave(store: Store) -> None:
    run = a_run()
    await store.write(PutRun(run))
    source = Gatherer()
    for times in range(1, 20):
        source.pending.append(append(run, text(times), size=5 * times))
        store.enlist(source)
        await source.until_told(times)
        assert times == len(await all_records(store, run)), "told after the commit"


async def test_a_flood_is_stored_completely(store: Store) -> None:
    run = a_run()
    await store.write(PutRun(run))
    source = Gatherer()
    for first in range(1, 20_001, 100):
        source.pending.append(append(run, *texts(first, first + 99)))
        store.enlist(source)
        await asyncio.sleep(0)  # a turn of the loop, so that it comes in several commits
    await store.write()
    assert len(source.takes) > 1
    assert texts(1, 20_000) == await all_records(store, run)


# -- spill files ---------------------------------------------------------------------------------


async def test_a_spilled_value_comes_back_whole(store: Store, outside: Outside) -> None:
    run = a_run(uid="abcdef")
    big = bytes(range(256)) * 4096
    await store.write(
        PutRun(run), append(run, text(1), blobs=[a_blob("1-0", big), a_blob("1-1", b"")])
    )
    assert big == await store.blob(run.uid, "1-0")
    assert b"" == await store.blob(run.uid, "1-1")
    assert ["ab", "ab/abcdef", "ab/abcdef/1-0", "ab/abcdef/1-1"] == outside.files()


async def test_a_value_can_be_stored_durably(settings: StoreSettings, outside: Outside) -> None:
    run = a_run()
    store = await Store.open(replace(settings, durability="full"))
    await store.write(PutRun(run), append(run, text(1), blobs=[a_blob()]))
    assert a_blob().data == await store.blob(run.uid, "1-0")
    await store.close()
    outside.check()


@pytest.mark.parametrize("name", ["..", "../../lock", "1-0/..", "", "a\0b", "1-0\n", "x" * 300])
async def test_a_name_that_is_not_ours_is_no_path(store: Store, name: str) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, text(1), blobs=[a_blob()]))
    assert None is await store.blob(run.uid, name)


@pytest.mark.logs_error("dropped: .*not a name of ours")
@pytest.mark.parametrize(("uid", "artifact"), [("../up", "1-0"), ("uid", "../1-0"), ("uid", ".x")])
async def test_nothing_is_written_under_a_name_that_is_not_ours(
    store: Store, outside: Outside, uid: str, artifact: str
) -> None:
    run = a_run(uid=uid)
    with pytest.raises(OurFault, match="not a name of ours"):
        await store.write(PutRun(run), append(run, text(1), blobs=[a_blob(artifact)]))
    assert [] == outside.files()
    assert [] == await store.list_runs(ME)


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.logs_error("dropped: ")
@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ([5], "record 5 comes where 4 is next"),
        ([3], "record 3 comes where 4 is next"),
        ([1, 2, 3], "record 1 comes where 4 is next"),
        ([4, 6], "record 6 comes where 5 is next"),
        ([4, 4], "record 4 comes where 5 is next"),
    ],
)
async def test_a_log_has_no_hole_and_nothing_twice(
    store: Store, numbers: list[int], why: str
) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, *texts(1, 3)))
    with pytest.raises(OurFault, match=why):
        await store.write(append(run, *map(text, numbers)))
    assert texts(1, 3) == await all_records(store, run)
    await store.write(append(run, text(4)))


@pytest.mark.logs_error("dropped: 2 records of run nobody cannot be stored: .*never put")
async def test_a_mistake_costs_its_own_unit_and_nobody_elses(store: Store) -> None:
    good, bad = a_run(), a_run(uid="nobody")
    before, wrong, after = (
        Gatherer(PutRun(good), append(good, text(1))),
        Gatherer(append(bad, *texts(1, 2))),
        Gatherer(append(good, text(2))),
    )
    for source in (before, wrong, after):
        store.enlist(source)
    await after.until_told()
    assert ["stored"] == before.told == after.told
    (fault,) = wrong.told
    assert isinstance(fault, OurFault)
    assert texts(1, 2) == await all_records(store, good)
    assert None is store.fault


@pytest.mark.logs_error("dropped: run uid-a, 1 records of run uid-a cannot be stored")
async def test_a_unit_is_stored_as_one_or_not_at_all(store: Store) -> None:
    run = a_run("a")
    with pytest.raises(OurFault):
        await store.write(PutRun(run), append(run, text(7)))
    assert [] == await store.list_runs(ME)


@pytest.mark.logs_error("dropped")
async def test_a_value_that_no_column_takes_is_a_mistake(store: Store) -> None:
    with pytest.raises(OurFault):
        await store.write(PutRun(a_run(run_id="\ud800")))
    with pytest.raises(OurFault):
        await store.write(PutRun(a_run(generation=2**70)))


# -- removal -------------------------------------------------------------------------------------


async def test_a_deleted_run_leaves_nothing(store: Store, outside: Outside) -> None:
    run, other = (
        a_run(uid=uid, labels={"a": "1", "b": ""}, webhook=a_webhook()) for uid in ("abc", "abd")
    )
    for each in (run, other):
        await store.write(PutRun(each), append(each, *texts(1, 1000), blobs=[a_blob()]))
    await store.write(DeleteRun(run.uid))
    assert [other.uid] == [each.uid for each in await store.list_runs(ME)]
    assert [] == await all_records(store, run)
    assert None is await store.blob(run.uid, "1-0")
    await store.sweep(0.0)
    assert (1, 1, 1, 1000) == tuple(map(outside.count, ("runs", "plans", "logs", "records")))
    assert (2, 1) == tuple(map(outside.count, ("labels", "webhooks")))
    assert ["ab", "ab/abd", "ab/abd/1-0"] == outside.files()
    await store.write(DeleteRun(other.uid))
    await store.sweep(0.0)
    tables = ("runs", "plans", "logs", "records", "labels", "webhooks")
    assert [0] * 6 == list(map(outside.count, tables))
    assert [] == outside.files()


async def test_deleting_twice_is_harmless(store: Store) -> None:
    run = a_run()
    await store.write(PutRun(run))
    await store.write(DeleteRun(run.uid), DeleteRun(run.uid))
    await store.write(DeleteRun(run.uid), DeleteRun(RunUid("none")))
    assert [] == await store.list_runs(ME)


async def test_what_comes_for_a_deleted_run_is_discarded(store: Store, outside: Outside) -> None:
    run = a_run()
    await store.write(PutRun(run), append(run, text(1)))
    await store.write(DeleteRun(run.uid))
    await store.write(append(run, text(2), blobs=[a_blob()]), PutRun(run))
    await store.sweep(0.0)
    assert [] == await store.list_runs(ME)
    assert (0, 0) == (outside.count("runs"), outside.count("records"))
    assert [] == outside.files()


async def test_a_deleted_run_is_expired_until_its_retention_would_have_ended(store: Store) -> None:
    run = finished(a_run("a"), expires_at=1000.0)
    await store.write(PutRun(run))
    assert not await store.is_expired(ME, "a")
    await store.write(DeleteRun(run.uid))
    assert await store.is_expired(ME, "a")
    assert await store.is_expired(ME, run.uid)
    assert not await store.is_expired(ME, "b")
    await store.sweep(999.0)
    assert await store.is_expired(ME, "a")
    await store.sweep(1000.0)
    assert not await store.is_expired(ME, "a")


async def test_an_id_is_expired_in_the_scope_of_its_run(store: Store) -> None:
    runs = [a_run(uid=f"u{scope}", run_id="a", session=scope) for scope in ("", "s1")]
    await store.write(*(PutRun(finished(run, expires_at=1000.0)) for run in runs))
    await store.write(DeleteRun(runs[0].uid))
    assert await store.is_expired(ME, "a")
    assert await store.is_expired(ME, "a", session="")
    assert await store.is_expired(ME, "u", session="")
    assert not await store.is_expired(ME, "a", session="s1")
    assert not await store.is_expired(YOU, "a", session="")
    await store.write(DeleteRun(runs[1].uid))
    assert await store.is_expired(ME, "a", session="s1")
    assert not await store.is_expired(ME, "u", session="s1")
    assert not await store.is_expired(ME, "a", session="s2")


async def test_a_sweep_removes_what_is_over_and_nothing_else(
    store: Store, outside: Outside
) -> None:
    over = [finished(a_run(), expires_at=float(end)) for end in range(1, 5)]
    kept = [finished(a_run(), expires_at=5.0), a_run()]
    for run in [*over, *kept]:
        await store.write(PutRun(run), append(run, text(1), blobs=[a_blob()]))
    assert 4 == await store.sweep(4.5)
    assert {run.uid for run in kept} == {run.uid for run in await store.list_runs(ME)}
    assert 2 == outside.count("records")
    assert 2 == len([name for name in outside.files() if name.endswith("1-0")])
    assert all([await store.is_expired(ME, run.uid) for run in over])
    assert 0 == await store.sweep(4.5)


async def test_an_expired_id_is_forgotten_after_a_while(store: Store) -> None:
    run = finished(a_run("a"), expires_at=10.0)
    await store.write(PutRun(run))
    assert 1 == await store.sweep(10.0)
    await store.sweep(109.0)
    assert await store.is_expired(ME, "a")
    await store.sweep(110.0)
    assert not await store.is_expired(ME, "a")


async def test_an_expired_id_can_be_used_anew(store: Store) -> None:
    old = finished(a_run(uid="old", run_id="a"), expires_at=10.0)
    await store.write(PutRun(old), append(old, *texts(1, 3)))
    await store.sweep(10.0)
    new = a_run(uid="new", run_id="a")
    await store.write(PutRun(new), append(new, text(1, "new")))
    assert [as_stored(new, log_next=2)] == await store.find_runs(ME, "a")
    assert [text(1, "new")] == await all_records(store, new)


async def test_many_runs_are_swept_at_once(store: Store, outside: Outside) -> None:
    runs = [finished(a_run(), expires_at=1.0) for _ in range(1100)]
    await store.write(*map(PutRun, runs))
    assert 1100 == await store.sweep(2.0)
    assert 0 == outside.count("runs")


# -- sessions and keys ---------------------------------------------------------------------------


async def test_a_session_comes_back_as_it_was_and_can_change(store: Store) -> None:
    session = StoredSession(
        id="s1", owner=ME, kernel_name="python3", created_at=1.5, ended_at=None, generation=1
    )
    other = replace(session, id="s2", owner=YOU)
    await store.write(PutSession(session), PutSession(other))
    assert session == await store.session("s1")
    assert None is await store.session("s3")
    assert [session] == await store.sessions(ME)
    assert [session, other] == await store.sessions_not_ended()
    ended = replace(session, ended_at=2.5, generation=3)
    await store.write(PutSession(ended))
    assert [ended] == await store.sessions(ME)
    assert [other] == await store.sessions_not_ended()


async def test_a_session_of_a_notebook_comes_back_as_it_was_until_it_is_deleted(
    store: Store,
) -> None:
    session = StoredNotebookSession(
        id="n1",
        owner=ME,
        path="a folder/\u00e9.ipynb",
        name="",
        type="notebook",
        kernel_id="k1",
        kernel_name="python3",
        created_at=2.5,
    )
    other = replace(session, id="n2", owner=YOU, created_at=1.5)
    await store.write(PutNotebookSession(session), PutNotebookSession(other))
    assert [other, session] == await store.notebook_sessions()
    moved = replace(session, path="b.ipynb", kernel_id="k2", gone_at=3.5, reason="deleted")
    await store.write(PutNotebookSession(moved), DeleteNotebookSession("n2"))
    assert [moved] == await store.notebook_sessions()
    await store.write(DeleteNotebookSession("n2"))


async def test_a_key_comes_back_as_it_was_and_can_be_revoked(store: Store) -> None:
    old, new = (
        StoredKey(access_key=name, secret="hush", owner=ME, created_at=at, revoked_at=None)
        for at, name in enumerate(("old", "new"))
    )
    await store.write(PutKey(old), PutKey(new))
    assert [new, old] == await store.keys(ME)
    assert [] == await store.keys(YOU)
    revoked = replace(old, revoked_at=9.5)
    await store.write(PutKey(revoked))
    assert revoked == await store.key("old")
    assert None is await store.key("none")


# -- any order -----------------------------------------------------------------------------------


class Model:
    """What a store should hold, as a dict of lists."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.runs: dict[RunUid, StoredRun] = {}
        self.logs: dict[RunUid, list[Record]] = {}
        self.blobs: dict[tuple[RunUid, str], bytes] = {}
        self.over: dict[RunUid, bool] = {}  # of webhooks
        self.gone: dict[RunUid, float] = {}  # until when they are known as expired
        self.now = 0.0

    def new_run(self) -> PutRun:
        run = a_run(
            labels={"odd": str(self.random.randrange(3))} if self.random.random() < 0.5 else {},
            webhook=a_webhook() if self.random.random() < 0.3 else None,
        )
        self.runs[run.uid], self.logs[run.uid] = run, []
        return PutRun(run)

    def grow(self, uid: RunUid) -> AppendRecords:
        log = self.logs[uid]
        first = len(log) + 1
        new = texts(first, first + self.random.randrange(300))
        blobs: list[Blob] = []
        if self.random.random() < 0.3:
            blobs = [a_blob(f"{first}-0", self.random.randbytes(9))]
            self.blobs[uid, f"{first}-0"] = blobs[0].data
        log.extend(new)
        return append(self.runs[uid], *new, blobs=blobs)

    def deliver(self, uid: RunUid) -> PutDeliveries | None:
        run = self.runs[uid]
        if run.webhook is None:
            return None
        self.over[uid] = self.random.random() < 0.5
        deliveries = tuple(map(a_delivery, range(self.random.randrange(3))))
        self.runs[uid] = replace(run, deliveries=deliveries)
        return PutDeliveries(uid, Seq(1), self.over[uid], deliveries)

    def labelled(self, value: str) -> set[RunUid]:
        return {uid for uid, run in self.runs.items() if run.labels.get("odd") == value}

    def end(self, uid: RunUid) -> PutRun:
        lasts = self.now + self.random.randrange(5)
        self.runs[uid] = finished(self.runs[uid], expires_at=lasts)
        return PutRun(self.runs[uid])

    def remove(self, uid: RunUid, until: float) -> None:
        self.gone[uid] = until
        del self.runs[uid], self.logs[uid]
        self.blobs = {key: data for key, data in self.blobs.items() if key[0] != uid}


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_of_writes_gives_what_a_dict_would(
    store: Store, outside: Outside, seed: int
) -> None:
    model = Model(seed)
    source = Gatherer()
    for _ in range(60):
        await _one_step(store, model, source)
    await store.write()
    for uid, run in model.runs.items():
        assert model.logs[uid] == await all_records(store, run)
        assert [as_stored(run, log_next=len(model.logs[uid]) + 1)] == await store.find_runs(ME, uid)
    for (uid, artifact), data in model.blobs.items():
        assert data == await store.blob(uid, artifact)
    assert set(model.runs) == {run.uid for run in await store.list_runs(ME, limit=10_000)}
    for value in ("0", "1", "2", "3"):
        found = await store.list_runs(ME, RunFilter(labels=(("odd", value),)), limit=10_000)
        assert model.labelled(value) == {run.uid for run in found}
    pending = {each.run.uid for each in await store.pending_webhooks()}
    hooked = {uid for uid, run in model.runs.items() if run.webhook}
    assert {uid for uid in hooked if not model.over.get(uid)} == pending
    model.now += 5
    await _sweep(store, model)
    for uid, until in model.gone.items():
        assert (until > model.now) is await store.is_expired(ME, uid)
    assert len(model.blobs) == len([name for name in outside.files() if name.count("/") == 2])
    assert outside.count("records") == sum(map(len, model.logs.values()))
    assert set(source.told) <= {"stored"}


async def _one_step(store: Store, model: Model, source: Gatherer) -> None:
    what = model.random.choices(
        ["new", "grow", "deliver", "end", "delete", "sweep", "turn"], [4, 12, 3, 3, 2, 1, 4]
    )[0]
    uid = model.random.choice(list(model.runs)) if model.runs else None
    if what == "new" or uid is None:
        source.pending.append(model.new_run())
    elif what == "grow":
        source.pending.append(model.grow(uid))
    elif what == "deliver":
        source.pending += filter(None, [model.deliver(uid)])
    elif what == "end":
        source.pending.append(model.end(uid))
    elif what == "delete":
        model.end(uid)
        source.pending += [PutRun(model.runs[uid]), DeleteRun(uid)]
        model.remove(uid, model.runs[uid].expires_at or 0.0)
    elif what == "turn":
        await asyncio.sleep(0)  # the writer may begin
        return
    else:
        await store.write()  # what was enlisted has come in
        model.now += 2
        await _sweep(store, model)
        return
    store.enlist(source)


async def _sweep(store: Store, model: Model) -> None:
    over = [
        run.uid
        for run in model.runs.values()
        if run.expires_at is not None and run.expires_at <= model.now
    ]
    assert len(over) == await store.sweep(model.now)
    for uid in over:
        model.remove(uid, model.now + 100.0)


def test_the_bodies_above_are_of_all_kinds() -> None:
    assert set(KINDS.values()) == {type(body) for body in BODIES}
