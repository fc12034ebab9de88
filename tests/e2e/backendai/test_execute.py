"""Queries over HTTP: execute in the modes query, continue and input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.backendai.client import LIMIT_S, RefusedError, plain, printed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.backendai.client import Session
    from tests.e2e.backendai.gate import Gate

MAX_CHARS = 524_288

# -- one answer


def test_a_short_run_is_told_in_one_answer(session: Session) -> None:
    answer = session.execute(None, "print('öne')\n6 * 7", "query")
    assert ("finished", 0, None, []) == tuple(
        answer[name] for name in ("status", "exitCode", "options", "files")
    )
    assert [["stdout", "öne\n42"]] == answer["console"]


def test_streams_keep_their_order_and_neighbours_are_one(session: Session) -> None:
    code = "import sys\n" + "".join(
        f"print({n}, file=sys.{stream}, flush=True)\n"
        for n, stream in enumerate(["stdout", "stdout", "stderr", "stdout"])
    )
    assert [["stdout", "0\n1\n"], ["stderr", "2\n"], ["stdout", "3\n"]] == session.query(
        code
    ).to_the_end().last["console"]


def test_an_exception_is_a_traceback_on_stderr_and_exit_code_1(session: Session) -> None:
    talk = session.run("print('before')\n1 / 0")
    assert (1, "before\n") == (talk.exit_code, talk.text())
    assert "ZeroDivisionError: division by zero" == plain(talk.text("stderr")).splitlines()[-1]
    assert not talk.text("stderr").endswith("\n")
    assert "1" == session.value("1"), "the session is none the worse"


@pytest.mark.parametrize(("status", "code"), [("", 0), ("None", 0), ("3", 3), ("'a text'", 1)])
def test_the_status_of_a_system_exit_is_the_exit_code(
    session: Session, status: str, code: int
) -> None:
    assert code == session.run(f"raise SystemExit({status})").exit_code


def test_html_and_pictures_go_before_plain_text(session: Session) -> None:
    talk = session.run(
        "from IPython.display import HTML, Image, display\n"
        "display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(64), format='png'))\n"
        "HTML('<b>bold</b>')"
    )
    kinds = [[kind, value] for answer in talk.answers for kind, value in answer["console"]]
    assert ["html", "<b>bold</b>"] == kinds[-1]
    assert "media" == kinds[0][0]
    mime, data = kinds[0][1]
    assert ("image/png", True) == (mime, data.startswith("data:image/png;base64,iVBORw0KGg"))


def test_more_than_an_answer_carries_comes_with_the_next_and_nothing_is_lost(
    session: Session,
) -> None:
    text = "".join(f"{n:07}\n" for n in range(200_000))
    talk = session.run("for n in range(200_000): print(f'{n:07}')")
    assert text == talk.text()
    assert MAX_CHARS >= max(len(printed(answer)) for answer in talk.answers)
    assert 4 <= len(talk.answers)


# -- run IDs


@pytest.mark.parametrize("run_id", ["plain", "with space/and slash", "größe ✓ \u202e", "x" * 255])
def test_a_run_id_is_any_text_and_comes_back_as_given(
    session: Session, gate: Callable[[str], Gate], run_id: str
) -> None:
    answer = session.execute(run_id, "input('?')", "query")
    assert run_id == answer["runId"]
    answer = session.execute(run_id, "there", "input")
    assert (run_id, "finished") == (answer["runId"], answer["status"])


def test_runs_without_an_id_get_one_each(session: Session) -> None:
    ids = {session.execute(None, "1", "query")["runId"] for _ in range(3)}
    assert 3 == len(ids)
    assert all(ids)


def test_the_same_first_call_again_is_the_same_run(session: Session, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    code = f"_ = open({str(counter)!r}, 'a').write('x'); print('once')"
    first, again = (session.execute("same", code, "query") for _ in range(2))
    assert first["console"] == again["console"] == [["stdout", "once\n"]]
    assert "x" == counter.read_text()


def test_another_body_under_the_id_of_a_finished_run_is_a_new_run(session: Session) -> None:
    session.execute("again", "print(1)", "query")
    assert [["stdout", "2\n"]] == session.execute("again", "print(2)", "query")["console"]


def test_another_body_under_the_id_of_an_unfinished_run_is_a_conflict(session: Session) -> None:
    session.execute("taken", "input('?')", "query")
    with pytest.raises(RefusedError) as refused:
        session.execute("taken", "print(2)", "query")
    assert (409, "run-id-conflict") == (refused.value.status, refused.value.kind)
    assert "finished" == session.execute("taken", "x", "input")["status"]


@pytest.mark.parametrize("mode", ["continue", "input"])
def test_a_run_id_that_nobody_knows_is_refused_and_makes_nothing(
    session: Session, name: str, mode: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        session.execute(name, "", mode)
    assert (400, "invalid-api-params") == (refused.value.status, refused.value.kind)
    assert [["stdout", "1\n"]] == session.execute(name, "print(1)", "query")["console"]


def test_continue_after_the_end_tells_the_end_again(session: Session) -> None:
    talk = session.run("print('all'); raise SystemExit(7)")
    again = talk.go_on()
    assert ("finished", 7) == (again["status"], again["exitCode"])


# -- waiting


def test_a_run_that_takes_its_time_is_told_part_by_part(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    first = session.begin("execute", "long", f"print('a')\n{held.python}print('b')", mode="query")
    held.wait()
    answer = first.result(LIMIT_S)
    assert ("continued", None, [["stdout", "a\n"]]) == (
        answer["status"],
        answer["exitCode"],
        answer["console"],
    )
    then = session.begin("execute", "long", "", mode="continue")
    held.open()
    answer = then.result(LIMIT_S)
    assert ("finished", 0, [["stdout", "b\n"]]) == (
        answer["status"],
        answer["exitCode"],
        answer["console"],
    )


# -- input


def test_a_prompt_comes_after_all_that_was_printed_before_it(session: Session) -> None:
    for _ in range(10):
        talk = session.query(
            "for n in range(1000): print(n, flush=True)\nprint(repr(input('Name? ')))"
        ).to_the_prompt()
        assert "".join(f"{n}\n" for n in range(1000)) + "Name? " == talk.text()
        assert not talk.is_password
        talk.give("Zoë").to_the_end()
        assert "'Zoë'\n" == printed(talk.last)


def test_the_empty_text_is_an_answer(session: Session) -> None:
    talk = session.query("print([input('a'), input('b')])").to_the_prompt()
    assert "waiting-input" == talk.give("").last["status"]
    assert "['', 'x']\n" == printed(talk.give("x").to_the_end().last)


def test_a_password_prompt_says_so(session: Session) -> None:
    talk = session.query("from getpass import getpass\nprint(len(getpass('PIN: ')))")
    assert talk.to_the_prompt().is_password
    assert "PIN: " == talk.text()
    talk.give("geheim").to_the_end()
    assert "6\n" == printed(talk.last)


def test_continue_at_a_prompt_waits_again_with_nothing_new(session: Session) -> None:
    talk = session.query("input('once ')").to_the_prompt()
    again = talk.go_on()
    assert ("waiting-input", []) == (again["status"], again["console"])
    assert again["options"]["is_password"] is False
    assert "once " == talk.text()
    talk.give("x").to_the_end()


def test_input_for_a_run_that_does_not_wait_is_refused(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    first = session.begin("execute", "busy", held.python + "print(input('?'))", mode="query")
    held.wait()
    with pytest.raises(RefusedError) as refused:
        session.execute("busy", "too early", "input")
    assert (400, "invalid-api-params") == (refused.value.status, refused.value.kind)
    held.open()
    answer = first.result(LIMIT_S)
    while "continued" == answer["status"]:
        answer = session.execute("busy", "", "continue")
    assert "waiting-input" == answer["status"]
    assert [["stdout", "in time\n"]] == session.execute("busy", "in time", "input")["console"]


# -- interrupt


def test_an_interrupt_of_an_idle_session_is_harmless(session: Session) -> None:
    session.run("kept = 1")
    session.call("interrupt")
    assert "1" == session.value("kept")


def test_an_interrupt_ends_a_busy_run_and_no_other(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    busy = session.begin("execute", "busy", held.python, mode="query")
    held.wait()
    queued = session.begin("execute", "queued", "print('unharmed')", mode="query")
    stream = session.stream("1")
    assert "continued" == stream.frame()["status"]  # so the one before it is in the queue
    session.call("interrupt")
    ended = busy.result(LIMIT_S)
    assert "finished" == ended["status"]
    assert 0 != ended["exitCode"]
    assert "KeyboardInterrupt" in printed(ended, "stderr")
    answer = queued.result(LIMIT_S)
    while "continued" == answer["status"]:
        answer = session.execute("queued", "", "continue")
    assert [["stdout", "unharmed\n"]] == answer["console"]
    stream.to_the_end()


def test_an_interrupt_ends_the_wait_for_input(session: Session) -> None:
    talk = session.query("input('for ever? ')").to_the_prompt()
    session.call("interrupt")
    talk.go_on()
    talk.to_the_end()
    assert 0 != talk.exit_code
    assert "KeyboardInterrupt" in talk.text("stderr")
