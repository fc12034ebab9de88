"""When a command waits for input: the rules, and when it is worth a look.

A command waits when a thread of it sleeps in a read on its terminal. A program that takes keys and
not lines (ICANON off) may also sleep in select, poll or epoll with the terminal in its set; with
lines that is not taken for waiting, because servers sleep like that for ever. Of programs of other
users (sudo) nothing can be seen: when one has switched the echo off and is quiet, it wants a
password. In any case nothing that was typed may be unread.

Knows threads as `proc.py` shows them, the terminal's modes and *now*. Must not know prompts or
answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.command_kernel.proc import (
    Call,
    Sleep,
    Thread,
    awaits,
    call_of,
    switches_of,
    threads_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kernel_gateway.command_kernel.terminal import Modes

#: Of silence before the first look.
FIRST_LOOK_S = 0.03
#: The pause between looks doubles up to this,
LONGEST_PAUSE_S = 0.25
#: but a look takes at most this part of the time, however many threads there are.
_SHARE = 0.02
#: Of silence before a program that we cannot look into is believed to want a password.
PASSWORD_QUIET_S = 1.0


@dataclass(frozen=True, slots=True)
class Sleeper:
    """One sleep of one thread: after an answer, only another sleep is another wait."""

    thread: Thread
    switches: int | None


class Lookout:
    """When to look: after a silence, then ever more seldom until something happens."""

    def __init__(self, now: float) -> None:
        self.disturbed(now)

    def disturbed(self, now: float) -> None:
        """Something was printed or answered."""
        self._quiet_since = now
        self._pause_s = FIRST_LOOK_S
        self.due_at = now + FIRST_LOOK_S

    def looked(self, began: float, ended: float) -> None:
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.due_at = ended + max(self._pause_s, (ended - began) / _SHARE)

    def quiet_s(self, now: float) -> float:
        return now - self._quiet_since


def sleepers(pids: Iterable[int], device: int, modes: Modes, quiet_s: float) -> list[Sleeper]:
    """All sleeps in which these processes wait for the terminal."""
    return [
        Sleeper(thread, switches_of(thread))
        for thread in threads_of(pids)
        if _waits(thread, device, modes, quiet_s)
    ]


def to_be_asked(
    found: Sequence[Sleeper], last: Sleeper | None, *, is_open: bool, printed: bool
) -> Sleeper | None:
    """For whom there is to be a question, after the one for `last`.

    While that one is open it holds as long as its thread waits: another sleep of it alone may come
    from a signal or a timer, and only with something `printed` is it another prompt.
    """
    if is_open and last in found:
        return None
    if is_open and not printed and any(last and one.thread == last.thread for one in found):
        return None
    return next((one for one in found if one != last), None)


def _waits(thread: Thread, device: int, modes: Modes, quiet_s: float) -> bool:
    try:
        call = call_of(thread)
    except PermissionError:
        return believed_to_ask(modes, quiet_s)
    return call is not None and is_wait(call, modes) and awaits(thread, call, device)


def believed_to_ask(modes: Modes, quiet_s: float) -> bool:
    """A program that we cannot look into."""
    return modes.hides_input and quiet_s >= PASSWORD_QUIET_S


def is_wait(call: Call, modes: Modes) -> bool:
    """If the call is about the terminal."""
    return call.sleep is Sleep.READ or not modes.canonical
