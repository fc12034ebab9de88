"""What a body asks to be executed, as a request to the engine.

Knows what each mode means as steps, and how a notebook is read. Must not know the engine, nor how
the answer is given.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from kernel_gateway.errors import InvalidField, MalformedMessage, NotebookUnreadable, TooLarge
from kernel_gateway.messaging import strict_json
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.plan import PlanOptions, plan
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan, batch_steps
from kernel_gateway.service import RunRequest

if TYPE_CHECKING:
    from kernel_gateway.web.schemas import NewRun


async def run_request(
    asked: NewRun, trace: tuple[tuple[str, str], ...], *, max_code_bytes: int
) -> RunRequest:
    """Raises `InvalidField` and `TooLarge`."""
    webhook = replace(asked.webhook, trace=trace) if asked.webhook is not None else None
    return RunRequest(
        plan=await _plan(asked, max_code_bytes),
        kernel_id=asked.kernel_id,
        kernel_name=asked.kernel_name,
        session=asked.session,
        run_id=asked.run_id,
        labels=asked.labels,
        webhook=webhook,
    )


async def _plan(asked: NewRun, max_code_bytes: int) -> RunPlan:
    if asked.mode is Mode.QUERY:
        made = RunPlan(mode=asked.mode, steps=(StepPlan(code=asked.code),))
    elif asked.mode is Mode.BATCH:
        lines = asked.commands
        steps = batch_steps(lines.clean or "", lines.build or "", lines.exec or "")
        made = RunPlan(mode=asked.mode, steps=steps)
    else:  # reading it takes its time: a notebook has megabytes of pictures
        made = await asyncio.to_thread(notebook_plan, asked, max_code_bytes)
    return replace(
        made,
        limits=asked.limits,
        context=asked.context,
        allow_stdin=made.allow_stdin if asked.allow_stdin is None else asked.allow_stdin,
        grace_s=made.grace_s if asked.grace_s is None else asked.grace_s,
        cancel_on_disconnect=asked.cancel_on_disconnect,
    )


def notebook_plan(asked: NewRun, max_code_bytes: int) -> RunPlan:
    """With the whole notebook, so that it can be given back with its outputs. Blocks."""
    try:
        source = read(_as_text(asked.notebook))
    except NotebookUnreadable as fault:
        raise InvalidField({"notebook": fault.message}) from fault
    made = plan(source.notebook, PlanOptions(allow_errors=asked.allow_errors))
    size = sum(len(step.code.encode()) for step in made.steps)
    if size > max_code_bytes:
        raise TooLarge(f"The code is longer than {max_code_bytes} bytes.", "notebook")
    if any("\0" in step.code for step in made.steps):
        raise InvalidField({"notebook": "must not contain NUL (U+0000) in its code"})
    return replace(made, document=json.dumps(source.notebook, ensure_ascii=False))


def _as_text(notebook: object) -> bytes:
    """Without what no UTF-8 can carry, and not deeper than anybody can read it again."""
    try:
        data = strict_json.encode(notebook)
        strict_json.decode(data)
    except (MalformedMessage, RecursionError) as fault:
        raise InvalidField({"notebook": "is nested too deeply"}) from fault
    return data
