"""Notebook runs on the kernel in memory: a real engine and store, cells that are scripts."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from kernel_gateway.errors import StoreUnavailable
from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.fake import FakeBehaviour, FakeKernel, FakeLauncher
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.papermill.banner import is_banner
from kernel_gateway.notebook.runner import NotebookRunner, Stop
from kernel_gateway.notebook.saving import Pace
from kernel_gateway.service import KernelSpecsView, KernelSpecView, LogPage, Owner
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kernel_gateway.notebook.runner import Event, NotebookResult

ME = Owner("me")
HANG_LIMIT_S = 10.0

SPECS = KernelSpecsView(
    default="python3",
    specs=(
        KernelSpecView(name="other", display_name="Other", language="other"),
        KernelSpecView(name="python3", display_name="Script", language="script"),
    ),
)


class ListedService(LocalService):
    """Which kernels there are is said by the test, and when the store fails."""

    specs = SPECS
    fails_after_pages: int | None = None

    async def kernelspecs(self) -> KernelSpecsView:
        return self.specs

    async def log(self, *args: Any, **options: Any) -> LogPage:
        if self.fails_after_pages is not None:
            if not self.fails_after_pages:
                raise StoreUnavailable("The disk is gone.")
            self.fails_after_pages -= 1
        return await super().log(*args, **options)


class Shelf:
    """A sink that keeps every save, each of them checked against the schema."""

    def __init__(self) -> None:
        self.saves: list[dict[str, Any]] = []
        self.closed = False
        self.faults: list[OSError | None] = []  # of the next saves

    def save(self, data: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        notebook = json.loads(data)
        nbformat.validate(notebook)
        self.saves.append(notebook)

    def close(self) -> None:
        self.closed = True

    @property
    def last(self) -> dict[str, Any]:
        return self.saves[-1]

    @property
    def run(self) -> dict[str, Any]:
        found: dict[str, Any] = self.last["metadata"]["kernel_gateway"]["run"]
        return found

    def cells(self, save: int = -1) -> list[dict[str, Any]]:
        """Without the banner of an error."""
        cells = self.saves[save]["cells"]
        return [cell for cell in cells if not is_banner(cell)]

    def states(self, save: int = -1) -> list[str]:
        return [cell["metadata"]["kernel_gateway"]["state"] for cell in self.cells(save)]

    def texts(self, cell: int, save: int = -1) -> list[str]:
        """Of each output what a reader sees first."""
        outputs = self.cells(save)[cell]["outputs"]
        return ["".join(_shown(output)) for output in outputs]


def _shown(output: dict[str, Any]) -> list[str]:
    if output["output_type"] == "error":
        return [f"{output['ename']}: {output['evalue']}"]
    return list(output["text"] if "text" in output else output["data"]["text/plain"])


class Bench:
    """Runs notebooks whose cells are scripts for the fake kernel, and shows what became of them."""

    def __init__(self, service: ListedService, launcher: FakeLauncher) -> None:
        self.service = service
        self.launcher = launcher
        self.shelf = Shelf()
        self.events: list[Event] = []
        self.on_event: Callable[[Event], object] = lambda event: None
        self.runner: NotebookRunner | None = None
        self.engine: type[LocalEngine] = LocalEngine

    @property
    def kernel(self) -> FakeKernel:
        return self.launcher.kernels[-1]

    @property
    def codes_sent(self) -> list[str]:
        requests = [r for kernel in self.launcher.kernels for r in kernel.requests]
        return [str(r.content["code"]) for r in requests if r.msg_type == "execute_request"]

    def prepare(
        self, *cells: str | dict[str, Any], metadata: dict[str, Any] | None = None, **job: Any
    ) -> NotebookRunner:
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": metadata or {},
            "cells": [cell if isinstance(cell, dict) else code(cell) for cell in cells],
        }
        source = read(json.dumps(notebook).encode())
        answers = job.pop("answers", None)
        values = {"version": "1.2.3", "quiet_s": 0.0, **job}
        self.runner = NotebookRunner(
            self.engine(self.service, ME),
            NotebookJob(source=source, **values),
            self.shelf,
            self._tell,
            pace=Pace(least_between_s=0.0),
            answers=answers,
        )
        return self.runner

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    async def run(self, *cells: str | dict[str, Any], **options: Any) -> NotebookResult:
        runner = self.prepare(*cells, **options)
        async with asyncio.timeout(HANG_LIMIT_S):
            return await runner.run()

    def stop(self, how: Stop) -> None:
        assert self.runner is not None
        self.runner.stop(how)


def code(source: str, *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"tags": list(tags)},
        "outputs": [],
        "source": source,
    }


@pytest.fixture
def behaviour() -> FakeBehaviour:
    return FakeBehaviour()


@pytest.fixture
def engine_settings() -> EngineSettings:
    return EngineSettings()


@pytest.fixture
async def bench(
    tmp_path: Path, behaviour: FakeBehaviour, engine_settings: EngineSettings
) -> AsyncIterator[Bench]:
    store = await Store.open(StoreSettings(folder=tmp_path / "store"))
    launcher = FakeLauncher(specs=("python3", "other"), behaviour=behaviour)
    service = ListedService(launcher, store, engine_settings)
    await service.start()
    yield Bench(service, launcher)
    await service.close()
    await store.close()
    await launcher.close()
