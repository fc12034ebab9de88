"""What a terminal shows of a run, and the exit code that it becomes.

Knows records and the screen. Must not know where the records come from: from a run in process, or
over HTTP.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kernel_gateway.commands.base import INTERRUPTED
from kernel_gateway.runs import records
from kernel_gateway.runs.view import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel_gateway.commands.terminal import Screen
    from kernel_gateway.service import RunInfo

_ANSI = re.compile(r"\x1b\[[0-9;]*m")  # colours, the one thing IPython puts into a traceback

BROKEN_PIPE = 141
#: Of runs that have no exit code of their own.
CODES = {
    Outcome.OK: 0,
    Outcome.ERROR: 1,
    Outcome.CANCELLED: INTERRUPTED,
    Outcome.TIMEOUT: 124,
    Outcome.LOST: 6,
}
_NOT_STARTED = 4


class Shown:
    """A run's records on a screen, where they belong. Notes of our own carry the command's name."""

    def __init__(self, screen: Screen, name: str) -> None:
        self._screen = screen
        self._name = name

    def show(self, body: object) -> None:
        """What a terminal has no form for is passed over."""
        show = _SHOW.get(type(body))
        if show is not None:
            show(self, body)

    def say(self, text: str) -> None:
        self._screen.err(f"{self._name}: {text}\n")

    def _text(self, body: records.LogText) -> None:
        (self._screen.out if body.stream == "stdout" else self._screen.err)(body.text)

    def _output(self, body: records.Output | records.Updated) -> None:
        self._screen.own_line(_plain(body))

    def _error(self, body: records.ErrorRaised) -> None:
        if body.ename == "SystemExit":
            text = "" if re.fullmatch(r"-?\d+|None|", body.evalue) else body.evalue
        else:
            text = "\n".join(body.traceback) or f"{body.ename}: {body.evalue}"
        if text:
            self._screen.err(f"{text if self._screen.coloured else _ANSI.sub('', text)}\n")

    def _dropped(self, body: records.Dropped) -> None:
        lost = f"{body.bytes} bytes" if body.bytes is not None else f"{body.count} messages"
        self.say(f"{lost} of output are missing ({body.why})")

    def _completed(self, body: records.Completed) -> None:
        if body.outcome in {Outcome.TIMEOUT, Outcome.LOST}:
            self.say(body.reason.message or body.reason.code)


_SHOW: Mapping[type, Callable[[Shown, Any], None]] = {
    records.LogText: Shown._text,
    records.Output: Shown._output,
    records.Updated: Shown._output,
    records.ErrorRaised: Shown._error,
    records.Dropped: Shown._dropped,
    records.Completed: Shown._completed,
}


def _plain(body: records.Output | records.Updated) -> str:
    """What a terminal can show of a display."""
    spilled = body.spilled or {}
    if "text/plain" in body.data:
        return str(body.data["text/plain"])
    if "text/plain" in spilled:
        return f"{spilled['text/plain'].preview}..."
    return f"[{', '.join([*body.data, *spilled])}]"


def exit_code(info: RunInfo) -> int:
    """Of a run that is over, as if it had been a program."""
    view = info.view
    if view.reason is not None and view.reason.code == "kernel_start_failed":
        return _NOT_STARTED
    if view.exit_code is None:
        return CODES[view.outcome or Outcome.LOST]
    return view.exit_code & 0xFF  # as the system would
