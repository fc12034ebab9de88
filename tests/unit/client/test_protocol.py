"""`client/protocol.py`: calls as values, and answers as what they mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernel_gateway import errors
from kernel_gateway.client import protocol
from kernel_gateway.client.protocol import Answer, Call
from kernel_gateway.runs.records import Artifact, ArtifactKind, Seq
from kernel_gateway.service import BatchCommands, Limits, RunPlace, Webhook, WebhookEvent


def body(call: Call[Any]) -> Any:
    assert call.body is not None
    assert ("Content-Type", "application/json") in call.headers
    return json.loads(call.body)


def refusal(status: int, code: str, message: str = "Why.", **more: Any) -> Answer:
    error = {"code": code, "message": message, **more}
    return Answer(status=status, body=json.dumps({"error": error}).encode())


# -- calls --------------------------------------------------------------------------------------


def test_a_run_with_an_id_is_put_and_can_be_repeated() -> None:
    call = protocol.create(code="1", kernel="k", run_id="a b/c")
    assert ("PUT", "/api/runs/a%20b%2Fc", True) == (call.verb, call.path, call.repeatable)
    assert {"mode": "query", "code": "1", "kernel": "k"} == body(call)


@pytest.mark.parametrize("run_id", [".", ".."])
def test_an_id_that_no_address_can_hold_goes_in_the_body(run_id: str) -> None:
    call = protocol.create(code="1", run_id=run_id)
    assert ("POST", "/api/runs", True) == (call.verb, call.path, call.repeatable)
    assert {"mode": "query", "code": "1", "runId": run_id} == body(call)


def test_a_run_without_an_id_is_posted_once() -> None:
    call = protocol.create(code="1")
    assert ("POST", "/api/runs", False) == (call.verb, call.path, call.repeatable)


def test_all_that_can_be_said_of_a_run_is_in_its_body() -> None:
    call = protocol.create(
        code="1",
        kernel_name="ir",
        session="s",
        run_id="r",
        labels={"a": "b"},
        context={"c": "d"},
        limits=Limits(step=1.5, idle=3.0),
        timeout=2.0,
        options={"allow_stdin": False},
        webhook=Webhook(
            url="https://h", secret="s", events=(WebhookEvent.LOGS,), trace=(("traceparent", "x"),)
        ),
        cancel_on_disconnect=True,
        files={"a/b": "YQ=="},
        env={"E": "1", "KEY": "k"},
        secrets=("KEY",),
        wait=10,
    )
    assert {
        "mode": "query",
        "code": "1",
        "options": {"allow_stdin": False},
        "kernel": {"name": "ir"},
        "session": "s",
        "labels": {"a": "b"},
        "context": {"c": "d"},
        "limits": {"step": 1.5, "idle": 3.0},
        "timeout": 2.0,
        "webhook": {"url": "https://h", "events": ["logs"], "secret": "s"},
        "cancel_on_disconnect": True,
        "files": {"a/b": "YQ=="},
        "env": {"E": "1", "KEY": "k"},
        "secrets": ["KEY"],
    } == body(call)
    assert {("Prefer", "wait=10"), ("traceparent", "x")} <= set(call.headers)
    assert 10 == call.wait_s


def test_a_working_folder_of_its_own_may_be_empty() -> None:
    assert {} == body(protocol.create(code="1", files={}))["files"]
    assert "files" not in body(protocol.create(code="1"))


def test_a_webhook_without_a_secret_sends_none() -> None:
    assert "secret" not in body(protocol.create(code="1", webhook=Webhook(url="u")))["webhook"]


def test_commands_make_a_batch_and_a_notebook_a_notebook_run() -> None:
    batch = protocol.create(commands=BatchCommands(build="make", exec="./a"), options={"grace": 1})
    assert {"mode": "batch", "options": {"grace": 1, "build": "make", "exec": "./a"}} == body(batch)
    notebook = protocol.create(notebook={"cells": []})
    assert {"mode": "notebook", "notebook": {"cells": []}} == body(notebook)
    given = protocol.create(notebook={"cells": []}, parameters={"a": [1]})
    assert {**body(notebook), "parameters": {"a": [1]}} == body(given)


@pytest.mark.parametrize("work", [{}, {"code": "1", "notebook": {}}])
def test_a_run_is_of_one_thing(work: Any) -> None:
    with pytest.raises(errors.InvalidField, match="just one of them"):
        protocol.create(**work)


def test_a_run_is_on_a_kernel_that_is_there_or_on_one_of_its_own() -> None:
    with pytest.raises(errors.InvalidField, match="to be started"):
        protocol.create(code="1", kernel="k", kernel_name="ir")


def test_code_input_and_variables_are_in_no_repr() -> None:
    calls = [
        protocol.create(code="secret", env={"A": "secret"}, files={"f": "secret"}),
        protocol.give_input("r", "secret"),
    ]
    assert "secret" not in repr(calls)


def test_the_filters_of_a_list_become_its_query() -> None:
    call = protocol.runs(
        state="running", labels={"a": None, "b": "c=d"}, limit=5, before=RunPlace(1.5, "u")
    )
    assert (
        ("state", "running"),
        ("limit", "5"),
        ("cursor", "1.5_u"),
        ("outputs", "false"),
        ("label", "a"),
        ("label", "b=c=d"),
    ) == call.query


def test_the_raw_form_of_a_call_leaves_nothing_out() -> None:
    call = protocol.raw(protocol.run("r"))
    assert () == call.query
    assert {"new": [1]} == protocol.settled(call, Answer(status=200, body=b'{"new": [1]}'))


@pytest.mark.parametrize("run_id", [".", "..", "\ud800"])
def test_what_cannot_be_in_an_address_is_refused_before_it_is_sent(run_id: str) -> None:
    with pytest.raises(errors.InvalidField):
        protocol.run(run_id)


def test_events_are_asked_for_behind_the_last_one() -> None:
    call = protocol.events("r", Seq(7))
    assert ("Last-Event-ID", "7") in call.headers
    assert ("Accept", "text/event-stream") in call.headers


def test_the_rest_of_an_artifact_is_asked_for_as_long_as_it_is_the_same() -> None:
    artifact = Artifact(
        id="a1", name="n", kind=ArtifactKind.FILE, mime="m", size=9, digest="sha256:0"
    )
    assert "/api/runs/r/artifacts/a1" == protocol.artifact("r", artifact).path
    whole, rest = protocol.artifact("r", artifact), protocol.artifact("r", artifact, 4)
    assert "Range" not in dict(whole.headers)
    assert ("bytes=4-", '"sha256:0"') == (
        dict(rest.headers)["Range"],
        dict(rest.headers)["If-Range"],
    )


def test_input_for_a_certain_prompt_can_be_repeated() -> None:
    assert not protocol.give_input("r", "x").repeatable
    call = protocol.give_input("r", "x", 2)
    assert call.repeatable
    assert {"value": "x", "prompt_id": 2} == body(call)


def test_a_cancel_says_how_far_it_may_go() -> None:
    assert {"escalate": "kill"} == body(protocol.cancel("r"))
    assert {"escalate": "none", "grace": 1.0} == body(
        protocol.cancel("r", grace=1.0, escalate=False)
    )


def test_a_kernel_is_asked_for_once() -> None:
    assert not protocol.create_kernel().repeatable
    assert {"name": "ir", "env": {"KERNEL_X": "1"}} == body(
        protocol.create_kernel("ir", {"KERNEL_X": "1"})
    )


def test_records_are_waited_for_by_the_gateway() -> None:
    call = protocol.records("r", after=3, wait=20, limit=10)
    assert (("after", "3"), ("wait", "20"), ("limit", "10")) == call.query
    assert 20 == call.wait_s


# -- answers ------------------------------------------------------------------------------------


CODES = sorted(
    {
        kind
        for kind in protocol._FAULTS.values()
        if kind is not errors.GatewayError and kind.status >= 400
    },
    key=lambda kind: kind.code,
)


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.code)
def test_each_error_comes_out_as_it_was_raised(kind: type[errors.GatewayError]) -> None:
    fault = protocol.fault_of(refusal(kind.status, kind.code))
    assert (kind, "Why.") == (type(fault), str(fault))


def test_what_an_error_says_beside_its_message_is_kept() -> None:
    invalid = protocol.fault_of(refusal(422, "invalid_field", fields={"a": "is wrong"}))
    assert isinstance(invalid, errors.InvalidField)
    assert {"a": "is wrong"} == invalid.fields
    ambiguous = protocol.fault_of(refusal(409, "run_id_ambiguous", details={"uids": ["u", "v"]}))
    assert isinstance(ambiguous, errors.RunIdAmbiguous)
    assert ("u", "v") == ambiguous.uids
    large = protocol.fault_of(refusal(413, "too_large", field="code"))
    assert isinstance(large, errors.TooLarge)
    assert "code" == large.field
    answer = refusal(416, "range_not_satisfiable")
    answer = Answer(status=416, headers={"content-range": "bytes */12"}, body=answer.body)
    out = protocol.fault_of(answer)
    assert isinstance(out, errors.RangeRefused)
    assert 12 == out.size


@pytest.mark.parametrize(
    ("status", "expected"), [(409, errors.CallerFault), (501, errors.OurFault)]
)
def test_an_error_of_a_newer_gateway_is_told_by_its_status(
    status: int, expected: type[errors.GatewayError]
) -> None:
    assert expected is type(protocol.fault_of(refusal(status, "brand_new")))


def test_an_error_in_the_form_of_jupyter_is_understood() -> None:
    error = {"code": "kernel_not_found", "message": "No."}
    answer = Answer(status=404, body=json.dumps({"message": "No.", "error": error}).encode())
    assert isinstance(protocol.fault_of(answer), errors.KernelNotFound)


ODD_FIELDS = b'{"error": {"code": "invalid_field", "message": "No.", "fields": 7}}'
ODD_DETAILS = b'{"error": {"code": "run_id_ambiguous", "message": "No.", "details": [1]}}'


@pytest.mark.parametrize(
    "data",
    [b"<html>", b"[]", b'{"error": "x"}', b"\xff", b"{}", b"[" * 9999, ODD_FIELDS, ODD_DETAILS],
)
def test_an_error_of_something_else_is_unexpected(data: bytes) -> None:
    fault = protocol.fault_of(Answer(status=502, body=data))
    assert isinstance(fault, errors.UnexpectedAnswer)
    assert "502" in str(fault)


def test_a_redirection_is_no_answer() -> None:
    with pytest.raises(errors.UnexpectedAnswer, match="302"):
        protocol.settled(protocol.limits(), Answer(status=302))


def test_what_is_no_json_is_unexpected() -> None:
    with pytest.raises(errors.UnexpectedAnswer):
        protocol.settled(protocol.limits(), Answer(status=200, body=b"<html>"))
