"""Frames on ZeroMQ: `[identities..., <IDS|MSG>, signature, header, parent, metadata, content,
buffers...]`, signed with HMAC-SHA256 over the four JSON frames.

Source: jupyter_client, "Messaging in Jupyter", "The wire protocol". Knows bytes; must not know
sockets.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from kernel_gateway.errors import BadSignature, MalformedMessage
from kernel_gateway.messaging.raw import RawMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.messaging.message import Channel

DELIMITER = b"<IDS|MSG>"
_JSON_FRAMES = 4


class Signer:
    """Signs and checks with one kernel's key. An empty key signs nothing and is refused."""

    def __init__(self, key: bytes) -> None:
        if not key:
            raise ValueError("a kernel without a key would accept anybody's messages")
        self._key = key

    def sign(self, frames: Sequence[bytes]) -> bytes:
        # In one call: half the time of an HMAC object, which Python copies and updates.
        return hmac.digest(self._key, b"".join(frames), "sha256").hex().encode()

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
