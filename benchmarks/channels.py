"""The WebSocket client of the benchmarks: the same code for every server.

Its own cost counts as the server's in the time of a cell, so there is next to nothing in it: a
blocking socket, frames made by hand, a mask of zeros, and of each message only what tells whose it
is. `benchmarks/echo.py` shows what is left.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
import uuid
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.cells import CODE, Cell, execute_request, timed
from benchmarks.measure import cpu_of_all, new_child
from benchmarks.peers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.peers import HttpConnection

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_FINAL, _MASKED, _LONG, _LONGER = 0x80, 0x80, 126, 127
_LIMIT_S = 30.0
_AT_ONCE = 2**18


# -- the socket ---------------------------------------------------------------------------------


class WebSocket:
    """Raises `ConnectionError` when the server closes it, or never opens it."""

    def __init__(
        self,
        port: int,
        path: str,
        *,
        subprotocol: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._at = 0
        self.sock.sendall(upgrade(port, path, subprotocol=subprotocol, headers=headers))
        self.status = self._opened()

    def send(self, payload: bytes, opcode: int) -> None:
        self.sock.sendall(framed(payload, opcode))

    def receive(self) -> bytes:
        """The next message. Raises `TimeoutError` when for long there are pings at most."""
        deadline = time.monotonic() + _LIMIT_S
        while True:
            opcode, payload = self._frame()
            if opcode in {TEXT, BINARY}:
                return payload
            if opcode == PING:
                self.send(payload, PONG)
                if time.monotonic() > deadline:
                    raise TimeoutError
            elif opcode == CLOSE:
                raise ConnectionError(f"closed by the server: {payload!r}")

    def attend(self) -> None:
        """Of who waits for nothing: what has come is read, and pings are answered. Waits for the
        first, which every server sends; call it whenever there may be more."""
        if self._at == len(self._data):
            self._more()
        while self._at < len(self._data):
            opcode, payload = self._frame()
            if opcode == PING:
                self.send(payload, PONG)

    def close(self) -> None:
        self.sock.close()

    def _opened(self) -> str:
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            self._more()
        status = self._data.partition(b"\r\n")[0].decode("latin-1")
        self._at = end + 4
        if " 101 " not in status:
            self.sock.close()
            raise ConnectionError(status)
        return status

    def _frame(self) -> tuple[int, bytes]:
        self._need(2)
        first, size = self._data[self._at], self._data[self._at + 1]
        assert first & _FINAL, "no server here sends fragments"
        self._at += 2
        if size >= _LONG:
            kind = ">H" if size == _LONG else ">Q"
            width = struct.calcsize(kind)
            self._need(width)
            (size,) = struct.unpack_from(kind, self._data, self._at)
            self._at += width
        self._need(size)
        payload = self._data[self._at : self._at + size]
        self._at += size
        return first & 0x0F, payload

    def _need(self, count: int) -> None:
        while len(self._data) - self._at < count:
            self._more()

    def _more(self) -> None:
        data = self.sock.recv(_AT_ONCE)
        if not data:
            raise ConnectionError("the server has closed the connection")
        self._data = self._data[self._at :] + data
        self._at = 0


def upgrade(
    port: int,
    path: str,
    *,
    subprotocol: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The request that opens a socket."""
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Authorization": f"token {TOKEN}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **({"Sec-WebSocket-Protocol": subprotocol} if subprotocol else {}),
        **(headers or {}),
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def framed(payload: bytes, opcode: int) -> bytes:
    """As a client must: masked. A mask of zeros leaves the bytes as they are."""
    size = len(payload)
    if size < _LONG:
        head = struct.pack(">BB", _FINAL | opcode, _MASKED | size)
    elif size < 2**16:
        head = struct.pack(">BBH", _FINAL | opcode, _MASKED | _LONG, size)
    else:
        head = struct.pack(">BBQ", _FINAL | opcode, _MASKED | _LONGER, size)
    return b"".join([head, b"\0\0\0\0", payload])


# -- the two framings -----------------------------------------------------------------------------


class Framing(Protocol):
    name: str
    subprotocol: str | None
    opcode: int

    def request(self, header: Mapping[str, Any], content: Mapping[str, Any]) -> bytes: ...

    def tell(self, cell: Cell, payload: bytes) -> None: ...


class V1:
    name = "v1"
    subprotocol: str | None = "v1.kernel.websocket.jupyter.org"
    opcode = BINARY

    def request(self, header: Mapping[str, Any], content: Mapping[str, Any]) -> bytes:
        return v1_frame(b"shell", header, content)

    def tell(self, cell: Cell, payload: bytes) -> None:
        (count,) = struct.unpack_from("<Q", payload)
        offsets = struct.unpack_from(f"<{count}Q", payload, 8)
        _, header, parent, _, content, *_ = (payload[a:b] for a, b in pairwise(offsets))
        cell.hear(header, parent, content)


def v1_frame(channel: bytes, header: Mapping[str, Any], content: Mapping[str, Any]) -> bytes:
    parts = [channel, json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
    return v1_joined(parts)


def v1_joined(parts: list[bytes]) -> bytes:
    count = len(parts) + 1
    offsets = accumulate(map(len, parts), initial=8 * (1 + count))
    return b"".join([struct.pack(f"<{1 + count}Q", count, *offsets), *parts])


class Legacy:
    name = "legacy"
    subprotocol: str | None = None
    opcode = TEXT

    def request(self, header: Mapping[str, Any], content: Mapping[str, Any]) -> bytes:
        whole = {
            "channel": "shell",
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "buffers": [],
        }
        return json.dumps(whole).encode()

    def tell(self, cell: Cell, payload: bytes) -> None:
        whole = json.loads(payload)
        cell.hear_parsed(whole["header"]["msg_type"], whole["parent_header"], whole["content"])


# -- a kernel behind one --------------------------------------------------------------------------


class Served(Protocol):
    """A server that has kernels."""

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def port(self) -> int: ...

    def connection(self) -> HttpConnection: ...


class KernelSocket:
    """A kernel of a server, and one WebSocket to it: made when the first cell has answered.

    A new kernel; with `kernel_id` one that is there.
    """

    def __init__(
        self,
        server: Served,
        framing: Framing,
        *,
        spec: str | None = None,
        kernel_id: str | None = None,
    ) -> None:
        self._server = server
        self._framing = framing
        self.id = kernel_id or self._started(spec)
        self._connect()

    def prepare(self) -> None:
        """Connect anew: who did not read for a while, and answered no ping, may have been cut."""
        self.socket.close()
        self._connect()

    def execute(self, code: str) -> Cell:
        """Returns when reply and idle are there, or are not to be expected any more."""
        return self.finish(self.submit(code))

    def submit(self, code: str) -> Cell:
        """Nothing is received yet."""
        header, content = execute_request(code, self._session)
        self.socket.send(self._framing.request(header, content), self._framing.opcode)
        return Cell(header["msg_id"])

    def finish(self, cell: Cell) -> Cell:
        with suppress(TimeoutError):
            while not cell.over:
                self._framing.tell(cell, self.socket.receive())
        return cell

    def calm(self) -> None:
        """Whatever it executes is interrupted; returns when it is idle."""
        http = self._server.connection()
        http.call("POST", f"/api/kernels/{self.id}/interrupt", {})
        deadline = time.monotonic() + _LIMIT_S
        while http.call("GET", f"/api/kernels/{self.id}")["execution_state"] != "idle":
            assert time.monotonic() < deadline, "the kernel stays busy"
            time.sleep(0.05)

    def _started(self, spec: str | None) -> str:
        body = {"name": spec} if spec else {}
        kernel: dict[str, Any] = self._server.connection().call("POST", "/api/kernels", body)
        return str(kernel["id"])

    def _connect(self) -> None:
        self._session = uuid.uuid4().hex
        self.socket = WebSocket(
            self._server.port,
            f"/api/kernels/{self.id}/channels?session_id={self._session}",
            subprotocol=self._framing.subprotocol,
        )
        self.first = self.execute(CODE)


class SocketKernel(KernelSocket):
    """The same, warm: a contender."""

    def __init__(self, server: Served, framing: Framing, *, spec: str | None = None) -> None:
        self.name = f"{server.name}, {framing.name}"
        self._pid = new_child(
            server.pid, lambda: KernelSocket.__init__(self, server, framing, spec=spec)
        )

    def round(self, calls: int) -> list[float]:
        self.prepare()
        return [timed(self.execute) for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return cpu_of_all(gateway=self._server.pid, kernel=self._pid)
