"""Runs whose requests a client sends itself: what it hears is recorded, and nothing is repeated."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import NotWaiting, WrongPrompt
from kernel_gateway.messaging.message import Channel, MsgId
from kernel_gateway.runs import events, records
from kernel_gateway.runs.events import Timer
from kernel_gateway.runs.plan import Limits
from tests.unit.runs.driver import (
    ABORTED,
    ASK,
    ASK_PASSWORD,
    BUSY,
    IDLE,
    OK,
    Played,
    died,
    failed,
    printed,
    raised,
    result,
)

INTERRUPTED = (raised("KeyboardInterrupt"), failed("KeyboardInterrupt", ""))
ALL_LIMITS = Limits(step=9, idle=5, run=60, input=30)


def observed(code: str = "input('name? ')", *, limits: Limits | None = None) -> Played:
    """Sent, and nothing heard."""
    run = Played(code, limits=limits or Limits(), observed=True)
    run.ready()
    return run


def prompted(*, limits: Limits | None = None) -> Played:
    """Its barrier has not passed."""
    run = observed(limits=limits)
    run.says(BUSY, ASK)
    return run


def waiting(*, limits: Limits | None = None) -> Played:
    run = prompted(limits=limits)
    run.barrier()
    return run


def behind(*, limits: Limits | None = None) -> Played:
    run = observed("x", limits=limits)
    run.hears(events.Behind())
    return run


def reached(run: Played) -> list[str]:
    return run.hears(events.Reached())


# -- a cell ---------------------------------------------------------------------------------------


def test_a_cell_of_a_client_is_recorded_as_any_other() -> None:
    run = Played("1 + 1", observed=True)
    assert ["queued"] == run.told
    assert ["running", "step 0 running", "execute m1 '1 + 1'"] == run.ready()
    assert ["stdout 'a'", "execute_result 0 '2'"] == run.says(BUSY, printed("a"), result("2"))
    run.says(OK, IDLE)
    assert ("ok", "done", 0) == run.end
    assert ["queued", "running", "finished"] == run.history


def test_an_error_of_a_client_ends_its_run() -> None:
    run = observed("1 / 0")
    run.says(BUSY, raised("ZeroDivisionError"), failed("ZeroDivisionError"), IDLE)
    assert ("error", "exception", 1) == run.end


@pytest.mark.parametrize("code", ["", "  \n"])
def test_blank_code_is_sent_because_the_client_has_sent_it(code: str) -> None:
    run = observed(code)
    assert f"execute m1 {code!r}" == run.told[-1]
    run.says(BUSY, OK, IDLE)
    assert ("ok", "done", 0) == run.end


def test_what_was_aborted_by_an_earlier_error_of_its_client_is_not_sent_again() -> None:
    run = observed("x")
    told = run.says(BUSY, ABORTED, IDLE)
    assert "completed cancelled aborted 130" in told
    assert not any(words.startswith("execute") for words in told)
    assert ["cancelled"] == run.steps
    reason = run.run.view().reason
    assert reason == records.Reason(
        code="aborted", message="An earlier cell of its client has failed."
    )


def test_what_was_aborted_after_it_had_printed_is_an_error() -> None:
    run = observed("x")
    run.says(BUSY, printed("a"), ABORTED, IDLE)
    assert ("error", "exception", 1) == run.end


def test_what_was_aborted_while_it_was_cancelled_was_cancelled() -> None:
    run = observed("x")
    run.cancel()
    run.says(BUSY, ABORTED, IDLE)
    assert ("cancelled", "cancelled", 130) == run.end


def test_a_client_without_stdin_has_none() -> None:
    run = Played("input()", observed=True, allow_stdin=False)
    assert "execute m1 'input()' without input" == run.ready()[-1]


def test_a_kernel_that_is_lost_ends_the_run_wherever_it_is() -> None:
    for run in (observed(), behind(), prompted(), waiting()):
        run.hears(died(signal="SIGKILL"))
        assert ("lost", "kernel_died", 137) == run.end
        assert ["died"] == run.steps
    run = behind()
    run.cancel()
    run.hears(died(signal="SIGKILL"))
    assert ("lost", "kernel_died", 137) == run.end, "it was not killed for this run"


# -- input ----------------------------------------------------------------------------------------


def test_only_its_client_can_leave_a_prompt_without_an_answer() -> None:
    run = waiting()
    with pytest.raises(NotWaiting):
        run.hears(events.InputGiven(None, 1))
    run.answered("Ada")
    run.says(OK, IDLE)
    assert ("ok", "done", 0) == run.end


def test_a_client_may_answer_before_the_prompt_is_told() -> None:
    run = prompted()
    assert [] == run.answered("Ada"), "nobody here was asked"
    assert [] == run.barrier(), "too late"
    run.says(printed("Hello Ada"), OK, IDLE)
    assert ("ok", "done", 0) == run.end
    assert ["queued", "running", "finished"] == run.history


def test_a_client_may_answer_after_the_prompt_is_told() -> None:
    run = waiting()
    assert ["answered 1 'Ada'", "running"] == run.answered("Ada"), "which is not sent once more"
    assert run.run.view().prompt is None
    run.says(OK, IDLE)
    assert ["queued", "running", "waiting-input", "running", "finished"] == run.history


def test_somebody_else_may_answer_the_prompt_of_a_client() -> None:
    run = waiting()
    assert ["answered 1 'Ada'", "running", "send input m1 'Ada'"] == run.answers("Ada", 1)
    assert [] == run.answered("Bob"), "the client comes too late"
    assert [] == run.answers("Ada", 1), "the same answer once more"


def test_whoever_comes_after_the_client_is_told_so() -> None:
    run = waiting()
    run.answered("Ada")
    with pytest.raises(NotWaiting):
        run.answers("Ada", 1)
    run.says(ASK)
    with pytest.raises(NotWaiting):
        run.answers("Bob", 1)
    assert ["asked 2 'name? '", "waiting-input"] == run.barrier(2)
    with pytest.raises(WrongPrompt):
        run.answers("Bob", 1)
    assert "send input m1 'Bob'" == run.answers("Bob", 2)[-1]


def test_prompts_that_were_answered_before_they_were_told_are_not_counted() -> None:
    run = prompted()
    run.answered("Ada")
    assert ["barrier m1 2"] == run.says(ASK)
    assert [] == run.barrier(1), "of the one that is answered"
    assert ["asked 1 'name? '", "waiting-input"] == run.barrier(2)
    assert ["answered 1 'Bob'", "running"] == run.answered("Bob")


def test_a_prompt_that_replaced_one_that_was_told_may_be_answered_by_the_client() -> None:
    run = waiting()
    run.says(ASK_PASSWORD)
    assert ["answered 1 None", "running"] == run.answered("x")
    assert [] == run.barrier(2)
    run.says(OK, IDLE)
    assert ("ok", "done", 0) == run.end


def test_a_password_of_a_client_is_in_no_record() -> None:
    run = observed("getpass()")
    run.says(BUSY, ASK_PASSWORD)
    run.barrier()
    assert ["answered 1 None", "running"] == run.answered("s3cret")
    run.says(OK, IDLE)
    assert "s3cret" not in repr(run.bodies) + repr(run.run.view())


def test_a_password_is_in_no_record_though_another_prompt_is_the_one_that_was_told() -> None:
    run = waiting()
    run.says(ASK_PASSWORD)
    run.answered("s3cret")
    assert "s3cret" not in repr(run.bodies) + repr(run.run.view())


def test_an_answer_of_a_client_that_nothing_asked_for_changes_nothing() -> None:
    unsent = Played("x", observed=True)
    assert [] == unsent.answered("x", to="m1")
    run = observed()
    for said in (None, BUSY, OK, IDLE):
        if said:
            run.says(said)
        before = run.run.view()
        assert [] == run.answered("x")
        assert before == run.run.view()
    assert ("ok", "done", 0) == run.end
    assert [] == waiting().answered("x", to="m7"), "to another request"


def test_an_answer_of_a_client_to_a_run_that_is_cancelled_is_not_recorded() -> None:
    for run in (prompted(), waiting()):
        run.cancel()
        assert [] == run.answered("Ada")
        run.says(*INTERRUPTED, IDLE)
        assert ("cancelled", "cancelled", 130) == run.end
        assert not [body for body in run.bodies if isinstance(body, records.InputAnswered)]


def test_an_answer_of_a_client_stops_the_clock_of_the_prompt() -> None:
    run = waiting(limits=ALL_LIMITS)
    told = ["answered 1 'x'", "running", "stop input", "set idle 5"]
    assert told == run.answered("x")


# -- behind others --------------------------------------------------------------------------------


def test_a_request_behind_others_changes_no_state() -> None:
    run = observed("x")
    before = run.run.view()
    assert [] == run.hears(events.Behind())
    assert [] == reached(run)
    assert before == run.run.view()


def test_limits_of_a_step_do_not_count_while_others_are_before_it() -> None:
    run = observed("x", limits=ALL_LIMITS)
    sent = ["step 0 running", "set step 9", "set idle 5", "execute m1 'x'"]
    assert sent == run.told[-4:], "what is told of the line while it is sent comes after them"
    assert ["stop step", "stop idle"] == run.hears(events.Behind())
    assert [] == run.times_out(Timer.STEP_LIMIT) + run.times_out(Timer.IDLE_LIMIT)
    assert ["set step 9", "set idle 5"] == reached(run)
    assert ["set step 9", "set idle 5"] == run.says(BUSY)


def test_limits_count_from_the_busy_when_nobody_has_said_that_the_others_are_over() -> None:
    run = behind(limits=ALL_LIMITS)
    assert ["set step 9", "set idle 5"] == run.says(BUSY)
    assert [] == reached(run)
    assert "cancelling" == run.times_out(Timer.STEP_LIMIT)[0]


def test_a_cancel_waits_until_nothing_is_before_the_request_any_more() -> None:
    run = behind()
    assert ["cancelling"] == run.cancel(), "an interrupt would hit the others"
    assert [] == run.cancel(), "however often it is asked for"
    assert ["probe m1 on control", "set probe-over 10"] == reached(run)
    assert ["stop probe-over", "set again 1"] == run.hears(
        events.ProbeAnswered(MsgId("m1"), Channel.CONTROL)
    )
    assert ["interrupt", "set again 1", "set grace 5"] == run.times_out(Timer.AGAIN)
    run.says(*INTERRUPTED, IDLE)
    assert ("cancelled", "cancelled", 130) == run.end


def test_a_kernel_that_is_deaf_when_the_others_are_over_is_killed() -> None:
    run = behind()
    run.cancel()
    reached(run)
    assert ["kill"] == run.times_out(Timer.PROBE_OVER)
    run.hears(died(signal="SIGKILL"))
    assert ("cancelled", "cancelled", 130) == run.end


def test_a_cancel_hits_the_busy_request_though_nobody_has_said_that_the_others_are_over() -> None:
    run = behind()
    run.cancel()
    assert ["interrupt", "set again 1", "set grace 5"] == run.says(BUSY)
    assert [] == reached(run)
    run.says(*INTERRUPTED, IDLE)
    assert ("cancelled", "cancelled", 130) == run.end


def test_more_than_interrupts_may_be_asked_for_while_others_are_before_it() -> None:
    run = behind()
    assert ["cancelling"] == run.cancel(escalate=False)
    assert [] == run.cancel(grace_s=2)
    reached(run)
    told = ["stop probe-over", "interrupt", "set again 1", "set grace 2"]
    assert told == run.says(BUSY)


def test_a_request_that_is_aborted_while_others_are_before_it_was_not_executed() -> None:
    run = behind()
    run.says(BUSY, ABORTED, IDLE)
    assert ("cancelled", "aborted", 130) == run.end
    run = behind()
    run.cancel()
    run.says(ABORTED, IDLE)
    assert ("cancelled", "cancelled", 130) == run.end


def test_the_limit_of_the_run_waits_for_the_others_as_a_cancel_does() -> None:
    run = behind(limits=ALL_LIMITS)
    assert ["cancelling"] == run.times_out(Timer.RUN_LIMIT)
    assert ["set step 9", "set idle 5", "probe m1 on control", "set probe-over 10"] == reached(run)
    assert "interrupt" in run.says(BUSY)
    run.says(*INTERRUPTED, IDLE)
    assert ("timeout", "run_limit", 124) == run.end


def test_others_before_a_request_that_has_begun_or_was_never_sent_change_nothing() -> None:
    unsent = Played("x", limits=ALL_LIMITS, observed=True)
    begun = observed("x", limits=ALL_LIMITS)
    begun.says(BUSY)
    asks, waits = prompted(limits=ALL_LIMITS), waiting(limits=ALL_LIMITS)
    replied, idle = observed("x", limits=ALL_LIMITS), observed("x", limits=ALL_LIMITS)
    replied.says(OK)
    idle.says(IDLE)
    over = observed("x", limits=ALL_LIMITS)
    over.says(BUSY, OK, IDLE)
    for run in (unsent, begun, asks, waits, replied, idle, over):
        before = run.run.view()
        assert [] == run.hears(events.Behind()) + reached(run)
        assert before == run.run.view()
    begun.cancel()
    assert "interrupt" in begun.times_out(Timer.AGAIN), "an interrupt hits it"


def test_nothing_can_be_reached_by_whom_nobody_is_before() -> None:
    run = observed("x", limits=ALL_LIMITS)
    assert [] == reached(run)
    run.cancel()
    assert [] == reached(run), "it is being asked already"


def test_a_request_that_is_sent_again_stands_in_the_line_anew() -> None:
    run = Played("x", limits=ALL_LIMITS)
    run.ready()
    run.hears(events.Behind())
    told = run.says(ABORTED, IDLE)
    assert ["set step 9", "set idle 5", "execute m2 'x'"] == told[-3:]
    assert [] == reached(run), "nobody is before the new one"
    assert ["stop step", "stop idle"] == run.hears(events.Behind())
