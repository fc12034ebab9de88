"""`/api` and `/api/kernels`: kernels as Jupyter's clients know them."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import JupyterHandler

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.service import KernelRequest

log = logging.getLogger(__name__)


class Root(JupyterHandler):
    async def on_get(self) -> None:
        self.answer({"version": self.door.version})


class Kernels(JupyterHandler):
    async def on_get(self) -> None:
        kernels = await self.service.kernels(self.owner)
        self.set_header("Content-Type", "application/json")
        self.write(encode([render.kernel_json(kernel) for kernel in kernels]))

    async def on_post(self) -> None:
        settings = self.door.settings
        request = schemas.kernel_request(
            self.body(),
            allowed_env=settings.allowed_env,
            max_start_limit_s=settings.max_start_limit_s,
        )
        kernel = await self.service.create_kernel(self.owner, await _in_a_folder(request))
        self.set_header("Location", f"/api/kernels/{kernel.id}")
        self.answer(render.kernel_json(kernel), HTTPStatus.CREATED)


class Kernel(JupyterHandler):
    async def on_get(self, kernel_id: str) -> None:
        self.answer(render.kernel_json(await self.service.kernel(self.owner, kernel_id)))

    async def on_delete(self, kernel_id: str) -> None:
        await self.service.delete_kernel(self.owner, kernel_id)
        self.set_status(HTTPStatus.NO_CONTENT)


class Interrupt(JupyterHandler):
    async def on_post(self, kernel_id: str) -> None:
        await self.service.interrupt_kernel(self.owner, kernel_id)
        self.set_status(HTTPStatus.NO_CONTENT)


class Restart(JupyterHandler):
    async def on_post(self, kernel_id: str) -> None:
        kernel = await self.service.restart_kernel(self.owner, kernel_id)
        self.answer(render.kernel_json(kernel))


_ID = r"([^/]+)"  # the raw segment; Tornado resolves its percent signs afterwards
ROUTES = [
    (r"/api", Root),
    (r"/api/kernels", Kernels),
    (rf"/api/kernels/{_ID}", Kernel),
    (rf"/api/kernels/{_ID}/interrupt", Interrupt),
    (rf"/api/kernels/{_ID}/restart", Restart),
]


async def _in_a_folder(request: KernelRequest) -> KernelRequest:
    """Lab asks for the folder of its notebook, which need not exist on our machine."""
    if request.cwd is None or await asyncio.to_thread(_may_enter, request.cwd):
        return request
    log.warning("KERNEL_WORKING_DIR %r is no folder here: the default one is used", request.cwd)
    return replace(request, cwd=None)


def _may_enter(folder: Path) -> bool:
    return folder.is_absolute() and folder.is_dir() and os.access(folder, os.X_OK)
