"""What tests of kernels share: a listener that keeps all it is told, and a bench to start kernels.

`Bench` comes with a dialect, so that one test speaks to a fake and to ipykernel.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from kernel_gateway.kernels.kernel import Generation, KernelExit, KernelId, LaunchRequest
from kernel_gateway.messaging.facts import (
    Idle,
    KernelInfo,
    Replied,
    Stream,
    SubshellMade,
    fact_of,
)
from kernel_gateway.messaging.message import (
    VALUE,
    Channel,
    MsgId,
    Request,
    create_subshell_request,
    evaluate_request,
    execute_request,
)
from kernel_gateway.messaging.raw import RawMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_gateway.kernels.kernel import Kernel, KernelListener, Launcher
    from kernel_gateway.messaging.facts import Fact
    from kernel_gateway.messaging.strict_json import Json

#: Ends a test that hangs; nothing is expected to take a tenth of it.
HANG_LIMIT_S = 30.0

_ids = count(1)


class Recorder:
    """A `KernelListener` that keeps everything in order; `until` waits for what is to come."""

    def __init__(self) -> None:
        self.told: list[KernelInfo | RawMessage | KernelExit] = []
        self._facts: dict[int, Fact | None] = {}  # by the identity of messages; `told` keeps them
        self._changed = asyncio.Event()

    def on_ready(self, info: KernelInfo) -> None:
        self._tell(info)

    def on_message(self, message: RawMessage) -> None:
        self._tell(message)

    def on_dead(self, how: KernelExit) -> None:
        self._tell(how)

    @property
    def messages(self) -> list[RawMessage]:
        return [told for told in self.told if isinstance(told, RawMessage)]

    @property
    def exits(self) -> list[KernelExit]:
        return [told for told in self.told if isinstance(told, KernelExit)]

    def of(self, msg_id: MsgId) -> list[RawMessage]:
        return [message for message in self.messages if message.parent_id == msg_id]

    def facts(self, msg_id: MsgId) -> list[Fact]:
        return [fact for message in self.of(msg_id) if (fact := self._fact_of(message))]

    def _fact_of(self, message: RawMessage) -> Fact | None:
        """Decoded once, however often it is asked for: a flood has many thousands."""
        if id(message) not in self._facts:
            self._facts[id(message)] = fact_of(message)
        return self._facts[id(message)]

    def stdout(self, msg_id: MsgId) -> str:
        facts = self.facts(msg_id)
        return "".join(f.text for f in facts if isinstance(f, Stream) and f.name == "stdout")

    def reply(self, msg_id: MsgId) -> Replied:
        (reply,) = [fact for fact in self.facts(msg_id) if isinstance(fact, Replied)]
        return reply

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    async def ready(self) -> KernelInfo:
        def infos() -> list[KernelInfo]:
            return [told for told in self.told if isinstance(told, KernelInfo)]

        await self.until(lambda: infos() or self.exits)
        assert infos(), self.exits
        return infos()[0]

    async def dead(self) -> KernelExit:
        await self.until(lambda: self.exits)
        return self.exits[0]

    async def ended(self, msg_id: MsgId) -> Replied:
        """Reply and idle are there, in either order."""

        def kinds() -> set[type]:
            return {type(fact) for fact in self.facts(msg_id)}

        await self.until(lambda: {Replied, Idle} <= kinds())
        return self.reply(msg_id)

    async def message(self, msg_type: str, parent: MsgId) -> RawMessage:
        def found() -> list[RawMessage]:
            return [m for m in self.of(parent) if m.msg_type == msg_type]

        await self.until(found)
        return found()[0]

    def _tell(self, what: KernelInfo | RawMessage | KernelExit) -> None:
        self.told.append(what)
        self._changed.set()


class Dialect(Protocol):
    """The code that makes a kernel do something."""

    def prints(self, text: str) -> str: ...
    def raises(self, ename: str, evalue: str) -> str: ...
    def asks(self, prompt: str) -> str:
        """Then prints the answer."""

    def asks_password(self, prompt: str) -> str: ...
    def shows_and_updates(self, first: str, second: str) -> str: ...
    def sleeps(self) -> str:
        """Prints `sleeping`, then sleeps until it is interrupted."""

    def exits(self, code: int) -> str:
        """Prints `bye`, then the process ends."""

    def saves(self, name: str, text: str) -> str:
        """Into the artifact folder."""

    def prints_setup(self, text: str) -> str:
        """A line that is no message, as a program prints while it starts."""

    def names(self, name: str) -> str:
        """Then the expression `name` comes to True."""


class Script:
    """For `FakeKernel`."""

    def prints(self, text: str) -> str:
        return f"print {text}"

    def raises(self, ename: str, evalue: str) -> str:
        return f"raise {ename} {evalue}"

    def asks(self, prompt: str) -> str:
        return f"input {prompt}\necho"

    def asks_password(self, prompt: str) -> str:
        return f"password {prompt}\necho"

    def shows_and_updates(self, first: str, second: str) -> str:
        return f"show d1 {first}\nupdate d1 {second}"

    def sleeps(self) -> str:
        return "print sleeping\nsleep"

    def exits(self, code: int) -> str:
        return f"print bye\nexit {code}"

    def saves(self, name: str, text: str) -> str:
        return f"save {name} {text}"

    def prints_setup(self, text: str) -> str:
        return f"setup {text}"

    def names(self, name: str) -> str:
        return f"let {name} True"


class Python:
    """For ipykernel."""

    def prints(self, text: str) -> str:
        return f"print({text!r})"

    def raises(self, ename: str, evalue: str) -> str:
        return f"raise {ename}({evalue!r})"

    def asks(self, prompt: str) -> str:
        return f"print(input({prompt!r}))"

    def asks_password(self, prompt: str) -> str:
        return f"import getpass; print(getpass.getpass({prompt!r}))"

    def shows_and_updates(self, first: str, second: str) -> str:
        raw = "{{'text/plain': {!r}}}"
        return (
            f"from IPython.display import display\n"
            f"h = display({raw.format(first)}, raw=True, display_id='d1')\n"
            f"h.update({raw.format(second)}, raw=True)"
        )

    def sleeps(self) -> str:
        return "import time; print('sleeping', flush=True); time.sleep(600)"

    def exits(self, code: int) -> str:
        # A flush only hands the text to libzmq's thread; ended at once, that thread loses it.
        return f"import os, time; print('bye', flush=True); time.sleep(0.3); os._exit({code})"

    def saves(self, name: str, text: str) -> str:
        return (
            "import os, pathlib\n"
            f"file = pathlib.Path(os.environ['KERNEL_GATEWAY_ARTIFACT_DIR'], {name!r})\n"
            f"file.parent.mkdir(parents=True, exist_ok=True); file.write_text({text!r})"
        )

    def prints_setup(self, text: str) -> str:
        return f"import os; os.write(1, {text!r}.encode() + b'\\n')"

    def names(self, name: str) -> str:
        return f"{name} = True"


@dataclass(slots=True)
class Bench:
    launcher: Launcher
    dialect: Dialect
    kernel_id: KernelId = field(default_factory=lambda: KernelId(str(uuid4())))

    def launch(self, listener: KernelListener | None = None, **fields: Any) -> Started:
        """`fields` are those of `LaunchRequest`."""
        recorder = Recorder()
        request = {
            "kernel_id": self.kernel_id,
            "generation": Generation(1),
            "spec_name": self.launcher.default_spec(),
            **fields,
        }
        kernel = self.launcher.launch(LaunchRequest(**request), listener or recorder)
        return Started(kernel, recorder)

    async def ready(self, **fields: Any) -> Started:
        started = self.launch(**fields)
        await started.recorder.ready()
        return started


@dataclass(slots=True)
class Started:
    kernel: Kernel
    recorder: Recorder

    def send(self, code: str, *, allow_stdin: bool = False, stop_on_error: bool = False) -> MsgId:
        msg_id = MsgId(f"m{next(_ids)}")
        request = execute_request(
            msg_id, code, allow_stdin=allow_stdin, stop_on_error=stop_on_error
        )
        self.kernel.send(request)
        return msg_id

    async def value(self, expression: str, subshell_id: str) -> Json:
        """What it comes to, as the reply has it."""
        msg_id = MsgId(f"m{next(_ids)}")
        self.kernel.send(evaluate_request(msg_id, expression, subshell_id=subshell_id))
        return (await self.recorder.ended(msg_id)).expressions[VALUE]

    async def subshell(self) -> str:
        """The ID of a new one."""
        msg_id = MsgId(f"m{next(_ids)}")
        self.kernel.send(create_subshell_request(msg_id))
        made = fact_of(await self.recorder.message("create_subshell_reply", msg_id))
        assert isinstance(made, SubshellMade)
        assert made.subshell_id
        return made.subshell_id

    async def run(self, code: str) -> MsgId:
        """Execute and await reply and idle."""
        msg_id = self.send(code)
        await self.recorder.ended(msg_id)
        return msg_id

    async def printed(self, msg_id: MsgId, text: str) -> None:
        await self.recorder.until(lambda: text in self.recorder.stdout(msg_id))

    def ask(self, channel: Channel) -> MsgId:
        msg_id = MsgId(f"info{next(_ids)}")
        self.kernel.send(Request(channel=channel, msg_id=msg_id, msg_type="kernel_info_request"))
        return msg_id
