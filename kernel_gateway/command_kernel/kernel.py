"""The kernel: what it answers to each request, and in which order.

One task takes the requests of the shell channel one after another; those of the control channel and
the answers to prompts are taken as they come. Knows Jupyter's messages ("Messaging in Jupyter",
5.5). Must not know sockets or how a command runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.command_kernel.cell import Cell
from kernel_gateway.command_kernel.channels import Channel, Channels, ConnectionInfo
from kernel_gateway.command_kernel.processes import bury_daemons
from kernel_gateway.command_kernel.wire import PROTOCOL_VERSION, Content, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What an execute_request asks for; of a field of the wrong type the default is taken."""

    code: str = ""
    silent: bool = False
    store_history: bool = True
    allow_stdin: bool = False
    stop_on_error: bool = True

    @classmethod
    def of(cls, content: Content) -> Execution:
        flags = ("silent", "store_history", "allow_stdin", "stop_on_error")
        given = {name: content[name] for name in flags if isinstance(content.get(name), bool)}
        code = content.get("code")
        return cls(code=code if isinstance(code, str) else "", **given)

    @property
    def counts(self) -> bool:
        return self.store_history and not self.silent


@dataclass(frozen=True, slots=True)
class _Question:
    """An input_request that waits for its answer."""

    cell: Cell
    accepted_parents: frozenset[object]  # of the answer; many clients give none


class CommandKernel:
    """It listens from when it is made. Await `run`, which returns after a shutdown_request."""

    def __init__(self, info: ConnectionInfo) -> None:
        self._channels = Channels(info, self._received)
        self._queue: deque[Request] = deque()  # as long as whoever has the key makes it
        self._to_abort = 0  # how many of the queue's first ones
        self._news = asyncio.Event()
        self._count = 0
        self._cell: Cell | None = None
        self._question: _Question | None = None
        self._shutdown: tuple[Channel, Request] | None = None

    async def run(self) -> None:
        try:
            await self._work()
            if self._shutdown:
                self._confirm_shutdown(*self._shutdown)
        finally:
            self._channels.close()

    def interrupt(self) -> None:
        """The command that runs, if one does."""
        if self._cell:
            self._cell.interrupt()

    def kill(self) -> None:
        """All processes of the command that runs, at once."""
        if self._cell:
            self._cell.kill()

    def _received(self, channel: Channel, request: Request) -> None:
        if channel is Channel.STDIN:
            self._answered(request)
        elif request.msg_type == "shutdown_request":
            self._end(channel, request)
        elif channel is Channel.CONTROL:
            with self._busy(request):
                self._answer(channel, request)
        else:
            self._queue.append(request)
            self._news.set()

    async def _work(self) -> None:
        while (request := await self._next()) is not None:
            aborted, self._to_abort = self._to_abort > 0, max(self._to_abort - 1, 0)
            with self._busy(request):
                if request.msg_type != "execute_request":
                    self._answer(Channel.SHELL, request)
                elif aborted:
                    self._channels.reply(
                        Channel.SHELL, request, "execute_reply", {"status": "aborted"}
                    )
                else:
                    await self._execute(request, Execution.of(request.content))

    async def _next(self) -> Request | None:
        """None after a shutdown_request."""
        while not self._queue and not self._shutdown:
            self._news.clear()
            await self._news.wait()
        return None if self._shutdown else self._queue.popleft()

    async def _execute(self, request: Request, execution: Execution) -> None:
        self._count += execution.counts
        if not execution.silent:
            said = {"code": execution.code, "execution_count": self._count}
            self._channels.publish("execute_input", said, request.header)
        exit_code = await self._exit_code(request, execution)
        self._channels.reply(
            Channel.SHELL, request, "execute_reply", _execute_reply(exit_code, self._count)
        )
        if exit_code and execution.stop_on_error:
            self._channels.take_in()
            self._to_abort = len(self._queue)

    async def _exit_code(self, request: Request, execution: Execution) -> int:
        if not execution.code.strip():
            return 0

        def show(stream: str, text: str) -> None:
            self._channels.publish("stream", {"name": stream, "text": text}, request.header)

        def ask(prompt: str, password: bool) -> None:
            self._ask(request, prompt, password)

        self._cell = Cell(
            execution.code,
            show=show,
            ask=ask if execution.allow_stdin else None,
            metadata=request.metadata,
        )
        try:
            return await self._cell.run()
        finally:
            self._cell = self._question = None
            bury_daemons()

    def _ask(self, request: Request, prompt: str, password: bool) -> None:
        assert self._cell
        content = {"prompt": prompt, "password": password}
        asked = self._channels.reply(Channel.STDIN, request, "input_request", content)
        parents = frozenset({None, asked, request.header.get("msg_id")})
        self._question = _Question(self._cell, parents)

    def _answered(self, request: Request) -> None:
        """An answer that nobody waits for, or that is for an earlier prompt, is dropped."""
        question, value = self._question, request.content.get("value")
        if question and isinstance(value, str) and request.parent_id in question.accepted_parents:
            self._question = None
            question.cell.answer(value)

    def _answer(self, channel: Channel, request: Request) -> None:
        """At once. What we do not know is ignored, as the protocol wants it."""
        if request.msg_type == "interrupt_request":
            self.interrupt()
        if answer := _ANSWERS.get(request.msg_type):
            msg_type = request.msg_type.replace("_request", "_reply")
            self._channels.reply(channel, request, msg_type, answer(request.content))

    def _end(self, channel: Channel, request: Request) -> None:
        """The command that runs is killed and still told of; what is queued is not."""
        self._shutdown = channel, request
        self.kill()
        self._news.set()

    def _confirm_shutdown(self, channel: Channel, request: Request) -> None:
        content = {"status": "ok", "restart": request.content.get("restart") is True}
        with self._busy(request):
            self._channels.publish("shutdown_reply", content, request.header)
            self._channels.reply(channel, request, "shutdown_reply", content)

    @contextmanager
    def _busy(self, request: Request) -> Iterator[None]:
        self._channels.publish("status", {"execution_state": "busy"}, request.header)
        yield
        self._channels.publish("status", {"execution_state": "idle"}, request.header)


def _execute_reply(exit_code: int, count: int) -> Content:
    """With the exit code, which is no part of the protocol. The failure is no `error` message: the
    console shows what the command printed and nothing else."""
    counted = {"execution_count": count, "exit_code": exit_code}
    if exit_code == 0:
        return {"status": "ok", "user_expressions": {}, "payload": [], **counted}
    fault = {"ename": "ExitCode", "evalue": str(exit_code), "traceback": []}
    return {"status": "error", **fault, **counted}


_KERNEL_INFO: Content = {
    "status": "ok",
    "protocol_version": PROTOCOL_VERSION,
    "implementation": "kernel_gateway_command",
    "implementation_version": "1",
    "language_info": {
        "name": "bash",
        "version": "",
        "mimetype": "text/x-sh",
        "file_extension": ".sh",
        "pygments_lexer": "bash",
        "codemirror_mode": "shell",
    },
    "banner": "Shell commands. Each cell is a shell of its own.",
    "help_links": [],
    "supported_features": [],
}


def _completions(content: Content) -> Content:
    position = content.get("cursor_pos", 0)
    return {
        "status": "ok",
        "matches": [],
        "cursor_start": position,
        "cursor_end": position,
        "metadata": {},
    }


_ANSWERS: Mapping[str, Callable[[Content], Content]] = {
    "kernel_info_request": lambda _: _KERNEL_INFO,
    "interrupt_request": lambda _: {"status": "ok"},
    "is_complete_request": lambda _: {"status": "complete"},
    "complete_request": _completions,
    "inspect_request": lambda _: {"status": "ok", "found": False, "data": {}, "metadata": {}},
    "history_request": lambda _: {"status": "ok", "history": []},
    "comm_info_request": lambda _: {"status": "ok", "comms": {}},
}
