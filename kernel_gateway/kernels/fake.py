"""A kernel in memory, for tests: ours and those of whoever builds on us.

It behaves as a real kernel does, as far as one can see from outside (`tests/shared` holds the two
together), but has no process, no socket and no clock: it goes on when the loop does, and waits when
it is told to. It knows nothing of Python; its cells are scripts of one operation a line:

    print TEXT · stderr TEXT        a stream message with a newline at its end
    write JSON                      the same on stdout, the text exactly as in the JSON string
    result TEXT                     an execute_result
    display MIME TEXT               display_data        show ID TEXT · update ID TEXT   with an ID
    clear · clear wait              clear_output
    raise ENAME EVALUE              an error; the lines after it are not run
    input PROMPT · password PROMPT  wait for the answer          echo    print the last answer
    sleep                           wait until `FakeKernel.release()` or an interrupt
    late TEXT                       printed after the idle, with this cell as its parent
    ignore-interrupts               from here to the end of the cell
    save NAME TEXT                  write a file below the artifact folder
    let NAME TEXT                   an expression of this name comes to this text
    setup TEXT                      a line on the process's own stdout, which is no message
    end CODE                        the cell ends as a program does: the reply has its exit code
    exit CODE · die SIGNAL          the process ends on the spot

A completion knows the operations. An expression to be evaluated (`user_expressions`) is a name in
`FakeKernel.expressions`, or `sleep`.

It is in kernels/ and not in tests/ because it is shipped.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.kernels.folder import artifact_dir_fault, make_private
from kernel_gateway.kernels.kernel import (
    Generation,
    KernelExit,
    KernelListener,
    LaunchRequest,
    ProcessOutput,
    Seed,
    SpecEntry,
)
from kernel_gateway.messaging.facts import SUBSHELLS, KernelInfo
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from kernel_gateway.messaging.message import Request
    from kernel_gateway.messaging.strict_json import Json

#: Channels overtake one another: a real kernel ends a cell in either order. With `iopub_last` all
#: that comes over iopub comes late: replies overtake the busy, prompts the prints before them.
Order: TypeAlias = Literal["reply_first", "idle_first", "iopub_last"]

_DATE = "2026-01-01T00:00:00.000000Z"  # there is no clock in here


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeBehaviour:
    """How the kernels of one launcher differ from a well-behaved one."""

    order: Order = "reply_first"
    #: False: an interrupted cell ends with an idle alone, as some wrapper kernels do.
    replies_to_interrupt: bool = True
    #: False: neither SIGINT nor interrupt_request does anything, ever.
    interruptible: bool = True
    #: False: it makes no subshells, and does not say that it does.
    subshells: bool = True
    #: What its process prints while it starts.
    setup: str = ""
    setup_dropped: int = 0  # bytes before that, which are no longer kept
    #: False: a shutdown_request is ignored, so that only a signal ends it.
    obeys_shutdown: bool = True
    #: The kernel ends by itself instead of becoming ready.
    dies_at_start: KernelExit | None = None
    #: Why it cannot be adopted.
    unfit: str | None = None
    #: False: it is asked to take the folder and the variables of a request, and does not.
    adoptable: bool = True
    #: What its process takes.
    memory: int = 2**20


class _Raised(Exception):
    """What a cell raised; no fault of ours."""

    def __init__(self, ename: str, evalue: str) -> None:
        self.ename = ename
        self.evalue = evalue


class _Ended(Exception):
    """What a cell did as a program: not an error that is shown."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code


class _Interrupted(_Raised):
    def __init__(self) -> None:
        super().__init__("KeyboardInterrupt", "")


class FakeKernel:
    """Implements `Kernel`. Its task, `live`, is owned by the launcher."""

    def __init__(
        self,
        request: LaunchRequest,
        listener: KernelListener,
        behaviour: FakeBehaviour,
        gate: asyncio.Event,
        adoption_gate: asyncio.Event,
    ) -> None:
        self.request = request
        self.behaviour = behaviour
        #: All that was sent to it, for tests to look at.
        self.requests: list[Request | RawMessage] = []
        #: What expressions come to, as text.
        self.expressions: dict[str, str] = {}
        self._listener = listener
        self._gate = gate
        self._adoption_gate = adoption_gate
        self._loop = asyncio.get_running_loop()
        self._main = _Shell(self)
        self._subshells: dict[str, _Shell] = {}
        self._unheard: list[Message] | None = None  # what has come since it is frozen
        self._hears = 0  # before it is
        self._setup = behaviour.setup
        self._behind: list[RawMessage] = []  # iopub that is not told yet
        self._released = False
        self._ready = False
        self._execution_count = 0
        self._numbers = count(1)
        self._session = f"fake-{request.kernel_id}-{request.generation}"
        self._end: asyncio.Future[KernelExit] = self._loop.create_future()
        self._dead: asyncio.Future[KernelExit] = self._loop.create_future()

    @property
    def generation(self) -> Generation:
        return self.request.generation

    @property
    def session(self) -> str:
        return f"{self._session}-client"

    @property
    def alive(self) -> bool:
        return not self._end.done()

    def output(self) -> ProcessOutput:
        return ProcessOutput(self._setup, self.behaviour.setup_dropped)

    def send(self, request: Request | RawMessage) -> None:
        if self._end.done():
            return
        self.requests.append(request)
        # Nothing is told from within a call of the kernel: a real one is a process away.
        self._loop.call_soon(self._receive, self.message_of(request))

    async def interrupt(self) -> None:
        self._loop.call_soon(self._interrupt)

    async def terminate(self) -> None:
        self._finish(KernelExit(signal="SIGTERM"))

    async def kill(self) -> None:
        self._finish(KernelExit(signal="SIGKILL"))

    async def shutdown(self, grace_s: float) -> None:
        """A fake that does not obey is killed at once: it has no clock to wait by."""
        hears = self._ready and self._unheard is None
        obeys = hears and self.behaviour.obeys_shutdown
        self._finish(KernelExit(exit_code=0) if obeys else KernelExit(signal="SIGKILL"))
        await self.wait_dead()

    async def wait_dead(self) -> KernelExit:
        return await asyncio.shield(self._dead)

    async def prepare(self) -> str | None:
        return self.behaviour.unfit

    async def adopt(self, request: LaunchRequest) -> bool:
        await self._adoption_gate.wait()
        fault = await _folder_fault(request.artifact_dir)
        if fault or not (self.behaviour.adoptable and self.alive):
            return False
        self.request = request
        return True

    async def memory(self) -> int:
        return self.behaviour.memory

    def release(self) -> None:
        """End the `sleep` that a cell is in, or the next one."""
        self._released = True
        for shell in (self._main, *self._subshells.values()):
            if shell.cell:
                shell.cell.wake()

    def freeze(self, after: int = 0) -> None:
        """It hears so many requests more, and then nothing, on no channel, until `thaw`."""
        if self._unheard is None:
            self._unheard = []
            self._hears = after

    def thaw(self) -> None:
        unheard, self._unheard = self._unheard or [], None
        for request in unheard:
            self._receive(request)

    async def live(self) -> None:
        """From the start until `on_dead` has been told."""
        working = asyncio.create_task(self._work())
        ends: set[asyncio.Future[Any]] = {working, self._end}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.wait({working})
        for shell in self._subshells.values():
            await shell.close()
        if not working.cancelled() and (fault := working.exception()):
            self._finish(KernelExit(stderr_tail=f"the fake or its listener failed: {fault!r}"))
            self._tell_dead()
            raise fault
        self._tell_dead()

    def tell(
        self,
        channel: Channel,
        msg_type: str,
        content: Mapping[str, Json],
        parent: Header | None,
        metadata: Mapping[str, Json] | None = None,
    ) -> None:
        """Send a message to the listener; tests may use it for what no script can say."""
        if self._end.done():
            return
        msg_id = MsgId(f"{self._session}-{next(self._numbers)}")
        header = Header(
            msg_id=msg_id, msg_type=msg_type, session=self._session, username="fake", date=_DATE
        )
        message = Message(
            channel=channel,
            header=header,
            parent=parent,
            content=content,
            metadata=metadata or {},
        )
        raw = RawMessage.of(message)
        if channel is Channel.IOPUB and self.behaviour.order == "iopub_last" and self._main.cell:
            self._behind.append(raw)
        else:
            self._listener.on_message(raw)

    def catch_up(self) -> None:
        """iopub is there, too."""
        behind, self._behind = self._behind, []
        for message in behind:
            self._listener.on_message(message)

    def take_release(self) -> bool:
        released, self._released = self._released, False
        return released

    async def die(self, how: KernelExit) -> None:
        """From within a cell: nothing after it happens."""
        self._finish(how)
        await asyncio.Event().wait()  # until `live` cancels us

    def status(self, state: str, parent: Header) -> None:
        self.tell(Channel.IOPUB, "status", {"execution_state": state}, parent)

    async def _work(self) -> None:
        await self._gate.wait()
        if self._end.done():  # stopped before it was ready
            return
        if fault := await _folder_fault(self.request.artifact_dir):
            await self.die(KernelExit(start_fault=fault))
        if self.behaviour.dies_at_start:
            await self.die(self.behaviour.dies_at_start)
        self._ready = True
        self._listener.on_ready(replace(_INFO, features=self._features))
        await self._main.serve()

    @property
    def _features(self) -> tuple[str, ...]:
        return (SUBSHELLS,) if self.behaviour.subshells else ()

    def _receive(self, request: Message) -> None:
        if self._unheard is not None and self._hears == 0:
            self._unheard.append(request)
            return
        self._hears = max(0, self._hears - 1)
        if request.channel is Channel.STDIN:
            if self._main.cell:
                self._main.cell.take_answer(str(request.content.get("value", "")))
        elif request.channel is Channel.CONTROL and self._ready:
            self._control(request)
        else:
            subshell = request.header.more.get("subshell_id")
            self._subshells.get(str(subshell), self._main).put(request)

    def _control(self, request: Message) -> None:
        """Control is served while a cell is running."""
        if request.msg_type == "interrupt_request":
            self._interrupt()
        self.answer(request)
        if request.msg_type == "shutdown_request" and self.behaviour.obeys_shutdown:
            self._finish(KernelExit(exit_code=0))

    def answer(self, request: Message) -> None:
        """What is not known is answered by an empty ok."""
        answers = {
            "kernel_info_request": self._info_reply,
            "complete_request": _complete_reply,
            "create_subshell_request": self._subshell_reply,
        }
        answer = answers.get(request.msg_type, _empty_reply)
        self.exchange(request, answer(request))

    def _info_reply(self, request: Message) -> Mapping[str, Json]:
        return {**_INFO_REPLY, "supported_features": list(self._features)}

    def _subshell_reply(self, request: Message) -> Mapping[str, Json]:
        if not self.behaviour.subshells:
            evalue = "there are no subshells"
            return {"status": "error", "ename": "RuntimeError", "evalue": evalue, "traceback": []}
        shell = _Shell(self)
        shell.start()
        subshell_id = f"{self._session}-subshell-{len(self._subshells) + 1}"
        self._subshells[subshell_id] = shell
        return {"status": "ok", "subshell_id": subshell_id}

    def exchange(self, request: Message, content: Mapping[str, Json]) -> None:
        parent = request.header
        self.status("busy", parent)
        self.tell(request.channel, _reply_type(request), content, parent)
        self.status("idle", parent)
        self.catch_up()  # its idle came over iopub, hence all that was there before it

    def message_of(self, request: Request | RawMessage) -> Message:
        """As it came over the wire."""
        if isinstance(request, RawMessage):
            return request.decoded()
        return request.stamped(session=self.session, date=_DATE)

    def parent_of(self, request: Request | RawMessage) -> Header:
        """Of all that the kernel says because of it."""
        return self.message_of(request).header

    def count_execution(self, request: Message) -> int:
        if request.content.get("store_history", True):
            self._execution_count += 1
        return self._execution_count

    def print_setup(self, text: str) -> None:
        self._setup += f"{text}\n"

    def _interrupt(self) -> None:
        """Swallowed when no cell is running, as a real one does before its busy."""
        if self._main.cell and self.behaviour.interruptible:
            self._main.cell.interrupt()

    def _finish(self, how: KernelExit) -> None:
        if not self._end.done():
            told = replace(how, stderr_tail=how.stderr_tail or self._setup)
            self._end.set_result(told if self._ready else _of_a_start(told))

    def _tell_dead(self) -> None:
        try:
            self.catch_up()
            self._listener.on_dead(self._end.result())
        finally:
            self._dead.set_result(self._end.result())


class _Shell:
    """One line of requests: that of the kernel itself, or that of a subshell."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.cell: _Cell | None = None
        self._kernel = kernel
        self._queue: deque[Message] = deque()
        self._woken = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    def put(self, request: Message) -> None:
        self._queue.append(request)
        self._woken.set()

    def start(self) -> None:
        self._serving = asyncio.create_task(self.serve())

    async def close(self) -> None:
        if self._serving:
            self._serving.cancel()
            await asyncio.wait({self._serving})

    async def serve(self) -> None:
        while True:
            while self._queue:
                await self._serve(self._queue.popleft())
            self._woken.clear()
            await self._woken.wait()

    async def _serve(self, request: Message) -> None:
        if request.msg_type == "execute_request":
            await self._execute(request)
        else:
            self._kernel.answer(request)

    async def _execute(self, request: Message) -> None:
        self.cell = _Cell(self._kernel, request, self._kernel.count_execution(request))
        await self.cell.run()
        if self.cell.failed and request.content.get("stop_on_error", True):
            self._abort_queued()
        self.cell = None

    def _abort_queued(self) -> None:
        """What is queued behind an error; other questions than to execute are still answered."""
        queued, self._queue = self._queue, deque()
        for request in queued:
            if request.msg_type == "execute_request":
                self._kernel.exchange(request, {"status": "aborted"})
            else:
                self._kernel.answer(request)


class _Cell:
    """One execute_request that is being run."""

    def __init__(self, kernel: FakeKernel, request: Message, execution_count: int) -> None:
        self._kernel = kernel
        self._content = request.content
        self._count = execution_count
        self._parent = request.header
        self._late: list[str] = []
        self._answer = ""
        self._ignores_interrupts = False
        self._interrupted = False
        self._waiting: asyncio.Future[None] | None = None
        self._prompted = False
        self.failed = False

    async def run(self) -> None:
        self._kernel.status("busy", self._parent)
        code = self._content.get("code")
        if not self._content.get("silent"):
            self._iopub("execute_input", {"code": code, "execution_count": self._count})
        reply = await self._outcome(str(code))
        self._finish(reply)
        for text in self._late:
            self._stream("stdout", text)
        self._kernel.catch_up()

    def interrupt(self) -> None:
        if not self._ignores_interrupts:
            self._interrupted = True
            self.wake()

    def wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def take_answer(self, value: str) -> None:
        """Dropped when there is no prompt, as ipykernel does."""
        if self._prompted:
            self._prompted = False
            self._answer = value
            self.wake()

    async def _outcome(self, code: str) -> Mapping[str, Json] | None:
        """The content of the reply; None for no reply."""
        try:
            for line in code.splitlines():
                await self._do(line.lstrip())
            values = await self._evaluated()
        except _Interrupted as raised:
            error = self._error(raised)
            return error if self._kernel.behaviour.replies_to_interrupt else None
        except _Raised as raised:
            return self._error(raised)
        except _Ended as ended:
            return self._exit_reply(ended.exit_code)
        return {"status": "ok", "execution_count": self._count, "user_expressions": values}

    async def _evaluated(self) -> dict[str, Json]:
        """As a kernel does: a fault of one expression is its value, and none of the cell."""
        asked = self._content.get("user_expressions")
        expressions = asked if isinstance(asked, dict) else {}
        return {name: await self._value(str(text)) for name, text in expressions.items()}

    async def _value(self, expression: str) -> Json:
        if expression == "sleep":
            await self._sleep("")
        value = self._kernel.expressions.get(expression)
        if value is None:
            evalue = f"name {expression!r} is not defined"
            return {"status": "error", "ename": "NameError", "evalue": evalue, "traceback": []}
        return {"status": "ok", "data": {"text/plain": value}, "metadata": {}}

    async def _do(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word in _SPEAKS:
            _SPEAKS[word](self, rest)
        elif word in _WAITS:
            await _WAITS[word](self, rest)
        elif word:
            raise _Raised("SyntaxError", f"no such operation: {word}")

    def _error(self, raised: _Raised) -> Mapping[str, Json]:
        self.failed = True
        error: dict[str, Json] = {
            "ename": raised.ename,
            "evalue": raised.evalue,
            "traceback": [f"{raised.ename}: {raised.evalue}"],
        }
        self._iopub("error", error)
        return {"status": "error", "execution_count": self._count, **error}

    def _exit_reply(self, exit_code: int) -> Mapping[str, Json]:
        self.failed = exit_code != 0
        reply: dict[str, Json] = {"execution_count": self._count, "exit_code": exit_code}
        if not self.failed:
            return {"status": "ok", "user_expressions": {}, **reply}
        error: dict[str, Json] = {"ename": "ExitCode", "evalue": str(exit_code), "traceback": []}
        return {"status": "error", **error, **reply}

    def _finish(self, reply: Mapping[str, Json] | None) -> None:
        """In the order that was asked for; see `Order`."""
        idle_first = self._kernel.behaviour.order == "idle_first"
        if idle_first:
            self._kernel.status("idle", self._parent)
        if reply is not None:
            self._kernel.tell(Channel.SHELL, "execute_reply", reply, self._parent)
        self._kernel.catch_up()
        if not idle_first:
            self._kernel.status("idle", self._parent)

    def _iopub(self, msg_type: str, content: Mapping[str, Json]) -> None:
        self._kernel.tell(Channel.IOPUB, msg_type, content, self._parent)

    def _stream(self, name: str, text: str) -> None:
        self._iopub("stream", {"name": name, "text": text})

    def _print(self, text: str) -> None:
        self._stream("stdout", f"{text}\n")

    def _stderr(self, text: str) -> None:
        self._stream("stderr", f"{text}\n")

    def _write(self, literal: str) -> None:
        self._stream("stdout", json.loads(literal))

    def _result(self, text: str) -> None:
        self._iopub("execute_result", {**_bundle(text), "execution_count": self._count})

    def _display(self, rest: str) -> None:
        mime, _, text = rest.partition(" ")
        self._iopub("display_data", {"data": {mime: text}, "metadata": {}, "transient": {}})

    def _show(self, rest: str) -> None:
        display_id, _, text = rest.partition(" ")
        self._iopub("display_data", _bundle(text, display_id))

    def _update(self, rest: str) -> None:
        display_id, _, text = rest.partition(" ")
        self._iopub("update_display_data", _bundle(text, display_id))

    def _clear(self, rest: str) -> None:
        self._iopub("clear_output", {"wait": rest == "wait"})

    def _raise(self, rest: str) -> None:
        ename, _, evalue = rest.partition(" ")
        raise _Raised(ename, evalue)

    def _end(self, code: str) -> None:
        raise _Ended(int(code))

    def _add_late(self, text: str) -> None:
        self._late.append(f"{text}\n")

    def _ignore_interrupts(self, _: str) -> None:
        self._ignores_interrupts = True

    def _echo(self, _: str) -> None:
        self._print(self._answer)

    def _let(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        self._kernel.expressions[name] = value

    def _setup(self, text: str) -> None:
        self._kernel.print_setup(text)

    async def _save(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        folder = self._kernel.request.artifact_dir
        if folder is None:
            raise _Raised("FileNotFoundError", "there is no artifact folder")
        await asyncio.to_thread(_write, folder / name, text)

    async def _input(self, prompt: str) -> None:
        await self._ask(prompt, password=False)

    async def _password(self, prompt: str) -> None:
        await self._ask(prompt, password=True)

    async def _ask(self, prompt: str, *, password: bool) -> None:
        if not self._content.get("allow_stdin"):
            raise _Raised("StdinNotImplementedError", "the client takes no prompts")
        self._prompted = True
        content: dict[str, Json] = {"prompt": prompt, "password": password}
        self._kernel.tell(Channel.STDIN, "input_request", content, self._parent)
        while self._prompted:
            await self._wait()

    async def _sleep(self, _: str) -> None:
        while not self._kernel.take_release():
            await self._wait()

    async def _exit(self, code: str) -> None:
        await self._kernel.die(KernelExit(exit_code=int(code)))

    async def _die(self, signal: str) -> None:
        await self._kernel.die(KernelExit(signal=signal))

    async def _wait(self) -> None:
        """Until something may have changed, or raise for an interrupt."""
        if not self._interrupted:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self._interrupted:
            self._interrupted = self._prompted = False
            raise _Interrupted


_SPEAKS: Mapping[str, Callable[[_Cell, str], None]] = {
    "print": _Cell._print,
    "stderr": _Cell._stderr,
    "write": _Cell._write,
    "result": _Cell._result,
    "display": _Cell._display,
    "show": _Cell._show,
    "update": _Cell._update,
    "clear": _Cell._clear,
    "raise": _Cell._raise,
    "end": _Cell._end,
    "late": _Cell._add_late,
    "ignore-interrupts": _Cell._ignore_interrupts,
    "echo": _Cell._echo,
    "let": _Cell._let,
    "setup": _Cell._setup,
}

_WAITS: Mapping[str, Callable[[_Cell, str], Coroutine[None, None, None]]] = {
    "input": _Cell._input,
    "password": _Cell._password,
    "sleep": _Cell._sleep,
    "save": _Cell._save,
    "exit": _Cell._exit,
    "die": _Cell._die,
}


class FakeLauncher:
    """Implements `Launcher`. Its kernels are in `kernels`, the newest last.

    `gate` holds all starts back as long as it is not set; None lets them through. So does
    `adoption_gate` with adoptions. Those of `python3` can be adopted; variables whose names begin
    with `EARLY_` are read when they start.
    """

    def __init__(
        self,
        *,
        specs: tuple[str, ...] = ("python3", "kernel-gateway-command"),
        behaviour: FakeBehaviour | None = None,
        gate: asyncio.Event | None = None,
    ) -> None:
        self.kernels: list[FakeKernel] = []
        self.behaviour = behaviour or FakeBehaviour()  # of the next one
        self._specs = specs
        self.edition = ""  # what is on disk of all kernelspecs
        self.adoption_gate = _open_gate()
        self._gate = gate or _open_gate()
        self._lives: set[asyncio.Task[None]] = set()
        self.when_gone: Callable[[], None] = lambda: None

    def launch(self, request: LaunchRequest, listener: KernelListener) -> FakeKernel:
        if request.spec_name not in self._specs:
            raise KernelSpecNotFound(f"There is no kernelspec {request.spec_name!r}.")
        kernel = FakeKernel(request, listener, self.behaviour, self._gate, self.adoption_gate)
        self.kernels.append(kernel)
        life = asyncio.create_task(kernel.live())
        self._lives.add(life)
        life.add_done_callback(self._lived)
        return kernel

    def seed(self, request: LaunchRequest) -> Seed | None:
        if request.spec_name not in self._specs:
            raise KernelSpecNotFound(f"There is no kernelspec {request.spec_name!r}.")
        adopts = request.spec_name == "python3"
        if not adopts and (request.env or request.cwd is not None):
            return None
        early = [item for item in request.env.items() if item[0].startswith("EARLY_")]
        return Seed(request.owner, request.spec_name, tuple(sorted(early)), adopts, self.edition)

    @property
    def warm(self) -> int:
        return 0

    @property
    def processes(self) -> int:
        return len(self._lives)

    def default_spec(self) -> str:
        return self._specs[0]

    def kernelspec(self, name: str) -> SpecEntry:
        if name.lower() not in self._specs:
            raise KernelSpecNotFound(f"There is no kernelspec {name!r}.")
        return SpecEntry(
            name=name.lower(),
            resource_dir=Path(),
            spec={"display_name": f"Fake {name.lower()}", "language": "script"},
        )

    def kernelspecs(self) -> Sequence[SpecEntry]:
        return [self.kernelspec(name) for name in sorted(self._specs)]

    async def close(self) -> None:
        for kernel in self.kernels:
            await kernel.kill()
        if self._lives:
            await asyncio.gather(*self._lives)

    def _lived(self, life: asyncio.Task[None]) -> None:
        self._lives.discard(life)
        self.when_gone()


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


async def _folder_fault(path: Path | None) -> str | None:
    """It is there, or why it is not."""
    if path is None:
        return None
    try:
        await asyncio.to_thread(make_private, path)
    except OSError as fault:
        return artifact_dir_fault(path, fault)
    return None


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _of_a_start(how: KernelExit) -> KernelExit:
    return replace(how, start_fault=how.start_fault or "It was stopped before it was ready.")


def _reply_type(request: Message) -> str:
    return request.msg_type.removesuffix("_request") + "_reply"


def _complete_reply(request: Message) -> Mapping[str, Json]:
    """The operations that begin with the word before the cursor."""
    end = request.content.get("cursor_pos")
    before = str(request.content.get("code"))[: end if isinstance(end, int) else None]
    word = before[before.rfind("\n") + 1 :]
    matches: list[Json] = [name for name in (*_SPEAKS, *_WAITS) if name.startswith(word)]
    return {
        "status": "ok",
        "matches": matches,
        "cursor_start": len(before) - len(word),
        "cursor_end": len(before),
        "metadata": {},
    }


def _empty_reply(request: Message) -> Mapping[str, Json]:
    return {"status": "ok"}


def _bundle(text: str, display_id: str | None = None) -> dict[str, Json]:
    transient: dict[str, Json] = {"display_id": display_id} if display_id else {}
    return {"data": {"text/plain": text}, "metadata": {}, "transient": transient}


_INFO = KernelInfo(
    implementation="fake",
    protocol_version="5.4",
    language_info={"name": "script", "file_extension": ".txt"},
    banner="A kernel in memory",
)
_INFO_REPLY: Mapping[str, Json] = {
    "status": "ok",
    "implementation": _INFO.implementation,
    "implementation_version": "1",
    "protocol_version": _INFO.protocol_version,
    "language_info": dict(_INFO.language_info),
    "banner": _INFO.banner,
    "help_links": [],
}
