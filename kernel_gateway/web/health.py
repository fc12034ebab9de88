"""`/healthz`: the process is alive and serves. Says nothing else, and asks for a token like all."""

from __future__ import annotations

from kernel_gateway.web.handler import Handler


class Healthz(Handler):
    async def on_get(self) -> None:
        self.answer({"status": "ok"})


ROUTES = [(r"/healthz", Healthz)]
