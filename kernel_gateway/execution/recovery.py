"""Runs that a gateway left unfinished when it was killed: they become lost, and say so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kernel_gateway.runs import records
from kernel_gateway.runs.log import Batch
from kernel_gateway.runs.metrics import Metrics
from kernel_gateway.runs.records import Body, Reason, Record, Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, RunView, StepOutcome, StepView, kernel_time
from kernel_gateway.store.values import AppendRecords, PutRun, StoredRun, Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.runs.events import Instant
    from kernel_gateway.store.store import Store

GATEWAY_LOST = Reason(
    code="gateway_lost", message="The gateway was killed while the run was in progress."
)
PAGE = 1000
_TELLING = (records.StepChanged, records.Metric)


async def lost_run(
    store: Store, run: StoredRun, now: Instant, *, retention_s: float
) -> Sequence[Write]:
    """What is to be written so that the run reads `lost`, its log up to the last commit kept."""
    told: list[Record] = []
    last = Seq(0)
    heard_at = run.view.created_at
    while page := await store.records(run.uid, after=last, limit=PAGE):
        told.extend(one for one in page if isinstance(one.body, _TELLING))
        last, heard_at = page[-1].seq, page[-1].at
    view = lost_view(run.view, told, heard_at)
    bodies: list[tuple[int | None, Body]] = [
        (step.index, records.StepChanged(state=step.state))
        for step, before in zip(view.steps, run.view.steps, strict=True)
        if step.state is not before.state and step.state in _LOST_STEPS
    ]
    bodies.append(
        (None, records.StateChanged(state="finished", outcome="lost", reason=GATEWAY_LOST))
    )
    bodies.append((None, records.Completed(outcome="lost", reason=GATEWAY_LOST, exit_code=1)))
    new = tuple(
        Record(seq=Seq(last + number), at=now.wall, step=step, body=body)
        for number, (step, body) in enumerate(bodies, 1)
    )
    lost = replace(run, view=view, expires_at=now.wall + retention_s)
    batch = Batch(records=new, blobs=(), bytes=run.log_bytes, dropped=run.log_dropped)
    return [PutRun(lost), AppendRecords(run.uid, batch)]


def lost_view(view: RunView, told: Sequence[Record], at: float) -> RunView:
    """Steps and metrics as the log tells them, the step that ran as died, those behind it as not
    run. `at`: when it was last heard of. Nobody was there to see when it ended, so nobody knows how
    long the last step took; of the others the wall clock tells, the other one went with the
    gateway."""
    steps = {step.index: step for step in view.steps}
    metrics = Metrics()
    for record in told:
        if record.step is not None and isinstance(record.body, records.StepChanged):
            steps[record.step] = _told_step(steps[record.step], record.at, record.body)
        elif isinstance(record.body, records.Metric):
            metrics.merge(record.body)
    all_steps = tuple(_lost_step(steps[step.index], at) for step in view.steps)
    return replace(
        view,
        state=RunState.FINISHED,
        outcome=Outcome.LOST,
        reason=GATEWAY_LOST,
        exit_code=1,
        finished_at=at,
        prompt=None,
        predict_time=kernel_time(step.duration for step in all_steps),
        steps=all_steps,
        metrics=metrics.values,
        history=(*view.history, (RunState.FINISHED, at)),
    )


_LOST_STEPS = {StepOutcome.DIED, StepOutcome.NOT_RUN}


def _told_step(step: StepView, at: float, body: records.StepChanged) -> StepView:
    state = StepOutcome(body.state)
    if state is StepOutcome.RUNNING:
        return replace(step, state=state, started_at=at, msg_id=body.msg_id or step.msg_id)
    began = step.started_at
    return replace(
        step,
        state=state,
        finished_at=None if began is None else at,
        duration=None if began is None else max(0.0, at - began),
        execution_count=body.execution_count,
        exit_code=body.exit_code,
    )


def _lost_step(step: StepView, at: float) -> StepView:
    if step.state is StepOutcome.RUNNING:
        return replace(step, state=StepOutcome.DIED, finished_at=at)
    if step.state is StepOutcome.PENDING:
        return replace(step, state=StepOutcome.NOT_RUN)
    return step
