"""A command kernel for each test, spoken to over the gateway's own seam."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.messaging.facts import InputRequested, Replied, Stream, fact_of
from kernel_gateway.messaging.message import MsgId, execute_request, input_reply
from tests.shared.kernels import HANG_LIMIT_S, Bench, Script
from tests.shared.programs import needs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from kernel_gateway.messaging.raw import RawMessage
    from kernel_gateway.messaging.strict_json import Json
    from tests.shared.kernels import Recorder, Started

SPECS = Path(__file__).parents[3] / "kernelspec"
SPEC = "kernel-gateway-command"


class Shell:
    """A command kernel that is ready."""

    def __init__(self, started: Started, mark: str) -> None:
        self.kernel = started.kernel
        self.recorder: Recorder = started.recorder
        self._mark = mark

    def send(
        self,
        code: str,
        *,
        stop_on_error: bool = False,
        silent: bool = False,
        metadata: Mapping[str, Json] | None = None,
    ) -> MsgId:
        return self._send(
            code,
            allow_stdin=False,
            stop_on_error=stop_on_error,
            silent=silent,
            metadata=metadata,
        )

    def send_talkative(self, code: str) -> MsgId:
        """One that may ask."""
        return self._send(code, allow_stdin=True, stop_on_error=False, silent=False)

    async def run(self, code: str) -> MsgId:
        msg_id = self.send(code)
        await self.recorder.ended(msg_id)
        return msg_id

    async def output(self, code: str, metadata: Mapping[str, Json] | None = None) -> str:
        """What it prints to stdout."""
        msg_id = self.send(code, metadata=metadata)
        await self.recorder.ended(msg_id)
        return self.text(msg_id)

    def text(self, msg_id: MsgId, stream: str = "stdout") -> str:
        facts = self.recorder.facts(msg_id)
        return "".join(f.text for f in facts if isinstance(f, Stream) and f.name == stream)

    async def exit_code(self, msg_id: MsgId) -> object:
        await self.recorder.ended(msg_id)
        return (await self.recorder.message("execute_reply", msg_id)).content["exit_code"]

    async def printed(self, msg_id: MsgId, text: str) -> None:
        await self.recorder.until(lambda: text in self.text(msg_id))

    def questions(self, msg_id: MsgId) -> list[tuple[str, bool]]:
        """Prompt and whether it is for a password."""
        facts = map(fact_of, self._asked(msg_id))
        return [(f.prompt, f.password) for f in facts if isinstance(f, InputRequested)]

    async def asked(self, msg_id: MsgId, times: int = 1) -> tuple[str, bool]:
        """Returns at the first, second ... question."""

        def ended() -> bool:
            return any(isinstance(fact, Replied) for fact in self.recorder.facts(msg_id))

        await self.recorder.until(lambda: len(self._asked(msg_id)) >= times or ended())
        assert len(self._asked(msg_id)) >= times, self.recorder.facts(msg_id)
        return self.questions(msg_id)[times - 1]

    def answer(self, msg_id: MsgId, value: str) -> None:
        """To the last question."""
        parent = self._asked(msg_id)[-1].header
        self.kernel.send(input_reply(MsgId(uuid4().hex), value, parent=parent))

    async def talk(self, code: str, *answers: str) -> MsgId:
        """Run it, and answer each of its questions."""
        msg_id = self.send_talkative(code)
        for number, value in enumerate(answers, start=1):
            await self.asked(msg_id, number)
            self.answer(msg_id, value)
        await self.recorder.ended(msg_id)
        return msg_id

    def processes(self) -> list[int]:
        """All that live of what this kernel has started, at whatever remove."""
        return [pid for pid in _marked(self._mark) if not _is_kernel(pid)]

    def everything(self) -> list[int]:
        """With the kernel itself."""
        return list(_marked(self._mark))

    async def nothing_left(self) -> None:
        """For a kernel that has ended. What it was running may fork once more while it dies."""
        while left := self.everything():
            await all_gone(left)

    def _send(
        self,
        code: str,
        *,
        allow_stdin: bool,
        stop_on_error: bool,
        silent: bool,
        metadata: Mapping[str, Json] | None = None,
    ) -> MsgId:
        msg_id = MsgId(uuid4().hex)
        request = execute_request(
            msg_id,
            code,
            allow_stdin=allow_stdin,
            stop_on_error=stop_on_error,
            silent=silent,
            metadata=metadata,
        )
        self.kernel.send(request)
        return msg_id

    def _asked(self, msg_id: MsgId) -> list[RawMessage]:
        return [m for m in self.recorder.of(msg_id) if m.header.msg_type == "input_request"]


@asynccontextmanager
async def open_shell(**settings: object) -> AsyncIterator[Shell]:
    """Its kernel has ended when it is left, if it has not before."""
    mark = uuid4().hex
    launcher = LocalLauncher(KernelSettings(spec_folders=(SPECS,), **settings))  # type: ignore[arg-type]
    try:
        bench = Bench(launcher, Script())
        started = await bench.ready(spec_name=SPEC, env={"MARK_OF_THE_TEST": mark})
        shell = Shell(started, mark)
        yield shell
        await shell.kernel.terminate()
        await shell.kernel.wait_dead()
        await shell.nothing_left()
    finally:
        await launcher.close()


@pytest.fixture
async def shell(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    for name in ("TERM", "PAGER", "GIT_PAGER", "NO_COLOR"):  # of whoever runs the tests
        monkeypatch.delenv(name, raising=False)
    async with open_shell() as shell:
        yield shell


async def all_gone(pids: Iterable[int]) -> None:
    """Returns when these processes, which need not be our children, have ended."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for pid in pids:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, pidfd)
            gone = asyncio.Event()
            loop.add_reader(pidfd, gone.set)
            stack.callback(loop.remove_reader, pidfd)
            try:
                await asyncio.wait_for(gone.wait(), HANG_LIMIT_S)
            except TimeoutError:
                raise AssertionError(f"it has not ended: {_described(pid)}") from None


def _described(pid: int) -> str:
    """What there is to know of a process that should be gone."""
    process = Path(f"/proc/{pid}")
    try:
        command = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
        stat = process.joinpath("stat").read_text()
        status = process.joinpath("status").read_text()
        where = process.joinpath("wchan").read_text()
    except OSError as fault:
        return f"{pid} ({fault})"
    signals = [line for line in status.splitlines() if line.startswith(("Sig", "Shd", "State"))]
    return f"{command!r} {stat!r} {signals} waits in {where}"


def compiled(folder: Path, source: str) -> str:
    """A C program; how to call it."""
    (folder / "program.c").write_text(source)
    program = folder / "program"
    subprocess.run([needs("gcc"), "-o", program, folder / "program.c"], check=True)
    return str(program)


def compiled_java(folder: Path, source: str) -> str:
    """The class `Program`; how to call it."""
    (folder / "Program.java").write_text(source)
    subprocess.run([needs("javac"), "Program.java"], cwd=folder, check=True)
    return f"{needs('java')} -cp {folder} Program"


def _marked(mark: str) -> Iterable[int]:
    wanted = f"MARK_OF_THE_TEST={mark}".encode()
    for name in os.listdir("/proc"):
        if name.isdecimal() and wanted in _content(f"/proc/{name}/environ").split(b"\0"):
            yield int(name)


def _is_kernel(pid: int) -> bool:
    return b"kernel_gateway.command_kernel" in _content(f"/proc/{pid}/cmdline").split(b"\0")


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
