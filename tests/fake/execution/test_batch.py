"""Batch runs: three steps on the session's command kernel, in one queue with its queries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.service import BatchCommands, Status
from tests.fake.execution.conftest import ME, text

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.kernels.fake import FakeBehaviour
    from kernel_gateway.service import Answer
    from tests.fake.execution.conftest import Bench


def told(answer: Answer) -> tuple[str, int | None, str]:
    return answer.status.value, answer.exit_code, text(answer)


async def to_the_end(bench: Bench, session_id: str, run_id: str, first: Answer) -> list[Answer]:
    answers = [first]
    while answers[-1].status is not Status.FINISHED:
        answers.append(await bench.ended(session_id, run_id))
    return answers


async def test_each_phase_is_told_once_and_before_any_output_of_the_next(bench: Bench) -> None:
    session = await bench.a_session()
    first = await bench.batch(
        session.id, "r", clean="print swept", build="print built", exec="print ran"
    )
    answers = await to_the_end(bench, session.id, "r", first)
    assert [
        ("clean-finished", 0, "swept\n"),
        ("build-finished", 0, "built\n"),
        ("finished", 0, "ran\n"),
    ] == [told(answer) for answer in answers]


async def test_steps_that_are_left_out_are_told_too(bench: Bench) -> None:
    session = await bench.a_session()
    first = await bench.batch(session.id, "r", clean="", build=None, exec="end 3")
    answers = await to_the_end(bench, session.id, "r", first)
    assert [
        ("clean-finished", 0, ""),
        ("build-finished", 0, ""),
        ("finished", 3, ""),
    ] == [told(answer) for answer in answers]


async def test_a_failed_build_ends_the_run_and_is_forgotten_by_the_next(bench: Bench) -> None:
    session = await bench.a_session()
    first = await bench.batch(session.id, "r", build="print no\nend 2", exec="print never")
    answers = await to_the_end(bench, session.id, "r", first)
    assert [("build-finished", 2, "no\n"), ("finished", 2, "")] == [told(a) for a in answers[1:]]
    assert answers[-1].reason is not None
    assert "build_failed" == answers[-1].reason.code
    second = await bench.batch(session.id, "s", build="end 0", exec="print ran")
    assert ("finished", 0, "ran\n") == told((await to_the_end(bench, session.id, "s", second))[-1])


async def test_a_call_that_is_repeated_is_told_from_the_beginning(bench: Bench) -> None:
    session = await bench.a_session()
    given = {"clean": "print swept", "build": "print built"}
    first = await bench.batch(session.id, "r", **given)
    again = await bench.batch(session.id, "r", **given)
    assert ("clean-finished", 0, "swept\n") == told(first) == told(again)


async def test_batch_runs_leave_the_kernel_of_the_queries_alone(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.batch(session.id, "r", exec="print x")
    await bench.ended(session.id, "r")
    queries, commands = bench.launcher.kernels
    assert ["python3", "kernel-gateway-command"] == [
        kernel.request.spec_name for kernel in (queries, commands)
    ]
    assert queries.request.cwd == commands.request.cwd
    assert "kernel-gateway-command" == (await bench.service.run(ME, "r")).kernel_name


async def test_queries_and_batch_runs_share_one_queue(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.started(session.id, "print a\nsleep", "a")
    await bench.until_told("a", "a\\n")
    await bench.call(session.id, mode="batch", run_id="b", commands=commands("sleep"))
    await bench.started(session.id, "print c", "c")
    assert [0, 1] == [(await bench.service.run(ME, one)).queue_position for one in "bc"]
    bench.launcher.kernels[0].release()
    await bench.until_state("b", "running")
    assert "queued" == (await bench.service.run(ME, "c")).view.state
    bench.launcher.kernels[1].release()
    assert ("finished", 0, "c\n") == told(await bench.ended(session.id, "c"))


def commands(line: str) -> BatchCommands:
    return BatchCommands(exec=line)


async def test_an_interrupt_reaches_the_run_in_flight_on_whichever_kernel(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.call(session.id, mode="batch", run_id="r", commands=commands("print go\nsleep"))
    await bench.until_told("r", "go")
    await bench.service.interrupt_kernel(ME, session.id)
    await bench.until_state("r", "finished")
    assert 130 == (await bench.service.run(ME, "r")).view.exit_code


async def test_a_command_kernel_that_dies_is_started_anew(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.batch(session.id, "r", exec="die SIGKILL")
    await bench.until_state("r", "finished")
    assert "lost" == (await bench.service.run(ME, "r")).view.outcome
    first = await bench.batch(session.id, "s", exec="print again")
    answers = await to_the_end(bench, session.id, "s", first)
    assert ("finished", 0, "again\n") == told(answers[-1])
    assert "idle" == (await bench.service.kernel(ME, session.id)).state


async def test_a_command_kernel_that_does_not_start_ends_its_runs_and_is_tried_anew(
    bench: Bench, behaviour: FakeBehaviour
) -> None:
    session = await bench.a_session()
    generations = []
    for run_id in "rs":
        bench.launcher.behaviour = replace(behaviour, dies_at_start=KernelExit(exit_code=1))
        answer = await bench.batch(session.id, run_id, exec="print x")
        assert "The kernel did not start" in text(answer, "stderr")
        generations.append((await bench.service.run(ME, run_id)).generation)
    bench.launcher.behaviour = behaviour
    first = await bench.batch(session.id, "t", exec="print x")
    assert ("finished", 0, "x\n") == told((await to_the_end(bench, session.id, "t", first))[-1])
    assert [1, 2, 3] == [*generations, (await bench.service.run(ME, "t")).generation]


async def test_a_launcher_that_fails_ends_the_run_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(*arguments: object) -> None:
        raise RuntimeError("a provisioner of somebody else")

    session = await bench.a_session()
    with monkeypatch.context() as patch:
        patch.setattr(bench.launcher, "launch", launch)
        answer = await bench.batch(session.id, "r", exec="print x")
    assert "a provisioner of somebody else" in text(answer, "stderr")
    assert "y\n" == text(await bench.run(session.id, "print y"))


async def test_a_restart_ends_the_batch_run_in_flight_and_keeps_those_behind(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.call(session.id, mode="batch", run_id="r", commands=commands("print go\nsleep"))
    await bench.until_told("r", "go")
    await bench.call(session.id, mode="batch", run_id="s", commands=commands("print after"))
    await bench.service.restart_kernel(ME, session.id)
    await bench.until_state("s", "finished")
    reason = (await bench.service.run(ME, "r")).view.reason
    assert reason is not None
    assert "kernel_restarted" == reason.code
    assert 0 == (await bench.service.run(ME, "s")).view.exit_code


async def test_the_end_of_a_session_is_the_end_of_its_batch_runs(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.call(session.id, mode="batch", run_id="r", commands=commands("print go\nsleep"))
    await bench.until_told("r", "go")
    await bench.call(session.id, mode="batch", run_id="s", commands=commands("print never"))
    await bench.service.delete_kernel(ME, session.id)
    for run_id in "rs":
        view = (await bench.service.run(ME, run_id)).view
        assert ("cancelled", 130) == (view.outcome, view.exit_code)


async def test_a_step_may_ask_for_input(bench: Bench) -> None:
    session = await bench.a_session()
    await bench.call(
        session.id, mode="batch", run_id="r", commands=commands("password key? \necho")
    )
    await bench.until_state("r", "waiting-input")
    answer = await bench.call(session.id, run_id="r", mode="continue", wait_s=9.0)
    while answer.status is not Status.WAITING_INPUT:
        answer = await bench.call(session.id, run_id="r", mode="continue", wait_s=9.0)
    assert (True, "key? ") == (answer.is_password, text(answer))
    final = await bench.call(session.id, "open", run_id="r", mode="input", wait_s=9.0)
    assert ("finished", 0, "open\n") == told(final)


class TestWithoutTheCommandKernel:
    @pytest.fixture
    def engine_settings(self, tmp_path: Path) -> EngineSettings:
        return EngineSettings(sessions_dir=tmp_path / "sessions", command_spec="missing")

    async def test_a_batch_run_ends_and_says_why_and_queries_go_on(self, bench: Bench) -> None:
        session = await bench.a_session()
        answer = await bench.batch(session.id, "r", exec="print x")
        assert (Status.FINISHED, 1) == (answer.status, answer.exit_code)
        assert "no kernelspec 'missing'" in text(answer, "stderr")
        assert "y\n" == text(await bench.run(session.id, "print y"))


class TestALimit:
    @pytest.fixture
    def engine_settings(self, tmp_path: Path) -> EngineSettings:
        return EngineSettings(sessions_dir=tmp_path / "sessions", run_limit_s=60.0)

    async def test_a_run_that_takes_too_long_is_told_as_finished(self, bench: Bench) -> None:
        session = await bench.a_session()
        await bench.started(session.id, "print go\nsleep", "r")
        await bench.until_told("r", "go")
        bench.clock.advance(61)
        answer = await bench.ended(session.id, "r")
        assert (Status.FINISHED, 124) == (answer.status, answer.exit_code)
        assert "limit of 60 s" in text(answer, "stderr")
