"""The engine within a program that is not ours: in a thread with a loop of its own.

Knows the composition root, threads and where configuration is found. The program may have a loop
that runs in the calling thread, settings of its interpreter, and a person who presses Ctrl-C.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from jupyter_core.paths import jupyter_config_path
from traitlets import TraitError
from traitlets.config import Config
from traitlets.config.loader import ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader

from kernel_gateway import app
from kernel_gateway.config import read_settings
from kernel_gateway.errors import Refused
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.runner import NotebookRunner, Stop
from kernel_gateway.service import LOCAL_OWNER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kernel_gateway.config import Settings
    from kernel_gateway.notebook.job import NotebookJob
    from kernel_gateway.notebook.runner import Event, NotebookResult
    from kernel_gateway.notebook.saving import Sink

T = TypeVar("T")


def run(job: NotebookJob, sink: Sink, tell: Callable[[Event], None]) -> NotebookResult:
    """Blocks. The first Ctrl-C interrupts the cell, the second ends the run; either way the output
    is complete when `KeyboardInterrupt` goes on."""
    stopping = Stopping()

    async def whole(engine: LocalEngine) -> NotebookResult:
        runner = NotebookRunner(engine, job, sink, tell)
        stopping.obey(runner.stop)
        return await runner.run()

    return in_thread(whole, stopping.interrupt)


def in_thread(
    work: Callable[[LocalEngine], Awaitable[T]], interrupt: Callable[[], None] = lambda: None
) -> T:
    """What `work` makes of an engine that is there for it alone."""
    app.refuse_twin_distribution()
    with _interpreter:
        return _Thread(work, settings()).result(interrupt)


def settings() -> Settings:
    """Those of the commands, from the same files and variables."""
    config = Config()
    for folder in [*reversed(jupyter_config_path()), str(Path.cwd())]:
        for kind, suffix in ((PyFileConfigLoader, "py"), (JSONFileConfigLoader, "json")):
            loader = kind(f"kernel_gateway_config.{suffix}", path=folder)
            try:
                config.merge(loader.load_config())
            except ConfigFileNotFound:
                continue
    try:
        return read_settings(config)
    except TraitError as fault:
        raise Refused(f"The configuration of the gateway: {fault}") from None


class Stopping:
    """What Ctrl-C asks of a run, also before there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[Stop] = []
        self._stop: Callable[[Stop], None] | None = None

    def obey(self, stop_run: Callable[[Stop], None]) -> None:
        """Within the loop of the run, in whose thread it is stopped."""
        loop = asyncio.get_running_loop()

        def stop(how: Stop) -> None:
            with suppress(RuntimeError):  # the loop is closed: the run was over before
                loop.call_soon_threadsafe(stop_run, how)

        with self._lock:
            self._stop = stop
            for how in self._asked:
                stop(how)

    def interrupt(self) -> None:
        with self._lock:
            how = Stop.FORCE if self._asked else Stop.INTERRUPT
            self._asked.append(how)
            if self._stop is not None:
                self._stop(how)


class _Thread(Generic[T]):
    """Starts at once."""

    def __init__(self, work: Callable[[LocalEngine], Awaitable[T]], settings: Settings) -> None:
        self._work = work
        self._settings = settings
        self._result: list[T] = []
        self._fault: BaseException | None = None
        self._over = threading.Event()  # `join` takes a thread for dead after Ctrl-C
        self._thread = threading.Thread(target=self._run, name="kernel-gateway-execute")
        self._thread.start()

    def result(self, interrupt: Callable[[], None]) -> T:
        """Also when Ctrl-C comes again while the one before is passed on."""
        interrupted: KeyboardInterrupt | None = None
        passed_on = True
        while not (self._over.is_set() and passed_on):
            try:
                if not passed_on:
                    interrupt()
                    passed_on = True
                self._over.wait()
            except KeyboardInterrupt as fault:
                interrupted, passed_on = fault, False
        self._thread.join()
        if interrupted is not None:
            raise interrupted
        if self._fault is not None:
            raise self._fault
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(asyncio.run(self._within_engine()))
        except BaseException as fault:
            self._fault = fault
        finally:
            self._over.set()

    async def _within_engine(self) -> T:
        async with app.local_service(self._settings) as service:
            return await self._work(LocalEngine(service, LOCAL_OWNER))


class _Lent:
    """The interpreter. The engine sets it up for itself (`app.prepare_process`); when the last of
    the calls that run at the same time is over, it is as it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._before = (sys.getswitchinterval(), gc.get_threshold())

    def __enter__(self) -> None:
        with self._lock:
            if not self._calls:
                self._before = (sys.getswitchinterval(), gc.get_threshold())
            self._calls += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls:
                interval, threshold = self._before
                sys.setswitchinterval(interval)
                gc.set_threshold(*threshold)


_interpreter = _Lent()
