"""What somebody who means harm, or a client that is broken, does to a server.

    python -m benchmarks.attacks NAME PORT KERNEL_ID PER_SECOND

runs one of them until it is told to end (SIGTERM), then prints what the server said and how often.
Each is a generator: a step is one hostile deed, and what it yields is the server's answer to it.
The pace is bounded, since it is not the question how many cores an attacker can fill.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
import time
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from benchmarks.cells import execute_request
from benchmarks.channels import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    V1,
    Legacy,
    WebSocket,
    framed,
    upgrade,
    v1_frame,
    v1_joined,
)
from benchmarks.peers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

IDLE, SLOW, AT_ONCE = 600, 100, 20  # connections
FLOOD_LINES = 20_000
_DEEP = b"[" * 100_000
_CONTINUATION, _RESERVED = 0, 3
_HEADER, _CONTENT = execute_request("1", "attack")

READY = "ready"


class Target:
    """A server, and a kernel of it that nobody measures."""

    def __init__(self, port: int, kernel_id: str) -> None:
        self.port = port
        self.kernel_id = kernel_id

    @property
    def channels(self) -> str:
        return f"/api/kernels/{self.kernel_id}/channels?session_id={uuid.uuid4().hex}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def open(self, framing: V1 | Legacy) -> WebSocket:
        return WebSocket(self.port, self.channels, subprotocol=framing.subprotocol)

    def say(self, requests: Iterable[bytes]) -> Iterator[str]:
        """Each on a connection of its own; its answer is looked for when some more are out."""
        out: deque[socket.socket] = deque()
        for request in requests:
            out.append(self.connect())
            out[-1].sendall(request)
            yield self._answer(out.popleft()) if len(out) > AT_ONCE else "sent"

    @staticmethod
    def _answer(sock: socket.socket) -> str:
        with sock:
            try:
                return _first_line(sock.recv(2**16)) if _readable(sock) else "silence"
            except ConnectionError:
                return "reset"


def _first_line(data: bytes) -> str:
    return data.partition(b"\r\n")[0].decode("latin-1")[:40] or "closed"


# -- connections ----------------------------------------------------------------------------------


def idle_connections(target: Target) -> Iterator[str]:
    """Opened, and nothing said; those that the server closes are opened anew."""
    held = [target.connect() for _ in range(IDLE)]
    yield "opened"
    for at in itertools.cycle(range(IDLE)):
        if _closed(held[at]):
            held[at].close()
            held[at] = target.connect()
            yield "closed by the server"
        else:
            yield "kept"


def idle_websockets(target: Target) -> Iterator[str]:
    """Of a kernel that does nothing, and they neither."""
    held = [target.open(V1()) for _ in range(IDLE // 3)]
    yield "opened"
    for at in itertools.cycle(range(len(held))):
        yield "closed by the server" if _closed(held[at].sock) else "kept"


def slow_heads(target: Target) -> Iterator[str]:
    """A byte at a time, on many connections."""
    head = (
        f"GET /api/kernels HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nX: ".encode() + b"x" * 9999
    )
    held = [(target.connect(), iter(head)) for _ in range(SLOW)]
    yield "opened"
    for at in itertools.cycle(range(SLOW)):
        sock, rest = held[at]
        try:
            sock.send(bytes([next(rest)]))
        except (OSError, StopIteration):
            sock.close()
            held[at] = (target.connect(), iter(head))
            yield "cut"
        else:
            yield "taken"


def _closed(sock: socket.socket) -> bool:
    try:
        return _readable(sock) and not sock.recv(1, socket.MSG_PEEK)
    except ConnectionError:
        return True


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


# -- junk -----------------------------------------------------------------------------------------


def junk_http(target: Target) -> Iterator[str]:
    host = f"Host: 127.0.0.1:{target.port}\r\nAuthorization: token {TOKEN}\r\n".encode()
    post = b"POST /api/kernels HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    chaos = random.Random(1)
    requests: list[Callable[[], bytes]] = [
        lambda: chaos.randbytes(2000) + b"\r\n\r\n",
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chaos.randbytes(500),
        lambda: b"GET / HTTP/9.9\r\n" + host + b"\r\n",
        lambda: b"GET " + b"/" * 60_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        lambda: b"GET /api HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        lambda: b"GET /api HTTP/1.1\r\n" + host + b"A : b\r\n c\r\n\r\n",
        lambda: post + b"Content-Length: 99999999999999\r\n\r\n",
        lambda: post + b"Content-Length: -1\r\n\r\n",
        lambda: post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
        lambda: post + b"Content-Length: %d\r\n\r\n" % len(_DEEP) + _DEEP,
        lambda: post + b'Content-Length: 13\r\n\r\n{"name": \xff\xff\xff}',
    ]
    yield from target.say(request() for request in itertools.cycle(requests))


def foreign(target: Target) -> Iterator[str]:
    """Pages of other sites, and names that lead here."""
    wrong: list[Mapping[str, str]] = [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Authorization": "token wrong"},
    ]
    yield from target.say(
        upgrade(target.port, target.channels, headers=headers) for headers in itertools.cycle(wrong)
    )


def hostile_frames(target: Target) -> Iterator[str]:
    """In each framing, and below it; a socket that is closed for it is opened anew."""
    sockets: dict[int, WebSocket] = {}
    for number, (framing, frame) in itertools.cycle(enumerate(_frames())):
        try:
            if number not in sockets:
                sockets[number] = target.open(framing)
            sockets[number].sock.sendall(frame)
            yield "closed" if _closed_by(sockets[number].sock) else "kept"
        except OSError:
            yield "refused"
        if number in sockets and _closed(sockets[number].sock):
            sockets.pop(number).close()


def _closed_by(sock: socket.socket) -> bool:
    """Reads what there is; the server need not have come to the frame yet."""
    if not _readable(sock):
        return False
    data = sock.recv(2**16)
    return not data or data[0] & 0x0F == CLOSE


def _frames() -> Iterator[tuple[V1 | Legacy, bytes]]:
    whole = v1_frame(b"shell", _HEADER, _CONTENT)
    for payload in (
        b"\xff" * 64,
        struct.pack("<Q", 2**64 - 1) + bytes(56),
        struct.pack("<Q", 2**63) + bytes(56),
        struct.pack("<9Q", 8, 72, 2**63, 2**63, 80, 80, 80, 80, 80),
        struct.pack("<9Q", 8, 80, 79, 78, 77, 76, 75, 74, 73) + bytes(16),
        b"",
        whole[:7],
        whole[:40],
        whole[:-20],
        _of_parts(channel=b"no such channel"),
        _of_parts(header=b"{}"),
        _of_parts(header=b"not json"),
        _of_parts(header=_DEEP),
        _of_parts(content=_DEEP),
        _of_parts(content=b'{"code": ' + _DEEP),
        _of_parts(content=b'"text"'),
        _of_parts(content=b'{"code": NaN}'),
        _of_parts(parent=b"[1, 2]"),
        os.urandom(5000),
    ):
        yield V1(), framed(payload, BINARY)
    yield V1(), framed(b"text where bytes are due", TEXT)
    for payload in (
        b"",
        b"not json",
        b"[]",
        b"{}",
        b"\xff\xfe",
        _DEEP,
        b'{"a":' * 100_000,
        json.dumps({"channel": "shell", "header": {}, "content": {}}).encode(),
        json.dumps({"channel": 7, "header": 7, "parent_header": 7, "content": 7}).encode(),
        json.dumps({"channel": "shell", "header": _HEADER, "content": {"code": 7}}).encode(),
    ):
        yield Legacy(), framed(payload, TEXT)
    for payload in (b"\xff" * 64, struct.pack(">I", 2**32 - 1), struct.pack(">II", 1, 2**31)):
        yield Legacy(), framed(payload, BINARY)
    # Below the framings: an opcode nobody knows, a continuation of nothing, a ping that is too
    # long, a close without a reason that can be read, no mask, and a length of 2^63 - 1.
    yield V1(), framed(b"x", _RESERVED)
    yield V1(), framed(b"x", _CONTINUATION)
    yield V1(), framed(b"x" * 1000, PING)
    yield V1(), framed(b"\x00\x01\xff\xff", CLOSE)
    yield V1(), struct.pack(">BB", 0x80 | BINARY, 5) + b"naked"
    yield V1(), struct.pack(">BBQ", 0x80 | BINARY, 0xFF, 2**63 - 1) + bytes(100)
    yield V1(), struct.pack(">BB", 0xF0 | BINARY, 0x85) + bytes(9)


def _of_parts(
    *,
    channel: bytes = b"shell",
    header: bytes | None = None,
    parent: bytes = b"{}",
    content: bytes = b'{"code": ""}',
) -> bytes:
    head = json.dumps(_HEADER).encode() if header is None else header
    return v1_joined([channel, head, parent, b"{}", content])


# -- readers --------------------------------------------------------------------------------------


def reading_reader(target: Target) -> Iterator[str]:
    """Not hostile: what a flood costs when somebody reads it. To compare with the next."""
    yield from _flood(target, reads=True)


def stalled_reader(target: Target) -> Iterator[str]:
    """Asks for 20,000 lines, one flood after the other, and reads nothing."""
    yield from _flood(target, reads=False)


def _flood(target: Target, *, reads: bool) -> Iterator[str]:
    sock = target.open(V1())
    header, content = execute_request(
        f"while True:\n  for i in range({FLOOD_LINES}): print(i, flush=True)", "attack"
    )
    sock.send(V1().request(header, content), BINARY)
    while True:
        if reads:
            sock.receive()
        yield "taken"


ATTACKS: Mapping[str, Callable[[Target], Iterator[str]]] = {
    "idle-connections": idle_connections,
    "idle-websockets": idle_websockets,
    "slow-heads": slow_heads,
    "junk-http": junk_http,
    "foreign": foreign,
    "hostile-frames": hostile_frames,
    "reading-reader": reading_reader,
    "stalled-reader": stalled_reader,
}
_UNPACED = frozenset({"reading-reader"})


def main(name: str, port: str, kernel_id: str, per_second: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, _ended)
    said: Counter[str] = Counter()
    pause = 0.0 if name in _UNPACED else 1 / float(per_second)
    try:
        for number, answer in enumerate(ATTACKS[name](Target(int(port), kernel_id))):
            if number == 0:
                print(READY, flush=True)
            said[answer] += 1
            if pause:
                time.sleep(pause)
    except _Ended:
        pass
    finally:
        print(json.dumps(said), flush=True)


class _Ended(BaseException):
    pass


def _ended(*_: Any) -> None:
    raise _Ended


if __name__ == "__main__":
    main(*sys.argv[1:])
