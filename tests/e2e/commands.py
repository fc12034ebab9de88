"""Our command line as a user has it: a process, its output, its exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "kernel_gateway.commands.main"]
LIMIT_S = 60  # a test that takes longer is stuck

_FIRST_LINE = re.compile(r"is at (http\S+/)(?:\?token=(\w+))?$")


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the person who runs the tests: neither configuration nor runs."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KERNEL_GATEWAY_", "JUPYTER_"))
    }
    return {
        **ours,
        "HOME": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "KERNEL_GATEWAY_DATA_DIR": str(folder / "data"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default",
        **(more or {}),
    }


def run(
    folder: Path, *arguments: str, text: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """To its end; `text` is its standard input."""
    return executed(folder, [*COMMAND, *arguments], text=text, env=env)


def executed(
    folder: Path, program: Sequence[str], text: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Any program, in the same surroundings."""
    return subprocess.run(
        program,
        cwd=folder,
        env=environment(folder, env),
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@contextmanager
def started(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, **pipes: Any
) -> Iterator[subprocess.Popen[str]]:
    """Killed when the test has failed to end it."""
    usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(folder, env),
        text=True,
        **{**usual, **pipes},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@dataclass(slots=True)
class Served:
    """A gateway that serves."""

    process: subprocess.Popen[str]
    url: str
    shown_token: str | None  # in its first line
    token: str

    def call(self, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url.rstrip("/") + path,
            method=verb,
            data=None if body is None else dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return answer.status, loads(answer.read() or b"null")
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, loads(answer.read())

    def new_kernel(self) -> str:
        kernel_id: str = self.call("POST", "/api/kernels", {})[1]["id"]
        return kernel_id

    def execute(self, kernel_id: str, **body: Any) -> tuple[int, Any]:
        return self.call("POST", f"/api/kernels/{kernel_id}/execute", body)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and what it has said since its first line."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, said


@contextmanager
def served(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """From its first line on. Any free port, unless the arguments say another."""
    port = [] if any(argument.startswith("--port") for argument in arguments) else ["--port=0"]
    with started(folder, "serve", *port, *arguments, env=env) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if match := _FIRST_LINE.search(line):
                break
        else:
            raise AssertionError(f"it does not serve: {''.join(lines)}")
        token = match[2] or (env or {}).get("KERNEL_GATEWAY_TOKEN", "")
        yield Served(process, match[1], match[2], token)
