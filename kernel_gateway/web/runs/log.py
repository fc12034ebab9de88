"""`/api/runs/{id}/log` and `/records`: a run's log by pages, for readers that wait.

Reading consumes nothing: whoever asks again with the same cursor gets the same.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import Json, clean_text
from kernel_gateway.runs.records import LogText
from kernel_gateway.runs.state import RunState
from kernel_gateway.web import headers
from kernel_gateway.web.headers import JSON, TEXT
from kernel_gateway.web.runs.reading import RunHandler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from kernel_gateway.service import Cursor, LogPage, Record, RunInfo, Seq
    from kernel_gateway.web.schemas import PageQuery


@dataclass(frozen=True, slots=True)
class _Part:
    """A page with what of it is text of the wanted stream."""

    items: list[tuple[Seq, str, str]]
    page: LogPage


class Log(RunHandler):
    async def on_get(self, segment: str) -> None:
        kind = self.wanted_type(JSON, TEXT)
        info = await self.named_run(segment)
        query = self.query
        async with self.reader(info):
            if kind == TEXT:
                await self._write_text(info, query)
            else:
                await self._write_items(info, query)

    async def _write_items(self, info: RunInfo, query: PageQuery) -> None:
        part = await anext(self._parts(info, query))
        items: list[Json] = [[seq, stream, text] for seq, stream, text in part.items]
        self.answer({"items": items, "next": part.page.next, "finished": part.page.finished})

    async def _parts(self, info: RunInfo, query: PageQuery) -> AsyncGenerator[_Part, None]:
        """The first one has text if any comes in time. Then all that is there already."""
        now = asyncio.get_running_loop().time
        until = now() + query.wait_s
        after = query.after.seq
        begun = False
        while True:
            wait_s = 0.0 if begun else max(0.0, until - now())
            page = await self.page(info, after, wait_s=wait_s, limit=query.limit)
            items = [item for record in page.records if (item := _item(record, query))]
            after = page.next
            over = page.finished or not page.records
            if items or over:
                begun = True
                yield _Part(items, page)
            if over:
                return

    # -- as text ---------------------------------------------------------------------------------

    async def _write_text(self, info: RunInfo, query: PageQuery) -> None:
        """All there is: whoever asks for text wants no pages."""
        self.set_header("Content-Type", f"{TEXT}; charset=utf-8")
        self.set_header("Accept-Ranges", "bytes")
        wanted = self.request.headers.get("Range", "")
        # There is no tag to say of what a client has a part already: the text only ever grows.
        if wanted and "If-Range" not in self.request.headers:
            query = replace(query, wait_s=0.0)
            size = await self._size(info, query)
            span = headers.byte_range(wanted, size)
            if span is not None:
                await self._write_part(info, query, span, size)
                return
        async with aclosing(self._texts(info, query)) as texts:
            async for text in texts:
                self.write(text)
                await self.flush()

    async def _write_part(self, info: RunInfo, query: PageQuery, span: range, size: int) -> None:
        over = info.view.state is RunState.FINISHED
        self.set_status(HTTPStatus.PARTIAL_CONTENT)
        self.set_header("Content-Range", headers.content_range(span, size if over else None))
        await self.send(_within(self._texts(info, query), span), len(span))

    async def _size(self, info: RunInfo, query: PageQuery) -> int:
        """Bytes of all the text there is."""
        if info.view.state is RunState.FINISHED and query.stream is None and not query.after.seq:
            return info.log_bytes
        async with aclosing(self._texts(info, query)) as texts:
            return sum([len(text) async for text in texts])

    async def _texts(self, info: RunInfo, query: PageQuery) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._parts(info, query)) as parts:
            async for part in parts:
                yield clean_text("".join(text for _, _, text in part.items)).encode()


async def _within(texts: AsyncGenerator[bytes, None], span: range) -> AsyncGenerator[bytes, None]:
    """What of all the bytes lies there."""
    at = 0
    async with aclosing(texts):
        async for text in texts:
            piece = text[max(0, span.start - at) : max(0, span.stop - at)]
            at += len(text)
            if piece:
                yield piece
            if at >= span.stop:
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
        query = self.query
        async with self.reader(info):
            page = await self.page(info, query.after.seq, wait_s=query.wait_s, limit=query.limit)
            items = [dict(await self.record_model(info, record)) for record in page.records]
            told: dict[str, Json] = {"next": page.next, "finished": page.finished}
            self.answer({"items": [*items], **told, "sealed": page.sealed})


ROUTES = [
    (r"/api/runs/([^/]+)/log", Log),
    (r"/api/runs/([^/]+)/records", Records),
]
