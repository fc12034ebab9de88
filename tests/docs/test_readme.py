"""The README is true: its commands and its program run as they stand there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

from tests.e2e.commands import run, served

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_its_commands_are_there_and_can_be_run() -> None:
    named = re.findall(r"^\./(scripts/\w+)", README, re.MULTILINE)
    assert ["scripts/demo", "scripts/test"] == named
    assert all((ROOT / script).stat().st_mode & 0o111 for script in named)


def test_its_commands_for_a_notebook_and_for_code_do_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    (tmp_path / "out").mkdir()
    commands = [block for block in blocks("sh") if "kernel-gateway" in block]
    lines = [line for block in commands for line in block.splitlines() if "serve" not in line]
    printed = [_run(line, tmp_path) for line in lines]
    assert 2 == len(lines)
    assert (tmp_path / "out/hello.ipynb").exists()
    assert "42\n" == printed[1]


def _run(line: str, folder: Path) -> str:
    """A line of the README, with the command that is under test."""
    words = shlex.split(line)
    assert "kernel-gateway" == words[0]
    done = run(folder, *words[1:])
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_its_program_talks_to_a_server_until_the_end(tmp_path: Path) -> None:
    (program,) = blocks("python")
    with served(tmp_path) as gateway:
        program = program.replace("http://127.0.0.1:8888/", gateway.url)
        program = program.replace('"..."', repr(gateway.token))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(program, "README.md", "exec"), {})
        assert 0 == gateway.stop()[0]
    said = printed.getvalue()
    assert said.startswith("continued [")  # with nothing yet, where the kernel takes long to start
    assert "continued [['stdout', '0" in said
    assert list(map(str, range(20))) == re.findall(r"(\d+)\\n", said)
    assert "waiting-input" in said
    assert said.endswith("finished with exit code 0\n")
