"""What the SDK's `complete` is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.backendai.client import LIMIT_S, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.e2e.backendai.client import Session
    from tests.e2e.backendai.gate import Gate


def suggestions(session: Session, code: str, **opts: Any) -> list[str]:
    result = session.call("complete", code, opts)["result"]
    assert ("finished", None) == (result["status"], result["error"])
    found: list[str] = result["suggestions"]
    return found


def test_names_are_completed(session: Session) -> None:
    session.run("remembered_name = 1")
    assert ["remembered_name"] == suggestions(session, "x = 1\nremembered_n")


def test_attributes_are_completed(session: Session) -> None:
    session.run("import os")
    found = suggestions(session, "os.path.isa")
    assert any(match.endswith("isabs") for match in found)
    assert all("isa" in match for match in found)


def test_the_text_after_the_cursor_is_not_part_of_what_is_completed(session: Session) -> None:
    session.run("remembered_name = 1")
    found = suggestions(session, "print(remembered_n", post=") + other")
    assert ["remembered_name"] == found


def test_nothing_to_suggest_is_an_empty_list(session: Session) -> None:
    assert [] == suggestions(session, "no_such_name_anywhere")


def test_a_busy_session_answers_without_waiting_for_its_run(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    busy = session.begin("execute", "busy", held.python, mode="query")
    held.wait()
    try:
        assert [] == suggestions(session, "pri")
    except RefusedError as refused:
        assert refused.status in {408, 503, 504}  # noqa: PT017 - either is right
    held.open()
    answer = busy.result(LIMIT_S)
    while "continued" == answer["status"]:
        answer = session.execute("busy", "", "continue")
    assert 0 == answer["exitCode"]
