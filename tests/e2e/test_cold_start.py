"""What `kernel-gateway run` does first: its kernel comes up while it gets itself ready."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.commands import LIMIT_S, executed
from tests.e2e.test_run_command import notebook

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

#: The command, which tells of each kernel that it starts.
_TOLD = """
import sys, threading

launched = threading.Event()

def hear(event, details):
    if event == "subprocess.Popen" and "ipykernel_launcher" in details[1]:
        print("launched", flush=True)
        launched.set()

sys.addaudithook(hear)
"""

#: It has its database only when it has a kernel.
_IN_ORDER = f"""
def hold_back(event, details):
    if event == "import" and details[0] == "sqlalchemy" and not launched.wait({LIMIT_S / 2}):
        raise ImportError("no kernel was launched before")

sys.addaudithook(hold_back)
"""

_MAIN = """
from kernel_gateway.commands.main import main
main(sys.argv[1:])
"""


def _run(folder: Path, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return executed(folder, [sys.executable, "-c", program + _MAIN, "run", "in.ipynb", *options])


@pytest.mark.parametrize(
    "options",
    [[], ["-p", "x", "1"], ["--start-timeout=60", "--cwd=notebook"], ["--secret=NAME=env:HOME"]],
    ids=["plain", "parameter", "limit", "secret"],
)
def test_the_kernel_is_launched_before_the_database_is_imported_and_is_the_only_one(
    tmp_path: Path, options: list[str]
) -> None:
    notebook(tmp_path / "in.ipynb", "print(1)")
    process = _run(tmp_path, _TOLD + _IN_ORDER, *options)
    assert (0, "launched\n") == (process.returncode, process.stdout), process.stderr


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        ("1", ["-k", "nope"], 3),
        ("x = 1", ["-p", "y", "1"], 2),
        ("1", ["--from=nope"], 2),
        (None, [], 2),
    ],
    ids=["no kernel", "no parameter", "no cell", "no notebook"],
)
def test_nothing_is_launched_for_what_cannot_be_run(
    tmp_path: Path, content: str | None, options: list[str], code: int
) -> None:
    path = tmp_path / "in.ipynb"
    if content is None:
        path.write_text("{}")
    else:
        whole = json.loads(notebook(path, content).read_text())
        whole["cells"][0]["metadata"]["tags"] = ["parameters"]
        path.write_text(json.dumps(whole))
    process = _run(tmp_path, _TOLD, *options)
    assert (code, "") == (process.returncode, process.stdout), process.stderr
