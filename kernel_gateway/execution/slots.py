"""Runs that bring kernels of their own: which of them have one now, and whose turn is next.

Knows how many there may be, and that a slot is taken from the launch of a kernel until its process
is gone. Must not know how a run is made, nor what it executes. Owners take turns, and the runs of
one owner go in the order in which they came; so nobody waits behind the thousand runs of another.
A run that a limit of kernels keeps from its slot waits for room, and lets other owners go before.

When a run is over its kernel stays for a moment: threads of its code may still print, and what they
say belongs to the run. It takes nothing new then, and is not started again when it dies.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from kernel_gateway.errors import TooManyRuns
from kernel_gateway.execution.losses import DELETED, RUN_OVER, not_launched
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.runs import events, records
from kernel_gateway.runs.view import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kernel_gateway.execution.clock import Clock
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.execution.session import Session
    from kernel_gateway.execution.sessions import Sessions
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.service import Owner

T = TypeVar("T")

QUIET_CAP_S = 10.0  # who talks for ever is not listened to for ever
QUIET_PARTS = 5
NEXT_S = 0.015  # for who has heard of the end to ask for more
ANSWER_LIMIT_S = 1.0  # a kernel that does not answer by then does not answer while it is idle
#: After these nobody wants to hear more, or nobody is there to say it.
_ABRUPT = frozenset({Outcome.CANCELLED, Outcome.LOST})


class Turns(Generic[T]):
    """Whoever waits, one owner after the other."""

    def __init__(self) -> None:
        self._by_owner: dict[Owner, deque[T]] = {}  # whose turn is next first; none is empty

    def __iter__(self) -> Iterator[T]:
        for waiting in self._by_owner.values():
            yield from waiting

    def join(self, owner: Owner, one: T) -> None:
        self._by_owner.setdefault(owner, deque()).append(one)

    def take(self, may_go: Callable[[T], bool]) -> T | None:
        """The next that may go; his owner is last then."""
        for owner, waiting in self._by_owner.items():
            if may_go(waiting[0]):
                del self._by_owner[owner]
                one = waiting.popleft()
                if waiting:
                    self._by_owner[owner] = waiting
                return one
        return None

    def leave(self, owner: Owner, one: T) -> None:
        """Harmless for one that does not wait."""
        waiting = self._by_owner.get(owner, deque())
        if one in waiting:
            waiting.remove(one)
            if not waiting:
                del self._by_owner[owner]

    def position(self, owner: Owner, one: T) -> int | None:
        """How many go before, if nobody else comes; None for one that does not wait."""
        if one not in self._by_owner.get(owner, ()):
            return None
        place = self._by_owner[owner].index(one)
        before = place
        is_earlier = True  # in turn than this owner
        for other, waiting in self._by_owner.items():
            if other == owner:
                is_earlier = False
            else:
                before += min(len(waiting), place + is_earlier)
        return before


class Slots:
    """Close it before the sessions, and join it after them."""

    def __init__(self, sessions: Sessions, settings: EngineSettings, clock: Clock) -> None:
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._homes: dict[LiveRun, Session] = {}  # of all that have not ended
        self._waiting: Turns[LiveRun] = Turns()  # those whose creation is stored
        self._served: set[LiveRun] = set()  # that have a slot
        self._files: dict[LiveRun, Mapping[str, bytes]] = {}  # to be there before its kernel
        self._furnished: set[LiveRun] = set()  # whose files are being written
        self._listening: set[LiveRun] = set()  # over, and their threads may print
        self._closed = False
        self._tasks = Tasks("slots")
        sessions.when_room = self._fill

    def check_room(self) -> None:
        """Raises `TooManyRuns`; call it before a run is created, so that none is stored in vain."""
        bound = self._settings.queue_bound
        if sum(live not in self._served for live in self._homes) >= bound:
            raise TooManyRuns(
                f"{bound} runs with kernels of their own wait already; try again later."
            )

    def session_of(self, live: LiveRun) -> Session | None:
        """Where it is executed, or will be; None when it is over, and for all other runs."""
        return self._homes.get(live)

    def holds(self, live: LiveRun) -> bool:
        """Whether it has a kernel of its own, or waits for it: so it may go on to say something."""
        return live in self._homes or live in self._served

    def position(self, live: LiveRun) -> int | None:
        return self._waiting.position(live.identity.owner, live)

    def add(
        self, live: LiveRun, session: Session, files: Mapping[str, bytes] | None = None
    ) -> None:
        """The session has no process yet: that is launched when the run has its slot. `files` are
        for its folder."""
        self._homes[live] = session
        if files is not None:
            self._files[live] = files
        session.when_finished = self._finished
        session.when_released = self._released

    def put(self, live: LiveRun) -> None:
        """It is stored: it may have its turn. It may have been cancelled meanwhile."""
        if live.machine.finished:
            return
        self._waiting.join(live.identity.owner, live)
        if self._closed:
            self._end_waiting(live)
        self._fill()

    def close(self) -> None:
        """Those that wait are over; those with kernels end with their sessions."""
        self._closed = True
        for live in list(self._waiting):
            self._end_waiting(live)
        for live in list(self._listening):
            self.hear_no_more(live)

    def hear_no_more(self, live: LiveRun) -> None:
        """Of the threads that a run which is over has left behind. Harmless for any other."""
        self._listening.discard(live)
        live.wake()

    async def join(self) -> None:
        await self._tasks.join()

    def _end_waiting(self, live: LiveRun) -> None:
        self._homes[live].feed(live, events.KernelLost(DELETED, deleted=True))

    def _fill(self) -> None:
        """Give slots until there is none, or nobody who may go."""
        while not self._closed and len(self._served) < self._settings.own_kernels:
            live = self._waiting.take(self._may_go)
            if live is None:
                return
            self._serve(live)

    def _may_go(self, live: LiveRun) -> bool:
        return self._sessions.has_room(self._homes[live])

    def _serve(self, live: LiveRun) -> None:
        self._served.add(live)
        files = self._files.pop(live, None)
        if files is None:
            self._admit(live)
            return
        session = self._homes[live]
        self._furnished.add(live)
        self._sessions.expect(session)
        self._tasks.start(self._furnish(live, session, files))

    async def _furnish(self, live: LiveRun, session: Session, files: Mapping[str, bytes]) -> None:
        """Its files first, then its kernel. It may have ended meanwhile."""
        try:
            await self._sessions.furnish(session, files)
        except Exception as fault:  # the disk is full
            session.feed(live, events.KernelLost(not_launched(fault)))
        finally:
            self._furnished.discard(live)
            self._sessions.expect_no_more(session)
        if live in self._homes and not self._closed:
            self._admit(live)
        elif live in self._homes:
            self._end_waiting(live)
        else:  # it ended meanwhile, without a kernel
            await self._sessions.remove_folders(session)
            self._vacated(live)

    def _admit(self, live: LiveRun) -> None:
        session = self._homes[live]
        try:
            self._sessions.admit(session)
        except Exception as fault:  # the kernelspec is gone, or its provisioner fails
            session.feed(live, events.KernelLost(not_launched(fault)))
            return
        session.put(live)

    def _finished(self, live: LiveRun) -> None:
        """Its files are being saved."""
        if live in self._homes:
            self._homes[live].condemn(RUN_OVER)

    def _released(self, live: LiveRun) -> None:
        """A run of such a session is over; perhaps one that somebody else has sent there."""
        session = self._homes.pop(live, None)
        if session is None:
            return
        self._waiting.leave(live.identity.owner, live)
        self._files.pop(live, None)
        if live not in self._served or live in self._furnished:
            return
        session.condemn(RUN_OVER)  # now: a kernel that has died is not to be started again
        if live.machine.outcome not in _ABRUPT and live.machine.plan.quiet_s:
            self._listening.add(live)
        self._tasks.start(self._vacate(live, session))

    async def _vacate(self, live: LiveRun, session: Session) -> None:
        try:
            if live in self._listening:
                await self._listen(live, session)
            if self._sessions.get(session.id) is session and not self._closed:
                await self._sessions.end(session, RUN_OVER)
            else:  # somebody has deleted it, or all are being ended, or it was never admitted
                await session.gone()
                await self._sessions.remove_folders(session)
        finally:
            self._vacated(live)

    def _vacated(self, live: LiveRun) -> None:
        self._served.discard(live)
        live.hurry()
        live.wake()
        self._fill()

    async def _listen(self, live: LiveRun, session: Session) -> None:
        """Until its threads have been quiet for a while, or there are none, or nobody wants to hear
        them, or they are gone with their process."""
        gone = self._tasks.start(session.gone())
        gone.add_done_callback(lambda _: self.hear_no_more(live))
        asked = self._tasks.start(self._ask(live, session))
        if not await self._falls_silent(live, session):
            dropped = records.Dropped(why=records.STILL_PRINTING, late=True)
            live.append(dropped, None, self._clock.now())
        gone.cancel()
        asked.cancel()
        self._listening.discard(live)

    async def _falls_silent(self, live: LiveRun, session: Session) -> bool:
        """Or is listened to no more. False: it has said something as late as that.

        On a busy machine threads pause for longer than they mean to, and so do we. So the time is
        counted in parts, and each ends when the kernel has answered: however long it or we were
        kept waiting, that is one part of silence and no more.
        """
        quiet_s = live.machine.plan.quiet_s
        end = self._clock.now().mono + QUIET_CAP_S
        silent, answers = 0, True
        while silent < QUIET_PARTS:
            if self._clock.now().mono >= end:
                return live.spoke_at + quiet_s <= end
            spoke_at = live.spoke_at
            if await live.until(lambda: live not in self._listening, quiet_s / QUIET_PARTS):
                break
            answers = answers and await session.is_heard(ANSWER_LIMIT_S)
            silent = silent + 1 if live.spoke_at == spoke_at else 0
        return True

    async def _ask(self, live: LiveRun, session: Session) -> None:
        """Its answer takes a kernel some milliseconds of a processor. Where nobody follows the log
        up to its seal or waits for the slot, who has waited for the end goes first, with what he
        asks next."""
        is_awaited = live.is_followed or any(self._waiting)

        def is_heard_no_more() -> bool:
            return live not in self._listening

        await live.until(lambda: live.over or is_heard_no_more(), QUIET_CAP_S)
        if not is_awaited:
            await live.until(is_heard_no_more, NEXT_S)
        if await session.is_quiet():
            self.hear_no_more(live)
