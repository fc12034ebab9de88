"""`client/parse.py`: values out of JSON, also of a gateway that is newer."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.client import parse
from kernel_gateway.client.values import Gap, Unknown
from kernel_gateway.errors import UnexpectedAnswer
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Artifact, ArtifactKind, Reason, Spilled, body_json
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Failure, Outcome, Prompt, StepOutcome
from kernel_gateway.service import KernelState, RunPlace, WebhookEvent
from tests.unit.client.samples import AT, AT_S, record_json, run_json

ARTIFACT = Artifact(
    id="a1", name="n", kind=ArtifactKind.FILE, mime="text/plain", size=3, digest="sha256:0"
)
SPILLED = Spilled(artifact="a1", size=9, digest="sha256:0", preview="abc")
BODIES: list[records.Body] = [
    records.StateChanged(state="finished", outcome="ok", reason=Reason(code="done")),
    records.StepChanged(state="ok", exit_code=0),
    records.LogText(stream="stdout", text="ü\r\n"),
    records.Output(
        index=0,
        output_type="display_data",
        data={"text/plain": "x"},
        metadata={},
        spilled={"text/html": SPILLED},
    ),
    records.Updated(display_id="d", data={}, metadata={}),
    records.Cleared(wait=True),
    records.ErrorRaised(ename="E", evalue="v", traceback=("a", "b")),
    records.Comm(
        what="open",
        comm_id="c",
        target_name="jupyter.widget",
        data={"state": {}, "buffer_paths": [["a"], ["b"]]},
        buffers=("", "AAE="),
        spilled={"/buffers/0": SPILLED},
    ),
    records.Metric(name="a.b", value=[1], mode="append"),
    records.ArtifactAdded(artifact=ARTIFACT, late=True),
    records.InputAsked(prompt_id=1, prompt="?", password=False),
    records.InputAnswered(prompt_id=1),
    records.PhaseFinished(phase="build", exit_code=0),
    records.KernelEvent(what="died"),
    records.KernelIntroduced(
        name="python3", implementation="ipython", version="9", language_info={"name": "python"}
    ),
    records.Dropped(why="log_limit", bytes=3),
    records.Completed(outcome="ok", reason=Reason(code="done"), exit_code=0),
]


def test_there_is_an_example_of_each_kind_of_record() -> None:
    assert set(records.BODIES) == {body.kind for body in BODIES}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_a_record_comes_out_as_it_went_in(body: records.Body) -> None:
    told = parse.told(record_json(7, body.kind, **body_json(body)))
    assert (7, AT_S, 0, body) == (told.seq, told.at, told.step, told.body)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_fields_that_are_new_harm_no_record(body: records.Body) -> None:
    raw = record_json(7, body.kind, **body_json(body), brand_new={"x": 1})
    assert body == parse.told(raw).body


def test_fields_that_are_new_within_a_record_harm_none() -> None:
    raw = record_json(1, "completed", outcome="ok", reason={"code": "done", "new": 1}, run={})
    assert records.Completed(outcome="ok", reason=Reason(code="done")) == parse.told(raw).body


@pytest.mark.parametrize(
    "raw",
    [
        record_json(7, "brand_new", x=1),
        record_json(7, "log", words="another form"),
        record_json(7, "artifact", artifact={"id": "a", "kind": "brand_new"}),
    ],
)
def test_a_record_in_a_form_that_is_new_is_told_as_unknown(raw: dict[str, Any]) -> None:
    told = parse.told(raw)
    assert 7 == told.seq
    assert Unknown(kind=raw["kind"], fields=raw) == told.body


def test_a_gap_has_the_number_of_its_last_record() -> None:
    told = parse.told({"kind": "gap", "from": 3, "to": 9})
    assert (9, Gap(first=records.Seq(3), last=records.Seq(9))) == (told.seq, told.body)


@pytest.mark.parametrize("raw", [None, [], {}, {"kind": "log"}, {"kind": "gap"}, {"seq": 1}])
def test_what_is_no_record_is_unexpected(raw: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        parse.told(raw)


def test_a_page_has_its_records_and_where_the_next_begins() -> None:
    items = [record_json(1, "clear", wait=False)]
    raw = {"items": items, "next": 1, "finished": True, "sealed": False}
    page = parse.record_page(raw)
    assert (1, True, False, 1) == (page.next, page.finished, page.sealed, len(page.records))
    assert parse.record_page({**raw, "sealed": True}).sealed


def test_a_run_that_has_begun_is_read() -> None:
    info = parse.run_info(run_json())
    assert ("r", "u", "local", "k", "python3", 1) == (
        info.id,
        info.uid,
        info.owner,
        info.kernel_id,
        info.kernel_name,
        info.generation,
    )
    assert (RunState.RUNNING, None, AT_S) == (
        info.view.state,
        info.view.outcome,
        info.view.created_at,
    )
    assert ((RunState.QUEUED, AT_S),) == info.view.history
    assert (3, 10, 0) == (info.log_next, info.log_bytes, info.log_dropped)


def test_a_run_that_is_over_is_read_with_all_its_fields() -> None:
    failure = {"ename": "E", "evalue": "v", "traceback": ["t"], "plain": "t"}
    step = {"index": 0, "name": "", "state": "error", "started_at": AT, "finished_at": AT}
    delivery = {"id": "d", "attempt": 1, "status": 200, "at": AT}
    info = parse.run_info(
        run_json(
            state="finished",
            outcome="error",
            reason={"code": "exception", "message": "m", "brand_new": 1},
            exit_code=1,
            error=failure,
            steps=[{**step, "error": failure}],
            finished_at=AT,
            metrics={"a": 1},
            labels={"l": "1"},
            context={"c": "1"},
            artifacts=[{**_artifact_json(), "brand_new": 1}],
            webhook={"url": "u", "events": ["logs", "brand_new"], "deliveries": [delivery]},
            brand_new=True,
        )
    )
    view = info.view
    expected = Failure(ename="E", evalue="v", traceback=("t",))
    assert (Outcome.ERROR, Reason(code="exception", message="m"), 1, expected) == (
        view.outcome,
        view.reason,
        view.exit_code,
        view.error,
    )
    assert StepOutcome.ERROR is view.steps[0].state
    assert ({"a": 1}, {"l": "1"}, {"c": "1"}) == (view.metrics, info.labels, info.context)
    assert (ARTIFACT,) == info.artifacts
    assert info.webhook is not None
    assert (WebhookEvent.LOGS,) == info.webhook.events
    assert 200 == info.webhook.deliveries[0].status


def _artifact_json() -> dict[str, Any]:
    return {
        "id": "a1",
        "name": "n",
        "kind": "file",
        "mime": "text/plain",
        "size": 3,
        "digest": "sha256:0",
    }


def test_a_run_that_waits_tells_its_prompt() -> None:
    asked = {"prompt_id": 2, "prompt": "?", "password": True}
    view = parse.run_info(run_json(state="waiting-input", input_request=asked)).view
    assert Prompt(prompt_id=2, prompt="?", password=True) == view.prompt


@pytest.mark.parametrize(
    "raw", [{}, [], None, run_json(state="brand-new"), run_json(log=None), run_json(created_at=1)]
)
def test_what_is_no_run_is_unexpected(raw: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        parse.run_info(raw)


def test_a_list_ends_or_has_a_next_page() -> None:
    assert parse.run_page({"items": [], "next": None}).next is None
    page = parse.run_page({"items": [run_json()], "next": "1.5_u"})
    assert (RunPlace(1.5, "u"), "r") == (page.next, page.runs[0].id)


def test_artifacts_are_read() -> None:
    assert (ARTIFACT,) == parse.artifacts({"items": [_artifact_json()]})


def test_kernels_are_read() -> None:
    raw = {"id": "k", "name": "python3", "execution_state": "idle", "last_activity": AT}
    (kernel,) = parse.kernels([raw])
    assert ("k", KernelState.IDLE, AT_S, 0) == (
        kernel.id,
        kernel.state,
        kernel.last_activity,
        kernel.generation,
    )


def test_kernelspecs_are_read_by_name() -> None:
    spec = {"display_name": "R", "language": "R"}
    models = {
        "python3": {"name": "python3", "spec": {}, "resources": {}},
        "ir": {"name": "ir", "spec": spec, "resources": {"kernel.js": "/x"}},
    }
    found = parse.kernelspecs({"default": "python3", "kernelspecs": models})
    assert [("ir", "R", "R"), ("python3", "python3", "")] == [
        (one.name, one.display_name, one.language) for one in found.specs
    ]
