"""One command, from its start to its exit code.

Knows the order: what is printed is read before anything is concluded from silence or from an end.
Must not know Jupyter's messages. How text is cut is in `console.py`, when a program waits in
`waiting.py`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

from kernel_gateway.command_kernel.console import Console, Source
from kernel_gateway.command_kernel.environment import environment
from kernel_gateway.command_kernel.pace import Pace
from kernel_gateway.command_kernel.proc import can_see
from kernel_gateway.command_kernel.processes import ProcessSession
from kernel_gateway.command_kernel.terminal import InputTerminal, Terminal, typed
from kernel_gateway.command_kernel.waiting import Lookout, Sleeper, sleepers, to_be_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: As the shell has it for what is found and cannot be run.
CANNOT_RUN = 126
#: What is read of each terminal at the end. It holds less than a tenth of this, so everything that
#: was printed before the end is read; a process that the command left behind may print for ever.
LAST_WORDS_BYTES = 2**20
#: Before we ask whether a long answer's next part can be typed; doubles up to the longest.
FIRST_SIP_S = 0.001
LONGEST_SIP_S = 0.05

BLIND = "This system does not show when a program waits for input: it reads the end of its input.\n"


class Cell:
    """`run` it once. Meanwhile `show` is told what it prints, as stream and text, and `ask` that it
    waits, with the prompt and whether it is for a password; each `ask` wants one `answer`.

    Without `ask` the input is at its end from the start. Of the request's `metadata` the command
    finds in its environment what concerns it.
    """

    def __init__(
        self,
        code: str,
        *,
        show: Callable[[str, str], None],
        ask: Callable[[str, bool], None] | None,
        metadata: Mapping[str, Any],
    ) -> None:
        self._code = code
        self._metadata = metadata
        self._show = show
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._pace = Pace(self._clock())
        self._rest: asyncio.TimerHandle | None = None  # until which nothing is read
        self._console = Console()
        self._news = asyncio.Event()
        self._outputs: dict[Source, Terminal] = {}
        self._processes: ProcessSession | None = None
        self._leader_ended = False
        self._lookout = Lookout(self._clock())
        self._asked = False  # and not answered
        self._printed = False  # since the last question
        self._sleeper: Sleeper | None = None  # who was asked for last
        self._untyped = b""  # of the last answer
        self._sip_s = FIRST_SIP_S
        self._sip_at = 0.0

    async def run(self) -> int:
        """The exit code. Nothing of the command is left then."""
        if self._ask and not can_see():
            self._ask = None
            self._show("stderr", BLIND)
        with ExitStack() as held:
            try:
                self._start(held)
            except (OSError, ValueError) as fault:  # too long, or with a null character
                self._show("stderr", f"The command cannot be started: {fault}\n")
                return CANNOT_RUN
            return await self._watch()

    def answer(self, text: str) -> None:
        self._asked = False
        self._untyped = typed(text)
        self._sip_s, self._sip_at = FIRST_SIP_S, self._clock()
        self._news.set()

    def interrupt(self) -> None:
        if self._processes:
            self._processes.interrupt()

    def kill(self) -> None:
        if self._processes:
            self._processes.kill()

    def _start(self, held: ExitStack) -> None:
        """What is opened is closed with `held`."""
        self._input = held.enter_context(closing(InputTerminal()))
        out, err = (held.enter_context(closing(Terminal())) for _ in range(2))
        # In the order in which they are read where more than one may have something: what is
        # written to /dev/tty is a question, or the end of its line, and not of what follows.
        self._outputs = {Source.TTY: self._input, Source.STDOUT: out, Source.STDERR: err}
        for terminal in (out, err) if self._ask else (out, err, self._input):
            terminal.never_answer()  # to those who read where they print, or ask /dev/tty
        self._processes = ProcessSession(
            [_shell(), "-c", self._code],
            environment=environment(os.environ, self._metadata),
            stdin=self._input.slave if self._ask else subprocess.DEVNULL,
            stdout=out.slave,
            stderr=err.slave,
            terminal=self._input.slave,
            on_ended=self._ended,
        )
        held.callback(self._processes.close)
        out.release()
        err.release()
        held.callback(self._stop_listening)
        self._listen()
        self._lookout.disturbed(self._clock())

    async def _watch(self) -> int:
        assert self._processes
        while not self._leader_ended:
            self._type()
            self._look()  # first: what would be shown now may be a prompt
            self._show_due()
            await self._something()
        self._read_last_words()
        code = await self._processes.end()
        self._read_last_words()
        for stream, text in self._console.take_all():
            self._show(stream, text)
        return code

    async def _something(self) -> None:
        """Returns when there is something to do."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._due_at()):
                await self._news.wait()
        self._news.clear()

    def _due_at(self) -> float | None:
        times = [self._console.due_at()]
        if self._untyped:
            times.append(self._sip_at)
        elif self._looks:
            times.append(self._lookout.due_at)
        return min((time for time in times if time is not None), default=None)

    def _ended(self) -> None:
        self._leader_ended = True
        self._news.set()

    def _listen(self) -> None:
        self._rest = None
        for source, terminal in self._outputs.items():
            if not terminal.ended:
                self._loop.add_reader(terminal.master, self._readable, source)

    def _stop_listening(self) -> None:
        for terminal in self._outputs.values():
            self._loop.remove_reader(terminal.master)
        if self._rest:
            self._rest.cancel()

    def _readable(self, source: Source) -> None:
        """Of two that were written one after the other, the later may be readable first."""
        size = self._read(Source.TTY)
        if source is not Source.TTY:
            size += self._read(source)
        self._pace.printed(size, self._clock())
        if self._outputs[source].ended:
            self._loop.remove_reader(self._outputs[source].master)
        if rest_s := self._pace.rest_s(self._clock()):
            self._stop_listening()
            self._rest = self._loop.call_later(rest_s, self._listen)

    def _read(self, source: Source) -> int:
        """A burst; how much that was."""
        data = self._outputs[source].read()
        if data:
            now = self._clock()
            self._printed = True
            self._console.feed(source, data, now)
            self._lookout.disturbed(now)
            self._news.set()
        return len(data)

    def _read_last_words(self) -> None:
        for source in self._outputs:
            room = LAST_WORDS_BYTES
            while room > 0 and (size := self._read(source)):
                room -= size

    def _show_due(self) -> None:
        for stream, text in self._console.take(self._clock()):
            self._show(stream, text)

    def _type(self) -> None:
        """The next part of the answer, when the last one was taken."""
        now = self._clock()
        if not self._untyped or now < self._sip_at:
            return
        if self._input.is_taken:
            self._untyped = self._input.type(self._untyped)
            self._sip_s = FIRST_SIP_S
        self._sip_at = now + self._sip_s
        self._sip_s = min(2 * self._sip_s, LONGEST_SIP_S)
        self._lookout.disturbed(now)

    @property
    def _looks(self) -> bool:
        return self._ask is not None and not self._untyped

    def _look(self) -> None:
        began = self._clock()
        is_due = began >= self._lookout.due_at or self._console.lets_go(began)
        if self._looks and is_due:
            sleeper = self._found_sleeper(began)
            self._lookout.looked(began, self._clock())
            if sleeper:
                self._ask_for(sleeper)

    def _found_sleeper(self, now: float) -> Sleeper | None:
        if not self._processes or not self._input.is_taken:
            return None
        found = sleepers(
            self._processes.members(),
            self._input.device,
            self._input.modes,
            self._lookout.quiet_s(now),
        )
        return to_be_asked(found, self._sleeper, is_open=self._asked, printed=self._printed)

    def _ask_for(self, sleeper: Sleeper) -> None:
        """It sleeps, so all of its prompt is in the terminals."""
        assert self._ask
        hides_input = self._input.modes.hides_input
        self._read_last_words()
        pieces, prompt = self._console.take_prompt(self._clock())
        for stream, text in pieces:
            self._show(stream, text)
        self._asked = True
        self._printed = False
        self._sleeper = sleeper
        self._ask(prompt, hides_input)


def _shell() -> str:
    bash = "/bin/bash"
    return bash if os.access(bash, os.X_OK) else shutil.which("sh") or "/bin/sh"
