"""What of ours is run in an ipykernel by its text, and what the kernel can be asked since.

Knows how a file gets there without a trace, and which kernels `inside.py` is for. Must not know
sockets: it makes requests, and others send them.
"""

from __future__ import annotations

from binascii import b2a_base64
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import compress

from kernel_gateway.kernels import inside
from kernel_gateway.messaging.message import execute_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.message import MsgId, Request

_IMPLEMENTATION = "ipython"  # as an ipykernel's kernel_info_reply calls itself


def preparation_by(file: str) -> Callable[[MsgId], Request]:
    """Makes the request that runs the file and calls its `prepare` with the kernel. It leaves no
    name, no count and no line of history; the reply is an error if `prepare` raises."""
    text = f"{Path(file).read_text()}\nprepare(kernel)\n"
    # IPython goes through the text of a cell several times, and this is half as long.
    packed = b2a_base64(compress(text.encode()), newline=False).decode()
    unpacked = f"__import__('zlib').decompress(__import__('binascii').a2b_base64({packed!r}))"
    code = f"exec({unpacked}, {{'__name__': '', 'kernel': get_ipython().kernel}})"
    return partial(execute_request, code=code, allow_stdin=False, silent=True, store_history=False)


#: By `inside.py`. What comes of it concerns nobody.
preparation = preparation_by(inside.__file__)


def preparable(info: KernelInfo) -> bool:
    """Whether `preparation` is to be sent to such a kernel."""
    return info.implementation == _IMPLEMENTATION


def quiet_expression(info: KernelInfo | None) -> str | None:
    """That is true when nothing is left that can still print, where `preparation` has been sent;
    None: such a kernel cannot say."""
    return inside.IS_QUIET if info is not None and preparable(info) else None
