"""`fork_server/command_line.py`: what others see of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.kernel.fork_server.served import LIMIT_S

#: Says what it is to seem, and what it then seems to be; `{before}` comes first.
PROGRAM = """
from pathlib import Path
from kernel_gateway.fork_server import command_line
{before}
command_line.show_as([{words}], {{"A": "1", "B": "\\udcff"}})
print([Path("/proc/self/cmdline").read_bytes(), Path("/proc/self/environ").read_bytes()])
"""
#: As where a process may not say where its words are.
FORBIDDEN = "command_line._move = lambda words, variables: False"
LONG = "'word', 'x' * 100_000"


def shown(words: str, before: str = "") -> list[bytes]:
    program = PROGRAM.format(words=words, before=before)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=LIMIT_S, check=True
    )
    told: list[bytes] = eval(done.stdout)
    return told


@pytest.mark.parametrize(
    ("words", "expected"),
    [("'one', 'two words'", b"one\0two words\0"), (LONG, b"word\0" + b"x" * 100_000 + b"\0")],
)
def test_a_process_seems_to_be_another(words: str, expected: bytes) -> None:
    assert [expected, b"A=1\0B=\xff\0"] == shown(words)


def test_where_it_may_not_its_words_are_overwritten() -> None:
    command, _ = shown("'one', 'two'", FORBIDDEN)
    assert b"one\0two" == command.rstrip(b"\0")


def test_there_is_as_much_room_as_it_was_started_with() -> None:
    command, variables = shown(LONG, FORBIDDEN)
    assert command.startswith(b"word\0xxx")
    assert command.endswith(b"x\0")
    assert len(command) < 10_000
    assert b"x" * 100 not in variables
