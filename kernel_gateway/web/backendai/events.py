"""`GET /events/session`: what happens to sessions, as server-sent events, while somebody reads.

The client asks again when a stream ends, unless the last event was `server_close`; and it takes a
block of lines without `data` for an event with none, so `retry` goes along with the first one.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.web.backendai import render, schemas
from kernel_gateway.web.backendai.handler import BackendAIHandler
from kernel_gateway.web.handler import close_iterator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import SessionEvent, SessionEventName

RETRY_MS = 5000
LOOK_S = 2.0  # whether the key still holds: another process revokes it
KEEP_ALIVE = b": still here\n\n"


class Events(BackendAIHandler):
    _told = 0
    _spoke_at = 0.0

    async def on_get(self) -> None:
        wanted = schemas.listening(self.request.query_arguments)
        session_id = None
        if wanted.name_or_id is not None:
            session_id = (await self.session(wanted.name_or_id)).id
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")  # a proxy would keep it to itself
        events = self.service.session_events(self.owner, session_id)
        self._spoke_at = _now()
        try:
            await self.flush()  # it is open, even while nothing happens
            last = await self._relay(events, wanted.scope)
            if session_id is not None and last is not None and last.is_last:
                await self._tell("server_close", {})
        except StreamClosedError:  # nobody is there to be told
            return
        except asyncio.CancelledError:
            if not self._gone:
                raise
        finally:
            await close_iterator(events)

    async def _relay(
        self, events: AsyncIterator[SessionEvent], scope: str
    ) -> SessionEventName | None:
        """Until there are no more of them; gives the last."""
        last = None
        async with aclosing(self._in_time(events)) as paced:
            async for event in paced:
                if not await self.still_welcome():
                    return None
                if event is None:
                    await self._keep_alive()
                    continue
                last = event.event
                for name, data in render.event_blocks(event, scope, self.access_key):
                    await self._tell(name, data)
        return last

    async def _keep_alive(self) -> None:
        if _now() - self._spoke_at >= self.desk.keep_alive_s:
            self._spoke_at = _now()
            self.write(KEEP_ALIVE)
            await self.flush()

    async def _in_time(
        self, events: AsyncIterator[SessionEvent]
    ) -> AsyncGenerator[SessionEvent | None, None]:
        """The events, and None wherever none has come for a while."""
        coming = asyncio.ensure_future(_next(events))
        pause_s = min(LOOK_S, self.desk.keep_alive_s)
        try:
            while True:
                done, _ = await self.held(asyncio.wait({coming}, timeout=pause_s))
                event = coming.result() if done else None
                if done and event is None:
                    return
                if done:
                    coming = asyncio.ensure_future(_next(events))
                yield event
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming

    async def _tell(self, name: str, data: Mapping[str, Json]) -> None:
        lines = [f"event: {name}", f"data: {encode(data).decode()}"]
        if not self._told:
            lines.insert(1, f"retry: {RETRY_MS}")
        self._told += 1
        self._spoke_at = _now()
        self.write("\n".join(lines) + "\n\n")
        await self.flush()


async def _next(events: AsyncIterator[SessionEvent]) -> SessionEvent | None:
    return await anext(events, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
