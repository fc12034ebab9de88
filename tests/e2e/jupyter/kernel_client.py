"""Uses jupyter_kernel_client as its users do: a program for its environment.

    python kernel_client.py URL TOKEN FIFO

Prints what came of everything, as one line of JSON. Code in the kernel says by the FIFO that it
stands where it is to be interrupted. Knows that library and nothing of the gateway.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

# It is in the environment of the clients, where the type checker is not.
from jupyter_kernel_client import JupyterKernelClient  # type: ignore[import-not-found]


def main(url: str, token: str, fifo: str) -> None:
    told: dict[str, Any] = {}
    # Its end takes `timeout` seconds, with any server: it waits for a thread of its own.
    with JupyterKernelClient(server_url=url, token=token, client_kwargs={"timeout": 1}) as kernel:
        told["result"] = kernel.execute("print('said')\n6 * 7")
        told["error"] = kernel.execute("1 / 0")
        told["long"] = kernel.execute("for i in range(2000): print('line', i, flush=True)")
        told["input"] = kernel.execute(
            "print('Hello', input('Who? '))",
            allow_stdin=True,
            stdin_hook=lambda message: kernel._manager.client.input("Ada"),
        )

        def stand() -> None:
            code = f"open({fifo!r}, 'w').close()\nimport threading\nthreading.Event().wait(60)"
            told["interrupted"] = kernel.execute(code, timeout=60)

        standing = Thread(target=stand)
        standing.start()
        Path(fifo).read_text()
        kernel.interrupt()
        standing.join()
        kernel.execute("kept = 1")
        kernel.restart()
        told["restarted"] = kernel.execute("'kept' in globals()")
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)  # else Python waits for the same thread


if __name__ == "__main__":
    main(*sys.argv[1:])
