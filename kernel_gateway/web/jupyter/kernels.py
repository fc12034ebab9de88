"""`/api` and `/api/kernels`: kernels as Jupyter's clients know them."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.web import render, schemas
from kernel_gateway.web.handler import JupyterHandler
from kernel_gateway.web.headers import JSON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import KernelRequest
    from kernel_gateway.web.settings import WebSettings

log = logging.getLogger(__name__)


class Root(JupyterHandler):
    async def on_get(self) -> None:
        self.answer({"version": self.door.version})


class Kernels(JupyterHandler):
    async def on_get(self) -> None:
        kernels = await self.service.kernels(self.owner)
        self.set_header("Content-Type", JSON)
        self.write(encode([render.kernel_json(kernel) for kernel in kernels]))

    async def on_post(self) -> None:
        settings = self.door.settings
        request = await asked_kernel(self.body(), settings)
        kernel = await self.service.create_kernel(self.owner, request)
        self.set_header("Location", f"{settings.base_url}/api/kernels/{kernel.id}")
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


async def asked_kernel(body: Mapping[str, Json], settings: WebSettings) -> KernelRequest:
    """Of a body with `name` and `env`, as far as it is honoured here. Raises `InvalidField`."""
    request = schemas.kernel_request(
        body,
        allowed_env=settings.allowed_env,
        max_start_limit_s=settings.max_start_limit_s,
    )
    if request.cwd is None:
        return request
    # Lab asks for the folder of its notebook, which need not exist on our machine.
    folder = await asyncio.to_thread(_folder, request.cwd, settings.allowed_working_dirs)
    if folder is None:
        log.warning("KERNEL_WORKING_DIR %r is not used, but the default folder", str(request.cwd))
    return replace(request, cwd=folder)


def _folder(asked: Path, allowed: Sequence[Path]) -> Path | None:
    """None: it is not there, or not one that may be used."""
    if not asked.is_absolute() or not os.path.isdir(asked) or not os.access(asked, os.X_OK):
        return None
    if not allowed:
        return asked
    real = _real(asked)  # which a link that is changed now leads nowhere else
    return real if any(real.is_relative_to(_real(root)) for root in allowed) else None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
