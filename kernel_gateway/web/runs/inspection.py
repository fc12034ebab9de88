"""`POST /api/notebooks/inspect`: which parameters a notebook has. Nothing is executed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel_gateway.notebook.parameters.inspection import inspected
from kernel_gateway.web import schemas
from kernel_gateway.web.handler import Handler
from kernel_gateway.web.runs.creation import read_notebook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json


class Inspection(Handler):
    async def on_post(self) -> None:
        notebook = schemas.notebook_to_inspect(self.body())
        self.answer(await asyncio.to_thread(_inspected, notebook))


def _inspected(notebook: Mapping[str, Json]) -> Mapping[str, Json]:
    source = read_notebook(notebook)
    found = inspected(source.notebook, kernel=source.wish.name, language=source.wish.language)
    return found.json


ROUTES = [(r"/api/notebooks/inspect", Inspection)]
