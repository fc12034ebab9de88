"""Values become the JSON of the contracts; no loop, no socket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kernel_gateway.errors import InvalidField, RunIdAmbiguous, TooLarge
from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Reason, Record, Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, RunView, StepOutcome, StepView
from kernel_gateway.service import (
    Answer,
    ConsoleItem,
    Cursor,
    Delivery,
    KernelInfoView,
    KernelState,
    Mode,
    Owner,
    Readiness,
    RunId,
    RunInfo,
    RunUid,
    Status,
    WebhookEvent,
    WebhookView,
)
from kernel_gateway.web import render
from kernel_gateway.web.auth import host_name, redacted

VIEW = RunView(
    state=RunState.FINISHED,
    outcome=Outcome.LOST,
    reason=Reason(code="kernel_died", message="It died.", signal="SIGKILL"),
    exit_code=137,
    created_at=0.0,
    started_at=0.5,
    finished_at=1.000001,
    queue_time=0.5,
    predict_time=None,
    prompt=None,
    steps=(StepView(index=0, name="", state=StepOutcome.DIED, started_at=0.5),),
    history=((RunState.QUEUED, 0.0), (RunState.FINISHED, 1.0)),
    is_stream=False,
)
INFO = RunInfo(
    id=RunId("a/b"),
    uid=RunUid("u"),
    owner=Owner("local"),
    mode=Mode.QUERY,
    kernel_id="k",
    kernel_name="python3",
    generation=None,
    queue_position=None,
    view=VIEW,
    log_next=Seq(8),
    log_bytes=3,
    log_dropped=0,
)


def test_times_have_six_digits_and_a_z() -> None:
    assert render.instant(0) == "1970-01-01T00:00:00.000000Z"
    assert render.instant(1767323045.000678) == "2026-01-02T03:04:05.000678Z"


def test_a_run_is_told_with_nulls_for_what_is_missing() -> None:
    run = render.run_json(INFO)
    assert run["reason"] == {"code": "kernel_died", "message": "It died.", "signal": "SIGKILL"}
    assert run["kernel"] == {"id": "k", "name": "python3", "generation": None}
    assert run["finished_at"] == "1970-01-01T00:00:01.000001Z"
    assert (run["predict_time"], run["error"], run["input_request"]) == (None, None, None)
    assert run["links"]["self"] == "/api/runs/u"  # type: ignore[index, call-overload]
    assert run["log"] == {"first": 1, "next": 8, "bytes": 3, "dropped": 0}
    assert json.loads(encode(run))["state"] == "finished"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (records.LogText(stream="stdout", text="x"), {"stream": "stdout", "text": "x"}),
        (
            records.LogText(stream="stdout", text="x", late=True),
            {"stream": "stdout", "text": "x", "late": True},
        ),
        (records.Cleared(wait=False), {"wait": False}),
        (
            records.Completed(outcome="ok", reason=Reason(code="done"), exit_code=0),
            {
                "outcome": "ok",
                "reason": {"code": "done", "message": ""},
                "exit_code": 0,
                "run": render.run_json(INFO),
            },
        ),
        (
            records.Output(
                index=0,
                output_type="display_data",
                data={},
                metadata={},
                spilled={
                    "text/html": records.Spilled(artifact="1", size=9, digest="d", preview="<")
                },
            ),
            {
                "index": 0,
                "output_type": "display_data",
                "data": {},
                "metadata": {},
                "spilled": {
                    "text/html": {"artifact": "1", "size": 9, "digest": "d", "preview": "<"}
                },
            },
        ),
    ],
)
def test_a_record_is_its_body_with_its_place(body: records.Body, fields: object) -> None:
    told = render.record_json(INFO, Record(seq=Seq(3), at=0.0, step=0, body=body))
    place = {name: told.pop(name) for name in ("run_id", "uid", "seq", "at", "step", "kind")}
    assert place == {
        "run_id": "a/b",
        "uid": "u",
        "seq": 3,
        "at": "1970-01-01T00:00:00.000000Z",
        "step": 0,
        "kind": body.kind,
    }
    assert told == fields


ARTIFACT = records.Artifact(
    id="3-0",
    name="output 0 text/html",
    kind=records.ArtifactKind.OVERSIZED,
    mime="text/html",
    size=9,
    digest="sha256:00",
    preview="<",
)
DELIVERY = Delivery(id="d", attempt=2, status=None, at=0.0, first=Seq(1), last=Seq(4), error="no")
WEBHOOK = WebhookView(
    url="https://a.example", events=(WebhookEvent.COMPLETED,), deliveries=(DELIVERY,)
)


def test_what_a_run_was_given_and_has_left_is_told() -> None:
    run: Any = render.run_json(
        replace(
            INFO,
            labels={"a": "b"},
            context={"c": "d"},
            artifacts=(ARTIFACT,),
            webhook=WEBHOOK,
            view=replace(VIEW, metrics={"loss": {"train": [1, 2]}}),
        )
    )
    assert ({"a": "b"}, {"c": "d"}, 1) == (run["labels"], run["context"], run["attempt"])
    assert {"loss": {"train": [1, 2]}} == run["metrics"]
    assert [
        {
            "id": "3-0",
            "name": "output 0 text/html",
            "kind": "oversized",
            "mime": "text/html",
            "size": 9,
            "digest": "sha256:00",
            "preview": "<",
        }
    ] == run["artifacts"]
    assert {
        "url": "https://a.example",
        "events": ["completed"],
        "deliveries": [
            {
                "id": "d",
                "attempt": 2,
                "status": None,
                "at": "1970-01-01T00:00:00.000000Z",
                "first": 1,
                "last": 4,
                "error": "no",
            }
        ],
    } == run["webhook"]


@pytest.mark.parametrize(
    ("draining", "fault", "told"),
    [
        (False, None, {"status": "ok", "ready": True}),
        (True, "full", {"status": "draining", "ready": False, "message": "full"}),
        (False, "full", {"status": "store_unavailable", "ready": False, "message": "full"}),
    ],
)
def test_the_gateway_tells_whether_it_is_ready(
    draining: bool, fault: str | None, told: dict[str, Any]
) -> None:
    readiness = Readiness(draining=draining, store_fault=fault, kernels=1, warm=3, runs=2)
    assert {**told, "kernels": 1, "warm": 3, "runs": 2} == render.readiness_json(readiness)


def test_an_answer_is_backend_ais_object() -> None:
    answer = Answer(
        run_id="r",
        status=Status.WAITING_INPUT,
        exit_code=None,
        console=(ConsoleItem("stdout", "x"), ConsoleItem("media", ("image/png", "data:"))),
        is_password=False,
        prompt_id=2,
        cursor=Cursor(Seq(4), 5),
    )
    assert json.loads(encode(render.answer_json(answer))) == {
        "runId": "r",
        "status": "waiting-input",
        "exitCode": None,
        "console": [["stdout", "x"], ["media", ["image/png", "data:"]]],
        "options": {"is_password": False, "prompt_id": 2},
        "files": [],
        "cursor": "4:5",
    }


def test_a_kernel_that_died_tells_why() -> None:
    kernel = KernelInfoView(
        id="k",
        name="python3",
        owner=Owner("local"),
        state=KernelState.DEAD,
        generation=2,
        last_activity=0.0,
        queue_length=0,
        reason="It died.",
    )
    assert json.loads(encode(render.kernel_json(kernel))) == {
        "id": "k",
        "name": "python3",
        "last_activity": "1970-01-01T00:00:00.000000Z",
        "execution_state": "dead",
        "connections": 0,
        "generation": 2,
        "isolation": "none",
        "queue_length": 0,
        "owner": "local",
        "reason": "It died.",
    }


def test_faults_tell_their_fields() -> None:
    assert render.fault_json(InvalidField({"a.b": "bad", "c": "worse"})) == {
        "code": "invalid_field",
        "message": "a.b: bad; c: worse",
        "field": "a.b",
        "fields": {"a.b": "bad", "c": "worse"},
    }
    assert render.fault_json(TooLarge("too long", "code"))["field"] == "code"
    assert render.fault_json(RunIdAmbiguous("r", ("1", "2")))["details"] == {"uids": ["1", "2"]}


@pytest.mark.parametrize(
    ("coloured", "plain"),
    [
        ("\x1b[0;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("a\x1bMb\x1b[2Kc", "abc"),
        ("[31m stays", "[31m stays"),
    ],
)
def test_colours_are_taken_out(coloured: str, plain: str) -> None:
    assert render.without_ansi(coloured) == plain


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("/api", "/api"),
        ("/api?a=1", "/api?a=1"),
        ("/api?token=x", "/api?token=[secret]"),
        ("/api?a=1&token=x&b", "/api?a=1&token=[secret]&b"),
        ("/api?%74oken=x%26y", "/api?%74oken=[secret]"),
        ("/api?token=x&token=y", "/api?token=[secret]&token=[secret]"),
        ("/token=x", "/token=x"),
        ("/a\r\nb\x1b[0m", "/a??b?[0m"),
    ],
)
def test_logs_show_addresses_without_the_token(uri: str, shown: str) -> None:
    assert redacted(uri) == shown


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:1", "localhost"),
        ("LocalHost.", "localhost"),
        ("[::1]:8888", "::1"),
        ("[::1", "::1"),
        ("", ""),
        ("localhost:1:2", "localhost"),
    ],
)
def test_a_host_has_a_name_and_a_port(host: str, name: str) -> None:
    assert host_name(host) == name
