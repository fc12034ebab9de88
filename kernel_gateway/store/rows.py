"""Values to rows and back. Pure: no connection, no clock.

Texts of a log are the many, so they are columns; the rest is JSON. All text is strict: a lone
surrogate, which a kernel may send and no encoding can carry, becomes U+FFFD.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from kernel_gateway.messaging.strict_json import clean_text, decode, decode_object, encode
from kernel_gateway.runs.plan import RunPlan
from kernel_gateway.runs.records import Artifact, LogText, Record, Seq, body_json, body_of
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import RunView
from kernel_gateway.service import Delivery, Webhook
from kernel_gateway.store import shapes
from kernel_gateway.store.values import (
    PendingWebhook,
    PutDeliveries,
    RunFilter,
    StoredKey,
    StoredNotebookSession,
    StoredRun,
    StoredSession,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Row

T = TypeVar("T")

OUTLINED_ABOVE = 16 * 2**10  # bytes of a plan

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
        "artifacts": _list_bytes(run.artifacts),
    }


def fixed_parameters(run: StoredRun) -> Parameters:
    """What is written once into the row of the run; the next three have tables of their own."""
    return {
        "uid": run.uid,
        "run_id": run.run_id,
        "owner": run.owner,
        "session": run.session,
        "digest": run.digest,
        "created_at": run.view.created_at,
        "kernel_id": run.kernel_id,
    }


def plan_parameters(run: StoredRun) -> Parameters:
    """The code of a run can have megabytes, and who looks at a page of runs has no use for it."""
    plan = plan_bytes(run.plan)
    return {
        "plan": plan,
        "outline": plan_bytes(run.plan.without_code()) if len(plan) > OUTLINED_ABOVE else None,
        "labels": encode(dict(run.labels)) if run.labels else None,
    }


def label_rows(run: StoredRun) -> list[Parameters]:
    clean = {clean_text(name): clean_text(value) for name, value in run.labels.items()}
    of_run = {"owner": run.owner, "created_at": run.view.created_at}
    return [{"name": name, "value": value, **of_run} for name, value in clean.items()]


def webhook_parameters(webhook: Webhook) -> Parameters:
    """Of one of which nothing was delivered yet."""
    data = encode(shapes.dump(webhook))
    return {"webhook": data, "told": 0, "over": False, "deliveries": None}


def progress_parameters(write: PutDeliveries) -> Parameters:
    deliveries = _list_bytes(write.deliveries)
    return {"told": write.told, "over": write.over, "deliveries": deliveries}


def pending_webhook_of(row: Row[Any]) -> PendingWebhook:
    return PendingWebhook(run=run_of(row), told=Seq(row.told))


def run_of(row: Row[Any]) -> StoredRun:
    return StoredRun(
        uid=row.uid,
        run_id=row.run_id,
        owner=row.owner,
        session=row.session,
        kernel_id=row.kernel_id,
        kernel_name=row.kernel_name,
        generation=row.generation,
        digest=row.digest,
        plan=plan_of(row.outline),
        labels=decode_object(row.labels or b"{}"),  # type: ignore[arg-type]
        webhook=shapes.load(Webhook, decode(row.webhook)) if row.webhook else None,
        view=view_of(row.view),
        artifacts=_list_of(Artifact, row.artifacts),
        deliveries=_list_of(Delivery, row.deliveries),
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
    """Of the conditions that are given, and no others; labels are apart."""
    given: Parameters = {
        "kernel_id": wanted.kernel_id,
        "finished": wanted.finished,
        "outcome": wanted.outcome,
    }
    if wanted.before is not None:
        given["created_at"], given["uid"] = wanted.before
    return {name: value for name, value in given.items() if value is not None}


def label_parameters(
    asked: Sequence[tuple[str, str | None]],
) -> tuple[tuple[bool, ...], Parameters]:
    """Whether each asks for a value, and what they ask for. Those that do come first."""
    ordered = sorted(set(asked), key=lambda label: (label[1] is None, label))
    given: Parameters = {}
    for index, (name, value) in enumerate(ordered):
        given[f"name{index}"] = clean_text(name)
        if value is not None:
            given[f"value{index}"] = clean_text(value)
    return tuple(value is not None for _, value in ordered), given


def key_parameters(key: StoredKey) -> Parameters:
    return asdict(key)


def key_of(row: Row[Any]) -> StoredKey:
    return StoredKey(**row._mapping)


def _list_bytes(values: Sequence[Any]) -> bytes | None:
    return encode([shapes.dump(value) for value in values]) if values else None


def _list_of(kind: Callable[..., T], data: bytes | None) -> tuple[T, ...]:
    raw: Any = decode(data) if data else []
    return tuple(shapes.load(kind, each) for each in raw)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return clean_text(text).encode()
