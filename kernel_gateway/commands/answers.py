"""Where answers come from when a cell asks for input: a file, or whoever sits at standard input.

Knows the terminal and the screen. Must not know runs.
"""

from __future__ import annotations

import asyncio
import os
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.table import harmless
from kernel_gateway.commands.terminal import Lines
from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.notebook.answers import lines_of

if TYPE_CHECKING:
    from kernel_gateway.commands.progress import Screen

_STDIN, _STDERR = 0, 2


def read_answers(name: str) -> list[str]:
    """The lines of a file. Blocks; raises `UsageError`."""
    try:
        return lines_of(Path(name).expanduser().read_bytes())
    except OSError as fault:
        raise UsageError(f"The answers in {name} cannot be read: {fault.strerror}.") from fault


class Terminal:
    """Standard input, for all runs of a command; of several only one asks at a time. Prompts are on
    stderr: the output of a notebook may be on stdout."""

    def __init__(self, screen: Screen, *, stdin: int = _STDIN, stderr: int = _STDERR) -> None:
        self._screen = screen
        self._lines = Lines(stdin, prompts=stderr)
        self._end = "" if os.isatty(stdin) else "\n"  # nobody presses return after the prompt
        self._turn = asyncio.Lock()

    def of(self, name: str | None) -> TerminalAnswers:
        """For one run; of several each says its name."""
        return TerminalAnswers(self, "" if name is None else f"{harmless(name)}: ")

    async def ask(self, prompt: str, *, hidden: bool) -> str | None:
        async with self._turn:
            with self._screen.asking(prompt + self._end) as show:
                try:
                    line = await self._lines.ask(show, hidden=hidden)
                except (OSError, termios.error):  # the terminal has gone away
                    return None
        return None if line is None else clean_text(line)


@dataclass(frozen=True, slots=True)
class TerminalAnswers:
    """Implements `notebook.answers.Answers`."""

    terminal: Terminal
    label: str

    async def answer(self, prompt: str, *, hidden: bool) -> str | None:
        return await self.terminal.ask(self.label + prompt, hidden=hidden)
