"""One notebook run, from the input to the file that is complete after any end.

Knows the service, the document and the clock. Must not know the command line: who asks for a run is
told everything that happens by frozen values, the records of the log among them, and stops it by
`NotebookRunner.stop`.

The output is saved before anything is started, then by time (`saving.Pace`), and at the end. When
the last step is over the kernel may still have threads that print: what they say is waited for
until they have been quiet for a while, then the kernel is asked to end, and what came meanwhile is
taken as well.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from kernel_gateway.errors import (
    GatewayError,
    KernelDead,
    KernelSpecNotFound,
    NotebookUnwritable,
    NotFound,
)
from kernel_gateway.notebook import metadata
from kernel_gateway.notebook.choice import Choice, choose
from kernel_gateway.notebook.document import Document
from kernel_gateway.notebook.plan import PlanOptions, plan
from kernel_gateway.notebook.saving import Pace
from kernel_gateway.runs import records
from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.records import Reason, Record
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, StepOutcome, StepView
from kernel_gateway.service import KernelRequest, RunRequest, Seq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.document import Source
    from kernel_gateway.notebook.saving import Sink
    from kernel_gateway.service import Owner, RunInfo, RunUid, Service

POLL_S = 30.0  # one wait for records while nothing is to be saved; a new one follows
QUIET_S = 0.5  # without a word after the end: threads have nothing more to say
QUIET_CAP_S = 10.0  # ... and who talks for ever is not listened to for ever


class Stop(Enum):
    """How a run is stopped: whether escalation follows, after how many seconds, and its word."""

    INTERRUPT = (False, None, "interrupted")  # only ask: the code may take its time to clean up
    FORCE = (True, 0.0, "stopped")
    TERMINATE = (True, 3.0, "terminated")  # who terminates us does not wait long


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookJob:
    source: Source
    version: str  # of this program, for the metadata
    options: PlanOptions = field(default_factory=PlanOptions)
    kernel_name: str | None = None  # None: what the notebook asks for
    cwd: Path | None = None
    start_limit_s: float | None = None  # None: the service's own
    quiet_s: float = QUIET_S


@dataclass(frozen=True, slots=True)
class KernelChosen:
    choice: Choice


@dataclass(frozen=True, slots=True)
class NotSaved:
    """The output could not be written; it is tried again."""

    message: str


@dataclass(frozen=True, slots=True)
class StillPrinting:
    """The notebook is over, its threads go on; their kernel is ended now."""

    after_s: float


Event: TypeAlias = KernelChosen | NotSaved | StillPrinting | Record


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookResult:
    outcome: Outcome
    reason: Reason
    steps: tuple[StepView, ...]


class NotebookRunner:
    """Use it once."""

    def __init__(
        self,
        service: Service,
        owner: Owner,
        job: NotebookJob,
        sink: Sink,
        tell: Callable[[Event], None],
        *,
        pace: Pace | None = None,
    ) -> None:
        self._service = service
        self._owner = owner
        self._job = job
        self._sink = sink
        self._tell = tell
        self._pace = pace or Pace()
        self._document = Document(job.source)
        self._blobs: dict[str, bytes] = {}
        self._outputs = Outputs(self._blobs.get)
        self._stops: asyncio.Queue[Stop] = asyncio.Queue()  # one a signal: people are slow
        self._stopped = asyncio.Event()
        self._choice: Choice | None = None
        self._info: RunInfo | None = None  # as last seen
        self._steps = [
            StepView(index=index, name=name, state=StepOutcome.PENDING)
            for index, name in enumerate(self._document.names)
        ]
        self._after = Seq(0)
        self._unsaved = False

    def stop(self, how: Stop) -> None:
        """At once; the run ends when its kernel lets go of it. May be called at any time."""
        self._stopped.set()
        self._stops.put_nowait(how)

    async def run(self) -> NotebookResult:
        """Raises `NotebookUnwritable` when the output cannot be written at the start or at the end.

        All else is a result: whatever happens, the output is complete and tells what happened.
        """
        await self._start_file()
        try:
            result = await self._run_on_kernel()
        except GatewayError as fault:
            result = self._not_run(fault)
        except BaseException:  # somebody cancels us, or a bug: what is known is kept all the same
            await self._take_rest()
            await self._close_file()
            raise
        await self._close_file()
        return result

    async def _close_file(self) -> None:
        await self._save()
        with _writing():
            await asyncio.to_thread(self._sink.close)

    async def _start_file(self) -> None:
        self._fill_all()
        self._set_metadata(None)
        await self._save()

    async def _run_on_kernel(self) -> NotebookResult:
        self._choice = choose(
            await self._service.kernelspecs(), self._job.kernel_name, self._job.source.wish
        )
        self._document.set_kernel(self._choice.spec)
        self._tell(KernelChosen(self._choice))
        kernel = await self._service.create_kernel(
            self._owner,
            KernelRequest(
                name=self._choice.spec.name,
                cwd=self._job.cwd,
                start_limit_s=self._job.start_limit_s,
            ),
        )
        try:
            return await self._run_all(kernel.id)
        finally:
            await self._delete(kernel.id)

    async def _run_all(self, kernel_id: str) -> NotebookResult:
        if self._stopped.is_set():
            return self._not_begun()
        run = plan(self._job.source.notebook, self._job.options)
        info = await self._service.submit(self._owner, RunRequest(plan=run, kernel_id=kernel_id))
        self._info = info
        async with asyncio.TaskGroup() as tasks:
            obeying = tasks.create_task(self._obey(info.uid))
            try:
                return await self._to_the_end(info.uid, kernel_id)
            finally:
                obeying.cancel()

    async def _obey(self, uid: RunUid) -> None:
        while True:
            escalate, grace_s, message = (await self._stops.get()).value
            with suppress(GatewayError):  # what is wrong with the service, its readers meet too
                await self._service.cancel(
                    self._owner, uid, escalate=escalate, grace_s=grace_s, message=message
                )

    async def _to_the_end(self, uid: RunUid, kernel_id: str) -> NotebookResult:
        try:
            await self._follow(uid, kernel_id)
            view = (await self._update(uid)).view
        except GatewayError as fault:
            return self._lost(fault.message)
        if view.outcome is None or view.reason is None:
            return self._lost("The log of the run came to an end before the run did.")
        await self._save_if_possible()
        with suppress(GatewayError):  # how it ended is known: no fault changes that any more
            if view.outcome not in {Outcome.CANCELLED, Outcome.LOST}:
                await self._drain(uid)
            await self._delete(kernel_id)
        await self._take_rest()
        return NotebookResult(outcome=view.outcome, reason=view.reason, steps=view.steps)

    async def _delete(self, kernel_id: str) -> None:
        """Returns when it is gone and all its words are in the log. Harmless when repeated."""
        with suppress(NotFound):
            await self._service.delete_kernel(self._owner, kernel_id)

    async def _take_rest(self) -> None:
        """What the kernel said on its way out, as far as it is to be had."""
        if self._info is None:
            return
        with suppress(GatewayError):
            await self._read(self._info.uid)
            await self._update(self._info.uid)

    # -- reading ---------------------------------------------------------------------------------

    async def _follow(self, uid: RunUid, kernel_id: str) -> None:
        knows_language = False
        finished = False
        while not finished:
            wait_s = self._pace.wait_s(_now()) if self._unsaved else POLL_S
            page = await self._service.log(self._owner, uid, after=self._after, wait_s=wait_s)
            await self._take(uid, page.records)
            finished = page.finished
            if not knows_language and any(_is_running(record) for record in page.records):
                await self._learn_language(kernel_id)
                knows_language = True
            if self._unsaved and not finished and not self._pace.wait_s(_now()):
                await self._update(uid)
                await self._save_if_possible()

    async def _learn_language(self, kernel_id: str) -> None:
        with suppress(NotFound):  # somebody has deleted it
            kernel = await self._service.kernel(self._owner, kernel_id)
            self._document.set_language(kernel.language_info)

    async def _read(self, uid: RunUid) -> bool:
        """What there is at this moment; whether there was anything."""
        before = self._after
        while True:
            page = await self._service.log(self._owner, uid, after=self._after)
            await self._take(uid, page.records)
            if not page.records:
                return self._after != before

    async def _take(self, uid: RunUid, news: Sequence[Record]) -> None:
        for record in news:
            await self._fetch(uid, record)
            self._outputs.apply(record)
            self._after = record.seq  # whatever interrupts us, none is taken twice
            self._blobs.clear()
            if isinstance(record.body, records.StepChanged) and record.step is not None:
                self._steps[record.step] = _after(self._steps[record.step], record.at, record.body)
            self._tell(record)
            self._unsaved = True

    async def _fetch(self, uid: RunUid, record: Record) -> None:
        """The whole values of what is too big for the log; what is gone stays a reference."""
        if not isinstance(record.body, records.Output | records.Updated):
            return
        for item in (record.body.spilled or {}).values():
            if item.artifact is None:
                continue
            try:
                blob = await self._service.blob(self._owner, uid, item.artifact)
            except NotFound:
                continue
            self._blobs[item.artifact] = blob

    async def _drain(self, uid: RunUid) -> None:
        end = _now() + QUIET_CAP_S
        while await self._is_quiet_for(self._job.quiet_s) and await self._read(uid):
            if _now() > end:
                self._tell(StillPrinting(QUIET_CAP_S))
                return

    async def _is_quiet_for(self, wait_s: float) -> bool:
        """Waits; False at once when somebody stops the run meanwhile."""
        try:
            await asyncio.wait_for(self._stopped.wait(), wait_s)
        except TimeoutError:
            return True
        return False

    # -- writing ---------------------------------------------------------------------------------

    async def _update(self, uid: RunUid) -> RunInfo:
        """Bring the document to what is known now."""
        info = await self._service.run(self._owner, uid)
        self._steps = list(info.view.steps)
        self._fill_all()
        self._set_metadata(metadata.of_run(info))
        self._info = info
        return info

    def _fill_all(self) -> None:
        for view in self._steps:
            self._document.set_cell(
                view.index,
                outputs=self._outputs.outputs(view.index),
                execution_count=view.execution_count,
                metadata=metadata.of_step(view),
            )

    def _set_metadata(self, run: Mapping[str, Json] | None) -> None:
        told = metadata.of_notebook(self._job.version, self._job.source, self._choice, run)
        self._document.set_metadata(told)

    async def _save(self) -> None:
        began = _now()
        try:
            with _writing():
                await asyncio.to_thread(lambda: self._sink.save(self._document.encode()))
        finally:
            self._pace.saved(began, _now())
        self._unsaved = False

    async def _save_if_possible(self) -> None:
        """A full disk may have room again later; the run is worth more than this save."""
        try:
            await self._save()
        except NotebookUnwritable as fault:
            self._tell(NotSaved(fault.message))

    # -- bad ends --------------------------------------------------------------------------------

    def _not_run(self, fault: GatewayError) -> NotebookResult:
        """Nothing was executed."""
        outcome = Outcome.ERROR if isinstance(fault, KernelSpecNotFound) else Outcome.LOST
        reason = Reason(code=_CODES.get(type(fault), fault.code), message=fault.message)
        return self._ended_badly(outcome, reason, metadata.of_end(outcome, reason))

    def _not_begun(self) -> NotebookResult:
        """Stopped before anything was asked of the kernel."""
        message = self._stops.get_nowait().value[2]
        reason = Reason(code="cancelled", message=message)
        told = metadata.of_end(Outcome.CANCELLED, reason)
        return self._ended_badly(Outcome.CANCELLED, reason, told)

    def _lost(self, message: str) -> NotebookResult:
        """The service fails: what becomes of the run is not to be learned any more."""
        assert self._info is not None
        reason = Reason(code="gateway_lost", message=message)
        told = metadata.of_run(self._info) | metadata.of_end(Outcome.LOST, reason)
        return self._ended_badly(Outcome.LOST, reason, told)

    def _ended_badly(
        self, outcome: Outcome, reason: Reason, told: Mapping[str, Json]
    ) -> NotebookResult:
        self._steps = [_lost_step(view) for view in self._steps]
        self._fill_all()
        self._set_metadata(told)
        return NotebookResult(outcome=outcome, reason=reason, steps=tuple(self._steps))


#: A kernel that dies before it has got its run never came up.
_CODES: Mapping[type[GatewayError], str] = {
    KernelSpecNotFound: "kernel_not_found",
    KernelDead: "kernel_start_failed",
}

_LOST_STATES = {
    StepOutcome.RUNNING: StepOutcome.DIED,
    StepOutcome.PENDING: StepOutcome.NOT_RUN,
}


def _after(view: StepView, at: float, body: records.StepChanged) -> StepView:
    """What a record tells of its step, until the service tells it in full."""
    state = StepOutcome(body.state)
    if state is StepOutcome.RUNNING:
        return replace(view, state=state, started_at=at)
    return replace(view, state=state, finished_at=at, execution_count=body.execution_count)


def _lost_step(view: StepView) -> StepView:
    return replace(view, state=_LOST_STATES.get(view.state, view.state))


def _is_running(record: Record) -> bool:
    """The kernel has come up."""
    body = record.body
    return isinstance(body, records.StateChanged) and body.state == RunState.RUNNING


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise NotebookUnwritable(f"The output cannot be written: {why}.") from fault


def _now() -> float:
    return asyncio.get_running_loop().time()
