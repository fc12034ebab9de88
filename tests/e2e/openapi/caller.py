"""schemathesis, in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import TOKEN

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Server

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BIN = ROOT / ".clients/openapi/bin"

LIMIT_S = 240  # mostly it takes a fourth of that

#: They last as long as their client.
LASTING = ("followRun", "openChannels", "listenToComputeSessions", "streamExecution")

_CALLED = re.compile(r"Selected: (\d+)/\d+\n +Tested: \1$", re.MULTILINE)


def said(*command: str | Path, folder: Path) -> str:
    """What a program of that environment says; it must end well."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert 0 == done.returncode, done.stdout
    return done.stdout


def call_all(server: Server, *arguments: str) -> None:
    """Whatever these arguments select: each operation, and each answer must be as described."""
    text = said(
        BIN / "schemathesis",
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"{server.url}/api/openapi.json",
        f"--header=Authorization: token {TOKEN}",
        "--no-color",
        *(f"--exclude-operation-id={name}" for name in LASTING),
        *arguments,
        folder=server.data_dir.parent,
    )
    assert _CALLED.search(text), text
