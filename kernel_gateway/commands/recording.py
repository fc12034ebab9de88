"""A run as programs read it: every record of its log in a file, or what happens on stdout.

Knows the JSON of records as HTTP gives it. Must not know how notebooks are run. A reader that has
gone away, and a disk that is full, are no reason to lose a run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from kernel_gateway.messaging import strict_json
from kernel_gateway.notebook import metadata
from kernel_gateway.notebook.batch import Done, Retried
from kernel_gateway.notebook.plan import code_cells
from kernel_gateway.notebook.runner import KernelChosen, NotSaved
from kernel_gateway.runs import records
from kernel_gateway.runs.view import StepOutcome
from kernel_gateway.web.render import record_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.batch import BatchEvent, Order
    from kernel_gateway.notebook.engine import Engine
    from kernel_gateway.notebook.job import NotebookJob
    from kernel_gateway.notebook.runner import NotebookResult
    from kernel_gateway.runs.records import Record
    from kernel_gateway.service import (
        ArtifactContent,
        KernelSpecsView,
        LogPage,
        RunInfo,
        RunUid,
        Seq,
    )

log = logging.getLogger("kernel_gateway.commands")


# -- all records, in a file ------------------------------------------------------------------------


class RecordFile:
    """One record a line, in the form of `GET /api/runs/ID/records`. Raises `OSError` when made."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._lock = threading.Lock()
        self._path = path
        self._failed = False

    def write(self, info: RunInfo, new: Sequence[Record]) -> None:
        """Blocks. Whole lines, also when several runs write at the same time."""
        lines = b"".join(strict_json.encode(record_json(info, one)) + b"\n" for one in new)
        with self._lock:
            if self._failed:  # what comes later must not look as if it followed
                return
            try:
                left = memoryview(lines)
                while left:
                    left = left[self._file.write(left) :]
            except OSError as fault:
                self._failed = True
                log.warning("%s ends here, it cannot be written: %s", self._path, fault)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Recorded:
    """Implements `notebook.engine.Engine`: another one, whose logs are written down as they are
    read."""

    engine: Engine
    file: RecordFile

    async def kernelspecs(self) -> KernelSpecsView:
        return await self.engine.kernelspecs()

    async def start(
        self, job: NotebookJob, notebook: Mapping[str, Any], kernel_name: str
    ) -> RunInfo:
        return await self.engine.start(job, notebook, kernel_name)

    async def run(self, uid: RunUid) -> RunInfo:
        return await self.engine.run(uid)

    async def log(self, uid: RunUid, *, after: Seq, wait_s: float) -> LogPage:
        page = await self.engine.log(uid, after=after, wait_s=wait_s)
        if page.records:
            info = await self.engine.run(uid)
            await asyncio.to_thread(self.file.write, info, page.records)
        return page

    async def blob(self, uid: RunUid, artifact: str) -> bytes:
        return await self.engine.blob(uid, artifact)

    async def artifact(self, uid: RunUid, artifact: str) -> ArtifactContent:
        return await self.engine.artifact(uid, artifact)

    async def cancel(
        self, uid: RunUid, *, escalate: bool, grace_s: float | None, message: str
    ) -> None:
        await self.engine.cancel(uid, escalate=escalate, grace_s=grace_s, message=message)

    async def give_input(self, uid: RunUid, value: str | None, prompt_id: int) -> None:
        await self.engine.give_input(uid, value, prompt_id)


# -- what happens, on stdout -----------------------------------------------------------------------


class JsonEvents:
    """One event a line: `kernel`, `cell`, `text`, `not_saved`, `retry`, `end`."""

    def __init__(
        self, stream: TextIO, *, log_output: bool, exit_code: Callable[[Done], int]
    ) -> None:
        """`exit_code` is that of the process, were there no other notebook."""
        self._stream = stream
        self._exit_code = exit_code
        self._log_output = log_output
        self._attempts: dict[str, _Attempt] = {}  # by the names of their orders

    def tell(self, order: Order, event: BatchEvent) -> None:
        told = self._told(order, event)
        if told is not None:
            kind, fields = told
            fields = {name: value for name, value in fields.items() if value is not None}
            line = json.dumps({"event": kind, "output": order.name, **fields})
            with suppress(OSError, ValueError):  # nobody reads any more
                self._stream.write(f"{line}\n")
                self._stream.flush()

    def _told(self, order: Order, event: BatchEvent) -> tuple[str, dict[str, Json]] | None:
        match event:
            case KernelChosen(choice=choice, notebook=notebook):
                names = [cell["id"] for cell in code_cells(notebook)]
                self._attempts[order.name] = _Attempt(names)
                return "kernel", {
                    "input": order.job.input_name,
                    "name": choice.spec.name,
                    "fallback": choice.fallback or None,
                    "cells": len(names),
                }
            case NotSaved(message=message):
                return "not_saved", {"message": message}
            case Retried(attempt=attempt, failed=failed):
                return "retry", {"attempt": attempt, **_end(failed)}
            case Done():
                return "end", _done(event, self._exit_code(event))
            case _:
                return self._record(self._attempts[order.name], event)

    def _record(self, attempt: _Attempt, record: Record) -> tuple[str, dict[str, Json]] | None:
        body, step = record.body, record.step
        if isinstance(body, records.LogText) and self._log_output:
            return "text", {"step": step, "stream": body.stream, "text": body.text}
        if not isinstance(body, records.StepChanged) or step is None:
            return None
        since = attempt.since.pop(step, None)
        seconds = None if since is None else round(max(0.0, record.at - since), 3)
        if body.state == StepOutcome.RUNNING:
            attempt.since[step] = record.at
        return "cell", {
            "step": step,
            "cell": attempt.cells[step],
            "state": body.state,
            "seconds": seconds,
        }


@dataclass(frozen=True, slots=True)
class _Attempt:
    cells: Sequence[str]  # their IDs
    since: dict[int, float] = field(default_factory=dict)  # those that run, and when they began


def _end(result: NotebookResult) -> dict[str, Json]:
    return {"outcome": result.outcome.value, "reason": metadata.of_reason(result.reason)}


def _done(done: Done, code: int) -> dict[str, Json]:
    fields: dict[str, Json] = {"attempt": done.attempt, "seconds": round(done.duration_s, 3)}
    if done.result is None:
        return {**fields, "fault": str(done.fault), "exit_code": code}
    result = done.result
    states = [step.state.value for step in result.steps]
    counts: dict[str, Json] = {state: states.count(state) for state in dict.fromkeys(states)}
    uid = result.run.uid if result.run is not None else None
    return {**fields, **_end(result), "exit_code": code, "uid": uid, "cells": counts}
