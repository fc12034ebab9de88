"""What `python -m benchmarks` measures: each by a name, with how long it may take."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import many, starts
from benchmarks.bulk import BIG, SMALL, Raw, Rest
from benchmarks.cells import CODE, SHOWN
from benchmarks.channels import V1, Legacy, SocketKernel
from benchmarks.floods import (
    BURST_FOREIGN,
    BURST_OWN,
    Flood,
    Flooding,
    alternate_floods,
    cpu_series,
)
from benchmarks.measure import Effort, Field, cpu_of_all, new_child, process_cpu
from benchmarks.notebook import notebooks
from benchmarks.peers import gateway, raw_kernel
from benchmarks.results import Measure, Target
from benchmarks.rivals import (
    BURST,
    BURST_COMMAND,
    CELLS,
    CELLS_HISTORY,
    Driver,
    Rival,
    coglet,
    driver,
    jupyter_kernel_gateway,
    jupyter_server,
    jupyter_server_nbmodel,
    kernelspecs,
)
from benchmarks.starts import CLIENT, JKG, JUPYTER_CLIENT, JUPYTER_SERVER, RAW, XEUS, XPYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

REST, SOCKET, LOG = "ours, REST", "ours, WebSocket", "ours, the log by REST"
COGLET, NBMODEL = "coglet, a trivial prediction", "jupyter_server_nbmodel, REST"
NBMODEL_POLL_S = 0.005


# -- warm cells -----------------------------------------------------------------------------------


def warm(effort: Effort) -> list[Measure]:
    """`1+1` on a kernel that is there, by every door."""
    return [_warm(effort, history=history) for history in (False, True)]


def _warm(effort: Effort, *, history: bool) -> Measure:
    spec = CELLS_HISTORY if history else CELLS
    with ExitStack() as stack:
        field = Field(stack)
        specs = stack.enter_context(kernelspecs())
        raw = field.enter(RAW, lambda: raw_kernel(history=history))
        if raw:
            field.add(RAW, lambda: raw)
        ours = field.enter(REST, lambda: gateway(history=history))
        if ours:
            field.add(REST, ours.start_kernel)
            field.add(SOCKET, lambda: SocketKernel(ours, V1()))
            field.add(f"{SOCKET}, legacy framing", lambda: SocketKernel(ours, Legacy()))
        _add_rivals(field, specs, spec)
        python, command = XPYTHON
        xeus = field.enter(XEUS, lambda: raw_kernel(python=python, command=command))
        if xeus:
            field.add(XEUS, lambda: xeus)
        found = field.alternate(rounds=effort.rounds(15, 3), calls=10 if effort.quick else 30)
    return Measure(
        name="warm",
        title="`1+1` on a warm kernel",
        setting=f"history {'on' if history else 'off'}",
        unit="ms",
        series=found,
        targets=(
            Target(text="REST `1+1` by raw ZeroMQ", of=REST, over=RAW, bound="at most", limit=1.5),
            Target(text="REST `1+1` by coglet", of=REST, over=COGLET, bound="at most", limit=3),
            Target(
                text="WebSocket `1+1` by raw ZeroMQ",
                of=SOCKET,
                over=RAW,
                bound="at most",
                limit=1.1,
            ),
        ),
        note=_WARM_NOTE,
    )


_WARM_NOTE = (
    "Until reply **and** idle are there, which is what `finished` means by REST, where each call "
    "has a fresh run ID and is stored. nbmodel is asked every 5 ms whether it is done. coglet has "
    "no kernel and no history: its predictor is asked to evaluate the same, and is not timed while "
    "it says that its only slot is still taken by the last one. xeus-python has its own history."
)


def _add_rivals(field: Field, specs: Path, spec: str) -> None:
    predictor = field.enter(COGLET, coglet)
    if predictor:
        field.add(COGLET, lambda: Prediction(predictor))
    client = field.enter(CLIENT, lambda: driver("jupyter_client", JUPYTER_CLIENT, specs))
    if client:
        field.add(CLIENT, lambda: DriverCells(client, spec))
    nbmodel = field.enter(NBMODEL, lambda: jupyter_server_nbmodel(specs))
    if nbmodel:
        field.add(NBMODEL, lambda: PolledCells(nbmodel, spec))
    jkg = field.enter(JKG, lambda: jupyter_kernel_gateway(specs))
    if jkg:
        field.add(JKG, lambda: SocketKernel(jkg, V1(), spec=spec))
    server = field.enter(JUPYTER_SERVER, lambda: jupyter_server(specs))
    if server:
        field.add(JUPYTER_SERVER, lambda: SocketKernel(server, V1(), spec=spec))


class DriverCells:
    """Cells by the blocking client of jupyter_client."""

    name = CLIENT

    def __init__(self, client: Driver, spec: str) -> None:
        self._client = client
        self._spec = spec
        self._pid = new_child(client.pid, partial(self.round, 1))

    def round(self, calls: int) -> list[float]:
        took: list[float] = self._client.ask(f"execute {self._spec} {calls}")
        return took

    def cpu(self) -> Mapping[str, float]:
        return {"client": process_cpu(self._client.pid), "kernel": process_cpu(self._pid)}


class PolledCells:
    """`POST /api/kernels/{id}/execute` of nbmodel, and asked again until it is done."""

    name = NBMODEL

    def __init__(self, server: Rival, spec: str) -> None:
        self._server = server
        self._http = server.connection()
        self._pid = new_child(server.pid, lambda: self._start(spec))

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return cpu_of_all(gateway=self._server.pid, kernel=self._pid)

    def _start(self, spec: str) -> None:
        kernel = self._http.call("POST", "/api/kernels", {"name": spec})
        self._path = f"/api/kernels/{kernel['id']}"
        self._timed()

    def _timed(self) -> float:
        start = time.perf_counter()
        asked = self._http.call("POST", f"{self._path}/execute", {"code": CODE})
        path = f"{self._path}/requests/{asked['request_id']}"
        status, answer = self._http.answer("GET", path)
        while status == 202:
            time.sleep(NBMODEL_POLL_S)
            status, answer = self._http.answer("GET", path)
        took = time.perf_counter() - start
        assert f'"text/plain": "{SHOWN}"' in answer["outputs"], answer
        return took


class Prediction:
    """`POST /predictions` of a predictor that evaluates."""

    name = COGLET

    def __init__(self, server: Rival) -> None:
        self._server = server
        self._http = server.connection()

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {"client": time.process_time(), "gateway": process_cpu(self._server.pid)}

    def _timed(self) -> float:
        body = {"input": {"text": CODE}}
        status = 409
        while status == 409:  # for a moment after its answer the slot is still taken
            start = time.perf_counter()
            status, answer = self._http.answer("POST", "/predictions", body)
            took = time.perf_counter() - start
        assert answer["output"] == SHOWN, answer
        return took


# -- CPU of the relay -----------------------------------------------------------------------------


def relay(effort: Effort) -> list[Measure]:
    """CPU of a small message: handed on, and with the record of a run."""
    alone = _relay(effort, BURST_FOREIGN, "relay alone", 15)
    recorded = _relay(effort, BURST_OWN, "relay and the record of a run", 25)
    return [alone, recorded]


def _relay(effort: Effort, flood: Flood, setting: str, limit: float) -> Measure:
    with ExitStack() as stack:
        field = Field(stack)
        kernels = _flooded(field, stack.enter_context(kernelspecs()))
        results = alternate_floods(list(kernels.values()), flood, rounds=effort.rounds(5, 2))
    parts = {name: "client" if name == _RAW_CLIENT else "gateway" for name in kernels}
    found = [
        cpu_series(name, result, flood, parts[name])
        for name, result in zip(kernels, results, strict=True)
    ]
    return Measure(
        name="relay",
        title="CPU of a small message",
        setting=setting,
        unit="us",
        series=(*found, *field.absent),
        targets=(Target(text="CPU of a small message", of=SOCKET, bound="at most", limit=limit),),
        note=(
            f"{flood.messages} signed messages of 8 bytes as fast as a kernel can send them. The "
            "floor's is that of the client, which is the same for all; of servers, the server's "
            "alone."
        ),
    )


_RAW_CLIENT = "raw ZeroMQ, the client"


def _flooded(field: Field, specs: Path) -> dict[str, Flooding]:
    """The Jupyter servers as shipped, and without the limit above which they drop output."""
    kernels: dict[str, Flooding] = {}
    raw = field.enter(_RAW_CLIENT, lambda: raw_kernel(command=BURST_COMMAND))
    if raw:
        kernels[_RAW_CLIENT] = raw
    servers: dict[str, Callable[[], Any]] = {
        SOCKET: lambda: gateway(history=False, specs=specs),
        JKG: lambda: jupyter_kernel_gateway(specs),
        f"{JKG}, no rate limit": lambda: jupyter_kernel_gateway(specs, limited=False),
        f"{JUPYTER_SERVER}, no rate limit": lambda: jupyter_server(specs, limited=False),
    }
    for name, made in servers.items():
        server = field.enter(name, made)
        kernel = server and field.had(name, partial(SocketKernel, server, V1(), spec=BURST))
        if kernel:
            kernels[name] = kernel
    return kernels


# -- 50 MB ----------------------------------------------------------------------------------------


def bulk(effort: Effort) -> list[Measure]:
    """Much output, complete, by pages of a run's log and by execute answers."""
    big = _bulk(BIG, "prints of 1 MB", effort.rounds(7, 1))
    small = _bulk(SMALL, "prints of 100 bytes", effort.rounds(3, 1))
    return [big, small]


def _bulk(code: str, setting: str, rounds: int) -> Measure:
    with ExitStack() as stack:
        field = Field(stack)
        raw = field.enter(RAW, raw_kernel)
        if raw:
            field.add(RAW, lambda: Raw(raw, code))
        ours = field.enter(LOG, lambda: gateway(history=False))
        if ours:
            field.add(LOG, lambda: Rest(ours, code, by_log=True))
            field.add("ours, execute answers", lambda: Rest(ours, code, by_log=False))
        found = field.alternate(rounds=rounds, calls=1)
    return Measure(
        name="bulk",
        title="50 MB of output, complete",
        setting=setting,
        unit="ms",
        series=found,
        targets=(
            Target(
                text="50 MB by the log, by raw ZeroMQ", of=LOG, over=RAW, bound="at most", limit=1.5
            ),
        ),
    )


# -- all of them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    measured: Callable[[Effort], list[Measure]]
    limit_s: float


PARTS: Mapping[str, Part] = {
    "create": Part(starts.created, 360),
    "burst": Part(starts.burst, 240),
    "warm": Part(warm, 420),
    "relay": Part(relay, 300),
    "bulk": Part(bulk, 180),
    "many-idle": Part(many.idle, 480),
    "many-busy": Part(many.busy, 240),
    "many-loop": Part(many.loop, 300),
    "notebooks": Part(notebooks, 900),
}
