"""What an execute call answers, and when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import (
    KernelNotFound,
    NotWaiting,
    QueueFull,
    RunIdConflict,
    RunNotFound,
    WrongPrompt,
)
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.service import Cursor, Owner
from tests.fake.execution.conftest import ME, text

if TYPE_CHECKING:
    from tests.fake.execution.conftest import Bench


async def test_a_run_that_ends_is_told_in_one_answer(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    answer = await bench.run(kernel, "print hello\nresult 2", "first")
    assert (answer.run_id, answer.status, answer.exit_code) == ("first", "finished", 0)
    assert text(answer) == "hello\n2"


async def test_a_run_without_an_id_is_given_one(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    answer = await bench.run(kernel, "print a")
    info = await bench.service.run(ME, answer.run_id)
    assert info.uid == answer.run_id


async def test_a_call_answers_continued_when_its_time_is_over(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    calling = asyncio.ensure_future(bench.call(kernel, "print a\nsleep", run_id="r", wait_s=2.0))
    await bench.until_state("r", "running")
    await bench.until_told("r", "a\\n")
    assert not calling.done()
    bench.clock.advance(2.0)
    answer = await calling
    assert (answer.status, text(answer), answer.exit_code) == ("continued", "a\n", None)


async def test_each_answer_carries_only_what_is_new(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "print a\nsleep\nprint b\nsleep\nprint c", "r")
    told = []
    for printed in ("a", "b"):
        await bench.until_told("r", f"{printed}\\n")
        told.append(text(await bench.call(kernel, run_id="r", mode="continue")))
        bench.kernel.release()
    answer = await bench.ended(kernel, "r")
    assert ["a\n", "b\n", "c\n"] == [*told, text(answer)]
    assert answer.status == "finished"


async def test_after_the_end_the_final_answer_is_given_again(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print a\nraise E no", "r")
    again = await bench.call(kernel, run_id="r", mode="continue")
    assert ("finished", 1, ()) == (again.status, again.exit_code, again.console)


async def test_the_same_call_twice_is_one_run_told_from_its_beginning(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    first = await bench.run(kernel, "print a", "r")
    second = await bench.run(kernel, "print a", "r")
    assert first == second
    assert 1 == sum(one.msg_type == "execute_request" for one in bench.kernel.requests)


async def test_fifty_creations_at_once_are_one_run(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    answers = await asyncio.gather(*(bench.run(kernel, "print a", "r") for _ in range(50)))
    assert {"a\n"} == {text(answer) for answer in answers}
    assert 1 == sum(one.msg_type == "execute_request" for one in bench.kernel.requests)


async def test_the_same_id_with_other_code_is_a_conflict(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print a", "r")
    with pytest.raises(RunIdConflict):
        await bench.run(kernel, "print b", "r")


async def test_the_same_id_on_another_kernel_is_another_run(bench: Bench) -> None:
    one, two = await bench.a_kernel(), await bench.a_kernel()
    assert "a\n" == text(await bench.run(one, "print a", "r"))
    assert "b\n" == text(await bench.run(two, "print b", "r"))


@pytest.mark.parametrize("mode", ["continue", "input"])
async def test_an_unknown_run_is_not_found_and_nothing_is_created(bench: Bench, mode: str) -> None:
    kernel = await bench.a_kernel()
    with pytest.raises(RunNotFound):
        await bench.call(kernel, run_id="nobody", mode=mode)
    with pytest.raises(RunNotFound):
        await bench.service.run(ME, "nobody")


async def test_an_unknown_kernel_is_not_found(bench: Bench) -> None:
    with pytest.raises(KernelNotFound):
        await bench.run("nobody", "print a")


async def test_what_belongs_to_somebody_else_does_not_exist(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print a", "r")
    other = Owner("other")
    with pytest.raises(KernelNotFound):
        await bench.call(kernel, "print a", owner=other)
    with pytest.raises(RunNotFound):
        await bench.service.run(other, "r")
    assert [] == await bench.service.kernels(other)


# -- input -----------------------------------------------------------------------------------------


async def test_a_prompt_is_told_behind_everything_printed_before_it(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    code = "\n".join([*(f"print {n}" for n in range(100)), "input name? ", "echo"])
    answer = await bench.run(kernel, code, "r")
    assert "waiting-input" == answer.status
    assert "".join(f"{n}\n" for n in range(100)) + "name? " == text(answer)
    assert (False, 1) == (answer.is_password, answer.prompt_id)
    answer = await bench.call(kernel, "bob", run_id="r", mode="input", wait_s=5.0)
    assert ("finished", "bob\n") == (answer.status, text(answer))


async def test_continue_while_waiting_is_told_so_again_with_nothing_new(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "input name? ", "r")
    again = await bench.call(kernel, run_id="r", mode="continue")
    assert ("waiting-input", ()) == (again.status, again.console)


async def test_a_password_is_in_no_record(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    answer = await bench.run(kernel, "password key: \nprint ok", "r")
    assert answer.is_password is True
    await bench.call(kernel, "hunter2", run_id="r", mode="input", wait_s=5.0)
    page = await bench.service.log(ME, "r")
    assert page.finished
    assert "hunter2" not in repr(page)


async def test_input_that_nobody_asked_for_is_refused_and_not_kept(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep\ninput more? \necho", "r")
    await bench.until_state("r", "running")
    with pytest.raises(NotWaiting):
        await bench.call(kernel, "early", run_id="r", mode="input")
    bench.kernel.release()
    assert "waiting-input" == (await bench.ended(kernel, "r")).status


async def test_an_answer_to_another_prompt_is_refused(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "input one\ninput two", "r")
    with pytest.raises(WrongPrompt):
        await bench.call(kernel, "x", run_id="r", mode="input", prompt_id=2)


async def test_the_same_answer_sent_twice_is_given_once(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "input one\necho\ninput two\necho", "r")
    for _ in range(2):
        answer = await bench.call(kernel, "x", run_id="r", mode="input", prompt_id=1, wait_s=5.0)
    assert ("waiting-input", 2) == (answer.status, answer.prompt_id)


# -- the queue -------------------------------------------------------------------------------------


async def test_overlapping_runs_come_out_in_order_and_an_error_aborts_nobody(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep\nraise E no", "one")
    await bench.started(kernel, "print two", "two")
    await bench.started(kernel, "print three", "three")
    await bench.until_state("one", "running")
    positions = [(await bench.service.run(ME, name)).queue_position for name in ("two", "three")]
    assert [0, 1] == positions
    bench.kernel.release()
    assert 1 == (await bench.ended(kernel, "one")).exit_code
    assert "two\n" == text(await bench.ended(kernel, "two"))
    assert "three\n" == text(await bench.ended(kernel, "three"))


class TestAFullQueue:
    @pytest.fixture
    def engine_settings(self) -> EngineSettings:
        return EngineSettings(queue_bound=2)

    async def test_refuses_the_next_run_and_stores_nothing_of_it(self, bench: Bench) -> None:
        kernel = await bench.a_kernel()
        await bench.started(kernel, "sleep", "one")
        await bench.until_state("one", "running")
        await bench.started(kernel, "print 2", "two")
        await bench.started(kernel, "print 3", "three")
        with pytest.raises(QueueFull):
            await bench.started(kernel, "print 4", "four")
        with pytest.raises(RunNotFound):
            await bench.service.run(ME, "four")


async def test_a_thousand_runs_one_after_the_other(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    for number in range(1000):
        answer = await bench.run(kernel, f"print {number}")
        assert (f"{number}\n", "finished") == (text(answer), answer.status)


# -- reading ---------------------------------------------------------------------------------------


async def test_a_lost_answer_is_read_again_from_its_cursor(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    first = await bench.run(kernel, "print a\ninput go? \nprint b", "r")
    lost = await bench.call(kernel, "x", run_id="r", mode="input", wait_s=5.0, after=first.cursor)
    again = await bench.call(kernel, run_id="r", mode="continue", after=first.cursor)
    assert lost == again
    whole = await bench.call(kernel, run_id="r", mode="continue", after=Cursor())
    assert "a\ngo? b\n" == text(whole)


async def test_two_that_poll_without_a_cursor_share_the_console(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "print a\nsleep\nprint b", "r")
    await bench.until_told("r", "a\\n")
    bench.kernel.release()
    answers = await asyncio.gather(bench.ended(kernel, "r"), bench.ended(kernel, "r"))
    assert "a\nb\n" == "".join(text(answer) for answer in answers)
    assert {"finished"} == {answer.status for answer in answers}


async def test_the_log_waits_for_what_comes_and_any_number_may_read(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.started(kernel, "sleep\nprint a", "r")
    await bench.until_state("r", "running")
    now = (await bench.service.log(ME, "r")).next
    readers = [
        asyncio.ensure_future(bench.service.log(ME, "r", after=now, wait_s=5.0)) for _ in range(3)
    ]
    bench.kernel.release()
    pages = await asyncio.gather(*readers)
    assert 1 == len({page.records[0] for page in pages})


async def test_the_log_is_told_from_the_store_when_the_run_is_forgotten(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print a", "r")
    live = await bench.service.log(ME, "r")
    bench.service._live.clear()
    stored = await bench.service.log(ME, "r")
    assert live == stored
    assert "finished" == (await bench.call(kernel, run_id="r", mode="continue")).status
    assert "a\n" == text(await bench.run(kernel, "print a", "r"))


async def test_a_forgotten_run_with_big_results_is_told_to_its_last_character(bench: Bench) -> None:
    kernel = await bench.a_kernel()
    big = "x" * 700_000
    await bench.run(kernel, "\n".join(f"result {n}{big}" for n in range(4)), "r")
    bench.service._live.clear()
    answer = await bench.call(kernel, run_id="r", mode="continue", after=Cursor())
    told = text(answer)
    while answer.status == "continued":
        answer = await bench.call(kernel, run_id="r", mode="continue", after=answer.cursor)
        told += text(answer)
    assert "".join(f"{n}{big}" for n in range(4)) == told
    assert 0 == answer.exit_code


async def test_a_caller_that_goes_away_while_its_run_is_stored_cancels_nothing(
    bench: Bench,
) -> None:
    kernel = await bench.a_kernel()
    calling = asyncio.ensure_future(bench.run(kernel, "print a", "r"))
    await bench.until(lambda: bench.service.runs_in_flight)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert "a\n" == text(await bench.ended(kernel, "r"))


class TestAGatewayThatRemembersFewRuns:
    @pytest.fixture
    def engine_settings(self) -> EngineSettings:
        return EngineSettings(recent_runs=3)

    async def test_forgets_the_finished_ones_and_never_one_that_goes_on(self, bench: Bench) -> None:
        one, two = await bench.a_kernel(), await bench.a_kernel()
        await bench.started(one, "sleep\nprint done", "long")
        for number in range(10):
            await bench.run(two, f"print {number}", f"r{number}")
        assert 4 >= len(bench.service._live)
        assert "0\n" == text(await bench.run(two, "print 0", "r0"))
        await bench.until_state("long", "running")
        bench.launcher.kernels[0].release()
        assert "done\n" == text(await bench.ended(one, "long"))
