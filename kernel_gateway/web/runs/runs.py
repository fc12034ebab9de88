"""`/api/runs`: runs are created and listed; how each stands, its input, its cancel and its end."""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.runs.state import RunState
from kernel_gateway.web import headers, schemas
from kernel_gateway.web.runs.creation import run_request, spec_for
from kernel_gateway.web.runs.notebook import NotebookHandler
from kernel_gateway.web.runs.reading import RunHandler
from kernel_gateway.web.settings import MAX_WAIT_S

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import RunId, RunInfo


class Creation(NotebookHandler):
    """What creates runs: by their own ID, or by the one of the address."""

    async def create(self, run_id: RunId | None = None) -> None:
        request = self.request.headers
        kind = self.wanted_type(headers.JSON, headers.NOTEBOOK)
        settings = self.door.settings
        most = settings.max_code_bytes
        asked = schemas.new_run(
            self.body(), run_id=run_id, max_code_bytes=most, allowed_env=settings.allowed_env
        )
        trace = headers.trace_context(request)
        spec = await spec_for(self.service, self.owner, asked)
        wanted = await run_request(asked, trace, max_code_bytes=most, spec=spec)
        info = await self.held(self.service.submit(self.owner, wanted))
        created = info.created
        wait_s = headers.preferred_wait(request.get("Prefer", ""))
        if wait_s is not None:
            wait_s = min(wait_s, MAX_WAIT_S)
            self.set_header("Preference-Applied", f"wait={wait_s}")
            async with self.reader(info):
                info = await self.ended(info, wait_s)
        status = HTTPStatus.CREATED if created else HTTPStatus.OK
        self.set_header("Location", f"{self.door.settings.base_url}/api/runs/{info.uid}")
        if kind != headers.NOTEBOOK or not await self.answer_notebook(info, status):
            self.answer(await self.full_model(info), status)


class Runs(Creation):
    async def on_get(self) -> None:
        query = schemas.run_query(self.request.query_arguments)
        page = await self.held(self.service.runs(self.owner, query))
        items: list[Json] = [self.model(info) for info in page.runs]
        self.answer({"items": items, "next": None if page.next is None else str(page.next)})

    async def on_post(self) -> None:
        await self.create()


class Run(Creation):
    async def on_get(self, segment: str) -> None:
        info = await self.named_run(segment)
        outputs = self.query.outputs
        self.set_header("ETag", _etag(info, outputs=outputs))
        self.set_header("Cache-Control", "no-cache")
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        self.answer(await self.full_model(info) if outputs else self.model(info))

    async def on_put(self, segment: str) -> None:
        await self.create(schemas.run_id(segment))

    async def on_delete(self, segment: str) -> None:
        run_id = schemas.run_id(segment)
        await self.service.delete_run(self.owner, run_id, self.query.kernel_id)
        self.set_status(HTTPStatus.NO_CONTENT)


def _etag(info: RunInfo, *, outputs: bool) -> str:
    """The outputs change with the log. The rest may change sooner: what has happened is told
    before its record is stored, which can take until the end of a step."""
    told = zlib.crc32(repr(info).encode())
    shape = "full" if outputs else "bare"
    return f'"{info.uid}.{info.log_next}.{told:x}.{shape}"'


class Input(RunHandler):
    async def on_post(self, segment: str) -> None:
        given = schemas.given_input(self.body())
        await self.service.give_input(
            self.owner,
            schemas.run_id(segment),
            given.value,
            given.prompt_id,
            kernel_id=self.query.kernel_id,
        )
        self.answer({})


class Cancel(RunHandler):
    async def on_post(self, segment: str) -> None:
        asked = schemas.asked_cancel(self.body())
        info = await self.service.cancel(
            self.owner,
            schemas.run_id(segment),
            grace_s=asked.grace_s,
            escalate=asked.escalate,
            message=asked.message,
            kernel_id=self.query.kernel_id,
        )
        over = info.view.state is RunState.FINISHED
        self.answer(self.model(info), HTTPStatus.OK if over else HTTPStatus.ACCEPTED)


ROUTES = [
    (r"/api/runs", Runs),
    (r"/api/runs/([^/]+)", Run),
    (r"/api/runs/([^/]+)/input", Input),
    (r"/api/runs/([^/]+)/cancel", Cancel),
]
