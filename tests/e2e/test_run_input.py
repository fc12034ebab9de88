"""`kernel-gateway run` with cells that ask, and with values that nobody is to see."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.commands import LIMIT_S, run, started
from tests.e2e.test_run_command import Output, notebook

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

VALUE = "s3cr3t+of/ours"
SHOWS = "\n".join(
    [
        "import base64, contextlib, glob, os, sys",
        "key = os.environ['KEY']",
        "print('length', len(key))",
        "for part in (key[:4], key[4:]):",
        "    print(part, end='', flush=True)",
        "print(' here')",
        "os.write(2, key.encode())",
        "print(base64.b64encode(key.encode()).decode(), file=sys.stderr)",
        "found = []",
        "for path in glob.glob('/proc/*/cmdline'):",
        "    with contextlib.suppress(OSError), open(path, 'rb') as line:  # it may be gone by now",
        "        found += [path] * (key.encode() in line.read())",
        "print('on command lines:', found)",
        "open(f'{os.environ[\"KERNEL_GATEWAY_ARTIFACT_DIR\"]}/{key[:6]}', 'w').close()",
    ]
)


def test_a_secret_is_known_to_cells_alone(tmp_path: Path) -> None:
    """A word that is no secret is found, so the search would find the other."""
    notebook(tmp_path / "in.ipynb", SHOWS, "input(key)", "raise ValueError({'key': key})")
    (tmp_path / "lines").write_text(f"it is {VALUE}\n")
    options = ("--secret", "KEY=env:TOKEN", "--answers=lines", "--input-timeout=30", "--debug")
    process = run(
        tmp_path, "run", "in.ipynb", *options, "--log=log", "--log-output", env={"TOKEN": VALUE}
    )
    assert 1 == process.returncode, process.stderr
    output = Output(tmp_path / "in.out.ipynb")
    assert ["ok", "ok", "error"] == output.states
    assert f"length {len(VALUE)}\n*** here\non command lines: []\n" in output.text(0)
    assert "***\n" in output.text(0, "stderr")
    (tmp_path / "lines").unlink()
    told = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert b"it is ***" in told[tmp_path / "log"]
    assert "ValueError: {'key': '***'}" in process.stderr
    found = [path for path, data in told.items() if VALUE.encode() in data]
    assert [] == found
    assert VALUE not in process.stderr


class Tty:
    """Somebody who sits at a terminal, and the command that was begun there."""

    def __init__(self, descriptor: int, process: subprocess.Popen[str]) -> None:
        self._descriptor = descriptor
        self.process = process
        self.shown = ""

    def until(self, text: str) -> None:
        """It stands there."""
        while text not in self.shown:
            self.shown += os.read(self._descriptor, 65_536).decode()

    def types(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def exit_code(self) -> int:
        try:
            while chunk := os.read(self._descriptor, 65_536):
                self.shown += chunk.decode()
        except OSError:  # Linux's way to say that the last writer is gone
            pass
        return self.process.wait(timeout=LIMIT_S)


@contextmanager
def at_terminal(folder: Path, *arguments: str) -> Iterator[Tty]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with started(
        folder, "run", *arguments, stdout=theirs, stderr=theirs, stdin=theirs, process_group=0
    ) as process:
        os.close(theirs)
        try:
            yield Tty(ours, process)
        finally:
            os.close(ours)


def test_somebody_at_the_terminal_answers(tmp_path: Path) -> None:
    """And has no answer at last. A password is not shown."""
    notebook(
        tmp_path / "in.ipynb",
        "from getpass import getpass\nname = input('Name? ')",
        "# The first line is shown beside the cells that are over.\n"
        "word = getpass('Word: ')\nprint(name, len(word))",
        "#\ninput('More? ')",
    )
    with at_terminal(tmp_path, "--stdin", "in.ipynb") as tty:
        tty.until("Name? ")
        tty.types("Ада\n")
        tty.until("Word: ")
        tty.types("hunter22\n")
        tty.until("More? ")
        tty.types("\x04")
        assert 7 == tty.exit_code()
    assert "Name? Ада\r\n" in tty.shown
    assert "hunter22" not in tty.shown
    assert "The code asked for input and none is given." in tty.shown
    output = Output(tmp_path / "in.out.ipynb")
    assert ["ok", "ok", "error"] == output.states
    assert "Ада 8\n" == output.text(1)


def test_an_interrupt_at_a_prompt_ends_the_run(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "#\ninput('Name? ')", "print(1)")
    with at_terminal(tmp_path, "--stdin", "in.ipynb") as tty:
        tty.until("Name? ")
        tty.process.send_signal(2)
        assert 130 == tty.exit_code()
    assert ["cancelled", "not-run"] == Output(tmp_path / "in.out.ipynb").states


def test_usage_of_secrets_and_answers(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "1")
    process = run(tmp_path, "run", "in.ipynb", "--secret", "KEY=env:NOT_THERE")
    sentence = "--secret KEY: the environment has no variable NOT_THERE."
    assert (2, f"kernel-gateway run: {sentence}\n") == (process.returncode, process.stderr)
    assert not (tmp_path / "in.out.ipynb").exists()
