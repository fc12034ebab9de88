"""`/api/sessions`: documents and their kernels, as Jupyter's clients know them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import InvalidField
from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.service import (
    KernelRequest,
    NotebookSessionChange,
    NotebookSessionRequest,
)
from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import JupyterHandler
from kernel_gateway.web.headers import JSON
from kernel_gateway.web.jupyter.kernels import asked_kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE = "notebook"


class Sessions(JupyterHandler):
    async def on_get(self) -> None:
        sessions = await self.service.notebook_sessions(self.owner)
        self.set_header("Content-Type", JSON)
        self.write(encode([render.notebook_session_json(session) for session in sessions]))

    async def on_post(self) -> None:
        settings = self.door.settings
        asked = schemas.notebook_session(self.body())
        if asked.path is None:
            raise InvalidField({"path": "is needed"})
        session = await self.service.open_notebook_session(
            self.owner,
            NotebookSessionRequest(
                path=asked.path,
                name=asked.name or "",
                type=asked.type or TYPE,
                kernel=await asked_kernel(asked.kernel, settings),
                kernel_id=asked.kernel_id,
            ),
        )
        self.set_header("Location", f"{settings.base_url}/api/sessions/{session.id}")
        self.answer(render.notebook_session_json(session), HTTPStatus.CREATED)


class Session(JupyterHandler):
    async def on_get(self, session_id: str) -> None:
        session = await self.service.notebook_session(self.owner, session_id)
        self.answer(render.notebook_session_json(session))

    async def on_patch(self, session_id: str) -> None:
        asked = schemas.notebook_session(self.body())
        session = await self.service.change_notebook_session(
            self.owner,
            session_id,
            NotebookSessionChange(
                path=asked.path,
                name=asked.name,
                type=asked.type or None,
                kernel=await self._new_kernel(asked.kernel),
                kernel_id=asked.kernel_id,
            ),
        )
        self.answer(render.notebook_session_json(session))

    async def _new_kernel(self, kernel: Mapping[str, Any]) -> KernelRequest | None:
        """None: it keeps the one it has."""
        return await asked_kernel(kernel, self.door.settings) if kernel.get("name") else None

    async def on_delete(self, session_id: str) -> None:
        await self.service.end_notebook_session(self.owner, session_id)
        self.set_status(HTTPStatus.NO_CONTENT)


ROUTES = [
    (r"/api/sessions", Sessions),
    (r"/api/sessions/([^/]+)", Session),
]
