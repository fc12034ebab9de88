"""What tests of the store share: values to store, a source to enlist, and a look from outside.

`Outside` reads the files with nothing of the store's own code; it says what must hold at the end of
every test, whatever the test did.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from kernel_gateway.runs.log import Batch, Blob
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Artifact, ArtifactKind, LogText, Record, Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, RunView
from kernel_gateway.service import (
    Delivery,
    Owner,
    RunId,
    RunUid,
    Webhook,
    WebhookEvent,
)
from kernel_gateway.store.values import AppendRecords, StoredRun, Write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kernel_gateway.errors import GatewayError
    from kernel_gateway.runs.records import Body
    from kernel_gateway.store.store import Store

#: Ends a test that hangs; nothing is expected to take a tenth of it.
HANG_LIMIT_S = 30.0

ME = Owner("me")
_ids = count(1)


def a_view(state: RunState = RunState.RUNNING) -> RunView:
    return RunView(
        state=state,
        outcome=Outcome.OK if state is RunState.FINISHED else None,
        reason=None,
        exit_code=None,
        created_at=1000.25,
        started_at=None,
        finished_at=None,
        queue_time=None,
        predict_time=None,
        prompt=None,
        steps=(),
        history=((RunState.QUEUED, 1000.25),),
        is_stream=False,
    )


def a_run(
    name: str | None = None, *, state: RunState = RunState.RUNNING, **fields: Any
) -> StoredRun:
    """A run as the engine puts it; each one without a name has a name of its own."""
    name = name or f"run{next(_ids)}"
    run = StoredRun(
        uid=RunUid(f"uid-{name}"),
        run_id=RunId(name),
        owner=ME,
        session="kernel-1",
        kernel_id="kernel-1",
        kernel_name="python3",
        generation=1,
        digest="sha256:00",
        plan=RunPlan(mode=Mode.QUERY, steps=(StepPlan(code="print(1)"),)),
        view=a_view(state),
        expires_at=None,
    )
    return replace(run, **fields)


def finished(run: StoredRun, *, expires_at: float) -> StoredRun:
    return replace(run, view=a_view(RunState.FINISHED), expires_at=expires_at)


def text(seq: int, value: str = "line\n") -> Record:
    return record(seq, LogText(stream="stdout", text=value))


def record(seq: int, body: Body) -> Record:
    return Record(seq=Seq(seq), at=1000.0 + seq, step=0, body=body)


def append(
    run: StoredRun, *records: Record, blobs: Sequence[Blob] = (), size: int = 0, lost: int = 0
) -> AppendRecords:
    batch = Batch(records=records, blobs=tuple(blobs), bytes=size, dropped=lost)
    return AppendRecords(run.uid, batch)


def texts(first: int, last: int) -> list[Record]:
    return [text(seq) for seq in range(first, last + 1)]


def a_blob(artifact: str = "1-0", data: bytes = b"\x00big") -> Blob:
    return Blob(artifact=artifact, mime="image/png", digest="sha256:00", data=data)


def part(data: bytes, offset: int, artifact: str = "1-0") -> Blob:
    return replace(a_blob(artifact, data), offset=offset)


def an_artifact(name: str = "a/b.csv", **fields: Any) -> Artifact:
    artifact = Artifact(
        id="a1", name=name, kind=ArtifactKind.FILE, mime="text/csv", size=7, digest="sha256:00"
    )
    return replace(artifact, **fields)


def a_webhook(**fields: Any) -> Webhook:
    webhook = Webhook(
        url="https://example.org/hook?a=b",
        events=(WebhookEvent.START, WebhookEvent.COMPLETED),
        secret="hush",
        trace=(("traceparent", "00-0af7-b7ad-01"), ("tracestate", "")),
    )
    return replace(webhook, **fields)


def a_delivery(number: int = 1, **fields: Any) -> Delivery:
    delivery = Delivery(
        id=f"d{number}", attempt=2, status=None, at=9.25, first=Seq(1), last=Seq(3), error="refused"
    )
    return replace(delivery, **fields)


class Gatherer:
    """A `Source`: gives what was put into `pending`, and keeps what it is told."""

    def __init__(self, *pending: Write) -> None:
        self.pending = list(pending)
        self.takes: list[int] = []  # how many writes each take gave
        self.told: list[str | GatewayError] = []
        self._changed = asyncio.Event()

    def take(self) -> Sequence[Write]:
        taken, self.pending = self.pending, []
        self.takes.append(len(taken))
        return taken

    def stored(self) -> None:
        self._tell("stored")

    def refused(self, fault: GatewayError) -> None:
        self._tell(fault)

    async def until_told(self, times: int = 1) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while len(self.told) < times:
                self._changed.clear()
                await self._changed.wait()

    def _tell(self, what: str | GatewayError) -> None:
        self.told.append(what)
        self._changed.set()


async def all_records(store: Store, run: StoredRun) -> list[Record]:
    return await store.records(run.uid, after=Seq(0), limit=1_000_000, limit_chars=2**40)


class Outside:
    """The folder of a store, seen by somebody who knows the files and nothing of the code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "gateway.db"

    def rows(self, query: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query, values).fetchall()

    def count(self, table: str) -> int:
        number: int = self.rows(f"SELECT count(*) FROM {table}")[0][0]
        return number

    @property
    def size(self) -> int:
        """Bytes of the database, with what is in SQLite's log until it lies there."""
        query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(self.rows(query)[0][0])

    def files(self) -> list[str]:
        folder = self.folder / "blobs"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    def check(self) -> None:
        """What holds whenever no gateway is writing."""
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        assert self.rows("PRAGMA foreign_key_check") == []
        holes = """
            SELECT run, next, count(seq), min(seq), max(seq) FROM logs LEFT JOIN records USING (run)
            GROUP BY run HAVING count(seq) != next - 1 OR max(seq) != next - 1 OR min(seq) != 1
        """
        assert self.rows(holes) == [], "a log has a hole"
        parts = "SELECT count(*) FROM runs JOIN plans ON plans.run = number JOIN logs USING (run)"
        assert self.rows(parts)[0][0] == self.count("runs") == self.count("plans")
        strays = """
            SELECT DISTINCT run FROM records WHERE run NOT IN (SELECT number FROM runs)
            AND run NOT IN (SELECT run FROM tombstones WHERE NOT erased)
        """
        assert self.rows(strays) == [], "records of no run"
        known = {
            uid
            for (uid,) in self.rows(
                "SELECT uid FROM runs UNION SELECT uid FROM tombstones WHERE NOT erased"
            )
        }
        assert {path.name for path in self.folder.glob("blobs/*/*")} <= known
        modes = {oct(path.stat().st_mode & 0o077) for path in self.folder.rglob("*")}
        assert modes <= {"0o0"}, "others may read"
