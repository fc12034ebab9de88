"""The terminal, or whatever stands in its place: what goes out, and the lines that come in.

Knows file descriptors 0 to 2. Must not know runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from kernel_gateway.messaging.strict_json import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 65_536


class Screen:
    """stdout and stderr, each write at once."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._at_line_start = True  # of stdout
        #: Colours on stderr are for people who did not say that they want none.
        self.coloured = err.isatty() and not os.environ.get("NO_COLOR")

    def out(self, text: str) -> None:
        if text:
            self._write(self._out, text)
            self._at_line_start = text.endswith("\n")

    def err(self, text: str) -> None:
        self._write(self._err, text)

    def own_line(self, text: str) -> None:
        """On stdout, begun and ended like a paragraph of its own."""
        start = "" if self._at_line_start else "\n"
        self.out(f"{start}{text}" if text.endswith("\n") else f"{start}{text}\n")

    def answered(self) -> None:
        """Somebody pressed return."""
        self._at_line_start = True

    def _write(self, stream: TextIO, text: str) -> None:
        stream.write(clean_text(text))
        stream.flush()


class Lines:
    """Lines of standard input, read only when one is wanted, and given up when it no longer is.

    A thread in `input()` could not be told to stop; here the loop waits for the descriptor.
    """

    def __init__(self, descriptor: int = 0, *, prompts: int = 1) -> None:
        self._descriptor = descriptor
        self._prompts = prompts  # descriptor of what shows them
        self._rest = b""
        self._ended = False

    async def ask(self, prompt: Callable[[], None], *, hidden: bool) -> str | None:
        """The next one, without its newline. None when there is no more.

        The prompt is shown when nothing is echoed any more: who sees it may type at once.
        """
        with _echo(self._descriptor, self._prompts, shown=not hidden):
            prompt()
            while b"\n" not in self._rest and not self._ended:
                chunk = await self._read()
                self._rest += chunk
                self._ended = not chunk
        line, newline, self._rest = self._rest.partition(b"\n")
        if not line and not newline:
            self._ended = False  # a terminal can go on after Ctrl-D
            return None
        return line.decode(errors="replace")

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_reader(self._descriptor, ready.set)
        except PermissionError:  # a plain file: it is always ready, and epoll refuses it
            return os.read(self._descriptor, _CHUNK)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
        return os.read(self._descriptor, _CHUNK)


def read_line(prompt: Callable[[], None], *, hidden: bool) -> str | None:
    """One line of standard input, without its newline. None when there is none. The prompt is shown
    as by `Lines.ask`."""
    with _echo(sys.stdin.fileno(), sys.stdout.fileno(), shown=not hidden):
        prompt()
        line = sys.stdin.readline()
    return line.removesuffix("\n") if line else None


def forget_stdout() -> None:
    """`... | head`: nobody reads any more, and what is still to be flushed harms nobody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _echo(descriptor: int, prompts: int, *, shown: bool) -> Iterator[None]:
    if shown or not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        os.write(prompts, b"\n")  # the return that was not shown
