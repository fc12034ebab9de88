"""The SDK's `Session`, which is not asynchronous, in a program of its user."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.backendai.client import LIMIT_S, PYTHON, environment

if TYPE_CHECKING:
    from tests.e2e.backendai.client import Account

PROGRAM = Path(__file__).with_name("sync_session.py")


def test_a_program_that_polls_gets_everything(account: Account, name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [PYTHON, PROGRAM, name, "Zoë"],
        cwd=tmp_path,
        env=environment(account, tmp_path),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    lines = [line for line in done.stdout.splitlines() if line != "continued None"]
    assert [
        "clean-finished 0",
        "build-finished 0",
        "stdout 'Name? '",
        "waiting-input None",
        "stdout 'hello Zoë\\n'",
        "finished 3",
        "['main.py']",
    ] == lines
    assert (tmp_path / "main.py").read_text() == (tmp_path / "back/main.py").read_text()
