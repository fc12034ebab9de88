"""A run as a notebook, filled as far as the run has come: `GET /api/runs/{id}/notebook`.

That of a notebook run is the one that was sent; of any other run each step is a code cell.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.errors import KernelSpecNotFound, NotFound, TooLarge
from kernel_gateway.notebook import metadata
from kernel_gateway.notebook.document import Document, kept, read
from kernel_gateway.web import headers
from kernel_gateway.web.runs.reading import RunHandler

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.outputs import Outputs
    from kernel_gateway.runs.plan import RunPlan
    from kernel_gateway.service import KernelInfoView, KernelSpecView, RunInfo

MOST_BYTES = 256 * 2**20  # of text and values: no page shows more, and all is in memory at once


class NotebookHandler(RunHandler):
    """A route that can answer with a run as a notebook."""

    async def answer_notebook(self, info: RunInfo, status: int = HTTPStatus.OK) -> bool:
        """False: the run has more to be shown than that, and nothing is answered."""
        fold = await self.folded(info, MOST_BYTES) if info.log_bytes <= MOST_BYTES else None
        if fold is None:
            return False
        plan, spec, kernel = await asyncio.gather(
            self.service.run_plan(self.owner, info.uid), self._spec(info), self._kernel(info)
        )
        version = self.door.version
        data = await asyncio.to_thread(_filled, info, plan, fold, spec, kernel, version)
        self.set_status(status)
        self.set_header("Content-Type", headers.NOTEBOOK)
        self.set_header("Content-Disposition", headers.attachment(f"{info.id}.ipynb"))
        self.write(data)
        return True

    async def _spec(self, info: RunInfo) -> KernelSpecView | None:
        """None: it has been removed since."""
        with suppress(KernelSpecNotFound):
            return await self.service.kernelspec(info.kernel_name)
        return None

    async def _kernel(self, info: RunInfo) -> KernelInfoView | None:
        """None: it is gone, as it is with most runs that are over."""
        with suppress(NotFound):
            return await self.service.kernel(self.owner, info.kernel_id)
        return None


class Notebook(NotebookHandler):
    async def on_get(self, segment: str) -> None:
        if not await self.answer_notebook(await self.named_run(segment)):
            raise TooLarge(
                f"The log of this run is longer than {MOST_BYTES} bytes: too long for a notebook."
            )


def _filled(
    info: RunInfo,
    plan: RunPlan,
    fold: Outputs,
    spec: KernelSpecView | None,
    kernel: KernelInfoView | None,
    version: str,
) -> bytes:
    source = kept(plan.document) if plan.document else read(_cells(plan).encode())
    document = Document(source)
    if spec is not None:
        document.set_kernel(spec)
    if fold.kernel is not None:
        document.set_language(fold.kernel.language_info)
    elif kernel is not None:  # of a run that is no notebook's
        document.set_language(kernel.language_info)
    for step in info.view.steps:
        document.set_cell(
            step.index,
            outputs=fold.outputs(step.index),
            execution_count=step.execution_count,
            metadata=metadata.of_step(step),
        )
    document.set_widgets(fold.widgets())
    told = metadata.of_notebook(version, source, kernel=fold.kernel, run=metadata.of_run(info))
    document.set_metadata(told)
    return document.encode()


def _cells(plan: RunPlan) -> str:
    cells: list[Json] = [
        {
            "cell_type": "code",
            "id": step.name or "code",
            "metadata": {},
            "source": step.code,
            "outputs": [],
            "execution_count": None,
        }
        for step in plan.steps
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


ROUTES = [(r"/api/runs/([^/]+)/notebook", Notebook)]
