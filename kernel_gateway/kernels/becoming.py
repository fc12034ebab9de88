"""How an ipykernel that is up becomes the kernel of a request: this file's text is run in it first.
Then it waits for a message of a type of its own, since to execute code takes it twice as long.

Knows what ipykernel and IPython keep of their start. Must not import anything of ours, nor what a
kernel has not imported itself, and must not show: no name, no count, no line of history. Whatever
is not as it is known here raises: then another kernel is started.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

#: The type of that message.
BECOME = "kernel_gateway_become_request"
#: In its content, what is to be changed; as a text, since JSON's escapes keep names and values that
#: are not UTF-8.
TOLD = "told"


def prepare(kernel: Any) -> None:
    """Raises when code of the user's own was executed at the start: it may have looked at folder
    and variables. The folders are those of `InteractiveShellApp._run_startup_files`."""
    from IPython.core.application import ENV_CONFIG_DIRS, SYSTEM_CONFIG_DIRS

    app = kernel.parent
    folders = [app.profile_dir.location, *ENV_CONFIG_DIRS, *SYSTEM_CONFIG_DIRS]
    files = [os.environ.get("PYTHONSTARTUP"), *app.exec_files, app.file_to_run]
    for folder, kind in itertools.product(folders, ("*.py", "*.ipy")):
        files += glob.glob(os.path.join(folder, "startup", kind))
    code = [*app.exec_lines, app.code_to_run, app.module_to_run]
    if any(files) or any(code) or app.extensions or app.extra_extensions:
        raise RuntimeError("code of its own is executed when it starts")
    _rehearse(kernel)
    _listen(kernel)


def _rehearse(kernel: Any) -> None:
    """What is done once is done faster the next time, and most of all in a forked process."""
    _change(kernel, json.loads(json.dumps({"cwd": os.getcwd(), "variables": []})))
    kernel.shell.display_formatter.format(0)


def _listen(kernel: Any) -> None:
    def become(stream: Any, ident: Any, parent: Any) -> None:
        del kernel.shell_handlers[BECOME]
        try:
            _change(kernel, json.loads(parent["content"][TOLD]))
            reply = {"status": "ok"}
        except Exception as fault:
            reply = {"status": "error", "ename": type(fault).__name__, "evalue": str(fault)}
        kernel.session.send(stream, "execute_reply", reply, parent=parent, ident=ident)

    kernel.shell_handlers[BECOME] = become


def _change(kernel: Any, told: Any) -> None:
    """What the kernel has set itself when it started stays, as it does in a fresh one. The folder
    is kept in two places by IPython, the name of a notebook in a third by ipykernel."""
    shell = kernel.shell
    if told["cwd"] is not None:
        os.chdir(told["cwd"])
        shell.starting_dir = os.getcwd()
        shell.history_manager.dir_hist[:] = [Path.cwd()]
    for name, old, new in told["variables"]:
        if os.environ.get(name) == old:
            if new is None:
                del os.environ[name]
            else:
                os.environ[name] = new
    time.tzset()
    shell.user_ns.pop("__session__", None)
    if os.environ.get("JPY_SESSION_NAME"):
        shell.user_ns["__session__"] = os.environ["JPY_SESSION_NAME"]
