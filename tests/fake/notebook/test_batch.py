"""`notebook/batch.py`: several notebooks at once, and each as often as is worth it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import NotebookUnwritable
from kernel_gateway.notebook.batch import Batch, Cause, Done, Order, Retried, Retries
from kernel_gateway.notebook.bringing import Homes
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.runner import KernelChosen, NotebookResult, Stop
from kernel_gateway.runs.records import Reason, Record, StepChanged
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import KernelSpecsView
from tests.fake.notebook.conftest import HANG_LIMIT_S, ME, Bench, Shelf, code
from tests.unit.notebook.test_metadata import info

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.notebook.batch import BatchEvent


class Room:
    """Runs batches, and keeps what is told."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.told: list[tuple[str, BatchEvent]] = []
        self.shelves: dict[str, Shelf] = {}
        self.kept: list[tuple[str, int, int]] = []  # begun and ended, number, attempt
        self.languages: list[str] = []
        self._folder = folder

    def order(self, name: str, *cells: str) -> Order:
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
            "cells": [code(cell) for cell in cells],
        }
        self.shelves[name] = Shelf()
        return Order(
            name=name,
            job=NotebookJob(source=read(json.dumps(notebook).encode()), version="1", quiet_s=0.0),
            sink=self.shelves[name],
            homes=Homes(work=self._folder, artifacts=self._folder / "artifacts"),
        )

    def batch(self, *orders: Order, **options: Any) -> Batch:
        engine = LocalEngine(self.bench.service, ME)
        return Batch(engine, orders, self._tell, keeper=self, **options)

    async def run(self, *orders: Order, **options: Any) -> list[Done]:
        async with asyncio.timeout(HANG_LIMIT_S):
            return await self.batch(*orders, **options).run()

    def _tell(self, order: Order, event: BatchEvent) -> None:
        self.told.append((order.name, event))
        self.bench.on_event(event)  # type: ignore[arg-type]

    def events(self, *kinds: type) -> list[str]:
        return [
            f"{name} {type(event).__name__}" for name, event in self.told if type(event) in kinds
        ]

    # As a keeper.

    def begin(self, number: int, job: NotebookJob) -> NotebookJob:
        self.kept.append(("begin", number, job.attempt))
        return job

    def chosen(self, number: int, language: str) -> None:
        self.languages.append(language)

    def end(self, number: int) -> None:
        self.kept.append(("end", number, 0))


@pytest.fixture
def room(bench: Bench, tmp_path: Path) -> Room:
    return Room(bench, tmp_path)


def outcomes(all_done: list[Done]) -> list[str]:
    return [done.result.outcome.value if done.result else "-" for done in all_done]


def is_running(event: object) -> bool:
    return (
        isinstance(event, Record)
        and isinstance(event.body, StepChanged)
        and event.body.state == "running"
    )


# -- at once ---------------------------------------------------------------------------------------


async def test_each_notebook_has_a_kernel_of_its_own_and_its_own_end(room: Room) -> None:
    orders = [room.order("a", "print one"), room.order("b", "raise E v", "print no")]
    all_done = await room.run(*orders, jobs=2)
    assert ["ok", "error"] == outcomes(all_done)
    assert ["a", "b"] == [done.order.name for done in all_done]
    assert 2 == len(room.bench.launcher.kernels)
    assert ["one\n"] == room.shelves["a"].texts(0)
    assert ["error", "not-run"] == room.shelves["b"].states()
    assert all(shelf.closed for shelf in room.shelves.values())


@pytest.mark.parametrize("jobs", [1, 2])
async def test_no_more_run_at_once_than_there_may(room: Room, jobs: int) -> None:
    most = running = 0

    def count(event: object) -> None:
        nonlocal most, running
        running += isinstance(event, KernelChosen)
        running -= isinstance(event, Done)
        most = max(most, running)

    room.bench.on_event = count
    all_done = await room.run(*(room.order(name, "print x") for name in "abcd"), jobs=jobs)
    assert ["ok"] * 4 == outcomes(all_done)
    assert jobs == most


async def test_an_output_that_cannot_be_written_is_nothing_to_the_others(room: Room) -> None:
    orders = [room.order("a", "print one"), room.order("b", "print two")]
    room.shelves["a"].faults = [OSError(28, "No space")]
    first, second = await room.run(*orders)
    assert isinstance(first.fault, NotebookUnwritable)
    assert not first.begun
    assert ["-", "ok"] == outcomes([first, second])
    assert [("begin", 0, 1), ("end", 0, 0), ("begin", 1, 1), ("end", 1, 0)] == room.kept


async def test_of_an_output_that_is_not_complete_the_job_is_kept(room: Room) -> None:
    order = room.order("a", "print one")
    room.shelves["a"].faults = [None, *[OSError(28, "No space")] * 9]
    (done,) = await room.run(order)
    assert done.begun
    assert "No space" in str(done.fault)
    assert [("begin", 0, 1)] == room.kept


async def test_an_output_that_is_sent_at_the_end_may_fail_there(room: Room) -> None:
    class Late(Shelf):
        def close(self) -> None:
            raise OSError("the storage has gone")

    order = replace(room.order("a", "print one"), sink=Late())
    (done,) = await room.run(order)
    assert "The output cannot be written: the storage has gone." == str(done.fault)


async def test_nothing_need_be_kept(room: Room) -> None:
    engine = LocalEngine(room.bench.service, ME)
    batch = Batch(engine, [room.order("a", "print one")], lambda order, event: None)
    assert ["ok"] == outcomes(await batch.run())


async def test_a_stop_is_for_all_also_for_those_that_have_not_begun(room: Room) -> None:
    orders = [room.order(name, "sleep", "print no") for name in "abc"]
    batch = room.batch(*orders, jobs=2)
    running = 0

    def stop_when_two_run(event: object) -> None:
        nonlocal running
        running += is_running(event)
        if running == 2 and is_running(event):
            batch.stop(Stop.FORCE)

    room.bench.on_event = stop_when_two_run
    async with asyncio.timeout(HANG_LIMIT_S):
        all_done = await batch.run()
    assert ["cancelled"] * 3 == outcomes(all_done)
    assert ["cancelled", "not-run"] == room.shelves["a"].states()
    assert ["not-run", "not-run"] == room.shelves["c"].states()
    assert 2 == len(room.bench.launcher.kernels)


# -- another attempt -------------------------------------------------------------------------------


async def test_a_run_whose_kernel_died_is_run_once_more_and_says_so(room: Room) -> None:
    (done,) = await room.run(room.order("a", "print out\ndie SIGKILL"), retries=Retries(most=1))
    shelf = room.shelves["a"]
    told = shelf.last["metadata"]["kernel_gateway"]
    assert (2, 2) == (done.attempt, told["attempt"])
    assert ["kernel_died"] == [one["reason"]["code"] for one in told["attempts"]]
    assert told["run"]["uid"] not in {one["uid"] for one in told["attempts"]}
    assert [("begin", 0, 1), ("begin", 0, 2), ("end", 0, 0)] == room.kept
    assert ["a KernelChosen", "a Retried", "a KernelChosen", "a Done"] == room.events(
        KernelChosen, Retried, Done
    )
    assert ["out\n"] == [text for text in shelf.texts(0) if "died" not in text]


async def test_an_attempt_that_cannot_be_begun_leaves_what_the_one_before_has_left(
    room: Room,
) -> None:
    def no_more_kernels(event: object) -> None:
        if isinstance(event, Retried):
            room.bench.service.specs = KernelSpecsView(default="", specs=())

    room.bench.on_event = no_more_kernels
    order = room.order("a", "print out", "die SIGKILL")
    order = replace(order, job=replace(order.job, parameters={}))
    (done,) = await room.run(order, retries=Retries(most=1))
    assert done.result is not None
    assert (2, None) == (done.attempt, done.result.run)
    assert done.notebook is order.job.source.notebook
    assert ["ok", "died"] == room.shelves["a"].states()
    assert ["script"] == room.languages


async def test_a_cell_that_fails_is_run_again_only_when_that_is_asked_for(room: Room) -> None:
    (usual,) = await room.run(room.order("a", "raise E v"), retries=Retries(most=2))
    errors = Retries(most=2, causes=frozenset({Cause.ERROR}))
    (asked,) = await room.run(room.order("b", "raise E v"), retries=errors)
    assert (1, 3) == (usual.attempt, asked.attempt)


async def test_who_stops_a_run_does_not_want_another_attempt(room: Room) -> None:
    order = room.order("a", "sleep\ndie SIGKILL")
    batch = room.batch(order, retries=Retries(most=5))

    def stop(event: object) -> None:
        if is_running(event):
            batch.stop(Stop.INTERRUPT)

    room.bench.on_event = stop
    async with asyncio.timeout(HANG_LIMIT_S):
        (done,) = await batch.run()
    assert 1 == done.attempt


def ended(outcome: str, code: str, *, begun: bool = True) -> NotebookResult:
    return NotebookResult(
        outcome=Outcome(outcome),
        reason=Reason(code=code),
        steps=(),
        run=info() if begun else None,
    )


@pytest.mark.parametrize(
    ("result", "is_another"),
    [
        (ended("lost", "kernel_died"), True),
        (ended("lost", "kernel_start_failed"), True),
        (ended("timeout", "start_limit"), True),
        (ended("timeout", "step_limit"), True),
        (ended("error", "exception"), False),
        (ended("error", "no_input"), False),
        (ended("cancelled", "cancelled"), False),
        (ended("ok", "done"), False),
        (ended("lost", "draining", begun=False), False),
        (ended("lost", "gateway_lost"), False),
    ],
)
def test_what_is_worth_another_attempt(result: NotebookResult, is_another: bool) -> None:
    retries = Retries(most=2)
    assert is_another == retries.another(1, result)
    assert is_another == retries.another(2, result)
    assert not retries.another(3, result)
