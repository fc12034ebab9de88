"""`kernel-gateway run`: a notebook on a kernel of its own, in process."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Float, Unicode

from kernel_gateway import app
from kernel_gateway.commands.base import ALIASES, FLAGS, Command, UsageError, version
from kernel_gateway.commands.progress import Progress, Screen, summary
from kernel_gateway.errors import NotebookUnreadable, NotebookUnwritable
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.exits import exit_code
from kernel_gateway.notebook.plan import PlanOptions, code_cells
from kernel_gateway.notebook.runner import NotebookJob, NotebookRunner, Stop
from kernel_gateway.notebook.saving import FileSink, StreamSink
from kernel_gateway.runs.plan import Limits
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import LOCAL_OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel_gateway.config import Settings
    from kernel_gateway.notebook.document import Source
    from kernel_gateway.notebook.runner import NotebookResult
    from kernel_gateway.notebook.saving import Sink

_TICK_S = 0.5  # between two looks at the clock in the moving line
_STANDARD = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the command line asks for."""

    job: NotebookJob
    sink: Sink
    output: str  # where that is, for people
    log_output: bool


class RunApp(Command):
    name = "kernel-gateway run"
    description = """
        Run a notebook and write what became of it to another.

        kernel-gateway run [options] IN.ipynb [OUT.ipynb]

        Without OUT the output of report.ipynb is report.out.ipynb beside it; the input is written
        only if it is named twice. The output is there from the start, grows while the notebook
        runs, and is complete after any end. - stands for standard input and standard output.

        Exit codes: 0 all cells are ok · 1 a cell failed · 2 usage, or an unreadable notebook ·
        3 no such kernel · 4 the kernel did not start · 5 a limit struck · 6 the kernel died ·
        7 a cell asked for input · 130 interrupted · 143 terminated. The first Ctrl-C interrupts
        the cell and the run ends when it has; the second does not wait for it.
    """
    examples = """
        kernel-gateway run report.ipynb
        kernel-gateway run report.ipynb out/report.ipynb --cell-timeout=600
        kernel-gateway run -k ir analysis.ipynb - > result.ipynb
    """
    kernel = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Kernelspec. Default: the one that the notebook names, else one of its language, "
        "else Kernels.default_spec.",
    )
    cwd = Unicode(
        ".",
        config=True,
        help="Folder in which the kernel starts; 'notebook' is the notebook's own.",
    )
    cell_timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that one cell may take. Default: no limit.",
    )
    timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that all cells together may take. Default: no limit.",
    )
    idle_timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that a cell may go without any output. Default: no limit.",
    )
    start_timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that the kernel may take to come up. Default: Runs.start_limit_s.",
    )
    allow_errors = Bool(
        False,
        config=True,
        help="Go on after a cell that fails, as after one with the tag raises-exception.",
    )
    log_output = Bool(
        False, config=True, help="Show the text that cells print on stderr while they run."
    )
    aliases: dict[Any, Any] = {
        **ALIASES,
        ("k", "kernel"): "RunApp.kernel",
        "cwd": "RunApp.cwd",
        "cell-timeout": "RunApp.cell_timeout",
        "timeout": "RunApp.timeout",
        "idle-timeout": "RunApp.idle_timeout",
        "start-timeout": "RunApp.start_timeout",
    }
    flags: dict[Any, Any] = {
        **FLAGS,
        "allow-errors": ({"RunApp": {"allow_errors": True}}, allow_errors.help),
        "log-output": ({"RunApp": {"log_output": True}}, log_output.help),
    }

    def run(self) -> int:
        order = self._order()
        app.refuse_twin_distribution()
        return asyncio.run(_run(self.read_settings(), order))

    def _order(self) -> _Order:
        if not 1 <= len(self.extra_args) <= 2:
            raise UsageError(
                f"A notebook and perhaps an output are needed, not {len(self.extra_args)} names: "
                "kernel-gateway run IN.ipynb [OUT.ipynb]"
            )
        notebook, *rest = self.extra_args
        output = rest[0] if rest else _default_output(notebook)
        return _Order(
            job=self._job(notebook),
            sink=_sink(output),
            output="standard output" if output == _STANDARD else output,
            log_output=self.log_output,
        )

    def _job(self, notebook: str) -> NotebookJob:
        return NotebookJob(
            source=_read(notebook),
            version=version(),
            options=PlanOptions(
                allow_errors=self.allow_errors,
                limits=Limits(
                    step=self._seconds("cell_timeout"),
                    run=self._seconds("timeout"),
                    idle=self._seconds("idle_timeout"),
                ),
            ),
            kernel_name=self.kernel,
            cwd=self._folder(notebook),
            start_limit_s=self._seconds("start_timeout"),
        )

    def _seconds(self, name: str) -> float | None:
        value: float | None = getattr(self, name)
        if value is not None and not value > 0:  # nan is not
            raise UsageError(f"--{name.replace('_', '-')} must be above 0.")
        return value

    def _folder(self, notebook: str) -> Path:
        folder = Path(self.cwd).expanduser().absolute()
        if self.cwd == "notebook":
            folder = Path(notebook).expanduser().absolute().parent
        if not folder.is_dir():
            raise UsageError(f"There is no folder {str(folder)!r}.")
        return folder


# -- files -----------------------------------------------------------------------------------------


def _default_output(notebook: str) -> str:
    """`report.out.ipynb` for `report.ipynb`. Whoever wants to overwrite the input says so."""
    if notebook == _STANDARD:
        return _STANDARD
    path = Path(notebook)
    return str(path.with_name(f"{path.name.removesuffix('.ipynb')}.out.ipynb"))


def _read(notebook: str) -> Source:
    try:
        data = (
            sys.stdin.buffer.read()
            if notebook == _STANDARD
            else Path(notebook).expanduser().read_bytes()
        )
    except OSError as fault:
        raise UsageError(f"{notebook} cannot be read: {fault.strerror}.") from fault
    try:
        return read(data)
    except NotebookUnreadable as fault:
        raise UsageError(f"{notebook} cannot be run. {fault.message}") from fault


def _sink(output: str) -> Sink:
    if output == _STANDARD:
        return StreamSink(sys.stdout.buffer)
    path = Path(output).expanduser()
    if path.is_dir():
        raise UsageError(f"The output {output} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"The output {output} has no folder: make {path.parent} first.")
    if path.exists() and not path.is_file():  # a device or a pipe
        try:
            return StreamSink(path.open("wb"))
        except OSError as fault:
            raise UsageError(f"{output} cannot be written: {fault.strerror}.") from fault
    return FileSink(path)


# -- the run ---------------------------------------------------------------------------------------


async def _run(settings: Settings, order: _Order) -> int:
    began = time.monotonic()
    codes = [cell["source"] for cell in code_cells(order.job.source.notebook)]
    screen = Screen(sys.stderr, len(codes))
    progress = Progress(screen, codes, log_output=order.log_output)
    signals = _Signals()
    try:
        with signals.caught():
            async with app.local_service(settings) as service:
                runner = NotebookRunner(service, LOCAL_OWNER, order.job, order.sink, progress.tell)
                signals.obey(runner)
                result = await _shown(runner, screen)
    except NotebookUnwritable as fault:
        if progress.begun:
            raise
        raise UsageError(f"{order.output}: {fault.message}") from fault
    finally:
        screen.close()
    screen.line(summary(result, time.monotonic() - began, order.output))
    return signals.exit_code(result)


async def _shown(runner: NotebookRunner, screen: Screen) -> NotebookResult:
    """Run it while the clock on the screen goes on."""
    ticking = asyncio.create_task(_tick(screen))
    try:
        return await runner.run()
    finally:
        ticking.cancel()
        await asyncio.wait({ticking})


async def _tick(screen: Screen) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        screen.tick()


class _Signals:
    """What signals ask of a run, also before there is one."""

    def __init__(self) -> None:
        self._asked: list[Stop] = []
        self._ended_by: signal.Signals | None = None
        self._runner: NotebookRunner | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._terminate, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def obey(self, runner: NotebookRunner) -> None:
        self._runner = runner
        for how in self._asked:
            runner.stop(how)

    def exit_code(self, result: NotebookResult) -> int:
        if result.outcome is Outcome.CANCELLED and self._ended_by is not None:
            return 128 + self._ended_by
        return exit_code(result.outcome, result.reason.code)

    def _interrupt(self) -> None:
        """The first is for the code, which may make something of it; the second ends it."""
        self._stop(Stop.FORCE if self._asked else Stop.INTERRUPT)

    def _terminate(self, number: signal.Signals) -> None:
        self._ended_by = self._ended_by or number
        self._stop(Stop.TERMINATE)

    def _stop(self, how: Stop) -> None:
        self._asked.append(how)
        if self._runner is not None:
            self._runner.stop(how)
