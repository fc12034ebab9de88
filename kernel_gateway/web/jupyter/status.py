"""`/api/status` and `/api/me`: what clients of Jupyter's own server ask of any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import JupyterHandler

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json


class Status(JupyterHandler):
    async def on_get(self) -> None:
        kernels = await self.service.kernels(self.owner)
        calls = self.door.calls
        self.answer(render.status_json(kernels, calls.since, calls.last_change))


class Me(JupyterHandler):
    async def on_get(self) -> None:
        asked = schemas.asked_permissions(self.get_query_argument("permissions", ""))
        self.answer(render.me_json(self.owner, _granted(asked)))


#: What a token opens, in the words of Jupyter's server. No other of its parts is here.
_ACTIONS = {
    "api": {"read"},
    "kernels": {"read", "write", "execute"},
    "kernelspecs": {"read"},
    "sessions": {"read", "write"},
}


def _granted(asked: dict[str, list[str]]) -> dict[str, Json]:
    return {
        resource: [action for action in actions if action in _ACTIONS.get(resource, ())]
        for resource, actions in asked.items()
    }


ROUTES = [
    (r"/api/status", Status),
    (r"/api/me", Me),
]
