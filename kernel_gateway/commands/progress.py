"""Notebook runs as somebody sees them who waits: on stderr, one line a cell.

Knows the events of runs and how they read. On a terminal there is one line that moves, with the
cell that runs now; elsewhere each cell leaves its line when it is over. Of several runs each line
says whose it is. Must not fail: a terminal that has gone away is no reason to lose a run.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from kernel_gateway.commands.summary import reason
from kernel_gateway.commands.table import harmless
from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.notebook.batch import Done, Retried
from kernel_gateway.notebook.plan import code_cells
from kernel_gateway.notebook.report import first_words
from kernel_gateway.notebook.runner import KernelChosen, NotSaved
from kernel_gateway.runs import records
from kernel_gateway.runs.view import StepOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tqdm import tqdm

    from kernel_gateway.notebook.batch import BatchEvent
    from kernel_gateway.runs.records import Record

_ANSI = re.compile(r"\x1b\[[0-9;]*m")  # colours, the one thing IPython puts into a traceback
_BAR = "{n_fmt}/{total_fmt} cells |{bar:12}| {elapsed} {desc}"


class Screen:
    """stderr, with or without a line at its bottom that moves."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self.is_terminal = stream.isatty() and _columns(stream) != 0
        self._coloured = self.is_terminal and not os.environ.get("NO_COLOR")
        self._stream = stream
        self._rest = ""  # of a line that has no end yet
        self._question: str | None = None  # that waits for its answer, at the bottom
        self._bar = _bar(stream, total) if self.is_terminal else None

    def line(self, text: str) -> None:
        """A line of its own."""
        self.text(("\n" if self._rest else "") + text.rstrip("\n") + "\n")

    def text(self, text: str) -> None:
        """As it comes; above the moving line whole lines only."""
        shown = clean_text(text if self._coloured else _ANSI.sub("", text))
        whole, newline, rest = shown.rpartition("\n")
        if self._question is not None:
            if newline:
                self._write(f"\n{self._rest}{whole}\n{self._question}")
        elif self._bar is None:
            self._write(shown)
        elif newline:
            with suppress(OSError, ValueError):
                self._bar.write(f"{self._rest}{whole}", file=self._stream)
        self._rest = rest if newline else self._rest + rest

    def current(self, words: str) -> None:
        """What the moving line says."""
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.set_description_str(words, refresh=self._question is None)

    def advance(self, cells: int, *, total: int = 0) -> None:
        """So many more are over, or there are; shown with the next words or at the next tick."""
        if self._bar is not None:
            self._bar.n += cells
            self._bar.total = (self._bar.total or 0) + total

    def tick(self) -> None:
        """Time goes on."""
        if self._bar is not None and self._question is None:
            with suppress(OSError, ValueError):
                self._bar.refresh()

    @contextmanager
    def asking(self, prompt: str) -> Iterator[Callable[[], None]]:
        """Somebody is asked, and the moving line stands aside. Gives what shows the question; what
        is said meanwhile comes above it."""
        begun, self._rest = self._rest, ""
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.clear()
        self._question = clean_text(prompt)
        shown = self._question if self._bar is None else begun + self._question
        try:
            yield lambda: self._write(shown)
        finally:
            self._question = None
            if self._bar is None:
                self._write(self._rest)
            self.tick()

    def close(self) -> None:
        """The moving line goes; what is said after it stays."""
        if self._rest:
            self.text("\n")
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(OSError, ValueError):
                bar.close()

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody is there any more
            self._stream.write(text)
            self._stream.flush()


def _columns(stream: TextIO) -> int | None:
    """None when it cannot be told. 0 is what terminals of containers and CI say that have no size:
    a line that moves would show nothing at all there."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None


def _bar(stream: TextIO, total: int) -> tqdm[Any]:
    from tqdm import tqdm  # only a terminal needs it

    tqdm.monitor_interval = 0  # no thread: `tick` is enough
    return tqdm(total=total, desc="", bar_format=_BAR, file=stream, leave=False, dynamic_ncols=True)


class Part:
    """The share that one run has of the screen of several."""

    def __init__(self, screen: Screen, name: str) -> None:
        self.is_terminal = screen.is_terminal
        self._screen = screen
        self._name = harmless(name)
        self._rest = ""  # of a line that has no end yet: the next text may be another run's

    def line(self, text: str) -> None:
        self.flush()
        text = text.rstrip("\n")
        own_line = "\n" in text  # a traceback is easier to read at the left
        self._screen.line(f"{self._name}:\n{text}" if own_line else f"{self._name}: {text}")

    def text(self, text: str) -> None:
        """Whole lines only."""
        whole, newline, self._rest = f"{self._rest}{text}".rpartition("\n")
        if newline:
            self._screen.text("".join(f"{self._name}: {one}\n" for one in whole.split("\n")))

    def flush(self) -> None:
        """What has no end has one now."""
        if self._rest:
            self.text("\n")

    def current(self, words: str) -> None:
        self._screen.current(f"{self._name}: {words}")

    def advance(self, cells: int, *, total: int = 0) -> None:
        self._screen.advance(cells, total=total)


class Progress:
    """Follows one run. `codes` are the cells, in the order of the steps."""

    def __init__(self, screen: Screen | Part, codes: Sequence[str], *, log_output: bool) -> None:
        self._screen = screen
        self._codes = codes
        self._log_output = log_output
        self._tried = False  # before
        self._done = 0
        self._since: dict[int, float] = {}
        self._errors: dict[int, records.ErrorRaised] = {}

    def tell(self, event: BatchEvent) -> None:
        if isinstance(event, KernelChosen):
            self._kernel(event)
        elif isinstance(event, NotSaved):
            self._screen.line(f"The output cannot be written, it is tried again: {event.message}")
        elif isinstance(event, Retried):
            self._retried(event)
        elif isinstance(event, Done):
            self._over()
        else:
            show = _SHOW.get(type(event.body))
            if show is not None:
                show(self, event, event.body)

    def _kernel(self, event: KernelChosen) -> None:
        codes = [cell["source"] for cell in code_cells(event.notebook)]
        self._screen.advance(0, total=len(codes) - len(self._codes))
        self._codes = codes
        if event.choice.fallback and not self._tried:
            self._screen.line(event.choice.fallback)
        self._screen.current(f"starting {event.choice.spec.name}")

    def _retried(self, event: Retried) -> None:
        failed = event.failed
        self._screen.line(f"{failed.outcome}: {reason(failed)} Attempt {event.attempt} begins.")
        self._screen.advance(-self._done)
        self._tried = True
        self._done = 0
        self._since.clear()
        self._errors.clear()

    def _over(self) -> None:
        """Of the cells that were not run nobody waits for any more."""
        self._screen.advance(len(self._codes) - self._done)
        if isinstance(self._screen, Part):
            self._screen.flush()

    def _step(self, record: Record, body: records.StepChanged) -> None:
        step = record.step
        assert step is not None
        if body.state == StepOutcome.RUNNING:
            self._since[step] = record.at
            self._screen.current(first_words(self._codes[step]))
        elif body.state != StepOutcome.NOT_RUN:
            self._done += 1
            self._screen.advance(1)
            self._step_over(step, body.state, record.at)

    def _step_over(self, step: int, state: str, at: float) -> None:
        since = self._since.get(step)
        took = f" {max(0.0, at - since):.1f} s" if since is not None else ""
        if not self._screen.is_terminal:
            words = first_words(self._codes[step])
            self._screen.line(f"[{step + 1}/{len(self._codes)}] {state}{took}  {words}".rstrip())
        error = self._errors.pop(step, None)
        if error is not None and state == StepOutcome.ERROR and not self._log_output:
            self._screen.line(_traceback(error))

    def _error(self, record: Record, body: records.ErrorRaised) -> None:
        if record.step is not None:
            self._errors[record.step] = body
        if self._log_output or record.step is None:
            self._screen.line(_traceback(body))

    def _dropped(self, record: Record, body: records.Dropped) -> None:
        if body.why == records.STILL_PRINTING:
            self._screen.line("Threads go on printing after the end; they are ended.")

    def _text(self, record: Record, body: records.LogText) -> None:
        if self._log_output:
            self._screen.text(body.text)

    def _output(self, record: Record, body: records.Output) -> None:
        text = body.data.get("text/plain")
        if self._log_output and isinstance(text, str):
            self._screen.line(text)


_SHOW: Mapping[type, Callable[[Progress, Record, Any], None]] = {
    records.StepChanged: Progress._step,
    records.ErrorRaised: Progress._error,
    records.Dropped: Progress._dropped,
    records.LogText: Progress._text,
    records.Output: Progress._output,
}


def _traceback(error: records.ErrorRaised) -> str:
    return "\n".join(error.traceback) or f"{error.ename}: {error.evalue}"
