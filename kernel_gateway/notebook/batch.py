"""Several notebooks at once, each with a kernel of its own, and each as often as is worth it.

Knows runners, and which ends are worth another attempt. Must not know the command line: who asks is
told everything by values, which notebook it is about among them. What becomes of one notebook is
nothing to the others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from kernel_gateway.errors import InvalidField, NotebookUnreadable, NotebookUnwritable
from kernel_gateway.notebook.bringing import Brought, Findings, bring
from kernel_gateway.notebook.exits import exit_code
from kernel_gateway.notebook.job import Attempt
from kernel_gateway.notebook.runner import Event, KernelChosen, NotebookRunner, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from kernel_gateway.errors import GatewayError
    from kernel_gateway.notebook.answers import Answers
    from kernel_gateway.notebook.bringing import Homes
    from kernel_gateway.notebook.engine import Engine
    from kernel_gateway.notebook.job import NotebookJob
    from kernel_gateway.notebook.runner import NotebookResult
    from kernel_gateway.notebook.saving import Sink
    from kernel_gateway.service import RunUid


class Cause(Enum):
    """Ends after which another attempt may do better, by their exit codes."""

    START_FAILED = "start-failed"
    DIED = "died"
    TIMED_OUT = "timed-out"
    ERROR = "error"  # a cell failed


_CAUSES: Mapping[int, Cause] = {
    1: Cause.ERROR,
    4: Cause.START_FAILED,
    5: Cause.TIMED_OUT,
    6: Cause.DIED,
}
#: A cell that fails will mostly fail again; all else may have been the machine.
USUAL_CAUSES = frozenset(Cause) - {Cause.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    most: int = 0  # attempts after the first
    causes: frozenset[Cause] = USUAL_CAUSES

    def another(self, attempt: int, result: NotebookResult) -> bool:
        """Never when the run was not begun, or what became of it cannot be known: it may still go
        on somewhere."""
        if attempt > self.most or result.run is None or result.reason.code == "gateway_lost":
            return False
        return _CAUSES.get(exit_code(result.outcome, result.reason.code)) in self.causes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A notebook to be run, and where what becomes of it goes."""

    name: str  # for people; no two of a batch have the same
    job: NotebookJob
    sink: Sink
    homes: Homes  # for the files that it leaves behind
    file: Path | None = None  # that the output is, where it is one
    answers: Callable[[], Answers] | None = None  # for each attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """An attempt has failed, and there is another one."""

    attempt: int  # that comes now
    failed: NotebookResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing more happens to this notebook."""

    order: Order
    notebook: Mapping[str, Any]  # as it was executed, without outputs
    duration_s: float
    attempt: int
    result: NotebookResult | None = None
    fault: GatewayError | None = None  # instead of a result: one of `_REFUSED`
    begun: bool = True  # something was executed, or could have been
    brought: Brought = field(default_factory=Brought)


#: The output cannot be written, or the notebook has not what is asked of it.
_REFUSED = (NotebookUnwritable, NotebookUnreadable, InvalidField)

BatchEvent: TypeAlias = Event | Retried | Done


class Keeper(Protocol):
    """Remembers what is being run, for the case that we are killed. Blocks."""

    def begin(self, number: int, job: NotebookJob) -> NotebookJob:
        """Before each attempt. The job to be run in its place, which can be found again."""

    def chosen(self, number: int, language: str) -> None:
        """Of the kernel of this attempt: its kernelspec may be gone one day."""

    def end(self, number: int) -> None:
        """Its output is complete."""


class Forgetful:
    """For outputs that nobody could complete later."""

    def begin(self, number: int, job: NotebookJob) -> NotebookJob:
        return job

    def chosen(self, number: int, language: str) -> None:
        """Nothing was remembered."""

    def end(self, number: int) -> None:
        """Nothing was remembered."""


class Batch:
    """Use it once."""

    def __init__(
        self,
        engine: Engine,
        orders: Sequence[Order],
        tell: Callable[[Order, BatchEvent], None],
        *,
        jobs: int = 1,
        retries: Retries | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._engine = engine
        self._orders = orders
        self._tell = tell
        self._room = asyncio.Semaphore(jobs)
        self._retries = retries or Retries()
        self._keeper = keeper or Forgetful()
        self._running: set[NotebookRunner] = set()
        self._bringing: set[asyncio.Timeout] = set()
        self._asked: list[Stop] = []

    def stop(self, how: Stop) -> None:
        """All of them; those that have not begun are complete without a run. Files that are on
        their way home are not waited for."""
        self._asked.append(how)
        for runner in self._running:
            runner.stop(how)
        for patience in self._bringing:
            patience.reschedule(_now())
        self._bringing.clear()

    async def run(self) -> list[Done]:
        """In the order of the orders."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._in_turn(number, order))
                for number, order in enumerate(self._orders)
            ]
        return [task.result() for task in running]

    async def _in_turn(self, number: int, order: Order) -> Done:
        async with self._room:
            done = await self._run(number, order)
            self._tell(order, done)
            return done

    async def _run(self, number: int, order: Order) -> Done:
        listener = _Listener(order, self._tell)
        began = _now()
        result: NotebookResult | None = None
        fault: GatewayError | None = None
        job = order.job
        try:
            while True:
                result = await self._attempt(number, replace(order, job=job), listener)
                if self._asked or not self._retries.another(job.attempt, result):
                    break
                assert result.run is not None
                failed = Attempt(uid=result.run.uid, outcome=result.outcome, reason=result.reason)
                job = replace(job, earlier=(*job.earlier, failed))
                self._tell(order, Retried(attempt=job.attempt, failed=result))
            listener.uid = None if result.run is None else result.run.uid
            await asyncio.to_thread(_close, order.sink)  # whatever becomes of the files
        except _REFUSED as refused:
            result, fault = None, refused
        brought = await self._bring(order, listener)
        if fault is None or not listener.begun:
            await asyncio.to_thread(self._keeper.end, number)
        return Done(
            order=order,
            notebook=listener.notebook,
            duration_s=_now() - began,
            attempt=job.attempt,
            result=result,
            fault=fault,
            begun=listener.begun,
            brought=brought,
        )

    async def _attempt(self, number: int, order: Order, listener: _Listener) -> NotebookResult:
        job = await asyncio.to_thread(self._keeper.begin, number, order.job)
        listener.begin(partial(self._keeper.chosen, number))
        answers = None if order.answers is None else order.answers()
        runner = NotebookRunner(
            self._engine, job, _LeftOpen(order.sink), listener.hear, answers=answers
        )
        for how in self._asked:
            runner.stop(how)
        self._running.add(runner)
        try:
            return await runner.run()
        finally:
            self._running.remove(runner)
            listener.uid = runner.uid
            await listener.noted()

    async def _bring(self, order: Order, listener: _Listener) -> Brought:
        patience = asyncio.timeout(None)
        self._bringing.add(patience)
        try:
            return await bring(
                self._engine, listener.uid, listener.found, order.homes, patience=patience
            )
        finally:
            self._bringing.discard(patience)


class _Listener:
    """Passes on what a runner tells, and keeps what is asked for at the end."""

    def __init__(self, order: Order, tell: Callable[[Order, BatchEvent], None]) -> None:
        self._order = order
        self._tell = tell
        self._note: Callable[[str], None] | None = None
        self._noting: asyncio.Task[None] | None = None
        self.begun = False
        self.notebook = order.job.source.notebook
        self.found = Findings()
        self.uid: RunUid | None = None

    def begin(self, note: Callable[[str], None]) -> None:
        """A new attempt, of which nothing is known yet. `note` is told the language; it blocks."""
        self._note = note
        self.notebook = self._order.job.source.notebook
        self.found = Findings()
        self.uid = None

    def hear(self, event: Event) -> None:
        if isinstance(event, KernelChosen):
            self.notebook = event.notebook
            self.begun = True
            language = event.choice.spec.language
            assert self._note is not None
            self._noting = asyncio.create_task(asyncio.to_thread(self._note, language))
        self.found.tell(event)
        self._tell(self._order, event)

    async def noted(self) -> None:
        if self._noting is not None:
            await self._noting
            self._noting = None


@dataclass(frozen=True, slots=True)
class _LeftOpen:
    """A sink that another attempt writes to as well."""

    sink: Sink

    def save(self, data: bytes) -> None:
        self.sink.save(data)

    def close(self) -> None:
        """After the last attempt."""


def _close(sink: Sink) -> None:
    try:
        sink.close()
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise NotebookUnwritable(f"The output cannot be written: {why}.") from fault


def _now() -> float:
    return asyncio.get_running_loop().time()
