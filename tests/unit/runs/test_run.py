"""How a run begins, goes through its steps and ends: directed transcripts."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import ImpossibleTransition
from kernel_gateway.messaging import facts
from kernel_gateway.messaging.message import Channel, MsgId
from kernel_gateway.runs import events, records
from kernel_gateway.runs.ending import MESSAGE_CHARS, exit_status
from kernel_gateway.runs.events import Timer
from kernel_gateway.runs.plan import Limits, Mode, StepPlan
from kernel_gateway.runs.view import Failure
from tests.unit.runs.driver import (
    ABORTED,
    ASK,
    BUSY,
    IDLE,
    OK,
    Played,
    died,
    exited,
    failed,
    measured,
    printed,
    raised,
    result,
    shown,
)


def test_a_run_is_queued_then_runs_its_step_and_is_finished() -> None:
    run = Played("print(1)")
    assert ["queued"] == run.told
    assert ["running", "step 0 running", "execute m1 'print(1)'"] == run.ready()
    assert ["stdout '1\\n'"] == run.says(BUSY, BUSY, printed("1\n"))
    assert ["set idle-due 1"] == run.says(OK)
    assert [
        "stop idle-due",
        "step 0 ok",
        "finished",
        "completed ok done 0",
        "release",
    ] == run.says(IDLE)
    assert ["queued", "running", "finished"] == run.history
    assert ("ok", "done", 0) == run.end


def test_a_run_has_its_turn_while_its_kernel_starts() -> None:
    run = Played("x", limits=Limits(queue=9, start=60, run=30, step=8, idle=7))
    assert ["queued", "set queue 9"] == run.told
    assert ["starting", "stop queue", "set start 60"] == run.hears(events.Admitted())
    assert [
        "running",
        "stop start",
        "set run 30",
        "step 0 running",
        "set step 8",
        "set idle 7",
        "execute m1 'x'",
    ] == run.ready()
    assert ["set step 8", "set idle 7"] == run.says(BUSY), "counted anew from its busy"
    assert ["stdout '1'", "set idle 7"] == run.says(printed("1"))
    assert ["stop step", "stop idle", "set idle-due 1"] == run.says(OK)


def test_a_kernel_may_be_introduced_before_the_first_step() -> None:
    run = Played("x", mode=Mode.NOTEBOOK)
    who = records.KernelIntroduced(
        name="python3", implementation="ipython", version="9.1", language_info={}
    )
    told = ["running", "kernel is python3", "step 0 running", "execute m1 'x'"]
    assert told == run.hears(events.KernelReady(who))


def test_idle_and_reply_come_in_either_order() -> None:
    run = Played("x")
    run.ready()
    assert ["set reply-due 0.1"] == run.says(BUSY, IDLE)
    assert "stop reply-due" == run.says(OK)[0]
    assert ("ok", "done", 0) == run.end


def test_a_reply_may_precede_busy() -> None:
    run = Played("x")
    run.ready()
    assert ["set idle-due 1"] == run.says(OK)
    assert [] == run.says(BUSY)
    assert ["stdout '1'"] == run.says(printed("1"))
    assert [] == run.says(OK, ASK)
    run.says(IDLE)
    assert ("ok", "done", 0) == run.end


def test_only_the_status_ok_is_ok() -> None:
    for status in ("error", "abort", "OK", "", "okay"):
        run = Played("x")
        run.ready()
        run.says(BUSY, facts.Replied(status, execution_count=3), IDLE)
        assert ("error", "exception", 1) == run.end, status
        assert ["error"] == run.steps


def test_the_first_reply_counts() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, failed(), OK, IDLE)
    assert ("error", "exception", 1) == run.end


def test_what_the_kernel_repeats_after_the_end_changes_nothing() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, OK, IDLE)
    before = run.run.view()
    assert [] == run.says(BUSY, ASK, failed(), IDLE)
    assert [] == run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))
    assert [] == run.barrier(0)
    assert before == run.run.view()


def test_output_after_the_end_is_late_and_reopens_nothing() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, shown("a"), OK, IDLE)
    before = run.run.view()
    assert [
        "late stdout 'x'",
        "late display_data 1 'b'",
        "late update d 'c'",
        "late clear wait",
        "late error E: e",
    ] == run.says(
        printed("x"),
        shown("b"),
        facts.DisplayUpdate("d", {"text/plain": "c"}, {}),
        facts.Clear(wait=True),
        raised("E", "e"),
    )
    assert before == run.run.view()


def test_a_display_of_a_metric_is_a_metric_and_no_output() -> None:
    run = Played("x")
    run.ready()
    assert [
        "metric replace loss 0.5",
        "display_data 0 'a'",
        "metric increment n.seen 2",
        "metric append n.all 'x'",
        "display_data 1 'b'",
    ] == run.says(
        BUSY,
        measured("loss", 0.5),
        shown("a"),
        measured("n.seen", 2, "increment"),
        measured("n.all", "x", "append"),
        shown("b"),
    )
    assert {"loss": 0.5, "n": {"seen": 2, "all": ["x"]}} == run.run.view().metrics


def test_metrics_alone_make_no_stream_of_outputs() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, measured("a", 1), measured("a", 2), result("a"), OK, IDLE)
    assert not run.run.view().is_stream


def test_a_metric_is_a_sign_of_life() -> None:
    run = Played("x", limits=Limits(idle=7))
    run.ready()
    run.says(BUSY)
    assert ["metric replace a 1", "set idle 7"] == run.says(measured("a", 1))


def test_a_bad_metric_is_an_error_to_be_read_and_changes_nothing_else() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, measured("a", "text"))
    before = run.run.view()
    assert [
        "error BadMetric: Only a number can be incremented.",
        "error BadMetric: Each part of a metric's name begins with a letter: '1'.",
    ] == run.says(measured("a", 1, "increment"), measured("1", 1))
    assert before == run.run.view()
    run.says(OK, IDLE)
    assert ("ok", "done", 0) == run.end
    assert None is run.run.view().error


def test_late_metrics_are_recorded_and_change_nothing() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, measured("a", 1), OK, IDLE)
    before = run.run.view()
    assert [
        "late metric replace a 2",
        "late metric increment a.b 2",
        "late error BadMetric: A metric is incremented by a number, not by 'x'.",
    ] == run.says(
        measured("a", 2), measured("a.b", 2, "increment"), measured("a", "x", "increment")
    )
    assert before == run.run.view()


def test_a_metric_of_a_thread_whose_step_is_over_counts_while_the_run_is_not() -> None:
    run = Played("x", "y", mode=Mode.NOTEBOOK)
    run.ready()
    run.says(BUSY, OK, IDLE)
    assert ["late metric replace a 1"] == run.says(measured("a", 1), to="m1")
    assert {"a": 1} == run.run.view().metrics


def test_an_update_with_a_metric_is_an_update() -> None:
    run = Played("x")
    run.ready()
    update = facts.DisplayUpdate("d", measured("a", 1).data, {})
    assert ["update d None"] == run.says(BUSY, update)
    assert {} == run.run.view().metrics


def test_output_is_logged_in_the_order_of_the_kernel() -> None:
    run = Played("x")
    run.ready()
    assert [
        "stdout 'a'",
        "stderr 'b'",
        "display_data 0 'c'",
        "execute_result 1 'd'",
        "update i 'e'",
        "clear",
    ] == run.says(
        printed("a"),
        printed("b", "stderr"),
        shown("c"),
        result("d"),
        facts.DisplayUpdate("i", {"text/plain": "e"}, {}),
        facts.Clear(wait=False),
    )
    assert run.run.view().is_stream
    run.says(facts.KernelInfo("x", "5.4"), facts.Welcome())
    assert [] == run.told, "means nothing to a run"


def test_one_output_is_no_stream() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, shown("a"), OK, IDLE)
    assert run.run.view().is_stream is False


def test_the_kernel_speaks_of_requests_that_are_not_of_this_run() -> None:
    run = Played("x")
    run.ready()
    assert [] == run.says(printed("not mine"), to="other")


# -- errors ---------------------------------------------------------------------------------------


def test_an_exception_is_an_error_with_its_failure() -> None:
    run = Played("1/0")
    run.ready()
    assert ["error ZeroDivisionError: division by zero"] == run.says(
        BUSY, raised("ZeroDivisionError", "division by zero")
    )
    run.says(failed("ZeroDivisionError", "division by zero"), IDLE)
    assert ("error", "exception", 1) == run.end
    view = run.run.view()
    assert view.reason is not None
    assert "ZeroDivisionError: division by zero" == view.reason.message
    assert view.error is not None
    assert ("ZeroDivisionError", "division by zero") == (view.error.ename, view.error.evalue)


def test_a_kernel_that_sends_no_error_has_it_in_the_reply() -> None:
    run = Played("x")
    run.ready()
    assert "error E: e" in run.says(BUSY, failed("E", "e"), IDLE)
    assert ("error", "exception", 1) == run.end


def test_an_error_that_was_shown_and_not_raised_is_no_failure() -> None:
    run = Played("get_ipython().showtraceback()")
    run.ready()
    run.says(BUSY, raised("E", "e"), OK, IDLE)
    assert ("ok", "done", 0) == run.end
    assert run.run.view().error is None


def test_a_reason_stays_a_sentence_however_long_the_exception_is() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, raised("E", "e" * 10**6), failed("E", "e" * 10**6), IDLE)
    reason = run.run.view().reason
    assert reason is not None
    assert MESSAGE_CHARS == len(reason.message)


def test_the_status_of_a_system_exit_is_the_exit_code() -> None:
    for evalue, outcome in {
        "2": ("error", "exit_code", 2),
        "-1": ("error", "exit_code", 255),
        "some text": ("error", "exit_code", 1),
        "0": ("ok", "exited", 0),
        "": ("ok", "exited", 0),
        "None": ("ok", "exited", 0),
    }.items():
        run = Played("sys.exit()")
        run.ready()
        run.says(BUSY, raised("SystemExit", evalue), failed("SystemExit", evalue), IDLE)
        assert outcome == run.end, evalue


def test_exit_status_is_that_of_the_interpreter() -> None:
    for evalue, status in {
        "": 0,
        "None": 0,
        "False": 0,
        "True": 1,
        " 3 ": 3,
        "256": 0,
        "1_000": 1,
        "٣": 1,
        "1.5": 1,
        "9" * 5000: 1,
    }.items():
        assert status == exit_status(Failure(ename="SystemExit", evalue=evalue)), evalue[:9]
    assert exit_status(Failure(ename="ValueError", evalue="2")) is None


def test_input_that_was_wanted_and_refused_is_its_own_reason() -> None:
    run = Played("input()", allow_stdin=False)
    assert "execute m1 'input()' without input" == run.ready()[-1]
    run.says(BUSY, raised("StdinNotImplementedError", "no"), failed(), IDLE)
    assert ("error", "no_input", 1) == run.end
    run = Played("input()", allow_stdin=False)
    run.ready()
    words = "This frontend does not support input requests"
    run.says(BUSY, raised("RuntimeError", words), failed(), IDLE)
    assert ("error", "no_input", 1) == run.end
    for allow_stdin, ename in ((False, "EOFError"), (True, "StdinNotImplementedError")):
        run = Played("input()", allow_stdin=allow_stdin)
        run.ready()
        run.says(BUSY, raised(ename), failed(), IDLE)
        assert ("error", "exception", 1) == run.end


# -- a mark is missing ----------------------------------------------------------------------------


def test_a_kernel_that_answers_in_place_of_the_idle_owes_it_for_good() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, OK)
    assert ["probe m1 on iopub", "set idle-over 60"] == run.times_out(Timer.IDLE_DUE)
    assert ["stdout 'x'"] == run.says(printed("x"))
    assert [
        "dropped idle_missing 1",
        "step 0 died",
        "finished",
        "completed lost idle_missing 1",
        "release",
    ] == run.hears(events.ProbeAnswered(run.last_sent, Channel.IOPUB))
    assert [] == run.says(IDLE, OK, BUSY, ASK)
    assert ["late stdout 'x'"] == run.says(printed("x"))


def test_an_idle_may_come_while_the_kernel_is_asked_however_much_is_before_it() -> None:
    run = Played("x")
    run.ready()
    run.says(OK)
    run.times_out(Timer.IDLE_DUE)
    for _ in range(30):
        assert ["stdout '.'"] == run.says(printed("."))
    run.says(IDLE)
    assert ("ok", "done", 0) == run.end
    assert [] == run.hears(events.ProbeAnswered(run.last_sent, Channel.IOPUB))


def test_an_idle_is_given_up_when_nothing_comes_in_its_place_either() -> None:
    run = Played("x")
    run.ready()
    run.says(OK)
    run.times_out(Timer.IDLE_DUE)
    assert ["dropped idle_missing 1", "step 0 died"] == run.times_out(Timer.IDLE_OVER)[:2]
    assert ("lost", "idle_missing", 1) == run.end
    assert [] == run.hears(events.ProbeAnswered(run.last_sent, Channel.IOPUB))


def test_an_answer_to_what_was_asked_before_it_ran_says_nothing_of_its_end() -> None:
    run = Played("x")
    run.ready()
    run.cancel()
    asked = events.ProbeAnswered(run.last_sent, Channel.CONTROL)
    run.says(IDLE)
    assert [] == run.hears(asked)
    run.says(OK)
    assert ("ok", "done", 0) == run.end


NO_REPLY = "error NoReply: The kernel gave no reply."


def test_a_kernel_that_answers_in_place_of_the_reply_has_ended_its_step() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, IDLE)
    assert ["probe m1 on shell", "set probe-due 10"] == run.times_out(Timer.REPLY_DUE)
    assert ["stdout 'x'"] == run.says(printed("x"), IDLE, BUSY, ASK)
    answered = events.ProbeAnswered(run.last_sent, Channel.SHELL)
    assert ["stop probe-due", NO_REPLY] == run.hears(answered)[:2]
    assert ("error", "exception", 1) == run.end


def test_a_healthy_kernel_that_executes_other_code_has_ended_its_step() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, IDLE)
    run.times_out(Timer.REPLY_DUE)
    assert ["probe m1 on control", "set probe-over 10"] == run.times_out(Timer.PROBE_DUE)
    answered = events.ProbeAnswered(run.last_sent, Channel.CONTROL)
    assert ["stop probe-over", NO_REPLY] == run.hears(answered)[:2]
    assert ("error", "exception", 1) == run.end


def test_a_kernel_that_answers_no_probe_is_lost() -> None:
    run = Played("x")
    run.ready()
    run.says(IDLE)
    run.times_out(Timer.REPLY_DUE)
    run.times_out(Timer.PROBE_DUE)
    assert ["dropped reply_missing 1", "kill"] == run.times_out(Timer.PROBE_OVER)[:2]
    assert ("lost", "reply_missing", 1) == run.end
    assert [] == run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))


def test_a_reply_may_come_while_the_kernel_is_asked() -> None:
    run = Played("x")
    run.ready()
    run.says(IDLE)
    run.times_out(Timer.REPLY_DUE)
    run.says(OK)
    assert ("ok", "done", 0) == run.end
    assert [] == run.hears(events.ProbeAnswered(run.last_sent, Channel.CONTROL))


def test_a_timer_that_ran_out_at_the_moment_it_was_stopped_is_ignored() -> None:
    run = Played("x", "y", mode=Mode.NOTEBOOK)
    run.ready()
    run.says(BUSY, OK, IDLE)
    for timer in Timer:
        assert [] == run.times_out(timer)
    assert ["ok", "running"] == run.steps


# -- aborted --------------------------------------------------------------------------------------


def test_a_step_that_comes_back_aborted_is_sent_again_at_most_five_times() -> None:
    run = Played("x", limits=Limits(step=9))
    run.ready()
    for number in range(2, 7):
        assert [
            "set step 9",
            "stop step",
            "set idle-due 1",
            "stop idle-due",
            "set step 9",
            f"execute m{number} 'x'",
        ] == run.says(BUSY, ABORTED, IDLE)
    run.says(BUSY, ABORTED, IDLE)
    assert ("error", "exception", 1) == run.end
    assert ["queued", "running", "finished"] == run.history


def test_a_step_that_was_sent_again_ends_as_any_other() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, ABORTED, IDLE)
    assert ["stdout 'late'"] == run.says(printed("late"), IDLE, OK, ASK, to="m1"), (
        "output of the first attempt"
    )
    assert ["set idle-due 1"] == run.says(OK, to="m2")
    run.says(BUSY, IDLE)
    assert ("ok", "done", 0) == run.end
    assert ["late stdout 'later'"] == run.says(printed("later"), to="m1")


def test_a_step_that_was_sent_again_has_not_been_taken_up_yet() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, ABORTED, IDLE)
    run.after(5).hears(died())
    assert run.run.view().predict_time is None


def test_output_of_an_aborted_attempt_does_not_mean_that_the_next_is_executed() -> None:
    run = Played("x")
    run.ready()
    run.says(BUSY, ABORTED, IDLE)
    run.says(printed("late"), to="m1")
    asked = ["cancelling", "probe m2 on control", "set probe-over 10"]
    assert asked == run.cancel(), "an interrupt would hit what runs before it"
    assert [] == run.hears(events.ProbeAnswered(MsgId("m1"), Channel.CONTROL)), (
        "it was asked about m2"
    )
    told = ["stop probe-over", "interrupt", "set again 1", "set grace 5"]
    assert told == run.says(BUSY, to="m2")


def test_what_was_executed_in_part_is_never_sent_again() -> None:
    for said in (printed("x"), shown("x"), ASK, raised("KeyboardInterrupt")):
        run = Played("x")
        run.ready()
        run.says(BUSY, said, ABORTED, IDLE)
        assert "error" == run.end[0], said
    run = Played("x")
    run.ready()
    run.says(BUSY, facts.Replied("abort", execution_count=7), IDLE)  # as bash_kernel does
    assert "error" == run.end[0]


# -- several steps --------------------------------------------------------------------------------


def test_steps_follow_each_other() -> None:
    run = Played("a", "b", mode=Mode.NOTEBOOK)
    run.ready()
    run.says(BUSY, facts.Replied("ok", execution_count=7))
    assert ["stop idle-due", "step 0 ok", "step 1 running", "execute m2 'b'"] == (run.says(IDLE))
    run.says(BUSY, facts.Replied("ok", execution_count=8), IDLE)
    assert ["ok", "ok"] == run.steps
    assert 8 == run.run.view().execution_count


def test_skipped_and_empty_steps_are_not_sent() -> None:
    run = Played(StepPlan(code="a", skip=True), " \n", "c", mode=Mode.NOTEBOOK)
    assert [
        "running",
        "step 0 skipped",
        "step 1 ok",
        "step 2 running",
        "execute m1 'c'",
    ] == run.ready()
    run.says(OK, IDLE)
    assert ["skipped", "ok", "ok"] == run.steps
    assert ("ok", "done", 0) == run.end


def test_a_run_without_steps_is_finished_at_once() -> None:
    run = Played(mode=Mode.NOTEBOOK, limits=Limits(run=9))
    assert ["running", "set run 9", "finished", "completed ok done 0", "release"] == run.ready()
    assert [] == run.times_out(Timer.RUN_LIMIT)


def test_what_is_behind_an_error_is_not_run() -> None:
    run = Played("a", StepPlan(code="b", skip=True), "c", mode=Mode.NOTEBOOK)
    run.ready()
    assert ["step 0 error", "step 1 not-run", "step 2 not-run", "finished"] == (
        run.says(BUSY, raised("E"), failed("E"), IDLE)[-6:-2]
    )
    assert ["error", "not-run", "not-run"] == run.steps


def test_an_allowed_error_ends_its_step_and_not_the_run() -> None:
    run = Played(StepPlan(code="a", allow_error=True), "b", mode=Mode.NOTEBOOK)
    run.ready()
    run.says(BUSY, raised("SystemExit", "3"), failed("SystemExit", "3"), IDLE)
    run.says(BUSY, OK, IDLE)
    assert ["allowed-error", "ok"] == run.steps
    assert [3, 0] == [step.exit_code for step in run.run.view().steps]
    assert ("ok", "done", 0) == run.end


def test_a_polite_exit_ends_a_notebook_with_ok() -> None:
    run = Played("sys.exit(0)", "b", mode=Mode.NOTEBOOK)
    run.ready()
    run.says(BUSY, raised("SystemExit", "0"), failed("SystemExit", "0"), IDLE)
    assert ["ok", "not-run"] == run.steps
    assert ("ok", "exited", 0) == run.end


def test_late_output_of_an_earlier_step_goes_to_its_own_step() -> None:
    run = Played("a", "b", mode=Mode.NOTEBOOK, limits=Limits(idle=5))
    run.ready()
    run.says(BUSY, OK, IDLE)
    run.says(BUSY)
    assert ["late stdout 'thread'"] == run.says(printed("thread"), to="m1")
    run.says(printed("b"))
    texts = [
        (record.step, record.body.text, record.body.late)
        for record in run.stored
        if isinstance(record.body, records.LogText)
    ]
    assert [(0, "thread", True), (1, "b", False)] == texts
    assert [] == run.says(failed(), IDLE, BUSY, ASK, to="m1")
    assert ["ok", "running"] == run.steps


def test_phases_are_told_once_and_before_any_output_of_the_next() -> None:
    run = Played(
        StepPlan(code="", phase="clean"),
        StepPlan(code="make", phase="build"),
        StepPlan(code="./main", phase="exec"),
        mode=Mode.BATCH,
    )
    assert [
        "running",
        "step 0 ok",
        "clean finished 0",
        "step 1 running",
        "execute m1 'make'",
    ] == run.ready()
    assert "build" == run.run.view().phase
    assert ["step 1 ok", "build finished 0", "step 2 running", "execute m2 './main'"] == (
        run.says(BUSY, OK, IDLE)[-4:]
    )
    assert ["late stdout 'cc'", "stdout 'hello'"] == [
        *run.says(printed("cc"), to="m1"),
        *run.says(BUSY, printed("hello"), to="m2"),
    ]
    assert not any("finished" in words for words in run.says(OK, IDLE)[:-3])
    assert ("ok", "done", 0) == run.end


def test_a_failed_build_ends_the_batch_with_its_exit_code() -> None:
    run = Played(
        StepPlan(code="make", phase="build"), StepPlan(code="x", phase="exec"), mode=Mode.BATCH
    )
    run.ready()
    told = run.says(BUSY, exited(2), IDLE)
    assert told.index("step 0 error") < told.index("build finished 2") < told.index("finished")
    assert ("error", "build_failed", 2) == run.end
    assert ["error", "not-run"] == run.steps
    assert not any("ExitCode" in words for words in told)


def test_a_program_that_fails_ends_its_run_with_its_exit_code_and_shows_nothing() -> None:
    run = Played(StepPlan(code="./main", phase="exec"), mode=Mode.BATCH)
    run.ready()
    assert not any("ExitCode" in words for words in run.says(BUSY, exited(3), IDLE))
    assert ("error", "exit_code", 3) == run.end


def test_what_cannot_be_cleaned_away_is_no_reason_not_to_build() -> None:
    run = Played(
        StepPlan(code="make clean", phase="clean", allow_error=True),
        StepPlan(code="make", phase="build"),
        mode=Mode.BATCH,
    )
    run.ready()
    told = run.says(BUSY, exited(2), IDLE)
    assert told.index("clean finished 2") < told.index("execute m2 'make'")
    run.says(BUSY, exited(0), IDLE)
    assert ("ok", "done", 0) == run.end
    assert ["allowed-error", "ok"] == run.steps


# -- the kernel is gone ---------------------------------------------------------------------------


def test_a_kernel_that_dies_takes_its_run_with_it() -> None:
    for lost, exit_code in {
        died(signal="SIGKILL"): 137,
        died(exit_code=3): 3,
        died(exit_code=0): 1,
        died(signal="SIGFOO"): 1,
        died(): 1,
    }.items():
        run = Played("a", "b", mode=Mode.NOTEBOOK)
        run.ready()
        run.says(BUSY, printed("x"))
        assert [
            "step 0 died",
            "kernel died",
            "step 1 not-run",
            "finished",
            f"completed lost kernel_died {exit_code}",
            "release",
        ] == run.hears(lost)
        assert lost.reason == run.run.view().reason


def test_a_kernel_may_die_at_any_moment() -> None:
    moments: list[tuple[facts.Fact, ...]] = [
        (),
        (BUSY,),
        (ASK,),
        (OK,),
        (IDLE,),
        (BUSY, printed("x")),
    ]
    for said in moments:
        run = Played("x")
        run.ready()
        run.says(*said)
        run.hears(died(signal="SIGSEGV"))
        assert ("lost", "kernel_died", 139) == run.end
        assert ["died"] == run.steps
    run = Played("input()")
    run.ready()
    run.says(BUSY, ASK)
    run.barrier()
    run.hears(died(signal="SIGSEGV"))
    assert ["queued", "running", "waiting-input", "finished"] == run.history
    assert run.run.view().prompt is None
    assert [] == run.barrier()


def test_a_kernel_that_is_lost_before_the_run_reached_it_ends_the_run() -> None:
    run = Played("x")
    run.hears(died())
    assert ("lost", "kernel_died", 1) == run.end
    assert ["not-run"] == run.steps
    run = Played("x")
    run.hears(events.Admitted(), died(exit_code=127))
    assert ("lost", "kernel_died", 127) == run.end
    assert ["not-run"] == run.steps


def test_a_restart_is_told_as_such() -> None:
    run = Played("x")
    run.ready()
    told = run.hears(events.KernelLost(records.Reason(code="kernel_restarted")))
    assert "kernel restarted" in told
    assert ("lost", "kernel_restarted", 1) == run.end


def test_a_deleted_kernel_cancels_its_runs() -> None:
    gone = events.KernelLost(records.Reason(code="cancelled", message="deleted"), deleted=True)
    run = Played("x")
    run.ready()
    run.says(BUSY)
    assert [
        "step 0 cancelled",
        "finished",
        "completed cancelled cancelled 130",
        "release",
    ] == run.hears(gone)
    run = Played("x")
    run.hears(gone)
    assert ("cancelled", "cancelled", 130) == run.end


def test_a_finished_run_takes_what_comes_too_late_without_a_change() -> None:
    run = Played("x")
    run.cancel()
    before = run.run.view()
    assert [] == run.hears(events.Admitted(), events.KernelReady(), died(), events.CancelAsked())
    assert before == run.run.view()


# -- what cannot be -------------------------------------------------------------------------------


def test_a_turn_given_twice_is_a_bug_and_leaves_the_run_as_it_was() -> None:
    run = Played("x", limits=Limits(queue=5, start=5))
    run.hears(events.Admitted())
    before = run.run.view()
    with pytest.raises(ImpossibleTransition, match=r"admitted cannot happen to a run .* starting"):
        run.hears(events.Admitted())
    assert before == run.run.view()
    run.ready()
    before = run.run.view()
    for event in (events.Admitted(), events.KernelReady()):
        with pytest.raises(ImpossibleTransition):
            run.hears(event)
    assert before == run.run.view()
    assert [] == run.says(BUSY), "nothing of the refused event is left to be done"


# -- times and names ------------------------------------------------------------------------------


def test_durations_are_monotonic_and_times_are_for_people() -> None:
    run = Played("a", StepPlan(code="b", name="cell-2"), mode=Mode.NOTEBOOK)
    run.after(3).ready()
    run.after(1).says(BUSY)
    run.after(5).says(OK, IDLE)
    run.after(2).says(BUSY)
    run.after(0.5).says(OK, IDLE)
    view = run.run.view()
    assert (3, 5.5) == (view.queue_time, view.predict_time)
    assert (1000, 1003, 1011.5) == (view.created_at, view.started_at, view.finished_at)
    first, second = view.steps
    assert (1003, 1009, 5) == (first.started_at, first.finished_at, first.duration)
    assert ("cell-2", 0.5, "m2") == (second.name, second.duration, second.msg_id)
    assert [1000, 1003, 1011.5] == [at for _, at in view.history]


def test_a_run_shows_itself_in_a_log_line() -> None:
    run = Played("a", "b", mode=Mode.NOTEBOOK)
    run.ready()
    assert "<Run 5fac RUNNING step 1/2>" == repr(run.run)


def test_a_waiting_run_has_neither_times_nor_a_phase() -> None:
    view = Played("a").run.view()
    assert (None, None, None) == (view.queue_time, view.predict_time, view.phase)
    assert (None, None) == (view.execution_count, view.error)


def test_a_run_that_is_over_can_forget_its_code_and_nothing_else() -> None:
    run = Played("a", StepPlan(code="b", name="second"), mode=Mode.NOTEBOOK)
    run.ready()
    run.says(BUSY, OK, IDLE)
    run.says(BUSY, OK, IDLE)
    before = run.run.view()
    run.run.forget_code()
    assert ["", ""] == [step.code for step in run.run.plan.steps]
    assert before == run.run.view()
