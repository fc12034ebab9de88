"""`client/engine.py`: a notebook on a gateway over a real socket is a notebook here."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.client import AsyncClient, Patience
from kernel_gateway.client import engine as remote
from kernel_gateway.client.engine import UNREAD_S, RemoteEngine, creation
from kernel_gateway.client.values import RecordPage, Told, Unknown
from kernel_gateway.errors import ArtifactNotFound, NotWaiting, Unreachable
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.engine import LocalEngine, run_plan
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.plan import PlanOptions
from kernel_gateway.notebook.runner import NotebookRunner, Stop
from kernel_gateway.notebook.saving import Pace
from kernel_gateway.runs import records
from kernel_gateway.runs.plan import Limits
from kernel_gateway.runs.records import ArtifactKind, Record
from kernel_gateway.service import LOCAL_OWNER, RunUid, Seq
from kernel_gateway.web import schemas
from kernel_gateway.web.runs.creation import run_request
from kernel_gateway.web.settings import WebSettings
from tests.fake.client.cable import Cable, cable_to
from tests.fake.client.callers import PATIENCE
from tests.fake.notebook.conftest import HANG_LIMIT_S, Shelf, code
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kernel_gateway.notebook.engine import Engine
    from kernel_gateway.notebook.runner import Event, NotebookResult


def job_of(*cells: str | dict[str, Any], **values: Any) -> NotebookJob:
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [cell if isinstance(cell, dict) else code(cell) for cell in cells],
    }
    source = read(json.dumps(notebook).encode())
    return NotebookJob(source=source, **{"version": "1.2.3", "quiet_s": 0.0, **values})


class Desk:
    """Runs a notebook on an engine, and shows what has become of it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shelf = Shelf()
        self.events: list[Event] = []
        self.on_event: Callable[[Event], object] = lambda event: None

    async def run(self, job: NotebookJob) -> NotebookResult:
        self.runner = NotebookRunner(
            self.engine, job, self.shelf, self._tell, pace=Pace(least_between_s=0.0)
        )
        async with asyncio.timeout(HANG_LIMIT_S):
            return await self.runner.run()

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    @property
    def bodies(self) -> list[records.Body]:
        return [event.body for event in self.events if isinstance(event, Record)]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path) as running:
        yield running


@pytest.fixture
async def cable(gateway: Gateway) -> AsyncIterator[Cable]:
    async with cable_to(gateway.port) as one:
        yield one


@pytest.fixture
async def client(cable: Cable) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(cable.url, TOKEN, patience=PATIENCE) as one:
        yield one


@pytest.fixture
def desk(client: AsyncClient) -> Desk:
    return Desk(RemoteEngine(client))


def without_times(value: Any) -> Any:
    """What two runs of one notebook have in common."""
    own = {"started_at", "finished_at", "start_time", "end_time", "created_at", "id", "uid"}
    own |= {"duration", "queue_time", "predict_time", "msg_id"}
    if isinstance(value, dict):
        return {
            name: item is not None if name in own else without_times(item)
            for name, item in value.items()
        }
    return [without_times(item) for item in value] if isinstance(value, list) else value


def printed(shelf: Shelf) -> list[str]:
    """All text of all cells."""
    outputs = [one for cell in shelf.last["cells"] for one in cell.get("outputs", ())]
    return [line for one in outputs for line in one.get("text", ())]


# -- the same --------------------------------------------------------------------------------------

CELLS: list[str | dict[str, Any]] = [
    "print one\nresult 1\ndisplay text/html <b>b</b>",
    code("raise ValueError no", "raises-exception"),
    "",
    code("print never", "skip-execution"),
    "show bar 1\nupdate bar 2\nclear\nstderr two",
]


async def test_a_notebook_and_its_records_are_those_of_a_run_in_process(
    gateway: Gateway, desk: Desk
) -> None:
    local = Desk(LocalEngine(gateway.service, LOCAL_OWNER))
    here, there = [await one.run(job_of(*CELLS)) for one in (local, desk)]
    assert (here.outcome, here.reason) == (there.outcome, there.reason)
    assert without_times(local.shelf.last) == without_times(desk.shelf.last)
    assert [type(body) for body in local.bodies] == [type(body) for body in desk.bodies]
    assert desk.shelf.closed


OPTIONS = [
    PlanOptions(),
    PlanOptions(allow_errors=True, allow_stdin=True, limits=Limits(step=1.5, run=9.0, idle=3.0)),
    PlanOptions(from_="a", until="b", skip_tag="not-now"),
    PlanOptions(only=("a", "b"), limits=Limits(input=4.0)),
]


@pytest.mark.parametrize("options", OPTIONS)
async def test_the_gateway_plans_what_would_be_planned_here(options: PlanOptions) -> None:
    cells = [code("1", "a"), code("2", "not-now"), code("3", "b", "timeout=7"), code("4", "always")]
    job = job_of(*cells, options=options, quiet_s=1.5, start_limit_s=8.0, context={"b": "c"})
    call = creation(job, job.source.notebook, "ir", "r")
    assert call.body is not None
    asked = schemas.new_run(
        json.loads(call.body), run_id=None, max_code_bytes=99, allowed_env=("*",)
    )
    request = await run_request(asked, (), max_code_bytes=99)
    planned = run_plan(job, job.source.notebook)
    for name in ("mode", "steps", "allow_stdin", "limits", "grace_s", "kill_after_s", "quiet_s"):
        assert getattr(planned, name) == getattr(request.plan, name)
    assert planned.context == request.plan.context
    assert ("ir", {}, UNREAD_S) == (request.kernel_name, request.files, request.plan.unread_s)


async def test_files_variables_and_labels_go_with_it() -> None:
    job = job_of(
        "1",
        files={"a/b.bin": b"\0\xff"},
        env={"KERNEL_KEY": "s3cret"},
        secrets=("KERNEL_KEY",),
        labels={"team": "risk"},
    )
    call = creation(job, job.source.notebook, "python3", "r")
    assert ("PUT", "/api/runs/r", True) == (call.verb, call.path, call.repeatable)
    assert call.body is not None
    asked = schemas.new_run(json.loads(call.body), run_id=None, max_code_bytes=99)
    request = await run_request(asked, (), max_code_bytes=99)
    assert {"a/b.bin": b"\0\xff"} == request.files
    assert ({"KERNEL_KEY": "s3cret"}, ("KERNEL_KEY",)) == (request.env, request.secrets)
    assert {"team": "risk"} == request.labels


# -- the wire --------------------------------------------------------------------------------------


async def test_a_cell_is_executed_once_whatever_answers_are_lost(
    gateway: Gateway, cable: Cable, desk: Desk
) -> None:
    cable.cuts = [600, 40, 10, 200, 900]
    result = await desk.run(job_of("print one", "print two"))
    assert ("ok", ["one\n"], ["two\n"]) == (
        result.outcome.value,
        desk.shelf.texts(0),
        desk.shelf.texts(1),
    )
    assert 1 == len(gateway.launcher.kernels)
    assert cable.connections > 3


async def test_a_gateway_that_is_away_for_good_loses_the_run_and_the_file_is_complete(
    gateway: Gateway, cable: Cable
) -> None:
    patience = Patience(tries=2, first_s=0.0)
    async with AsyncClient(cable.url, TOKEN, patience=patience) as client:
        desk = Desk(RemoteEngine(client))

        def cut_for_good(event: Event) -> None:
            if isinstance(event, Record) and isinstance(event.body, records.LogText):
                cable.cuts = [0] * 99
                desk.cutting = asyncio.ensure_future(cable.cut())  # type: ignore[attr-defined]

        desk.on_event = cut_for_good
        result = await desk.run(job_of("print one\nsleep", "print two"))
        await desk.cutting  # type: ignore[attr-defined]
    assert ("lost", "gateway_lost") == (result.outcome.value, result.reason.code)
    assert ["died", "not-run"] == [step.state.value for step in result.steps]
    assert "one\n" in printed(desk.shelf)
    assert desk.shelf.closed


async def test_a_run_whose_making_was_never_answered_is_ended(
    gateway: Gateway, cable: Cable
) -> None:
    async with AsyncClient(cable.url, TOKEN, patience=Patience(tries=2, first_s=0.0)) as client:
        cable.cuts = [0, 0]
        job = job_of("print one\nsleep")
        with pytest.raises(Unreachable):
            await RemoteEngine(client).start(job, job.source.notebook, "python3")
        (made,) = [run async for run in client.runs()]
        ended = await client.follow(made.uid)
    assert ended.view.reason is not None
    assert ("cancelled", "nobody waits for it") == (ended.view.outcome, ended.view.reason.message)


async def test_a_gateway_that_does_not_answer_is_not_waited_for_in_haste(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(remote, "HASTE_S", 0.05)
    server = await asyncio.start_server(never, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, AsyncClient(url, TOKEN) as client:
        engine = RemoteEngine(client)
        with pytest.raises(Unreachable):
            await engine.cancel(RunUid("u"), escalate=True, grace_s=0.0, message="stopped")


async def test_more_than_a_gateway_takes_starts_nothing(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, max_body_bytes=50_000)
    async with (
        running_gateway(tmp_path, settings) as gateway,
        AsyncClient(gateway.url, TOKEN, patience=PATIENCE) as client,
    ):
        desk = Desk(RemoteEngine(client))
        result = await desk.run(job_of("print one", files={"big": bytes(100_000)}))
        assert ("lost", "too_large") == (result.outcome.value, result.reason.code)
        assert [] == gateway.launcher.kernels
        assert desk.shelf.closed


async def test_records_of_a_newer_gateway_are_passed_over() -> None:
    class Newer(AsyncClient):
        asked: list[int] = []  # noqa: RUF012 - one of it

        async def page(self, run_id: str, *, after: int = 0, **more: Any) -> RecordPage:
            self.asked.append(after)
            body: Any = records.Cleared(wait=False) if after else Unknown(kind="new", fields={})
            told = Told(seq=Seq(after + 1), at=0.0, step=None, body=body)
            return RecordPage(records=(told,), next=Seq(after + 1), finished=False, sealed=False)

    async with Newer("http://127.0.0.1:1", TOKEN) as client:
        page = await RemoteEngine(client).log(RunUid("u"), after=Seq(0), wait_s=1.0)
        assert [0, 1] == client.asked
    assert ([2], 2) == ([record.seq for record in page.records], page.next)


# -- stopping and asking ---------------------------------------------------------------------------


async def test_a_stop_passes_through_and_says_why(desk: Desk) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Record) and isinstance(event.body, records.LogText):
            desk.runner.stop(Stop.INTERRUPT)

    desk.on_event = stop
    result = await desk.run(job_of("print one\nsleep", "print two"))
    assert ("cancelled", "interrupted") == (result.outcome.value, result.reason.message)
    assert ["cancelled", "not-run"] == [step.state.value for step in result.steps]


async def test_input_passes_through(desk: Desk) -> None:
    answers: list[asyncio.Future[None]] = []

    def answer(event: Event) -> None:
        if isinstance(event, Record) and isinstance(event.body, records.InputAsked):
            (uid,) = [one.uid for one in [desk.runner._info] if one is not None]
            given = desk.engine.give_input(uid, "Ada", event.body.prompt_id)
            answers.append(asyncio.ensure_future(given))

    desk.on_event = answer
    await desk.run(job_of("input Name?\necho", options=PlanOptions(allow_stdin=True)))
    await asyncio.gather(*answers)
    assert "Ada\n" in desk.shelf.texts(0)


async def test_that_there_is_no_answer_passes_through(desk: Desk) -> None:
    told: list[asyncio.Future[None]] = []

    def give_up(event: Event) -> None:
        if isinstance(event, Record) and isinstance(event.body, records.InputAsked):
            (uid,) = [one.uid for one in [desk.runner._info] if one is not None]
            given = desk.engine.give_input(uid, None, event.body.prompt_id)
            told.append(asyncio.ensure_future(given))

    desk.on_event = give_up
    result = await desk.run(job_of("input Name?", options=PlanOptions(allow_stdin=True)))
    await asyncio.gather(*told)
    assert ("error", "no_input") == (result.outcome.value, result.reason.code)


async def test_an_answer_that_nobody_waits_for_is_refused_as_it_would_be_here(desk: Desk) -> None:
    result = await desk.run(job_of("print one"))
    assert result.run is not None
    with pytest.raises(NotWaiting):
        await desk.engine.give_input(result.run.uid, "x", 1)


# -- artifacts -------------------------------------------------------------------------------------


async def test_what_is_too_big_for_the_log_is_in_the_notebook(tmp_path: Path) -> None:
    from kernel_gateway.runs.log import LogLimits

    async with (
        running_gateway(tmp_path, log=LogLimits(inline_bytes=100)) as gateway,
        AsyncClient(gateway.url, TOKEN) as client,
    ):
        desk = Desk(RemoteEngine(client))
        await desk.run(job_of(f"display text/html {'x' * 500}"))
        (output,) = desk.shelf.last["cells"][0]["outputs"]
        assert "x" * 500 == "".join(output["data"]["text/html"])


async def test_an_artifact_comes_with_what_is_known_of_it(desk: Desk) -> None:
    result = await desk.run(job_of("save plots/a.txt all of it"))
    assert result.run is not None
    (artifact,) = result.run.artifacts
    content = await desk.engine.artifact(result.run.uid, artifact.id)
    assert ("plots/a.txt", ArtifactKind.FILE) == (content.artifact.name, content.artifact.kind)
    assert b"all of it" == b"".join([piece async for piece in content.pieces]).strip()
    with pytest.raises(ArtifactNotFound):
        await desk.engine.artifact(result.run.uid, "a99")


async def test_a_run_works_in_a_folder_of_its_own_with_the_files_it_was_sent(
    gateway: Gateway, desk: Desk
) -> None:
    def change(event: Event) -> None:
        if isinstance(event, Record) and isinstance(event.body, records.LogText):
            folder = gateway.kernel.request.cwd
            assert folder is not None
            assert b"1" == (folder / "in.csv").read_bytes()
            (folder / "out.csv").write_bytes(b"2")
            gateway.kernel.release()

    desk.on_event = change
    result = await desk.run(job_of("print one\nsleep", files={"in.csv": b"1"}))
    assert result.run is not None
    assert [("out.csv", "work")] == [(one.name, one.kind.value) for one in result.run.artifacts]
