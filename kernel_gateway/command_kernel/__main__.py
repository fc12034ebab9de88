"""`python3 -m kernel_gateway.command_kernel -f CONNECTION_FILE`, as the kernelspec has it.

Knows what the process owes to the outside: its signals, its parent, its exit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from kernel_gateway.command_kernel.channels import ConnectionInfo
from kernel_gateway.command_kernel.kernel import CommandKernel
from kernel_gateway.command_kernel.processes import adopt_daemons, kill_descendants

_USAGE = "usage: python3 -m kernel_gateway.command_kernel -f CONNECTION_FILE"


def main(arguments: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until there is a cell to interrupt
    if len(arguments) != 2 or arguments[0] != "-f":
        sys.exit(_USAGE)
    try:
        info = ConnectionInfo.of(Path(arguments[1]).read_bytes())
    except (OSError, ValueError) as fault:
        sys.exit(f"The connection file is unusable: {fault}")
    asyncio.run(_live(info))


async def _live(info: ConnectionInfo) -> None:
    kernel = CommandKernel(info)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, kernel.interrupt)
    loop.add_signal_handler(signal.SIGTERM, _die, kernel)
    _watch_parent(kernel)
    adopt_daemons()
    await kernel.run()
    kill_descendants()


def _die(kernel: CommandKernel) -> NoReturn:
    """At once, by the signal, and all that cells have started with us."""
    kernel.kill()
    kill_descendants()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(1)  # never reached: the signal is not blocked


def _watch_parent(kernel: CommandKernel) -> None:
    """Die with whoever started us, if that is a Jupyter client.

    By its pidfd and not by PR_SET_PDEATHSIG: that one fires at the end of the *thread* that started
    us, and clients start kernels in threads.
    """
    client = os.environ.get("JPY_PARENT_PID")
    parent = os.getppid()
    if client is None or parent == 0:  # in a process namespace of our own
        return
    if parent == 1 and client != "1":  # it died before we could look, and init has us
        _die(kernel)
    try:
        pidfd = os.pidfd_open(parent)
    except ProcessLookupError:
        _die(kernel)
    except OSError:  # Linux before 5.3
        return
    asyncio.get_running_loop().add_reader(pidfd, _die, kernel)
    if os.getppid() != parent:
        _die(kernel)


if __name__ == "__main__":
    main(sys.argv[1:])
