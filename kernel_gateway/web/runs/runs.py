"""`/api/runs`: which runs there are, how each stands, its input and its cancellation."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.runs.state import RunState
from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import Handler

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import RunInfo


class Runs(Handler):
    async def on_get(self) -> None:
        query = schemas.run_query(self.request.query_arguments)
        page = await self.held(self.service.runs(self.owner, query))
        base = self.door.settings.base_url
        items: list[Json] = [render.run_json(info, base) for info in page.runs]
        self.answer({"items": items, "next": None if page.next is None else str(page.next)})


class RunHandler(Handler):
    """A route of one run, which its path names by run ID or uid."""

    async def named_run(self, segment: str) -> RunInfo:
        return await self.service.run(self.owner, schemas.run_id(segment), self.named_kernel())

    def named_kernel(self) -> str | None:
        """Of `?kernel=`, which settles a run ID that several kernels have."""
        return schemas.page_query(self.request.query_arguments).kernel_id


class Run(RunHandler):
    async def on_get(self, segment: str) -> None:
        info = await self.named_run(segment)
        # The place in the queue is the one thing that changes without a record.
        self.set_header("ETag", f'"{info.uid}.{info.log_next}.{info.queue_position}"')
        self.set_header("Cache-Control", "no-cache")
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        self.answer(render.run_json(info, self.door.settings.base_url))


class Input(RunHandler):
    async def on_post(self, segment: str) -> None:
        given = schemas.given_input(self.body())
        await self.service.give_input(
            self.owner,
            schemas.run_id(segment),
            given.value,
            given.prompt_id,
            kernel_id=self.named_kernel(),
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
            kernel_id=self.named_kernel(),
        )
        over = info.view.state is RunState.FINISHED
        model = render.run_json(info, self.door.settings.base_url)
        self.answer(model, HTTPStatus.OK if over else HTTPStatus.ACCEPTED)


ROUTES = [
    (r"/api/runs", Runs),
    (r"/api/runs/([^/]+)", Run),
    (r"/api/runs/([^/]+)/input", Input),
    (r"/api/runs/([^/]+)/cancel", Cancel),
]
