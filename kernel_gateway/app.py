"""The composition root: builds launcher, store, engine and doors, and takes them down in order.

Decides nothing. Knows every package; nobody but the commands knows this module. What serves HTTP is
imported in `serve` only: a command that runs code in process needs none of it. Engine and store are
imported in `_engine`, while the first kernel comes up.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import re
import shutil
import signal
import sys
import uuid
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from enum import Enum, auto
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.errors import GatewayError, NotebookUnwritable, Refused
from kernel_gateway.execution.kernelspecs import specs_view
from kernel_gateway.kernels.ahead import AheadLauncher
from kernel_gateway.kernels.kernel import Generation, KernelId, LaunchRequest
from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.pool.launcher import WarmLauncher
from kernel_gateway.process_limits import (
    KERNEL_DESCRIPTORS,
    STARTED_WITH,
    descriptors,
    raise_descriptor_limit,
)
from kernel_gateway.service import LOCAL_OWNER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from kernel_gateway.config import Settings
    from kernel_gateway.execution.local import LocalService
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.execution.webhooks import Render
    from kernel_gateway.service import KernelSpecsView, RunRequest, Service
    from kernel_gateway.store.store import Store
    from kernel_gateway.web.server import Server
    from kernel_gateway.webhooks.sender import Sender

log = logging.getLogger("kernel_gateway.app")

DISTRIBUTION = "kernel-gateway"
SWITCH_INTERVAL_S = 0.0005  # the store's thread starved for seconds beside a busy loop without it
GARBAGE_AFTER = 20_000  # objects: to look for cycles after 700 was a third of the cost of a relay
FEW_KERNELS = 100  # for which there is room at the start: that is worth a warning
_FOR_EVER_S = 100 * 366 * 86_400.0
LAST_ANSWERS_S = 2.0  # for calls that are still held when all runs have ended


# -- in process ---------------------------------------------------------------------------------


def headless_folders(settings: Settings) -> Path:
    """Of all commands that have an engine of their own, alive or not."""
    return settings.data_dir / "headless"


def headless_folder(settings: Settings) -> Path:
    """For one more of them."""
    return headless_folders(settings) / str(uuid.uuid4())


@asynccontextmanager
async def local_service(
    settings: Settings,
    folder: Path | None = None,
    *,
    kernels: int = 1,
    first: Callable[[KernelSpecsView], RunRequest] | None = None,
) -> AsyncIterator[Service]:
    """The engine for one command, with a store of its own in a new `headless_folder`.

    `kernels` is how many it will have, one after the other or at a time: for one alone a fork
    server would take longer to start than the kernel. `first` tells what it will be asked for
    first: that kernel comes up while the engine does. An error of ours that it raises is told to
    who asks then.

    The folder is removed at the end. When the result could not be written, and after a fault of
    ours, it stays, and a line says where: the log of the run is in it.
    """
    prepare_process()
    folder = folder or headless_folder(settings)
    # What was run first is not to expire before the last is over, nor before it is recovered.
    # It knows what it runs: nothing is started for whoever comes next.
    engine = replace(settings.engine, retention_s=_FOR_EVER_S, warm={})
    try:
        alone = settings if kernels > 1 else _without_fork_server(settings)
        alone = replace(alone, engine=engine)
        async with _engine(alone, folder, found=_Found.NOTHING, first=first) as service:
            yield service
    except BaseException as fault:
        lost_result = isinstance(fault, NotebookUnwritable) and service.has_run
        if lost_result or not isinstance(fault, _EXPECTED):
            log.warning("The log of the run is kept in %s", folder)
            raise
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise
    await asyncio.to_thread(shutil.rmtree, folder)


@asynccontextmanager
async def left_service(settings: Settings, folder: Path) -> AsyncIterator[Service]:
    """The engine over what a command has left behind that was killed: its runs are lost by then.

    Raises `Refused` when the command is alive, and when there is no such folder. The folder stays.
    """
    if not await asyncio.to_thread(folder.is_dir):
        raise Refused("There is nothing left in it.")
    prepare_process()
    engine = replace(settings.engine, retention_s=_FOR_EVER_S, warm={})
    past = replace(_without_fork_server(settings), engine=engine)
    async with _engine(past, folder, found=_Found.LEFT) as service:
        yield service


def _without_fork_server(settings: Settings) -> Settings:
    return replace(settings, kernels=replace(settings.kernels, fork_server=False))


def left_files(folder: Path) -> Path | None:
    """Where files lie that code has left there before it was killed, if there are any. Blocks."""
    kept = _artifacts(folder)
    return kept if any(not path.is_dir() for path in kept.rglob("*")) else None


#: Ends that need no looking into: what was asked cannot be done, or somebody has stopped us.
_EXPECTED = (GatewayError, OSError, SystemExit, KeyboardInterrupt, asyncio.CancelledError)


class _Found(Enum):
    """What an engine finds in its folder."""

    NOTHING = auto()  # it was made for it
    OWN = auto()  # what it was when it ended, or was killed
    LEFT = auto()  # of a command that was killed: files are kept that no run has taken yet


@asynccontextmanager
async def _engine(
    settings: Settings,
    folder: Path,
    *,
    sender: Sender | None = None,
    render: Render | None = None,
    found: _Found = _Found.OWN,
    first: Callable[[KernelSpecsView], RunRequest] | None = None,
) -> AsyncIterator[LocalService]:
    """Each part is closed even if the closing of another fails; the store last."""
    engine = replace(
        settings.engine,
        sessions_dir=folder / "sessions",
        artifacts_dir=None if found is _Found.LEFT else _artifacts(folder),
    )
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(_make_private, folder)
        launching = await stack.enter_async_context(AsyncExitStack())
        local = LocalLauncher(settings.kernels)
        warm = WarmLauncher(
            local,
            settings.engine.warm,
            folder=folder / "warm",
            owner=LOCAL_OWNER,
            memory=settings.engine.warm_memory,
            most=settings.engine.max_kernels,
        )
        launcher = AheadLauncher(warm)
        launching.push_async_callback(launcher.close)
        local.prepare(LOCAL_OWNER)
        ids = _ids() if first is None else await _launch_ahead(launcher, first, engine)
        service_type, store_type = await asyncio.to_thread(_imported)
        store = await store_type.open(replace(settings.store, folder=folder))
        stack.push_async_callback(store.close)
        stack.push_async_exit(launching.pop_all())  # now: what becomes of kernels is to be stored
        service = service_type(
            launcher, store, engine, new_id=ids.__next__, sender=sender, render=render
        )
        stack.push_async_callback(service.close)
        await service.start(is_new=found is _Found.NOTHING)
        await warm.start()
        yield service


def _imported() -> tuple[type[LocalService], type[Store]]:
    """They take longer than all else that a command imports. Blocks."""
    from kernel_gateway.execution.local import LocalService
    from kernel_gateway.store.store import Store

    return LocalService, Store


async def _launch_ahead(
    launcher: AheadLauncher,
    first: Callable[[KernelSpecsView], RunRequest],
    settings: EngineSettings,
) -> Iterator[str]:
    """The IDs for an engine that will ask for this kernel first."""
    kernel_id = str(uuid.uuid4())
    try:
        asked = first(await asyncio.to_thread(specs_view, launcher))
    except GatewayError as fault:
        log.debug("nothing is launched ahead: %s", fault)
        return _ids()
    launcher.launch_ahead(
        LaunchRequest(
            kernel_id=KernelId(kernel_id),
            generation=Generation(1),
            spec_name=asked.kernel_name or launcher.default_spec(),
            owner=LOCAL_OWNER,
            cwd=asked.cwd,
            env=asked.env,
            artifact_dir=settings.artifact_dir(kernel_id),
            start_limit_s=settings.own_start_limit_s(asked.plan.limits.start),
        )
    )
    return chain([kernel_id], _ids())


def _ids() -> Iterator[str]:
    while True:
        yield str(uuid.uuid4())


def _artifacts(folder: Path) -> Path:
    return folder / "artifacts"


def _make_private(folder: Path) -> None:
    """Parents as well, as far as we make them."""
    for one in [*reversed(folder.parents), folder]:
        try:
            one.mkdir(mode=0o700, exist_ok=True)
        except OSError as fault:
            raise Refused(f"The folder {one} cannot be made: {fault.strerror}.") from fault


# -- as a server --------------------------------------------------------------------------------


async def serve(settings: Settings, *, version: str, announce: Callable[[Server], None]) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns the exit code.

    `announce` is called once, when the first request can come.
    """
    # Imported here: see above.
    from kernel_gateway.web import render
    from kernel_gateway.web.application import make_application
    from kernel_gateway.web.handler import Calls
    from kernel_gateway.web.server import Server
    from kernel_gateway.webhooks.http import HttpSender

    prepare_process()
    record_json = functools.partial(render.record_json, base_url=settings.web.base_url)
    with _stop_signals() as stop:
        async with AsyncExitStack() as stack:
            sender = await asyncio.to_thread(HttpSender, settings.engine.webhooks)
            stack.callback(sender.close)
            service = await stack.enter_async_context(
                _engine(settings, settings.data_dir, sender=sender, render=record_json)
            )
            server = await asyncio.to_thread(Server, settings.web)
            stack.push_async_callback(server.close)
            calls = Calls()
            application = make_application(
                service, settings.web, version=version, calls=calls, keys=service
            )
            server.serve(application)
            announce(server)
            tell_room()
            await stop.asked.wait()
            await _drain(service, stop, settings.drain_s)
            await service.close()  # ends what is left; those who wait for it get their answer
            await calls.over(LAST_ANSWERS_S)
    return 130 if stop.at_once.is_set() else 0


def tell_room() -> None:
    now = descriptors()
    kernels = max(0, now.free - now.kept_back) // KERNEL_DESCRIPTORS
    room = "Room for %d kernels, or for clients in their place: %s are in use; it began with %d."
    tell = log.info if kernels >= FEW_KERNELS else log.warning
    tell(room, kernels, now, STARTED_WITH)


async def _drain(service: LocalService, stop: _Stop, limit_s: float) -> None:
    """Nothing new is taken; running code may come to its end."""
    service.drain()
    if running := service.runs_in_flight:
        log.warning("Waiting up to %g s for %d runs. Ctrl-C ends them.", limit_s, running)
    waiting = {asyncio.create_task(service.idle()), asyncio.create_task(stop.at_once.wait())}
    _, pending = await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(waiting)


class _Stop:
    """What signals have asked for."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()

    def receive(self, number: signal.Signals) -> None:
        if self.asked.is_set() and number is signal.SIGINT:
            self.at_once.set()
        elif not self.asked.is_set():
            log.warning("%s: shutting down", number.name)
        self.asked.set()


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    loop = asyncio.get_running_loop()
    stop = _Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, functools.partial(stop.receive, number))
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


# -- the process --------------------------------------------------------------------------------


def prepare_process() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(GARBAGE_AFTER)
    raise_descriptor_limit()


def refuse_twin_distribution() -> None:
    """`jupyter_kernel_gateway` installs a package `kernel_gateway` too, and pip lets one overwrite
    the other without a word: what is left is a mixture. Raises `Refused`."""
    others = sorted(distributions_of("kernel_gateway") - {DISTRIBUTION})
    if others:
        raise Refused(
            f"Another distribution installs the package kernel_gateway too: {', '.join(others)}. "
            f"Remove both and install ours again: pip uninstall {' '.join(others)} {DISTRIBUTION}; "
            f"pip install {DISTRIBUTION}"
        )


def distributions_of(package: str) -> set[str]:
    """Names of the installed distributions that have files in the top-level `package`.

    The same answer as `importlib.metadata.packages_distributions()`, which parses the list of files
    of every distribution there is; here each list is only searched for the one name.
    """
    names = (
        _distribution_name(entry.name)
        for folder in dict.fromkeys(sys.path)
        for entry in _metadata_folders(folder)
        if _installs(Path(entry.path), package)
    )
    return set(names)


def _metadata_folders(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder or ".") as entries:
            return [one for one in entries if one.name.endswith((".dist-info", ".egg-info"))]
    except OSError:  # sys.path names zip files, and folders that are not there
        return []


def _installs(metadata: Path, package: str) -> bool:
    name = re.escape(package.encode())
    return _has_line(metadata / "RECORD", rb"\"?%s/" % name) or _has_line(
        metadata / "top_level.txt", rb"%s\s*$" % name
    )


def _has_line(file: Path, beginning: bytes) -> bool:
    try:
        return re.search(rb"^" + beginning, file.read_bytes(), re.MULTILINE) is not None
    except OSError:  # not every installer writes both
        return False


def _distribution_name(folder: str) -> str:
    """As pip shows it: `jupyter_kernel_gateway-3.0.1.dist-info` is `jupyter-kernel-gateway`."""
    return re.sub(r"[-_.]+", "-", folder.rpartition(".")[0].partition("-")[0]).lower()
