"""Natural group commit: the loop's side of the one thread that writes.

The writer commits at once when it is free, and takes all that gathered meanwhile in one
transaction; there is no timer. A round goes

    enlist ... -> (end of this turn of the loop) take from all -> commit in the thread
                                                       ^                      |
                                                       |                      v
                                     next round at once, if anything  <- tell all, on the loop

so a lone write pays two hops between threads and one commit, and a flood pays few commits. All
state of this class belongs to the loop's thread; the two threads share nothing but the round that
is handed over, and its frozen values.

A commit that fails by the weather is tried again, the same round, with growing pauses; nothing new
is taken meanwhile, so it gathers where it came from and that can push back. `fault` tells. A unit
that fails by a mistake of ours is dropped and its owner is told; see `committer.py`.

Knows the loop and units. Must not know the database.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Protocol, TypeAlias

from kernel_gateway.errors import DiskFull, GatewayError, OurFault, StoreUnavailable
from kernel_gateway.store.committer import Committed, Unit
from kernel_gateway.store.rows import size_of
from kernel_gateway.store.values import AppendRecords, Source, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel_gateway.store.settings import StoreSettings

LOG = logging.getLogger("kernel_gateway.store")

Weather: TypeAlias = DiskFull | StoreUnavailable


class Commits(Protocol):
    """What the thread does; a `Committer`."""

    def commit(self, units: Sequence[Unit]) -> Committed: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Pending:
    """A unit on its way, and whom to tell."""

    unit: Unit
    stored: Callable[[], None]
    refused: Callable[[GatewayError], None]
    dropped: Callable[[], bool]  # nobody wants it any more


class Writer:
    """Make it on the loop. `close` it, last."""

    def __init__(self, commits: Commits, settings: StoreSettings) -> None:
        self._commits = commits
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[list[Unit] | None] = SimpleQueue()
        self._waiting: dict[int, Source | _Pending] = {}  # in order, by identity: each once
        self._round: list[_Pending] | None = None  # handed over and not committed
        self._beginning = False  # a round begins at the end of this turn
        self._more = True  # there may be something to erase
        self._pause_s = settings.retry_first_s
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False
        self._flushed = asyncio.Event()
        self._tidy = asyncio.Event()
        self.backlog_bytes = 0
        self.fault: Weather | None = None
        # A daemon: a program that ends without closing us must not hang. What was told is on disk.
        self._thread = Thread(target=self._run, name="kernel_gateway.store writer", daemon=True)
        self._thread.start()
        self._wake()

    def enlist(self, source: Source) -> None:
        self._enter(source)

    async def write(self, writes: Sequence[Write]) -> None:
        """Returns after the commit. Cancelled, it may or may not have been stored."""
        told: asyncio.Future[None] = self._loop.create_future()

        def stored() -> None:
            if not told.done():
                told.set_result(None)

        def refused(fault: GatewayError) -> None:
            if not told.done():
                told.set_exception(fault)

        self._enter(_Pending(tuple(writes), stored, refused, told.cancelled))
        await told

    async def tidied(self) -> None:
        """When nothing is left to erase."""
        await self._tidy.wait()

    async def close(self) -> None:
        """Everything that was enlisted is written, or after the limit given up with an error."""
        self._closing = True
        try:
            async with asyncio.timeout(self._settings.close_limit_s):
                await self._flushed.wait()
        except TimeoutError:
            self._give_up()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- a round, on the loop --------------------------------------------------------------------

    def _enter(self, entry: Source | _Pending) -> None:
        if self._closing and self._flushed.is_set():
            raise StoreUnavailable("The store is closed.")
        self._waiting[id(entry)] = entry
        self._flushed.clear()
        self._wake()

    def _wake(self) -> None:
        """Not at once: what comes in the same turn of the loop goes into the same commit."""
        if self._round is None and not self._beginning:
            self._beginning = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._beginning = False
        if self._round is not None:
            return
        taken = self._take()
        if taken or (self._more and not self._closing):
            self._round = taken
            self.backlog_bytes = sum(_size(pending.unit) for pending in taken)
            self._submit()
        elif not self._waiting:
            self._flushed.set()

    def _take(self) -> list[_Pending]:
        waiting, self._waiting = self._waiting, {}
        taken = []
        for entry in waiting.values():
            if isinstance(entry, _Pending):
                taken.append(entry)
            elif writes := _taken(entry):
                taken.append(_Pending(tuple(writes), entry.stored, entry.refused, _never))
        return taken

    def _submit(self) -> None:
        self._retry = None
        assert self._round is not None
        self._round = [pending for pending in self._round if not pending.dropped()]
        self._jobs.put([pending.unit for pending in self._round])

    def _report(self, result: Committed | Weather) -> None:
        """The thread is through with the round."""
        if isinstance(result, Committed):
            self._succeed(result)
        elif self._round is not None:
            self._try_again(result)

    def _succeed(self, result: Committed) -> None:
        if self.fault:
            LOG.warning("the store takes writes again")
        self.fault, self._pause_s = None, self._settings.retry_first_s
        self._more = result.more
        if result.more:
            self._tidy.clear()
        else:
            self._tidy.set()
        told, self._round, self.backlog_bytes = self._round or [], None, 0
        for pending, fault in zip(told, result.faults, strict=False):
            _tell(pending, fault)
        self._begin()

    def _try_again(self, fault: Weather) -> None:
        if self.fault is None:
            LOG.error("%s It is tried again until it succeeds.", fault)
        self.fault = fault
        self._retry = self._loop.call_later(self._pause_s, self._submit)
        self._pause_s = min(2 * self._pause_s, self._settings.retry_max_s)

    def _give_up(self) -> None:
        """The gateway has to end and the store still takes nothing."""
        if self._retry:
            self._retry.cancel()
        lost, self._round = [*(self._round or []), *self._take()], None
        fault = self.fault or StoreUnavailable("The store is closed.")
        LOG.error("lost at the end: %d writes. %s", sum(len(each.unit) for each in lost), fault)
        self._flushed.set()
        for pending in lost:
            _tell(pending, fault)

    # -- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while (units := self._jobs.get()) is not None:
            self._loop.call_soon_threadsafe(self._report, self._committed(units))
        self._commits.close()

    def _committed(self, units: Sequence[Unit]) -> Committed | Weather:
        try:
            return self._commits.commit(units)
        except (DiskFull, StoreUnavailable) as fault:
            return fault
        except Exception as fault:  # the thread must not end, and its waiters not wait for ever
            LOG.exception("dropped: a round of %d", len(units))
            return Committed((OurFault(f"The store failed: {fault!r}"),) * len(units), more=False)


def _taken(source: Source) -> Sequence[Write]:
    try:
        return source.take()
    except Exception:  # one source must not stop the others
        LOG.exception("%r gave nothing to store", source)
        return ()


def _tell(pending: _Pending, fault: GatewayError | None) -> None:
    try:
        pending.stored() if fault is None else pending.refused(fault)
    except Exception:  # one listener must not stop the others
        LOG.exception("was told of its commit and failed")


def _size(unit: Unit) -> int:
    return sum(
        sum(map(size_of, write.batch.records)) + sum(len(blob.data) for blob in write.batch.blobs)
        for write in unit
        if isinstance(write, AppendRecords)
    )


def _never() -> bool:
    return False
