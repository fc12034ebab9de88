"""The floor (raw ZeroMQ on a kernel of its own) and the gateway (a real server, over HTTP).

Each peer starts processes of its own and ends them when its `with` ends.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq
from jupyter_client.connect import write_connection_file

from benchmarks.cells import CODE, SHOWN, Cell, execute_request, timed
from benchmarks.guard import end
from benchmarks.measure import cpu_of_all, new_child, process_cpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START_LIMIT_S = 60.0
TOKEN = "benchmark"
NO_HISTORY = "--HistoryManager.enabled=False"

_DELIMITER = b"<IDS|MSG>"
_RECONNECT_MS = 5
_ANSWER_LIMIT_S = 120.0


# -- the floor ------------------------------------------------------------------------------------


class RawKernel:
    """A blocking client with nothing above pyzmq: what no gateway can beat.

    A call is sign, send, and receive until reply **and** idle are there. Signatures of what comes
    back are not checked, and of each message only the header, the parent and, where needed, the
    content are parsed.
    """

    def __init__(self, context: zmq.Context[Any], info: Mapping[str, Any], pid: int) -> None:
        self.name = "raw ZeroMQ"
        self._pid = pid
        self._key = hmac.HMAC(info["key"].encode(), digestmod=hashlib.sha256)
        self._session = uuid.uuid4().hex
        self._shell = self._connected(
            context, zmq.DEALER, f"ipc://{info['ip']}-{info['shell_port']}"
        )
        self._iopub = self._connected(context, zmq.SUB, f"ipc://{info['ip']}-{info['iopub_port']}")
        self._iopub.subscribe(b"")
        self._poller = zmq.Poller()
        self._poller.register(self._shell, zmq.POLLIN)
        self._poller.register(self._iopub, zmq.POLLIN)
        self._wait_ready()

    @staticmethod
    def _connected(context: zmq.Context[Any], kind: int, url: str) -> zmq.Socket[Any]:
        sock: zmq.Socket[Any] = context.socket(kind)
        sock.linger = 0
        sock.rcvhwm = 0
        sock.reconnect_ivl = _RECONNECT_MS
        sock.connect(url)
        return sock

    def prepare(self) -> None:
        """Its connection is not cut."""

    def round(self, calls: int) -> list[float]:
        return [timed(self.execute) for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {"client": time.process_time(), "kernel": process_cpu(self._pid)}

    def close(self) -> None:
        self._shell.close()
        self._iopub.close()

    def execute(self, code: str) -> Cell:
        """Returns when reply and idle are there."""
        header, content = execute_request(code, self._session)
        self._send(header, content)
        cell = Cell(header["msg_id"])
        while not cell.over:
            for sock, _ in self._poller.poll(10_000):
                frames = sock.recv_multipart()
                at = frames.index(_DELIMITER) + 2
                cell.hear(frames[at], frames[at + 1], frames[at + 3])
        return cell

    def _send(self, header: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        signed = [json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
        digest = self._key.copy()
        for frame in signed:
            digest.update(frame)
        self._shell.send_multipart([_DELIMITER, digest.hexdigest().encode(), *signed])

    def _wait_ready(self) -> None:
        """Something is heard on iopub: then it is connected, too. Most kernels send a welcome;
        others say that they are busy, with what they are asked as often as they have answered."""
        deadline = time.monotonic() + START_LIMIT_S
        heard = False
        while not heard:
            header, _ = execute_request("", self._session)
            self._send({**header, "msg_type": "kernel_info_request"}, {})
            while not heard and not self._shell.poll(_RECONNECT_MS):
                heard = bool(self._iopub.poll(_RECONNECT_MS))
                assert time.monotonic() < deadline, "the kernel does not answer"
            heard = heard or bool(self._iopub.poll(_RECONNECT_MS))
            while self._shell.poll(0):
                self._shell.recv_multipart()
        self.execute(CODE)


IPYKERNEL = ("-m", "ipykernel_launcher", "-f")


@contextmanager
def raw_kernel(
    *, history: bool = False, command: Sequence[str] = IPYKERNEL, python: str = sys.executable
) -> Iterator[RawKernel]:
    """A kernel with the settings that the gateway gives its own: ipc, history as asked."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file, info = write_connection_file(
            f"{folder}/c.json", transport="ipc", ip=f"{folder}/k", key=uuid.uuid4().hex.encode()
        )
        options = [] if history or command is not IPYKERNEL else [NO_HISTORY]
        command = [python, *command, file, *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        context: zmq.Context[Any] = zmq.Context()
        try:
            kernel = RawKernel(context, info, process.pid)
            yield kernel
            kernel.close()
        finally:
            context.destroy(linger=0)
            process.kill()
            process.wait()


# -- the gateway ----------------------------------------------------------------------------------


class Gateway:
    """`kernel-gateway serve` in a process of its own."""

    name = "kernel-gateway"

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.pid = process.pid
        self.port = port
        self._http = HttpConnection(port)

    def connection(self) -> HttpConnection:
        return HttpConnection(self.port)

    def await_warm(self, count: int) -> None:
        """Returns when so many kernels are ready for whoever comes next."""
        deadline = time.monotonic() + START_LIMIT_S
        http = self.connection()
        while http.call("GET", "/healthz")["warm"] < count:
            assert time.monotonic() < deadline, "the pool is not filled"
            time.sleep(0.02)

    def start_kernel(self) -> RestKernel:
        made: dict[str, Any] = {}
        pid = new_child(self.pid, lambda: made.update(self._started()))
        return RestKernel(self, made["id"], pid)

    def _started(self) -> dict[str, Any]:
        kernel: dict[str, Any] = self._http.call("POST", "/api/kernels", {})
        path = f"/api/kernels/{kernel['id']}/execute"
        body = {"mode": "query", "runId": "up", "code": CODE, "options": {"wait": 60}}
        answer = self._http.call("POST", path, body)
        assert answer["status"] == "finished", answer
        return kernel


class RestKernel:
    """Runs on one kernel of a gateway: `POST /api/kernels/{id}/execute` until `finished`."""

    def __init__(self, gateway: Gateway, kernel_id: str, pid: int) -> None:
        self.name = "REST execute"
        self._gateway = gateway
        self._path = f"/api/kernels/{kernel_id}/execute"
        self._pid = pid
        self._http = gateway.connection()

    def round(self, calls: int) -> list[float]:
        self._http.close()  # long idle, it may have been closed
        self._http = self._gateway.connection()
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return cpu_of_all(gateway=self._gateway.pid, kernel=self._pid)

    def _timed(self) -> float:
        start = time.perf_counter()
        answer = self.execute(CODE)
        took = time.perf_counter() - start
        assert answer["console"][-1] == ["stdout", SHOWN], answer
        return took

    def execute(self, code: str) -> dict[str, Any]:
        """With a fresh run ID; the answer that says `finished`."""
        run_id = uuid.uuid4().hex
        body: dict[str, Any] = {"mode": "query", "runId": run_id, "code": code}
        answer: dict[str, Any] = self._http.call("POST", self._path, body)
        while answer["status"] != "finished":
            body = {"mode": "continue", "runId": run_id}
            answer = self._http.call("POST", self._path, body)
        return answer

    def submit(self, code: str) -> str:
        """Returns when the gateway has taken the run, whatever becomes of it; its ID."""
        run_id = uuid.uuid4().hex
        body = {"mode": "query", "runId": run_id, "code": code, "options": {"wait": 0}}
        self._http.call("POST", self._path, body)
        return run_id

    def finish(self, run_id: str) -> None:
        body = {"mode": "continue", "runId": run_id}
        while self._http.call("POST", self._path, body)["status"] != "finished":
            pass

    def cancel(self, run_id: str) -> None:
        self._http.call("POST", f"/api/runs/{run_id}/cancel", {})
        self.finish(run_id)


class HttpFloor:
    """The smallest call that the gateway answers: what HTTP costs alone."""

    def __init__(self, gateway: Gateway) -> None:
        self.name = "GET /healthz"
        self._gateway = gateway
        self._http = gateway.connection()

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {"client": time.process_time(), "gateway": process_cpu(self._gateway.pid)}

    def _timed(self) -> float:
        start = time.perf_counter()
        self._http.call("GET", "/healthz")
        return time.perf_counter() - start


class HttpConnection:
    """Keep-alive, no delay, and hardly anything else: the client is not what is measured."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_LIMIT_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"127.0.0.1:{port}"

    def call(
        self,
        verb: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        wait_s: int | None = None,
        accept: str = "application/json",
    ) -> Any:
        status, answer = self.answer(verb, path, body, wait_s=wait_s, accept=accept)
        assert status < 300, (status, answer)
        return answer

    def answer(
        self,
        verb: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        wait_s: int | None = None,
        accept: str = "application/json",
    ) -> tuple[int, Any]:
        """The status, whatever it is, and what came with it."""
        data = b"" if body is None else json.dumps(body).encode()
        prefer = "" if wait_s is None else f"Prefer: wait={wait_s}\r\n"
        head = (
            f"{verb} {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: token {TOKEN}\r\n"
            f"{prefer}Accept: {accept}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        self._sock.sendall(head.encode() + data)
        status, answer = self._received_answer()
        return status, json.loads(answer) if answer else None

    def close(self) -> None:
        self._sock.close()

    def _received_answer(self) -> tuple[int, bytes]:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._received()
        head = data[:end].decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:])
        body = data[end + 4 :]
        while len(body) < int(headers.get("content-length", 0)):
            body += self._received()
        return int(head[0].split()[1]), body

    def _received(self) -> bytes:
        data = self._sock.recv(2**16)
        assert data, "the gateway has closed the connection"
        return data


@contextmanager
def gateway(
    *, history: bool, specs: Path | None = None, options: Sequence[str] = ()
) -> Iterator[Gateway]:
    """With an empty store, on a port of its own, and with the kernelspecs in `specs` beside those
    of the environment; everything else as a user would get it, but for the options."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {**os.environ, "KERNEL_GATEWAY_TOKEN": TOKEN}
        if specs is not None:
            environment["JUPYTER_PATH"] = str(specs)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "kernel_gateway.commands.main", "serve"),
                *("--port=0", f"--Gateway.data_dir={folder}/data", f"--Kernels.history={history}"),
                *options,
            ],
            env=environment,
            stderr=(Path(folder) / "stderr").open("wb"),
        )
        try:
            yield Gateway(process, _announced_port(process, Path(folder) / "stderr"))
        finally:
            end(process)


def _announced_port(process: subprocess.Popen[bytes], stderr: Path) -> int:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        text = stderr.read_text()
        if " is at http://" in text:
            return int(text.partition(" is at ")[2].split("/")[2].rpartition(":")[2])
        time.sleep(0.05)
    raise RuntimeError(f"the gateway does not serve: {stderr.read_text()}")
