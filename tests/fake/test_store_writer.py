"""The rounds of the writer, over a database that does what the test says."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import DiskFull, OurFault, StoreUnavailable
from kernel_gateway.store.committer import Committed, Unit
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.values import PutRun, Write
from kernel_gateway.store.writer import Writer
from tests.shared.store import HANG_LIMIT_S, Gatherer, a_blob, a_run, append, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

pytestmark = pytest.mark.usefixtures("no_blocking_call")

SETTINGS = StoreSettings(folder=Path("/nowhere"), retry_first_s=0.0, retry_max_s=0.0)


class ScriptedCommits:
    """Keeps what it is given; each commit fails with the next of `faults` until there is none.

    `hold` shuts the thread in before its next commit; `step` lets one commit pass, `let_go` all.
    """

    def __init__(self) -> None:
        self.commits: list[list[Unit]] = []  # those with something in
        self.faults: list[Exception] = []
        self.refuse: Callable[[Unit], bool] = lambda unit: False
        self.closed = False
        self.more = 0  # so many more rounds are wanted
        self._gate: threading.Semaphore | None = None
        self._loop = asyncio.get_running_loop()
        self._entries = 0
        self._entered = asyncio.Event()

    def commit(self, units: Sequence[Unit]) -> Committed:
        gate = self._gate
        self._loop.call_soon_threadsafe(self._count)
        assert gate is None or gate.acquire(timeout=HANG_LIMIT_S)
        if units:
            self.commits.append(list(units))
        if self.faults:
            raise self.faults.pop(0)
        self.more -= 1
        faults = [OurFault("a hole") if self.refuse(unit) else None for unit in units]
        return Committed(tuple(faults), more=self.more > 0)

    def close(self) -> None:
        self.closed = True

    def hold(self) -> None:
        self._entries = 0
        self._gate = threading.Semaphore(0)

    def step(self) -> None:
        assert self._gate
        self._gate.release()

    def let_go(self) -> None:
        gate, self._gate = self._gate, None
        if gate:
            gate.release()

    async def entered(self, times: int = 1) -> None:
        """The thread has come to this many commits since `hold`."""
        async with asyncio.timeout(HANG_LIMIT_S):
            while self._entries < times:
                self._entered.clear()
                await self._entered.wait()

    def _count(self) -> None:
        self._entries += 1
        self._entered.set()


@pytest.fixture
async def commits() -> AsyncIterator[ScriptedCommits]:
    script = ScriptedCommits()
    yield script
    script.let_go()


@pytest.fixture
async def writer(commits: ScriptedCommits) -> AsyncIterator[Writer]:
    made = Writer(commits, SETTINGS)
    await made.tidied()  # the first round looks for what the last gateway left to erase
    yield made
    await _close(made)
    assert commits.closed


async def _close(writer: Writer) -> None:
    await asyncio.wait_for(writer.close(), HANG_LIMIT_S)


def put() -> Write:
    return PutRun(a_run())


async def test_a_write_returns_after_its_commit(writer: Writer, commits: ScriptedCommits) -> None:
    write = put()
    await writer.write([write])
    assert [[(write,)]] == commits.commits


async def test_what_comes_in_one_turn_of_the_loop_is_one_commit(
    writer: Writer, commits: ScriptedCommits
) -> None:
    first, second, third = put(), put(), put()
    source = Gatherer(first)
    writer.enlist(source)
    source.pending.append(second)
    await writer.write([third])
    assert [[(first, second), (third,)]] == commits.commits


async def test_what_gathers_during_a_commit_is_the_next_one(
    writer: Writer, commits: ScriptedCommits
) -> None:
    first, *rest = (put() for _ in range(4))
    source, other = Gatherer(first), Gatherer()
    commits.hold()
    writer.enlist(source)
    await commits.entered()
    for write in rest:
        source.pending.append(write)
        writer.enlist(source)
    other.pending.append(late := put())
    writer.enlist(other)
    assert [1] == source.takes
    commits.let_go()
    await source.until_told(2)
    assert [[(first,)], [tuple(rest), (late,)]] == commits.commits
    assert ["stored", "stored"] == source.told
    assert ["stored"] == other.told


async def test_enlisting_twice_before_a_take_is_one(writer: Writer) -> None:
    source = Gatherer(put())
    writer.enlist(source)
    writer.enlist(source)
    await source.until_told()
    assert [1] == source.takes


async def test_who_enlists_when_told_is_taken_at_once(
    writer: Writer, commits: ScriptedCommits
) -> None:
    class Chatty(Gatherer):
        def stored(self) -> None:
            super().stored()
            if len(self.told) < 3:
                self.pending.append(put())
                writer.enlist(self)

    source = Chatty(put())
    writer.enlist(source)
    await source.until_told(3)
    assert 3 == len(commits.commits)


async def test_who_gives_nothing_is_told_nothing(writer: Writer, commits: ScriptedCommits) -> None:
    empty, full = Gatherer(), Gatherer(put())
    writer.enlist(empty)
    writer.enlist(full)
    await full.until_told()
    assert [] == empty.told
    assert 1 == len(commits.commits[0])


async def test_the_backlog_is_what_was_taken_and_is_not_committed(
    writer: Writer, commits: ScriptedCommits
) -> None:
    run = a_run()
    source = Gatherer(append(run, text(1, "x" * 300), blobs=[a_blob(data=b"y" * 700)]))
    assert 0 == writer.backlog_bytes
    commits.hold()
    writer.enlist(source)
    await commits.entered()
    assert 1000 == writer.backlog_bytes
    commits.let_go()
    await source.until_told()
    assert 0 == writer.backlog_bytes


# -- weather -------------------------------------------------------------------------------------


@pytest.mark.logs_error("disk is full.*tried again")
async def test_a_commit_that_fails_is_tried_again_until_it_succeeds(
    writer: Writer, commits: ScriptedCommits
) -> None:
    commits.faults = [DiskFull("The disk is full."), StoreUnavailable("locked"), DiskFull("again")]
    write = put()
    await writer.write([write])
    assert [[(write,)]] * 4 == commits.commits
    assert writer.fault is None


@pytest.mark.logs_error("full")
async def test_a_fault_is_seen_while_it_lasts_and_nothing_new_is_taken(
    writer: Writer, commits: ScriptedCommits
) -> None:
    source, waiting = Gatherer(put()), Gatherer(put())
    commits.faults = [DiskFull("full")]
    commits.hold()
    writer.enlist(source)
    await commits.entered()
    assert writer.fault is None
    commits.step()
    await commits.entered(2)
    assert isinstance(writer.fault, DiskFull)
    writer.enlist(waiting)
    commits.let_go()
    await waiting.until_told()
    assert [1, 1, 1] == [len(units) for units in commits.commits]
    assert ["stored"] == source.told
    assert writer.fault is None


@pytest.fixture
async def pauses() -> AsyncIterator[list[float]]:
    """What the writer would wait; it waits for nothing."""
    loop = asyncio.get_running_loop()
    kept: list[float] = []

    def at_once(delay: float, callback: Callable[..., Any], *args: Any) -> asyncio.Handle:
        kept.append(delay)
        return loop.call_soon(callback, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_later", at_once)
        yield kept


@pytest.mark.logs_error("locked")
async def test_the_pauses_between_tries_double_up_to_a_limit(
    commits: ScriptedCommits, pauses: list[float]
) -> None:
    commits.faults = [StoreUnavailable("locked") for _ in range(7)]
    writer = Writer(commits, StoreSettings(folder=Path("/nowhere")))
    await writer.write([put()])
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0] == pauses
    pauses.clear()
    commits.faults = [StoreUnavailable("locked") for _ in range(2)]
    await writer.write([put()])
    assert [0.1, 0.2] == pauses, "a success begins them anew"
    await writer.close()


@pytest.mark.logs_error("full")
async def test_a_cancelled_write_is_not_waited_for_by_a_full_disk(
    writer: Writer, commits: ScriptedCommits
) -> None:
    unwanted, wanted = put(), put()
    commits.hold()
    commits.faults = [DiskFull("full")]
    async with asyncio.TaskGroup() as group:
        cancelled = group.create_task(writer.write([unwanted]))
        group.create_task(writer.write([wanted]))
        await commits.entered()
        cancelled.cancel()
        commits.let_go()
    assert [[(unwanted,), (wanted,)], [(wanted,)]] == commits.commits


# -- mistakes ------------------------------------------------------------------------------------


async def test_a_unit_that_can_never_be_stored_is_refused_and_the_others_are_stored(
    writer: Writer, commits: ScriptedCommits
) -> None:
    bad, good = put(), put()
    source, other = Gatherer(bad), Gatherer(good)
    commits.refuse = lambda unit: bad in unit
    writer.enlist(source)
    writer.enlist(other)
    with pytest.raises(OurFault, match="a hole"):
        await writer.write([bad])
    assert ["stored"] == other.told
    assert ["a hole"] == [str(fault) for fault in source.told]
    assert 1 == len(commits.commits)
    assert writer.fault is None


@pytest.mark.logs_error("dropped: a round of 1.*surprise")
async def test_a_commit_that_breaks_is_not_tried_for_ever(
    writer: Writer, commits: ScriptedCommits
) -> None:
    commits.faults = [RuntimeError("surprise")]
    with pytest.raises(OurFault, match="surprise"):
        await writer.write([put()])
    await writer.write([put()])


@pytest.mark.logs_error("gave nothing to store.*ZeroDivisionError", "failed.*KeyError")
async def test_a_source_that_fails_does_not_stop_the_others(writer: Writer) -> None:
    class NoTake(Gatherer):
        def take(self) -> Sequence[Write]:
            raise ZeroDivisionError

    class NoStored(Gatherer):
        def stored(self) -> None:
            raise KeyError

    good = Gatherer(put())
    for source in (NoTake(), NoStored(put()), good):
        writer.enlist(source)
    await good.until_told()


# -- erasing and closing -------------------------------------------------------------------------


async def test_rounds_go_on_while_something_is_left_to_erase(commits: ScriptedCommits) -> None:
    commits.more = 5
    writer = Writer(commits, SETTINGS)
    async with asyncio.timeout(HANG_LIMIT_S):
        await writer.tidied()
        await writer.close()
    assert commits.more <= 0


async def test_closing_does_not_wait_for_the_eraser(commits: ScriptedCommits) -> None:
    commits.more = 10**9
    writer = Writer(commits, SETTINGS)
    async with asyncio.timeout(HANG_LIMIT_S):
        await writer.close()
    assert commits.more > 0


async def test_closing_writes_everything_first(commits: ScriptedCommits) -> None:
    writer = Writer(commits, SETTINGS)
    source = Gatherer(put())
    commits.hold()
    writer.enlist(source)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.write([put()]))
        await commits.entered()
        closing = group.create_task(writer.close())
        await asyncio.sleep(0)  # closing has begun
        source.pending.append(put())
        writer.enlist(source)  # still taken: it comes before the end
        commits.let_go()
    assert closing.done()
    assert 3 == sum(len(unit) for units in commits.commits for unit in units)
    with pytest.raises(StoreUnavailable, match="closed"):
        writer.enlist(source)
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.write([put()])


@pytest.mark.logs_error("full", "lost at the end: 2 writes")
async def test_closing_gives_up_when_the_disk_takes_nothing_and_says_what_is_lost(
    commits: ScriptedCommits,
) -> None:
    writer = Writer(
        commits,
        StoreSettings(
            folder=Path("/nowhere"), retry_first_s=60.0, retry_max_s=60.0, close_limit_s=0.001
        ),
    )
    await writer.tidied()
    commits.faults = [DiskFull("full")]
    source = Gatherer(put())

    async def waiting() -> None:
        with pytest.raises(DiskFull):
            await writer.write([put()])

    async with asyncio.TaskGroup() as group:
        commits.hold()
        group.create_task(waiting())
        await commits.entered()
        writer.enlist(source)
        commits.let_go()
        while writer.fault is None:  # or it is closed before the disk has refused
            await asyncio.sleep(0)
        await _close(writer)
    assert ["full"] == [str(fault) for fault in source.told]
