"""The same notebooks on three ways: in this process, on a gateway, and by nbclient.

All of a way are executed at the same time: each has a kernel of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets.config import Config

from kernel_gateway import app
from kernel_gateway.client import AsyncClient
from kernel_gateway.client.engine import RemoteEngine
from kernel_gateway.config import read_settings
from kernel_gateway.notebook.bringing import Findings, Homes, bring
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.exits import exit_code
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.plan import PlanOptions
from kernel_gateway.notebook.runner import NotebookRunner
from kernel_gateway.notebook.saving import FileSink
from kernel_gateway.runs.plan import Limits
from kernel_gateway.runs.records import LogText, Record
from kernel_gateway.service import LOCAL_OWNER
from tests.e2e.main_job.gateway import TOKEN, serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.notebook.engine import Engine
    from kernel_gateway.notebook.runner import Event, NotebookResult

ROOT = Path(__file__).parents[3]
LIMIT_S = 120.0
_ORACLE = Path(__file__).with_name("oracle.py")
_PYTHON = ROOT / ".clients/jupyter/bin/python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What has become of a notebook."""

    notebook: dict[str, Any]
    result: NotebookResult
    told: list[tuple[str, int | None, bool]]  # of each record kind, step, and whether it was late
    files: Mapping[str, str]  # in its folder, and in that for its artifacts

    @property
    def end(self) -> tuple[int, str, str, list[str]]:
        reason = self.result.reason
        states = [step.state.value for step in self.result.steps]
        return exit_code(self.result.outcome, reason.code), reason.code, reason.message, states


async def _run(
    engine: Engine, name: str, source: bytes, limit_s: float | None, folder: Path, *, remote: bool
) -> Ran:
    work = folder / name
    work.mkdir()
    (work / "given.txt").write_text("given")
    homes = Homes(work=work, artifacts=folder / f"{name}_artifacts")
    job = NotebookJob(
        source=read(source),
        version="1",
        options=PlanOptions(limits=Limits(step=limit_s)),
        cwd=work,
        files={"given.txt": b"given"} if remote else None,
    )
    output = folder / f"{name}.ipynb"
    events: list[Event] = []
    result = await NotebookRunner(engine, job, FileSink(output), events.append).run()
    assert result.run is not None
    found = Findings()
    for event in events:
        found.tell(event)
    brought = await bring(engine, result.run.uid, found, homes)
    assert [] == brought.faults
    return Ran(
        notebook=json.loads(output.read_bytes()),
        result=result,
        told=_told(events),
        files={
            str(path.relative_to(folder)): path.read_text()
            for home in (homes.work, homes.artifacts)
            for path in sorted(home.rglob("*"))
            if path.is_file()
        },
    )


def _told(events: list[Event]) -> list[tuple[str, int | None, bool]]:
    """Text that comes in two pieces, or in one, is the same text; how it is mixed with that of the
    other stream nobody can promise."""
    found: list[tuple[str, int | None, bool]] = []
    for event in events:
        if isinstance(event, Record):
            one = (event.body.kind, event.step, getattr(event.body, "late", False))
            if not (found and isinstance(event.body, LogText) and found[-1] == one):
                found.append(one)
    return found


async def _run_all(
    engine: Engine,
    notebooks: Mapping[str, bytes],
    limits: Mapping[str, float],
    folder: Path,
    *,
    remote: bool,
) -> dict[str, Ran]:
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        runs = {
            name: group.create_task(
                _run(engine, name, source, limits.get(name), folder, remote=remote)
            )
            for name, source in notebooks.items()
        }
    return {name: task.result() for name, task in runs.items()}


def in_process(
    notebooks: Mapping[str, bytes], limits: Mapping[str, float], folder: Path
) -> dict[str, Ran]:
    """`limits`: seconds that a cell may take, of those notebooks that have one."""
    settings = read_settings(Config({"Gateway": {"data_dir": str(folder / "data")}}))

    async def run() -> dict[str, Ran]:
        async with app.local_service(settings, app.headless_folder(settings)) as service:
            engine = LocalEngine(service, LOCAL_OWNER)
            return await _run_all(engine, notebooks, limits, folder, remote=False)

    return asyncio.run(run())


def on_a_gateway(
    notebooks: Mapping[str, bytes], limits: Mapping[str, float], folder: Path
) -> dict[str, Ran]:
    async def run(url: str) -> dict[str, Ran]:
        async with AsyncClient(url, TOKEN) as client:
            engine = RemoteEngine(client)
            return await _run_all(engine, notebooks, limits, folder, remote=True)

    with serving(folder / "data") as server:
        return asyncio.run(run(server.url))


def by_nbclient(notebooks: Mapping[str, bytes], folder: Path) -> dict[str, dict[str, Any]]:
    for name, source in notebooks.items():
        (folder / f"{name}.ipynb").write_bytes(source)
    (folder / "given.txt").write_text("given")
    subprocess.run(
        [_PYTHON, _ORACLE, folder],
        cwd=folder,
        env={"HOME": str(folder), "PATH": f"{_PYTHON.parent}:/usr/bin:/bin", "LANG": "C.UTF-8"},
        timeout=LIMIT_S,
        check=True,
        capture_output=True,
    )
    return {name: json.loads((folder / f"{name}.done.ipynb").read_bytes()) for name in notebooks}
