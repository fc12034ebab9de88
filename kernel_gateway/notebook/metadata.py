"""What the output notebook says of its run, under `kernel_gateway`. Nothing but the truth.

Knows the values that tell how a run stands. Must not know notebooks or services. Absent rather than
null; times in UTC for people, durations in seconds as the run tells them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.choice import Choice, Wish
    from kernel_gateway.notebook.document import Source
    from kernel_gateway.notebook.job import Attempt
    from kernel_gateway.runs.records import KernelIntroduced, Reason
    from kernel_gateway.runs.view import Outcome, StepView
    from kernel_gateway.service import RunInfo

FORMAT = 1  # of this metadata; one more when a field changes its meaning


def of_notebook(
    version: str,
    source: Source,
    *,
    choice: Choice | None = None,
    kernel: KernelIntroduced | None = None,
    parameters: Mapping[str, Json] | None = None,
    run: Mapping[str, Json] | None = None,
    earlier: Sequence[Attempt] = (),
) -> dict[str, Json]:
    """`earlier` are the attempts before this one; of a first attempt nothing is said."""
    return _present(
        format=FORMAT,
        version=version,
        input={"digest": source.digest, "nbformat": source.version},
        parameters=dict(parameters) if parameters else None,
        kernel=_of_kernel(choice, source.wish, kernel) or None,
        attempt=len(earlier) + 1 if earlier else None,
        attempts=[_of_attempt(one) for one in earlier] or None,
        run=dict(run) if run is not None else None,
    )


def of_run(info: RunInfo) -> dict[str, Json]:
    view = info.view
    return _present(
        id=info.id,
        uid=info.uid,
        state=view.state.value,
        outcome=view.outcome.value if view.outcome else None,
        reason=of_reason(view.reason) if view.reason else None,
        created_at=_time(view.created_at),
        started_at=_time(view.started_at),
        finished_at=_time(view.finished_at),
        queue_time=view.queue_time,
        predict_time=view.predict_time,
    )


def of_end(outcome: Outcome, reason: Reason) -> dict[str, Json]:
    """Of a run that never came to be, or of which nothing more is to be learned."""
    return {"state": "finished", "outcome": outcome.value, "reason": of_reason(reason)}


def of_step(view: StepView) -> dict[str, Json]:
    return _present(
        state=view.state.value,
        started_at=_time(view.started_at),
        finished_at=_time(view.finished_at),
        duration=view.duration,
        execution_count=view.execution_count,
        exit_code=view.exit_code,
        msg_id=view.msg_id,
    )


def of_reason(reason: Reason) -> dict[str, Json]:
    return {name: value for name, value in asdict(reason).items() if value not in {None, ""}}


def _of_attempt(attempt: Attempt) -> dict[str, Json]:
    return {"uid": attempt.uid, **of_end(attempt.outcome, attempt.reason)}


def _of_kernel(
    choice: Choice | None, wish: Wish, introduced: KernelIntroduced | None
) -> dict[str, Json]:
    """What was chosen and why, and what it says of itself once it is there."""
    told: dict[str, Json] = {}
    if choice is not None:
        told = _present(
            name=choice.spec.name,
            language=choice.spec.language or None,
            asked=wish.name or None,
            fallback=choice.fallback or None,
        )
    if introduced is not None:
        told |= _present(
            name=introduced.name,
            implementation=introduced.implementation or None,
            version=introduced.version or None,
        )
    return told


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _present(**fields: Json) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}
