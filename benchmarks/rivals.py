"""jupyter_kernel_gateway and jupyter_server, each in an environment of its own (`peer-env`).

They are as their users get them, but for a token and a port. As shipped both drop output above a
rate; `limited=False` switches that off, and the name says so. Kernels are those of this environment
for everybody: a rival finds them in a folder of kernelspecs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import IPYKERNEL, NO_HISTORY, START_LIMIT_S, TOKEN, HttpConnection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
CLIENTS = HERE.parent / ".clients"

_COMMANDS = {
    "jupyter_kernel_gateway": "jupyter-kernelgateway",
    "jupyter_server": "jupyter-server",
}

#: Kernelspecs of the benchmarks.
CELLS, CELLS_HISTORY, BURST, SLOW = "cells", "cells-history", "burst", "slow"
BURST_COMMAND = (str(HERE / "burst.py"),)
SLOW_START_S = 10


class Rival:
    """A server of somebody else in a process of its own."""

    def __init__(self, name: str, pid: int, port: int) -> None:
        self.name = name
        self.pid = pid
        self.port = port

    def connection(self) -> HttpConnection:
        return HttpConnection(self.port)


@contextmanager
def jupyter_kernel_gateway(specs: Path, *, limited: bool = True) -> Iterator[Rival]:
    options = [f"--KernelGatewayApp.auth_token={TOKEN}"]
    with _served("jupyter_kernel_gateway", options, specs, limited=limited) as rival:
        yield rival


@contextmanager
def jupyter_server(specs: Path, *, limited: bool = True) -> Iterator[Rival]:
    options = ["--no-browser", "--allow-root", f"--IdentityProvider.token={TOKEN}"]
    with _served("jupyter_server", options, specs, limited=limited) as rival:
        yield rival


@contextmanager
def kernelspecs() -> Iterator[Path]:
    """For `JUPYTER_PATH`."""
    ipykernel = [sys.executable, *IPYKERNEL, "{connection_file}"]
    burst = [sys.executable, *BURST_COMMAND, "{connection_file}"]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _write_spec(Path(folder), CELLS, [*ipykernel, NO_HISTORY])
        _write_spec(Path(folder), CELLS_HISTORY, ipykernel)
        _write_spec(Path(folder), BURST, burst)
        slow = f'sleep {SLOW_START_S}; exec "$0" "$@"'
        _write_spec(Path(folder), SLOW, ["/bin/sh", "-c", slow, *ipykernel])
        yield Path(folder)


def _write_spec(folder: Path, name: str, argv: Sequence[str]) -> None:
    spec = folder / "kernels" / name / "kernel.json"
    spec.parent.mkdir(parents=True)
    language = "burst" if name == BURST else "python"
    spec.write_text(json.dumps({"argv": argv, "display_name": name, "language": language}))


@contextmanager
def _served(package: str, options: Sequence[str], specs: Path, *, limited: bool) -> Iterator[Rival]:
    executable = CLIENTS / package / "bin" / _COMMANDS[package]
    if not executable.exists():
        raise RuntimeError(f"there is no {executable}: run benchmarks/peer-env")
    port = _free_port()
    unlimited = [] if limited else ["--ZMQChannelsWebsocketConnection.limit_rate=False"]
    # Theirs is a package of the same name as ours, which must be nowhere on their path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "log"
        process = subprocess.Popen(
            [str(executable), "--ip=127.0.0.1", f"--port={port}", *options, *unlimited],
            cwd=folder,
            env={**environment, "JUPYTER_PATH": str(specs)},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            _await_answer(process, port, log)
            tuned = "" if limited else ", no rate limit"
            yield Rival(f"{package} {_version(package)}{tuned}", process.pid, port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            HttpConnection(port).call("GET", "/api")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"it does not serve: {log.read_text()}")


def _version(package: str) -> str:
    python = CLIENTS / package / "bin" / "python"
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.check_output([python, "-c", code], text=True).strip()
