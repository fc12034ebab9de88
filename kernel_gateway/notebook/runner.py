"""One notebook run, from the input to the file that is complete after any end.

Knows the engine, the document and the clock. Must not know the command line: who asks for a run is
told everything that happens by frozen values, the records of the log among them, and stops it by
`NotebookRunner.stop`.

The output is saved before anything is executed, then by time (`saving.Pace`), and at the end. It is
a fold of the run's log, which is read until no more can come: threads may print when the last step
is over, and the kernel has a word on its way out.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from kernel_gateway.errors import (
    GatewayError,
    KernelSpecNotFound,
    NotebookUnwritable,
    NotFound,
    Unreachable,
)
from kernel_gateway.notebook import metadata
from kernel_gateway.notebook.choice import Choice, choose
from kernel_gateway.notebook.document import Document
from kernel_gateway.notebook.engine import run_request
from kernel_gateway.notebook.papermill.metadata import About
from kernel_gateway.notebook.parameters.injection import parameterized
from kernel_gateway.notebook.plan import plan
from kernel_gateway.notebook.saving import Pace
from kernel_gateway.runs import records
from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.records import Reason, Record
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, StepOutcome, StepView
from kernel_gateway.service import Seq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.answers import Answers
    from kernel_gateway.notebook.engine import Engine
    from kernel_gateway.notebook.job import NotebookJob
    from kernel_gateway.notebook.saving import Sink
    from kernel_gateway.runs.view import RunView
    from kernel_gateway.service import (
        KernelSpecsView,
        KernelSpecView,
        RunInfo,
        RunRequest,
        RunUid,
    )

POLL_S = 30.0  # one wait for records while nothing is to be saved; a new one follows
START_S = 2.0  # so long who does not wait any more waits for a run that is being started
_AWAY = "It was stopped, and the gateway does not answer."


class Stop(Enum):
    """How a run is stopped: whether escalation follows, after how many seconds, and its word."""

    INTERRUPT = (False, None, "interrupted")  # only ask: the code may take its time to clean up
    FORCE = (True, 0.0, "stopped")
    TERMINATE = (True, 3.0, "terminated")  # who terminates us does not wait long


@dataclass(frozen=True, slots=True)
class KernelChosen:
    choice: Choice
    notebook: Mapping[str, Any]  # as it is executed, with its parameters


@dataclass(frozen=True, slots=True)
class NotSaved:
    """The output could not be written; it is tried again."""

    message: str


Event: TypeAlias = KernelChosen | NotSaved | Record


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookResult:
    outcome: Outcome
    reason: Reason
    steps: tuple[StepView, ...]
    run: RunInfo | None = None  # None: there never was one


def first_request(job: NotebookJob, specs: KernelSpecsView) -> RunRequest:
    """What a runner will ask an engine in this process for. Raises whatever is in the way of it."""
    spec = choose(specs, job.kernel_name, job.source.wish).spec
    return run_request(job, _fitted(job, spec), spec.name)


def _fitted(job: NotebookJob, spec: KernelSpecView) -> Mapping[str, Any]:
    """The notebook as this kernel executes it, with its parameters. Raises `InvalidField` or
    `NotebookUnreadable` where it has not what is asked of it."""
    notebook = parameterized(
        job.source.notebook,
        job.parameters,
        kernel=spec.name,
        language=spec.language,
        allow_unknown=job.allow_unknown_parameters,
    )
    plan(notebook, job.options)
    return notebook


class NotebookRunner:
    """Use it once."""

    def __init__(
        self,
        engine: Engine,
        job: NotebookJob,
        sink: Sink,
        tell: Callable[[Event], None],
        *,
        pace: Pace | None = None,
        answers: Answers | None = None,
    ) -> None:
        """Without `answers` the job's options should not let cells ask."""
        self._engine = engine
        self._job = job
        self._sink = sink
        self._tell = tell
        self._pace = pace or Pace()
        self._answers = answers
        self._tasks: asyncio.TaskGroup | None = None  # of the run, while it is followed
        self._asking: asyncio.Task[None] | None = None
        self._waiting: asyncio.Timeout | None = None  # for the run; it has no end of its own
        self._started = asyncio.Event()
        self._stops: asyncio.Queue[Stop] = asyncio.Queue()  # one a signal: people are slow
        self._choice: Choice | None = None
        self._info: RunInfo | None = None  # as last seen
        self._blobs: dict[str, bytes] = {}
        self._outputs = Outputs(self._blobs.get)
        self._after = Seq(0)
        self._unsaved = False
        self._write_on(job.source.notebook)

    def _write_on(self, notebook: Mapping[str, Any]) -> None:
        """The page from now on; nothing has been executed."""
        self._document = Document(replace(self._job.source, notebook=notebook))
        self._steps = [
            StepView(index=index, name=name, state=StepOutcome.PENDING)
            for index, name in enumerate(self._document.names)
        ]

    @property
    def uid(self) -> RunUid | None:
        """Of the run, as soon as there is one."""
        return None if self._info is None else self._info.uid

    def stop(self, how: Stop) -> None:
        """At once; the run ends when its kernel lets go of it. May be called at any time."""
        self._stops.put_nowait(how)

    async def run(self) -> NotebookResult:
        """Raises `NotebookUnwritable` when the output cannot be written at the start or at the end,
        and `InvalidField` or `NotebookUnreadable` where the notebook has not what is asked of it (a
        parameter, a tag): then nothing is started or written.

        All else is a result: whatever happens, the output is complete and tells what happened.
        """
        trouble = await self._prepared()
        await self._start_file()
        try:
            result = self._not_run(trouble) if trouble else await self._executed()
        except GatewayError as fault:
            result = self._not_run(fault)
        except BaseException:  # somebody cancels us, or a bug: what is known is kept all the same
            await self._abandon()
            await self._close_file()
            raise
        await self._close_file()
        return result

    async def _close_file(self) -> None:
        self._fill_all()  # what came last may not have got as far as the document
        await self._save()
        with _writing():
            await asyncio.to_thread(self._sink.close)

    async def _start_file(self) -> None:
        self._fill_all()
        self._set_metadata(None)
        await self._save()

    async def _prepared(self) -> GatewayError | None:
        """Decide which kernel executes which cells; what is in the way of that is an end, too."""
        job = self._job
        try:
            specs = await self._engine.kernelspecs()
            self._choice = choose(specs, job.kernel_name, job.source.wish)
        except GatewayError as fault:
            return fault
        spec = self._choice.spec
        self._write_on(_fitted(job, spec))
        self._document.set_kernel(spec)
        return None

    async def _executed(self) -> NotebookResult:
        assert self._choice is not None
        self._tell(KernelChosen(self._choice, self._document.notebook))
        if not self._stops.empty():
            return self._not_begun()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            obeying = tasks.create_task(self._obey())
            try:
                return await self._to_the_end(self._choice.spec.name)
            finally:
                self._tasks = None
                self._ask_no_more()
                obeying.cancel()

    async def _obey(self) -> None:
        """Each at once: one that is still on its way does not hold up the next."""
        async with asyncio.TaskGroup() as passing:
            while True:
                passing.create_task(self._pass_on(await self._stops.get()))

    async def _pass_on(self, how: Stop) -> None:
        """A service that does not answer is not waited for, but by who only interrupts."""
        escalate, grace_s, message = how.value
        try:
            async with asyncio.timeout(START_S if escalate else None):
                await self._started.wait()
            assert self._info is not None
            uid = self._info.uid
            await self._engine.cancel(uid, escalate=escalate, grace_s=grace_s, message=message)
        except (TimeoutError, Unreachable):
            if escalate:
                self._wait_no_more()
        except GatewayError:  # what else is wrong with the engine, its readers meet too
            pass

    def _wait_no_more(self) -> None:
        assert self._waiting is not None
        with suppress(RuntimeError):  # it is over already
            self._waiting.reschedule(_now())

    async def _to_the_end(self, kernel_name: str) -> NotebookResult:
        """How it ended is known when its last step is over: no fault changes that any more."""
        try:
            async with asyncio.timeout(None) as self._waiting:
                job, notebook = self._job, self._document.notebook
                self._info = await self._engine.start(job, notebook, kernel_name)
                self._started.set()
                await self._follow(self._info.uid)
        except GatewayError as fault:
            if self._info is None:
                return self._not_run(fault)
            if self._is_open:
                await self._abandon()
                return self._lost(fault.message)
        except TimeoutError:
            if self._info is None:
                return self._not_run(Unreachable(_AWAY))
            if self._is_open:
                return self._lost(_AWAY)
        assert self._info is not None
        view = self._info.view
        assert view.outcome is not None
        assert view.reason is not None
        return NotebookResult(
            outcome=view.outcome, reason=view.reason, steps=view.steps, run=self._info
        )

    async def _abandon(self) -> None:
        """Nobody waits for the run any more: end it, and take what is to be had of it."""
        if self._info is None:
            return
        escalate, grace_s, message = Stop.FORCE.value
        uid = self._info.uid
        with suppress(GatewayError):
            await self._engine.cancel(uid, escalate=escalate, grace_s=grace_s, message=message)
            await self._follow(uid)

    # -- reading ---------------------------------------------------------------------------------

    async def _follow(self, uid: RunUid) -> None:
        """Until nothing more can come. The output is whole as soon as the last step is over."""
        sealed = False
        while not sealed:
            wait_s = self._pace.wait_s(_now()) if self._unsaved else POLL_S
            page = await self._engine.log(uid, after=self._after, wait_s=wait_s)
            await self._take(uid, page.records)
            self._after = page.next  # there may be more on the page than what we know
            has_ended = page.finished and self._is_open
            if has_ended or (self._unsaved and not self._pace.wait_s(_now())):
                await self._update(uid)
                await self._save_if_possible()
            sealed = page.sealed
        await self._update(uid)

    @property
    def _is_open(self) -> bool:
        """It was not seen to end."""
        return self._info is None or self._info.view.outcome is None

    async def _take(self, uid: RunUid, news: Sequence[Record]) -> None:
        for record in news:
            await self._fetch(uid, record)
            self._outputs.apply(record)
            self._after = record.seq  # whatever interrupts us, none is taken twice
            self._blobs.clear()
            if isinstance(record.body, records.StepChanged) and record.step is not None:
                self._steps[record.step] = _after(self._steps[record.step], record.at, record.body)
            elif isinstance(record.body, records.KernelIntroduced):
                self._document.set_language(record.body.language_info)
            self._tell(record)
            self._unsaved = True
            if isinstance(record.body, records.InputAsked):
                self._ask(uid, record.body)
            elif _ends_prompt(record.body):
                self._ask_no_more()

    def _ask(self, uid: RunUid, asked: records.InputAsked) -> None:
        """While it is followed on: the run may end, and nobody need answer any more."""
        if self._answers is not None and self._tasks is not None:
            self._asking = self._tasks.create_task(self._answer(self._answers, uid, asked))

    async def _answer(self, answers: Answers, uid: RunUid, asked: records.InputAsked) -> None:
        value = await answers.answer(asked.prompt, hidden=asked.password)
        with suppress(GatewayError):  # somebody else was quicker, or what is wrong readers meet too
            await self._engine.give_input(uid, value, asked.prompt_id)

    def _ask_no_more(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _fetch(self, uid: RunUid, record: Record) -> None:
        """The whole values of what is too big for the log; what is gone stays a reference."""
        if not isinstance(record.body, records.Output | records.Updated | records.Comm):
            return
        for item in (record.body.spilled or {}).values():
            if item.artifact is None:
                continue
            try:
                blob = await self._engine.blob(uid, item.artifact)
            except NotFound:
                continue
            self._blobs[item.artifact] = blob

    # -- writing ---------------------------------------------------------------------------------

    async def _update(self, uid: RunUid) -> RunInfo:
        """Bring the document to what is known now."""
        info = await self._engine.run(uid)
        self._steps = list(info.view.steps)
        self._fill_all()
        self._set_metadata(metadata.of_run(info), info.view, info.view.outcome)
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
        self._document.set_widgets(self._outputs.widgets())

    def _set_metadata(
        self,
        run: Mapping[str, Json] | None,
        view: RunView | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        job = self._job
        self._document.set_metadata(
            metadata.of_notebook(
                job.version,
                job.source,
                choice=self._choice,
                kernel=self._outputs.kernel,
                parameters=job.parameters,
                run=run,
                earlier=job.earlier,
            )
        )
        about = About(
            version=job.version,
            input_path=job.input_name,
            output_path=job.output_name,
            parameters=job.parameters,
        )
        self._document.set_papermill(about, self._steps, view, outcome)

    async def _save(self) -> None:
        if self._job.earlier and self._info is None:
            return  # what an earlier attempt has left is worth more than a page without a run
        began = _now()
        try:
            with _writing():
                await _in_thread(lambda: self._sink.save(self._document.encode()))
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
        is_missing = isinstance(fault, KernelSpecNotFound)
        outcome = Outcome.ERROR if is_missing else Outcome.LOST
        code = "kernel_not_found" if is_missing else fault.code
        reason = Reason(code=code, message=fault.message)
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
        view = None if self._info is None else self._info.view
        self._set_metadata(told, view, outcome)
        return NotebookResult(outcome=outcome, reason=reason, steps=tuple(self._steps))


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


def _ends_prompt(body: records.Body) -> bool:
    if isinstance(body, records.StateChanged):
        return body.state != RunState.WAITING
    return isinstance(body, records.InputAnswered | records.StepChanged)


def _lost_step(view: StepView) -> StepView:
    return replace(view, state=_LOST_STATES.get(view.state, view.state))


async def _in_thread(work: Callable[[], object]) -> None:
    """Whatever cancels us, it is over when we are: the next save is not to be overtaken."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise NotebookUnwritable(f"The output cannot be written: {why}.") from fault


def _now() -> float:
    return asyncio.get_running_loop().time()
