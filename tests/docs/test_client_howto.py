"""The how-to of the client is true: its programs and commands do what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from kernel_gateway.client import AsyncClient, Client
from tests.e2e.commands import environment, run, served

HOWTO = (Path(__file__).parents[2] / "docs/how-to/client.md").read_text()
TOKEN = "a-secret-of-yours"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)


def test_its_programs_print_what_it_says_and_its_commands_work(tmp_path: Path) -> None:
    with served(tmp_path, env={"KERNEL_GATEWAY_TOKEN": TOKEN}) as gateway:
        here = gateway.url.rstrip("/")
        for program, expected in zip(blocks("python"), blocks("text"), strict=True):
            done = subprocess.run(
                [sys.executable, "-c", program.replace("http://127.0.0.1:8888", here)],
                cwd=tmp_path,
                env=environment(tmp_path),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert (expected, "") == (done.stdout, done.stderr)
        env = {"KERNEL_GATEWAY_URL": here, "KERNEL_GATEWAY_TOKEN": TOKEN}
        for line in blocks("sh")[1].splitlines()[1:]:
            words = shlex.split(line)
            assert "kernel-gateway" == words[0]
            done = run(tmp_path, *words[1:], env=env)
            assert (0, "") == (done.returncode, done.stderr), line
        assert "all is well" == (tmp_path / "results/report.txt").read_text()
        assert 0 == gateway.stop()[0]


def test_every_method_of_the_clients_is_in_its_table() -> None:
    of_all = {name for name in vars(Client) if not name.startswith("_")} - {"close", "ask"}
    assert of_all == {name for name in vars(AsyncClient) if not name.startswith("_")} - {
        "aclose",
        "ask",
    }
    assert set() == {name for name in of_all if f"`{name}(" not in HOWTO}
