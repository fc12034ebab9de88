"""`kernel-gateway log`: what a run has printed, and with `-f` what it prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from traitlets import Bool

from kernel_gateway.client import Gap
from kernel_gateway.commands.base import FLAGS
from kernel_gateway.commands.server import SERVER_ALIASES, ServerCommand
from kernel_gateway.commands.showing import Shown, exit_code
from kernel_gateway.commands.terminal import Screen
from kernel_gateway.runs.records import InputAnswered, InputAsked

if TYPE_CHECKING:
    from kernel_gateway.client import Client, Told
    from kernel_gateway.service import RunInfo


class LogApp(ServerCommand):
    name = "kernel-gateway log"
    description = """
        Show what a run has printed: stdout and results on stdout, stderr and errors on stderr.

        With -f from its beginning to its end, as it comes; a connection that is cut is taken up
        where it ended. Ctrl-C ends the showing, not the run.

        Exit codes: 0 shown · 1 refused, or the gateway does not answer · 2 usage · 130 Ctrl-C. With
        -f that of the run, as kernel-gateway exec would give it.
    """
    examples = """
        kernel-gateway log 2a7b...
        kernel-gateway log -f nightly-report
    """
    follow = Bool(False, config=True, help="Follow the run until it is over.")
    aliases: dict[Any, Any] = SERVER_ALIASES
    flags: dict[Any, Any] = {**FLAGS, ("f", "follow"): ({"LogApp": {"follow": True}}, follow.help)}

    def act(self, client: Client) -> int:
        info = client.run(self.one_argument("kernel-gateway log [-f] ID"))
        screen = _Screen(self.name)
        if not self.follow:
            return _show_past(client, info, screen)
        with self.client() as patient:  # it has answered once: now it may be away for a while
            for told in patient.records(info.uid):
                screen.show(told)
            return exit_code(patient.run(info.uid))


def _show_past(client: Client, info: RunInfo, screen: _Screen) -> int:
    """What there was when it was asked for: a run that prints may go on for ever."""
    after = 0
    while after < info.log_next - 1:
        page = client.page(info.uid, after=after)
        for told in page.records:
            screen.show(told)
        if not page.records:
            break
        after = page.next
    return 0


class _Screen:
    """The records of a run that somebody else answers."""

    def __init__(self, name: str) -> None:
        self._screen = Screen(sys.stdout, sys.stderr)
        self._shown = Shown(self._screen, name)

    def show(self, told: Told) -> None:
        body = told.body
        if isinstance(body, InputAsked):
            self._screen.out(body.prompt)
        elif isinstance(body, InputAnswered):
            self._screen.out(f"{body.value or ''}\n")
        elif isinstance(body, Gap):
            self._shown.say(f"records {body.first} to {body.last} are no longer kept")
        else:
            self._shown.show(body)
