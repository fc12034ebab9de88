"""`kernel-gateway exec`: code on a kernel of its own, in process, as a program would run it."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from traitlets import Float, Unicode

from kernel_gateway import app
from kernel_gateway.commands.base import ALIASES, INTERRUPTED, Command, UsageError
from kernel_gateway.commands.showing import (
    BROKEN_PIPE,
    CODES,
    Shown,
    exit_code,
)
from kernel_gateway.commands.terminal import Lines, Screen, forget_stdout
from kernel_gateway.errors import Conflict
from kernel_gateway.runs import records
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import LOCAL_OWNER, KernelRequest, RunRequest, Seq

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from kernel_gateway.config import Settings
    from kernel_gateway.service import RunUid, Service

T = TypeVar("T")

_POLL_S = 60.0  # one wait for records; a new one follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the command line asks for."""

    code: str
    kernel: str | None
    cwd: Path
    limit_s: float | None
    allow_stdin: bool


class ExecApp(Command):
    name = "kernel-gateway exec"
    description = """
        Run code on a kernel of its own and show its output as it comes.

        The code is the one argument, or standard input when that is - or when there is none. The
        exit code is that of the code: 0, 1 after an exception, the status of sys.exit, 128 and the
        number of the signal that killed the kernel. 124: the time was over; 4: the kernel never
        came up; 3: there is none of that name; 2: usage; 130: ended by Ctrl-C.
    """
    examples = """
        kernel-gateway exec "print(6 * 7)"
        kernel-gateway exec -k ir --timeout=60 - < script.R
        kernel-gateway exec -- "-1"
    """
    kernel = Unicode(
        None, allow_none=True, config=True, help="Kernelspec. Default: Kernels.default_spec."
    )
    timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that the code may take, its kernel's start not counted. Default: no limit.",
    )
    cwd = Unicode(".", config=True, help="Folder in which the kernel starts.")
    aliases: dict[Any, Any] = {
        **ALIASES,
        ("k", "kernel"): "ExecApp.kernel",
        "timeout": "ExecApp.timeout",
        "cwd": "ExecApp.cwd",
    }

    def run(self) -> int:
        job = self._job()
        app.refuse_twin_distribution()
        return asyncio.run(_run(self.read_settings(), job))

    def _job(self) -> Job:
        if len(self.extra_args) > 1:
            raise UsageError(f"One piece of code is taken, not {len(self.extra_args)}. Quote it.")
        argument = self.extra_args[0] if self.extra_args else "-"
        if not self.extra_args and sys.stdin.isatty():
            raise UsageError('Code is needed: kernel-gateway exec "print(6 * 7)", or - to type it.')
        cwd = Path(self.cwd).expanduser().absolute()
        if not cwd.is_dir():
            raise UsageError(f"There is no folder {str(cwd)!r}.")
        if self.timeout is not None and not self.timeout > 0:  # nan is not
            raise UsageError("--timeout must be above 0.")
        return Job(
            code=_checked(sys.stdin.read() if argument == "-" else argument),
            kernel=self.kernel,
            cwd=cwd,
            limit_s=self.timeout,
            allow_stdin=argument != "-",  # else standard input has been read to its end
        )


def _checked(code: str) -> str:
    try:
        code.encode()
    except UnicodeEncodeError:
        raise UsageError("The code is not UTF-8.") from None
    if "\0" in code:
        raise UsageError("The code must not contain NUL.")
    return code


async def _run(settings: Settings, job: Job) -> int:
    console = _Console()
    with _signals(console):  # up to the last: what ends this process must end the kernel too
        async with app.local_service(settings) as service:
            return await console.follow(service, await _submitted(service, job))


async def _submitted(service: Service, job: Job) -> RunUid:
    owner = LOCAL_OWNER
    kernel = await service.create_kernel(owner, KernelRequest(name=job.kernel, cwd=job.cwd))
    plan = RunPlan(
        mode=Mode.QUERY,
        steps=(StepPlan(code=job.code),),
        allow_stdin=job.allow_stdin,
        limits=Limits(run=job.limit_s),
    )
    info = await service.submit(owner, RunRequest(plan=plan, kernel_id=kernel.id))
    return info.uid


class _Console:
    """One run, shown on the terminal until it is over or given up."""

    _service: Service
    _uid: RunUid

    def __init__(self) -> None:
        self._screen = Screen(sys.stdout, sys.stderr)
        self._shown = Shown(self._screen, ExecApp.name)
        self._lines = Lines()
        self._following = False
        self._interrupted = False
        self._given_up: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def follow(self, service: Service, uid: RunUid) -> int:
        """Show everything; returns the exit code when the run is over or given up."""
        self._service, self._uid, self._following = service, uid, True
        showing = self._start(self._show_all())
        ends: set[asyncio.Future[Any]] = {showing, self._given_up}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._following = False
            await self._end_tasks()
        if showing.done() and not showing.cancelled():
            self._look_at(showing)
        if self._given_up.done():
            await self._cancel(grace_s=0.0, escalate=True)  # it may be deaf to anything milder
            return self._given_up.result()
        return exit_code(await service.run(LOCAL_OWNER, uid))

    def _look_at(self, showing: asyncio.Task[None]) -> None:
        """Raises what showing it has raised."""
        try:
            showing.result()
        except BrokenPipeError:  # `... | head`: nobody wants the rest
            forget_stdout()
            self.give_up(BROKEN_PIPE)

    def interrupt(self) -> None:
        """The first is for the code, which may make something of it; the second ends it."""
        if self._interrupted or not self._following:
            self.give_up(INTERRUPTED)
        else:
            self._start(self._cancel(grace_s=None, escalate=False))
        self._interrupted = True

    def give_up(self, exit_code: int) -> None:
        if not self._given_up.done():
            self._given_up.set_result(exit_code)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        return task

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _cancel(self, *, grace_s: float | None, escalate: bool) -> None:
        await self._service.cancel(
            LOCAL_OWNER, self._uid, grace_s=grace_s, escalate=escalate, message="interrupted"
        )

    async def _show_all(self) -> None:
        after = Seq(0)
        finished = False
        while not finished:
            page = await self._service.log(LOCAL_OWNER, self._uid, after=after, wait_s=_POLL_S)
            for record in page.records:
                self._shown.show(record.body)
                act = _ACT.get(type(record.body))
                if act is not None:
                    act(self, record.body)
            after, finished = page.next, page.finished

    # -- input -----------------------------------------------------------------------------------

    def _ask(self, body: records.InputAsked) -> None:
        self._asking = self._start(self._answer(body))

    async def _answer(self, asked: records.InputAsked) -> None:
        line = await self._lines.ask(lambda: self._screen.out(asked.prompt), hidden=asked.password)
        if line is None:
            self._shown.say("the code asks for input and there is no more")
            self.give_up(CODES[Outcome.ERROR])
            return
        self._screen.answered()
        with suppress(Conflict):  # the prompt has gone meanwhile
            await self._service.give_input(LOCAL_OWNER, self._uid, line, asked.prompt_id)

    def _stop_asking(self, body: records.InputAnswered | records.Completed) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None


_ACT: Mapping[type, Callable[[_Console, Any], None]] = {
    records.InputAsked: _Console._ask,
    records.InputAnswered: _Console._stop_asking,
    records.Completed: _Console._stop_asking,
}


@contextmanager
def _signals(console: _Console) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, console.interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, console.give_up, 128 + number)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
