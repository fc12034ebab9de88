"""How a run is made to end: cancel, limits, and the escalation from interrupt to kill."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import NotWaiting
from kernel_gateway.messaging.message import Channel
from kernel_gateway.runs import events, records
from kernel_gateway.runs.events import Timer
from kernel_gateway.runs.plan import Limits, Mode
from tests.unit.runs.driver import (
    ABORTED,
    ASK,
    BUSY,
    IDLE,
    OK,
    Played,
    died,
    failed,
    printed,
    raised,
)

INTERRUPTED = (raised("KeyboardInterrupt"), failed("KeyboardInterrupt", ""))


def busy(*steps: str, limits: Limits | None = None) -> Played:
    run = Played(*(steps or ("sleep()",)), mode=Mode.NOTEBOOK, limits=limits or Limits())
    run.ready()
    run.says(BUSY)
    return run


def worked(run: Played) -> str | None:
    reason = run.run.view().reason
    assert reason is not None
    return reason.worked


def test_a_run_that_waits_for_its_turn_or_its_kernel_is_cancelled_at_once() -> None:
    run = Played("a", "b", mode=Mode.NOTEBOOK)
    assert [
        "step 0 not-run",
        "step 1 not-run",
        "finished",
        "completed cancelled cancelled 130",
        "release",
    ] == run.cancel()
    run = Played("a")
    run.hears(events.Admitted())
    assert "release" == run.cancel()[-1]
    assert ["queued", "starting", "finished"] == run.history


def test_a_running_step_is_interrupted() -> None:
    run = busy()
    assert ["cancelling", "interrupt", "set again 1", "set grace 5"] == run.cancel()
    assert ["error KeyboardInterrupt: ", "stop again", "stop grace"] == run.says(*INTERRUPTED)[:3]
    assert "completed cancelled cancelled 130" in run.says(IDLE)
    assert "interrupt" == worked(run)
    assert ["cancelled"] == run.steps


def test_a_cancel_before_busy_is_remembered_and_done_after_it() -> None:
    for first in (BUSY, printed("x"), ASK):
        run = Played("sleep()")
        run.ready()
        asked = ["cancelling", "probe m1 on control", "set probe-over 10"]
        assert asked == run.cancel(), "somebody else's code may run on the kernel"
        taken_up = ["stop probe-over", "interrupt", "set again 1", "set grace 5"]
        assert taken_up == run.says(first)[:4]
        run.says(*INTERRUPTED, IDLE)
        assert ("cancelled", "cancelled", 130) == run.end


def test_a_kernel_that_is_well_but_has_not_begun_is_waited_for() -> None:
    run = Played("x")
    run.ready()
    run.cancel()
    answered = ["stop probe-over", "set again 1"]
    assert answered == run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))
    assert "interrupt" in run.says(BUSY)


def test_a_kernel_that_is_well_and_never_begins_is_made_to_let_go() -> None:
    run = Played("x")
    run.ready()
    run.cancel()
    run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))
    assert ["interrupt", "set again 1", "set grace 5"] == run.times_out(Timer.AGAIN)
    assert ["interrupt", "set again 2"] == run.times_out(Timer.AGAIN)
    assert "terminate" in run.times_out(Timer.GRACE)
    run.hears(died(signal="SIGTERM"))
    assert ("cancelled", "cancelled", 130) == run.end


def test_a_step_that_is_never_begun_has_its_limit_too() -> None:
    run = Played("x", limits=Limits(step=2))
    run.ready()
    told = ["cancelling", "probe m1 on control", "set probe-over 10"]
    assert told == run.times_out(Timer.STEP_LIMIT)
    run.times_out(Timer.PROBE_OVER)
    run.hears(died(signal="SIGKILL"))
    assert ("timeout", "step_limit", 124) == run.end


def test_a_deaf_kernel_is_not_killed_when_interrupts_alone_were_asked_for() -> None:
    run = Played("x")
    run.ready()
    run.cancel(escalate=False)
    assert [] == run.times_out(Timer.PROBE_OVER)
    assert ["probe m1 on control", "set probe-over 10"] == run.cancel()
    assert ["kill"] == run.times_out(Timer.PROBE_OVER)


def test_a_kernel_that_hears_nothing_is_killed_for_a_cancel() -> None:
    run = Played("x")
    run.ready()
    run.cancel()
    assert ["kill"] == run.times_out(Timer.PROBE_OVER)
    run.hears(died(signal="SIGKILL"))
    assert ("cancelled", "cancelled", 130) == run.end
    assert "kill" == worked(run)


def test_a_kernel_that_is_killed_for_being_deaf_may_still_take_up_the_request() -> None:
    run = Played("x")
    run.ready()
    run.cancel()
    assert ["kill"] == run.times_out(Timer.PROBE_OVER)
    run.says(BUSY)
    run.hears(died(signal="SIGKILL"))
    assert ("cancelled", "cancelled", 130) == run.end
    assert "kill" == worked(run)


def test_an_answer_to_the_question_may_come_in_any_later_state() -> None:
    for said in ([BUSY], [BUSY, ASK], [OK]):
        run = Played("x")
        run.ready()
        run.cancel()
        run.says(*said)
        assert [] == run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))


def test_an_answer_to_the_question_may_come_when_a_prompt_is_told() -> None:
    run = Played("x")
    run.ready()
    run.says(ASK)
    run.barrier()
    assert [] == run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))


def test_interrupts_are_repeated_at_growing_distances() -> None:
    run = busy()
    run.cancel()
    for again_s in (2, 2):
        assert ["interrupt", f"set again {again_s:g}"] == run.times_out(Timer.AGAIN)


def test_after_the_grace_the_kernel_is_terminated_and_then_killed() -> None:
    run = busy()
    assert "set grace 1" == run.cancel(grace_s=1)[-1]
    assert ["stop again", "terminate", "set grace 5"] == run.times_out(Timer.GRACE)
    assert ["kill"] == run.times_out(Timer.GRACE)
    assert [] == run.times_out(Timer.GRACE)
    run.hears(died(signal="SIGKILL"))
    assert ("cancelled", "cancelled", 130) == run.end
    reason = run.run.view().reason
    assert reason is not None
    assert ("kill", "SIGKILL") == (reason.worked, reason.signal)
    assert ["cancelled"] == run.steps


def test_terminate_may_be_enough() -> None:
    run = busy()
    run.cancel()
    run.times_out(Timer.GRACE)
    run.hears(died(signal="SIGTERM"))
    assert "terminate" == worked(run)
    run = busy()
    run.cancel()
    run.times_out(Timer.GRACE)
    run.says(*INTERRUPTED, IDLE)
    assert ("cancelled", "cancelled", 130) == run.end
    assert "terminate" == worked(run)


def test_a_kernel_that_dies_of_the_interrupt_was_cancelled() -> None:
    run = busy()
    run.cancel()
    run.hears(died(signal="SIGINT"))
    assert ("cancelled", "cancelled", 130) == run.end
    assert "interrupt" == worked(run)


def test_a_kernel_that_exits_in_good_order_when_it_is_interrupted_was_cancelled() -> None:
    run = busy()
    run.cancel()
    run.hears(died(exit_code=0))
    assert ("cancelled", "cancelled", 130) == run.end
    assert "interrupt" == worked(run)


def test_a_kernel_that_dies_of_something_else_meanwhile_is_lost() -> None:
    run = busy()
    run.cancel()
    run.hears(died(signal="SIGKILL"))
    assert ("lost", "kernel_died", 137) == run.end


def test_a_cancel_asked_once_more_is_harmless() -> None:
    run = busy()
    run.cancel()
    assert [] == run.cancel(), "the grace is not counted anew"
    assert [] == run.cancel(grace_s=9)
    assert [] == run.cancel(escalate=False)
    assert ["set grace 0.1"] == run.cancel(grace_s=0.1), "but it may become shorter"
    run.times_out(Timer.GRACE)
    assert [] == run.cancel()
    run.times_out(Timer.GRACE)
    assert [] == run.cancel()
    run.hears(died(signal="SIGKILL"))
    assert [] == run.cancel()
    assert "kill" == worked(run)


def test_interrupts_alone_never_escalate() -> None:
    run = busy()
    assert ["cancelling", "interrupt", "set again 1"] == run.cancel(escalate=False)
    for _ in range(20):
        assert "interrupt" == run.times_out(Timer.AGAIN)[0]
    assert [] == run.times_out(Timer.GRACE)


def test_interrupts_alone_become_an_escalation_when_one_is_asked_for() -> None:
    run = busy()
    run.cancel(escalate=False)
    assert ["set grace 2"] == run.cancel(grace_s=2)
    assert "terminate" in run.times_out(Timer.GRACE)


def test_an_escalation_asked_for_before_busy_is_remembered_too() -> None:
    run = Played("x")
    run.ready()
    assert "probe m1 on control" in run.cancel(escalate=False)
    assert [] == run.cancel(grace_s=2)
    told = ["stop probe-over", "interrupt", "set again 1", "set grace 2"]
    assert told == run.says(BUSY)


def test_an_escalation_asked_for_when_the_code_is_over_touches_nothing() -> None:
    run = busy()
    run.cancel(escalate=False)
    run.says(*INTERRUPTED)
    assert [] == run.cancel()


def test_a_limit_holds_for_a_run_that_ignores_interrupts() -> None:
    run = busy(limits=Limits(run=60))
    run.cancel(escalate=False)
    assert ["set grace 5"] == run.times_out(Timer.RUN_LIMIT)
    run.times_out(Timer.GRACE)
    run.hears(died(signal="SIGTERM"))
    assert ("cancelled", "cancelled", 130) == run.end


def test_an_interrupt_that_is_swallowed_leaves_a_cancelled_run() -> None:
    run = busy()
    run.cancel()
    run.says(OK, IDLE)
    assert ("cancelled", "cancelled", 130) == run.end


def test_a_cancel_that_came_after_the_code_was_over_is_too_late() -> None:
    run = busy()
    run.says(OK)
    assert ["cancelling"] == run.cancel()
    run.says(IDLE)
    assert ("ok", "done", 0) == run.end
    run = busy()
    run.says(raised("E"), failed("E"))
    run.cancel()
    run.says(IDLE)
    assert ("error", "exception", 1) == run.end


def test_a_cancel_between_steps_ends_the_run_before_the_next() -> None:
    run = busy("a", "b")
    run.says(OK)
    run.cancel()
    assert ["step 0 ok", "step 1 not-run", "finished"] == run.says(IDLE)[1:4]
    assert ("cancelled", "cancelled", 130) == run.end
    run = busy("a", "b")
    run.cancel()
    run.says(*INTERRUPTED, IDLE)
    assert ["cancelled", "not-run"] == run.steps


def test_a_request_that_was_not_executed_is_cancelled_and_not_sent_again() -> None:
    run = Played("x")
    run.ready()
    run.cancel()
    run.says(ABORTED, IDLE)
    assert ("cancelled", "cancelled", 130) == run.end
    assert worked(run) is None
    assert ["cancelled"] == run.steps


def test_an_idle_without_a_reply_after_an_interrupt_is_cancelled() -> None:
    for before in (True, False):
        run = Played("x")
        run.ready()
        if before:
            run.cancel()
            run.says(IDLE)
        else:
            run.says(BUSY)
            run.cancel()
            assert ["stop again", "stop grace", "set reply-due 0.1"] == run.says(IDLE)
        assert ["probe m1 on shell", "set probe-due 10"] == run.times_out(Timer.REPLY_DUE)
        run.hears(events.ProbeAnswered(run.last_sent, Channel.SHELL))
        assert ("cancelled", "cancelled", 130) == run.end


def test_no_interrupt_is_sent_for_code_that_is_over() -> None:
    for mark in (OK, IDLE):
        run = Played("x")
        run.ready()
        run.says(mark)
        assert ["cancelling"] == run.cancel()
        assert "interrupt" not in run.says(BUSY, printed("x"))
        assert [] == run.times_out(Timer.AGAIN)


def test_a_waiting_run_is_cancelled() -> None:
    run = busy()
    run.says(ASK)
    run.barrier()
    assert ["cancelling", "interrupt", "set again 1", "set grace 5"] == run.cancel()
    assert run.run.view().prompt is None
    with pytest.raises(NotWaiting):
        run.answers("too late")
    run.says(ASK)
    assert [] == run.barrier(2), "asked while it is cancelled"
    run.says(*INTERRUPTED, IDLE)
    assert ["queued", "running", "waiting-input", "cancelling", "finished"] == run.history


def test_the_message_of_a_cancel_is_kept() -> None:
    run = Played("x")
    run.hears(events.CancelAsked(message="the page was closed"))
    assert run.run.view().reason == records.Reason(code="cancelled", message="the page was closed")


def test_a_deleted_kernel_cancels_what_is_being_cancelled() -> None:
    run = busy()
    run.cancel()
    gone = events.KernelLost(records.Reason(code="cancelled", message="deleted"), deleted=True)
    run.hears(gone)
    assert ("cancelled", "cancelled", 130) == run.end


# -- limits ---------------------------------------------------------------------------------------


def test_waiting_too_long_for_turn_or_kernel_ends_the_run_at_once() -> None:
    run = Played("x", limits=Limits(queue=5, start=60))
    run.times_out(Timer.QUEUE_LIMIT)
    assert ("timeout", "queue_limit", 124) == run.end
    run = Played("x", limits=Limits(queue=5, start=60))
    run.hears(events.Admitted())
    assert [] == run.times_out(Timer.QUEUE_LIMIT)
    run.times_out(Timer.START_LIMIT)
    assert ("timeout", "start_limit", 124) == run.end
    assert ["not-run"] == run.steps


def test_a_limit_interrupts_what_runs() -> None:
    limits = Limits(step=1, run=1.5, idle=1)
    for timer, code in {
        Timer.STEP_LIMIT: "step_limit",
        Timer.RUN_LIMIT: "run_limit",
        Timer.IDLE_LIMIT: "idle_limit",
    }.items():
        run = busy(limits=limits)
        assert ["cancelling", "interrupt", "set again 1", "set grace 5"] == run.times_out(timer)
        run.says(*INTERRUPTED, IDLE)
        assert ("timeout", code, 124) == run.end
        assert ["timed-out"] == run.steps
    reason = run.run.view().reason
    assert reason == records.Reason(
        code="idle_limit",
        message="The idle limit of 1 s was reached.",
        limit=1,
        exit_code=124,
        worked="interrupt",
    )


def test_the_limit_of_a_run_may_strike_before_the_kernel_has_taken_it_up() -> None:
    run = Played("x", limits=Limits(run=1))
    run.ready()
    assert "cancelling" == run.times_out(Timer.RUN_LIMIT)[0]
    assert "interrupt" in run.says(BUSY)


def test_the_first_of_cancel_and_limit_is_the_reason() -> None:
    run = busy(limits=Limits(step=1))
    run.times_out(Timer.STEP_LIMIT)
    run.cancel()
    run.says(*INTERRUPTED, IDLE)
    assert ("timeout", "step_limit", 124) == run.end


def test_a_limit_that_kills_is_still_a_timeout() -> None:
    run = busy(limits=Limits(step=1))
    run.times_out(Timer.STEP_LIMIT)
    run.times_out(Timer.GRACE)
    run.times_out(Timer.GRACE)
    told = run.hears(died(signal="SIGKILL"))
    assert "kernel died" in told
    assert ("timeout", "step_limit", 124) == run.end
    assert ["timed-out"] == run.steps


def test_the_limit_of_a_step_is_counted_anew_for_each() -> None:
    run = busy("a", "b", limits=Limits(step=9, idle=5, run=60))
    assert ["stop step", "stop idle"] == run.says(OK)[:2]
    assert ["set step 9", "set idle 5", "execute m2 'b'"] == run.says(IDLE)[-3:]
    assert ["set step 9", "set idle 5"] == run.says(BUSY)
