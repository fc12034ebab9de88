"""Frames on ZeroMQ: `[identities..., <IDS|MSG>, signature, header, parent, metadata, content,
buffers...]`, signed with HMAC-SHA256 over the four JSON frames.

Source: jupyter_client, "Messaging in Jupyter", "The wire protocol". Knows bytes; must not know
sockets.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from kernel_gateway.errors import BadSignature, MalformedMessage
from kernel_gateway.messaging.raw import RawMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.messaging.message import Channel

DELIMITER = b"<IDS|MSG>"
#: Frames that each message has behind the delimiter: the signature and four of JSON.
LEAST_BEHIND = 5
_BLOCK = 64  # bytes that SHA-256 takes at once
_BIG = 2**16  # content that is not worth a copy; below, one call is worth more than that


class Signer:
    """Signs and checks with one kernel's key. An empty key signs nothing and is refused."""

    def __init__(self, key: bytes) -> None:
        if not key:
            raise ValueError("a kernel without a key would accept anybody's messages")
        # RFC 2104 by hand: both hashes begin with a block that depends on the key alone. To copy
        # them takes half the time of `hmac.digest`, and a relay does little else.
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block)).copy
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block)).copy

    def sign(self, frames: Sequence[bytes]) -> bytes:
        inner, outer = self._inner(), self._outer()
        if len(frames[-1]) < _BIG:
            inner.update(b"".join(frames))
        else:
            for frame in frames:
                inner.update(frame)
        outer.update(inner.digest())
        return outer.hexdigest().encode()

    def check(self, signature: bytes, frames: Sequence[bytes]) -> None:
        if not hmac.compare_digest(signature, self.sign(frames)):
            raise BadSignature("the message is not signed with this kernel's key")


def to_frames(message: RawMessage, signer: Signer) -> list[bytes]:
    """For a DEALER: no identities, the socket adds its own."""
    return [DELIMITER, signer.sign(message.parts), *message.parts, *message.buffers]


def from_frames(frames: Sequence[bytes], channel: Channel, signer: Signer) -> RawMessage:
    """Check it, and decode as little as can be. Raises `BadSignature` or `MalformedMessage`; both
    are the kernel's, and what is wrong with a part is found when that part is decoded."""
    try:
        start = frames.index(DELIMITER) + 1
    except ValueError:
        raise MalformedMessage("no <IDS|MSG> delimiter") from None
    try:
        signature, header, parent, metadata, content, *buffers = frames[start:]
    except ValueError:
        raise MalformedMessage(f"{len(frames)} frames are too few") from None
    parts = header, parent, metadata, content
    signer.check(signature, parts)
    return RawMessage.read(channel, parts, tuple(buffers))


def behind_short(frames: list[bytes]) -> list[bytes]:
    """Of frames that are no message: what may be one, or nothing.

    They may begin with a message that is too short; a reader that takes the least number of frames
    for granted has then taken some of the next.
    """
    if DELIMITER not in frames:
        return []
    start = frames.index(DELIMITER) + 1
    taken = frames[start : start + 1 + LEAST_BEHIND]
    return frames[start + taken.index(DELIMITER) :] if DELIMITER in taken else []
