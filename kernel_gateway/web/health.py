"""The gateway itself: `/healthz`, `/readyz` and its limits. They ask for a token like all.

`/healthz` says that the process is alive and serves, whatever its state; `/readyz` is 503 while
nothing new can be taken. Both tell the same.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.process_limits import descriptors
from kernel_gateway.web import render
from kernel_gateway.web.handler import Handler

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import Readiness


class _Probe(Handler):
    def tell(self, readiness: Readiness, status: int = HTTPStatus.OK) -> None:
        now = descriptors()
        taken: Json = {"limit": now.limit, "used": now.used}
        self.answer({**render.readiness_json(readiness), "descriptors": taken}, status)


class Healthz(_Probe):
    async def on_get(self) -> None:
        self.tell(self.service.readiness())


class Readyz(_Probe):
    async def on_get(self) -> None:
        readiness = self.service.readiness()
        status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
        self.tell(readiness, status)


class Limits(Handler):
    async def on_get(self) -> None:
        self.answer(self.door.settings.limits)


#: Who asks for these need not know the base of the other routes.
PROBES = [(r"/healthz", Healthz), (r"/readyz", Readyz)]
ROUTES = [*PROBES, (r"/api/limits", Limits)]
