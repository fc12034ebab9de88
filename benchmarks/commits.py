"""How long a commit takes while a kernel floods: in the store alone, and through the server.

In the store alone, the loop's thread does what it does in a flood: in each turn it takes in a full
batch of messages (500) without ever letting go of the interpreter, while the writer's thread
commits what gathered before. Beside that, trivial runs are created and ended, one after the other.
Measured are the commit in its thread (`commit`), and from `write` until told on the loop
(`write until told`), which waits for the turns of the loop besides.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.app import SWITCH_INTERVAL_S
from kernel_gateway.kernels.sockets import BATCH_MESSAGES
from kernel_gateway.messaging.message import MsgId
from kernel_gateway.runs.events import Instant
from kernel_gateway.runs.log import Log, LogLimits
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import LogText
from kernel_gateway.runs.run import Run
from kernel_gateway.service import Owner, RunId, RunUid
from kernel_gateway.store.blobs import Blobs
from kernel_gateway.store.committer import Committed, Committer, Unit
from kernel_gateway.store.database import writing_engine
from kernel_gateway.store.migrate import migrate
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.values import AppendRecords, PutRun, StoredRun, Write
from kernel_gateway.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers import Gateway, RestKernel
    from kernel_gateway.errors import GatewayError

MESSAGE_S = 25e-6  # what the loop does with one message of a flood
_PLAN = RunPlan(mode=Mode.QUERY, steps=(StepPlan(code="1+1"),))

FLOOD = """
for i in range(10**9):
    print(i, flush=True)
"""


# -- the store alone ------------------------------------------------------------------------------


class _TimedCommits:
    """A committer with a stop watch."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self.seconds: list[float] = []

    def commit(self, units: Sequence[Unit]) -> Committed:
        start = time.perf_counter()
        committed = self._committer.commit(units)
        self.seconds.append(time.perf_counter() - start)
        return committed

    def close(self) -> None:
        self._committer.close()


class _Flood:
    """A run that prints without end, as far as the store can see."""

    def __init__(self, writer: Writer, number: int) -> None:
        self.uid = RunUid(f"flood-{number}")
        self._log = Log(LogLimits())
        self._writer = writer
        self._ended = False
        self.records = 0

    async def pour(self) -> None:
        while not self._ended:
            turn_over = time.perf_counter() + BATCH_MESSAGES * MESSAGE_S
            for number in range(BATCH_MESSAGES):
                self._log.append(LogText(stream="stdout", text=f"{number}\n"), step=0, at=0.0)
            self._writer.enlist(self)
            while time.perf_counter() < turn_over:
                pass
            await asyncio.sleep(0)

    def end(self) -> None:
        self._ended = True

    def take(self) -> Sequence[Write]:
        batch = self._log.take()
        self.records += len(batch.records)
        return (AppendRecords(self.uid, batch),)

    def stored(self) -> None:
        pass

    def refused(self, fault: GatewayError) -> None:
        raise fault


def flood_store(seconds: float) -> dict[str, list[float]]:
    """Seconds of each commit, and of each write, without a flood and with one."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        return {
            **_labelled("idle", asyncio.run(_flood_store(seconds, flood=False))),
            **_labelled("flood", asyncio.run(_flood_store(seconds, flood=True))),
        }
    finally:
        sys.setswitchinterval(before)


def _labelled(label: str, found: tuple[list[float], list[float]]) -> dict[str, list[float]]:
    commits, writes = found
    return {f"store, {label}: commit": commits, f"store, {label}: write until told": writes}


async def _flood_store(seconds: float, *, flood: bool) -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = StoreSettings(folder=Path(folder))
        engine = writing_engine(settings)
        migrate(engine)
        engine.dispose()
        commits = _TimedCommits(Committer(engine, Blobs(Path(folder) / "blobs", sync=False)))
        writer = Writer(commits, settings)
        source = _Flood(writer, 0)
        await writer.write((PutRun(_run(source.uid)),))
        pouring = asyncio.create_task(source.pour()) if flood else None
        writes = await _trivial_runs(writer, seconds)
        source.end()
        if pouring is not None:
            await pouring
        await writer.close()
        return commits.seconds, writes


async def _trivial_runs(writer: Writer, seconds: float) -> list[float]:
    took: list[float] = []
    over = time.perf_counter() + seconds
    while time.perf_counter() < over:
        start = time.perf_counter()
        uid = RunUid(f"run-{len(took)}")
        log = Log(LogLimits())
        log.append(LogText(stream="stdout", text="2"), step=0, at=0.0)
        await writer.write((PutRun(_run(uid)), AppendRecords(uid, log.take())))
        took.append(time.perf_counter() - start)
        await asyncio.sleep(0.002)
    return took


def _run(uid: RunUid) -> StoredRun:
    machine = Run(uid, _PLAN, Instant(0.0, 0.0), lambda: MsgId("m"))
    return StoredRun(
        uid=uid,
        run_id=RunId(uid),
        owner=Owner("benchmark"),
        session="session",
        kernel_id="session",
        kernel_name="python3",
        generation=1,
        digest="",
        plan=_PLAN,
        view=machine.view(),
        expires_at=None,
    )


# -- through the server -------------------------------------------------------------------------


def flood_server(gateway: Gateway, seconds: float) -> dict[str, list[float]]:
    """Seconds of calls for an idle kernel while another one floods, and while none does."""
    quiet, noisy = gateway.start_kernel(), gateway.start_kernel()
    idle = _calls(gateway, quiet, seconds)
    run_id = noisy.submit(FLOOD)
    time.sleep(0.5)
    flood = _calls(gateway, quiet, seconds)
    noisy.cancel(run_id)
    return {
        **{f"server, idle: {name}": took for name, took in idle.items()},
        **{f"server, flood: {name}": took for name, took in flood.items()},
    }


def _calls(gateway: Gateway, kernel: RestKernel, seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"GET /healthz": [], "run taken": [], "run finished": []}
    http = gateway.connection()
    over = time.perf_counter() + seconds
    while time.perf_counter() < over:
        start = time.perf_counter()
        http.call("GET", "/healthz")
        asked = time.perf_counter()
        run_id = kernel.submit("1+1")
        taken = time.perf_counter()
        kernel.finish(run_id)
        again = time.perf_counter()
        kernel.execute("1+1")
        found["GET /healthz"].append(asked - start)
        found["run taken"].append(taken - asked)
        found["run finished"].append(time.perf_counter() - again)
    return found
