"""The life of a fork server, and of each of its kernels until it is one.

Knows the order of things. What to import is in `preparation.py`, who is served in `server.py`, how
a copy of the server becomes a kernel in `rebirth.py`.
"""

from __future__ import annotations

import argparse
import gc
import socket
import sys
import time
from typing import TYPE_CHECKING

from kernel_gateway.fork_server.preparation import Unfit, launcher, own_variables, prepare
from kernel_gateway.fork_server.rebirth import be_reborn
from kernel_gateway.fork_server.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

#: For the first connection. Whoever starts a server connects at once.
LONELY_S = 30.0


def live(arguments: Sequence[str]) -> CodeType:
    """Returns in each kernel, with what that is to run in `__main__`. The server ends in here."""
    lonely_at = time.monotonic() + LONELY_S
    given = _read(arguments)
    try:
        prepare(given.preload.split(",") if given.preload else ())
        program = launcher()
        variables = own_variables()
    except Unfit as fault:
        sys.exit(str(fault))
    listener = socket.socket(fileno=given.listen)
    server = Server(listener, given.path, given.lock, lonely_at)
    # What is there now is never looked at by a collector, whose notes would make each kernel copy
    # the memory that it shares with us.
    gc.collect()
    gc.freeze()
    birth = server.serve()
    if birth is None:
        sys.exit(0)
    del server, listener
    return be_reborn(birth, program, variables)


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m kernel_gateway.fork_server", description=__doc__)
    parser.add_argument("--listen", type=int, required=True, help="descriptor of a socket")
    parser.add_argument("--path", required=True, help="of the socket")
    parser.add_argument("--lock", required=True, help="file to lock by who starts or ends a server")
    parser.add_argument("--preload", default="", help="names of modules with commas between")
    return parser.parse_args(arguments)
