"""What needs a system that is unlike ours: one cell, run by the test itself."""

from __future__ import annotations

import asyncio
import os

import pytest

from kernel_gateway.command_kernel import cell, processes
from kernel_gateway.command_kernel.cell import BLIND, CANNOT_RUN, Cell


class Console:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.questions: list[tuple[str, bool]] = []
        self.heard = asyncio.Event()

    def show(self, stream: str, text: str) -> None:
        self.shown.append((stream, text))
        self.heard.set()

    def ask(self, prompt: str, password: bool) -> None:
        self.questions.append((prompt, password))


async def test_where_waits_cannot_be_seen_the_input_is_at_its_end_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cell, "can_see", lambda: False)
    console = Console()
    code = "read x || echo end; read x < /dev/tty || echo end"
    assert 0 == await Cell(code, show=console.show, ask=console.ask, metadata={}).run()
    assert ("stderr", BLIND) == console.shown[0]
    assert "end\nend\n" == "".join(text for stream, text in console.shown[1:])
    assert [] == console.questions


async def test_a_cell_that_is_cut_short_leaves_nothing() -> None:
    console = Console()
    running = asyncio.create_task(
        Cell("echo $$; exec sleep 600", show=console.show, ask=None, metadata={}).run()
    )
    await console.heard.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    ((_, pid),) = console.shown
    with pytest.raises(ProcessLookupError):
        os.killpg(int(pid), 0)


async def test_a_system_without_a_terminal_to_give_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses() -> tuple[int, int]:
        raise OSError("out of pty devices")

    monkeypatch.setattr(os, "openpty", refuses)
    console = Console()
    assert CANNOT_RUN == await Cell("true", show=console.show, ask=None, metadata={}).run()
    assert [("stderr", "The command cannot be started: out of pty devices\n")] == console.shown


async def test_a_system_without_a_pidfd_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(pid: int) -> int:
        raise OSError("Function not implemented")

    monkeypatch.setattr(processes.os, "pidfd_open", refuses)  # type: ignore[attr-defined]
    console = Console()
    assert CANNOT_RUN == await Cell("sleep 600", show=console.show, ask=None, metadata={}).run()
