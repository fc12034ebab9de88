"""Deliveries of runs to the receivers that they name: one task a run, on its own.

The engine calls `check` before it takes a run with a webhook, `watch` when the run is there,
`resume` at its start (when what a killed gateway left is lost), `close` when all runs have ended;
`deliveries` is for who shows a run. Knows the log of a run as any reader does, so what is delivered
is stored. Must not know HTTP, nor what a record looks like as JSON: `render` says so.

Deltas come in order, one delivery at a time; the next one begins when the last was taken or given
up, and then with a `gap`. `completed` has a delivery of its own, with tries of its own. How far a
run has come is stored with the end of each delivery, so the next gateway goes on there: at least
once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from kernel_gateway.errors import InvalidField, StoreUnavailable
from kernel_gateway.execution.live import LiveRun, info_of
from kernel_gateway.execution.past import PastRun
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs.records import Completed, Record, Seq
from kernel_gateway.service import Delivery, WebhookEvent
from kernel_gateway.store.values import PutDeliveries
from kernel_gateway.webhooks.addresses import check_url
from kernel_gateway.webhooks.message import body_of, event_of, gap, headers_of
from kernel_gateway.webhooks.retrying import Verdict, pause_s, verdict_of
from kernel_gateway.webhooks.sender import SendFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kernel_gateway.execution.clock import Clock
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import RunInfo, Webhook
    from kernel_gateway.store.store import Store
    from kernel_gateway.webhooks.sender import Sender
    from kernel_gateway.webhooks.settings import WebhookSettings

    Render: TypeAlias = Callable[[RunInfo, Record], Mapping[str, Json]]

log = logging.getLogger("kernel_gateway.execution")

KEPT = 20  # deliveries of a run that are told, the newest ones
RECORDS = 256  # of one delivery, at most
BYTES = 2**20  # of their JSON; one more than that may be, for a record is never cut
LOOK_AGAIN_S = 60.0  # for more of a log; told at once, this is how long one wait may be
STORE_PAUSE_S = 1.0  # before a store that could not be read is asked again

_AT_ONCE = frozenset({WebhookEvent.START, WebhookEvent.OUTPUT})


class Webhooks:
    def __init__(
        self,
        store: Store,
        sender: Sender,
        settings: WebhookSettings,
        clock: Clock,
        new_id: Callable[[], str],
        render: Render,
    ) -> None:
        self._store = store
        self._office = _Office(store, sender, settings, clock, new_id, render)
        self._settings = settings
        self._tasks = Tasks("webhooks")
        self._couriers: dict[_Courier, asyncio.Task[None]] = {}
        # As long as the run is in memory; of others the store knows them.
        self._deliveries: WeakKeyDictionary[LiveRun, deque[Delivery]] = WeakKeyDictionary()

    def check(self, webhook: Webhook) -> None:
        """Raises `InvalidField` when such a URL may not be called."""
        if (fault := check_url(webhook.url, self._settings)) is not None:
            raise InvalidField({"webhook.url": fault})

    def watch(self, run: LiveRun) -> None:
        """A new run, whose request names a webhook."""
        kept = self._deliveries[run] = deque[Delivery](maxlen=KEPT)
        self._start(_Courier(self._office, run, kept))

    async def resume(self) -> None:
        """What the last gateway has left undelivered."""
        for pending in await self._store.pending_webhooks():
            kept = deque(pending.run.deliveries, maxlen=KEPT)
            plan = pending.run.plan.without_code()  # it can have megabytes
            run = PastRun(replace(pending.run, plan=plan), self._store)
            self._start(_Courier(self._office, run, kept, pending.told))

    def deliveries(self, run: LiveRun) -> tuple[Delivery, ...]:
        """Oldest first; the last one may be under way."""
        return tuple(self._deliveries.get(run, ()))

    async def close(self, limit_s: float | None = None) -> None:
        """No pause is waited for any more: each delivery has one more try. What is not taken within
        the limit (None: the configured one) is left for the next gateway."""
        for courier in self._couriers:
            courier.hurry()
        if under_way := list(self._couriers.values()):
            limit_s = self._settings.drain_s if limit_s is None else limit_s
            _, left = await asyncio.wait(under_way, timeout=limit_s)
            if left:
                log.warning("the webhooks of %d runs are left for the next start", len(left))
        await self._tasks.cancel()

    def _start(self, courier: _Courier) -> None:
        task = self._couriers[courier] = self._tasks.start(courier.work())
        task.add_done_callback(lambda _: self._couriers.pop(courier))


@dataclass(frozen=True, slots=True)
class _Office:
    """What all couriers share."""

    store: Store
    sender: Sender
    settings: WebhookSettings
    clock: Clock
    new_id: Callable[[], str]
    render: Render


@dataclass(frozen=True, slots=True)
class _Tried:
    verdict: Verdict
    retry_after_s: float | None
    delivery: Delivery
    is_end: bool  # it brought the end of the run


class _Done(Exception):
    """Nothing more is to be delivered, or nothing more can be before the gateway closes."""


class _Courier:
    """`<_Courier 5fac told=12>`: takes one run's records to its receiver.

    While it waits for another try it keeps no record: a receiver that is down must not cost the
    memory of all that was to be told it.
    """

    def __init__(
        self,
        office: _Office,
        run: LiveRun | PastRun,
        kept: deque[Delivery],
        told: Seq = Seq(0),
    ) -> None:
        assert run.identity.webhook is not None
        self._webhook = run.identity.webhook
        self._office = office
        self._run = run
        self._kept = kept
        self._told = told  # up to here all was delivered, given up or nothing for this webhook
        self._missed = _missed(kept)  # the first record of those that were given up of late
        self._is_deaf = False  # the last delivery was given up after all its tries
        self._tried_at = -math.inf  # monotonic
        self._woken = asyncio.Event()
        self._hurries = False
        self._follows: LiveRun | None = None

    def __repr__(self) -> str:
        return f"<_Courier {self._run.identity.uid[:4]} told={self._told}>"

    def hurry(self) -> None:
        """From now on wait for nothing but answers."""
        self._hurries = True
        self._woken.set()

    async def work(self) -> None:
        self._follow()
        try:
            while True:
                await self._deliver(await self._next())
        except _Done:
            pass
        finally:
            self._unfollow()

    # -- what is next ------------------------------------------------------------------------------

    async def _next(self) -> Sequence[Record]:
        """Records for one delivery."""
        while records := await self._read():
            wanted = self._wanted(records)
            if not wanted:
                await self._pass_over(records)
            elif _is_text(wanted) and not self._run.over and (early_s := self._early_s()) > 0:
                await self._pause(early_s)  # what comes meanwhile goes along
            else:
                return wanted
        raise _Done  # the run was removed, or could not be stored to its end

    async def _read(self) -> Sequence[Record]:
        """What was told beyond our place; waits for the first of it."""
        run = self._run
        while isinstance(run, LiveRun) and not (run.told > self._told or run.over):
            await run.until(lambda: run.told > self._told or run.over, LOOK_AGAIN_S)
        while True:
            try:
                return await run.read(self._told, RECORDS)
            except StoreUnavailable:
                if self._hurries:
                    raise _Done from None
                await self._pause(STORE_PAUSE_S)

    def _wanted(self, records: Sequence[Record]) -> list[Record]:
        """Up to the end of the run, which comes alone: it must not fail for what is before it.

        Of a run that is over nothing else is brought to a receiver that is down: however long its
        log, its end is told soon, with a gap before it.
        """
        events = self._webhook.events
        is_end_alone = self._is_deaf and self._run.over
        wanted: list[Record] = []
        for record in records:
            if isinstance(record.body, Completed):
                return wanted or ([record] if WebhookEvent.COMPLETED in events else [])
            if not is_end_alone and event_of(record.body) in events:
                wanted.append(record)
        return wanted

    async def _pass_over(self, records: Sequence[Record]) -> None:
        self._told = records[-1].seq
        if any(isinstance(record.body, Completed) for record in records):
            await self._note(is_over=True)
            raise _Done

    def _early_s(self) -> float:
        """Until text alone is worth a delivery."""
        return self._tried_at + self._office.settings.every_s - self._office.clock.now().mono

    # -- one delivery ------------------------------------------------------------------------------

    async def _deliver(self, wanted: Sequence[Record]) -> None:
        """Until it is taken or given up."""
        self._told = Seq(wanted[0].seq - 1)  # so that it is found again, however short a page
        name = self._office.new_id()
        settings = self._office.settings
        seqs = {record.seq for record in wanted}
        attempt = 0
        while True:
            attempt += 1
            was_last_chance = self._hurries
            tried = await self._try(name, attempt, wanted)
            if tried.verdict is not Verdict.AGAIN or attempt == settings.tries:
                await self._settle(tried)
                return
            if was_last_chance:
                raise _Done
            wanted = ()
            self._let_go()
            await self._pause(pause_s(settings, attempt, tried.retry_after_s))
            wanted = [record for record in await self._read() if record.seq in seqs]
            if not wanted:
                raise _Done  # the run was removed

    async def _try(self, name: str, attempt: int, wanted: Sequence[Record]) -> _Tried:
        office, run = self._office, self._run.identity
        items = self._items(wanted)
        first, last = wanted[0], wanted[len(items) - 1]
        if self._missed is not None:
            items.insert(0, gap(run.run_id, run.uid, self._missed, Seq(first.seq - 1)))
        body = body_of(run.run_id, run.uid, name, attempt, items)
        headers = headers_of(self._webhook, name, attempt, body)
        self._tried_at = office.clock.now().mono
        status, retry_after_s, error = None, None, ""
        try:
            answer = await office.sender.send(self._webhook.url, headers, body)
        except SendFailed as fault:
            verdict = Verdict.REFUSED if fault.final else Verdict.AGAIN
            error = fault.why
        else:
            verdict = verdict_of(answer.status)
            status, retry_after_s = answer.status, answer.retry_after_s
        delivery = Delivery(
            id=name,
            attempt=attempt,
            status=status,
            at=office.clock.now().wall,
            first=first.seq,
            last=last.seq,
            error=error,
        )
        self._keep(delivery)
        return _Tried(verdict, retry_after_s, delivery, isinstance(last.body, Completed))

    def _items(self, wanted: Sequence[Record]) -> list[bytes]:
        """As many as one delivery takes, each as JSON."""
        info = self._info()
        items: list[bytes] = []
        size = 0
        for record in wanted:
            item = encode(self._office.render(info, record))
            size += len(item)
            if items and size > BYTES:
                break
            items.append(item)
        return items

    def _info(self) -> RunInfo:
        if isinstance(self._run, LiveRun):
            return self._run.info(deliveries=self._kept)
        return info_of(replace(self._run.identity, deliveries=tuple(self._kept)))

    def _keep(self, delivery: Delivery) -> None:
        if self._kept and self._kept[-1].id == delivery.id:
            self._kept.pop()
        self._kept.append(delivery)

    async def _settle(self, tried: _Tried) -> None:
        delivery = tried.delivery
        if tried.verdict is Verdict.DELIVERED:
            self._missed = None
        else:
            if self._missed is None or tried.is_end:
                log.warning("%r: given up, try %d: %s", self, delivery.attempt, _why(delivery))
            self._missed = self._missed or delivery.first
        self._is_deaf = tried.verdict is Verdict.AGAIN
        self._told = delivery.last
        await self._note(is_over=tried.is_end)
        if tried.is_end:
            raise _Done

    async def _note(self, *, is_over: bool) -> None:
        uid = self._run.identity.uid
        await self._office.store.write(PutDeliveries(uid, self._told, is_over, tuple(self._kept)))

    # -- waiting -----------------------------------------------------------------------------------

    async def _pause(self, pause_s: float) -> None:
        if self._hurries:
            return
        self._woken.clear()
        over = self._office.clock.call_later(pause_s, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            over.cancel()

    def _follow(self) -> None:
        """What else is delivered does not wait to be stored with the next record."""
        if isinstance(self._run, LiveRun) and not _AT_ONCE.isdisjoint(self._webhook.events):
            self._run.follow()
            self._follows = self._run

    def _unfollow(self) -> None:
        if self._follows is not None:
            self._follows.unfollow()
            self._follows = None

    def _let_go(self) -> None:
        """A run that is over need not stay in memory for its receiver."""
        if isinstance(self._run, LiveRun) and self._run.over:
            self._unfollow()
            self._run = PastRun(self._run.stored_run(), self._office.store)


def _missed(kept: Iterable[Delivery]) -> Seq | None:
    """The first record of what was given up since the last success: as a gateway has left it."""
    missed = None
    for delivery in kept:
        if delivery.status is not None and verdict_of(delivery.status) is Verdict.DELIVERED:
            missed = None
        elif missed is None:
            missed = delivery.first
    return missed


def _is_text(records: Iterable[Record]) -> bool:
    return all(event_of(record.body) is WebhookEvent.LOGS for record in records)


def _why(delivery: Delivery) -> str:
    return delivery.error or f"status {delivery.status}"
