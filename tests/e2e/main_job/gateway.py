"""The real `kernel-gateway serve`, and a client of it that knows nothing but HTTP.

Knows routes, processes and what Linux tells of them in /proc. Must not import the gateway: what is
tested here is what a user of another program would see.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tests.shared.http import Response
from tests.shared.processes import is_alive
from tests.shared.told import Told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

COMMAND = Path(sys.executable).with_name("kernel-gateway")
TOKEN = "a-token-of-the-tests"
JSON = {"Content-Type": "application/json"}

#: Whatever is waited for here comes much sooner, or never.
HANG_LIMIT_S = 25.0

_ADDRESS = re.compile(r" is at (http://[^/]+)/")
_INODE = re.compile(r"(?<=:)\[\d+\]")
#: Errors of the server's log, and what Python prints where nobody listens.
_MISTAKE = re.compile(r"^\[[EC] |^Traceback|never retrieved|never awaited|^Fatal")


# -- the server -----------------------------------------------------------------------------------


def start(data_dir: Path, *options: str) -> subprocess.Popen[str]:
    """What the command line does, in a folder and with a configuration of its own."""
    return subprocess.Popen(
        [COMMAND, "serve", "--port=0", f"--data-dir={data_dir}", *options],
        cwd=data_dir.parent,
        env=_environment(data_dir.parent),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


class Server:
    """One process of `kernel-gateway serve`: listening when it is made."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.lines: list[str] = []
        self._told = threading.Condition()
        self._over = False
        self.process = start(data_dir, *options)
        self._reader = threading.Thread(target=self._read, name="log of the server")
        self._reader.start()
        try:
            self.url = self.logged(_ADDRESS)[1]
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def logged(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The first line that holds it, once it is there."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := pattern.search(line))), None)

        with self._told:
            self._told.wait_for(lambda: found() or self._over, HANG_LIMIT_S)
            match = found()
        assert match is not None, f"{pattern.pattern!r} is not in the log:\n{''.join(self.lines)}"
        return match

    def must_end_well(self) -> None:
        """By SIGTERM, with code 0, no mistake in its log and no child that outlives it."""
        children = [Watched(pid) for pid in self.children()]
        self.process.terminate()  # no more than a word to one that has ended already
        assert 0 == self.ended()
        assert [] == self.mistakes()
        assert [] == [child.pid for child in children if not child.ended_within(0.0)]

    def ended(self) -> int:
        """Its exit code, when it has ended; then its log is complete."""
        code = self.process.wait(HANG_LIMIT_S)
        self._reader.join(HANG_LIMIT_S)
        return code

    def kill(self) -> None:
        """As the machine's administrator would. Its kernels have to find out by themselves."""
        self.process.kill()
        self.ended()

    def mistakes(self) -> list[str]:
        return [line for line in self.lines if _MISTAKE.search(line)]

    # -- what Linux knows of it

    def children(self) -> set[int]:
        """Also those of its fork servers: these have started its kernels.

        Not the dead: a fork server may not have heard yet that nobody asks for their number.
        """
        children = _children(self.pid)
        forked = [one for child in children if _is_fork_server(child) for one in _children(child)]
        return children | set(filter(is_alive, forked))

    def descriptors(self) -> list[str]:
        """What each is; without the connections of clients, which come and go by themselves."""
        folder = Path(f"/proc/{self.pid}/fd")
        clients = {f"socket:[{inode}]" for inode in self._tcp_inodes()}
        found: list[str] = []
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):  # it has just been closed
                found.append(os.readlink(folder / name))
        # The inode tells two of a kind apart, and nothing else.
        return sorted(_INODE.sub("", one) for one in found if one not in clients)

    def _tcp_inodes(self) -> list[str]:
        """Kernels are spoken to over Unix sockets, so TCP is clients and who listens for them."""
        lines = Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]
        return [line.split()[9] for line in lines]

    def memory_mb(self, kind: str = "VmRSS") -> float:
        """`VmRSS` is of now, `VmHWM` the most it ever was."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{kind}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as log:
            for line in log:
                with self._told:
                    self.lines.append(line)
                    self._told.notify_all()
        with self._told:
            self._over = True
            self._told.notify_all()


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the user who runs the tests has a say, nor has pytest: ipykernel would not relay
    what bytes are written to its descriptors."""
    names = ("JUPYTER_CONFIG_DIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
    own_folders = {name: str(folder / name.lower()) for name in names}
    ours = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {**ours, **own_folders, "KERNEL_GATEWAY_TOKEN": TOKEN}


@contextmanager
def serving(data_dir: Path, *options: str) -> Iterator[Server]:
    """A server that must end well: by SIGTERM, with code 0, no mistake logged, no child left."""
    server = Server(data_dir, *options)
    try:
        yield server
        server.must_end_well()
    finally:
        if server.process.poll() is None:
            server.kill()


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path("/proc").glob(f"{pid}/task/*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.update(map(int, task.read_text().split()))
    return found


def _is_fork_server(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return b"kernel_gateway.fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


class Watched:
    """A process that is not our child, held by its pidfd: its number cannot become another's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._fd = None

    def signal(self, number: signal.Signals) -> None:
        assert self._fd is not None
        signal.pidfd_send_signal(self._fd, number)

    def ended_within(self, limit_s: float) -> bool:
        """Whether it is gone by then."""
        if self._fd is None:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(1000 * limit_s):
            return False
        self.close()
        return True

    async def end(self) -> None:
        """Returns when it is gone."""
        gone = await asyncio.to_thread(self.ended_within, HANG_LIMIT_S)
        assert gone, f"process {self.pid} still runs"

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


# -- the client -----------------------------------------------------------------------------------


class Client:
    """One caller. Each has connections of its own."""

    def __init__(self, server: Server) -> None:
        self._url = server.url
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=200)

    def close(self) -> None:
        self._http.close()

    async def call(
        self,
        verb: str,
        path: str,
        value: Any = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """`value` is sent as JSON, `body` as it stands; headers beside or instead of ours."""
        answer = await self._http.fetch(
            f"{self._url}{path}",
            method=verb,
            body=json.dumps(value).encode() if value is not None else body,
            headers={"Authorization": f"token {TOKEN}", **JSON, **(headers or {})},
            raise_error=False,
            allow_nonstandard_methods=True,
            request_timeout=HANG_LIMIT_S,
        )
        return Response(answer.code, answer.headers, answer.body or b"")

    async def start_kernel(self, **body: Any) -> Kernel:
        """At once: it is not there yet."""
        answer = await self.call("POST", "/api/kernels", body)
        assert answer.status == 201, answer.body
        return Kernel(self, answer.json["id"])

    async def kernel(self) -> Kernel:
        """One that is ready."""
        kernel = await self.start_kernel()
        await kernel.run("pass")
        return kernel

    def seen_from_here(self, kernel: Kernel) -> Kernel:
        return Kernel(self, kernel.id)

    async def run(self, run_id: str, *, within: Kernel | None = None) -> Any:
        """How a run stands."""
        query = f"?kernel={within.id}" if within else ""
        answer = await self.call("GET", _run_path(run_id, query))
        assert answer.status == 200, answer.body
        return answer.json

    async def text(self, run_id: str, stream: str = "stdout") -> str:
        """The whole log of one stream, by its own route."""
        parts: list[str] = []
        after = 0
        while True:
            query = f"/log?after={after}&stream={stream}"
            page = (await self.call("GET", _run_path(run_id, query))).json
            parts.extend(text for _, _, text in page["items"])
            after = page["next"]
            if page["finished"]:
                return "".join(parts)

    async def records(self, run_id: str) -> list[Any]:
        """All of them; the run must be over."""
        items: list[Any] = []
        after = 0
        while True:
            page = (await self.call("GET", _run_path(run_id, f"/records?after={after}"))).json
            items += page["items"]
            after = page["next"]
            if page["finished"]:
                return items

    async def cancel(self, run_id: str, *, within: Kernel | None = None, **body: Any) -> Response:
        query = f"?kernel={within.id}" if within else ""
        return await self.call("POST", _run_path(run_id, f"/cancel{query}"), body)


def _run_path(run_id: str, rest: str) -> str:
    return f"/api/runs/{quote(run_id, safe='')}{rest}"


def started_kernel(server: Server) -> str:
    """The ID of a kernel, for fixtures that are there before there is a loop."""
    request = urllib.request.Request(
        f"{server.url}/api/kernels",
        method="POST",
        data=b"{}",
        headers={"Authorization": f"token {TOKEN}", **JSON},
    )
    with urllib.request.urlopen(request) as answer:
        kernel_id: str = json.loads(answer.read())["id"]
    return kernel_id


@asynccontextmanager
async def calling(server: Server) -> AsyncIterator[Client]:
    client = Client(server)
    try:
        yield client
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as one client sees it."""

    client: Client
    id: str

    async def call(self, verb: str, rest: str = "") -> Response:
        return await self.client.call(verb, f"/api/kernels/{self.id}{rest}")

    async def generation(self) -> int:
        generation: int = (await self.call("GET")).json["generation"]
        return generation

    async def interrupt(self) -> Response:
        return await self.call("POST", "/interrupt")

    async def restart(self) -> Response:
        return await self.call("POST", "/restart")

    async def delete(self) -> Response:
        return await self.call("DELETE")

    async def execute(self, **body: Any) -> Response:
        """One call of the execute API, as it stands."""
        return await self.client.call("POST", f"/api/kernels/{self.id}/execute", body)

    async def begin(self, code: str, run_id: str | None = None, *, wait: float = 0.0) -> Talk:
        """A run that is stored and queued."""
        answer = await self.execute(mode="query", code=code, runId=run_id, options={"wait": wait})
        assert answer.status == 200, answer.body
        return Talk(self, answer.json["runId"], [answer.json])

    async def run(self, code: str, run_id: str | None = None) -> Talk:
        """A run from its beginning to its end."""
        talk = await self.begin(code, run_id, wait=2.0)
        return await talk.to_the_end()

    async def value(self, expression: str) -> str:
        """What the expression prints, of a run that must succeed."""
        talk = await self.run(f"print({expression})")
        assert talk.exit_code == 0, talk.answers
        return talk.text().strip()

    async def process(self) -> Watched:
        return Watched(int(await self.value("__import__('os').getpid()")))


@dataclass(slots=True)
class Talk(Told):
    """One run, as somebody hears of it who calls again and again."""

    kernel: Kernel
    run_id: str
    answers: list[Any] = field(default_factory=list)

    def text(self, stream: str = "stdout") -> str:
        """Everything told so far, in the order it was told in."""
        return "".join(console(answer, stream) for answer in self.answers)

    async def go_on(self, **options: Any) -> Any:
        """The next answer."""
        return await self._call(mode="continue", options=options or None)

    async def give(self, text: str, **options: Any) -> Any:
        """The answer to a prompt; gives the next answer of the run."""
        return await self._call(mode="input", code=text, options=options or None)

    async def to_the_end(self) -> Talk:
        async with asyncio.timeout(HANG_LIMIT_S):
            while self.last["status"] == "continued":
                await self.go_on()
        assert self.last["status"] == "finished", self.last
        return self

    async def standing(self) -> Any:
        return await self.kernel.client.run(self.run_id, within=self.kernel)

    async def _call(self, **body: Any) -> Any:
        answer = await self.kernel.execute(runId=self.run_id, **body)
        assert answer.status == 200, answer.body
        self.answers.append(answer.json)
        return answer.json


def console(answer: Any, stream: str = "stdout") -> str:
    """What one answer tells of a stream."""
    return "".join(value for kind, value in answer["console"] if kind == stream)


# -- code that waits ------------------------------------------------------------------------------


class Gate:
    """Holds code up until the test lets it pass: both ends of a FIFO meet in its opening."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._fifo = folder / name
        os.mkfifo(self._fifo)
        #: Comes to an end when the gate is opened. An interrupt gets it out, too.
        self.code = f"_ = open({str(self._fifo)!r}).read()"

    async def open(self) -> None:
        """Returns when the code has come to the gate; it goes on at once."""
        self.pass_(await self.held())

    def pass_(self, opening: int) -> None:
        """What was held goes on."""
        os.close(opening)

    async def held(self) -> int:
        """When the code stands at the gate; it goes on by `pass_` of what is given here."""
        meeting = asyncio.ensure_future(asyncio.to_thread(os.open, self._fifo, os.O_WRONLY))
        _, late = await asyncio.wait({meeting}, timeout=HANG_LIMIT_S)
        if late:  # nobody came: the thread must get out of there
            os.close(os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK))
            os.close(await meeting)
            raise AssertionError("the code has not come to the gate")
        return await meeting


class Counter:
    """Counts how often code has really run, in a file that no gateway knows."""

    def __init__(self, folder: Path, name: str = "counter") -> None:
        self._file = folder / name
        self._file.touch()

    def code(self, mark: str = "x") -> str:
        return f"open({str(self._file)!r}, 'a').write({mark + chr(10)!r})"

    @property
    def marks(self) -> list[str]:
        return self._file.read_text().split()
