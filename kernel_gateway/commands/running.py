"""What `kernel-gateway run` does when it knows what is wanted: the runs, what is seen of them while
they go on, and what is made of them afterwards.

Knows the engine, signals, the screen and the reports. Must not know options.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from kernel_gateway.commands.answers import Terminal
from kernel_gateway.commands.base import REFUSED, USAGE, UsageError
from kernel_gateway.commands.progress import Part, Progress, Screen
from kernel_gateway.commands.recording import JsonEvents, Recorded, RecordFile
from kernel_gateway.commands.summary import summary, table
from kernel_gateway.errors import NotebookUnwritable, Refused
from kernel_gateway.notebook.batch import Batch, Retries
from kernel_gateway.notebook.exits import exit_code
from kernel_gateway.notebook.plan import code_cells
from kernel_gateway.notebook.rendering import render
from kernel_gateway.notebook.report import Suite, junit
from kernel_gateway.notebook.runner import Stop
from kernel_gateway.notebook.saving import FileSink
from kernel_gateway.runs.view import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from kernel_gateway.notebook.batch import BatchEvent, Done, Keeper, Order
    from kernel_gateway.notebook.engine import Engine
    from kernel_gateway.notebook.rendering import Form
    from kernel_gateway.notebook.saving import CopySink

_TICK_S = 0.5  # between two looks at the clock in the moving line


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One notebook, and what is to be made of its output."""

    order: Order
    copy: CopySink | None = None  # of the output, to make pages of
    pages: tuple[tuple[Form, Path], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    items: tuple[Item, ...]
    jobs: int = 1
    retries: Retries = field(default_factory=Retries)
    report: Path | None = None  # JUnit
    records: Path | None = None  # all of them
    log_output: bool = False
    as_json: bool = False
    stdin: bool = False  # somebody answers there when a cell asks
    note: str = ""  # to be said first

    @property
    def orders(self) -> list[Order]:
        return [item.order for item in self.items]


async def run_all(
    opened: AbstractAsyncContextManager[Engine], wanted: Wanted, keeper: Keeper | None
) -> int:
    """The exit code: that of the first notebook, in their order, that did not end well."""
    record_file = _record_file(wanted.records)
    signals = Signals()
    view = _View(wanted, signals, is_kept=keeper is not None)
    work = _Work(wanted, view, signals)
    try:
        with signals.caught():
            async with opened as engine:
                recorded = engine if record_file is None else Recorded(engine, record_file)
                await work.do(recorded, keeper)
                work.raise_unwritten()
    except NotebookUnwritable:  # the engine has said where its log is kept
        pass
    finally:
        view.close()
        if record_file is not None:
            record_file.close()
    view.conclude(work.all_done, work.faults)
    return work.exit_code()


def _record_file(path: Path | None) -> RecordFile | None:
    try:
        return None if path is None else RecordFile(path)
    except OSError as fault:
        raise UsageError(f"{path} cannot be written: {fault.strerror}.") from fault


class _View:
    """What is seen of it: on stderr, or as JSON on stdout."""

    def __init__(self, wanted: Wanted, signals: Signals, *, is_kept: bool) -> None:
        """`is_kept`: what cannot be written now can be finished later."""
        self._is_kept = is_kept
        codes = {order.name: _codes(order) for order in wanted.orders}
        self._screen = Screen(sys.stderr, sum(map(len, codes.values())))
        self._events: JsonEvents | None = None
        self._is_one = len(wanted.items) == 1
        self._progresses: dict[str, Progress] = {}
        if wanted.as_json:
            self._events = JsonEvents(
                sys.stdout, log_output=wanted.log_output, exit_code=signals.exit_code
            )
        else:
            self._progresses = {
                name: Progress(
                    self._screen if self._is_one else Part(self._screen, name),
                    of_one,
                    log_output=wanted.log_output,
                )
                for name, of_one in codes.items()
            }
        if wanted.note:
            self._screen.line(wanted.note)

    def tell(self, order: Order, event: BatchEvent) -> None:
        if self._events is not None:
            self._events.tell(order, event)
        else:
            self._progresses[order.name].tell(event)

    def terminal(self) -> Terminal:
        """For what runs ask of whom it is shown."""
        return Terminal(self._screen)

    async def tick(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._screen.tick()

    def close(self) -> None:
        self._screen.close()

    def conclude(self, all_done: Sequence[Done], faults: Sequence[str]) -> None:
        if self._events is None:
            for line in _one(all_done[0]) if self._is_one else table(all_done):
                self._screen.line(line)
            for done in all_done:
                if line := done.brought.line(done.order.homes):
                    self._screen.line(line)
        unwritten = (done.order.file for done in all_done if done.fault is not None and done.begun)
        if self._is_kept and any(unwritten):
            self._screen.line("When it can be written: kernel-gateway recover")
        for fault in faults:
            self._screen.line(fault)


def _codes(order: Order) -> list[str]:
    return [cell["source"] for cell in code_cells(order.job.source.notebook)]


def _one(done: Done) -> list[str]:
    if done.result is None:
        return [f"{done.order.name}: {done.fault}"]
    return [summary(done.result, done.duration_s, done.order.name, done.attempt)]


class _Work:
    """The runs, and the reports of them."""

    def __init__(self, wanted: Wanted, view: _View, signals: Signals) -> None:
        self._wanted = wanted
        self._view = view
        self._signals = signals
        self._rendering: asyncio.Timeout | None = None
        self._is_cut_short = False
        self.all_done: list[Done] = []
        self.faults: list[str] = []  # of reports

    async def do(self, engine: Engine, keeper: Keeper | None) -> None:
        wanted = self._wanted
        batch = Batch(
            engine,
            self._answered(wanted.orders),
            self._view.tell,
            jobs=wanted.jobs,
            retries=wanted.retries,
            keeper=keeper,
        )
        self._signals.obey(partial(self._stop, batch))
        ticking = asyncio.create_task(self._view.tick())
        try:
            self.all_done = await batch.run()
            await self._report()
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})

    def _stop(self, batch: Batch, how: Stop) -> None:
        batch.stop(how)
        if how is not Stop.INTERRUPT and self._rendering is not None:
            self._rendering.reschedule(asyncio.get_running_loop().time())
            self._rendering = None

    def _answered(self, orders: list[Order]) -> list[Order]:
        if not self._wanted.stdin:
            return orders
        terminal = self._view.terminal()
        return [
            replace(order, answers=partial(terminal.of, order.name if len(orders) > 1 else None))
            for order in orders
        ]

    def raise_unwritten(self) -> None:
        """An output that is not there is only in the log: its engine is to keep that."""
        for done in self.all_done:
            if done.fault is not None and done.begun:
                raise done.fault

    def exit_code(self) -> int:
        codes = map(self._signals.exit_code, self.all_done)
        if code := next(filter(None, codes), 0):
            return code
        if self._is_cut_short:
            return self._signals.own_code
        return REFUSED if self.faults else 0

    # -- reports -----------------------------------------------------------------------------------

    async def _report(self) -> None:
        """Of failed runs as well. A report that cannot be made is no reason not to make others."""
        if self._wanted.report is not None:
            await self._junit(self._wanted.report)
        try:
            async with asyncio.timeout(None) as self._rendering:
                await self._pages()
        except TimeoutError:
            self._is_cut_short = True
            self.faults.append("Not all pages were made: it was stopped.")
        self._rendering = None

    async def _pages(self) -> None:
        room = asyncio.Semaphore(self._wanted.jobs)
        async with asyncio.TaskGroup() as tasks:
            for item, done in zip(self._wanted.items, self.all_done, strict=True):
                for form, path in item.pages if done.result is not None else ():
                    tasks.create_task(self._page(item, form, path, room))

    async def _page(self, item: Item, form: Form, path: Path, room: asyncio.Semaphore) -> None:
        assert item.copy is not None
        try:
            async with room:
                await render(item.copy.last, form, path)
        except Refused as fault:
            self.faults.append(fault.message)
        except OSError as fault:  # no process, no room for its files
            self.faults.append(f"{path} was not made: {fault.strerror or fault}.")

    async def _junit(self, path: Path) -> None:
        suites = [
            Suite(
                name=done.order.name,
                notebook=done.notebook,
                result=done.result,
                attempt=done.attempt,
                fault=done.fault,
            )
            for done in self.all_done
        ]
        try:
            await asyncio.to_thread(lambda: FileSink(path).save(junit(suites)))
        except OSError as fault:
            self.faults.append(f"{path} cannot be written: {fault.strerror}.")


class Signals:
    """What signals ask of runs, also before there are any."""

    def __init__(self) -> None:
        self._asked: list[Stop] = []
        self._ended_by: signal.Signals | None = None
        self._stop_all: Callable[[Stop], None] | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """But for those that are ignored: who has started us, as nohup does, wants it so."""
        loop = asyncio.get_running_loop()
        meant: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGINT: self._interrupt,
            signal.SIGTERM: partial(self._terminate, signal.SIGTERM),
            signal.SIGHUP: partial(self._terminate, signal.SIGHUP),
        }
        heard = [number for number in meant if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heard:
            loop.add_signal_handler(number, meant[number])
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)

    def obey(self, stop_all: Callable[[Stop], None]) -> None:
        self._stop_all = stop_all
        for how in self._asked:
            stop_all(how)

    @property
    def own_code(self) -> int:
        """Of a process that they have ended."""
        return 128 + (self._ended_by or signal.SIGINT)

    def exit_code(self, done: Done) -> int:
        """Were there no other notebook."""
        result = done.result
        if result is None:
            return REFUSED if done.begun else USAGE
        if result.outcome is Outcome.CANCELLED and self._ended_by is not None:
            return self.own_code
        code = exit_code(result.outcome, result.reason.code)
        return self.own_code if not code and done.brought.is_cut_short else code

    def _interrupt(self) -> None:
        """The first is for the code, which may make something of it; the second ends it."""
        self._stop(Stop.FORCE if self._asked else Stop.INTERRUPT)

    def _terminate(self, number: signal.Signals) -> None:
        self._ended_by = self._ended_by or number
        self._stop(Stop.TERMINATE)

    def _stop(self, how: Stop) -> None:
        self._asked.append(how)
        if self._stop_all is not None:
            self._stop_all(how)
