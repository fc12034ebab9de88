"""The guide to webhooks is true: its receiver and its run do what it says."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_gateway.service import WebhookEvent
from kernel_gateway.webhooks import message
from kernel_gateway.webhooks.settings import WebhookSettings
from tests.e2e.commands import environment, served

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = (Path(__file__).parents[2] / "docs/how-to/webhooks.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def receiver(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    (folder / "receiver.py").write_text(blocks("python")[0].replace("9000", str(port)))
    command = [sys.executable, "receiver.py"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_its_receiver_is_told_of_its_run(tmp_path: Path) -> None:
    port = free_port()
    (run,) = re.findall(r"--json '(\{.*?\n\})'", GUIDE, re.DOTALL)
    body: Any = json.loads(run.replace("9000", str(port)))
    (expected,) = blocks("text")
    with (
        receiver(tmp_path, port) as process,
        served(tmp_path, "--Webhooks.allowed_hosts=127.0.0.1") as gateway,
    ):
        assert process.stdout is not None
        assert 201 == gateway.call("POST", "/api/runs", body)[0]
        said = [process.stdout.readline() for _ in expected.splitlines()]
        assert 0 == gateway.stop()[0]
    assert expected == "".join(said)


def test_its_tables_name_every_event_and_every_header() -> None:
    assert set(WebhookEvent) == set(re.findall(r"^\| `(\w+)` \| `", GUIDE, re.MULTILINE))
    for header in (message.DELIVERY, message.ATTEMPT, message.SIGNATURE):
        assert f"| `{header}`" in GUIDE


def test_its_numbers_are_the_defaults() -> None:
    settings = WebhookSettings()
    assert f"After {settings.tries} tries" in GUIDE
    assert f"within {settings.timeout_s:g} s" in GUIDE
    assert f"after {settings.first_pause_s:g} s" in GUIDE
    assert f"most {settings.most_pause_s:g} s" in GUIDE
    assert f"within {settings.drain_s:g} s" in GUIDE
