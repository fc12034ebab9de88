"""The rules of waiting, and when to look. That Linux shows what they ask for is in tests/kernel."""

from __future__ import annotations

import pytest

from kernel_gateway.command_kernel.proc import Call, Sleep, Thread, parsed_call
from kernel_gateway.command_kernel.terminal import Modes
from kernel_gateway.command_kernel.waiting import (
    FIRST_LOOK_S,
    LONGEST_PAUSE_S,
    PASSWORD_QUIET_S,
    Lookout,
    Sleeper,
    believed_to_ask,
    is_wait,
    to_be_asked,
)

LINES = Modes(echo=True, canonical=True)
SECRET_LINES = Modes(echo=False, canonical=True)
KEYS = Modes(echo=False, canonical=False)

SLEEPS = {0: Sleep.READ, 7: Sleep.POLL}


@pytest.mark.parametrize(
    ("line", "call"),
    [
        (
            b"0 0x3 0x7ffe 0x400 0x0 0x0 0x0 0x7ffe3d 0x7f\n",
            Call(Sleep.READ, (3, 0x7FFE, 0x400, 0, 0, 0)),
        ),
        (b"230 0x0 0x0 0x7ffe 0x0 0x0 0x0 0x7ffe 0x7f\n", None),  # clock_nanosleep
        (b"running\n", None),
        (b"-1 0x7ffe 0x7f\n", None),  # asleep outside of any call
        (b"", None),  # it ended
    ],
)
def test_the_line_of_a_thread_is_read(line: bytes, call: Call | None) -> None:
    assert call == parsed_call(line, SLEEPS)


@pytest.mark.parametrize("modes", [LINES, SECRET_LINES, KEYS])
def test_a_read_is_always_a_wait(modes: Modes) -> None:
    assert is_wait(Call(Sleep.READ, ()), modes)


@pytest.mark.parametrize("sleep", [Sleep.SELECT, Sleep.POLL, Sleep.EPOLL])
def test_who_watches_the_terminal_waits_for_keys_and_not_for_lines(sleep: Sleep) -> None:
    assert is_wait(Call(sleep, ()), KEYS)
    assert not is_wait(Call(sleep, ()), LINES)
    assert not is_wait(Call(sleep, ()), SECRET_LINES)


def test_a_password_is_asked_for_where_lines_are_not_echoed() -> None:
    assert [False, True, False] == [m.hides_input for m in (LINES, SECRET_LINES, KEYS)]


def test_who_cannot_be_seen_is_believed_to_ask_when_it_hides_the_input_and_is_quiet() -> None:
    assert believed_to_ask(SECRET_LINES, PASSWORD_QUIET_S)
    assert not believed_to_ask(SECRET_LINES, PASSWORD_QUIET_S / 2)
    assert not believed_to_ask(LINES, PASSWORD_QUIET_S)


def test_looks_grow_seldom_in_a_silence() -> None:
    lookout, times = Lookout(0.0), []
    for _ in range(6):
        times.append(lookout.due_at)
        lookout.looked(lookout.due_at, lookout.due_at)
    pauses = [later - sooner for sooner, later in zip([0.0, *times], times, strict=False)]
    assert pytest.approx([0.03, 0.06, 0.12, 0.24, 0.25, 0.25]) == pauses
    assert (FIRST_LOOK_S, LONGEST_PAUSE_S) == (0.03, 0.25)


def test_a_sound_begins_the_silence_anew() -> None:
    lookout = Lookout(0.0)
    lookout.looked(0.1, 0.1)
    lookout.disturbed(2.0)
    assert 2.0 + FIRST_LOOK_S == lookout.due_at
    assert 1.0 == lookout.quiet_s(3.0)


def test_a_look_that_takes_long_is_seldom() -> None:
    lookout = Lookout(0.0)
    lookout.looked(10.0, 10.1)
    assert pytest.approx(10.1 + 5.0) == lookout.due_at


A1, A2 = (Sleeper(Thread(1, 1), switches) for switches in (5, 6))
B1 = Sleeper(Thread(2, 2), 5)


@pytest.mark.parametrize("printed", [False, True])
def test_after_an_answer_another_sleep_is_another_question(printed: bool) -> None:
    def asked(*found: Sleeper) -> Sleeper | None:
        return to_be_asked(found, A1, is_open=False, printed=printed)

    assert [None, None, A2, B1, B1] == [asked(), asked(A1), asked(A2), asked(B1), asked(A1, B1)]
    assert A1 == to_be_asked([A1], None, is_open=False, printed=printed)


@pytest.mark.parametrize("printed", [False, True])
def test_an_open_question_holds_as_long_as_its_sleep(printed: bool) -> None:
    assert to_be_asked([A1, B1], A1, is_open=True, printed=printed) is None
    assert to_be_asked([], A1, is_open=True, printed=printed) is None
    assert B1 == to_be_asked([B1], A1, is_open=True, printed=printed)


def test_a_sleep_that_was_only_disturbed_is_no_other_question() -> None:
    assert to_be_asked([A2, B1], A1, is_open=True, printed=False) is None
    assert A2 == to_be_asked([A2, B1], A1, is_open=True, printed=True)
