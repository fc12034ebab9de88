"""Values to rows and back. Pure: no connection, no clock.

Texts of a log are the many, so they are columns; the rest is JSON. All text is strict: a lone
surrogate, which a kernel may send and no encoding can carry, becomes U+FFFD.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

from kernel_gateway.messaging.strict_json import clean_text, decode, decode_object, encode
from kernel_gateway.runs.plan import RunPlan
from kernel_gateway.runs.records import LogText, Record, Seq, body_json, body_of
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import RunView
from kernel_gateway.store import shapes
from kernel_gateway.store.values import (
    RunFilter,
    StoredKey,
    StoredNotebookSession,
    StoredRun,
    StoredSession,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

Parameters: TypeAlias = dict[str, Any]


def plan_bytes(plan: RunPlan) -> bytes:
    return encode(shapes.dump(plan))


def plan_of(data: bytes) -> RunPlan:
    return shapes.load(RunPlan, decode(data))


def view_bytes(view: RunView) -> bytes:
    return encode(shapes.dump(view))


def view_of(data: bytes) -> RunView:
    return shapes.load(RunView, decode(data))


def changing_parameters(run: StoredRun) -> Parameters:
    """What a later put replaces."""
    return {
        "kernel_name": run.kernel_name,
        "generation": run.generation,
        "finished": run.view.state is RunState.FINISHED,
        "view": view_bytes(run.view),
        "expires_at": run.expires_at,
        "outcome": run.view.outcome,
    }


def fixed_parameters(run: StoredRun) -> Parameters:
    """What is written once; the plan has a table of its own."""
    return {
        "uid": run.uid,
        "run_id": run.run_id,
        "owner": run.owner,
        "session": run.session,
        "digest": run.digest,
        "created_at": run.view.created_at,
    }


def run_of(row: Row[Any]) -> StoredRun:
    return StoredRun(
        uid=row.uid,
        run_id=row.run_id,
        owner=row.owner,
        session=row.session,
        kernel_name=row.kernel_name,
        generation=row.generation,
        digest=row.digest,
        plan=plan_of(row.plan),
        view=view_of(row.view),
        log_next=row.next,
        log_bytes=row.bytes,
        log_dropped=row.dropped,
        expires_at=row.expires_at,
    )


def record_row(run: int, record: Record) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    body = record.body
    if isinstance(body, LogText):
        return (
            run, record.seq, record.at, record.step,
            body.kind, body.stream, body.late, _utf8(body.text),
        )  # fmt: skip
    return (
        run, record.seq, record.at, record.step,
        body.kind, None, None, encode(body_json(body)),
    )  # fmt: skip


def record_of(row: Sequence[Any]) -> Record:
    seq, at, step, kind, stream, late, data = row
    if stream is not None:
        body = LogText(stream=stream, text=data.decode(), late=bool(late))
        return Record(seq=Seq(seq), at=at, step=step, body=body)
    return Record(seq=Seq(seq), at=at, step=step, body=body_of(kind, decode_object(data)))


def size_of(record: Record) -> int:
    """About what a record holds in memory. Cheap: it is asked for each one on the loop."""
    body = record.body
    if isinstance(body, LogText):
        return len(body.text)
    data = getattr(body, "data", None) or {}
    return 200 + sum(len(value) for value in data.values() if isinstance(value, str))


def session_parameters(session: StoredSession) -> Parameters:
    return asdict(session)


def session_of(row: Row[Any]) -> StoredSession:
    return StoredSession(**row._mapping)


def notebook_session_parameters(session: StoredNotebookSession) -> Parameters:
    return asdict(session)


def notebook_session_of(row: Row[Any]) -> StoredNotebookSession:
    return StoredNotebookSession(**row._mapping)


def filter_parameters(wanted: RunFilter) -> Parameters:
    """Of the conditions that are given, and no others."""
    given: Parameters = {
        "session": wanted.session,
        "finished": wanted.finished,
        "outcome": wanted.outcome,
    }
    if wanted.before is not None:
        given["created_at"], given["uid"] = wanted.before
    return {name: value for name, value in given.items() if value is not None}


def key_parameters(key: StoredKey) -> Parameters:
    return asdict(key)


def key_of(row: Row[Any]) -> StoredKey:
    return StoredKey(**row._mapping)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return clean_text(text).encode()
