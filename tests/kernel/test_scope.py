"""`kernel_gateway.scope` within ipykernel: whose run a cell, a thread and a task see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kernel_gateway.messaging.facts import Display
from kernel_gateway.messaging.message import MsgId, execute_request
from kernel_gateway.runs.metrics import checked
from kernel_gateway.runs.records import Metric

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.messaging.strict_json import Json
    from tests.shared.kernels import Bench, Started

SETUP = "from kernel_gateway.scope import ScopeError, current_run\nimport asyncio, threading"


class Cells:
    """A kernel whose cells are of runs."""

    def __init__(self, started: Started) -> None:
        self._started = started

    def send(self, code: str, run_id: str | None, **more: Json) -> MsgId:
        """Of a run, or of somebody who tells none."""
        told: dict[str, Json] = {"run_id": run_id, "uid": f"uid of {run_id}", "context": {}, **more}
        request = execute_request(
            MsgId(uuid4().hex),
            code,
            allow_stdin=False,
            metadata={} if run_id is None else {"kernel_gateway": told},
        )
        self._started.kernel.send(request)
        return request.msg_id

    async def run(self, code: str, run_id: str | None, **more: Json) -> str:
        """What it prints."""
        msg_id = self.send(code, run_id, **more)
        reply = await self._started.recorder.ended(msg_id)
        assert "ok" == reply.status, reply
        return self._started.recorder.stdout(msg_id)

    async def printed(self, msg_id: MsgId, text: str) -> None:
        await self._started.printed(msg_id, text)

    async def metrics(self, code: str, run_id: str | None) -> list[Metric | str]:
        msg_id = self.send(code, run_id)
        await self._started.recorder.ended(msg_id)
        facts = self._started.recorder.facts(msg_id)
        return [checked(fact.data) for fact in facts if isinstance(fact, Display)]


@pytest.fixture
async def cells(bench: Bench) -> Cells:
    cells = Cells(await bench.ready())
    await cells.run(SETUP, None)
    return cells


async def test_a_cell_reads_its_own_run_and_not_that_of_the_one_before(
    cells: Cells, tmp_path: Path
) -> None:
    code = "run = current_run(); print(run.id, run.uid, run.context, run.artifact_dir.is_dir())"
    for run_id, context in (("run/1 ä", {"user": "ada"}), ("2", {})):
        folder = tmp_path / "artifacts" / run_id[-1]
        expected = f"{run_id} uid of {run_id} {context} True\n"
        told: Any = context
        assert expected == await cells.run(code, run_id, context=told, artifact_dir=str(folder))
        assert folder.is_dir()


async def test_a_cell_of_another_client_has_metrics_and_is_told_why_it_has_no_more(
    cells: Cells,
) -> None:
    code = (
        "try: current_run().id\n"
        "except ScopeError as error: print(error)\n"
        "current_run().metric('a', 1)"
    )
    assert "sent by a client of the kernel" in await cells.run(code, None)
    assert [Metric(name="a", value=1, mode="replace")] == await cells.metrics(code, None)


async def test_metrics_are_displays_in_their_order(cells: Cells) -> None:
    code = (
        "run = current_run()\n"
        "run.metric('loss', float('nan'))\n"
        "run.metric('n.seen', 2, 'increment')\n"
        "run.metric('all', (1, None), mode='append')"
    )
    assert [
        Metric(name="loss", value="NaN", mode="replace"),
        Metric(name="n.seen", value=2, mode="increment"),
        Metric(name="all", value=[1, None], mode="append"),
    ] == await cells.metrics(code, "1")


async def test_a_bad_metric_raises_in_the_cell(cells: Cells) -> None:
    code = "try: current_run().metric('a__b', 1)\nexcept ValueError as error: print(error)"
    assert "no double" in await cells.run(code, "1")


async def test_threads_and_tasks_of_a_cell_see_its_run(cells: Cells) -> None:
    thread = (
        "thread = threading.Thread(target=lambda: print('thread', current_run().id))\n"
        "thread.start(); thread.join()"
    )
    assert "thread 1\n" == await cells.run(thread, "1")
    task = (
        "async def tell(): print('task', current_run().id)\n"
        "await asyncio.gather(tell(), asyncio.create_task(tell()), asyncio.to_thread("
        "lambda: print('worker', current_run().id)))"
    )
    assert ["task 2", "task 2", "worker 2"] == sorted((await cells.run(task, "2")).splitlines())


async def test_a_run_that_was_taken_in_its_cell_stays_that_run(cells: Cells) -> None:
    first = (
        "go, told = threading.Event(), threading.Event()\n"
        "def work(run):\n"
        "    go.wait(); print('mine', run.id, 'newest', current_run().id); told.set()\n"
        "thread = threading.Thread(target=work, args=(current_run(),)); thread.start()\n"
        "async def wait(): await asyncio.to_thread(told.wait); print('task', current_run().id)\n"
        "task = asyncio.create_task(wait())"
    )
    msg_id = cells.send(first, "1")
    told = await cells.run("go.set(); told.wait(); thread.join(); await task", "2")
    # ipykernel itself takes what the thread prints for output of the newest cell.
    assert "mine 1 newest 2\n" == told
    await cells.printed(msg_id, "task 1\n")
