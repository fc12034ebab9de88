"""The shapes of Backend.AI's answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_gateway.runs.records import Reason
from kernel_gateway.service import (
    Answer,
    Completion,
    ConsoleItem,
    Cursor,
    FileEntry,
    FileListing,
    KernelInfoView,
    KernelState,
    Owner,
    SessionEvent,
    SessionEventName,
    SessionView,
    Status,
)
from kernel_gateway.web.backendai import render

OWNER = Owner("AKIAOWNER")
KERNEL = KernelInfoView(
    id="uuid",
    name="python3",
    owner=OWNER,
    state=KernelState.IDLE,
    generation=1,
    last_activity=0.0,
    queue_length=0,
)
SESSION = SessionView(
    id="uuid",
    name="mine",
    owner=OWNER,
    image="python:3.11",
    language="python",
    tag="t",
    env={"A": "1"},
    kernel=KERNEL,
    created=True,
    created_at=0.0,
    age_s=1.5,
    run_count=3,
)
FINISHED = Answer(
    run_id="r",
    status=Status.FINISHED,
    exit_code=2,
    console=(ConsoleItem("stdout", "x"),),
    is_password=None,
    prompt_id=None,
    cursor=Cursor(),
    reason=Reason(code="build_failed", exit_code=2),
)


def test_a_failed_build_ends_with_127() -> None:
    assert 127 == render.told(FINISHED).exit_code


def test_the_build_itself_tells_the_code_of_the_compiler() -> None:
    built = replace(FINISHED, status=Status.BUILD_FINISHED, reason=None)
    assert 2 == render.told(built).exit_code


def test_every_other_end_keeps_its_code() -> None:
    for reason in (None, Reason(code="exit_code", exit_code=2)):
        assert 2 == render.told(replace(FINISHED, reason=reason)).exit_code


def test_a_result_is_the_result_object_in_an_object() -> None:
    result = render.result_json(FINISHED)["result"]
    assert isinstance(result, dict)
    assert ("r", "finished", 127) == (result["runId"], result["status"], result["exitCode"])
    assert [["stdout", "x"]] == result["console"]


def test_a_completion_is_in_the_shape_of_the_newest_release() -> None:
    completion = Completion(matches=("path", "popen"), start=3, end=4)
    expected = {"status": "finished", "error": None, "suggestions": ["path", "popen"]}
    assert {"result": expected} == render.completion_json(completion)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (KernelState.STARTING, "PREPARING"),
        (KernelState.IDLE, "RUNNING"),
        (KernelState.BUSY, "RUNNING"),
        (KernelState.RESTARTING, "RESTARTING"),
        (KernelState.DEAD, "ERROR"),
    ],
)
def test_the_state_of_a_kernel_is_a_status(state: KernelState, status: str) -> None:
    session = replace(SESSION, kernel=replace(KERNEL, state=state))
    assert status == render.info_json(session)["status"]


def test_a_new_session_says_what_the_client_reads() -> None:
    assert {
        "sessionId": "uuid",
        "sessionName": "mine",
        "status": "RUNNING",
        "servicePorts": [],
        "created": True,
    } == render.created_json(SESSION, "RUNNING")


def test_the_info_has_the_fields_of_the_contract() -> None:
    info = render.info_json(SESSION)
    named = (
        "lang image status statusInfo age creationTime terminationTime numQueriesExecuted tag "
        "domainName userId architecture environ lastStat idleChecks"
    )
    assert set(named.split()) <= set(info)
    assert (1500, 3, ["A=1"]) == (info["age"], info["numQueriesExecuted"], info["environ"])


def test_a_listing_is_json_in_json() -> None:
    entries = (
        FileEntry(name="d", mode=0o40755, size=0, ctime=1.0, mtime=2.5, atime=3.0),
        FileEntry(name="ü", mode=0o100600, size=5, ctime=1.0, mtime=2.0, atime=3.0),
    )
    listing = render.listing_json(FileListing(path=Path("/x/y"), entries=entries))
    assert ("", "/x/y") == (listing["errors"], listing["abspath"])
    folder, file = json.loads(str(listing["files"]))
    assert ("drwxr-xr-x", "d") == (folder["mode"], folder["filename"])
    assert {
        "mode": "-rw-------",
        "size": 5,
        "ctime": 1.0,
        "mtime": 2.0,
        "atime": 3.0,
        "filename": "ü",
    } == file


@pytest.mark.parametrize(
    ("event", "scope", "names"),
    [
        (SessionEventName.STARTED, "*", ["kernel_started", "session_started"]),
        (SessionEventName.STARTED, "session", ["session_started"]),
        (SessionEventName.STARTED, "kernel", ["kernel_started"]),
        (SessionEventName.ENQUEUED, "*", ["session_enqueued"]),
        (SessionEventName.ENQUEUED, "kernel", []),
    ],
)
def test_an_event_is_told_once_for_the_session_and_once_for_its_kernel(
    event: SessionEventName, scope: str, names: list[str]
) -> None:
    happened = SessionEvent(
        event=event, session_id="uuid", session_name="mine", owner=OWNER, reason="why"
    )
    blocks = list(render.event_blocks(happened, scope))
    assert names == [name for name, _ in blocks]
    by_key = list(render.event_blocks(happened, scope, "AKIASECOND"))
    assert all(data["ownerAccessKey"] == "AKIASECOND" for _, data in by_key)
    for _, data in blocks:
        assert (
            data.items()
            >= {
                "sessionId": "uuid",
                "sessionName": "mine",
                "ownerAccessKey": OWNER,
                "reason": "why",
            }.items()
        )
