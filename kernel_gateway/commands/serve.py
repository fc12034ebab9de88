"""`kernel-gateway serve`: the HTTP door, until a signal."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from traitlets import default

from kernel_gateway import app
from kernel_gateway.commands.base import ALIASES, Command, UsageError, version

if TYPE_CHECKING:
    from kernel_gateway.web.server import Server
    from kernel_gateway.web.settings import WebSettings


class ServeApp(Command):
    name = "kernel-gateway serve"
    description = """
        Serve kernels and runs over HTTP.

        Listens on the loopback unless told otherwise, and every call needs the token that the first
        line shows. SIGTERM or Ctrl-C ends it when the running code has ended.
    """
    examples = """
        kernel-gateway serve --port=9000
        KERNEL_GATEWAY_TOKEN=secret kernel-gateway serve --ip='*'
        kernel-gateway serve --sock=/run/user/1000/kernels.sock
    """
    aliases: dict[Any, Any] = {
        **ALIASES,
        "ip": "Web.ip",
        "port": "Web.port",
        "sock": "Web.sock",
        "base-url": "Web.base_url",
        "certfile": "Web.certfile",
        "keyfile": "Web.keyfile",
        "token": "Web.token",
        "drain": "Gateway.drain_s",
    }

    @default("log_format")
    def _own_log_format(self) -> str:
        return "[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s] %(message)s"

    def run(self) -> int:
        if self.extra_args:
            raise UsageError(f"serve takes no arguments, only options: {self.extra_args[0]!r}.")
        app.refuse_twin_distribution()
        settings = self.read_settings()
        number = version()

        def announce(server: Server) -> None:
            print(_first_line(settings.web, server, number), file=sys.stderr, flush=True)

        return asyncio.run(app.serve(settings, version=number, announce=announce))


def _first_line(settings: WebSettings, server: Server, number: str) -> str:
    """With the token if it was made just now: then it is known from nowhere else."""
    token = f"?token={settings.token}" if settings.show_token else ""
    return f"Kernel Gateway {number} is at {server.url}{token}"
