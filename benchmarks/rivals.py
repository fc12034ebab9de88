"""The servers of others, and jupyter_client, each in an environment of its own (`peer-env`).

They are as their users get them, but for a token and a port. As shipped the Jupyter servers drop
output above a rate; `limited=False` switches that off, and the name says so. Kernels are those of
this environment for everybody: a rival finds them in a folder of kernelspecs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.guard import end
from benchmarks.peers import IPYKERNEL, NO_HISTORY, START_LIMIT_S, TOKEN, HttpConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

HERE = Path(__file__).parent
CLIENTS = HERE.parent / ".clients"

_COMMANDS = {
    "jupyter_kernel_gateway": "jupyter-kernelgateway",
    "jupyter_server": "jupyter-server",
    "jupyter_server_nbmodel": "jupyter-server",
}

#: Those that are programs of others, by the names of their environments.
PACKAGES = (
    "jupyter_client",
    "jupyter_kernel_gateway",
    "jupyter_server",
    "jupyter_server_nbmodel",
    "nbclient",
    "papermill",
    "xeus-python",
    "coglet",
)

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
def jupyter_kernel_gateway(
    specs: Path, *, limited: bool = True, options: Sequence[str] = ()
) -> Iterator[Rival]:
    whole = [f"--KernelGatewayApp.auth_token={TOKEN}", *options]
    with _served("jupyter_kernel_gateway", whole, specs, limited=limited) as rival:
        yield rival


@contextmanager
def jupyter_server(
    specs: Path, *, limited: bool = True, package: str = "jupyter_server"
) -> Iterator[Rival]:
    options = ["--no-browser", "--allow-root", f"--IdentityProvider.token={TOKEN}"]
    with _served(package, options, specs, limited=limited) as rival:
        yield rival


def jupyter_server_nbmodel(specs: Path) -> AbstractContextManager[Rival]:
    """jupyter_server with that extension, which adds `POST /api/kernels/{id}/execute`."""
    return jupyter_server(specs, package="jupyter_server_nbmodel")


@contextmanager
def coglet() -> Iterator[Rival]:
    """A predictor that evaluates what it is given, as `cog build` has its image serve it."""
    python = _executable("coglet", "python")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "predict.py").write_text(_PREDICTOR)
        port = _free_port()
        environment = {
            **_without_our_path(),
            "PORT": str(port),
            "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
            # It starts its worker as `python`.
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        }
        command = (python, "-m", "cog.server.http", "--host=127.0.0.1")
        with _running("coglet", command, environment, folder, port, _set_up) as rival:
            yield rival


_PREDICTOR = """
from cog import BasePredictor

class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        return str(eval(text))
"""


@contextmanager
def driver(package: str, code: str, specs: Path) -> Iterator[Driver]:
    """Python code in the environment of a package: its `answer(line)` is asked for each line."""
    python = _executable(package, "python")
    with subprocess.Popen(
        [python, "-c", _DRIVER.format(code=code)],
        env={**_without_our_path(), "JUPYTER_PATH": str(specs)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Driver(process)
        finally:
            process.kill()


_DRIVER = """
import json, sys

{code}

for line in sys.stdin:
    print(json.dumps(answer(line.strip())), flush=True)
"""


class Driver:
    """Asks a program in another environment, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the program has ended"
        return json.loads(answer)


@contextmanager
def kernelspecs() -> Iterator[Path]:
    """For `JUPYTER_PATH`."""
    ipykernel = [sys.executable, *IPYKERNEL, "{connection_file}"]
    burst = [sys.executable, *BURST_COMMAND, "{connection_file}"]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        write_spec(Path(folder), CELLS, [*ipykernel, NO_HISTORY])
        write_spec(Path(folder), CELLS_HISTORY, ipykernel)
        write_spec(Path(folder), BURST, burst)
        slow = f'sleep {SLOW_START_S}; exec "$0" "$@"'
        write_spec(Path(folder), SLOW, ["/bin/sh", "-c", slow, *ipykernel])
        yield Path(folder)


def write_spec(folder: Path, name: str, argv: Sequence[str]) -> None:
    spec = folder / "kernels" / name / "kernel.json"
    spec.parent.mkdir(parents=True)
    language = "burst" if name == BURST else "python"
    spec.write_text(json.dumps({"argv": argv, "display_name": name, "language": language}))


@contextmanager
def _served(package: str, options: Sequence[str], specs: Path, *, limited: bool) -> Iterator[Rival]:
    executable = _executable(package, _COMMANDS[package])
    port = _free_port()
    unlimited = [] if limited else ["--ZMQChannelsWebsocketConnection.limit_rate=False"]
    addressed: list[str | Path] = [executable, "--ip=127.0.0.1", f"--port={port}"]
    command = [*addressed, *options, *unlimited]
    environment = {**_without_our_path(), "JUPYTER_PATH": str(specs)}
    tuned = "" if limited else ", no rate limit"
    name = f"{package} {version_in(package)}{tuned}"
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _running(name, command, environment, folder, port, _serves) as rival,
    ):
        yield rival


@contextmanager
def _running(
    name: str,
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    folder: str,
    port: int,
    ready: Callable[[HttpConnection], bool],
) -> Iterator[Rival]:
    log = Path(folder) / "log"
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        _await(process, port, log, ready)
        yield Rival(name, process.pid, port)
    finally:
        end(process)


def _executable(package: str, name: str) -> Path:
    executable = CLIENTS / package / "bin" / name
    if not executable.exists():
        raise RuntimeError(f"{package} is not installed: see benchmarks/peer-env")
    return executable


def _without_our_path() -> dict[str, str]:
    """Theirs is a package of the same name as ours, which must be nowhere on their path."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _await(
    process: subprocess.Popen[bytes],
    port: int,
    log: Path,
    ready: Callable[[HttpConnection], bool],
) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if ready(HttpConnection(port)):
                return
        time.sleep(0.05)
    raise RuntimeError(f"it does not serve: {log.read_text()}")


def _serves(http: HttpConnection) -> bool:
    return bool(http.call("GET", "/api"))


def _set_up(http: HttpConnection) -> bool:
    return bool(http.call("GET", "/health-check")["status"] == "READY")


def version_in(package: str) -> str:
    """Of a package in its own environment."""
    python = _executable(package, "python")
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.check_output([python, "-c", code], text=True).strip()
