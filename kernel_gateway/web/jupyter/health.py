"""How a kernel is: asked now, and what its process has written to its own stdout and stderr."""

from __future__ import annotations

from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import JupyterHandler
from kernel_gateway.web.headers import JSON, TEXT


class Health(JupyterHandler):
    async def on_get(self, kernel_id: str) -> None:
        """Whatever it is, that is no error of this call."""
        health = await self.held(self.service.kernel_health(self.owner, kernel_id))
        self.answer(render.kernel_health_json(health))

    async def on_put(self, kernel_id: str) -> None:
        expression = schemas.health_check(self.body())
        health = await self.held(self.service.set_health_check(self.owner, kernel_id, expression))
        self.answer(render.kernel_health_json(health))


class Output(JupyterHandler):
    async def on_get(self, kernel_id: str) -> None:
        kind = self.wanted_type(JSON, TEXT)
        output = await self.service.kernel_output(self.owner, kernel_id)
        if kind == TEXT:
            self.set_header("Content-Type", f"{TEXT}; charset=utf-8")
            self.write(clean_text(output.text))
        else:
            self.answer(render.kernel_output_json(output))


ROUTES = [
    (r"/api/kernels/([^/]+)/health", Health),
    (r"/api/kernels/([^/]+)/output", Output),
]
