"""A server that has no kernel: to any message it answers with those of a cell, ready-made.

It shows what the WebSocket client of the benchmarks costs by itself: `python -m benchmarks.echo`
prints its port and serves one connection.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.cells import CODE, SHOWN, Cell, execute_request, timed
from benchmarks.channels import BINARY, V1, WebSocket, v1_joined
from benchmarks.measure import process_cpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEADER = {
    "msg_id": "0123456789abcdef_0123456789abcdef",
    "session": "0123456789abcdef",
    "username": "echo",
    "date": "2030-01-01T00:00:00.000000Z",
    "version": "5.4",
}
_CELL: tuple[tuple[bytes, str, dict[str, Any]], ...] = (
    (b"iopub", "status", {"execution_state": "busy"}),
    (b"iopub", "execute_input", {"code": CODE, "execution_count": 1}),
    (b"iopub", "execute_result", {"data": {"text/plain": SHOWN}, "execution_count": 1}),
    (b"shell", "execute_reply", {"status": "ok", "execution_count": 1}),
    (b"iopub", "status", {"execution_state": "idle"}),
)


class Echo:
    """Cells that no kernel executes."""

    def __init__(self, pid: int, port: int) -> None:
        self.name = "the client alone"
        self._pid = pid
        self._framing = V1()
        self._socket = WebSocket(port, "/")

    def round(self, calls: int) -> list[float]:
        return [timed(self._execute) for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {"client": time.process_time(), "gateway": process_cpu(self._pid)}

    def _execute(self, code: str) -> Cell:
        header, content = execute_request(code, "echo")
        self._socket.send(self._framing.request(header, content), BINARY)
        cell = Cell(header["msg_id"])
        while not cell.over:
            self._framing.tell(cell, self._socket.receive())
        return cell


@contextmanager
def echo() -> Iterator[Echo]:
    command = [sys.executable, "-m", "benchmarks.echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield Echo(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()


def _serve() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.recv(2**16)
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    while data := connection.recv(2**16):
        connection.sendall(b"".join(_answers(_header(data))))


def _header(frame: bytes) -> bytes:
    """Of the request, as bytes; a request here is longer than 125 bytes and has come whole."""
    payload = frame[8:]
    (count,) = struct.unpack_from("<Q", payload)
    spans = list(pairwise(struct.unpack_from(f"<{count}Q", payload, 8)))
    start, end = spans[1]
    return payload[start:end]


def _answers(parent: bytes) -> Iterator[bytes]:
    for channel, kind, content in _CELL:
        header = json.dumps({**_HEADER, "msg_type": kind}).encode()
        payload = v1_joined([channel, header, parent, b"{}", json.dumps(content).encode()])
        yield struct.pack(">BBH", 0x80 | BINARY, 126, len(payload)) + payload


if __name__ == "__main__":
    try:
        _serve()
    except (ConnectionError, KeyboardInterrupt):
        os._exit(0)
