"""What happens to sessions, told to each reader once and in order, what was before included.

Knows events and readers. Must not know sessions.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from kernel_gateway.service import SessionEvent, SessionEventName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.service import Owner

#: Events that a reader may be behind. Sessions tell a handful each; who is further behind has
#: stopped reading, and its stream ends.
READER_BOUND = 10_000

_LAST = frozenset({SessionEventName.TERMINATED, SessionEventName.CANCELLED})


class SessionFeed:
    def __init__(self) -> None:
        self._told: dict[str, list[SessionEvent]] = {}  # of sessions that are there
        self._readers: set[asyncio.Queue[SessionEvent | None]] = set()

    def tell(self, event: SessionEvent) -> None:
        self._told.setdefault(event.session_id, []).append(event)
        if event.event is SessionEventName.TERMINATED:
            del self._told[event.session_id]
        for reader in list(self._readers):
            self._hand_over(reader, event)

    def _hand_over(self, reader: asyncio.Queue[SessionEvent | None], event: SessionEvent) -> None:
        if reader.qsize() < READER_BOUND:
            reader.put_nowait(event)
        else:
            self._readers.discard(reader)
            reader.put_nowait(None)

    async def read(self, owner: Owner, session_id: str | None) -> AsyncIterator[SessionEvent]:
        """Of one session until its last event, or of all for ever."""
        queue: asyncio.Queue[SessionEvent | None] = asyncio.Queue()
        for event in itertools.chain.from_iterable(self._told.values()):
            queue.put_nowait(event)
        self._readers.add(queue)
        try:
            while (news := await queue.get()) is not None:
                if news.owner == owner and session_id in {None, news.session_id}:
                    yield news
                    if session_id is not None and news.event in _LAST:
                        return
        finally:
            self._readers.discard(queue)
