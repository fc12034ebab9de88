"""`POST /admin/gql`: the few questions in GraphQL that the client's lists and details need.

The library is loaded at the first question: most gateways never hear one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel_gateway.web.backendai import schemas
from kernel_gateway.web.backendai.handler import BackendAIHandler

if TYPE_CHECKING:
    from types import ModuleType

    from kernel_gateway.service import ApiKey, SessionView


class GraphQL(BackendAIHandler):
    async def on_post(self) -> None:
        question = schemas.question(self.body())
        graph = await asyncio.to_thread(_graph)
        self.answer(await graph.answered(question, _Source(self)))

    async def own_key(self) -> ApiKey | None:
        return None if self.access_key is None else await self.door.keys.key(self.access_key)


class _Source:
    """Implements `graph.Source`."""

    def __init__(self, handler: GraphQL) -> None:
        self._handler = handler

    async def own_key(self) -> ApiKey | None:
        return await self._handler.own_key()

    async def sessions(self, access_key: str | None) -> list[SessionView]:
        self._handler.check_owner(access_key)
        return await self._handler.service.sessions(self._handler.owner)

    async def session(self, session_id: str) -> SessionView:
        return await self._handler.session(session_id)


def _graph() -> ModuleType:
    from kernel_gateway.web.backendai import graph

    return graph
