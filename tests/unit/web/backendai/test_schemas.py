"""Bodies and queries, and the values that become of them."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.errors import BadJson, InvalidField, TooLarge
from kernel_gateway.service import BatchCommands, Cursor, ExecuteMode, RunId
from kernel_gateway.web.backendai import schemas

#: As the client sends it at version 7, most of it null.
CREATE: dict[str, Any] = {
    "tag": None,
    "name": "mysession",
    "config": {
        "mounts": [],
        "environ": {"A": "1"},
        "resources": {},
        "resource_opts": {},
        "scalingGroup": None,
        "mount_map": {},
        "preopen_ports": None,
    },
    "dependencies": None,
    "callback_url": None,
    "architecture": "x86_64",
    "clusterSize": 1,
    "clusterMode": "single-node",
    "starts_at": None,
    "bootstrap_script": None,
    "owner_access_key": None,
    "domain": "default",
    "group": "default",
    "type": "interactive",
    "enqueueOnly": False,
    "maxWaitSeconds": 0,
    "reuseIfExists": True,
    "startupCommand": None,
    "image": "python:3.11-ubuntu",
}


def faults(call: Any, *arguments: Any, **named: Any) -> set[str]:
    with pytest.raises(InvalidField) as caught:
        call(*arguments, **named)
    return set(caught.value.fields)


# -- sessions ------------------------------------------------------------------------------------


def test_what_the_client_sends_makes_a_session() -> None:
    asked = schemas.new_session(CREATE)
    assert ("python:3.11-ubuntu", "mysession") == (asked.request.image, asked.request.name)
    assert {"A": "1"} == asked.request.env
    assert (None, True) == (asked.request.tag, asked.request.reuse)
    assert (False, None, None) == (asked.at_once, asked.max_wait_s, asked.command)


def test_an_image_is_enough() -> None:
    asked = schemas.new_session({"image": "python", "something": {"new": 1}})
    assert (None, {}, True) == (asked.request.name, asked.request.env, asked.request.reuse)


def test_the_other_ways_to_ask_are_understood() -> None:
    asked = schemas.new_session(
        {**CREATE, "enqueueOnly": True, "maxWaitSeconds": 5, "reuseIfExists": False, "config": None}
    )
    assert (True, 5, False) == (asked.at_once, asked.max_wait_s, asked.request.reuse)


def test_a_startup_command_is_of_batch_sessions() -> None:
    more = {"startupCommand": "make"}
    assert "make" == schemas.new_session({**CREATE, **more, "type": "batch"}).command
    assert schemas.new_session({**CREATE, **more}).command is None


@pytest.mark.parametrize("name", ["abcd", "A1_z", "a.b-c", "x" * 64, "____", "1234"])
def test_good_names_are_taken(name: str) -> None:
    assert name == schemas.new_session({**CREATE, "name": name}).request.name


@pytest.mark.parametrize(
    "name", ["", "abc", "x" * 65, "-abc", "abc-", ".abc", "abc.", "a b c", "übel", "ab/cd", "abc\n"]
)
def test_other_names_are_refused(name: str) -> None:
    assert {"name"} == faults(schemas.new_session, {**CREATE, "name": name})


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"image": None}, "image"),
        ({"name": 5}, "name"),
        ({"maxWaitSeconds": -1}, "maxWaitSeconds"),
        ({"config": []}, "config"),
        ({"config": {"environ": {"A": 1}}}, "config.environ.A"),
        ({"config": {"environ": ["A=1"]}}, "config.environ"),
        ({"config": {"environ": {"A=B": "1"}}}, "config.environ"),
    ],
)
def test_wrong_fields_are_named(more: dict[str, Any], field: str) -> None:
    assert {field} == faults(schemas.new_session, {**CREATE, **more})


def test_an_image_is_needed() -> None:
    assert {"image"} == faults(schemas.new_session, {})


# -- execute -------------------------------------------------------------------------------------


def execute(**body: Any) -> Any:
    return schemas.execute_call("s", body, max_code_bytes=100)


def test_a_query_is_as_the_client_sends_it() -> None:
    call = execute(mode="query", code="1+1", runId=None)
    assert ("s", ExecuteMode.QUERY, None, "1+1") == (
        call.kernel_id,
        call.mode,
        call.run_id,
        call.code,
    )
    assert (2.0, True, None) == (call.wait_s, call.reuse_finished, call.after)


@pytest.mark.parametrize("spelling", ["options", "opts"])
def test_a_batch_has_its_commands_in_either_spelling(spelling: str) -> None:
    options = {"clean": None, "build": "*", "buildLog": False, "exec": "python main.py"}
    call = execute(mode="batch", code="", runId="r", **{spelling: options})
    assert BatchCommands(clean=None, build="*", exec="python main.py") == call.commands


def test_our_own_options_are_understood() -> None:
    call = execute(mode="input", code="x", runId="r", options={"after": "3:4", "prompt_id": 2})
    assert (Cursor.parse("3:4"), 2) == (call.after, call.prompt_id)


@pytest.mark.parametrize("run_id", ["with spaces", "a/b", "ünï cödé", "50%", "🐧", "\n", "x" * 500])
def test_a_run_id_is_any_text(run_id: str) -> None:
    assert run_id == execute(mode="continue", code="", runId=run_id).run_id


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mode": "query", "code": "1"}, "runId"),
        ({"code": "1", "runId": None}, "mode"),
        ({"mode": "", "code": "1", "runId": None}, "mode"),
        ({"mode": None, "code": "1", "runId": None}, "mode"),
        ({"mode": "complete", "code": "1", "runId": None}, "mode"),
        ({"mode": "continue", "code": "", "runId": None}, "runId"),
        ({"mode": "input", "code": "", "runId": None}, "runId"),
        ({"mode": "query", "code": 1, "runId": None}, "code"),
        ({"mode": "query", "code": "1", "runId": 7}, "runId"),
        ({"mode": "query", "code": "1", "runId": "\0"}, "runId"),
        ({"mode": "query", "code": "1", "runId": "x" * 5000}, "runId"),
        ({"mode": "batch", "runId": None, "options": {"exec": 1}}, "options.exec"),
        ({"mode": "batch", "runId": None, "options": []}, "options"),
    ],
)
def test_faults_of_an_execute_call_are_named(body: dict[str, Any], field: str) -> None:
    assert {field} == faults(execute, **body)


@pytest.mark.parametrize("body", [{"code": "x" * 101}, {"options": {"exec": "x" * 101}}])
def test_code_has_a_limit(body: dict[str, Any]) -> None:
    with pytest.raises(TooLarge):
        execute(mode="batch", runId=None, **body)


def test_the_first_frame_is_a_query_or_a_batch() -> None:
    call = schemas.stream_call(
        "s", {"mode": "query", "code": "1", "options": {}}, RunId("ours"), max_code_bytes=9
    )
    assert ("ours", 0.0) == (call.run_id, call.wait_s)
    for mode in ("continue", "input", ""):
        assert {"mode"} == faults(
            schemas.stream_call, "s", {"mode": mode}, RunId("r"), max_code_bytes=9
        )


@pytest.mark.parametrize("message", ["", "{", "[]", "1", "\ud800", b"{}", '{"a": NaN}'])
def test_a_frame_that_is_no_object_is_refused(message: str | bytes) -> None:
    with pytest.raises(BadJson):
        schemas.parse_frame(message)


# -- the rest ------------------------------------------------------------------------------------


def test_what_is_behind_the_cursor_comes_apart() -> None:
    body = {"code": "os.pä", "options": {"row": 0, "col": 5, "line": "os.pä", "post": "(1)"}}
    assert schemas.Place("os.pä(1)", 5) == schemas.place(body)
    assert schemas.Place("", 0) == schemas.place({"code": ""})
    assert {"options.post"} == faults(schemas.place, {"code": "", "options": {"post": 1}})
    assert {"code"} == faults(schemas.place, {})


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/home/work", "."),
        ("/home/work/", "."),
        ("/home/work//a/b", "a/b"),
        ("/home/worker", "/home/worker"),
        ("a", "a"),
        ("/etc", "/etc"),
    ],
)
def test_the_folder_has_the_name_of_the_original(path: str, inside: str) -> None:
    assert inside == schemas.inside(path)


def test_a_path_is_in_the_body_or_in_the_query() -> None:
    assert "a" == schemas.listed_path({"path": "a"}, {})
    assert "b" == schemas.listed_path({}, {"path": [b"a", b"/home/work/b"]})
    assert "." == schemas.listed_path({}, {})
    assert {"path"} == faults(schemas.listed_path, {}, {"path": [b"\xff"]})


def test_files_are_in_the_body_or_in_the_query() -> None:
    assert ["a", "b"] == schemas.downloaded_paths({"files": ["a", "/home/work/b"]}, {})
    assert ["a", "ü"] == schemas.downloaded_paths({}, {"files": [b"a", "ü".encode()]})


@pytest.mark.parametrize("files", [None, [], ["a"] * 6, "a", [1]])
def test_one_to_five_files_are_fetched_at_once(files: Any) -> None:
    with pytest.raises(InvalidField, match=r"^files"):
        schemas.downloaded_paths({"files": files}, {})


def test_events_are_asked_for_by_name_or_id_or_all() -> None:
    assert schemas.Listening(None, "*") == schemas.listening({})
    assert schemas.Listening(None, "kernel") == schemas.listening(
        {"sessionName": [b"*"], "scope": [b"kernel"]}
    )
    assert schemas.Listening("mine", "*") == schemas.listening({"sessionName": [b"mine"]})
    assert schemas.Listening("id", "*") == schemas.listening(
        {"sessionId": [b"id"], "sessionName": [b"mine"]}
    )
    assert {"scope"} == faults(schemas.listening, {"scope": [b"all"]})


def test_a_question_has_variables_or_none() -> None:
    assert schemas.Question("{a}", {}, None) == schemas.question({"query": "{a}"})
    full = {"query": "{a}", "variables": {"x": 1}, "operationName": "o"}
    assert schemas.Question("{a}", {"x": 1}, "o") == schemas.question(full)
    assert {"query"} == faults(schemas.question, {})
    assert {"variables"} == faults(schemas.question, {"query": "", "variables": []})
