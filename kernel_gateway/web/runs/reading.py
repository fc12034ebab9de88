"""What the routes of one run share: which run is meant, its pages, its end, and its readers.

Reading changes nothing, with one exception that the run itself asks for: the last reader that goes
away before the end may take it along (`cancel_on_disconnect`).
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError

from kernel_gateway.errors import GatewayError
from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.records import Seq
from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import Handler, close_iterator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import LogPage, Record, RunInfo
    from kernel_gateway.web.schemas import PageQuery

PAGE = 100  # records at a time; the store bounds their bytes as well
#: Of text: a longer log is not folded for everybody who asks for the run.
OUTPUTS_BYTES = 8 * 2**20
SHOWN_BYTES = 32 * 2**20  # of text and all values that were shown; the latter are seen in reading


class RunHandler(Handler):
    """A route of one run, which its path names by run ID or uid."""

    async def named_run(self, segment: str) -> RunInfo:
        return await self.service.run(self.owner, schemas.run_id(segment), self.query.kernel_id)

    @cached_property
    def query(self) -> PageQuery:
        """What follows the path. `?kernel=` settles a run ID that several kernels have. Raises
        `InvalidField`."""
        return schemas.page_query(self.request.query_arguments)

    # -- its log ---------------------------------------------------------------------------------

    async def page(self, info: RunInfo, after: Seq, *, wait_s: float, limit: int) -> LogPage:
        return await self.held(
            self.service.log(self.owner, info.uid, after=after, wait_s=wait_s, limit=limit)
        )

    async def records(self, info: RunInfo, after: Seq = Seq(0)) -> AsyncGenerator[Record, None]:
        """Those that are there by now."""
        while True:
            page = await self.page(info, after, wait_s=0.0, limit=PAGE)
            for record in page.records:
                yield record
            after = page.next
            if page.finished or not page.records:
                return

    async def folded(self, info: RunInfo, most_bytes: int) -> Outputs | None:
        """None: there is more to be shown than that."""
        fold = Outputs()
        left = most_bytes
        async with aclosing(self.records(info)) as found:
            async for record in found:
                left -= _size(record.body)
                if left < 0:
                    return None
                fold.apply(record)
        return fold

    async def ended(self, info: RunInfo, wait_s: float) -> RunInfo:
        """As it stands when it is over, or so many seconds later."""
        return await self.held(self.service.run(self.owner, info.uid, wait_s=wait_s))

    # -- its models ------------------------------------------------------------------------------

    def model(self, info: RunInfo) -> dict[str, Json]:
        return render.run_json(info, self.door.settings.base_url)

    async def full_model(self, info: RunInfo) -> dict[str, Json]:
        """With its outputs; null when they are too much for that."""
        outputs: Json = None
        if info.view.started_at is None:
            outputs = []  # and its log need not be read for that
        elif info.log_bytes <= OUTPUTS_BYTES:
            fold = await self.folded(info, SHOWN_BYTES)
            if fold is not None:
                steps = range(len(info.view.steps))
                outputs = [output for step in steps for output in fold.outputs(step)]
        return {**self.model(info), "outputs": outputs}

    async def record_model(self, info: RunInfo, record: Record) -> Mapping[str, Json]:
        if isinstance(record.body, records.Completed):  # it has the run as it is after its end
            info = await self.service.run(self.owner, info.uid)
        return render.record_json(info, record, self.door.settings.base_url)

    # -- its readers -----------------------------------------------------------------------------

    @asynccontextmanager
    async def reader(self, info: RunInfo) -> AsyncGenerator[None, None]:
        """Around what is told while it happens. A client that leaves is nobody's fault, and what
        goes wrong after the first byte can be told only when the client asks again. Of several that
        are there the last to leave counts, however long it has taken to read."""
        readers = self.door.readers
        readers[info.uid] += 1
        try:
            yield
        except StreamClosedError:
            self._gone = True
        except asyncio.CancelledError:
            if not (self._gone and self._headers_written):
                raise
        except GatewayError:
            if not self._headers_written:
                raise
            self._connection.stream.close()  # what breaks off must not look whole
        finally:
            readers[info.uid] -= 1
            if not readers[info.uid]:
                del readers[info.uid]
            if self._gone and info.cancel_on_disconnect and info.uid not in readers:
                with suppress(GatewayError):
                    await self.service.reader_left(self.owner, info.uid)

    async def send(self, pieces: AsyncIterator[bytes], size: int) -> None:
        """A body of so many bytes, as fast as it is read at the other end. One that breaks off must
        not look whole."""
        self.set_header("Content-Length", size)
        sent = 0
        try:
            async for piece in pieces:
                sent += len(piece)
                self.write(piece)
                await self.flush()
        except StreamClosedError:  # nobody is there to be told
            return
        except BaseException:
            if self._headers_written:
                self._connection.stream.close()
            raise
        finally:
            await close_iterator(pieces)
        if sent != size:
            self._connection.stream.close()


def _size(body: records.Body) -> int:
    """What it adds to a page, near enough; most kinds add nothing."""
    if isinstance(body, records.LogText):
        return len(body.text)
    if isinstance(body, records.Output | records.Updated):
        values = (*body.data.values(), body.metadata)
        return sum(len(one) if isinstance(one, str) else len(encode(one)) for one in values)
    if isinstance(body, records.ErrorRaised):
        return sum(map(len, body.traceback))
    return 0
