"""Frames on ZeroMQ: `[identities..., <IDS|MSG>, signature, header, parent, metadata, content,
buffers...]`, signed with HMAC-SHA256 over the four JSON frames.

Source: jupyter_client, "Messaging in Jupyter", "The wire protocol". Knows bytes; must not know
sockets.
"""

from __future__ import annotations

import functools
import hmac
from typing import TYPE_CHECKING

from kernel_gateway.errors import BadSignature, MalformedMessage
from kernel_gateway.messaging.message import Channel, Header, Message
from kernel_gateway.messaging.strict_json import decode_object, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def to_frames(message: Message, signer: Signer) -> list[bytes]:
    """For a DEALER: no identities, the socket adds its own."""
    signed = [
        encode(message.header.as_json()),
        encode(message.parent.as_json() if message.parent else {}),
        encode(message.metadata),
        encode(message.content),
    ]
    return [DELIMITER, signer.sign(signed), *signed, *message.buffers]


def from_frames(frames: Sequence[bytes], channel: Channel, signer: Signer) -> Message:
    """Check, then parse. Raises `BadSignature` or `MalformedMessage`; both are the kernel's."""
    try:
        start = frames.index(DELIMITER) + 1
    except ValueError:
        raise MalformedMessage("no <IDS|MSG> delimiter") from None
    signed = frames[start + 1 : start + 1 + _JSON_FRAMES]
    if len(signed) < _JSON_FRAMES:
        raise MalformedMessage(f"{len(frames)} frames are too few")
    signer.check(frames[start], signed)
    header, parent, metadata, content = signed
    return Message(
        channel=channel,
        header=Header.of(decode_object(header)),
        parent=_parent_of(parent),
        metadata=decode_object(metadata),
        content=decode_object(content),
        buffers=tuple(frames[start + 1 + _JSON_FRAMES :]),
    )


def _parent_of(frame: bytes) -> Header | None:
    """All that belongs to one request has the same parent, to the byte: it is parsed once."""
    return (_small_parent if len(frame) <= _SMALL_BYTES else _parsed_parent)(frame)


def _parsed_parent(frame: bytes) -> Header | None:
    parent = decode_object(frame)
    return Header.of(parent) if parent else None


_SMALL_BYTES = 1000  # a bigger one is not one of ours, and is not kept
_small_parent = functools.lru_cache(maxsize=256)(_parsed_parent)
