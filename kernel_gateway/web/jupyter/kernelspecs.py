"""`/api/kernelspecs`, and the files of kernelspecs: logos that a launcher shows, and scripts."""

from __future__ import annotations

from pathlib import PurePath
from types import MappingProxyType

from kernel_gateway.web import render
from kernel_gateway.web.handler import JupyterHandler

#: By the end of a file's name. What is not here is for nobody to show: pages above all.
_TYPES = MappingProxyType(
    {
        ".css": "text/css",
        ".gif": "image/gif",
        ".ico": "image/x-icon",
        ".jpeg": "image/jpeg",
        ".jpg": "image/jpeg",
        ".js": "text/javascript",
        ".json": "application/json",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".webp": "image/webp",
    }
)
_ANY_TYPE = "application/octet-stream"

#: A drawing may have styles of its own, as most have.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


class KernelSpecs(JupyterHandler):
    async def on_get(self) -> None:
        found = await self.service.kernelspecs()
        self.answer(render.kernelspecs_json(found, self.door.settings.base_url))


class KernelSpec(JupyterHandler):
    async def on_get(self, name: str) -> None:
        spec = await self.service.kernelspec(name)
        self.answer(render.kernelspec_json(spec, self.door.settings.base_url))


class Resource(JupyterHandler):
    async def on_get(self, name: str, file: str) -> None:
        data = await self.service.kernelspec_file(name, file)
        kind = _TYPES.get(PurePath(file).suffix.lower(), _ANY_TYPE)
        self.set_header("Content-Type", kind)
        self.set_header("Content-Security-Policy", _POLICY)
        self.write(data)


_NAME = r"([^/]+)"  # the raw segment; Tornado resolves its percent signs afterwards
ROUTES = [
    (r"/api/kernelspecs", KernelSpecs),
    (rf"/api/kernelspecs/{_NAME}", KernelSpec),
    (rf"/kernelspecs/{_NAME}/([^?]+)", Resource),
]
