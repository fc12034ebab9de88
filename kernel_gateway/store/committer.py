"""Writes into the database: one transaction for all that is given. Runs in the writer's thread.

Knows tables and files. Must not know the loop, nor who wrote what or waits for it.

What belongs together is a *unit*: what one source gave in one take, or one call of `write`. All
units of a commit share one transaction. When one of them cannot be stored at all, by a mistake of
ours, the transaction is rolled back and done again with a savepoint for each unit, so that the
mistake costs its own unit and nobody else's; the usual commit pays nothing for that.

Removed runs are erased bit by bit along with the commits, a bounded number of records each: a log
can have a gigabyte, and nobody is to wait for its end. When all are erased, the pages that they
leave go back to the disk in the same way. What a commit erases was removed by an earlier one: so
whoever lays down a file, and then finds the run still there, may leave the file to the eraser.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from kernel_gateway.runs.records import Record, Seq
from kernel_gateway.store import rows, statements
from kernel_gateway.store.driver import Driver
from kernel_gateway.store.faults import bug, weather
from kernel_gateway.store.tables import records
from kernel_gateway.store.values import (
    AppendRecords,
    DeleteNotebookSession,
    DeleteRun,
    Expire,
    ForgetExpired,
    PutDeliveries,
    PutKey,
    PutNotebookSession,
    PutRun,
    PutSession,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from kernel_gateway.errors import GatewayError
    from kernel_gateway.service import RunUid
    from kernel_gateway.store.blobs import Blobs

LOG = logging.getLogger("kernel_gateway.store")

Unit: TypeAlias = Sequence[Write]

#: Records that are erased with one commit: some milliseconds even if each of them is full.
_ERASED_AT_ONCE = 200

#: Pages of 4 KiB that are given back with one commit: some milliseconds, too.
_PAGES_AT_ONCE = 512

#: Free pages that stay for what comes next: the usual coming and going of runs moves none.
_PAGES_KEPT = 256

#: A power of two; eight parameters each, and SQLite takes 32,766.
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Committed:
    faults: tuple[GatewayError | None, ...]  # one a unit; None: it is stored
    more: bool  # there is something left to erase: call again, with nothing if there is nothing


class Committer:
    """`close` it in the thread that has called `commit`."""

    def __init__(self, engine: Engine, blobs: Blobs) -> None:
        self._driver = Driver(engine)
        self._blobs = blobs
        self._erasing = True  # the last gateway may not have come to the end of it
        self._shrinking = False  # pages were given back, and the file is as long as before
        self._insert_records = _insert_texts(engine)

    def commit(self, units: Sequence[Unit]) -> Committed:
        """Raises `DiskFull` or `StoreUnavailable` when nothing was stored, for now."""
        try:
            return self._commit(units)
        except Exception as fault:
            self.close()  # the next try begins on a new connection
            if passing := weather(fault):
                raise passing from fault
            raise

    def close(self) -> None:
        self._driver.close()

    def _commit(self, units: Sequence[Unit]) -> Committed:
        try:
            with self._driver.transaction():
                self._erase()
                for unit in units:
                    self._apply(unit)
            self._shrink()
            return Committed((None,) * len(units), self._erasing)
        except Exception as fault:
            if weather(fault):
                raise
        with self._driver.transaction():
            faults = tuple(self._apply_alone(unit) for unit in units)
        return Committed(faults, self._erasing)

    def _apply_alone(self, unit: Unit) -> GatewayError | None:
        try:
            with self._driver.savepoint():
                self._apply(unit)
        except Exception as fault:
            if weather(fault):
                raise
            named = bug(_names(unit), fault)
            LOG.error("dropped: %s", named, exc_info=fault)
            return named
        return None

    def _apply(self, unit: Unit) -> None:
        for write in unit:
            match write:
                case AppendRecords():
                    self._append(write)
                case PutRun():
                    self._put_run(write)
                case PutDeliveries():
                    self._put_deliveries(write)
                case DeleteRun():
                    self._erasing |= self._remove_run(write.uid, None)
                case Expire():
                    for uid in write.uids:
                        self._erasing |= self._remove_run(uid, write.until)
                case ForgetExpired():
                    self._driver.change(statements.FORGET_EXPIRED, {"now": write.now})
                case PutSession():
                    self._put_session(write)
                case PutNotebookSession():
                    self._put_notebook_session(write)
                case DeleteNotebookSession():
                    self._driver.change(statements.DELETE_NOTEBOOK_SESSION, {"of": write.id})
                case PutKey():
                    self._put_key(write)

    # -- runs ------------------------------------------------------------------------------------

    def _put_run(self, write: PutRun) -> None:
        run = write.run
        changing = rows.changing_parameters(run)
        if not write.new:
            if self._driver.change(statements.UPDATE_RUN, {**changing, "of": run.uid}):
                return
            if self._is_removed(run.uid):
                return
        fixed = rows.fixed_parameters(run)
        ((number,),) = self._driver.rows(statements.INSERT_RUN, {**changing, **fixed})
        self._driver.change(statements.INSERT_PLAN, {"run": number, **rows.plan_parameters(run)})
        self._driver.change(statements.INSERT_LOG, {"run": number})
        for label in rows.label_rows(run):
            self._driver.change(statements.INSERT_LABEL, {"run": number, **label})
        if run.webhook is not None:
            webhook = rows.webhook_parameters(run.webhook)
            self._driver.change(statements.INSERT_WEBHOOK, {"run": number, **webhook})

    def _put_deliveries(self, write: PutDeliveries) -> None:
        progress = rows.progress_parameters(write)
        if self._driver.change(statements.UPDATE_WEBHOOK, {**progress, "of": write.uid}):
            return
        if not self._is_removed(write.uid):
            raise LookupError("deliveries of a run that has no webhook")

    def _is_removed(self, uid: RunUid) -> bool:
        if not self._driver.rows(statements.IS_REMOVED, {"of": uid}):
            return False
        LOG.info("run %s was removed; what came later for it is discarded", uid)
        return True

    # -- log -------------------------------------------------------------------------------------

    def _append(self, write: AppendRecords) -> None:
        run = self._extend_log(write)
        if run is None:
            return
        for blob in write.batch.blobs:
            self._blobs.write(write.uid, blob)
        self._insert([rows.record_row(run, each) for each in write.batch.records])

    def _extend_log(self, write: AppendRecords) -> int | None:
        """The number of the run; None when it was removed, and its output with it."""
        batch = write.batch
        _check_sequence(batch.records)
        measures = {"of": write.uid, "size": batch.bytes, "lost": batch.dropped}
        if batch.records:
            first = batch.records[0].seq
            measures |= {"first": first, "then": first + len(batch.records)}
            found = self._driver.rows(statements.EXTEND_LOG, measures)
        else:
            found = self._driver.rows(statements.MEASURE_LOG, measures)
        if found:
            number: int = found[0][0]
            return number
        if not self._is_removed(write.uid):
            self._refuse(write)
        return None

    def _refuse(self, write: AppendRecords) -> NoReturn:
        expected = self._driver.rows(statements.LOG_NEXT, {"of": write.uid})
        if not expected:
            raise LookupError("records of a run that was never put")
        first = write.batch.records[0].seq
        raise ValueError(f"record {first} comes where {expected[0][0]} is next")

    def _insert(self, batch: Sequence[tuple[Any, ...]]) -> None:
        """Many rows a statement, each time the biggest that there is a text for."""
        start = 0
        while rest := len(batch) - start:
            count = min(1 << (rest.bit_length() - 1), _ROWS_AT_ONCE)
            values = tuple(chain.from_iterable(batch[start : start + count]))
            self._driver.execute_text(self._insert_records[count], values)
            start += count

    # -- removal ---------------------------------------------------------------------------------

    def _remove_run(self, uid: RunUid, until: float | None) -> bool:
        """A tombstone takes the place of the run. False when there was none."""
        found = self._driver.rows(statements.RUN_TO_REMOVE, {"of": uid})
        if not found:
            return False
        ((number, run_id, owner, session, expires_at),) = found
        self._driver.change(
            statements.INSERT_TOMBSTONE,
            {
                "run": number,
                "uid": uid,
                "run_id": run_id,
                "owner": owner,
                "until": (expires_at or 0.0) if until is None else until,
                "erased": False,
                "session": session,
            },
        )
        for statement in statements.DELETE_RUN:
            self._driver.change(statement, {"number": number})
        return True

    def _erase(self) -> None:
        """The next bit of what removed runs have left; their files with the last of it."""
        if not self._erasing:
            return
        found = self._driver.rows(statements.NEXT_TO_ERASE, {})
        if not found:
            given_back = self._driver.give_back(_PAGES_AT_ONCE, keep=_PAGES_KEPT)
            self._erasing = given_back > 0
            self._shrinking |= self._erasing
            return
        ((number, uid),) = found
        of_run = {"number": number, "count": _ERASED_AT_ONCE}
        if self._driver.change(statements.ERASE_RECORDS, of_run):
            return
        self._blobs.remove(uid)
        self._driver.change(statements.MARK_ERASED, {"number": number})

    def _shrink(self) -> None:
        if self._shrinking and not self._erasing:
            self._shrinking = False
            self._driver.shrink()

    # -- sessions and keys -----------------------------------------------------------------------

    def _put_session(self, write: PutSession) -> None:
        parameters = rows.session_parameters(write.session)
        changed = {name: value for name, value in parameters.items() if name != "id"}
        if not self._driver.change(statements.UPDATE_SESSION, {**changed, "of": write.session.id}):
            self._driver.change(statements.INSERT_SESSION, parameters)

    def _put_notebook_session(self, write: PutNotebookSession) -> None:
        parameters = rows.notebook_session_parameters(write.session)
        changed = {name: value for name, value in parameters.items() if name != "id"}
        change = {**changed, "of": write.session.id}
        if not self._driver.change(statements.UPDATE_NOTEBOOK_SESSION, change):
            self._driver.change(statements.INSERT_NOTEBOOK_SESSION, parameters)

    def _put_key(self, write: PutKey) -> None:
        parameters = rows.key_parameters(write.key)
        changed = {name: value for name, value in parameters.items() if name != "access_key"}
        if not self._driver.change(statements.UPDATE_KEY, {**changed, "of": write.key.access_key}):
            self._driver.change(statements.INSERT_KEY, parameters)


def _check_sequence(batch: Sequence[Record]) -> None:
    for expected, record in enumerate(batch, batch[0].seq if batch else Seq(1)):
        if record.seq != expected:
            raise ValueError(f"record {record.seq} comes where {expected} is next")


def _names(unit: Unit) -> str:
    """What a person needs to find a dropped unit: whose it is and what it was."""
    return ", ".join(_name(write) for write in unit)


def _name(write: Write) -> str:
    match write:
        case PutRun(run=run):
            return f"run {run.uid}"
        case AppendRecords(uid=uid, batch=batch):
            return f"{len(batch.records)} records of run {uid}"
        case PutDeliveries(uid=uid):
            return f"deliveries of run {uid}"
        case PutSession(session=session):
            return f"session {session.id}"
        case PutNotebookSession(session=notebook):
            return f"notebook session {notebook.id}"
        case DeleteNotebookSession(id=id_):
            return f"the end of notebook session {id_}"
        case PutKey(key=key):
            return f"key {key.access_key}"
        case _:
            return repr(write)


def _insert_texts(engine: Engine) -> Mapping[int, str]:
    """By the number of rows, powers of two: few texts, so the driver keeps all of them prepared.

    Many rows at once not so much for the database as for the interpreter's lock: the driver lets it
    go at each step of a statement, and beside a busy loop it costs up to a switch interval to have
    it back. 100,000 rows/s beside a loop that never rests: the worst commit took 3.5 s with a step
    a row, and 1.1 s like this.
    """
    compiled = statements.INSERT_RECORD.compile(dialect=engine.dialect)
    order = [column.name for column in records.c]
    assert compiled.positiontup == order, compiled.positiontup  # that of `rows.record_row`
    head, values, row = str(compiled).partition(" VALUES ")
    counts = (1 << power for power in range(_ROWS_AT_ONCE.bit_length()))
    return {count: head + values + ", ".join([row] * count) for count in counts}
