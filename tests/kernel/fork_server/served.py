"""Fork servers for tests, their clients, and kernels: nothing of the gateway's side."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from kernel_gateway.fork_server.wire import Forked, ForkRequest, read_answer, request_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.fork_server.wire import Answer

#: Ends a test that hangs; nothing is expected to take a tenth of it.
LIMIT_S = 120.0

#: Debuggers warn without it.
FLAGS = ("-X", "frozen_modules=off")

#: A server whose children are no kernels: they run the code that stands in their environment.
BARE = """
import os, socket, sys, time
from kernel_gateway.fork_server import server
listener = socket.socket(fileno=int(sys.argv[1]))
server.BIRTH_S, lonely_s = float(sys.argv[4]), float(sys.argv[5])
made = server.Server(listener, sys.argv[2], sys.argv[3], time.monotonic() + lonely_s)
birth = made.serve()
if birth is None:
    sys.exit(0)
try:
    exec(birth.request.env["CODE"])
finally:
    os._exit(0)
"""
#: For such a child: it is a kernel now.
REBORN = "os.setsid(); os.write(birth.report, b'+'); os.close(birth.report);"


class Client:
    """A connection. Close it, and its kernel is killed."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT_S)
        self.sock.connect(str(path))
        self._lines = self.sock.makefile("rb")

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        sent = socket.send_fds(self.sock, [data], descriptors)
        if rest := data[sent:]:  # of nothing, a send is a fault when the server has closed
            self.sock.sendall(rest)

    def heard(self) -> Answer | None:
        """None: the server has closed."""
        try:
            line = self._lines.readline()
        except ConnectionResetError:  # before it had read all
            return None
        return read_answer(line) if line else None

    def close(self) -> None:
        self._lines.close()
        self.sock.close()


@dataclass(slots=True, kw_only=True)
class Served:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "sock"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def errors(self) -> str:
        return (self.folder / "err").read_text()

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.path)
        try:
            yield client
        finally:
            client.close()

    @contextmanager
    def asked(self, request: ForkRequest, output: int | None = None) -> Iterator[Client]:
        """`output`: a descriptor for stdout and stderr."""
        with self.client() as client, open(os.devnull, "r+b") as null:
            out = null.fileno() if output is None else output
            client.send(request_line(request), [null.fileno(), out, out])
            yield client

    def wait(self) -> int:
        return self.process.wait(LIMIT_S)


@contextmanager
def serving(
    folder: Path, program: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """As a provisioner starts it: `{listen}`, `{path}` and `{lock}` are filled in. It listens from
    the first moment on."""
    served = Served(process=None, folder=folder)  # type: ignore[arg-type]
    served.lock.touch()
    with socket.socket(socket.AF_UNIX) as listener, (folder / "err").open("wb") as errors:
        listener.bind(str(served.path))
        listener.listen(128)
        places = {"listen": listener.fileno(), "path": served.path, "lock": served.lock}
        served.process = subprocess.Popen(
            [word.format_map(places) if "{" in word[:1] else word for word in program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=folder,
            env=None if env is None else {**env},
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    try:
        yield served
    finally:
        served.process.terminate()
        served.wait()


@contextmanager
def bare(
    folder: Path, *, birth_s: float = LIMIT_S, lonely_s: float = LIMIT_S, before: str = ""
) -> Iterator[Served]:
    places = ("{listen}", "{path}", "{lock}", str(birth_s), str(lonely_s))
    with serving(folder, [sys.executable, "-c", before + BARE, *places]) as served:
        yield served


@contextmanager
def whole(
    folder: Path, *, preload: str = "", env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    program = [sys.executable, *FLAGS, "-m", "kernel_gateway.fork_server"]
    places = ["--listen", "{listen}", "--path", "{path}", "--lock", "{lock}"]
    with serving(folder, [*program, *places, "--preload", preload], env) as served:
        yield served


def bare_request(code: str) -> ForkRequest:
    return kernel_request(cwd="/", env={"CODE": code})


def kernel_request(*arguments: str, cwd: str, env: Mapping[str, str]) -> ForkRequest:
    command = [sys.executable, *FLAGS, "-m", "ipykernel_launcher", *arguments]
    return ForkRequest(command=command, env=env, cwd=cwd)


class Kernel:
    """One that is spoken to by a client of Jupyter's."""

    def __init__(self, connection: Client, pid: int, channels: BlockingKernelClient) -> None:
        self.connection = connection
        self.pid = pid
        self._channels = channels

    def value(self, expression: str) -> Any:
        """Of one that `repr` tells all about."""
        asked = {"value": expression}
        content = self._done("", user_expressions=asked, store_history=False)
        told = content["user_expressions"]["value"]
        assert told["status"] == "ok", told
        return eval(told["data"]["text/plain"])

    def run(self, code: str) -> dict[str, Any]:
        return self._done(code)

    def ask(self, call: str, *arguments: object) -> dict[str, Any]:
        reply = getattr(self._channels, call)(*arguments, reply=True, timeout=LIMIT_S)
        content: dict[str, Any] = reply["content"]
        return content

    def send(self, code: str) -> None:
        """Nothing is waited for."""
        self._channels.execute(code)

    def _done(self, code: str, **options: Any) -> dict[str, Any]:
        reply = self._channels.execute(code, reply=True, timeout=LIMIT_S, **options)
        content: dict[str, Any] = reply["content"]
        return content


@contextmanager
def kernel_of(
    served: Served,
    folder: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    output: int | None = None,
) -> Iterator[Kernel]:
    """`folder` is for its files, and new."""
    folder.mkdir()
    file = folder / "kernel.json"
    write_connection_file(str(file), transport="ipc", ip=str(folder / "ipc"))
    request = kernel_request(
        *("-f", str(file), "--HistoryManager.enabled=False"),
        cwd=str(cwd or folder),
        env=dict(os.environ) if env is None else env,
    )
    with served.asked(request, output) as connection:
        answer = connection.heard()
        assert isinstance(answer, Forked), answer
        context = zmq.Context()
        channels = BlockingKernelClient(connection_file=str(file), context=context)
        channels.load_connection_file()
        channels.start_channels(iopub=False, stdin=False, hb=False, control=False)
        try:
            channels.kernel_info(reply=True, timeout=LIMIT_S)
            yield Kernel(connection, answer.pid, channels)
        finally:
            channels.stop_channels()
            context.destroy(linger=0)
