"""Cells that ask, and who answers: a list of lines, or somebody at a terminal."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.commands.answers import Terminal, read_answers
from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.progress import Screen
from kernel_gateway.notebook.answers import Listed
from kernel_gateway.notebook.plan import PlanOptions
from kernel_gateway.notebook.runner import Stop
from kernel_gateway.runs import records
from kernel_gateway.runs.plan import Limits
from kernel_gateway.runs.records import Record
from tests.fake.notebook.conftest import HANG_LIMIT_S, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kernel_gateway.notebook.answers import Answers
    from kernel_gateway.notebook.runner import Event, NotebookResult

MAY_ASK = PlanOptions(allow_stdin=True)
NO_INPUT = ("error", "no_input")


async def answered(
    bench: Bench, answers: Answers, *cells: str, options: PlanOptions = MAY_ASK, **job: Any
) -> NotebookResult:
    return await bench.run(*cells, answers=answers, options=options, **job)


def end(result: NotebookResult) -> tuple[str, str]:
    return result.outcome.value, result.reason.code


async def test_each_prompt_gets_the_next_line(bench: Bench) -> None:
    result = await answered(
        bench, Listed(["Ada", "Grace"]), "input a\necho\ninput b\necho", "print end"
    )
    assert ("ok", "done") == end(result)
    assert ["Ada\nGrace\n"] == bench.shelf.texts(0)


async def test_without_a_line_for_it_a_prompt_ends_the_run(bench: Bench) -> None:
    result = await answered(bench, Listed(["Ada"]), "input a\necho", "input b", "print end")
    assert NO_INPUT == end(result)
    assert "The code asked for input and none is given." == result.reason.message
    assert ["ok", "error", "not-run"] == bench.shelf.states()


async def test_a_password_is_in_neither_log_nor_notebook(bench: Bench) -> None:
    await answered(bench, Listed(["hunter22", "Ada"]), "password p\ninput n")
    told = [event.body for event in bench.events if isinstance(event, Record)]
    values = [body.value for body in told if isinstance(body, records.InputAnswered)]
    assert [None, "Ada"] == values
    assert "hunter22" not in repr((bench.events, bench.shelf.saves))


@pytest.mark.parametrize("text", ["Ж東京👩‍🚀", "x" * 100_000])
async def test_an_answer_is_any_text(bench: Bench, text: str) -> None:
    await answered(bench, Listed([text]), "input a\necho")
    assert [f"{text}\n"] == bench.shelf.texts(0)


class Never:
    """Somebody who has gone for lunch."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.given_up = 0

    async def answer(self, prompt: str, *, hidden: bool) -> str | None:
        self.asked.append(prompt)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return None


async def test_nobody_is_asked_any_more_when_a_limit_has_struck(bench: Bench) -> None:
    nobody = Never()
    limited = PlanOptions(allow_stdin=True, limits=Limits(input=0.5))
    result = await answered(bench, nobody, "input a", options=limited)
    assert ("timeout", "input_limit") == end(result)
    assert (["a"], 1) == (nobody.asked, nobody.given_up)


async def test_a_stop_ends_a_run_that_waits_for_an_answer(bench: Bench) -> None:
    nobody = Never()

    def stop(event: Event) -> None:
        if isinstance(event, Record) and isinstance(event.body, records.InputAsked):
            bench.stop(Stop.INTERRUPT)

    bench.on_event = stop
    result = await answered(bench, nobody, "input a", "print end")
    assert ("cancelled", "cancelled") == end(result)
    assert len(nobody.asked) == nobody.given_up


# -- the terminal ----------------------------------------------------------------------------------


class Tty:
    """A terminal: `typed` is what somebody types, `shown` what is on it."""

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave
        self.shown = io.StringIO()
        self.screen = Screen(self.shown, 1)
        self.terminal = Terminal(self.screen, stdin=slave, stderr=slave)

    async def asks(
        self, typed: str, *, hidden: bool = False, name: str | None = None
    ) -> str | None:
        """One prompt, which is answered when it is there."""
        answering = asyncio.create_task(self.terminal.of(name).answer("Name? ", hidden=hidden))
        async with asyncio.timeout(HANG_LIMIT_S):
            while "Name? " not in self.shown.getvalue():
                await asyncio.sleep(0)
            os.write(self.master, typed.encode())
            return await answering


@contextmanager
def a_tty() -> Iterator[Tty]:
    master, slave = pty.openpty()
    try:
        yield Tty(master, slave)
    finally:
        os.close(master)
        os.close(slave)


async def test_whoever_sits_at_the_terminal_is_asked() -> None:
    with a_tty() as tty:
        assert "Ada Ж" == await tty.asks("Ada Ж\n")
        assert "Name? " == tty.shown.getvalue()


async def test_of_several_runs_the_one_that_asks_is_named() -> None:
    with a_tty() as tty:
        assert "Ada" == await tty.asks("Ada\n", name="a\x1b.ipynb")
        assert tty.shown.getvalue().endswith(".ipynb: Name? ")
        assert "\x1b" not in tty.shown.getvalue()


async def test_a_password_is_not_echoed() -> None:
    with a_tty() as tty:
        assert "hunter22" == await tty.asks("hunter22\n", hidden=True)
        assert b"\r\n" == os.read(tty.master, 100), "the return alone"
        assert termios.tcgetattr(tty.slave)[3] & termios.ECHO


async def test_an_end_of_input_is_no_answer() -> None:
    with a_tty() as tty:
        assert await tty.asks("\x04") is None


async def test_a_terminal_that_has_gone_away_gives_no_answer() -> None:
    tty = Tty(*pty.openpty())
    os.close(tty.master)
    try:
        assert await tty.terminal.ask("Name? ", hidden=True) is None
    finally:
        os.close(tty.slave)


async def test_a_standard_input_that_cannot_be_read_gives_no_answer(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        terminal = Terminal(Screen(io.StringIO(), 1), stdin=folder)
        assert await terminal.ask("Name? ", hidden=False) is None
    finally:
        os.close(folder)


async def test_bytes_that_are_no_text_are_replaced() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a\xed\xa0\x80b\nnext")
    os.close(writing)
    shown = io.StringIO()
    terminal = Terminal(Screen(shown, 1), stdin=reading)
    try:
        assert "a\ufffd\ufffd\ufffdb" == await terminal.ask("One? ", hidden=False)
        assert "next" == await terminal.ask("Two? ", hidden=True)
        assert await terminal.ask("Three? ", hidden=False) is None
    finally:
        os.close(reading)
    assert "One? \nTwo? \nThree? \n" == shown.getvalue(), "nobody presses return"


async def test_one_run_asks_at_a_time() -> None:
    with a_tty() as tty:
        first = asyncio.create_task(tty.terminal.of("a").answer("First? ", hidden=False))
        second = asyncio.create_task(tty.terminal.of("b").answer("Second? ", hidden=False))
        async with asyncio.timeout(HANG_LIMIT_S):
            while not tty.shown.getvalue():
                await asyncio.sleep(0)
            assert "a: First? " == tty.shown.getvalue()
            os.write(tty.master, b"1\n2\n")
            assert ["1", "2"] == [await first, await second]
        assert "a: First? b: Second? " == tty.shown.getvalue()


# -- a file ----------------------------------------------------------------------------------------


def test_answers_are_the_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\n")
    assert ["one", "two"] == read_answers(str(tmp_path / "lines"))


def test_a_file_of_answers_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The answers in /no/where cannot be read: No such file"):
        read_answers("/no/where")
