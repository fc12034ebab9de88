"""What a run comes to that a killed gateway has left, as far as its log tells."""

from __future__ import annotations

from dataclasses import replace

from kernel_gateway.execution.recovery import GATEWAY_LOST, lost_view
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Record, Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, RunView, StepOutcome, StepView


def left(*states: StepOutcome) -> RunView:
    """As its row says."""
    steps = tuple(StepView(index=index, name="", state=state) for index, state in enumerate(states))
    return RunView(
        state=RunState.RUNNING,
        outcome=None,
        reason=None,
        exit_code=None,
        created_at=1.0,
        started_at=2.0,
        finished_at=None,
        queue_time=1.0,
        predict_time=None,
        prompt=None,
        steps=steps,
        history=((RunState.QUEUED, 1.0), (RunState.RUNNING, 2.0)),
        is_stream=False,
        metrics={"old": 1},
    )


def record(body: records.Body, step: int | None = 0) -> Record:
    return Record(seq=Seq(1), at=3.0, step=step, body=body)


def test_it_is_lost_and_the_step_that_ran_has_died() -> None:
    told = [
        record(records.StepChanged(state="ok"), 0),
        record(records.StepChanged(state="running"), 1),
    ]
    view = lost_view(left(*[StepOutcome.PENDING] * 3), told, 9.0)
    assert (RunState.FINISHED, Outcome.LOST, GATEWAY_LOST, 9.0) == (
        view.state,
        view.outcome,
        view.reason,
        view.finished_at,
    )
    assert [StepOutcome.OK, StepOutcome.DIED, StepOutcome.NOT_RUN] == [
        step.state for step in view.steps
    ]


def test_its_steps_are_as_far_as_its_log_tells() -> None:
    told = [
        record(records.StepChanged(state="running", msg_id="m"), 0),
        record(records.StepChanged(state="ok", execution_count=7, exit_code=0), 0),
        record(records.StepChanged(state="skipped"), 1),
    ]
    first, second, third = lost_view(left(*[StepOutcome.PENDING] * 3), told, 9.0).steps
    assert (
        StepView(
            index=0,
            name="",
            state=StepOutcome.OK,
            started_at=3.0,
            finished_at=3.0,
            duration=0.0,
            execution_count=7,
            exit_code=0,
            msg_id="m",
        )
        == first
    )
    assert (StepOutcome.SKIPPED, None) == (second.state, second.finished_at)
    assert (StepOutcome.NOT_RUN, None) == (third.state, third.finished_at)


def test_its_metrics_are_those_of_its_log_also_of_threads_whose_step_was_over() -> None:
    told = [
        record(records.Metric(name="a.b", value=1, mode="increment")),
        record(records.Metric(name="a.b", value=2, mode="increment"), 1),
        record(records.Metric(name="c", value=3, mode="append", late=True)),
    ]
    view = lost_view(left(StepOutcome.RUNNING), told, 9.0)
    assert {"a": {"b": 3}, "c": [3]} == view.metrics


def test_it_is_told_as_long_as_it_was_heard_of() -> None:
    begun = replace(record(records.StepChanged(state="running"), 0), at=3.0)
    done = replace(record(records.StepChanged(state="ok"), 0), at=3.5)
    next_ = replace(record(records.StepChanged(state="running"), 1), at=4.0)
    view = lost_view(left(*[StepOutcome.PENDING] * 3), [begun, done, next_], 6.0)
    assert [0.5, None, None] == [step.duration for step in view.steps]
    assert (6.0, 6.0, 0.5) == (view.finished_at, view.steps[1].finished_at, view.predict_time)
