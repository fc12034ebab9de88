"""`kernel-gateway`: finds the command. Imports none of them before it is asked for."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Any

from jupyter_core.application import NoStart

from kernel_gateway.commands.base import INTERRUPTED, CommandGroup

_WHERE = "kernel_gateway.commands"


class KernelGatewayApp(CommandGroup):
    name = "kernel-gateway"
    description = "Run code on Jupyter kernels, and never lose a line of what it printed."
    examples = """
        kernel-gateway serve
        kernel-gateway exec "print(6 * 7)"
        kernel-gateway run notebook.ipynb out.ipynb
    """
    subcommands: dict[str, Any] = {
        "serve": (f"{_WHERE}.serve.ServeApp", "Serve kernels and runs over HTTP."),
        "run": (f"{_WHERE}.run.RunApp", "Run a notebook and write what became of it."),
        "inspect": (f"{_WHERE}.inspect.InspectApp", "Show the parameters of a notebook."),
        "recover": (f"{_WHERE}.recover.RecoverApp", "Finish outputs of runs that were killed."),
        "exec": (f"{_WHERE}.exec.ExecApp", "Run code on a kernel of its own and show its output."),
        "ls": (f"{_WHERE}.ls.LsApp", "List the runs of a gateway."),
        "show": (f"{_WHERE}.show.ShowApp", "Show how a run stands."),
        "log": (f"{_WHERE}.log.LogApp", "Show what a run prints, with -f to its end."),
        "input": (f"{_WHERE}.input.InputApp", "Answer the prompt of a run."),
        "cancel": (f"{_WHERE}.cancel.CancelApp", "End a run."),
        "artifacts": (f"{_WHERE}.artifacts.ArtifactsApp", "List and download the files of a run."),
        "keys": (
            f"{_WHERE}.keys.KeysApp",
            "Make, list and revoke the keys that clients sign with.",
        ),
    }


def main(argv: list[str] | None = None) -> None:
    atexit.register(gc.freeze)  # what is there then goes with the process: no search for cycles
    _open_streams()
    app = KernelGatewayApp.instance()
    try:
        _initialize(app, argv)
        app.start()
    except NoStart:  # a configuration file was all that was wanted
        return
    except KeyboardInterrupt:  # of a command that has no way of its own to end, or not yet
        sys.exit(INTERRUPTED)


def _open_streams() -> None:
    """Whoever has closed one, as by `2>&-`, wants to see nothing of it. Left so, the next file that
    is opened has its number, and what a kernel prints goes there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)  # as the one in its place would be
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - till the end


def _initialize(app: KernelGatewayApp, argv: list[str] | None) -> None:
    """Imports the command. That leaves no cycles that are worth a search."""
    gc.disable()
    try:
        app.initialize(argv)
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
