"""`/api/openapi.json`: the description of all routes, for tools."""

from __future__ import annotations

from functools import cache

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.web.handler import Handler
from kernel_gateway.web.headers import JSON
from kernel_gateway.web.openapi.document import document


class OpenApi(Handler):
    async def on_get(self) -> None:
        self.set_header("Content-Type", JSON)
        self.write(_encoded(self.door.settings.base_url, self.door.version))


@cache
def _encoded(base_url: str, version: str) -> bytes:
    """Once a process: it never changes, and is long."""
    return encode(document(base_url=base_url, version=version))


ROUTES = [(r"/api/openapi\.json", OpenApi)]
