"""What every kernel does, over the one in memory and over ipykernel: the fake is held to the real.

What only one of them can show is in tests/fake and tests/kernel.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.kernels.fake import FakeLauncher
from kernel_gateway.kernels.kernel import Generation, KernelExit
from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.pool.launcher import WarmLauncher
from kernel_gateway.messaging.facts import (
    SUBSHELLS,
    Busy,
    Display,
    DisplayUpdate,
    Idle,
    InputRequested,
    KernelInfo,
    Raised,
    Replied,
    Stream,
    fact_of,
)
from kernel_gateway.messaging.message import (
    Channel,
    MsgId,
    Request,
    execute_request,
    input_reply,
    kernel_info_request,
)
from kernel_gateway.messaging.raw import RawMessage
from tests.shared.kernels import HANG_LIMIT_S, Bench, Python, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# ipykernel 7.4 hangs for 10 s in about every fifth shutdown: its control thread flushes stdout
# while its iopub thread has ended already.
GRACE_S = 0.5


@pytest.fixture(params=["fake", "warm", "real"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "fake":
        bench = Bench(FakeLauncher(), Script())
    elif request.param == "warm":
        bench = Bench(await _a_pool(tmp_path / "warm"), Script())
    else:
        bench = Bench(LocalLauncher(), Python())
    yield bench
    await bench.launcher.close()


async def _a_pool(folder: Path) -> WarmLauncher:
    """With more than any test takes."""
    pool = WarmLauncher(FakeLauncher(), {"python3": 2}, folder=folder)
    await pool.start()
    async with asyncio.timeout(HANG_LIMIT_S):
        while pool.ready() != {"python3": 2}:  # noqa: ASYNC110 - a turn of the loop is all it takes
            await asyncio.sleep(0)
    return pool


async def test_it_tells_once_that_it_is_ready_and_nothing_of_how_that_was_found(
    bench: Bench,
) -> None:
    started = await bench.ready()
    await started.run(bench.dialect.prints("x"))
    infos = [told for told in started.recorder.told if isinstance(told, KernelInfo)]
    kinds = {message.header.msg_type for message in started.recorder.messages}
    assert len(infos) == 1
    assert infos[0].implementation
    assert not kinds & {"kernel_info_reply", "iopub_welcome"}
    await started.kernel.kill()


async def test_a_cell_is_busy_then_prints_then_is_idle_with_its_request_as_the_parent(
    bench: Bench,
) -> None:
    started = await bench.ready()
    msg_id = await started.run(bench.dialect.prints("hello"))
    iopub = [m for m in started.recorder.of(msg_id) if m.channel is Channel.IOPUB]
    facts = [fact for message in iopub if (fact := fact_of(message))]
    assert facts == [Busy(), Stream(name="stdout", text="hello\n"), Idle()]
    assert started.recorder.reply(msg_id).status == "ok"
    assert started.recorder.reply(msg_id).execution_count == 1
    await started.kernel.kill()


async def test_an_error_comes_as_output_and_in_the_reply(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = await started.run(bench.dialect.raises("ValueError", "no good"))
    (raised,) = [f for f in started.recorder.facts(msg_id) if isinstance(f, Raised)]
    reply = started.recorder.reply(msg_id)
    assert (raised.ename, raised.evalue) == ("ValueError", "no good")
    assert (reply.status, reply.ename, reply.evalue) == ("error", "ValueError", "no good")
    assert raised.traceback
    await started.kernel.kill()


@pytest.mark.parametrize("password", [False, True])
async def test_a_prompt_is_told_and_its_answer_reaches_the_cell(
    bench: Bench, password: bool
) -> None:
    started = await bench.ready()
    ask = bench.dialect.asks_password if password else bench.dialect.asks
    msg_id = started.send(ask("Who? "), allow_stdin=True)
    prompt = await started.recorder.message("input_request", msg_id)
    assert prompt.channel is Channel.STDIN
    assert fact_of(prompt) == InputRequested(prompt="Who? ", password=password)
    started.kernel.send(input_reply(MsgId("answer"), "Ada", parent=prompt.header))
    await started.recorder.ended(msg_id)
    assert started.recorder.stdout(msg_id) == "Ada\n"
    await started.kernel.kill()


async def test_a_prompt_that_nobody_allows_is_an_error(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = started.send(bench.dialect.asks("Who? "), allow_stdin=False)
    reply = await started.recorder.ended(msg_id)
    assert (reply.status, reply.ename) == ("error", "StdinNotImplementedError")
    await started.kernel.kill()


async def test_a_display_is_updated_by_its_id(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = await started.run(bench.dialect.shows_and_updates("one", "two"))
    shown = [f for f in started.recorder.facts(msg_id) if isinstance(f, Display)]
    updated = [f for f in started.recorder.facts(msg_id) if isinstance(f, DisplayUpdate)]
    assert [(f.display_id, f.data["text/plain"]) for f in shown] == [("d1", "one")]
    assert [(f.display_id, f.data["text/plain"]) for f in updated] == [("d1", "two")]
    await started.kernel.kill()


async def test_an_interrupt_ends_a_sleeping_cell_and_not_the_kernel(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    await started.kernel.interrupt()
    reply = await started.recorder.ended(msg_id)
    assert (reply.status, reply.ename) == ("error", "KeyboardInterrupt")
    after = await started.run(bench.dialect.prints("alive"))
    assert started.recorder.stdout(after) == "alive\n"
    await started.kernel.kill()


async def test_an_interrupt_of_an_idle_kernel_does_nothing(bench: Bench) -> None:
    started = await bench.ready()
    await started.kernel.interrupt()
    msg_id = await started.run(bench.dialect.prints("alive"))
    assert started.recorder.reply(msg_id).status == "ok"
    await started.kernel.kill()


async def test_what_is_queued_behind_an_error_is_aborted_when_that_was_asked_for(
    bench: Bench,
) -> None:
    started = await bench.ready()
    first = started.send(bench.dialect.raises("ValueError", "x"), stop_on_error=True)
    second = started.send(bench.dialect.prints("never"))
    assert (await started.recorder.ended(first)).status == "error"
    assert (await started.recorder.ended(second)).aborted
    assert started.recorder.stdout(second) == ""
    await started.kernel.kill()


async def test_what_is_queued_behind_an_error_is_run_otherwise(bench: Bench) -> None:
    started = await bench.ready()
    started.send(bench.dialect.raises("ValueError", "x"), stop_on_error=False)
    second = await started.run(bench.dialect.prints("run"))
    assert started.recorder.stdout(second) == "run\n"
    await started.kernel.kill()


async def test_control_answers_while_a_cell_is_running(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    asked = started.ask(Channel.CONTROL)
    reply = await started.recorder.message("kernel_info_reply", asked)
    await started.recorder.until(lambda: Idle() in started.recorder.facts(asked))
    assert reply.channel is Channel.CONTROL
    assert not [f for f in started.recorder.facts(msg_id) if isinstance(f, Replied)]
    await started.kernel.kill()


async def test_a_kernel_that_is_killed_is_told_once_and_last_with_its_signal(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    await started.kernel.kill()
    exit_ = await started.kernel.wait_dead()
    assert exit_.signal == "SIGKILL"
    assert exit_.exit_code is None
    assert exit_.start_fault is None
    assert started.recorder.exits == [exit_]
    assert started.recorder.told[-1] is exit_
    assert exit_ == await started.kernel.wait_dead()


async def test_a_process_that_ends_by_itself_has_told_everything_before(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = started.send(bench.dialect.exits(3))
    exit_ = await started.recorder.dead()
    assert (exit_.exit_code, exit_.signal, exit_.start_fault) == (3, None, None)
    assert started.recorder.stdout(msg_id) == "bye\n"
    assert isinstance(started.recorder.told[-1], KernelExit)


async def test_a_kernel_that_is_terminated_ends(bench: Bench) -> None:
    started = await bench.ready()
    await started.kernel.terminate()
    assert (await started.kernel.wait_dead()).start_fault is None


async def test_a_shutdown_returns_when_the_end_has_been_told(bench: Bench) -> None:
    started = await bench.ready()
    await started.kernel.shutdown(GRACE_S)
    (exit_,) = started.recorder.exits
    assert (exit_.exit_code, exit_.signal) in {(0, None), (None, "SIGTERM")}
    assert exit_.start_fault is None
    assert not [m for m in started.recorder.messages if m.header.msg_type == "shutdown_reply"]


async def test_a_second_shutdown_finds_it_gone(bench: Bench) -> None:
    started = await bench.ready()
    await started.kernel.shutdown(GRACE_S)
    await started.kernel.shutdown(GRACE_S)
    await started.kernel.kill()
    await started.kernel.terminate()
    await started.kernel.interrupt()
    assert len(started.recorder.exits) == 1


@pytest.mark.parametrize("how", ["kill", "shutdown"])
async def test_a_kernel_can_be_stopped_while_it_starts(bench: Bench, how: str) -> None:
    started = bench.launch()
    if how == "kill":
        await started.kernel.kill()
    else:
        await started.kernel.shutdown(GRACE_S)
    exit_ = await started.kernel.wait_dead()
    assert exit_.start_fault == "It was stopped before it was ready."
    assert started.recorder.told == [exit_]


async def test_what_is_sent_while_it_starts_is_run_when_it_is_ready(bench: Bench) -> None:
    started = bench.launch()
    msg_id = await started.run(bench.dialect.prints("early"))
    facts = started.recorder.facts(msg_id)
    assert Busy() in facts
    assert started.recorder.stdout(msg_id) == "early\n"
    await started.kernel.kill()


async def test_what_is_sent_to_a_dead_kernel_runs_nowhere(bench: Bench) -> None:
    first = await bench.ready(generation=Generation(1))
    await first.kernel.kill()
    lost = first.send(bench.dialect.prints("lost"))
    await first.kernel.wait_dead()
    also_lost = first.send(bench.dialect.prints("lost"))
    second = await bench.ready(generation=Generation(2))
    await second.run(bench.dialect.prints("here"))
    assert (first.kernel.generation, second.kernel.generation) == (1, 2)
    assert first.recorder.stdout(lost) == first.recorder.stdout(also_lost) == ""
    assert second.recorder.of(lost) == second.recorder.of(also_lost) == []
    assert isinstance(first.recorder.told[-1], KernelExit)
    await second.kernel.kill()


def of_a_client(request: Request) -> RawMessage:
    """As a client of its own would have sent it."""
    return RawMessage.of(request.stamped(session="page", date="2026-01-02T03:04:05.000678Z"))


async def test_a_request_of_ours_is_answered_with_the_session_of_the_kernel(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = await started.run(bench.dialect.prints("x"))
    parents = [message.parent for message in started.recorder.of(msg_id)]
    assert {parent.session for parent in parents if parent} == {started.kernel.session}
    assert started.kernel.session not in {"", "page"}
    await started.kernel.kill()


async def test_a_message_of_a_client_is_answered_with_its_own_header_as_the_parent(
    bench: Bench,
) -> None:
    started = await bench.ready()
    request = execute_request(MsgId("own"), bench.dialect.asks("Who? "), allow_stdin=True)
    started.kernel.send(of_a_client(request))
    prompt = await started.recorder.message("input_request", MsgId("own"))
    answer = input_reply(MsgId("answer"), "Ada", parent=prompt.header)
    started.kernel.send(of_a_client(answer))
    await started.recorder.ended(MsgId("own"))
    told = started.recorder.of(MsgId("own"))
    assert {(m.parent.session, m.parent.msg_type) for m in told if m.parent} == {
        ("page", "execute_request")
    }
    assert {message.channel for message in told} == {Channel.SHELL, Channel.IOPUB, Channel.STDIN}
    assert started.recorder.stdout(MsgId("own")) == "Ada\n"
    await started.kernel.kill()


async def test_two_clients_may_choose_one_id(bench: Bench) -> None:
    started = await bench.ready()
    ours = started.ask(Channel.CONTROL)
    await started.recorder.message("kernel_info_reply", ours)
    started.kernel.send(of_a_client(kernel_info_request(ours, Channel.CONTROL)))

    def sessions() -> list[str]:
        replies = [m for m in started.recorder.of(ours) if m.msg_type == "kernel_info_reply"]
        return [reply.parent.session for reply in replies if reply.parent]

    await started.recorder.until(lambda: len(sessions()) == 2)
    assert sessions() == [started.kernel.session, "page"]
    await started.kernel.kill()


async def test_a_message_of_a_client_that_comes_while_it_starts_is_kept(bench: Bench) -> None:
    started = bench.launch()
    code = bench.dialect.prints("early")
    started.kernel.send(of_a_client(execute_request(MsgId("own"), code, allow_stdin=False)))
    await started.recorder.ended(MsgId("own"))
    assert started.recorder.stdout(MsgId("own")) == "early\n"
    await started.kernel.kill()


async def test_its_artifact_folder_is_made_and_told_to_its_code(
    bench: Bench, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts" / "mine"
    started = await bench.ready(artifact_dir=folder)
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    await started.run(bench.dialect.saves("plots/a.txt", "hello"))
    assert (folder / "plots" / "a.txt").read_text() == "hello"
    await started.kernel.kill()
    await started.kernel.wait_dead()
    assert (folder / "plots" / "a.txt").read_text() == "hello"


async def test_an_artifact_folder_that_cannot_be_made_is_named(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    started = bench.launch(artifact_dir=tmp_path / "file" / "mine")
    exit_ = await started.recorder.dead()
    assert exit_.start_fault is not None
    assert exit_.start_fault.startswith(f"The artifact folder {tmp_path}/file/mine cannot be made:")
    assert started.recorder.told == [exit_]


async def test_what_its_process_prints_itself_is_kept_also_after_its_death(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = await started.run(bench.dialect.prints_setup("loading"))
    await started.kernel.kill()
    exit_ = await started.kernel.wait_dead()
    output = started.kernel.output()
    assert output.text.endswith("loading\n")
    assert (output.dropped, exit_.stderr_tail) == (0, output.text)
    assert started.recorder.stdout(msg_id) == ""


async def test_it_is_alive_until_its_process_is_gone(bench: Bench) -> None:
    started = await bench.ready()
    assert started.kernel.alive
    await started.kernel.kill()
    await started.kernel.wait_dead()
    assert not started.kernel.alive


async def test_a_subshell_evaluates_beside_the_cell_that_runs(bench: Bench) -> None:
    started = await bench.ready()
    assert SUBSHELLS in (await started.recorder.ready()).features
    await started.run(bench.dialect.names("loaded"))
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    subshell_id = await started.subshell()
    value = await started.value("loaded", subshell_id)
    assert isinstance(value, dict)
    assert (value["status"], value["data"]) == ("ok", {"text/plain": "True"})
    fault = await started.value("missing", subshell_id)
    assert isinstance(fault, dict)
    assert (fault["status"], fault["ename"]) == ("error", "NameError")
    assert fault["evalue"] == "name 'missing' is not defined"
    assert not [f for f in started.recorder.facts(msg_id) if isinstance(f, Replied)]
    await started.kernel.kill()


async def test_an_interrupt_hits_the_cell_and_not_the_subshell(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    subshell_id = await started.subshell()
    await started.value("missing", subshell_id)
    await started.kernel.interrupt()
    assert (await started.recorder.ended(msg_id)).ename == "KeyboardInterrupt"
    await started.value("missing", subshell_id)
    await started.kernel.kill()


async def test_an_unknown_kernelspec_is_named(bench: Bench) -> None:
    with pytest.raises(KernelSpecNotFound, match="'no-such'"):
        bench.launch(spec_name="no-such")
