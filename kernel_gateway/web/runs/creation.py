"""What a body asks to be executed, as a request to the engine.

Knows what each mode means as steps, and how a notebook is read. Must not know the engine, nor how
the answer is given.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import (
    InvalidField,
    MalformedMessage,
    NotebookUnreadable,
    SessionNotFound,
    TooLarge,
)
from kernel_gateway.messaging import strict_json
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.job import QUIET_S
from kernel_gateway.notebook.parameters.injection import parameterized
from kernel_gateway.notebook.plan import SKIP_TAG, PlanOptions, plan
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan, batch_steps
from kernel_gateway.service import RunRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.notebook.document import Source
    from kernel_gateway.service import KernelSpecView, Owner, Service
    from kernel_gateway.web.schemas import NewRun


async def run_request(
    asked: NewRun,
    trace: tuple[tuple[str, str], ...],
    *,
    max_code_bytes: int,
    spec: KernelSpecView | None = None,
) -> RunRequest:
    """`spec`: of the kernel that will execute it, needed for parameters. Raises `InvalidField` and
    `TooLarge`."""
    webhook = replace(asked.webhook, trace=trace) if asked.webhook is not None else None
    return RunRequest(
        plan=await _plan(asked, max_code_bytes, spec),
        kernel_id=asked.kernel_id,
        kernel_name=asked.kernel_name,
        session=asked.session,
        run_id=asked.run_id,
        labels=asked.labels,
        webhook=webhook,
        env=asked.env,
        secrets=asked.secrets,
        files=None if asked.files is None else await asyncio.to_thread(_decoded, asked.files),
    )


def _decoded(files: Mapping[str, str]) -> dict[str, bytes]:
    """Blocks: there may be megabytes. Raises `InvalidField`."""
    found: dict[str, bytes] = {}
    faults: dict[str, str] = {}
    for name, text in files.items():
        try:
            found[name] = base64.b64decode(text, validate=True)
        except ValueError:
            faults[f"files.{name}"] = "must be in base64"
    if faults:
        raise InvalidField(faults)
    return found


async def spec_for(service: Service, owner: Owner, asked: NewRun) -> KernelSpecView | None:
    """Of the kernel that will execute it, where that matters: the language of parameters.

    Raises what `submit` would: `KernelNotFound`, `SessionNotFound`, `KernelSpecNotFound`.
    """
    if not asked.parameters:
        return None
    name = await _kernel_name(service, owner, asked) or (await service.kernelspecs()).default
    return await service.kernelspec(name)


async def _kernel_name(service: Service, owner: Owner, asked: NewRun) -> str | None:
    if asked.kernel_id is not None:
        return (await service.kernel(owner, asked.kernel_id)).name
    if asked.session is None:
        return asked.kernel_name
    try:
        return (await service.session(owner, asked.session)).kernel.name
    except SessionNotFound:
        return (await service.notebook_session(owner, asked.session)).kernel.name


async def _plan(asked: NewRun, max_code_bytes: int, spec: KernelSpecView | None) -> RunPlan:
    if asked.mode is Mode.QUERY:
        made = RunPlan(mode=asked.mode, steps=(StepPlan(code=asked.code),))
    elif asked.mode is Mode.BATCH:
        lines = asked.commands
        steps = batch_steps(lines.clean or "", lines.build or "", lines.exec or "")
        made = RunPlan(mode=asked.mode, steps=steps)
    else:  # reading it takes its time: a notebook has megabytes of pictures
        made = await asyncio.to_thread(notebook_plan, asked, max_code_bytes, spec)
    return replace(
        made,
        limits=made.limits if asked.mode is Mode.NOTEBOOK else asked.limits,
        context=asked.context,
        allow_stdin=made.allow_stdin if asked.allow_stdin is None else asked.allow_stdin,
        grace_s=made.grace_s if asked.grace_s is None else asked.grace_s,
        cancel_on_disconnect=asked.cancel_on_disconnect,
        quiet_s=made.quiet_s if asked.quiet_s is None else asked.quiet_s,
        unread_s=asked.unread_s,
    )


def notebook_plan(
    asked: NewRun, max_code_bytes: int, spec: KernelSpecView | None = None
) -> RunPlan:
    """With the whole notebook, so that it can be given back with its outputs. Blocks."""
    notebook = read_notebook(asked.notebook).notebook
    if spec is not None:
        notebook = parameterized(
            notebook,
            asked.parameters,
            kernel=spec.name,
            language=spec.language,
            allow_unknown=asked.allow_unknown_parameters,
        )
    made = _planned(notebook, asked)
    size = sum(len(step.code.encode()) for step in made.steps)
    if size > max_code_bytes:
        raise TooLarge(f"The code is longer than {max_code_bytes} bytes.", "notebook")
    if any("\0" in step.code for step in made.steps):
        raise InvalidField({"notebook": "must not contain NUL (U+0000) in its code"})
    is_own = asked.kernel_id is None and asked.session is None
    return replace(
        made,
        document=json.dumps(notebook, ensure_ascii=False),
        quiet_s=QUIET_S if is_own else 0.0,
    )


def _planned(notebook: Mapping[str, Any], asked: NewRun) -> RunPlan:
    chosen = asked.selection
    options = PlanOptions(
        allow_errors=asked.allow_errors,
        limits=asked.limits,
        skip_tag=chosen.get("skip_tag", SKIP_TAG),
        from_=chosen.get("from"),
        until=chosen.get("until"),
        only=tuple(chosen.get("only", ())),
    )
    try:
        return plan(notebook, options)
    except NotebookUnreadable as fault:
        raise InvalidField({"notebook": fault.message}) from fault
    except InvalidField as fault:
        raise InvalidField({f"options.{name}": why for name, why in fault.fields.items()}) from None


def read_notebook(notebook: object) -> Source:
    """That of a body. Blocks; raises `InvalidField`."""
    try:
        return read(_as_text(notebook))
    except NotebookUnreadable as fault:
        raise InvalidField({"notebook": fault.message}) from fault


def _as_text(notebook: object) -> bytes:
    """Without what no UTF-8 can carry, and not deeper than anybody can read it again."""
    try:
        data = strict_json.encode(notebook)
        strict_json.decode(data)
    except (MalformedMessage, RecursionError) as fault:
        raise InvalidField({"notebook": "is nested too deeply"}) from fault
    return data
