"""Records what a real ipykernel says, once, as data that unit tests replay in microseconds.

    python -m tests.transcripts.record [CASE ...]

One file a case, one line an event, in the order in which things happened:

    {"sent": ...}                                              what we asked
    {"channel": ..., "msg_type": ..., "parent": ..., "content": ...}   what the kernel said,
                                                               with "buffers" in base64
    {"process": ...}                                           what became of its process

Requests are named m1, m2 (runs), b1 (barriers) and other (somebody else's). Whatever differs from
one recording to the next (dates, process IDs, paths) is left out or replaced; comms are called
comm1, comm2. Knows jupyter_client and nothing of the gateway, so that a mistake of ours cannot be
in the data. The cases with widgets are recorded by the Python of `.clients/lab`, which has them.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_client.blocking.client import BlockingKernelClient

FOLDER = Path(__file__).parent
LIMIT_MS = 20_000
VOLATILE = (
    (re.compile(r"/tmp/ipykernel_\d+/\d+\.py"), "/tmp/ipykernel/cell.py"),
    (re.compile(r"/[^\s\"]*/site-packages/"), "site-packages/"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "uuid"),
)
COMM_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
PASSWORD = "correct horse"


class Recorder:
    """A kernel, its four channels, and the lines so far."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._waiting: list[str] = []  # channels that have something, in order
        self.manager = KernelManager()
        self.manager.start_kernel()
        self._connect()

    def _connect(self) -> None:
        self.client: BlockingKernelClient = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.sockets = {
            "shell": self.client.shell_channel.socket,
            "iopub": self.client.iopub_channel.socket,
            "stdin": self.client.stdin_channel.socket,
            "control": self.client.control_channel.socket,
        }
        self.poller = zmq.Poller()
        for socket in self.sockets.values():
            self.poller.register(socket, zmq.POLLIN)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    # -- what is asked

    def execute(self, msg_id: str, code: str, *, stop_on_error: bool = False) -> None:
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": stop_on_error,
        }
        self.lines.append({"sent": "execute_request", "id": msg_id, "code": code})
        self._send("shell", msg_id, "execute_request", content)

    def barrier(self, msg_id: str) -> None:
        self.lines.append({"sent": "kernel_info_request", "id": msg_id})
        self._send("control", msg_id, "kernel_info_request", {})
        self.until(lambda line: _is_idle(line, msg_id))

    def answer(self, value: str) -> None:
        self.lines.append({"sent": "input_reply"})
        self._send("stdin", "i1", "input_reply", {"value": value})

    def interrupt(self) -> None:
        self.lines.append({"sent": "interrupt"})
        self.manager.interrupt_kernel()

    def restart(self) -> None:
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.lines.append({"process": "restarted", "signal": "SIGKILL"})
        self._connect()

    def exited(self) -> None:
        """All that it had said comes before its end."""
        process = self.manager.provisioner.process  # type: ignore[union-attr]
        exit_code = process.wait()
        self.drain()
        self.lines.append({"process": "exited", "exit_code": exit_code})

    # -- what is said

    def until(self, done: Callable[[dict[str, Any]], bool]) -> None:
        while not done(self.next(LIMIT_MS) or sys.exit("the kernel says nothing more")):
            pass

    def until_end(self, msg_id: str) -> None:
        """Reply and idle, in either order."""
        left = {"execute_reply", "idle"}

        def done(line: dict[str, Any]) -> bool:
            if line["parent"] == msg_id:
                left.discard(line["msg_type"])
                left.discard(line["content"].get("execution_state", ""))
            return not left

        self.until(done)

    def drain(self) -> None:
        while self.next(500):
            pass

    def next(self, limit_ms: int) -> dict[str, Any] | None:
        if not self._waiting:
            ready = dict(self.poller.poll(limit_ms))
            self._waiting = [name for name, socket in self.sockets.items() if socket in ready]
        if not self._waiting:
            return None
        channel = self._waiting.pop(0)
        _, message = self.client.session.recv(self.sockets[channel])
        assert message is not None
        line = {
            "channel": channel,
            "msg_type": message["header"]["msg_type"],
            "parent": message["parent_header"].get("msg_id", ""),
            "content": message["content"],
        }
        if message["buffers"]:
            line["buffers"] = [base64.b64encode(data).decode() for data in message["buffers"]]
        self.lines.append(line)
        return line

    def _send(self, channel: str, msg_id: str, msg_type: str, content: dict[str, Any]) -> None:
        session = self.client.session
        message = session.msg(msg_type, content)
        message["header"]["msg_id"] = message["msg_id"] = msg_id
        session.send(self.sockets[channel], message)


def _is_idle(line: dict[str, Any], msg_id: str) -> bool:
    return bool(line["parent"] == msg_id and line["content"].get("execution_state") == "idle")


# -- the cases ------------------------------------------------------------------------------------


def ok(kernel: Recorder) -> None:
    kernel.execute("m1", "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    kernel.until_end("m1")


def error(kernel: Recorder) -> None:
    kernel.execute("m1", "print('before')\n1 / 0")
    kernel.until_end("m1")


def system_exit(kernel: Recorder) -> None:
    kernel.execute("m1", "import sys\nsys.exit(2)")
    kernel.until_end("m1")


def asks_input(kernel: Recorder) -> None:
    kernel.execute("m1", "print('first')\nname = input('name? ')\nprint('Hello', name)")
    kernel.until(lambda line: line["msg_type"] == "input_request")
    kernel.barrier("b1")
    kernel.answer("Ada")
    kernel.until_end("m1")


def asks_password(kernel: Recorder) -> None:
    kernel.execute("m1", "from getpass import getpass\nprint(len(getpass('secret: ')))")
    kernel.until(lambda line: line["msg_type"] == "input_request")
    kernel.barrier("b1")
    kernel.answer(PASSWORD)
    kernel.until_end("m1")


def display_update(kernel: Recorder) -> None:
    kernel.execute(
        "m1",
        "from IPython.display import HTML, display\n"
        "handle = display('one', display_id='d')\nprint('between')\nhandle.update('two')\n"
        "display(HTML('<b>three</b>'))",
    )
    kernel.until_end("m1")


def clear_output(kernel: Recorder) -> None:
    kernel.execute(
        "m1",
        "from IPython.display import clear_output\n"
        "print('a')\nclear_output()\nprint('b')\nclear_output(wait=True)\nprint('c')",
    )
    kernel.until_end("m1")


def late_output(kernel: Recorder) -> None:
    kernel.execute(
        "m1",
        "import threading, time\n"
        "def later():\n    time.sleep(0.5)\n    print('late')\n"
        "threading.Thread(target=later).start()\nprint('in time')",
    )
    kernel.until_end("m1")
    kernel.until(lambda line: line["msg_type"] == "stream")


def interrupted(kernel: Recorder) -> None:
    kernel.execute("m1", "import time\nprint('asleep', flush=True)\ntime.sleep(60)")
    kernel.until(lambda line: line["msg_type"] == "stream")
    kernel.interrupt()
    kernel.until_end("m1")


def aborted(kernel: Recorder) -> None:
    kernel.execute("other", "import time\ntime.sleep(0.5)\n1 / 0", stop_on_error=True)
    kernel.execute("m1", "print('mine')")
    kernel.until_end("m1")
    kernel.execute("m2", "print('mine')")
    kernel.until_end("m2")


def died(kernel: Recorder) -> None:
    code = "import os, time\nprint('last words', flush=True)\ntime.sleep(0.5)\nos._exit(3)"
    kernel.execute("m1", code)
    kernel.exited()


def restarted(kernel: Recorder) -> None:
    kernel.execute("m1", "import time\nprint('asleep', flush=True)\ntime.sleep(60)")
    kernel.until(lambda line: line["msg_type"] == "stream")
    kernel.restart()
    kernel.execute("m2", "print('awake')")
    kernel.until_end("m2")


def big_print(kernel: Recorder) -> None:
    kernel.execute("m1", "for i in range(20):\n    print(f'{i:02}' * 5000, flush=True)")
    kernel.until_end("m1")


def metrics(kernel: Recorder) -> None:
    kernel.execute(
        "m1",
        "from kernel_gateway.scope import current_run\n"
        "run = current_run()\nrun.metric('loss', float('nan'))\n"
        "for step in range(3):\n    run.metric('step', 1, 'increment')\n"
        "    run.metric('train.loss', 1 / (1 + step), 'append')\n"
        "run.metric('loss', 0.5)\nrun.log('done')",
    )
    kernel.until_end("m1")


def widgets(kernel: Recorder) -> None:
    kernel.execute(
        "m1",
        "from IPython.display import clear_output, display\n"
        "from ipywidgets import HTML, Image, IntSlider, Output\n"
        "slider = IntSlider(3)\nslider.value = 5\n"
        "image = Image(value=b'old')\nimage.value = b'\\x00\\x01'\n"
        "HTML('gone').close()\n"
        "outer, inner = Output(), Output()\n"
        "print('first')\n"
        "with outer:\n"
        "    print('cleared')\n    clear_output()\n    print('outer')\n"
        "    with inner:\n        display('inner')\n"
        "    print('outer again')\n"
        "print('last')\ndisplay(outer)",
    )
    kernel.until_end("m1")


def progress(kernel: Recorder) -> None:
    kernel.execute(
        "m1",
        "from tqdm.notebook import tqdm\n"
        "for _ in tqdm(range(20), bar_format='{bar}{n}/{total}', mininterval=0):\n    pass",
    )
    kernel.until_end("m1")


CASES = (
    ok,
    error,
    system_exit,
    asks_input,
    asks_password,
    display_update,
    clear_output,
    late_output,
    interrupted,
    aborted,
    died,
    restarted,
    big_print,
    metrics,
    widgets,
    progress,
)


def record(case: Callable[[Recorder], None]) -> None:
    kernel = Recorder()
    try:
        case(kernel)
    finally:
        kernel.close()
    text = "".join(f"{json.dumps(line)}\n" for line in kernel.lines)
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    for number, comm_id in enumerate(dict.fromkeys(COMM_ID.findall(text)), 1):
        text = text.replace(comm_id, f"comm{number}")
    assert PASSWORD not in text
    (FOLDER / f"{case.__name__}.jsonl").write_text(text)


def main(names: list[str]) -> None:
    for case in CASES:
        if not names or case.__name__ in names:
            record(case)


if __name__ == "__main__":
    main(sys.argv[1:])
