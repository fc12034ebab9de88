"""How a run asks for input: the barrier before the prompt, the answer, and what is refused."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import NotWaiting, WrongPrompt
from kernel_gateway.runs import records
from kernel_gateway.runs.events import InputGiven, Timer
from kernel_gateway.runs.plan import Limits
from kernel_gateway.runs.view import Prompt
from tests.unit.runs.driver import (
    ABORTED,
    ASK,
    ASK_PASSWORD,
    BUSY,
    IDLE,
    OK,
    Played,
    failed,
    printed,
    raised,
)


def waiting(*, limits: Limits | None = None) -> Played:
    run = Played("input('name? ')", limits=limits or Limits())
    run.ready()
    run.says(BUSY, ASK)
    run.barrier()
    return run


def test_a_prompt_is_told_after_everything_printed_before_it() -> None:
    run = Played("input('name? ')")
    run.ready()
    assert ["barrier m1 1"] == run.says(ASK), "the prompt overtakes even the busy"
    assert ["stdout 'before'"] == run.says(BUSY, printed("before"))
    assert ["asked 1 'name? '", "waiting-input"] == run.barrier()
    assert Prompt(prompt_id=1, prompt="name? ", password=False) == run.run.view().prompt


def test_an_answer_lets_the_run_go_on() -> None:
    run = waiting()
    assert ["answered 1 'Ada'", "running", "send input m1 'Ada'"] == run.answers("Ada")
    assert run.run.view().prompt is None
    assert [] == run.barrier(), "told twice"
    run.says(printed("Hello Ada"), OK, IDLE)
    assert ("ok", "done", 0) == run.end
    assert ["queued", "running", "waiting-input", "running", "finished"] == run.history


def test_without_an_answer_the_step_is_made_to_end() -> None:
    run = waiting(limits=Limits(input=60))
    assert ["stop input", "cancelling", "interrupt", "set again 1", "set grace 5"] == (
        run.hears(InputGiven(None, 1))
    )
    assert run.run.view().prompt is None
    run.says(failed("KeyboardInterrupt", ""), IDLE)
    assert ("error", "no_input", 1) == run.end


def test_that_there_is_no_answer_is_told_to_the_prompt_that_waits() -> None:
    run = waiting()
    with pytest.raises(WrongPrompt):
        run.hears(InputGiven(None, 2))
    run.answers("Ada", 1)
    with pytest.raises(NotWaiting):
        run.hears(InputGiven(None, 1))


def test_the_empty_text_is_an_answer() -> None:
    assert "send input m1 ''" == waiting().answers("")[-1]


def test_a_password_is_in_no_record() -> None:
    run = Played("getpass()")
    run.ready()
    run.says(BUSY, ASK_PASSWORD)
    run.barrier()
    assert Prompt(prompt_id=1, prompt="password: ", password=True) == run.run.view().prompt
    assert "send input m1 's3cret'" == run.answers("s3cret")[-1]
    assert records.InputAnswered(prompt_id=1, value=None) in run.bodies
    run.says(OK, IDLE)
    assert "s3cret" not in repr(run.bodies) + repr(run.run.view())


def test_prompts_are_counted_in_the_run() -> None:
    run = waiting()
    run.answers("a", prompt_id=1)
    run.says(ASK)
    assert ["asked 2 'name? '", "waiting-input"] == run.barrier(2)
    with pytest.raises(WrongPrompt, match="prompt 2, not 1"):
        run.answers("b", prompt_id=1)
    assert "send input m1 'b'" == run.answers("b", prompt_id=2)[-1]


def test_the_same_answer_to_the_same_prompt_is_sent_once() -> None:
    run = waiting()
    run.answers("Ada", prompt_id=1)
    assert [] == run.answers("Ada", prompt_id=1)
    with pytest.raises(NotWaiting):
        run.answers("Bob", prompt_id=1)
    run.says(OK, IDLE)
    assert [] == run.answers("Ada", prompt_id=1)


def test_an_answer_that_nobody_asked_for_is_refused_and_not_kept() -> None:
    empty = Played()
    with pytest.raises(NotWaiting):
        empty.answers("x")
    run = Played("input()")
    for step in (run.ready, lambda: run.says(BUSY, ASK)):
        with pytest.raises(NotWaiting):
            run.answers("x")
        step()
    with pytest.raises(NotWaiting):
        run.answers("x")  # the barrier has not passed yet
    assert ["asked 1 'name? '", "waiting-input"] == run.barrier()
    run.says(OK, IDLE)
    with pytest.raises(NotWaiting):
        run.answers("x")


def test_a_prompt_that_is_asked_again_replaces_the_one_before() -> None:
    run = Played("input()")
    run.ready()
    assert ["barrier m1 1", "barrier m1 2"] == run.says(BUSY, ASK, ASK_PASSWORD)
    assert [] == run.barrier(1), "of the older one"
    assert ["asked 1 'password: '", "waiting-input"] == run.barrier(2)
    assert [] == run.barrier(2)


def test_a_waiting_run_may_be_asked_something_else() -> None:
    run = waiting()
    assert ["barrier m1 2"] == run.says(ASK_PASSWORD)
    with pytest.raises(NotWaiting):
        run.answers("too early")
    assert ["asked 2 'password: '"] == run.barrier(2)
    assert "send input m1 'x'" == run.answers("x")[-1]


def test_a_waiting_run_goes_on_by_itself_when_its_kernel_does() -> None:
    run = waiting()
    assert ["stdout 'x'"] == run.says(printed("x"), BUSY)
    assert run.run.view().prompt is not None
    run.says(raised("KeyboardInterrupt"), failed("KeyboardInterrupt", ""))
    assert run.run.view().prompt is None, "its code is over, only a mark is missing"
    assert [] == run.barrier()
    run.says(IDLE)
    assert ("error", "exception", 1) == run.end


def test_a_stale_prompt_waits_for_nothing() -> None:
    for mark in (OK, IDLE):
        run = Played("input()")
        run.ready()
        run.says(BUSY, ASK, mark)
        assert [] == run.says(ASK)
        assert [] == run.barrier()
        run.says(OK, IDLE)
        assert [] == run.says(ASK)
        assert [] == run.barrier()
        assert ["queued", "running", "finished"] == run.history


def test_a_prompt_may_be_followed_by_both_marks() -> None:
    run = waiting()
    run.says(IDLE, OK)
    assert ("ok", "done", 0) == run.end


def test_a_waiting_run_that_is_of_several_steps_goes_on() -> None:
    run = Played("input()", "b")
    run.ready()
    run.says(BUSY, ASK)
    run.barrier()
    assert "running" in run.says(OK, IDLE)
    run.says(OK, IDLE)
    assert ("ok", "done", 0) == run.end


def test_a_barrier_of_another_request_is_not_ours() -> None:
    run = Played("input()")
    assert [] == run.barrier(1, to="m1")
    run.ready()
    run.says(BUSY, ASK)
    assert [] == run.barrier(1, to="m7")


def test_a_prompt_of_a_request_that_then_comes_back_aborted_is_an_error() -> None:
    run = waiting()
    run.says(ABORTED, IDLE)
    assert ("error", "exception", 1) == run.end


def test_waiting_for_input_is_not_being_idle() -> None:
    run = Played("input()", limits=Limits(idle=5, input=60))
    run.ready()
    assert ["set idle 5"] == run.says(BUSY)
    run.says(ASK)
    assert ["asked 1 'name? '", "waiting-input", "stop idle", "set input 60"] == run.barrier()
    assert ["stdout 'thread'"] == run.says(printed("thread")), "sets no clock"
    assert ["stop input", "set idle 5", "send input m1 'x'"] == run.answers("x")[-3:]


def test_a_prompt_without_an_answer_ends_by_its_limit() -> None:
    run = waiting(limits=Limits(input=60))
    assert ["cancelling", "interrupt", "set again 1", "set grace 5"] == run.times_out(
        Timer.INPUT_LIMIT
    )
    run.says(raised("KeyboardInterrupt"), failed("KeyboardInterrupt", ""), IDLE)
    assert ("timeout", "input_limit", 124) == run.end


def test_a_kernel_that_asks_although_nobody_answers_is_interrupted() -> None:
    run = Played("readline()", allow_stdin=False)
    run.ready()
    run.says(BUSY, ASK)
    assert ["cancelling", "interrupt", "set again 1", "set grace 5"] == run.barrier()
    run.says(failed("", ""), IDLE)
    assert ("error", "no_input", 1) == run.end
    assert ["error"] == run.steps
