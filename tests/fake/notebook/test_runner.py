"""`notebook/runner.py`: whatever happens, the output is complete and tells what happened."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import NotebookUnwritable, Unreachable
from kernel_gateway.execution import slots
from kernel_gateway.execution.settings import START_MARGIN_S, EngineSettings
from kernel_gateway.kernels.fake import FakeBehaviour
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.messaging.message import Channel
from kernel_gateway.notebook import runner
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.plan import PlanOptions
from kernel_gateway.notebook.runner import KernelChosen, NotSaved, Stop
from kernel_gateway.runs import records
from kernel_gateway.runs.log import LogLimits
from kernel_gateway.runs.plan import Limits
from kernel_gateway.runs.records import Record
from kernel_gateway.service import KernelSpecsView
from tests.fake.notebook.conftest import HANG_LIMIT_S, ME, Bench, code

if TYPE_CHECKING:
    from kernel_gateway.notebook.runner import Event, NotebookResult
    from kernel_gateway.service import LogPage, RunInfo


def reason(result: NotebookResult) -> tuple[str, str]:
    return (result.outcome.value, result.reason.code)


def printed(event: Event, text: str) -> bool:
    return (
        isinstance(event, Record)
        and isinstance(event.body, records.LogText)
        and text in event.body.text
    )


# -- good ends -------------------------------------------------------------------------------------


async def test_every_cell_gets_its_outputs(bench: Bench) -> None:
    result = await bench.run("print one\nresult 1", "", "stderr two\nprint three")
    assert reason(result) == ("ok", "done")
    assert bench.shelf.states() == ["ok", "ok", "ok"]
    assert bench.shelf.texts(0) == ["one\n", "1"]
    assert bench.shelf.texts(1) == []
    assert bench.shelf.texts(2) == ["two\n", "three\n"]
    assert [cell["execution_count"] for cell in bench.shelf.last["cells"]] == [1, None, 2]


async def test_a_notebook_without_cells_is_ok(bench: Bench) -> None:
    assert reason(await bench.run()) == ("ok", "done")
    assert bench.shelf.run["outcome"] == "ok"


async def test_the_output_tells_the_run_the_kernel_and_the_language(bench: Bench) -> None:
    await bench.run("print a", metadata={"mine": 1})
    metadata = bench.shelf.last["metadata"]
    told = metadata["kernel_gateway"]
    assert metadata["mine"] == 1
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["language_info"] == {"name": "script", "file_extension": ".txt"}
    assert told["version"] == "1.2.3"
    kernel = {"name": "python3", "language": "script", "implementation": "fake"}
    assert kernel == told["kernel"]
    assert told["run"]["state"] == "finished"
    assert told["run"]["reason"] == {"code": "done"}


async def test_each_cell_tells_its_times(bench: Bench) -> None:
    await bench.run("print a")
    told = bench.shelf.last["cells"][0]["metadata"]["kernel_gateway"]
    assert told["started_at"] <= told["finished_at"]
    assert told["duration"] >= 0
    assert told["execution_count"] == 1
    assert told["msg_id"]


async def test_the_kernel_is_gone_afterwards(bench: Bench) -> None:
    await bench.run("print a")
    assert await bench.service.kernels(ME) == []
    assert await bench.kernel.wait_dead() == KernelExit(exit_code=0)


async def test_tags_skip_a_cell_and_allow_an_error(bench: Bench) -> None:
    result = await bench.run(
        code("print a", "skip-execution"), code("raise E v", "raises-exception"), "print b"
    )
    assert reason(result) == ("ok", "done")
    assert bench.shelf.states() == ["skipped", "allowed-error", "ok"]
    assert bench.shelf.texts(1) == ["E: v"]
    assert bench.codes_sent == ["raise E v", "print b"]


async def test_sys_exit_0_is_an_early_end(bench: Bench) -> None:
    result = await bench.run("print a\nraise SystemExit 0", "print b")
    assert reason(result) == ("ok", "exited")
    assert bench.shelf.states() == ["ok", "not-run"]


# -- the file while the run goes on ----------------------------------------------------------------


async def test_the_file_is_there_before_anything_starts(bench: Bench) -> None:
    await bench.run("print a")
    first = bench.shelf.saves[0]
    assert bench.shelf.states(0) == ["pending"]
    assert "run" not in first["metadata"]["kernel_gateway"]
    assert first["cells"][0]["outputs"] == []


async def test_the_file_grows_while_a_cell_runs(bench: Bench) -> None:
    """The cell waits until the save that shows its first line is there."""
    bench.prepare("print first\nsleep\nprint second", "print third")

    async def when_saved() -> None:
        while not any(
            "first\n" in bench.shelf.texts(0, at) for at in range(len(bench.shelf.saves))
        ):
            await asyncio.sleep(0)
        assert bench.shelf.states() == ["running", "pending"]
        assert bench.shelf.run["state"] == "running"
        bench.kernel.release()

    assert bench.runner is not None
    async with asyncio.timeout(HANG_LIMIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(when_saved())
        tasks.create_task(bench.runner.run())
    assert bench.shelf.texts(0) == ["first\nsecond\n"]


async def test_who_waits_is_told_every_record(bench: Bench) -> None:
    await bench.run("print a", "raise E v")
    chosen, *told = bench.events
    assert isinstance(chosen, KernelChosen)
    assert [record.seq for record in told if isinstance(record, Record)] == list(
        range(1, len(told) + 1)
    )
    assert isinstance(told[-1], Record)
    assert isinstance(told[-1].body, records.Completed)


async def test_late_output_goes_to_its_cell(bench: Bench) -> None:
    await bench.run("late one", "print two")
    assert bench.shelf.texts(0) == ["one\n"]
    assert bench.shelf.texts(1) == ["two\n"]


async def test_output_after_the_last_cell_is_waited_for(bench: Bench) -> None:
    """A thread that prints again and again, each time before its silence is long enough."""
    lines = iter(["second", "third"])

    def thread(event: Event) -> None:
        if isinstance(event, Record) and isinstance(event.body, records.LogText):
            line = next(lines, None)
            if line is not None:
                request = bench.kernel.requests[0]
                parent = bench.kernel.parent_of(request)
                content = {"name": "stdout", "text": f"{line}\n"}
                bench.kernel.tell(Channel.IOPUB, "stream", content, parent)

    bench.on_event = thread
    await bench.run("late first", quiet_s=0.5)
    assert bench.shelf.texts(0) == ["first\nsecond\nthird\n"]


async def test_who_prints_for_ever_is_not_listened_to_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "QUIET_CAP_S", 0.05)

    def thread(event: Event) -> None:
        if printed(event, "again"):
            parent = bench.kernel.parent_of(bench.kernel.requests[0])
            content = {"name": "stdout", "text": "again\n"}
            bench.kernel.tell(Channel.IOPUB, "stream", content, parent)

    bench.on_event = thread
    result = await bench.run("late again", quiet_s=HANG_LIMIT_S)
    assert reason(result) == ("ok", "done")
    told = [event.body for event in bench.events if isinstance(event, Record)]
    assert records.Dropped(why=records.STILL_PRINTING, late=True) in told


# -- bad ends --------------------------------------------------------------------------------------


async def test_a_failed_cell_ends_the_run(bench: Bench) -> None:
    result = await bench.run("print a", "print b\nraise E v", "print c")
    assert reason(result) == ("error", "exception")
    assert bench.shelf.states() == ["ok", "error", "not-run"]
    assert bench.shelf.texts(1) == ["b\n", "E: v"]
    assert bench.codes_sent == ["print a", "print b\nraise E v"]


async def test_a_cell_that_asks_for_input_fails(bench: Bench) -> None:
    result = await bench.run("print a\ninput name?", "print b")
    assert reason(result) == ("error", "no_input")
    assert bench.shelf.states() == ["error", "not-run"]


@pytest.mark.parametrize(
    ("death", "told"),
    [("die SIGKILL", {"signal": "SIGKILL"}), ("exit 3", {"exit_code": 3})],
)
async def test_a_dead_kernel_leaves_all_that_was_received(
    bench: Bench, death: str, told: dict[str, Any]
) -> None:
    result = await bench.run("print a", f"print before\n{death}", "print c")
    assert reason(result) == ("lost", "kernel_died")
    assert bench.shelf.states() == ["ok", "died", "not-run"]
    assert bench.shelf.texts(0) == ["a\n"]
    assert bench.shelf.texts(1)[0] == "before\n"
    assert "died" in bench.shelf.texts(1)[1]
    assert told.items() <= bench.shelf.run["reason"].items()


@pytest.mark.parametrize(
    "behaviour", [FakeBehaviour(dies_at_start=KernelExit(exit_code=1, stderr_tail="no module"))]
)
async def test_a_kernel_that_does_not_start_is_told(bench: Bench) -> None:
    result = await bench.run("print a")
    assert reason(result) == ("lost", "kernel_start_failed")
    assert bench.shelf.states() == ["not-run"]
    assert bench.shelf.run["outcome"] == "lost"


async def test_a_limit_keeps_what_was_printed(bench: Bench) -> None:
    options = PlanOptions(limits=Limits(step=0.05))
    result = await bench.run("print a\nsleep", "print b", options=options)
    assert reason(result) == ("timeout", "step_limit")
    assert bench.shelf.states() == ["timed-out", "not-run"]
    assert bench.shelf.texts(0) == [
        "a\n",
        "KeyboardInterrupt: ",
        "The step limit of 0.05 s was reached.\n",
    ]


async def test_no_kernel_of_that_name_is_an_end_too(bench: Bench) -> None:
    result = await bench.run("print a", "print b", kernel_name="nope")
    assert reason(result) == ("error", "kernel_not_found")
    assert bench.shelf.states() == ["not-run", "not-run"]
    assert bench.shelf.run["reason"]["code"] == "kernel_not_found"
    assert [step.state for step in result.steps] == ["not-run", "not-run"]
    assert bench.launcher.kernels == []


async def test_a_service_that_is_full_is_an_end_too(bench: Bench) -> None:
    bench.service.drain()
    result = await bench.run("print a")
    assert reason(result) == ("lost", "draining")
    assert bench.shelf.states() == ["not-run"]


async def test_a_service_that_fails_loses_the_run_and_not_the_output(bench: Bench) -> None:
    def fail(event: Event) -> None:
        if printed(event, "b"):
            bench.service.fails_after_pages = 0

    bench.on_event = fail
    result = await bench.run("print a", "print b\nsleep", "print c")
    assert reason(result) == ("lost", "gateway_lost")
    assert result.reason.message == "The disk is gone."
    assert bench.shelf.states() == ["ok", "died", "not-run"]
    assert bench.shelf.texts(0) == ["a\n"]
    async with asyncio.timeout(HANG_LIMIT_S):
        while await bench.service.kernels(ME):  # its run was cancelled
            await asyncio.sleep(0)


async def test_a_fault_after_the_end_does_not_change_it(bench: Bench) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Record) and isinstance(event.body, records.Completed):
            bench.service.fails_after_pages = 0

    bench.on_event = fail
    assert reason(await bench.run("print a")) == ("ok", "done")
    assert bench.shelf.run["outcome"] == "ok"
    assert bench.shelf.texts(0) == ["a\n"]


async def test_what_came_behind_the_end_is_in_the_file_whatever_fails_then(bench: Bench) -> None:
    def fail(event: Event) -> None:
        if printed(event, "late"):
            bench.service.fails_after_pages = 0
        if isinstance(event, Record) and isinstance(event.body, records.Completed):
            parent = bench.kernel.parent_of(bench.kernel.requests[0])
            content = {"name": "stdout", "text": "late\n"}
            bench.kernel.tell(Channel.IOPUB, "stream", content, parent)

    bench.on_event = fail
    assert reason(await bench.run("print a", quiet_s=HANG_LIMIT_S)) == ("ok", "done")
    assert bench.shelf.texts(0) == ["a\nlate\n"]


async def test_records_that_nobody_knows_are_behind_us_too(bench: Bench) -> None:
    """Their pages come at once: who asked for them again would ask for ever."""
    asked: list[int] = []
    told: list[int] = [0]

    class Older(LocalEngine):
        async def log(self, uid: Any, *, after: Any, wait_s: float) -> LogPage:
            asked.append(after)
            assert len(asked) < 99
            page = await super().log(uid, after=after, wait_s=wait_s)
            told.append(page.next)
            known = [one for one in page.records if isinstance(one.body, records.LogText)]
            return replace(page, records=tuple(known))

    bench.engine = Older
    await bench.run("print a")
    assert told[:-1] == asked


# -- stopping --------------------------------------------------------------------------------------


def stop_when(bench: Bench, text: str, *how: Stop) -> None:
    """... the cell has printed that."""

    def look(event: Event) -> None:
        if printed(event, text):
            for one in how:
                bench.stop(one)

    bench.on_event = look


@pytest.mark.parametrize(
    ("how", "word"), [(Stop.INTERRUPT, "interrupted"), (Stop.TERMINATE, "terminated")]
)
async def test_a_stop_ends_the_cell_and_the_run(bench: Bench, how: Stop, word: str) -> None:
    stop_when(bench, "a", how)
    result = await bench.run("print a\nsleep", "print b")
    assert reason(result) == ("cancelled", "cancelled")
    assert (result.reason.message, result.reason.worked) == (word, "interrupt")
    assert bench.shelf.states() == ["cancelled", "not-run"]
    assert bench.shelf.texts(0) == ["a\n", "KeyboardInterrupt: "]


async def test_a_second_stop_does_not_wait_for_the_code(bench: Bench) -> None:
    stop_when(bench, "a", Stop.INTERRUPT, Stop.FORCE)
    result = await bench.run("ignore-interrupts\nprint a\nsleep")
    assert (result.outcome, result.reason.worked) == ("cancelled", "terminate")
    assert bench.shelf.texts(0) == ["a\n"]


async def test_a_stop_before_the_start_ends_the_run_before_its_first_cell(bench: Bench) -> None:
    bench.prepare("print a")
    bench.stop(Stop.TERMINATE)
    assert bench.runner is not None
    async with asyncio.timeout(HANG_LIMIT_S):
        result = await bench.runner.run()
    assert result.outcome == "cancelled"
    assert bench.shelf.closed


async def test_somebody_who_cancels_us_finds_a_complete_file_and_no_kernel(bench: Bench) -> None:
    runner = bench.prepare("print a\nsleep", "print b")
    running = asyncio.create_task(runner.run())
    bench.on_event = lambda event: printed(event, "a") and running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.shelf.states() == ["cancelled", "not-run"]
    assert bench.shelf.texts(0)[0] == "a\n"
    assert bench.shelf.run["state"] == "finished"
    assert bench.shelf.closed
    assert await bench.service.kernels(ME) == []


async def test_who_does_not_wait_for_the_code_does_not_wait_for_a_gateway(bench: Bench) -> None:
    class Away(LocalEngine):
        async def log(self, uid: Any, *, after: Any, wait_s: float) -> LogPage:
            for how in (Stop.INTERRUPT, Stop.FORCE, Stop.FORCE):
                bench.stop(how)
            await asyncio.Event().wait()
            raise AssertionError

        async def cancel(self, uid: Any, **how: Any) -> None:
            raise Unreachable("No route.")

    bench.engine = Away
    result = await bench.run("print a")
    assert ("lost", "gateway_lost") == reason(result)
    assert "It was stopped, and the gateway does not answer." == result.reason.message
    assert (["not-run"], True) == (bench.shelf.states(), bench.shelf.closed)


async def test_how_it_ended_stays_so_when_the_gateway_is_lost_then(bench: Bench) -> None:
    class Lost(LocalEngine):
        async def log(self, uid: Any, *, after: Any, wait_s: float) -> LogPage:
            page = await super().log(uid, after=after, wait_s=wait_s)
            if page.finished:
                bench.stop(Stop.FORCE)
                if not page.records:
                    await asyncio.Event().wait()
            return replace(page, sealed=False)

        async def cancel(self, uid: Any, **how: Any) -> None:
            raise Unreachable("No route.")

    bench.engine = Lost
    assert ("ok", "done") == reason(await bench.run("print a"))
    assert ["a\n"] == bench.shelf.texts(0)


async def test_a_run_whose_start_takes_too_long_for_a_stop_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(LocalEngine):
        async def start(self, *args: Any) -> RunInfo:
            for how in (Stop.INTERRUPT, Stop.FORCE):
                bench.stop(how)
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(runner, "START_S", 0.0)
    bench.engine = Slow
    assert ("lost", "unreachable") == reason(await bench.run("print a"))
    assert (["not-run"], True) == (bench.shelf.states(), bench.shelf.closed)


async def test_a_stop_while_it_is_started_is_passed_on_then(bench: Bench) -> None:
    class Stopped(LocalEngine):
        async def start(self, *args: Any) -> RunInfo:
            bench.stop(Stop.TERMINATE)
            await asyncio.sleep(0)
            return await super().start(*args)

    bench.engine = Stopped
    assert ("cancelled", "cancelled") == reason(await bench.run("print a\nsleep"))


async def test_a_save_that_is_cancelled_is_over_before_anything_goes_on() -> None:
    began, go_on, over = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def save() -> None:
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(HANG_LIMIT_S)
        over.set()

    saving = asyncio.create_task(runner._in_thread(save))
    await began.wait()
    saving.cancel()
    for _ in range(9):
        await asyncio.sleep(0)
    assert not saving.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert over.is_set()


# -- saving ----------------------------------------------------------------------------------------


async def test_an_output_that_cannot_be_written_starts_nothing(bench: Bench) -> None:
    bench.shelf.faults = [OSError(13, "Permission denied")]
    with pytest.raises(NotebookUnwritable, match="Permission denied"):
        await bench.run("print a")
    assert bench.launcher.kernels == []


async def test_a_disk_that_is_full_for_a_while_stops_nothing(bench: Bench) -> None:
    bench.shelf.faults = [None, OSError(28, "No space left on device")]
    assert reason(await bench.run("print a")) == ("ok", "done")
    assert any(isinstance(event, NotSaved) for event in bench.events)
    assert bench.shelf.texts(0) == ["a\n"]


async def test_an_output_that_cannot_be_finished_is_an_error(bench: Bench) -> None:
    bench.shelf.faults = [None, *[OSError(28, "No space left on device")] * 50]
    with pytest.raises(NotebookUnwritable):
        await bench.run("print a")
    assert await bench.service.kernels(ME) == []


# -- kernels ---------------------------------------------------------------------------------------


async def test_the_kernel_of_the_option_comes_first(bench: Bench) -> None:
    named = {"kernelspec": {"name": "python3", "display_name": "P"}}
    await bench.run("print a", metadata=named, kernel_name="other")
    assert bench.kernel.request.spec_name == "other"
    assert bench.shelf.last["metadata"]["kernelspec"]["name"] == "other"


async def test_a_fallback_is_said_once_and_written_down(bench: Bench) -> None:
    named = {"kernelspec": {"name": "gone", "display_name": "G", "language": "other"}}
    await bench.run("print a", metadata=named)
    sentence = "The notebook names the kernel 'gone', which is not there: 'other' is used."
    chosen = [event.choice for event in bench.events if isinstance(event, KernelChosen)]
    assert [choice.fallback for choice in chosen] == [sentence]
    kernel = bench.shelf.last["metadata"]["kernel_gateway"]["kernel"]
    assert kernel == {
        "name": "other",
        "language": "other",
        "asked": "gone",
        "fallback": sentence,
        "implementation": "fake",
    }


async def test_folder_and_start_limit_reach_the_kernel(bench: Bench, tmp_path: Any) -> None:
    await bench.run("print a", cwd=tmp_path, start_limit_s=7.0)
    request = bench.kernel.request
    assert (tmp_path, 7.0 + START_MARGIN_S) == (request.cwd, request.start_limit_s)


async def test_without_any_kernel_nothing_starts(bench: Bench) -> None:
    bench.service.specs = KernelSpecsView(default="python3", specs=())
    assert reason(await bench.run("print a")) == ("error", "kernel_not_found")


# -- big values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine_settings", [EngineSettings(log=LogLimits(inline_bytes=64))])
async def test_values_that_are_too_big_for_the_log_are_whole_in_the_notebook(bench: Bench) -> None:
    await bench.run(f"result {'x' * 500}", f"show id a\nupdate id {'y' * 500}")
    assert bench.shelf.texts(0) == ["x" * 500]
    assert bench.shelf.texts(1) == ["y" * 500]
