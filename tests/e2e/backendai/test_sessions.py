"""Sessions, as the SDK makes, finds, restarts and destroys them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests.e2e.backendai.client import LIMIT_S, RefusedError, processes_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.backendai.client import Sdk, Session
    from tests.e2e.backendai.gate import Gate
    from tests.e2e.backendai.raw import Raw

#: All that can be done to a session, with what it takes.
METHODS: dict[str, dict[str, str]] = {
    "get_info": {},
    "get_logs": {},
    "execute": {"code": "1"},
    "complete": {"code": "a"},
    "list_files": {},
    "interrupt": {},
    "restart": {},
    "destroy": {},
}


def test_the_server_speaks_the_version_of_the_client(sdk: Sdk) -> None:
    assert "v7.20230615" == sdk.ask("version")


# -- create or reuse


def test_a_name_is_given_to_one_session_and_finds_it_again(sdk: Sdk, own: Session) -> None:
    own.run("kept = 'what was there before'")
    again = sdk.create(own.name)
    assert (own.id, False) == (again.id, again.created)
    assert str(UUID(own.id)) == own.id
    assert "what was there before" == again.value("kept")


def test_a_name_with_another_image_is_refused(sdk: Sdk, session: Session) -> None:
    with pytest.raises(RefusedError) as refused:
        sdk.create(session.name, "gcc:12")
    assert (400, "session-already-exists") == (refused.value.status, refused.value.kind)
    assert session.id == refused.value.data["data"]["existingSessionId"]


def test_who_wants_a_session_of_their_own_is_refused_a_name_that_is_taken(
    sdk: Sdk, session: Session
) -> None:
    with pytest.raises(RefusedError) as refused:
        sdk.create(session.name, no_reuse=True)
    assert (400, "session-already-exists") == (refused.value.status, refused.value.kind)
    assert session.id == refused.value.data["data"]["existingSessionId"]


@pytest.mark.parametrize(
    "bad", ["abc", "a" * 65, "with space", "-begins", "ends.", "größe", "a/b/c/d", ""]
)
def test_a_name_that_breaks_the_rules_is_refused(raw: Raw, bad: str) -> None:
    refused = raw.call("POST", "/session", {"name": bad, "image": "python"})
    assert (400, "invalid-api-params") == refused.kind


def test_an_image_that_nobody_knows_is_refused(sdk: Sdk, name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        sdk.create(name, "no/such/image:1")
    assert (400, "invalid-api-params") == (refused.value.status, refused.value.kind)
    assert name not in sdk.names()


def test_the_environment_reaches_the_kernel_and_each_step_of_a_batch(sdk: Sdk, name: str) -> None:
    session = sdk.create(name, envs={"WHERE": "hier & dort", "EMPTY": ""})
    assert "hier & dort" == session.value("__import__('os').environ['WHERE']")
    asked = 'printf "%s|%s\\n" "$WHERE" "${EMPTY-unset}"'
    talk = session.batch(clean=asked, build=asked, exec=asked).to_the_end()
    assert "hier & dort|\n" * 3 == talk.text()
    session.call("destroy")


# -- what is told of one


def test_its_information_counts_runs_and_grows_older(own: Session) -> None:
    before = own.call("get_info")
    own.run("pass")
    after = own.call("get_info")
    assert "RUNNING" == after["status"]
    assert before["numQueriesExecuted"] + 1 == after["numQueriesExecuted"]
    assert before["age"] < after["age"]
    missing = {"lang", "image", "creationTime", "terminationTime", "statusInfo", "tag"} - set(after)
    assert set() == missing


def test_its_logs_hold_what_its_runs_have_printed(own: Session) -> None:
    own.run("print('for the log'); import sys; print('an error', file=sys.stderr)")
    own.batch(exec="echo 'of a step'").to_the_end()
    logs = own.call("get_logs")["result"]["logs"]
    assert "for the log\n" in logs
    assert "an error\n" in logs
    assert logs.index("for the log") < logs.index("of a step")


def test_a_session_is_found_by_its_id_as_by_its_name(sdk: Sdk, own: Session) -> None:
    by_id = sdk.session(own.id)
    assert "42" == by_id.value("6 * 7")
    assert own.call("get_info")["status"] == by_id.call("get_info")["status"]
    assert {"files", "errors", "abspath"} == set(by_id.call("list_files"))
    by_id.call("destroy")
    assert own.name not in sdk.names()


def test_the_old_name_of_the_path_works_too(raw: Raw, session: Session) -> None:
    assert 200 == raw.call("GET", f"/kernel/{session.name}").status


# -- restart


def test_a_restart_keeps_the_files_and_forgets_the_state(own: Session) -> None:
    own.run("state = 1; _ = open('kept.txt', 'w').write('still here')")
    own.call("restart")
    assert "False" == own.value("'state' in globals()")
    assert "still here" == own.value("open('kept.txt').read()")


def test_a_restart_ends_a_busy_run_and_an_execute_meanwhile_waits(
    own: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    busy = own.begin("execute", "busy", held.python, mode="query")
    held.wait()
    own.call("restart")
    after = own.begin("execute", None, "print('after')", mode="query")
    ended = busy.result(LIMIT_S)
    assert "finished" == ended["status"]
    assert 0 != ended["exitCode"]
    answer = after.result(LIMIT_S)
    while "finished" != answer["status"]:
        assert [] == answer["console"]
        answer = own.execute(answer["runId"], "", "continue")
    assert [["stdout", "after\n"]] == answer["console"]


# -- destroy


def test_a_destroyed_session_is_gone_and_its_name_is_free(sdk: Sdk, own: Session) -> None:
    own.run("kept = 1; _ = open('kept.txt', 'w').write('x')")
    own.call("destroy", forced=True, recursive=True)
    with pytest.raises(RefusedError) as refused:
        own.call("get_info")
    assert (404, "object-not-found") == (refused.value.status, refused.value.kind)
    assert "No such session." == refused.value.data["title"]
    assert own.name not in sdk.names()
    anew = sdk.create(own.name, "gcc:12")
    assert anew.created
    assert anew.id != own.id
    assert [] == anew.batch(exec="ls").to_the_end().last["console"]


def test_who_waits_in_a_destroyed_session_is_told_the_end(
    own: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    runs = [own.begin("execute", "runs", held.python, mode="query")]
    held.wait()
    runs.append(own.begin("execute", "queued", "print('never')", mode="query"))
    stream = own.stream("print('never')")
    assert "continued" == stream.frame()["status"]
    own.call("destroy")
    for run in runs:
        told = run.result(LIMIT_S)
        if "continued" == told["status"]:  # it was just about to be answered
            continue
        assert ("finished", 130, []) == (told["status"], told["exitCode"], told["console"])
    stream.to_the_end()
    assert ("finished", 130, "") == (stream.last["status"], stream.exit_code, stream.text())


def test_a_destroyed_session_leaves_no_program_behind(own: Session) -> None:
    mark = "50.0419"  # seconds that no other program sleeps
    stream = own.stream(mode="batch", exec=f"sleep {mark} & echo go; sleep {mark}")
    stream.until_told("go\n")
    assert [] != processes_with(mark)
    own.call("destroy")
    assert [] == processes_with(mark)
    stream.to_the_end()


# -- two owners


def test_sessions_of_one_key_pair_are_unknown_to_the_other(
    sdk: Sdk, other_sdk: Sdk, session: Session
) -> None:
    assert session.name in sdk.names()
    assert session.name not in other_sdk.names()
    for stranger in (other_sdk.session(session.name), other_sdk.session(session.id)):
        for method in METHODS:
            with pytest.raises(RefusedError) as refused:
                stranger.call(method, **METHODS[method])
            assert (404, "object-not-found") == (refused.value.status, refused.value.kind)
    assert "1" == session.value("1")


def test_a_name_may_be_taken_by_each_of_two_owners(sdk: Sdk, other_sdk: Sdk, own: Session) -> None:
    theirs = other_sdk.create(own.name)
    assert theirs.created
    assert theirs.id != own.id
    own.run("mine = 1")
    assert "False" == theirs.value("'mine' in globals()")
    theirs.call("destroy")
    assert own.name in sdk.names()
