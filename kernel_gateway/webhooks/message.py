"""What is sent: which records a webhook takes, the body they make, its headers and signature.

Knows records and webhooks. Must not know how often something is sent, nor what becomes of it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.service import RunId, RunUid, Webhook, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.runs.records import Body, Seq

SIGNATURE = "Kernel-Gateway-Signature"
DELIVERY = "Kernel-Gateway-Delivery"
ATTEMPT = "Kernel-Gateway-Attempt"
USER_AGENT = "kernel-gateway"

_START_STATES = frozenset({"queued", "starting", "running"})
_TRACE_HEADERS = frozenset({"traceparent", "tracestate"})

_EVENTS: Mapping[str, WebhookEvent] = {
    records.LogText.kind: WebhookEvent.LOGS,
    records.Output.kind: WebhookEvent.OUTPUT,
    records.Updated.kind: WebhookEvent.OUTPUT,
    records.Cleared.kind: WebhookEvent.OUTPUT,
    records.ErrorRaised.kind: WebhookEvent.OUTPUT,
    records.Comm.kind: WebhookEvent.OUTPUT,
    records.Metric.kind: WebhookEvent.OUTPUT,
    records.ArtifactAdded.kind: WebhookEvent.OUTPUT,
    records.InputAsked.kind: WebhookEvent.INPUT,
    records.InputAnswered.kind: WebhookEvent.INPUT,
    records.Completed.kind: WebhookEvent.COMPLETED,
}
_LOSSES = {
    "line_too_long": WebhookEvent.LOGS,
    "log_limit": WebhookEvent.LOGS,
    "artifact_limit": WebhookEvent.OUTPUT,
}


def event_of(body: Body) -> WebhookEvent | None:
    """The event that asks for this record; None: no webhook is told of it."""
    if isinstance(body, records.StateChanged):
        return WebhookEvent.START if body.state in _START_STATES else None
    if isinstance(body, records.Dropped):
        return _LOSSES.get(body.why)
    return _EVENTS.get(body.kind)


def body_of(
    run_id: RunId, uid: RunUid, delivery: str, attempt: int, items: Sequence[bytes]
) -> bytes:
    """`items` are records, each as JSON already."""
    names = {"run_id": run_id, "uid": uid, "delivery": delivery, "attempt": attempt}
    return b'%s,"records":[%s]}' % (encode(names)[:-1], b",".join(items))


def gap(run_id: RunId, uid: RunUid, first: Seq, last: Seq) -> bytes:
    """Stands for records that could not be delivered."""
    item = {"run_id": run_id, "uid": uid, "kind": "gap", "from": first, "to": last}
    return encode(item)


def headers_of(webhook: Webhook, delivery: str, attempt: int, body: bytes) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        DELIVERY: delivery,
        ATTEMPT: str(attempt),
    }
    headers |= {
        name: value
        for name, value in webhook.trace
        if name in _TRACE_HEADERS and value.isascii() and value.isprintable()
    }
    if webhook.secret is not None:
        headers[SIGNATURE] = signature(webhook.secret, body)
    return headers


def signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
