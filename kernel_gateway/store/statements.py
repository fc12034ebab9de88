"""Every statement, by name. Parameters are named in each; none is ever put into text.

Knows the tables. Must not know values (`rows.py`) nor when a statement is run.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    union_all,
    update,
)

from kernel_gateway.store.tables import (
    keys,
    labels,
    logs,
    notebook_sessions,
    plans,
    records,
    runs,
    sessions,
    tombstones,
    webhooks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# `of` instead of the column's name where a statement sets columns: those names mean new values.
_OF_UID = runs.c.uid == bindparam("of")

# -- runs: writing -------------------------------------------------------------------------------

INSERT_RUN = (
    insert(runs)
    .values({column: bindparam(column.name) for column in runs.c if column is not runs.c.number})
    .returning(runs.c.number)
)

INSERT_PLAN = insert(plans).values({column: bindparam(column.name) for column in plans.c})

INSERT_LABEL = insert(labels).values({column: bindparam(column.name) for column in labels.c})

INSERT_WEBHOOK = insert(webhooks).values({column: bindparam(column.name) for column in webhooks.c})

INSERT_LOG = insert(logs).values(run=bindparam("run"), next=1, bytes=0, dropped=0)

#: No row: the run is not there yet.
UPDATE_RUN = (
    update(runs)
    .where(_OF_UID)
    .values(
        kernel_name=bindparam("kernel_name"),
        generation=bindparam("generation"),
        finished=bindparam("finished"),
        view=bindparam("view"),
        expires_at=bindparam("expires_at"),
        outcome=bindparam("outcome"),
        artifacts=bindparam("artifacts"),
    )
)

_NUMBER_OF = select(runs.c.number).where(_OF_UID).scalar_subquery()

UPDATE_WEBHOOK = (
    update(webhooks)
    .where(webhooks.c.run == _NUMBER_OF)
    .values(told=bindparam("told"), over=bindparam("over"), deliveries=bindparam("deliveries"))
)

# -- runs: reading -------------------------------------------------------------------------------


def _runs(source: FromClause) -> Select[tuple[object, ...]]:
    """Whole runs; `source` holds at least the table `runs`."""
    parts = (
        source.join(plans, plans.c.run == runs.c.number)
        .join(logs, logs.c.run == runs.c.number)
        .outerjoin(webhooks, webhooks.c.run == runs.c.number)
    )
    return select(
        runs,
        func.coalesce(plans.c.outline, plans.c.plan).label("outline"),
        plans.c.labels,
        logs.c.next,
        logs.c.bytes,
        logs.c.dropped,
        webhooks.c.webhook,
        webhooks.c.told,
        webhooks.c.deliveries,
    ).select_from(parts)


PLAN = select(plans.c.plan).where(plans.c.run == _NUMBER_OF)

_RUNS = _runs(runs)
_LABELLED = _runs(labels.join(runs, runs.c.number == labels.c.run)).where(
    labels.c.owner == bindparam("owner")
)


def _newest_first(*where: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    return _RUNS.where(*where).order_by(runs.c.number.desc())


_MINE = runs.c.owner == bindparam("owner")

RUN_BY_UID = _RUNS.where(_MINE, runs.c.uid == bindparam("uid"))
RUNS_BY_ID = _newest_first(_MINE, runs.c.run_id == bindparam("run_id"))
RUN_OF_SESSION = _newest_first(
    _MINE, runs.c.run_id == bindparam("run_id"), runs.c.session == bindparam("session")
).limit(1)
UNFINISHED_RUNS = _RUNS.where(runs.c.finished.is_(False)).order_by(runs.c.number)
# Not of the joined table itself: SQLite would look at every run.
PENDING_WEBHOOKS = _RUNS.where(
    runs.c.number.in_(select(webhooks.c.run).where(webhooks.c.over.is_(False)))
).order_by(runs.c.number)

_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "kernel_id": runs.c.kernel_id == bindparam("kernel_id"),
    "outcome": runs.c.outcome == bindparam("outcome"),
    "finished": runs.c.finished == bindparam("finished"),
}


@lru_cache(maxsize=256)
def list_runs(
    given: frozenset[str], with_values: tuple[bool, ...] = ()
) -> Select[tuple[object, ...]]:
    """The newest first, by those conditions. `created_at` and `uid` are of the run before.

    `with_values`: one for each label that is asked for, and whether its value is, too. The first
    one leads to the runs, in their order; the others are looked up at each of them.
    """
    found, moment = (_LABELLED, labels.c.created_at) if with_values else (_RUNS, runs.c.created_at)
    conditions = [condition for name, condition in _CONDITIONS.items() if name in given]
    conditions.extend(_label_conditions(with_values))
    by_time = moment, runs.c.uid  # the uid where two are of one moment
    if "created_at" in given:
        conditions.append(tuple_(*by_time) < tuple_(bindparam("created_at"), bindparam("uid")))
    return (
        found.where(_MINE, *conditions)
        .order_by(*(column.desc() for column in by_time))
        .limit(bindparam("limit"))
    )


def _label_conditions(with_values: tuple[bool, ...]) -> Iterator[ColumnElement[bool]]:
    for index, with_value in enumerate(with_values):
        table = labels.alias() if index else labels
        condition = table.c.name == bindparam(f"name{index}")
        if with_value:
            condition &= table.c.value == bindparam(f"value{index}")
        yield exists().where(table.c.run == runs.c.number, condition) if index else condition


# -- log -----------------------------------------------------------------------------------------

#: Makes room for records behind the last one. No row: the run is unknown, or `first` is not next.
EXTEND_LOG = (
    update(logs)
    .where(
        logs.c.run == _NUMBER_OF,
        logs.c.next == bindparam("first"),
    )
    .values(next=bindparam("then"), bytes=bindparam("size"), dropped=bindparam("lost"))
    .returning(logs.c.run)
)

MEASURE_LOG = (
    update(logs)
    .where(logs.c.run == _NUMBER_OF)
    .values(bytes=bindparam("size"), dropped=bindparam("lost"))
    .returning(logs.c.run)
)

LOG_NEXT = select(logs.c.next).join(runs, runs.c.number == logs.c.run).where(_OF_UID)

INSERT_RECORD = insert(records).values({column: bindparam(column.name) for column in records.c})

_LOG = select(
    records.c.seq,
    records.c.at,
    records.c.step,
    records.c.kind,
    records.c.stream,
    records.c.late,
    records.c.body,
).where(
    records.c.run == select(runs.c.number).where(runs.c.uid == bindparam("uid")).scalar_subquery()
)

RECORDS_AFTER = (
    _LOG.where(records.c.seq > bindparam("after")).order_by(records.c.seq).limit(bindparam("limit"))
)

LAST_RECORDS = _LOG.order_by(records.c.seq.desc()).limit(bindparam("limit"))

# -- removal -------------------------------------------------------------------------------------

RUN_TO_REMOVE = select(
    runs.c.number, runs.c.run_id, runs.c.owner, runs.c.session, runs.c.expires_at
).where(_OF_UID)

INSERT_TOMBSTONE = insert(tombstones).values(
    {column: bindparam(column.name) for column in tombstones.c}
)

#: In this order: the run is referred to by the others.
DELETE_RUN = (
    delete(labels).where(labels.c.run == bindparam("number")),
    delete(webhooks).where(webhooks.c.run == bindparam("number")),
    delete(plans).where(plans.c.run == bindparam("number")),
    delete(logs).where(logs.c.run == bindparam("number")),
    delete(runs).where(runs.c.number == bindparam("number")),
)

IS_REMOVED = select(tombstones.c.run).where(tombstones.c.uid == bindparam("of"))


def _is_expired(*where: ColumnElement[bool]) -> CompoundSelect[tuple[int]]:
    """Two questions in one: as a single one with "or", SQLite looks at all of the owner's."""
    return union_all(
        *(
            select(tombstones.c.run).where(
                tombstones.c.owner == bindparam("owner"), name == bindparam("name"), *where
            )
            for name in (tombstones.c.uid, tombstones.c.run_id)
        )
    )


IS_EXPIRED = _is_expired()
IS_EXPIRED_IN_SESSION = _is_expired(tombstones.c.session == bindparam("session"))

EXPIRED_RUNS = (
    select(runs.c.uid)
    .where(runs.c.expires_at <= bindparam("now"))
    .order_by(runs.c.expires_at)
    .limit(bindparam("limit"))
)

NEXT_TO_ERASE = (
    select(tombstones.c.run, tombstones.c.uid).where(tombstones.c.erased.is_(False)).limit(1)
)

ERASE_RECORDS = delete(records).where(
    records.c.run == bindparam("number"),
    records.c.seq
    < select(func.min(records.c.seq)).where(records.c.run == bindparam("number")).scalar_subquery()
    + bindparam("count"),
)

MARK_ERASED = update(tombstones).where(tombstones.c.run == bindparam("number")).values(erased=True)

FORGET_EXPIRED = delete(tombstones).where(
    tombstones.c.until <= bindparam("now"), tombstones.c.erased.is_(True)
)

# -- sessions and keys ---------------------------------------------------------------------------

INSERT_SESSION = insert(sessions).values({c: bindparam(c.name) for c in sessions.c})
UPDATE_SESSION = (
    update(sessions)
    .where(sessions.c.id == bindparam("of"))
    .values({c: bindparam(c.name) for c in sessions.c if c is not sessions.c.id})
)
SESSION = select(sessions).where(sessions.c.id == bindparam("id"))
SESSIONS_OF_OWNER = (
    select(sessions)
    .where(sessions.c.owner == bindparam("owner"))
    .order_by(sessions.c.created_at.desc(), sessions.c.id)
)
SESSIONS_NOT_ENDED = (
    select(sessions)
    .where(sessions.c.ended_at.is_(None))
    .order_by(sessions.c.created_at, sessions.c.id)
)

INSERT_NOTEBOOK_SESSION = insert(notebook_sessions).values(
    {c: bindparam(c.name) for c in notebook_sessions.c}
)
UPDATE_NOTEBOOK_SESSION = (
    update(notebook_sessions)
    .where(notebook_sessions.c.id == bindparam("of"))
    .values({c: bindparam(c.name) for c in notebook_sessions.c if c is not notebook_sessions.c.id})
)
DELETE_NOTEBOOK_SESSION = delete(notebook_sessions).where(notebook_sessions.c.id == bindparam("of"))
NOTEBOOK_SESSIONS = select(notebook_sessions).order_by(
    notebook_sessions.c.created_at, notebook_sessions.c.id
)

INSERT_KEY = insert(keys).values({c: bindparam(c.name) for c in keys.c})
UPDATE_KEY = (
    update(keys)
    .where(keys.c.access_key == bindparam("of"))
    .values({c: bindparam(c.name) for c in keys.c if c is not keys.c.access_key})
)
KEY = select(keys).where(keys.c.access_key == bindparam("access_key"))
KEYS = select(keys).order_by(keys.c.created_at, keys.c.access_key)
KEYS_OF_OWNER = (
    select(keys)
    .where(keys.c.owner == bindparam("owner"))
    .order_by(keys.c.created_at.desc(), keys.c.access_key)
)
