"""`/api/runs/{id}/log` and `/records`: a run's log by pages, for readers that wait.

Reading consumes nothing: whoever asks again with the same cursor gets the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import Json, clean_text
from kernel_gateway.runs.records import LogText
from kernel_gateway.web import render, schemas
from kernel_gateway.web.runs.runs import RunHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.service import Cursor, LogPage, Record, RunInfo, Seq
    from kernel_gateway.web.schemas import PageQuery


@dataclass(frozen=True, slots=True)
class _Part:
    """A page with what of it is text of the wanted stream."""

    items: list[tuple[Seq, str, str]]
    page: LogPage


class Log(RunHandler):
    async def on_get(self, segment: str) -> None:
        info = await self.named_run(segment)
        query = schemas.page_query(self.request.query_arguments)
        if "text/plain" in self.request.headers.get("Accept", ""):
            await self._write_text(info, query)
        else:
            await self._write_items(info, query)

    async def _write_items(self, info: RunInfo, query: PageQuery) -> None:
        part = await anext(self._parts(info, query))
        items: list[Json] = [[seq, stream, text] for seq, stream, text in part.items]
        self.answer({"items": items, "next": part.page.next, "finished": part.page.finished})

    async def _write_text(self, info: RunInfo, query: PageQuery) -> None:
        """All there is: whoever asks for text wants no pages."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        async for part in self._parts(info, query):
            self.write(clean_text("".join(text for _, _, text in part.items)))
            await self.flush()

    async def _parts(self, info: RunInfo, query: PageQuery) -> AsyncIterator[_Part]:
        """The first one has text if any comes in time. Then all that is there already."""
        now = asyncio.get_running_loop().time
        until = now() + query.wait_s
        after = query.after.seq
        begun = False
        while True:
            wait_s = 0.0 if begun else max(0.0, until - now())
            page = await self.held(
                self.service.log(
                    self.owner, info.uid, after=after, wait_s=wait_s, limit=query.limit
                )
            )
            items = [item for record in page.records if (item := _item(record, query))]
            after = page.next
            over = page.finished or not page.records
            if items or over:
                begun = True
                yield _Part(items, page)
            if over:
                return


def _item(record: Record, query: PageQuery) -> tuple[Seq, str, str] | None:
    """`(seq, stream, text)`; None for what is no text of the wanted stream."""
    body = record.body
    if not isinstance(body, LogText) or query.stream not in (None, body.stream):
        return None
    return record.seq, body.stream, body.text[_offset(record, query.after) :]


def _offset(record: Record, after: Cursor) -> int:
    """A cursor of an execute answer can lie within a record."""
    return after.offset if record.seq == after.seq + 1 else 0


class Records(RunHandler):
    async def on_get(self, segment: str) -> None:
        info = await self.named_run(segment)
        query = schemas.page_query(self.request.query_arguments)
        page = await self.held(
            self.service.log(
                self.owner,
                info.uid,
                after=query.after.seq,
                wait_s=query.wait_s,
                limit=query.limit,
            )
        )
        items: list[Json] = [render.record_json(info, record) for record in page.records]
        self.answer({"items": items, "next": page.next, "finished": page.finished})


ROUTES = [
    (r"/api/runs/([^/]+)/log", Log),
    (r"/api/runs/([^/]+)/records", Records),
]
