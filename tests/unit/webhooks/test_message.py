"""What a webhook is sent."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Artifact, ArtifactKind, Body, Reason, Seq
from kernel_gateway.service import RunId, RunUid, Webhook, WebhookEvent
from kernel_gateway.webhooks.message import body_of, event_of, gap, headers_of, signature

FILE = Artifact(id="a1", name="x", kind=ArtifactKind.FILE, mime="a/b", size=1, digest="sha256:0")
EVENTS: list[tuple[Body, WebhookEvent | None]] = [
    (records.StateChanged(state="queued"), WebhookEvent.START),
    (records.StateChanged(state="starting"), WebhookEvent.START),
    (records.StateChanged(state="running"), WebhookEvent.START),
    (records.StateChanged(state="waiting-input"), None),
    (records.StateChanged(state="finished", outcome="ok"), None),
    (records.StepChanged(state="running"), None),
    (records.LogText(stream="stdout", text="a"), WebhookEvent.LOGS),
    (records.Output(index=0, output_type="x", data={}, metadata={}), WebhookEvent.OUTPUT),
    (records.Updated(display_id="d", data={}, metadata={}), WebhookEvent.OUTPUT),
    (records.Cleared(wait=True), WebhookEvent.OUTPUT),
    (records.ErrorRaised(ename="E", evalue="", traceback=()), WebhookEvent.OUTPUT),
    (records.Comm(what="close", comm_id="c", data={}), WebhookEvent.OUTPUT),
    (records.Metric(name="m", value=1, mode="replace"), WebhookEvent.OUTPUT),
    (records.ArtifactAdded(artifact=FILE), WebhookEvent.OUTPUT),
    (records.InputAsked(prompt_id=1, prompt="?", password=False), WebhookEvent.INPUT),
    (records.InputAnswered(prompt_id=1), WebhookEvent.INPUT),
    (records.PhaseFinished(phase="build", exit_code=0), None),
    (records.KernelEvent(what="died"), None),
    (records.KernelIntroduced(name="k", implementation="", version="", language_info={}), None),
    (records.Dropped(why="line_too_long", bytes=1), WebhookEvent.LOGS),
    (records.Dropped(why="log_limit", bytes=1), WebhookEvent.LOGS),
    (records.Dropped(why="artifact_limit", count=1), WebhookEvent.OUTPUT),
    (records.Dropped(why="idle_missing"), None),
    (records.Completed(outcome="ok", reason=Reason(code="done")), WebhookEvent.COMPLETED),
]


@pytest.mark.parametrize(("body", "expected"), EVENTS, ids=lambda one: str(one)[:40])
def test_each_record_belongs_to_one_event_or_none(
    body: Body, expected: WebhookEvent | None
) -> None:
    assert expected is event_of(body)


def test_every_kind_of_record_is_decided_here() -> None:
    assert set(records.BODIES) == {body.kind for body, _ in EVENTS}


def test_a_body_is_strict_json_around_its_records() -> None:
    items = [encode({"seq": 1, "value": float("nan")}), encode({"seq": 2})]
    body = body_of(RunId('a "run"'), RunUid("u1"), "d1", 3, items)
    expected = {
        "run_id": 'a "run"',
        "uid": "u1",
        "delivery": "d1",
        "attempt": 3,
        "records": [{"seq": 1, "value": None}, {"seq": 2}],
    }
    assert expected == json.loads(body)


def test_a_gap_says_which_records_are_missing() -> None:
    expected = {"run_id": "r", "uid": "u1", "kind": "gap", "from": 2, "to": 7}
    assert expected == json.loads(gap(RunId("r"), RunUid("u1"), Seq(2), Seq(7)))


def test_headers_name_the_delivery_and_sign_the_body() -> None:
    webhook = Webhook(url="http://a.example/", secret="grün")
    expected = {
        "Content-Type": "application/json",
        "User-Agent": "kernel-gateway",
        "Kernel-Gateway-Delivery": "d1",
        "Kernel-Gateway-Attempt": "2",
        "Kernel-Gateway-Signature": signature("grün", b"{}"),
    }
    assert expected == headers_of(webhook, "d1", 2, b"{}")


def test_without_a_secret_nothing_is_signed() -> None:
    headers = headers_of(Webhook(url="http://a.example/"), "d1", 1, b"{}")
    assert "Kernel-Gateway-Signature" not in headers


def test_a_signature_is_the_hmac_of_the_very_bytes() -> None:
    digest = hmac.new("grün".encode(), b"body", hashlib.sha256).hexdigest()
    assert f"sha256={digest}" == signature("grün", b"body")


def test_the_trace_of_who_created_the_run_is_passed_on() -> None:
    trace = (("traceparent", "00-1-2-01"), ("tracestate", "a=b"))
    headers = headers_of(Webhook(url="http://a.example/", trace=trace), "d1", 1, b"{}")
    assert ("00-1-2-01", "a=b") == (headers["traceparent"], headers["tracestate"])


def test_a_trace_cannot_bring_other_headers() -> None:
    trace = (("Host", "b"), ("traceparent", "a\r\nHost: b"), ("tracestate", "é"))
    headers = headers_of(Webhook(url="http://a.example/", trace=trace), "d1", 1, b"{}")
    assert not {"Host", "traceparent", "tracestate"} & set(headers)
