"""What happens to sessions, told to each reader once and in order, what was before included.

Knows events and readers. Must not know sessions.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from kernel_gateway.service import SessionEvent, SessionEventName

if TYPE_CHECKING:
    from kernel_gateway.service import Owner

#: Events that a reader may be behind. Sessions tell a handful each; who is further behind has
#: stopped reading, and its stream ends.
READER_BOUND = 10_000


class SessionFeed:
    def __init__(self) -> None:
        self._told: dict[str, list[SessionEvent]] = {}  # of sessions that are there
        self._readers: set[EventReader] = set()

    def tell(self, event: SessionEvent) -> None:
        self._told.setdefault(event.session_id, []).append(event)
        if event.event is SessionEventName.TERMINATED:
            del self._told[event.session_id]
        for reader in list(self._readers):
            reader.take(event)

    def read(self, owner: Owner, session_id: str | None) -> EventReader:
        """Of one session until its last event, or of all for ever; from this call on. Close it."""
        reader = EventReader(self, owner, session_id)
        self._readers.add(reader)
        for event in itertools.chain.from_iterable(self._told.values()):
            reader.take(event)
        return reader

    def forget(self, reader: EventReader) -> None:
        self._readers.discard(reader)


class EventReader(AsyncIterator[SessionEvent]):
    def __init__(self, feed: SessionFeed, owner: Owner, session_id: str | None) -> None:
        self._feed = feed
        self._owner = owner
        self._session_id = session_id
        self._waiting: asyncio.Queue[SessionEvent | None] = asyncio.Queue()  # None: the end

    def take(self, event: SessionEvent) -> None:
        if event.owner != self._owner or self._session_id not in {None, event.session_id}:
            return
        if self._waiting.qsize() >= READER_BOUND:
            self._end()
            return
        self._waiting.put_nowait(event)
        if self._session_id is not None and event.event.is_last:
            self._end()

    def _end(self) -> None:
        self._feed.forget(self)
        self._waiting.put_nowait(None)

    async def __anext__(self) -> SessionEvent:
        event = await self._waiting.get()
        if event is None:
            self._waiting.put_nowait(None)  # for whoever asks once more
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        self._feed.forget(self)
