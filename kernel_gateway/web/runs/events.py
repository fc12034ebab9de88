"""`GET /api/runs/{id}/events`: the records of a run as server-sent events, up to `completed`.

A browser's EventSource asks again whenever a stream ends, with the last `id` it has seen; who has
seen the end is told 204, upon which it asks no more. A slow reader costs the page that it is being
sent: the next one is read when that has left.
"""

from __future__ import annotations

from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs.records import Completed, Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.web import schemas
from kernel_gateway.web.runs.reading import PAGE, RunHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import LogPage, RunInfo

RETRY_MS = 1000
PING = b": ping\n\n"
_MOST_UNSENT = 256 * 2**10  # bytes that are gathered before they are sent


class Events(RunHandler):
    async def on_get(self, segment: str) -> None:
        info = await self.named_run(segment)
        seen = self.request.headers.get("Last-Event-ID", "")
        after = schemas.resumed_after(seen, self.request.query_arguments)
        if await self._has_seen_the_end(info, after):
            self.set_status(HTTPStatus.NO_CONTENT)
            return
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")  # a proxy would keep it to itself
        async with self.reader(info):
            self.write(f": ping\nretry: {RETRY_MS}\n\n")
            await self.flush()  # it is open, even while nothing happens
            await self._tell(info, after)

    async def _has_seen_the_end(self, info: RunInfo, after: Seq) -> bool:
        """Late records may stand behind the end, but seldom many: look from there."""
        if info.view.state is not RunState.FINISHED:
            return False
        back = PAGE
        while True:
            start = Seq(max(0, info.log_next - 1 - back))
            async with aclosing(self.records(info, start)) as found:
                async for record in found:
                    if isinstance(record.body, Completed):
                        return after >= record.seq
            if not start:
                return False
            back *= 4

    async def _tell(self, info: RunInfo, after: Seq) -> None:
        wait_s = self.door.settings.events_ping_s
        while True:
            page = await self.page(info, after, wait_s=wait_s, limit=PAGE)
            if await self._tell_page(info, after, page) or page.finished:
                return
            if not page.records:
                self.write(PING)
                await self.flush()
            after = page.next

    async def _tell_page(self, info: RunInfo, after: Seq, page: LogPage) -> bool:
        """Whether it was the last one."""
        unsent = 0
        if page.records and page.records[0].seq > after + 1:
            self.write(gap_event(info, Seq(after + 1), Seq(page.records[0].seq - 1)))
        for record in page.records:
            data = event(record.seq, await self.record_model(info, record))
            self.write(data)
            unsent += len(data)
            if unsent > _MOST_UNSENT:
                unsent = 0
                await self.flush()
            if isinstance(record.body, Completed):
                return True
        if unsent:
            await self.flush()
        return False


def event(seq: Seq, record: Mapping[str, Json]) -> bytes:
    """JSON has no newline that is not escaped."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (seq, str(record["kind"]).encode(), encode(record))


def gap_event(info: RunInfo, first: Seq, last: Seq) -> bytes:
    """These are no longer there."""
    gap: dict[str, Json] = {
        "run_id": info.id,
        "uid": info.uid,
        "kind": "gap",
        "from": first,
        "to": last,
    }
    return event(last, gap)


ROUTES = [(r"/api/runs/([^/]+)/events", Events)]
