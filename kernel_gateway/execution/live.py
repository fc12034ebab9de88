"""A run in memory: its machine, its log, what of the log has been told, and who waits for more.

Knows the rule that a record is stored before it is told. Must not know kernels: `session.py` feeds
the machine and performs its actions.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kernel_gateway.runs import records
from kernel_gateway.runs.answer import Cursor, Standing
from kernel_gateway.runs.comms import size_of
from kernel_gateway.runs.records import Body, Record, Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.service import Owner, RunId, RunInfo, RunUid, WebhookView
from kernel_gateway.store.values import AppendRecords, PutRun, StoredRun, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kernel_gateway.errors import GatewayError
    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.runs import events
    from kernel_gateway.runs.events import Instant, Timer
    from kernel_gateway.runs.log import Log
    from kernel_gateway.runs.masking import Masker
    from kernel_gateway.runs.plan import RunPlan
    from kernel_gateway.runs.records import Artifact
    from kernel_gateway.runs.run import Run
    from kernel_gateway.runs.view import Outcome, RunView
    from kernel_gateway.service import Delivery, Webhook
    from kernel_gateway.store.store import Store

#: So many times its usual end of the log stays in memory while somebody reads it: he is mostly not
#: far behind, and to have it from the store takes twice as long.
READ_TAILS = 4
KEPT_CHARS = 2**16  # of a finished run's log, and of its code, that stay in memory
#: Of a run that is only observed: its client has all of it already, so nobody waits for the disk.
PATIENCE_S = 0.25
#: Of a text that nobody reads yet: its cell, and the next ones, mostly end sooner. Kernels gather
#: what is printed ten times as long.
TEXT_PATIENCE_S = 0.02
PATIENT_RECORDS = 64  # of which a text has up to 64 KiB

_PATIENT_STATES = frozenset({RunState.QUEUED, RunState.STARTING, RunState.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The names of a run; they never change."""

    uid: RunUid
    run_id: RunId
    owner: Owner
    session: str  # the scope of the run ID: a kernel's ID, or empty for a kernel of its own
    kernel_id: str
    kernel_name: str
    digest: str  # of the body: the same ID with another one is a conflict
    plan: RunPlan
    labels: Mapping[str, str] = field(default_factory=dict)
    webhook: Webhook | None = None


class LiveRun:
    """`<LiveRun 5fac RUNNING told=12>`. A `store.Source`: asked when the writer is free."""

    def __init__(
        self,
        identity: Identity,
        machine: Run,
        log: Log,
        store: Store,
        clock: Clock,
        *,
        tail_chars: int,
        retention_s: float,
        masker: Masker | None = None,
    ) -> None:
        self.identity = identity
        self.machine = machine
        self.log = log
        self.generation: int | None = None
        self.timers: dict[Timer, Handle] = {}
        self.cursor = Cursor()  # behind the last answer that was given without a place of its own
        self.readers = 0  # callers who wait for more of its log
        self.spoke_at = -math.inf  # monotonic: when something was last added to its log
        self.read_at = -math.inf  # monotonic: when one of them last had something, or gave up
        self.unread: Handle | None = None  # runs out when nobody has come for too long
        self.answering = asyncio.Lock()  # two clients without places share the console, in pieces
        self.told = Seq(0)
        self.when_known: Callable[[], None] = _nothing  # called once: its ID is stored
        self.end_is_held = False  # the machine has ended, and nobody may be told of it yet
        self.is_slim = False  # it has forgotten its code
        self.artifacts: list[Artifact] = []  # that were told
        self._store = store
        self._clock = clock
        self._tail: deque[Record] = deque()
        self._tail_chars = 0
        self._tail_limit = tail_chars
        self._retention_s = retention_s
        self._masker = masker  # of a run whose kernel knows what nobody is to see
        self._told_standing = Standing()
        self._taken: Sequence[Record] = ()
        self._is_new = True  # the store has never been given it
        self._row_is_old = True
        self._is_closed = False  # nothing more is taken down
        self._stored_artifacts = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._followers = 0
        self._is_due = False

    def __repr__(self) -> str:
        return f"<LiveRun {self.identity.uid[:4]} {self.machine.state.name} told={self.told}>"

    # -- writing -----------------------------------------------------------------------------------

    def heard(self, event: events.Event) -> Sequence[events.Event]:
        """What its machine is told of it, without secrets."""
        if self._masker is None:
            return (event,)
        return self._masker.take(event, is_over=self.machine.finished)

    def append(self, body: Body, step: int | None, now: Instant) -> None:
        if self._is_closed:
            return
        if self._masker is not None:
            body = self._masker.mask.body(body)
        self.spoke_at = now.mono
        self.log.append(body, step=step, at=now.wall)
        if isinstance(body, records.StateChanged | records.Metric):
            self._row_is_old = True
        if self._followers:
            self._store.enlist(self)
        elif self.machine.plan.observed:
            self._enlist_soon(PATIENCE_S)
        elif isinstance(body, records.LogText) and self.state is RunState.RUNNING:
            self._enlist_soon(TEXT_PATIENCE_S)
        elif not _is_patient(body):
            self._store.enlist(self)

    def _enlist_soon(self, patience_s: float) -> None:
        """Many records, and short cells one after the other, so cost one commit."""
        if self.log.pending > PATIENT_RECORDS:
            self._store.enlist(self)
        elif not self._is_due:
            self._is_due = True
            self._clock.call_later(patience_s, self._enlist)

    def _enlist(self) -> None:
        self._is_due = False
        self.hurry()

    def take(self) -> Sequence[Write]:
        if self._is_closed:
            return ()
        batch = self.log.take()
        self._taken = batch.records
        writes: list[Write] = []
        if self._row_is_old or self._stored_artifacts < len(self.log.artifacts):
            self._row_is_old = False
            self._stored_artifacts = len(self.log.artifacts)
            writes.append(PutRun(self.stored_run(), new=self._is_new))
            self._is_new = False
        if batch.records or batch.blobs:
            writes.append(AppendRecords(self.identity.uid, batch))
        return writes

    def stored(self) -> None:
        taken, self._taken = self._taken, ()
        known = self.told > 0
        for record in taken:
            self._tell(record)
        if self.over:
            self._slim()
        if taken:
            self.wake()
        if taken and not known:
            self.when_known()

    def _slim(self) -> None:
        """The run stays in memory for a while, for late output and for who asks for its notebook
        now; the store has all that is big."""
        self.log.forget()
        if self.machine.plan.chars > KEPT_CHARS:
            self.is_slim = True
            self.machine.forget_code()
            self.identity = replace(self.identity, plan=self.machine.plan)
        if self._tail_chars > KEPT_CHARS:
            self.forget_text()

    def forget_text(self) -> None:
        """Whoever reads on asks the store, which has it or was told to delete it."""
        self._tail.clear()
        self._tail_chars = 0

    def refused(self, fault: GatewayError) -> None:
        """By a mistake of ours the log cannot go on: for its readers the run is over, and why."""
        reason = records.Reason(code="store_refused", message=fault.message)
        self._told_standing = Standing(completed=records.Completed(outcome="lost", reason=reason))
        self.close()

    def close(self) -> None:
        """Whatever comes now, as output of a thread, is dropped in silence."""
        self._is_closed = True
        self.wake()

    @property
    def is_closed(self) -> bool:
        """Its log does not go on, whatever becomes of its kernel."""
        return self._is_closed

    def needs_no_reader(self) -> None:
        """It is over, or forgotten."""
        if self.unread is not None:
            self.unread.cancel()
            self.unread = None

    def stored_run(self) -> StoredRun:
        identity, view = self.identity, self.view
        ended = view.finished_at
        return StoredRun(
            uid=identity.uid,
            run_id=identity.run_id,
            owner=identity.owner,
            session=identity.session,
            kernel_id=identity.kernel_id,
            kernel_name=identity.kernel_name,
            generation=self.generation,
            digest=identity.digest,
            plan=identity.plan,
            labels=identity.labels,
            webhook=identity.webhook,
            view=view,
            artifacts=tuple(self.log.artifacts),
            log_next=Seq(self.told + 1),
            log_bytes=self.log.bytes,
            log_dropped=self.log.dropped,
            expires_at=None if ended is None else ended + self._retention_s,
        )

    def _tell(self, record: Record) -> None:
        self.told = record.seq
        self._told_standing = standing_after(self._told_standing, record.body)
        if isinstance(record.body, records.ArtifactAdded):
            self.artifacts.append(record.body.artifact)
        self._tail.append(record)
        self._tail_chars += _chars(record.body)
        limit = self._tail_limit * (READ_TAILS if self._followers else 1)
        while self._tail_chars > limit and len(self._tail) > 1:
            self._tail_chars -= _chars(self._tail.popleft().body)

    # -- reading -----------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Its end has been told."""
        return self._told_standing.completed is not None

    @property
    def view(self) -> RunView:
        view = self.machine.view()
        return _before_its_end(view) if self.end_is_held else view

    @property
    def state(self) -> RunState:
        return self.machine.history[-2][0] if self.end_is_held else self.machine.state

    @property
    def outcome(self) -> Outcome | None:
        return None if self.end_is_held else self.machine.outcome

    @property
    def has_ended(self) -> bool:
        """Whether or not that was told by now."""
        return self.machine.finished and not self.end_is_held

    @property
    def standing(self) -> Standing:
        """What has been told, less a prompt that has been answered since."""
        prompt = self.machine.prompt
        if prompt is not None and prompt.prompt_id == self._told_standing.prompt_id:
            return self._told_standing
        return replace(self._told_standing, prompt_id=None)

    async def read(self, after: Seq, limit: int) -> Sequence[Record]:
        """Told records behind `after`: from memory as far as it reaches back, else the store's.
        Of big ones not so many: each reader has an answer of his own made of them."""
        if after >= self.told:
            self.hurry()  # somebody wants what there is beyond
            return ()
        if self._tail and self._tail[0].seq <= after + 1:
            start = after + 1 - self._tail[0].seq
            return _first_of(itertools.islice(self._tail, start, start + limit), self._tail_limit)
        stored = await self._store.records(self.identity.uid, after=after, limit=limit)
        return [record for record in stored if record.seq <= self.told]

    def info(
        self, queue_position: int | None = None, deliveries: Sequence[Delivery] = ()
    ) -> RunInfo:
        told, sent = tuple(self.artifacts), tuple(deliveries)
        return info_of(replace(self.stored_run(), artifacts=told, deliveries=sent), queue_position)

    async def changed(self, wait_s: float) -> None:
        """Returns when something was told, or the time is over."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        over = self._clock.call_later(wait_s, lambda: _let_go(waiter))
        try:
            await waiter
        finally:
            over.cancel()
            self._waiters.discard(waiter)

    async def until(self, happened: Callable[[], bool], limit_s: float) -> bool:
        """Whether it has happened; returns when it has, or when the time is over."""
        deadline = self._clock.now().mono + limit_s
        while not happened():
            left = deadline - self._clock.now().mono
            if left <= 0:
                return False
            await self.changed(left)
        return True

    def hurry(self) -> None:
        """Somebody waits until what has happened is told."""
        if self.log.pending:
            self._store.enlist(self)

    def follow(self) -> None:
        """A reader wants each record at once, also those that could wait. Pair with `unfollow`."""
        self._followers += 1
        self.hurry()

    def unfollow(self) -> None:
        self._followers -= 1

    @property
    def is_followed(self) -> bool:
        return self._followers > 0

    def wake(self) -> None:
        """Who waits for a change looks again."""
        for waiter in self._waiters:
            _let_go(waiter)
        self._waiters.clear()


def _nothing() -> None:
    pass


def _let_go(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def info_of(run: StoredRun, queue_position: int | None = None) -> RunInfo:
    hook = run.webhook
    return RunInfo(
        id=run.run_id,
        uid=run.uid,
        owner=run.owner,
        mode=run.plan.mode,
        kernel_id=run.kernel_id,
        kernel_name=run.kernel_name,
        generation=run.generation,
        queue_position=queue_position,
        view=run.view,
        log_next=run.log_next,
        log_bytes=run.log_bytes,
        log_dropped=run.log_dropped,
        context=run.plan.context,
        labels=run.labels,
        artifacts=run.artifacts,
        webhook=None
        if hook is None
        else WebhookView(url=hook.url, events=hook.events, deliveries=run.deliveries),
        cancel_on_disconnect=run.plan.cancel_on_disconnect,
    )


def _before_its_end(view: RunView) -> RunView:
    """As it stood when its last step ended."""
    *history, _ = view.history
    return replace(
        view,
        state=history[-1][0],
        outcome=None,
        reason=None,
        exit_code=None,
        finished_at=None,
        history=tuple(history),
    )


def standing_after(standing: Standing, body: Body) -> Standing:
    """What a told record leaves the run at."""
    if isinstance(body, records.InputAsked):
        return replace(standing, prompt_id=body.prompt_id, is_password=body.password)
    if isinstance(body, records.InputAnswered):
        return replace(standing, prompt_id=None)
    if isinstance(body, records.Completed):
        return Standing(completed=body)
    return standing


def _is_patient(body: Body) -> bool:
    """Whether it may wait for the next record, to be stored with it, unless somebody follows.

    A result is the value of the cell's end, with the end right behind it: `1+1` so pays two commits
    and not three. Where a kernel goes on after a result, whatever it says next takes that along. An
    artifact comes just before the output that it is of, or with others just before the end.
    """
    if isinstance(body, records.StateChanged):
        return body.state in _PATIENT_STATES
    if isinstance(body, records.Output):
        return body.output_type == "execute_result"
    return isinstance(body, records.StepChanged | records.ArtifactAdded)


def _first_of(found: Iterator[Record], most_chars: int) -> list[Record]:
    """As many as have so many characters; the first in any case."""
    page: list[Record] = []
    left = most_chars
    for record in found:
        left -= _chars(record.body)
        if left < 0 and page:
            break
        page.append(record)
    return page


def _chars(body: Body) -> int:
    """A measure of the memory a record takes; exact for text, which is what grows."""
    if isinstance(body, records.LogText):
        return len(body.text) + 100
    if isinstance(body, records.Output | records.Updated):
        return sum(len(value) if isinstance(value, str) else 500 for value in body.data.values())
    if isinstance(body, records.Comm):
        return size_of(body)
    return 200
