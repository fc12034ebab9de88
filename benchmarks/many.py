"""Many kernels and many sockets on one gateway: what they take while nothing happens, who is kept
waiting while much does, and how much is done in all.
"""

from __future__ import annotations

import os
import resource
import selectors
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.cells import CODE, SHOWN
from benchmarks.channels import V1, KernelSocket, Served, WebSocket
from benchmarks.measure import (
    Field,
    Result,
    descendants,
    faults_told,
    process_cpu,
    pss_bytes,
    series,
)
from benchmarks.peers import HttpConnection, HttpFloor, gateway
from benchmarks.results import Measure, Series, Target
from benchmarks.rivals import CELLS, jupyter_kernel_gateway, kernelspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.measure import Contender, Effort

MB = 1e6
KERNELS, SOCKETS = 200, 1000
SHARING = 20  # kernels that share a fork server, for the memory of one
BUSY, LOOPING = 50, 50
NICE = 19  # that step back: together fifty by 10 still have five times what the gateway has
_AT_ONCE = 4  # kernels that are started: more would only take longer each

OURS, JKG = "ours", "jupyter_kernel_gateway"


# -- nothing happens ------------------------------------------------------------------------------


def idle(effort: Effort) -> list[Measure]:
    """Memory and CPU of a gateway with idle kernels, and with idle WebSockets beside them."""
    kernels, sockets = (SHARING, 100) if effort.quick else (KERNELS, SOCKETS)
    seconds = 5.0 if effort.quick else 30.0
    _raise_descriptor_limit()
    looks: dict[str, Look] = {}
    each: list[Series] = []
    with ExitStack() as stack:
        field = Field(stack)
        server = field.enter(OURS, lambda: gateway(history=False))
        if server is not None:
            looks["no kernel"] = Look(server.pid, seconds / 6)
            ids = started(server, SHARING)
            each.append(Series(name=f"{OURS}, forked", rounds=(_kernel_mb(server.pid, SHARING),)))
            ids += started(server, kernels - SHARING)
            looks[f"{kernels} kernels"] = Look(server.pid, seconds)
            stack.enter_context(attended(server, ids, sockets))
            looks[f"{kernels} kernels, {sockets} WebSockets"] = Look(server.pid, seconds)
    with ExitStack() as stack:
        theirs = Field(stack)
        specs = stack.enter_context(kernelspecs())
        rival = theirs.enter(JKG, lambda: jupyter_kernel_gateway(specs))
        if rival is not None:
            started(rival, SHARING, CELLS)
            each.append(Series(name=JKG, rounds=(_kernel_mb(rival.pid, SHARING),)))
            looks[f"{JKG}, {SHARING} kernels"] = Look(rival.pid, seconds)
    absent = (*field.absent, *theirs.absent)
    return [
        Measure(
            name="many: memory of a kernel",
            title=f"Memory (PSS) of an idle kernel, {SHARING} of them",
            unit="MB",
            series=(*each, *absent),
            targets=(
                Target(
                    text="PSS of an idle forked kernel, with its part of the fork server",
                    of=f"{OURS}, forked",
                    bound="at most",
                    limit=30,
                ),
            ),
            note="All processes below the server, by the number of kernels; each has run `1+1`.",
        ),
        Measure(
            name="many: memory of the gateway",
            title="Memory (PSS) of the server's own process",
            unit="MB",
            series=(*(Series(name=name, rounds=(one.mb,)) for name, one in looks.items()), *absent),
            targets=(
                Target(
                    text=f"the gateway's own memory with {kernels} idle kernels",
                    of=f"{kernels} kernels",
                    bound="at most",
                    limit=150,
                ),
            ),
            note="Descriptors: "
            + ", ".join(f"{one.descriptors} ({name})" for name, one in looks.items())
            + ". Threads: "
            + ", ".join(f"{one.threads} ({name})" for name, one in looks.items())
            + ".",
        ),
        Measure(
            name="many: CPU of an idle gateway",
            title=f"CPU of the server's own process in a second of {seconds:g} idle ones",
            unit="ms",
            series=tuple(Series(name=name, rounds=(one.cpu_ms,)) for name, one in looks.items()),
        ),
    ]


class Look:
    """What the process of a server is and does while nobody wants anything."""

    def __init__(self, pid: int, seconds: float) -> None:
        _settle(pid)
        before = process_cpu(pid)
        time.sleep(seconds)
        spent = process_cpu(pid) - before
        self.cpu_ms = max(0.01, 1000 * spent / seconds)  # nothing is a multiple of nothing
        self.mb = pss_bytes(pid) / MB
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        self.threads = len(os.listdir(f"/proc/{pid}/task"))


def _kernel_mb(pid: int, count: int) -> float:
    """Fork servers and whatever else helps are shared by all kernels."""
    _settle(pid)
    return sum(pss_bytes(child) for child, _ in descendants(pid)) / MB / count


def _settle(pid: int) -> None:
    """Returns when the server has next to nothing to do."""
    deadline = time.monotonic() + 20
    before = process_cpu(pid)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        after = process_cpu(pid)
        if after - before < 0.01:
            return
        before = after


def started(server: Served, count: int, spec: str | None = None) -> list[str]:
    """The IDs of so many kernels; each has answered."""

    def one(_: int) -> str:
        kernel = KernelSocket(server, V1(), spec=spec)
        kernel.socket.close()
        assert kernel.first.shown == SHOWN, kernel.first.shown
        return kernel.id

    with ThreadPoolExecutor(_AT_ONCE) as clients:
        return list(clients.map(one, range(count)))


@contextmanager
def attended(server: Served, ids: Sequence[str], count: int) -> Iterator[None]:
    """So many WebSockets, spread over the kernels; their pings are answered."""
    selector = selectors.DefaultSelector()
    sockets: list[WebSocket] = []
    over = threading.Event()

    def attend() -> None:
        while not over.is_set():
            for key, _ in selector.select(0.2):
                key.data.attend()

    thread = threading.Thread(target=attend)
    thread.start()
    try:
        for number in range(count):
            path = f"/api/kernels/{ids[number % len(ids)]}/channels?session_id=idle-{number}"
            sockets.append(WebSocket(server.port, path, subprotocol=V1.subprotocol))
            sockets[-1].attend()  # what came with the answer is in no selector
            selector.register(sockets[-1].sock, selectors.EVENT_READ, sockets[-1])
        yield
        assert thread.is_alive(), "an idle WebSocket was closed"
    finally:
        over.set()
        thread.join()
        selector.close()
        for one in sockets:
            one.close()


def _raise_descriptor_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- others are busy ------------------------------------------------------------------------------


def busy(effort: Effort) -> list[Measure]:
    """An idle kernel and the server itself, while other kernels print and compute without end."""
    count = 10 if effort.quick else BUSY
    seconds = 3.0 if effort.quick else 10.0
    quiet, loaded, back = (
        [Result(f"{name}, {when}") for name in ("`1+1` by REST", "GET /healthz")]
        for when in ("in quiet", f"{count} kernels busy", f"{count} busy that step back")
    )
    shares: list[float] = []
    absent: list[Series] = []
    for results, nice in ((loaded, 0), (back, NICE)):
        with ExitStack() as stack:
            field = Field(stack)
            options = [f"--Kernels.nice={nice}"]
            server = field.enter(OURS, partial(gateway, history=False, options=options))
            absent += field.absent
            if server is None:
                continue
            http = server.connection()
            contenders: list[Contender] = [server.start_kernel(), HttpFloor(server)]
            ids = started(server, count)
            for _ in range(effort.rounds(3, 1)):
                if results is loaded:  # as often as each of the others
                    _call(contenders, quiet, seconds / 5)
                codes = [_busy_code(_PRINTS if n % 2 else _COMPUTES, seconds) for n in range(count)]
                runs = [_begun(http, *one) for one in zip(ids, codes, strict=True)]
                _call(contenders, results, seconds)
                shares.append(_ended(http, ids, runs))
    found = [series(one.name, one) for one in (*quiet, *loaded, *back) if one.rounds]
    return [
        Measure(
            name="many: busy kernels",
            title="Calls while others are busy",
            unit="ms",
            series=(*found, *absent),
            note=(
                f"{count} kernels, one half printing flushed lines as fast as they can, the other "
                "computing: more processes than cores, so a share of the wait is Linux' own. "
                f"Those that step back do so by {NICE} (`Kernels.nice`). "
                f"Of what the busiest of the computing kernels did, the least busy did "
                f"{min(shares, default=0):.2f}."
            ),
        )
    ]


def _call(contenders: Sequence[Contender], results: Sequence[Result], seconds: float) -> None:
    """A round of each in turns, by the clock: nobody knows how long a call will take."""
    deadline = time.monotonic() + seconds
    calls: list[list[float]] = [[] for _ in contenders]
    while time.monotonic() < deadline:
        for took, contender in zip(calls, contenders, strict=True):
            took += contender.round(1)
    for took, result in zip(calls, results, strict=True):
        result.rounds.append(took)


#: They end by themselves: an interrupt would come to some of them before they had begun.
_PRINTS = "while time.monotonic() < end: print('x' * 60, flush=True)"
_COMPUTES = "done = 0\nwhile time.monotonic() < end: done += 1\nprint(done)"


def _busy_code(what: str, seconds: float) -> str:
    return f"import time\nend = time.monotonic() + {seconds}\n{what}"


def _begun(http: HttpConnection, kernel_id: str, code: str) -> str:
    body: dict[str, Any] = {"mode": "query", "code": code, "options": {"wait": 0}}
    run_id = f"busy-{time.monotonic_ns()}"
    http.call("POST", f"/api/kernels/{kernel_id}/execute", {**body, "runId": run_id})
    return run_id


def _ended(http: HttpConnection, ids: Sequence[str], runs: Sequence[str]) -> float:
    """Of those that computed, what the slowest did by what the fastest did."""
    done = []
    for number, (kernel_id, run_id) in enumerate(zip(ids, runs, strict=True)):
        body = {"mode": "continue", "runId": run_id, "options": {"wait": 20}}
        text = ""
        while True:
            answer = http.call("POST", f"/api/kernels/{kernel_id}/execute", body)
            if number % 2 == 0:
                text += "".join(value for kind, value in answer["console"] if kind == "stdout")
            if answer["status"] == "finished":
                break
        if number % 2 == 0:
            done.append(int(text))
    return min(done) / max(done)


# -- all are busy ---------------------------------------------------------------------------------


def loop(effort: Effort) -> list[Measure]:
    """Cells of many kernels, each of which has its next one when it has done the last."""
    count = 10 if effort.quick else LOOPING
    seconds = 3.0 if effort.quick else 10.0
    with ExitStack() as stack:
        specs = stack.enter_context(kernelspecs())
        field = Field(stack)
        made: Mapping[str, Callable[[], Any]] = {
            OURS: lambda: gateway(history=False, specs=specs),
            JKG: lambda: jupyter_kernel_gateway(specs),
        }
        loops = []
        for name, make in made.items():
            server = field.enter(name, make)
            if server is not None:
                loops.append(Loops(name, server, count))
        rounds = effort.rounds(5, 1)
        for number in range(-1, rounds):  # the first is thrown away
            for turn in range(len(loops)):
                loops[(number + turn) % len(loops)].visit(seconds, counts=number >= 0)
        found = [one.series() for one in loops]
    return [
        Measure(
            name="many: all in a loop",
            title=f"`1+1` on {count} kernels at the same time, in all",
            setting="history off",
            unit="executes/s",
            series=(*found, *field.absent),
            targets=(
                Target(
                    text=f"executes per second of {count} kernels, by jupyter_kernel_gateway",
                    of=OURS,
                    over=JKG,
                    bound="at least",
                    limit=1.3,
                ),
            ),
            note="By WebSocket, reply and idle. What kernels and client take is the same for both.",
        )
    ]


class Loops:
    """A WebSocket to each kernel, and a thread for each: the same client for every server."""

    def __init__(self, name: str, server: Served, count: int) -> None:
        self._server = server
        self._kernels = [
            KernelSocket(server, V1(), kernel_id=one) for one in started(server, count, CELLS)
        ]
        self._result = Result(name)
        self._rates: list[float] = []

    def visit(self, seconds: float, *, counts: bool) -> None:
        if self._result.fault:
            return
        with faults_told(self._result):
            before = process_cpu(self._server.pid)
            done = self._round(seconds)
            if counts:
                self._rates.append(done / seconds)
                taken = process_cpu(self._server.pid) - before
                self._result.cpu["gateway"] = self._result.cpu.get("gateway", 0.0) + taken
                self._result.rounds.append([seconds / done] * done)

    def _round(self, seconds: float) -> int:
        for kernel in self._kernels:
            kernel.prepare()
        deadline = time.monotonic() + seconds

        def work(kernel: KernelSocket) -> int:
            done = 0
            while time.monotonic() < deadline:
                assert kernel.execute(CODE).shown == SHOWN
                done += 1
            return done

        with ThreadPoolExecutor(len(self._kernels)) as clients:
            return sum(clients.map(work, self._kernels))

    def series(self) -> Series:
        if self._result.fault:
            return Series(name=self._result.name, fault=self._result.fault)
        cpu = {"gateway": self._result.cpu_ms("gateway")}
        return Series(name=self._result.name, rounds=tuple(self._rates), cpu_ms=cpu)
