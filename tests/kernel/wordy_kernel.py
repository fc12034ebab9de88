"""A kernel that has much to say and then dies: `wordy_kernel.py CONNECTION_FILE FIFO LINES`.

It ends only when the operating system has all of it (ipykernel cannot be made to wait for that), so
whatever is missing afterwards was lost by whoever reads. It holds the fifo open while it lives.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import zmq
from jupyter_client.session import Session

info = json.loads(Path(sys.argv[1]).read_text())
context = zmq.Context()
session = Session(key=info["key"].encode())


def bind(kind: int, port: str) -> zmq.Socket[bytes]:
    sock = context.socket(kind)
    sock.sndhwm = 0
    sock.linger = -1  # the end waits until all is written
    sock.bind(f"ipc://{info['ip']}-{info[port]}")
    return sock


iopub, shell = bind(zmq.PUB, "iopub_port"), bind(zmq.ROUTER, "shell_port")
while True:
    identities, frames = session.feed_identities(shell.recv_multipart())
    parent = session.deserialize(frames)
    session.send(iopub, "status", {"execution_state": "busy"}, parent)
    if parent["msg_type"] == "execute_request":
        break
    session.send(shell, "kernel_info_reply", {"status": "ok"}, parent, identities)
with open(sys.argv[2], "w"):
    for number in range(int(sys.argv[3])):
        session.send(iopub, "stream", {"name": "stdout", "text": f"{number}\n"}, parent)
    session.send(shell, "execute_reply", {"status": "ok"}, parent, identities)
    context.destroy(linger=-1)
    os._exit(5)
