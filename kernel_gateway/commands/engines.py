"""Where a command executes notebooks: in this process, or on a gateway by `--server`.

Knows how either is opened, and what goes there and comes back beside the notebook. Must not know
what a notebook run is.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import List, Unicode

from kernel_gateway import app
from kernel_gateway.commands.base import Command, UsageError
from kernel_gateway.errors import Refused
from kernel_gateway.notebook.bringing import Homes, gathered
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.places import STANDARD, folder_of, shown
from kernel_gateway.notebook.runner import first_request
from kernel_gateway.service import LOCAL_OWNER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from kernel_gateway.config import Settings
    from kernel_gateway.notebook.engine import Engine
    from kernel_gateway.notebook.job import NotebookJob

ENGINE_ALIASES: dict[Any, Any] = {
    "server": "EngineCommand.server",
    "token": "EngineCommand.token",
    "upload": "EngineCommand.upload",
    "artifacts": "EngineCommand.artifacts",
}


class EngineCommand(Command):
    """A command that executes notebooks."""

    server = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Run it on the gateway at this address, as the first line of kernel-gateway serve "
        "shows it. Default: in this process.",
    )
    token = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Of the gateway. Better in KERNEL_GATEWAY_TOKEN than on a command line, which others "
        "on this machine can see.",
    )
    upload = List(
        Unicode(),
        config=True,
        help="File or folder below the working folder that is sent to the gateway with the "
        "notebook. May be given more than once. Nothing else is sent.",
    )
    artifacts = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Folder for files that the code has left as artifacts; made when there are any. "
        "Default: OUT_artifacts beside the output. Of several notebooks each has a folder in it.",
    )

    @asynccontextmanager
    async def engine(
        self, settings: Settings, folder: Path, jobs: Sequence[NotebookJob]
    ) -> AsyncIterator[Engine]:
        """Of one in this process everything is in `folder`; `jobs` are what it will be asked for.
        Raises `Unreachable` and the like at once when no gateway is there, and `UsageError`."""
        if self.server is None:
            first = partial(first_request, jobs[0]) if len(jobs) == 1 else None
            opened = app.local_service(settings, folder, kernels=len(jobs), first=first)
            async with opened as service:
                yield LocalEngine(service, LOCAL_OWNER)
        else:
            async with remote_engine(self.server, self.token) as engine:
                yield engine

    def uploads(self, folder: Path) -> Mapping[str, bytes] | None:
        """Files for a working folder of the run's own; None: it works in `folder`. Blocks."""
        if self.server is None:
            if self.upload:
                raise UsageError("--upload is for --server: here the run finds its files itself.")
            return None
        try:
            return _gathered(folder, tuple(self.upload))
        except Refused as fault:
            raise UsageError(fault.message) from None

    def homes(
        self, folder: Path, notebook: str, output: str, *, is_one_of_several: bool = False
    ) -> Homes:
        """Where files belong that a run has left behind which works in `folder`. The artifacts of
        several are not to replace each other's."""
        above = folder_of(output)
        # An output that is no file of ours has nothing beside it: it is called by its input, which
        # several may have in common.
        is_beside = above is not None or is_one_of_several
        name = _stem(shown(output) if is_beside else notebook)
        if self.artifacts is None:
            return Homes(work=folder, artifacts=(above or Path.cwd()) / f"{name}_artifacts")
        wanted = Path(self.artifacts).expanduser().absolute()
        return Homes(work=folder, artifacts=wanted / name if is_one_of_several else wanted)


def _stem(name: str) -> str:
    return "notebook" if name == STANDARD else Path(name).name.removesuffix(".ipynb")


@cache
def _gathered(folder: Path, names: tuple[str, ...]) -> Mapping[str, bytes]:
    """Once for all notebooks of a command."""
    return gathered(folder, names)


@asynccontextmanager
async def remote_engine(url: str, token: str | None) -> AsyncIterator[Engine]:
    """A gateway that is not there, or lets nobody in, is told before anything is written."""
    # A run in this process needs nothing of it.
    from kernel_gateway.client import AsyncClient
    from kernel_gateway.client.address import TOKEN_VARIABLE, address
    from kernel_gateway.client.engine import PATIENCE, RemoteEngine
    from kernel_gateway.commands.server import AT_ONCE

    where = address(url, token, env=os.environ)
    if where.token is None:
        raise UsageError(f"A token is needed for {where}: set {TOKEN_VARIABLE}, or give --token.")
    async with AsyncClient(url, token, patience=AT_ONCE) as hasty:
        await hasty.kernelspecs()
    async with AsyncClient(url, token, patience=PATIENCE) as client:
        yield RemoteEngine(client)
