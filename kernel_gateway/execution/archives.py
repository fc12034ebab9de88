"""Files of a session on their way out: packed by a thread when they are asked for, in pieces."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.execution.folder import SessionFolder

PIECE_BYTES = 2**18


async def pieces(folder: SessionFolder, path: str, *, limit_bytes: int) -> AsyncIterator[bytes]:
    """A tar. It is packed when the first piece is wanted; that one may raise `TooLarge`."""
    with await asyncio.to_thread(folder.archive, path, limit_bytes=limit_bytes) as tar:
        while piece := await asyncio.to_thread(tar.read, PIECE_BYTES):
            yield piece
