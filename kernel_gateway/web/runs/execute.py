"""`POST /api/kernels/{id}/execute`: one call of the execute API, held until its answer is there."""

from __future__ import annotations

from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import Handler


class Execute(Handler):
    async def on_post(self, kernel_id: str) -> None:
        limit = self.door.settings.max_code_bytes
        call = schemas.execute_call(kernel_id, self.body(), max_code_bytes=limit)
        answer = await self.held(self.service.execute(self.owner, call))
        self.answer(render.answer_json(answer))


ROUTES = [(r"/api/kernels/([^/]+)/execute", Execute)]
