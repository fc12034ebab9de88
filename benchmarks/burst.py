"""A kernel that does nothing but send: 10,000 signed messages of 8 bytes as fast as it can.

    python benchmarks/burst.py CONNECTION_FILE

To the cell `burst own` they have that cell as their parent, so that a server which keeps what runs
print has a run to keep; to `burst foreign` a request that nobody has made, so that there is nothing
but to hand them on. Any other cell is done at once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MESSAGES, MESSAGE_BYTES = 10_000, 8
_DELIMITER = b"<IDS|MSG>"
_FOREIGN = {"msg_id": "nobody", "msg_type": "execute_request", "session": "no", "version": "5.4"}
_INFO = {
    "status": "ok",
    "protocol_version": "5.4",
    "implementation": "burst",
    "implementation_version": "1",
    "language_info": {
        "name": "burst",
        "version": "1",
        "mimetype": "text/plain",
        "file_extension": "txt",
    },
    "banner": "",
    "help_links": [],
}


class Kernel:
    def __init__(self, info: Mapping[str, Any]) -> None:
        self._info = info
        self._key = info["key"].encode()
        self._session = uuid.uuid4().hex
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._shell = self._bound(zmq.ROUTER, "shell_port")
        self._control = self._bound(zmq.ROUTER, "control_port")
        self._stdin = self._bound(zmq.ROUTER, "stdin_port")
        self._heartbeat = self._bound(zmq.ROUTER, "hb_port")
        self._iopub = self._bound(zmq.XPUB, "iopub_port")
        self._open = True

    def _bound(self, kind: int, port: str) -> zmq.Socket[bytes]:
        sock = self._context.socket(kind)
        sock.linger = 1000
        sock.sndhwm = 0  # whatever gets lost, it is not lost here
        separator = ":" if self._info["transport"] == "tcp" else "-"
        url = f"{self._info['transport']}://{self._info['ip']}{separator}{self._info[port]}"
        sock.bind(url)
        return sock

    def serve(self) -> None:
        poller = zmq.Poller()
        for sock in (self._shell, self._control, self._heartbeat, self._iopub):
            poller.register(sock, zmq.POLLIN)
        while self._open:
            for sock, _ in poller.poll():
                self._take(sock, sock.recv_multipart())
        self._context.destroy(linger=1000)

    def _take(self, sock: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if sock is self._heartbeat:
            sock.send_multipart(frames)
        elif sock is self._iopub:
            if frames[0].startswith(b"\1"):
                self._publish("iopub_welcome", {}, {"subscription": ""})
        else:
            at = frames.index(_DELIMITER)
            header, content = json.loads(frames[at + 2]), json.loads(frames[at + 5])
            self._answer(sock, frames[:at], header, content)

    def _answer(
        self,
        sock: zmq.Socket[bytes],
        identities: Sequence[bytes],
        header: Mapping[str, Any],
        content: Mapping[str, Any],
    ) -> None:
        kind = header["msg_type"]
        self._publish("status", header, {"execution_state": "busy"})
        if kind == "execute_request" and content["code"].startswith("burst "):
            self._burst(header if content["code"] == "burst own" else _FOREIGN)
        reply = {"kernel_info_request": _INFO, "shutdown_request": content}.get(kind, {})
        whole = {"status": "ok", "execution_count": 1, "user_expressions": {}, **reply}
        signed = self._signed(kind.replace("_request", "_reply"), header, whole)
        sock.send_multipart([*identities, *signed])
        self._publish("status", header, {"execution_state": "idle"})
        self._open = kind != "shutdown_request"

    def _burst(self, parent: Mapping[str, Any]) -> None:
        texts = (f"{number:0{MESSAGE_BYTES - 1}}\n" for number in range(MESSAGES))
        made = [
            [b"stream", *self._signed("stream", parent, {"name": "stdout", "text": text})]
            for text in texts
        ]
        for frames in made:
            self._iopub.send_multipart(frames)

    def _publish(self, kind: str, parent: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        self._iopub.send_multipart([kind.encode(), *self._signed(kind, parent, content)])

    def _signed(
        self, kind: str, parent: Mapping[str, Any], content: Mapping[str, Any]
    ) -> list[bytes]:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self._session,
            "username": "burst",
            "date": "2030-01-01T00:00:00.000000Z",
            "version": "5.4",
        }
        parts = [json.dumps(part).encode() for part in (header, parent, {}, content)]
        digest = hmac.digest(self._key, b"".join(parts), hashlib.sha256)
        return [_DELIMITER, digest.hex().encode(), *parts]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Kernel(json.loads(Path(sys.argv[1]).read_text())).serve()
