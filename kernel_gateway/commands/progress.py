"""A notebook run as somebody sees it who waits for it: on stderr, one line a cell.

Knows the events of a run and how they read. On a terminal there is one line that moves, with the
cell that runs now; elsewhere each cell leaves its line when it is over. Must not fail: a terminal
that has gone away is no reason to lose a run.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.notebook.runner import KernelChosen, NotSaved, StillPrinting
from kernel_gateway.runs import records
from kernel_gateway.runs.view import Outcome, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tqdm import tqdm

    from kernel_gateway.notebook.runner import Event, NotebookResult
    from kernel_gateway.runs.records import Record

_ANSI = re.compile(r"\x1b\[[0-9;]*m")  # colours, the one thing IPython puts into a traceback
_WORDS = 50  # characters of a cell's first line
_BAR = "{n_fmt}/{total_fmt} cells |{bar:12}| {elapsed} {desc}"

#: Where an interrupt was not enough.
_ENDED = {"terminate": ", the kernel was terminated", "kill": ", the kernel was killed"}

#: Where the run came to its end.
_HIT = frozenset(
    {StepOutcome.ERROR, StepOutcome.TIMED_OUT, StepOutcome.CANCELLED, StepOutcome.DIED}
)


class Screen:
    """stderr, with or without a line at its bottom that moves."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self.is_terminal = stream.isatty() and _columns(stream) != 0
        self._coloured = self.is_terminal and not os.environ.get("NO_COLOR")
        self._stream = stream
        self._rest = ""  # of a line that has no end yet
        self._bar = _bar(stream, total) if self.is_terminal else None

    def line(self, text: str) -> None:
        """A line of its own."""
        self.text(("\n" if self._rest else "") + text.rstrip("\n") + "\n")

    def text(self, text: str) -> None:
        """As it comes; above the moving line whole lines only."""
        shown = clean_text(text if self._coloured else _ANSI.sub("", text))
        whole, newline, rest = shown.rpartition("\n")
        if self._bar is None:
            self._write(shown)
        elif newline:
            with suppress(OSError, ValueError):
                self._bar.write(f"{self._rest}{whole}", file=self._stream)
        self._rest = rest if newline else self._rest + rest

    def current(self, words: str) -> None:
        """What the moving line says."""
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.set_description_str(words)

    def done(self, cells: int) -> None:
        """How far it is, shown with the next words or at the next tick."""
        if self._bar is not None:
            self._bar.n = cells

    def tick(self) -> None:
        """Time goes on."""
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.refresh()

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


class Progress:
    """Follows one run. `codes` are the cells, in the order of the steps."""

    def __init__(self, screen: Screen, codes: Sequence[str], *, log_output: bool) -> None:
        self._screen = screen
        self._codes = codes
        self._log_output = log_output
        self.begun = False  # something was started
        self._done = 0
        self._since: dict[int, float] = {}
        self._errors: dict[int, records.ErrorRaised] = {}

    def tell(self, event: Event) -> None:
        if isinstance(event, KernelChosen):
            self._kernel(event)
        elif isinstance(event, NotSaved):
            self._screen.line(f"The output cannot be written, it is tried again: {event.message}")
        elif isinstance(event, StillPrinting):
            self._screen.line(f"Threads still print after {event.after_s:g} s, they are ended.")
        else:
            show = _SHOW.get(type(event.body))
            if show is not None:
                show(self, event, event.body)

    def _kernel(self, event: KernelChosen) -> None:
        self.begun = True
        if event.choice.fallback:
            self._screen.line(event.choice.fallback)
        self._screen.current(f"starting {event.choice.spec.name}")

    def _step(self, record: Record, body: records.StepChanged) -> None:
        step = record.step
        assert step is not None
        if body.state == StepOutcome.RUNNING:
            self._since[step] = record.at
            self._screen.current(_words(self._codes[step]))
        elif body.state != StepOutcome.NOT_RUN:
            self._done += 1
            self._step_over(step, body.state, record.at)

    def _step_over(self, step: int, state: str, at: float) -> None:
        since = self._since.get(step)
        took = f" {max(0.0, at - since):.1f} s" if since is not None else ""
        if not self._screen.is_terminal:
            words = _words(self._codes[step])
            self._screen.line(f"[{step + 1}/{len(self._codes)}] {state}{took}  {words}".rstrip())
        self._screen.done(self._done)
        error = self._errors.pop(step, None)
        if error is not None and state == StepOutcome.ERROR and not self._log_output:
            self._screen.line(_traceback(error))

    def _error(self, record: Record, body: records.ErrorRaised) -> None:
        assert record.step is not None
        self._errors[record.step] = body
        if self._log_output:
            self._screen.line(_traceback(body))

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
    records.LogText: Progress._text,
    records.Output: Progress._output,
}


def _words(code: str) -> str:
    """The first line that says something."""
    lines = (line.strip() for line in code.splitlines())
    first = next((line for line in lines if line and not line.startswith("%%")), code.strip())
    return first if len(first) <= _WORDS else f"{first[: _WORDS - 3]}..."


def _traceback(error: records.ErrorRaised) -> str:
    return "\n".join(error.traceback) or f"{error.ename}: {error.evalue}"


def summary(result: NotebookResult, duration_s: float, output: str) -> str:
    """One line: how it ended and why, how long it took, where the output is."""
    why = "" if result.outcome is Outcome.OK else f" {_where(result)}{_why(result)}"
    return f"{result.outcome}:{why} {_cells(result)} in {duration_s:.1f} s -> {output}"


def _where(result: NotebookResult) -> str:
    hit = next((step.index + 1 for step in result.steps if step.state in _HIT), None)
    return f"cell {hit}: " if hit is not None else ""


def _why(result: NotebookResult) -> str:
    reason = result.reason
    text = " ".join((reason.message or reason.code).split())
    ended = _ENDED.get(reason.worked or "", "")
    return f"{text.rstrip('.')}{ended}."


def _cells(result: NotebookResult) -> str:
    """How many, and what became of them when not all are ok."""
    states = [step.state for step in result.steps]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    cells = f"{len(states)} cell{'' if len(states) == 1 else 's'}"
    return cells if set(states) <= {StepOutcome.OK} else f"{cells} ({counts})"
