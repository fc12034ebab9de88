"""The how-to is true: its commands and its program run as they stand there, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.backendai.client import BIN, LIMIT_S, PYTHON
from tests.e2e.commands import Served, environment, served
from tests.shared.programs import needs

ROOT = Path(__file__).parents[3]
HOWTO = (ROOT / "docs/how-to/backendai.md").read_text()
README = (ROOT / "README.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def reader(folder: Path, gateway: Served) -> dict[str, str]:
    """The environment of somebody who has typed the first two blocks: gateway and client run."""
    command = folder / "bin/kernel-gateway"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m kernel_gateway.commands.main "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{BIN}:{os.environ['PATH']}"
    return environment(folder, {"PATH": path, "PYTHONWARNINGS": "ignore"})


def shell(script: str, folder: Path, env: dict[str, str]) -> str:
    """What it prints. The first line that fails ends it, also within a pipe."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=3 * LIMIT_S,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_its_commands_and_its_program_do_what_it_says(tmp_path: Path) -> None:
    needs("gcc")
    with served(tmp_path) as gateway:
        env = reader(tmp_path, gateway)
        start, client, *rest = blocks(HOWTO, "sh")
        assert "kernel-gateway serve\n" == start
        assert "'backend.ai-client==23.9.10' 'yarl<1.17.1'" in client
        script = "".join(rest).replace("http://127.0.0.1:8888", gateway.url.rstrip("/"))
        printed = shell(script, tmp_path, env)
        for expected in blocks(HOWTO, "text"):
            assert expected in printed
        assert (tmp_path / "downloads/main.c").read_text() == (tmp_path / "main.c").read_text()
        (program,) = blocks(HOWTO, "python")
        (tmp_path / "program.py").write_text(program)
        keys = script[: script.index("backend.ai run")]
        said = shell(f"{keys}\n{PYTHON} program.py", tmp_path, env)
        assert "Hello, Grace" in said
        assert "'name'" in said.splitlines()[-1]


def test_the_examples_of_the_readme_run_as_they_stand_there(tmp_path: Path) -> None:
    needs("gcc")
    (lines,) = (block for block in blocks(README, "sh") if "backend.ai run" in block)
    with served(tmp_path) as gateway:
        env = reader(tmp_path, gateway)
        keys = blocks(HOWTO, "sh")[2].replace("http://127.0.0.1:8888", gateway.url.rstrip("/"))
        (source,) = re.findall(r"^#include.*?^}\n", HOWTO, re.MULTILINE | re.DOTALL)
        (tmp_path / "main.c").write_text(source)
        printed = shell(f"{keys}\n{lines}", tmp_path, env)
    assert printed.startswith("42\n")
    assert printed.rstrip().endswith("Your name? Hello, Ada!")
