"""`kernel-gateway input`: answer the prompt of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.server import EXITS, SERVER_ALIASES, ServerCommand
from kernel_gateway.commands.table import harmless
from kernel_gateway.commands.terminal import read_line
from kernel_gateway.errors import NotWaiting

if TYPE_CHECKING:
    from kernel_gateway.client import Client
    from kernel_gateway.runs.view import Prompt


class InputApp(ServerCommand):
    name = "kernel-gateway input"
    description = f"""
        Answer the prompt that a run waits at.

        The text is the second argument, or one line of standard input when that is -; what is
        typed for a password is not shown. A run that does not wait is refused, and nothing is kept.
        {EXITS}"""
    examples = """
        kernel-gateway input nightly-report yes
        kernel-gateway input nightly-report -
    """
    aliases: dict[Any, Any] = SERVER_ALIASES

    def act(self, client: Client) -> int:
        if len(self.extra_args) != 2:
            raise UsageError("A run ID and a text are needed: kernel-gateway input ID TEXT, or - .")
        run_id, text = self.extra_args
        info = client.run(run_id)
        prompt = info.view.prompt
        if prompt is None:
            raise NotWaiting(f"The run is {info.view.state} and does not wait for input.")
        value = _typed(prompt) if text == "-" else text
        client.input(info.uid, value, prompt.prompt_id)  # to this prompt, and to no later one
        return 0


def _typed(prompt: Prompt) -> str:
    def show() -> None:
        if sys.stdin.isatty():
            print(harmless(prompt.prompt), end="", file=sys.stderr, flush=True)

    line = read_line(show, hidden=prompt.password)
    if line is None:
        raise UsageError("There is no text on standard input.")
    return line
