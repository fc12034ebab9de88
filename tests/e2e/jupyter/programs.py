"""Programs in the environment of Jupyter's clients, and the how-to that its readers follow."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import TOKEN

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Server

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".clients/jupyter/bin/python"
HOWTO = (ROOT / "docs/how-to/clients.md").read_text()
LIMIT_S = 60.0  # a program that takes longer is stuck


def blocks(language: str) -> list[str]:
    """Of the how-to."""
    return re.findall(rf"^```{language}\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)


def environment(folder: Path, server: Server | None) -> dict[str, str]:
    """Of somebody who works in that folder; nothing of the person who runs the tests."""
    gateway = {
        "JUPYTER_GATEWAY_URL": server.url,
        "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN,
    } if server is not None else {}  # fmt: skip
    return {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(folder),
        "JUPYTER_PLATFORM_DIRS": "1",
        **gateway,
    }
