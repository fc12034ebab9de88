"""Execute over a WebSocket: the SDK's `stream_execute`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.backendai.client import processes_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.backendai.client import Sdk, Session
    from tests.e2e.backendai.gate import Gate

#: A client that is not let go waits 10 s from the last frame on.
AT_ONCE_S = 5.0


def test_a_query_is_told_to_its_end_and_the_connection_closed(session: Session) -> None:
    stream = session.stream("import sys\nprint('öut')\nprint('err', file=sys.stderr)").to_the_end()
    assert ("öut\n", "err\n", 0) == (stream.text(), stream.text("stderr"), stream.exit_code)
    assert {"status", "console", "exitCode", "options", "files"} <= set(stream.last)
    assert "runId" not in stream.last


def test_an_exception_is_exit_code_1(session: Session) -> None:
    stream = session.stream("1 / 0").to_the_end()
    assert 1 == stream.exit_code
    assert "ZeroDivisionError" in stream.text("stderr")


def test_output_comes_while_the_run_goes_on(session: Session, gate: Callable[[str], Gate]) -> None:
    held = gate("held")
    stream = session.stream(f"print('a')\n{held.python}print('b')").until_told("a\n")
    held.wait()
    held.open()
    assert "a\nb\n" == stream.to_the_end().text()


def test_a_batch_tells_each_of_its_steps(session: Session) -> None:
    stream = session.stream(mode="batch", clean="echo c", build="echo b; exit 0", exec="echo e")
    stream.until("finished")
    assert [("clean-finished", 0), ("build-finished", 0), ("finished", 0)] == stream.phases
    assert ["c\n", "b\n", "e\n"] == [stream.text_of(status) for status, _ in stream.phases]


def test_input_is_one_frame_of_text(session: Session) -> None:
    stream = session.stream("print(repr(input('Name? ')))").until("waiting-input")
    assert stream.last["options"]["is_password"] is False
    assert "Name? " == stream.text()
    stream.send("Zoë")
    assert "Name? 'Zoë'\n" == stream.to_the_end().text()


def test_a_program_in_a_batch_can_be_answered_too(session: Session) -> None:
    stream = session.stream(mode="batch", exec='printf "Name? "; read -r name; echo "<$name>"')
    stream.until("waiting-input")
    assert stream.last["options"]["is_password"] is False
    stream.send("Zoë")
    assert "Name? <Zoë>\n" == stream.to_the_end().text()


def test_a_password_prompt_says_so(session: Session) -> None:
    stream = session.stream("from getpass import getpass\nprint(len(getpass()))")
    assert stream.until("waiting-input").last["options"]["is_password"] is True
    stream.send("geheim")
    assert stream.to_the_end().text().endswith("6\n")


def test_whoever_leaves_in_mid_print_is_let_go_at_once_and_the_run_is_over(
    session: Session,
) -> None:
    stream = session.stream("n = 0\nwhile True: print('x' * 100); n += 1")
    stream.until_told("x")
    began = time.monotonic()
    stream.leave()
    assert AT_ONCE_S > time.monotonic() - began
    assert "True" == session.value("n > 0")


def test_whoever_leaves_a_silent_run_has_interrupted_it(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    stream = session.stream(held.python)
    held.wait()
    began = time.monotonic()
    stream.leave()
    assert AT_ONCE_S > time.monotonic() - began
    assert "1" == session.value("1")


def test_whoever_leaves_a_program_has_ended_it(session: Session) -> None:
    mark = "50.0418"  # seconds that no other program sleeps
    stream = session.stream(mode="batch", exec=f'sh -c "echo go; sleep {mark}"')
    stream.until_told("go\n")
    assert [] != processes_with(mark)
    stream.leave()
    assert "next\n" == session.batch(exec="echo next").to_the_end().text()
    assert [] == processes_with(mark)


def test_whoever_leaves_while_queued_takes_only_their_own_run_away(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    first = session.stream(held.python + "print('unharmed')")
    held.wait()
    second = session.stream("ran = True")
    assert "continued" == second.frame()["status"]
    second.leave()
    held.open()
    assert "unharmed\n" == first.to_the_end().text()
    assert "False" == session.value("'ran' in globals()")


def test_output_of_many_megabytes_is_spread_over_frames_and_whole(session: Session) -> None:
    stream = session.stream("for n in range(10): print('ü' * 1_000_000)")
    assert ("ü" * 1_000_000 + "\n") * 10 == stream.to_the_end().text()


def test_a_value_that_no_frame_can_hold_gives_way_to_a_notice(session: Session) -> None:
    stream = session.stream("from IPython.display import HTML\nHTML('x' * 5_000_000)").to_the_end()
    kinds = [kind for answer in stream.answers for kind, _ in answer["console"]]
    assert (0, ["log"]) == (stream.exit_code, kinds)


def test_a_session_that_is_not_there_cannot_be_opened(sdk: Sdk) -> None:
    with pytest.raises(AssertionError, match="404"):
        sdk.session("never-made").stream("1")
