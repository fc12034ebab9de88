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
_JSON_FRAMES = 4
_BLOCK = 64  # bytes that SHA-256 takes at once


class Signer:
    """Signs and checks with one kernel's key. An empty key signs nothing and is refused."""

    def __init__(self, key: bytes) -> None:
        if not key:
            raise ValueError("a kernel without a key would accept anybody's messages")
        # RFC 2104 by hand: both hashes begin with a block that depends on the key alone. To copy
        # them takes half the time of `hmac.digest`, and a relay does little else.
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, frames: Sequence[bytes]) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"".join(frames))
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
    signed = frames[start + 1 : start + 1 + _JSON_FRAMES]
    if len(signed) < _JSON_FRAMES:
        raise MalformedMessage(f"{len(frames)} frames are too few")
    signer.check(frames[start], signed)
    header, parent, metadata, content = signed
    buffers = tuple(frames[start + 1 + _JSON_FRAMES :])
    return RawMessage.read(channel, (header, parent, metadata, content), buffers)
