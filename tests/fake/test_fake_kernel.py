"""What only the kernel in memory can be made to do: orders, refusals, a start held shut."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.kernels.fake import FakeBehaviour, FakeKernel, FakeLauncher
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.messaging.facts import (
    Busy,
    Clear,
    Display,
    Fact,
    Idle,
    InputRequested,
    Raised,
    Replied,
    Stream,
    SubshellMade,
    fact_of,
)
from kernel_gateway.messaging.message import (
    Channel,
    MsgId,
    create_subshell_request,
    execute_request,
    input_reply,
)
from tests.shared.kernels import Bench, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def make_bench() -> AsyncIterator[Callable[..., Bench]]:
    """A bench whose kernels behave like this; `gate` is the launcher's."""
    benches: list[Bench] = []

    def make(gate: asyncio.Event | None = None, **behaviour: Any) -> Bench:
        launcher = FakeLauncher(behaviour=FakeBehaviour(**behaviour), gate=gate)
        benches.append(Bench(launcher, Script()))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.launcher.close()


def _kinds(facts: list[Fact]) -> list[type]:
    return [type(fact) for fact in facts]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("reply_first", [Busy, Stream, Replied, Idle]),
        ("idle_first", [Busy, Stream, Idle, Replied]),
        ("iopub_last", [Replied, Busy, Stream, Idle]),
    ],
)
async def test_channels_can_be_ordered(
    make_bench: Callable[..., Bench], order: str, expected: list[type]
) -> None:
    started = await make_bench(order=order).ready()
    msg_id = await started.run("print x")
    assert _kinds(started.recorder.facts(msg_id)) == expected


async def test_with_iopub_last_a_prompt_overtakes_prints_until_control_is_idle(
    make_bench: Callable[..., Bench],
) -> None:
    started = await make_bench(order="iopub_last").ready()
    msg_id = started.send("print before\ninput Who?", allow_stdin=True)
    prompt = await started.recorder.message("input_request", msg_id)
    assert _kinds(started.recorder.facts(msg_id)) == [InputRequested]
    barrier = started.ask(Channel.CONTROL)
    await started.recorder.until(lambda: Idle() in started.recorder.facts(barrier))
    assert _kinds(started.recorder.facts(msg_id)) == [InputRequested, Busy, Stream]
    started.kernel.send(input_reply(MsgId("a"), "Ada", parent=prompt.header))
    await started.recorder.ended(msg_id)


async def test_a_start_waits_for_its_gate(make_bench: Callable[..., Bench]) -> None:
    gate = asyncio.Event()
    started = make_bench(gate=gate).launch()
    msg_id = started.send("print x")
    await asyncio.sleep(0)
    assert started.recorder.told == []
    gate.set()
    await started.recorder.ended(msg_id)


async def test_a_start_can_fail(make_bench: Callable[..., Bench]) -> None:
    how = KernelExit(exit_code=1, start_fault="It ended before it was ready.", stderr_tail="why")
    started = make_bench(dies_at_start=how).launch()
    assert await started.kernel.wait_dead() == how
    assert started.recorder.told == [how]


async def test_an_interrupted_cell_can_end_without_a_reply(
    make_bench: Callable[..., Bench],
) -> None:
    started = await make_bench(replies_to_interrupt=False).ready()
    msg_id = started.send("print sleeping\nsleep")
    await started.printed(msg_id, "sleeping")
    await started.kernel.interrupt()
    await started.recorder.until(lambda: Idle() in started.recorder.facts(msg_id))
    assert _kinds(started.recorder.facts(msg_id)) == [Busy, Stream, Raised, Idle]


async def test_a_cell_can_ignore_interrupts(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    started = await bench.ready()
    msg_id = started.send("ignore-interrupts\nprint sleeping\nsleep\nprint woken")
    await started.printed(msg_id, "sleeping")
    await started.kernel.interrupt()
    asked = started.ask(Channel.CONTROL)
    await started.recorder.until(lambda: Idle() in started.recorder.facts(asked))
    assert isinstance(started.kernel, FakeKernel)
    started.kernel.release()
    assert (await started.recorder.ended(msg_id)).status == "ok"
    assert started.recorder.stdout(msg_id) == "sleeping\nwoken\n"


async def test_an_interrupt_before_the_busy_is_swallowed(
    make_bench: Callable[..., Bench],
) -> None:
    started = await make_bench().ready()
    interrupting = started.kernel.interrupt()
    await interrupting
    msg_id = await started.run("print x")
    assert started.recorder.reply(msg_id).status == "ok"


async def test_late_output_comes_behind_the_idle(make_bench: Callable[..., Bench]) -> None:
    started = await make_bench().ready()
    msg_id = await started.run("late thread\nprint x")
    await started.printed(msg_id, "thread")
    assert _kinds(started.recorder.facts(msg_id)) == [Busy, Stream, Replied, Idle, Stream]


async def test_the_other_operations(make_bench: Callable[..., Bench]) -> None:
    started = await make_bench().ready()
    msg_id = await started.run(
        'write "a\\rb"\nstderr oops\nclear wait\nclear\ndisplay text/html <b>\nresult 42'
    )
    facts = [
        fact
        for message in started.recorder.of(msg_id)
        if message.channel is Channel.IOPUB and (fact := fact_of(message))
    ]
    assert facts[1:-1] == [
        Stream(name="stdout", text="a\rb"),
        Stream(name="stderr", text="oops\n"),
        Clear(wait=True),
        Clear(wait=False),
        Display(data={"text/html": "<b>"}, metadata={}),
        Display(data={"text/plain": "42"}, metadata={}, execution_count=1, is_result=True),
    ]


async def test_what_is_no_operation_is_a_syntax_error(make_bench: Callable[..., Bench]) -> None:
    started = await make_bench().ready()
    msg_id = await started.run("frobnicate")
    assert started.recorder.reply(msg_id).ename == "SyntaxError"


async def test_death_by_a_signal_tells_what_iopub_still_had(
    make_bench: Callable[..., Bench],
) -> None:
    started = await make_bench(order="iopub_last").ready()
    msg_id = started.send("print last words\ndie SIGSEGV")
    exit_ = await started.recorder.dead()
    assert exit_ == KernelExit(signal="SIGSEGV")
    assert started.recorder.stdout(msg_id) == "last words\n"
    assert started.recorder.told[-1] is exit_


async def test_nothing_is_told_from_within_a_call(make_bench: Callable[..., Bench]) -> None:
    started = await make_bench().ready()
    before = list(started.recorder.told)
    started.send("print x")
    await started.kernel.interrupt()
    await started.kernel.kill()
    assert started.recorder.told == before
    await started.kernel.wait_dead()


async def test_a_frozen_kernel_hears_nothing_until_it_is_thawed(
    make_bench: Callable[..., Bench],
) -> None:
    started = await make_bench().ready()
    kernel = started.kernel
    assert isinstance(kernel, FakeKernel)
    kernel.freeze()
    kernel.freeze()
    asked = started.ask(Channel.CONTROL)
    msg_id = started.send("print x")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert started.recorder.messages == []
    kernel.thaw()
    await started.recorder.ended(msg_id)
    assert Idle() in started.recorder.facts(asked)


async def test_a_frozen_kernel_has_to_be_killed(make_bench: Callable[..., Bench]) -> None:
    started = await make_bench().ready()
    assert isinstance(started.kernel, FakeKernel)
    started.kernel.freeze()
    await started.kernel.shutdown(0.1)
    assert (await started.recorder.dead()).signal == "SIGKILL"


async def test_its_process_can_print_while_it_starts(make_bench: Callable[..., Bench]) -> None:
    started = make_bench(setup="no such module\n").launch()
    await started.kernel.kill()
    exit_ = await started.kernel.wait_dead()
    assert started.kernel.output().text == exit_.stderr_tail == "no such module\n"


async def test_nothing_can_be_saved_without_an_artifact_folder(
    make_bench: Callable[..., Bench],
) -> None:
    started = await make_bench().ready()
    msg_id = await started.run("save a.txt hello")
    assert started.recorder.reply(msg_id).ename == "FileNotFoundError"


async def test_a_kernel_may_have_no_subshells(make_bench: Callable[..., Bench]) -> None:
    started = await make_bench(subshells=False).ready()
    started.kernel.send(create_subshell_request(MsgId("s1")))
    reply = await started.recorder.message("create_subshell_reply", MsgId("s1"))
    assert fact_of(reply) == SubshellMade(None)
    assert (await started.recorder.ready()).features == ()


async def test_an_expression_can_wait(make_bench: Callable[..., Bench]) -> None:
    started = await make_bench().ready()
    assert isinstance(started.kernel, FakeKernel)
    subshell_id = await started.subshell()
    started.kernel.expressions["sleep"] = "slept"
    waiting = asyncio.create_task(started.value("sleep", subshell_id))
    await started.run("print x")
    assert not waiting.done()
    started.kernel.release()
    assert await waiting == {"status": "ok", "data": {"text/plain": "slept"}, "metadata": {}}


async def test_an_error_in_a_subshell_aborts_nothing_of_the_main_shell(
    make_bench: Callable[..., Bench],
) -> None:
    started = await make_bench().ready()
    assert isinstance(started.kernel, FakeKernel)
    subshell_id = await started.subshell()
    for number, code in enumerate(("sleep\nraise ValueError x", "print never")):
        request = execute_request(MsgId(f"s{number}"), code, allow_stdin=False, stop_on_error=True)
        started.kernel.send(replace(request, subshell_id=subshell_id))
    main = await started.run("print done")
    started.kernel.release()
    assert (await started.recorder.ended(MsgId("s1"))).aborted
    assert started.recorder.reply(main).status == "ok"
