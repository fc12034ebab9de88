"""Kernels that come about in two ways, and with the same request: `cold` and `forked`.

A test with the fixture `kernel`, `bench` or `own` runs once for each way, and must get the same
answers. A test with `cold` and `forked` compares the two. All kernels of this folder come from two
launchers, and most tests share one kernel of each.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio

from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.messaging.message import Channel, MsgId, Request
from tests.shared.kernels import Bench, Python, Started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

WAYS = ("cold", "forked")

#: Run by IPython in each kernel, before its first cell.
STARTUP = "from_startup = 'a file of the profile'\n"
CONFIG = "c.InteractiveShell.separate_in = ''\nc.IPCompleter.omit__names = 1\n"

#: A kernelspec with options of the interpreter, as those for JupyterLab's debugger have them.
FLAGGED = "flagged"
_FLAGS = ["-X", "frozen_modules=off", "-Wignore::ResourceWarning", "-u"]
_FLAGGED = {
    "argv": ["python", *_FLAGS, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Flagged",
    "language": "python",
    "metadata": {"supported_encryption": ["curve"]},
}

#: With pytest's variables ipykernel leaves the descriptors alone.
_NOT_OF_PYTEST = (*KernelSettings().env_secrets, "PYTEST_*")

_PARENT = "import os, pathlib\npathlib.Path(f'/proc/{os.getppid()}/cmdline').read_text()"


@dataclass(frozen=True, slots=True)
class Answering:
    """A kernel that is asked, and what it answers."""

    started: Started

    async def prints(self, code: str) -> str:
        """What it writes to stdout. It must come to a good end."""
        return self.printed(await self.runs(code))

    async def runs(self, code: str) -> MsgId:
        msg_id = await self.started.run(code)
        reply = self.started.recorder.reply(msg_id)
        assert "ok" == reply.status, "\n".join(reply.traceback)
        return msg_id

    async def tells(self, code: str) -> Any:
        """What the last line, an expression, comes to; as JSON has it."""
        *lines, last = code.strip().split("\n")
        show = f"print(__import__('json').dumps({last}))"
        return json.loads(await self.prints("\n".join([*lines, show])))

    async def raises(self, code: str) -> tuple[str, ...]:
        """The lines of the traceback."""
        reply = self.started.recorder.reply(await self.started.run(code))
        assert "error" == reply.status
        return reply.traceback

    async def asks(self, msg_type: str, *, on: Channel = Channel.SHELL, **content: Any) -> Any:
        """The content of the reply to a request."""
        msg_id = self.sends(msg_type, on=on, **content)
        reply = msg_type.replace("_request", "_reply")
        return (await self.started.recorder.message(reply, msg_id)).content

    def sends(self, msg_type: str, *, on: Channel = Channel.SHELL, **content: Any) -> MsgId:
        msg_id = MsgId(uuid4().hex)
        self.started.kernel.send(
            Request(channel=on, msg_id=msg_id, msg_type=msg_type, content=content)
        )
        return msg_id

    def printed(self, msg_id: MsgId) -> str:
        return self.started.recorder.stdout(msg_id)

    async def interrupted(self, code: str) -> str:
        """The exception with which a cell ends, that is interrupted when it has printed a line."""
        msg_id = self.started.send(code)
        await self.started.printed(msg_id, "\n")
        await self.started.kernel.interrupt()
        return (await self.started.recorder.ended(msg_id)).ename


@dataclass(frozen=True, slots=True)
class Way:
    """How kernels come about, and one kernel for all tests that leave it as they have found it."""

    bench: Bench
    request: Mapping[str, Any]  # fields of `LaunchRequest`
    shared: Answering

    async def another(self, **fields: Any) -> Answering:
        """A kernel of its own; it ends with the test."""
        return Answering(await self.bench.ready(**{**self.request, **fields}))


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them work."""
    folder = tmp_path_factory.mktemp("alike")
    (folder / "work").mkdir()
    (folder / "tmp").mkdir()
    profile = folder / "ipython/profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup/10-first.py").write_text(STARTUP)
    (profile / "ipython_kernel_config.py").write_text(CONFIG)
    spec = folder / "specs" / FLAGGED
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps(_FLAGGED))
    return folder


def request_in(folder: Path) -> dict[str, Any]:
    """With all that a kernel can be told before it starts."""
    env = {
        "A_VARIABLE": "with a value\n",
        "IPYTHONDIR": str(folder / "ipython"),
        "TMPDIR": str(folder / "tmp"),
        "TZ": "Asia/Kathmandu",
    }
    return {"cwd": folder / "work", "env": env}


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def cold(folder: Path) -> AsyncIterator[Way]:
    async with way_of(folder, fork_server=False) as way:
        yield way


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def forked(folder: Path) -> AsyncIterator[Way]:
    async with way_of(folder, fork_server=True) as way:
        yield way


@asynccontextmanager
async def way_of(
    folder: Path, *, fork_server: bool, request: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Way]:
    """With a launcher of its own. `request` is what is to be otherwise, `settings` are those of
    kernels."""
    request = {**request_in(folder), **(request or {})}
    kernels = KernelSettings(
        fork_server=fork_server,
        spec_folders=(folder / "specs",),
        env_secrets=_NOT_OF_PYTEST,
        **settings,
    )
    bench = Bench(LocalLauncher(kernels), Python())
    started = await bench.ready(**request)
    try:
        way = Way(bench, request, Answering(started))
        assert fork_server == ("kernel_gateway.fork_server" in await way.shared.tells(_PARENT))
        yield way
    finally:
        await started.kernel.kill()
        await started.kernel.wait_dead()
        await bench.launcher.close()


@pytest.fixture(scope="package", params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    way: Way = request.getfixturevalue(request.param)
    return way


@pytest.fixture(scope="package")
def kernel(way: Way) -> Answering:
    return way.shared


@pytest_asyncio.fixture(loop_scope="package")
async def own(way: Way) -> AsyncIterator[Answering]:
    """A test's own. It may have ended."""
    own = await way.another()
    yield own
    await own.started.kernel.kill()
    await own.started.kernel.wait_dead()
