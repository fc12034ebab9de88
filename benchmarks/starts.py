"""From nothing to the first answer: a kernel is asked for, and `1+1` until reply and idle.

The time in between is what a user waits for a new notebook, whatever the server calls ready.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.cells import CODE, SHOWN
from benchmarks.channels import V1, KernelSocket, Served
from benchmarks.measure import Effort, Field, Result, descendants, faults_told, process_cpu
from benchmarks.peers import IPYKERNEL, gateway, raw_kernel
from benchmarks.results import Measure, Series, Target
from benchmarks.rivals import (
    CELLS,
    CELLS_HISTORY,
    CLIENTS,
    Driver,
    driver,
    jupyter_kernel_gateway,
    jupyter_server,
    kernelspecs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.peers import Gateway


POOL = 4
BURST = 20
_POOLED = f"--Runs.warm=python3={POOL}"
_COLD = "--Kernels.fork_server=False"
_QUIET_S, _QUIET_CPU_S, _QUIET_LIMIT_S = 0.2, 0.01, 20.0

RAW, CLIENT, XEUS = "raw ZeroMQ", "jupyter_client", "xeus-python, raw ZeroMQ"
JKG, JUPYTER_SERVER = "jupyter_kernel_gateway", "jupyter_server"
PRESPAWNED = "jupyter_kernel_gateway, prespawn_count"
PICKED = "jupyter_kernel_gateway, prespawned, picked"
COLD, FORKED, POOLED = "ours, cold", "ours, fork server", "ours, pool"

#: `XPYTHON python` and how it is started.
XPYTHON = (str(CLIENTS / "xeus-python/bin/python"), ("-m", "xpython_launcher", "-f"))


def created(effort: Effort) -> list[Measure]:
    """A kernel that nobody has used, one after the other."""
    return [_created(effort, history=history) for history in (False, True)]


def _created(effort: Effort, *, history: bool) -> Measure:
    with ExitStack() as stack:
        field = Field(stack)
        specs = stack.enter_context(kernelspecs())
        spec = CELLS_HISTORY if history else CELLS
        field.add(RAW, lambda: RawStart(history=history))
        _add_ours(field, history=history)
        _add_rivals(field, specs, spec)
        field.add(XEUS, lambda: RawStart(history=history, python=XPYTHON[0], command=XPYTHON[1]))
        client = field.enter(CLIENT, lambda: driver("jupyter_client", JUPYTER_CLIENT, specs))
        if client:
            field.add(CLIENT, lambda: DriverStart(client, spec))
        found = field.alternate(rounds=effort.rounds(5, 1), calls=1)
    return Measure(
        name="create",
        title="Create until the first `1+1` has answered",
        setting=f"history {'on' if history else 'off'}",
        unit="ms",
        series=found,
        targets=(
            Target(
                text="create until first `1+1`: jupyter_kernel_gateway by our fork server",
                of=JKG,
                over=FORKED,
                bound="at least",
                limit=8,
            ),
            Target(
                text="create until first `1+1`: jupyter_kernel_gateway by our pool",
                of=JKG,
                over=POOLED,
                bound="at least",
                limit=50,
            ),
        ),
        note=_CREATE_NOTE,
    )


_CREATE_NOTE = (
    "By `POST /api/kernels` and a WebSocket, for every server; *by REST* by `POST .../execute`. "
    "What jupyter_kernel_gateway has prespawned it gives nobody who asks for a kernel: *picked* is "
    "a client that takes one of them from its list of kernels. xeus-python has its own history."
)


def _add_ours(field: Field, *, history: bool) -> None:
    cold = field.enter(COLD, lambda: gateway(history=history, options=[_COLD]))
    if cold:
        field.add(COLD, lambda: ServedStart(cold))
    forked = field.enter(FORKED, lambda: gateway(history=history))
    if forked:
        field.add(FORKED, lambda: ServedStart(forked))
        field.add(f"{FORKED}, by REST", lambda: RestStart(forked))
    pooled = field.enter(POOLED, lambda: gateway(history=history, options=[_POOLED]))
    if pooled:
        field.add(POOLED, lambda: PooledStart(pooled))
        field.add(f"{POOLED}, by REST", lambda: PooledRestStart(pooled))


def _add_rivals(field: Field, specs: Path, spec: str) -> None:
    jkg = field.enter(JKG, lambda: jupyter_kernel_gateway(specs))
    if jkg:
        field.add(JKG, lambda: ServedStart(jkg, spec))
    prespawning = field.enter(PRESPAWNED, lambda: _prespawning(specs, spec))
    if prespawning:
        field.add(PRESPAWNED, lambda: ServedStart(prespawning, spec))
        field.add(PICKED, lambda: PickedStart(prespawning, spec))
    server = field.enter(JUPYTER_SERVER, lambda: jupyter_server(specs))
    if server:
        field.add(JUPYTER_SERVER, lambda: ServedStart(server, spec))


def _prespawning(specs: Path, spec: str) -> Any:
    options = (
        f"--KernelGatewayApp.prespawn_count={POOL}",
        f"--KernelGatewayApp.default_kernel_name={spec}",
        "--JupyterWebsocketPersonality.list_kernels=True",
    )
    return jupyter_kernel_gateway(specs, options=options)


# -- contenders -----------------------------------------------------------------------------------


class RawStart:
    """A process and its sockets, with nothing between."""

    name = RAW

    def __init__(
        self, *, history: bool, command: Sequence[str] = IPYKERNEL, python: str | None = None
    ) -> None:
        own = {} if python is None else {"python": python}
        self._made = partial(raw_kernel, history=history, command=command, **own)

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {"client": time.process_time()}

    def _timed(self) -> float:
        start = time.perf_counter()
        with self._made():
            return time.perf_counter() - start


class ServedStart:
    """`POST /api/kernels` and a WebSocket; the kernel is deleted after it was measured."""

    def __init__(self, server: Served, spec: str | None = None) -> None:
        self.name = server.name
        self._server = server
        self._spec = spec

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        """The whole life of a kernel; ours is not told, since it waits for quiet, too."""
        return {"gateway": process_cpu(self._server.pid)}

    def settle(self) -> None:
        """What was ended has ended, and nothing is left to do."""
        _quiet(self._server.pid)

    def burst(self, count: int) -> list[float]:
        """So many at the same time; when each of them had its answer, in that order."""
        self.settle()
        start = time.perf_counter()

        def one(_: int) -> tuple[float, str]:
            kernel_id = self._answered()
            return time.perf_counter() - start, kernel_id

        with ThreadPoolExecutor(count) as clients:
            answered = sorted(clients.map(one, range(count)))
        for _, kernel_id in answered:
            self._server.connection().call("DELETE", f"/api/kernels/{kernel_id}")
        return [took for took, _ in answered]

    def _timed(self) -> float:
        self.settle()
        start = time.perf_counter()
        kernel_id = self._answered()
        took = time.perf_counter() - start
        self._server.connection().call("DELETE", f"/api/kernels/{kernel_id}")
        return took

    def _answered(self) -> str:
        kernel = KernelSocket(self._server, V1(), spec=self._spec)
        assert kernel.first.shown == SHOWN, kernel.first.shown
        kernel.socket.close()
        return kernel.id


class RestStart(ServedStart):
    """The same without a WebSocket: `POST /api/kernels/{id}/execute`."""

    def _answered(self) -> str:
        http = self._server.connection()
        kernel_id: str = http.call("POST", "/api/kernels", {})["id"]
        body: dict[str, Any] = {"mode": "query", "runId": uuid.uuid4().hex, "code": CODE}
        path = f"/api/kernels/{kernel_id}/execute"
        answer = http.call("POST", path, {**body, "options": {"wait": 60}})
        assert answer["console"][-1] == ["stdout", SHOWN], answer
        return kernel_id


class PooledStart(ServedStart):
    """Of a pool that is full."""

    def __init__(self, server: Gateway) -> None:
        super().__init__(server)
        self._gateway = server

    def settle(self) -> None:
        self._gateway.await_warm(POOL)
        super().settle()


class PooledRestStart(PooledStart, RestStart):
    """Both."""


class PickedStart(ServedStart):
    """One of the kernels that are there; another takes its place after it was measured."""

    def _answered(self) -> str:
        kernels = self._server.connection().call("GET", "/api/kernels")
        unused = (one["id"] for one in kernels if not one["connections"])
        kernel = KernelSocket(self._server, V1(), kernel_id=next(unused))
        assert kernel.first.shown == SHOWN, kernel.first.shown
        kernel.socket.close()
        return kernel.id

    def round(self, calls: int) -> list[float]:
        took = super().round(calls)
        for _ in range(calls):
            KernelSocket(self._server, V1(), spec=self._spec).socket.close()
        return took


JUPYTER_CLIENT = """
import time
from jupyter_client.manager import start_new_kernel

warm = {}

def executed(client):
    start = time.perf_counter()
    asked = client.execute("1+1")
    shown = None
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != asked:
            continue
        content = message["content"]
        shown = content["data"]["text/plain"] if "data" in content else shown
        if content.get("execution_state") == "idle":
            break
    while client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != asked:
        pass
    assert shown == "2", shown
    return time.perf_counter() - start

def answer(line):
    what, spec, calls = line.split()
    if what == "create":
        start = time.perf_counter()
        manager, client = start_new_kernel(kernel_name=spec)
        executed(client)
        took = time.perf_counter() - start
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        return [took]
    if spec not in warm:
        warm[spec] = start_new_kernel(kernel_name=spec)
    return [executed(warm[spec][1]) for _ in range(int(calls))]
"""


class DriverStart:
    """`start_new_kernel` of jupyter_client, and a cell by its blocking client."""

    name = CLIENT

    def __init__(self, client: Driver, spec: str) -> None:
        self._client = client
        self._spec = spec

    def round(self, calls: int) -> list[float]:
        return [self._client.ask(f"create {self._spec} 1")[0] for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {"client": process_cpu(self._client.pid)}


def _quiet(pid: int) -> None:
    """Returns when the server and its kernels have next to nothing to do."""
    deadline = time.monotonic() + _QUIET_LIMIT_S
    before = _whole_cpu(pid)
    while time.monotonic() < deadline:
        time.sleep(_QUIET_S)
        after = _whole_cpu(pid)
        if after - before < _QUIET_CPU_S:
            return
        before = after


def _whole_cpu(pid: int) -> float:
    total = 0.0
    for one in (pid, *(child for child, _ in descendants(pid))):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            total += process_cpu(one)
    return total


# -- all at once ----------------------------------------------------------------------------------


def burst(effort: Effort) -> list[Measure]:
    """20 kernels asked for at the same time."""
    with ExitStack() as stack:
        specs = stack.enter_context(kernelspecs())
        field = Field(stack)
        pool = f"{POOLED} of {POOL}"
        jkg = field.enter(JKG, lambda: jupyter_kernel_gateway(specs))
        forked = field.enter(FORKED, lambda: gateway(history=False))
        pooled = field.enter(pool, lambda: gateway(history=False, options=[_POOLED]))
        bursts = [
            *([Burst(JKG, ServedStart(jkg, CELLS))] if jkg else []),
            *([Burst(FORKED, ServedStart(forked))] if forked else []),
            *([Burst(pool, PooledStart(pooled))] if pooled else []),
        ]
        rounds = effort.rounds(3, 1)
        for number in range(rounds):
            for turn in range(len(bursts)):
                bursts[(number + turn) % len(bursts)].visit()
    return [
        Measure(
            name="burst",
            title=f"{BURST} creates at the same time, until the first `1+1` of {nth} has answered",
            setting="history off",
            unit="ms",
            series=(*(one.nth(nth) for one in bursts), *field.absent),
        )
        for nth in (POOL, BURST)
    ]


class Burst:
    """As many as are wanted at the same time, each by a client of its own."""

    def __init__(self, name: str, start: ServedStart) -> None:
        self._start = start
        self._result = Result(name)

    def visit(self) -> None:
        if self._result.fault:
            return
        with faults_told(self._result):
            self._result.rounds.append(self._start.burst(BURST))

    def nth(self, nth: int) -> Series:
        """Until so many have had their answer."""
        return Series(
            name=self._result.name,
            rounds=tuple(1000 * one[nth - 1] for one in self._result.rounds),
            fault=self._result.fault,
        )
