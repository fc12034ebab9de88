"""Steps that clean up, and limits of single steps: what is executed behind a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import NotWaiting
from kernel_gateway.messaging import facts
from kernel_gateway.messaging.message import Channel
from kernel_gateway.runs import events
from kernel_gateway.runs.events import Timer
from kernel_gateway.runs.plan import Limits, Mode, StepPlan
from kernel_gateway.runs.run import RESENDS
from tests.unit.runs.driver import (
    ABORTED,
    ASK,
    BUSY,
    IDLE,
    NO_LIMITS,
    OK,
    Played,
    died,
    failed,
    printed,
    raised,
)

if TYPE_CHECKING:
    from kernel_gateway.runs.records import Reason

CLEAN = StepPlan(code="clean()", always=True)
INTERRUPTED = (raised("KeyboardInterrupt"), failed("KeyboardInterrupt", ""))
FAILED = (BUSY, raised("E", "first"), failed("E", "first"), IDLE)
ESCALATION = ["interrupt", "set again 1", "set grace 5"]


def ready(*steps: str | StepPlan, limits: Limits = NO_LIMITS) -> Played:
    run = Played(*steps, mode=Mode.NOTEBOOK, limits=limits)
    run.ready()
    return run


def busy(*steps: str | StepPlan, limits: Limits = NO_LIMITS) -> Played:
    run = ready(*steps, limits=limits)
    run.says(BUSY)
    return run


def reason(run: Played) -> Reason:
    found = run.run.view().reason
    assert found is not None
    return found


# -- after an error -------------------------------------------------------------------------------


def test_behind_an_error_the_steps_that_clean_up_are_executed_in_their_order() -> None:
    run = ready("a", "b", CLEAN, "c", StepPlan(code="d", always=True), "e")
    assert [
        "step 0 error",
        "step 1 not-run",
        "step 2 running",
        "execute m2 'clean()'",
    ] == run.says(*FAILED)[-4:]
    assert ["step 2 ok", "step 3 not-run", "step 4 running", "execute m3 'd'"] == (
        run.says(BUSY, OK, IDLE)[-4:]
    )
    assert [
        "step 4 ok",
        "step 5 not-run",
        "finished",
        "completed error exception 1",
        "release",
    ] == run.says(BUSY, OK, IDLE)[-5:]
    assert "E: first" == reason(run).message
    assert ["queued", "running", "finished"] == run.history


def test_a_run_without_a_failure_executes_what_cleans_up_as_any_other_step() -> None:
    run = ready(CLEAN, "a")
    run.says(BUSY, OK, IDLE)
    run.says(*FAILED)
    assert ["ok", "error"] == run.steps


def test_a_polite_exit_is_cleaned_up_after_and_stays_ok() -> None:
    run = ready("sys.exit(0)", "a", CLEAN)
    run.says(BUSY, raised("SystemExit", "0"), failed("SystemExit", "0"), IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["ok", "not-run", "ok"] == run.steps
    assert ("ok", "exited", 0) == run.end


def test_a_clean_up_that_fails_is_an_error_of_a_run_that_had_none() -> None:
    run = ready("sys.exit(0)", CLEAN, CLEAN)
    run.says(BUSY, raised("SystemExit", "0"), failed("SystemExit", "0"), IDLE)
    run.says(*FAILED)
    run.says(BUSY, raised("E", "second"), failed("E", "second"), IDLE)
    assert ["ok", "error", "error"] == run.steps
    assert ("error", "exception", 1) == run.end
    assert "E: first" == reason(run).message
    error = run.run.view().error
    assert error is not None
    assert "first" == error.evalue


def test_the_first_error_is_that_of_the_run_and_the_clean_up_goes_on_behind_another() -> None:
    run = ready("a", CLEAN, CLEAN)
    run.says(*FAILED)
    run.says(BUSY, raised("SystemExit", "9"), failed("SystemExit", "9"), IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["error", "error", "ok"] == run.steps
    assert ("error", "exception", 1) == run.end
    assert "E: first" == reason(run).message
    error = run.run.view().error
    assert error is not None
    assert "first" == error.evalue


def test_what_cleans_up_may_be_empty_or_left_out() -> None:
    run = ready("a", StepPlan(code=" ", always=True), StepPlan(code="b", always=True, skip=True))
    run.says(*FAILED)
    assert ["error", "ok", "skipped"] == run.steps
    assert ("error", "exception", 1) == run.end


def test_a_step_that_is_left_out_is_no_reason_to_go_on() -> None:
    run = ready("a", StepPlan(code="b", always=True, skip=True))
    run.says(*FAILED)
    assert ["error", "not-run"] == run.steps


def test_a_step_that_comes_back_aborted_for_good_is_cleaned_up_after() -> None:
    run = ready("a", CLEAN)
    for _ in range(1 + RESENDS):
        run.says(BUSY, ABORTED, IDLE)
    run.says(BUSY, ABORTED, IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["error", "ok"] == run.steps


# -- after the limit of a step --------------------------------------------------------------------


def test_a_limit_of_a_step_interrupts_it_and_the_run_goes_on_to_clean_up() -> None:
    run = busy("a", "b", CLEAN, limits=Limits(step=7))
    assert ESCALATION == run.times_out(Timer.STEP_LIMIT)
    assert [
        "step 0 timed-out",
        "step 1 not-run",
        "step 2 running",
        "set step 7",
        "execute m2 'clean()'",
    ] == run.says(*INTERRUPTED, IDLE)[-5:]
    run.says(BUSY, OK, IDLE)
    assert ["timed-out", "not-run", "ok"] == run.steps
    assert ("timeout", "step_limit", 124) == run.end
    assert "interrupt" == reason(run).worked
    assert ["queued", "running", "finished"] == run.history


def test_each_step_that_cleans_up_has_an_escalation_of_its_own() -> None:
    run = busy("a", CLEAN, CLEAN, limits=Limits(step=7))
    run.times_out(Timer.STEP_LIMIT)
    assert ["interrupt", "set again 2"] == run.times_out(Timer.AGAIN)
    run.says(*INTERRUPTED, IDLE)
    run.says(BUSY)
    assert ESCALATION == run.times_out(Timer.STEP_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["timed-out", "timed-out", "ok"] == run.steps


def test_a_step_that_cleans_up_and_is_never_taken_up_is_made_to_let_go_as_any_other() -> None:
    run = busy("a", CLEAN, CLEAN, limits=Limits(step=7))
    run.times_out(Timer.STEP_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    assert ["probe m2 on control", "set probe-over 10"] == run.times_out(Timer.STEP_LIMIT)
    run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))
    assert ESCALATION == run.times_out(Timer.AGAIN)


def test_the_last_step_that_cleans_up_has_nothing_behind_it_to_go_on_to() -> None:
    run = ready("a", CLEAN, "b", limits=Limits(step=7))
    run.says(*FAILED)
    run.says(BUSY)
    assert ["cancelling", *ESCALATION] == run.times_out(Timer.STEP_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    assert ["error", "timed-out", "not-run"] == run.steps
    assert ("error", "exception", 1) == run.end


def test_a_silence_that_is_too_long_is_a_limit_of_a_step() -> None:
    run = busy("a", CLEAN, limits=Limits(idle=7))
    assert ESCALATION == run.times_out(Timer.IDLE_LIMIT)
    assert ["stdout 'x'"] == run.says(printed("x")), "it is being stopped whatever it says"
    run.says(*INTERRUPTED, IDLE)
    run.says(BUSY, OK, IDLE)
    assert ("timeout", "idle_limit", 124) == run.end


def test_a_prompt_without_an_answer_is_a_limit_of_a_step() -> None:
    run = busy("a", CLEAN, limits=Limits(input=7))
    run.says(ASK)
    run.barrier()
    assert ["running", *ESCALATION] == run.times_out(Timer.INPUT_LIMIT)
    assert None is run.run.view().prompt
    with pytest.raises(NotWaiting):
        run.answers("too late")
    run.says(ASK)
    assert [] == run.barrier(2), "asked while it is being stopped"
    run.says(*INTERRUPTED, IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["timed-out", "ok"] == run.steps
    assert ["queued", "running", "waiting-input", "running", "finished"] == run.history


def test_a_step_that_its_kernel_never_took_up_is_cleaned_up_after() -> None:
    run = ready("a", CLEAN, limits=Limits(step=7))
    assert ["probe m1 on control", "set probe-over 10"] == run.times_out(Timer.STEP_LIMIT)
    assert "interrupt" in run.says(BUSY)
    run.says(*INTERRUPTED, IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["timed-out", "ok"] == run.steps


def test_a_step_that_is_quicker_than_its_limit_is_ok_and_the_run_is_over_all_the_same() -> None:
    run = ready("a", "b", CLEAN, limits=Limits(step=7))
    run.times_out(Timer.STEP_LIMIT)
    run.says(OK, IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["ok", "not-run", "ok"] == run.steps
    assert ("timeout", "step_limit", 124) == run.end


def test_two_limits_of_a_step_are_one() -> None:
    run = busy("a", CLEAN, limits=Limits(step=7, idle=7))
    run.times_out(Timer.STEP_LIMIT)
    assert [] == run.times_out(Timer.IDLE_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    run.says(BUSY, OK, IDLE)
    assert ("timeout", "step_limit", 124) == run.end


# -- when nothing cleans up -----------------------------------------------------------------------


def test_nothing_cleans_up_after_a_cancel() -> None:
    run = busy("a", CLEAN)
    assert ["cancelling", *ESCALATION] == run.cancel()
    run.says(*INTERRUPTED, IDLE)
    assert ["cancelled", "not-run"] == run.steps


def test_nothing_cleans_up_after_the_limit_of_the_run() -> None:
    run = busy("a", CLEAN, limits=Limits(run=7))
    assert ["cancelling", *ESCALATION] == run.times_out(Timer.RUN_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    assert ["timed-out", "not-run"] == run.steps


def test_whoever_wants_a_run_to_stop_while_a_step_is_stopped_wants_no_clean_up() -> None:
    for timer in (None, Timer.RUN_LIMIT):
        run = busy("a", CLEAN, limits=Limits(step=7, run=9))
        run.times_out(Timer.STEP_LIMIT)
        struck = run.times_out(timer) if timer else run.cancel(grace_s=9, escalate=False)
        assert ["cancelling"] == struck, "it escalates as it did before"
        run.says(*INTERRUPTED, IDLE)
        assert ["timed-out", "not-run"] == run.steps
        assert ("timeout", "step_limit", 124) == run.end


def test_an_escalation_beyond_interrupts_leaves_no_kernel_to_clean_up_with() -> None:
    for survives in (True, False):
        run = busy("a", CLEAN, limits=Limits(step=7))
        run.times_out(Timer.STEP_LIMIT)
        assert "terminate" in run.times_out(Timer.GRACE)
        if survives:
            run.says(*INTERRUPTED, IDLE)
        else:
            run.hears(died(signal="SIGTERM"))
        assert ["timed-out", "not-run"] == run.steps
        assert ("timeout", "step_limit", 124) == run.end
        assert "terminate" == reason(run).worked


def test_another_limit_of_a_step_whose_kernel_is_ended_has_nothing_to_go_on_to() -> None:
    run = busy("a", CLEAN, limits=Limits(step=7, idle=7))
    run.times_out(Timer.STEP_LIMIT)
    run.times_out(Timer.GRACE)
    assert ["cancelling"] == run.times_out(Timer.IDLE_LIMIT)


def test_a_kernel_that_dies_or_owes_a_mark_cleans_nothing_up() -> None:
    run = busy("a", CLEAN)
    run.hears(died(signal="SIGKILL"))
    assert ["died", "not-run"] == run.steps
    run = busy("a", CLEAN)
    run.says(OK)
    run.times_out(Timer.IDLE_DUE)
    run.hears(events.ProbeAnswered(run.last_sent, Channel.IOPUB))
    assert ["died", "not-run"] == run.steps


# -- what happens while it is cleaned up ----------------------------------------------------------


def test_a_clean_up_may_be_cancelled_and_the_run_ends_with_its_error() -> None:
    run = ready("a", CLEAN, CLEAN)
    run.says(*FAILED)
    run.says(BUSY)
    assert ["cancelling", *ESCALATION] == run.cancel()
    run.says(*INTERRUPTED, IDLE)
    assert ["error", "cancelled", "not-run"] == run.steps
    assert ("error", "exception", 1) == run.end


def test_the_limit_of_the_run_holds_for_its_clean_up() -> None:
    run = busy("a", CLEAN, CLEAN, limits=Limits(step=7, run=9))
    run.times_out(Timer.STEP_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    run.says(BUSY)
    assert ["cancelling", *ESCALATION] == run.times_out(Timer.RUN_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    assert ["timed-out", "timed-out", "not-run"] == run.steps
    assert ("timeout", "step_limit", 124) == run.end


def test_a_kernel_that_dies_of_the_clean_up_is_told_and_the_run_ends_with_its_error() -> None:
    run = ready("a", CLEAN, CLEAN)
    run.says(*FAILED)
    assert ["step 1 died", "kernel died", "step 2 not-run"] == (
        run.hears(died(signal="SIGSEGV"))[:3]
    )
    assert ("error", "exception", 1) == run.end


def test_a_kernel_that_dies_of_a_clean_up_behind_a_polite_exit_is_lost() -> None:
    run = ready("sys.exit(0)", CLEAN)
    run.says(BUSY, raised("SystemExit", "0"), failed("SystemExit", "0"), IDLE)
    run.hears(died(signal="SIGSEGV"))
    assert ("lost", "kernel_died", 139) == run.end


# -- a limit of one step --------------------------------------------------------------------------


def test_a_step_may_have_a_limit_of_its_own() -> None:
    run = Played(
        StepPlan(code="a", limit=3), "b", StepPlan(code="c", limit=90), limits=Limits(step=7)
    )
    assert "set step 3" in run.ready()
    assert ["set step 3"] == run.says(BUSY)
    assert "set step 7" in run.says(OK, IDLE)
    assert "set step 90" in run.says(BUSY, OK, IDLE)


def test_a_step_may_have_a_limit_where_the_others_have_none() -> None:
    run = ready("a", StepPlan(code="b", limit=3))
    assert "set step 3" in run.says(BUSY, OK, IDLE)
    run.says(BUSY)
    assert ["cancelling", *ESCALATION] == run.times_out(Timer.STEP_LIMIT)
    run.says(*INTERRUPTED, IDLE)
    expected = "The step limit of 3 s was reached."
    assert (expected, 3) == (reason(run).message, reason(run).limit)


def test_a_reply_that_the_interrupt_did_not_change_is_a_limit_all_the_same() -> None:
    run = busy(StepPlan(code="a", limit=3), CLEAN)
    run.times_out(Timer.STEP_LIMIT)
    run.says(facts.Replied("ok", execution_count=1), IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["timed-out", "ok"] == run.steps
