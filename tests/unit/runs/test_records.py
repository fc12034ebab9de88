"""Records as JSON, and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.runs.records import (
    BODIES,
    Artifact,
    ArtifactKind,
    Body,
    Reason,
    Record,
    Seq,
    Spilled,
    body_json,
    body_of,
    parts_of,
    pointer,
)

SPILLED = {
    "image/png": Spilled(artifact="1-0", size=9, digest="sha256:0", preview="abc"),
    "text/html": Spilled(size=9, digest="sha256:0", preview="abc"),
}
ARTIFACT = Artifact(
    id="a1",
    name="output 0 text/html",
    kind=ArtifactKind.OVERSIZED,
    mime="text/html",
    size=9,
    digest="sha256:0",
    preview="<p>",
)

EXAMPLES: list[tuple[Body, dict[str, object]]] = [
    (records.StateChanged(state="running"), {"state": "running"}),
    (
        records.StateChanged(state="finished", outcome="lost", reason=Reason(code="kernel_died")),
        {"state": "finished", "outcome": "lost", "reason": {"code": "kernel_died", "message": ""}},
    ),
    (records.StepChanged(state="ok", exit_code=0), {"state": "ok", "exit_code": 0}),
    (records.StepChanged(state="running", msg_id="m"), {"state": "running", "msg_id": "m"}),
    (records.LogText(stream="stdout", text="x"), {"stream": "stdout", "text": "x"}),
    (
        records.LogText(stream="stderr", text="x", late=True),
        {"stream": "stderr", "text": "x", "late": True},
    ),
    (
        records.Output(
            index=0,
            output_type="display_data",
            data={"a": {"b": None}},
            metadata={},
            spilled=SPILLED,
        ),
        {
            "index": 0,
            "output_type": "display_data",
            "data": {"a": {"b": None}},
            "metadata": {},
            "spilled": {
                "image/png": {
                    "artifact": "1-0",
                    "size": 9,
                    "digest": "sha256:0",
                    "preview": "abc",
                },
                "text/html": {"size": 9, "digest": "sha256:0", "preview": "abc"},
            },
        },
    ),
    (
        records.Updated(display_id="d", data={}, metadata={"m": 1}),
        {"display_id": "d", "data": {}, "metadata": {"m": 1}},
    ),
    (records.Cleared(wait=False), {"wait": False}),
    (
        records.ErrorRaised(ename="E", evalue="", traceback=("a", "b")),
        {"ename": "E", "evalue": "", "traceback": ["a", "b"]},
    ),
    (
        records.Comm(what="msg", comm_id="c", data={"method": "update"}),
        {"what": "msg", "comm_id": "c", "data": {"method": "update"}},
    ),
    (
        records.Comm(
            what="open",
            comm_id="c",
            target_name="jupyter.widget",
            data={},
            buffers=("AAE=", ""),
            spilled={"/buffers/1": SPILLED["text/html"]},
        ),
        {
            "what": "open",
            "comm_id": "c",
            "target_name": "jupyter.widget",
            "data": {},
            "buffers": ["AAE=", ""],
            "spilled": {"/buffers/1": {"size": 9, "digest": "sha256:0", "preview": "abc"}},
        },
    ),
    (
        records.Metric(name="a.b", value=[1, None], mode="append"),
        {"name": "a.b", "value": [1, None], "mode": "append"},
    ),
    (
        records.ArtifactAdded(artifact=ARTIFACT),
        {
            "artifact": {
                "id": "a1",
                "name": "output 0 text/html",
                "kind": "oversized",
                "mime": "text/html",
                "size": 9,
                "digest": "sha256:0",
                "preview": "<p>",
            }
        },
    ),
    (
        records.ArtifactAdded(artifact=replace(ARTIFACT, kind=ArtifactKind.FILE, preview=None)),
        {
            "artifact": {
                "id": "a1",
                "name": "output 0 text/html",
                "kind": "file",
                "mime": "text/html",
                "size": 9,
                "digest": "sha256:0",
            }
        },
    ),
    (
        records.InputAsked(prompt_id=1, prompt="? ", password=False),
        {"prompt_id": 1, "prompt": "? ", "password": False},
    ),
    (records.InputAnswered(prompt_id=1), {"prompt_id": 1}),
    (records.PhaseFinished(phase="build", exit_code=2), {"phase": "build", "exit_code": 2}),
    (records.KernelEvent(what="died"), {"what": "died", "message": ""}),
    (
        records.KernelIntroduced(
            name="python3",
            implementation="ipython",
            version="9.1",
            language_info={"name": "python"},
        ),
        {
            "name": "python3",
            "implementation": "ipython",
            "version": "9.1",
            "language_info": {"name": "python"},
        },
    ),
    (records.Dropped(why="log_limit", bytes=7), {"why": "log_limit", "bytes": 7}),
    (
        records.Dropped(why="line_too_long", bytes=7, stream="stdout", artifact="a1"),
        {"why": "line_too_long", "bytes": 7, "stream": "stdout", "artifact": "a1"},
    ),
    (
        records.Completed(
            outcome="cancelled", reason=Reason(code="cancelled", worked="kill", signal="SIGKILL")
        ),
        {
            "outcome": "cancelled",
            "reason": {"code": "cancelled", "message": "", "worked": "kill", "signal": "SIGKILL"},
        },
    ),
]


@pytest.mark.parametrize(("body", "raw"), EXAMPLES)
def test_a_body_is_json_without_what_is_absent_and_comes_back(
    body: Body, raw: dict[str, object]
) -> None:
    assert raw == body_json(body)
    assert body == body_of(body.kind, json.loads(encode(body_json(body))))


def test_every_kind_has_an_example() -> None:
    assert set(BODIES) == {body.kind for body, _ in EXAMPLES}


@given(st.lists(st.text(st.sampled_from("a/~01"))))
def test_a_json_pointer_leads_where_it_was_made_for(parts: list[str]) -> None:
    assert parts == parts_of(pointer(*parts))


def test_a_json_pointer_is_written_as_in_the_standard() -> None:
    assert "/data/state/a~1b/m~0n" == pointer("data", "state", "a/b", "m~n")


def test_a_record_shows_itself_in_a_log_line() -> None:
    record = Record(seq=Seq(3), at=1.0, step=0, body=records.Cleared(wait=True))
    assert "<Record 3 step=0 Cleared(wait=True, late=False)>" == repr(record)
