"""What the commands share that ask a gateway over HTTP: its address, its token, and how they end.

Must not know the engine: these commands see what any client sees.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_core.application import base_aliases
from traitlets import Unicode

from kernel_gateway.client import Client, Patience
from kernel_gateway.client.address import TOKEN_VARIABLE, address
from kernel_gateway.commands.base import INTERRUPTED, Command, UsageError
from kernel_gateway.commands.showing import BROKEN_PIPE
from kernel_gateway.commands.terminal import forget_stdout

if TYPE_CHECKING:
    from traitlets.config import Configurable

SERVER_ALIASES: dict[Any, Any] = {
    **base_aliases,
    "server": "ServerCommand.server",
    "token": "ServerCommand.token",
}
EXITS = """
        Exit codes: 0 done · 1 refused, or the gateway does not answer · 2 usage · 130 Ctrl-C.
"""

#: A person waits: a gateway that is not there is told at once.
AT_ONCE = Patience(tries=2, first_s=0.1)


class ServerCommand(Command):
    """A subclass has `act`, which returns the exit code."""

    classes: list[type[Configurable]] = []
    aliases = SERVER_ALIASES
    server = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Address of the gateway, as the first line of kernel-gateway serve shows it. Default: "
        "KERNEL_GATEWAY_URL, else http://127.0.0.1:8888.",
    )
    token = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Of the gateway. Better in KERNEL_GATEWAY_TOKEN than on a command line, which others "
        "on this machine can see.",
    )

    def act(self, client: Client) -> int:
        raise NotImplementedError

    def run(self) -> int:
        try:
            with self.client(AT_ONCE) as client:
                code = self.act(client)
                sys.stdout.flush()  # now, and not when it is too late to say anything
                return code
        except KeyboardInterrupt:
            return self.on_interrupt()
        except BrokenPipeError:
            forget_stdout()
            return BROKEN_PIPE

    def on_interrupt(self) -> int:
        with suppress(OSError):
            print(file=sys.stderr)  # behind the ^C of the terminal
        return INTERRUPTED

    def client(self, patience: Patience | None = None) -> Client:
        where = address(self.server, self.token, env=os.environ)
        if where.token is None:
            raise UsageError(
                f"A token is needed for {where}: set {TOKEN_VARIABLE}, or give --token. "
                "kernel-gateway serve shows it in its first line, unless it was chosen."
            )
        return Client(self.server, self.token, patience=patience)

    def one_argument(self, example: str) -> str:
        if len(self.extra_args) != 1:
            raise UsageError(f"One run ID is needed, not {len(self.extra_args)}: {example}")
        return str(self.extra_args[0])
