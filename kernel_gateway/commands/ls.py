"""`kernel-gateway ls`: which runs there are."""

from __future__ import annotations

import json
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Enum, Int, List, Unicode

from kernel_gateway.client import parse, protocol
from kernel_gateway.commands.base import FLAGS, UsageError
from kernel_gateway.commands.server import EXITS, SERVER_ALIASES, ServerCommand
from kernel_gateway.commands.table import age, aligned, harmless
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import RunPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel_gateway.client import Client
    from kernel_gateway.service import RunInfo

_MOST_A_PAGE = 1000


class LsApp(ServerCommand):
    name = "kernel-gateway ls"
    description = f"""
        List your runs, newest first.
        {EXITS}"""
    examples = """
        kernel-gateway ls --state=running
        kernel-gateway ls --label=project=nightly --outcome=error
        kernel-gateway ls --json --limit=1000
    """
    state = Enum(
        [state.value for state in RunState],
        None,
        allow_none=True,
        config=True,
        help="Only runs that stand so.",
    )
    outcome = Enum(
        [outcome.value for outcome in Outcome],
        None,
        allow_none=True,
        config=True,
        help="Only runs that have ended so.",
    )
    kernel = Unicode(None, allow_none=True, config=True, help="Only runs on the kernel of this ID.")
    label = List(
        Unicode(),
        config=True,
        help="Only runs with this label: NAME, or NAME=VALUE. May be given more than once.",
    )
    limit = Int(50, config=True, help="So many of the newest.")
    as_json = Bool(False, config=True, help="One JSON object a line, with all that is known.")
    aliases: dict[Any, Any] = {
        **SERVER_ALIASES,
        "state": "LsApp.state",
        "outcome": "LsApp.outcome",
        "kernel": "LsApp.kernel",
        "label": "LsApp.label",
        "limit": "LsApp.limit",
    }
    flags: dict[Any, Any] = {**FLAGS, "json": ({"LsApp": {"as_json": True}}, as_json.help)}

    def act(self, client: Client) -> int:
        if self.extra_args:
            raise UsageError(f"ls takes no arguments, only options: {self.extra_args[0]!r}.")
        if self.limit < 1:
            raise UsageError("--limit must be at least 1.")
        runs = islice(self._runs(client), self.limit)
        if self.as_json:
            for run in runs:
                print(json.dumps(run))
        else:
            now = time.time()
            lines = [_row(parse.run_info(run), now) for run in runs]
            for line in aligned([("ID", "STATE", "OUTCOME", "AGE", "KERNEL"), *lines]):
                print(line)
        return 0

    def _runs(self, client: Client) -> Iterator[Any]:
        """As the gateway tells them: for a program nothing is lost that is newer than we are."""
        before: RunPlace | None = None
        while True:
            call = protocol.runs(
                state=self.state,
                outcome=self.outcome,
                kernel=self.kernel,
                labels=dict(_label(text) for text in self.label),
                limit=min(self.limit, _MOST_A_PAGE),
                before=before,
            )
            page = client.ask(protocol.raw(call))
            yield from page["items"]
            if page["next"] is None:
                return
            before = RunPlace.parse(page["next"])


def _label(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None


def _row(run: RunInfo, now: float) -> tuple[str, ...]:
    view = run.view
    return (
        harmless(run.id),
        view.state,
        view.outcome or "-",
        age(now - view.created_at),
        harmless(run.kernel_name),
    )
