"""The two framings of a message on a WebSocket.

    legacy    text: one JSON object {channel, header, parent_header, metadata, content, buffers};
              with buffers binary: count n and n offsets (4 bytes each, big-endian), JSON, buffers
    v1        always binary: count n and n offsets (8 bytes each, little-endian), channel, header,
              parent header, metadata, content, buffers; the last offset is the end

Sources: jupyter_client, "Messaging in Jupyter"; jupyter_server, "WebSocket kernel wire protocols".
Knows bytes and text; must not know sockets or who is at the other end. Frames come from anybody who
can open a socket: what a table claims is held against the frame's length before anything is built.
"""

from __future__ import annotations

import struct
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.message import Channel, Header, Message
from kernel_gateway.messaging.strict_json import Json, decode_object, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The name of the second framing, as it is offered and chosen when a socket opens.
V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"

_LEGACY_NUMBER, _V1_NUMBER = struct.Struct(">I"), struct.Struct("<Q")
_V1_PARTS = 5  # channel, header, parent header, metadata, content


def from_legacy(frame: str | bytes) -> Message:
    """Raises `MalformedMessage`."""
    if isinstance(frame, str):
        return _of_object(decode_object(frame), ())
    text, *buffers = _parts(frame, _offsets(frame, _LEGACY_NUMBER, least=1), end=len(frame))
    return _of_object(decode_object(text), tuple(buffers))


def to_legacy(message: Message) -> str | bytes:
    """Text, or bytes when there are buffers."""
    header = message.header.as_json()
    text = encode(
        {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": header["msg_type"],
            "parent_header": message.parent.as_json() if message.parent else {},
            "metadata": message.metadata,
            "content": message.content,
            "buffers": [],
            "channel": message.channel.value,
        }
    )
    if not message.buffers:
        return text.decode()
    parts = (text, *message.buffers)
    starts = accumulate((len(part) for part in parts[:-1]), initial=4 * (1 + len(parts)))
    return b"".join([_table(_LEGACY_NUMBER, list(starts)), *parts])


def from_v1(frame: bytes) -> Message:
    """Raises `MalformedMessage`."""
    *starts, end = _offsets(frame, _V1_NUMBER, least=1 + _V1_PARTS)
    channel, header, parent, metadata, content, *buffers = _parts(frame, starts, end=end)
    return _message(
        channel.decode(errors="replace"),
        *(decode_object(part) for part in (header, parent, metadata, content)),
        buffers=tuple(buffers),
    )


def to_v1(message: Message) -> bytes:
    parts = [
        encode(message.header.as_json()),
        encode(message.parent.as_json() if message.parent else {}),
        encode(message.metadata),
        encode(message.content),
    ]
    return join_v1(message.channel, [*parts, *message.buffers])


def join_v1(channel: Channel, parts: Sequence[bytes]) -> bytes:
    """From the parts as ZeroMQ has them behind the signature: a relay need not decode them."""
    name = channel.encode()
    sizes = (len(name), *map(len, parts))
    offsets = accumulate(sizes, initial=8 * (2 + len(sizes)))
    return b"".join([_table(_V1_NUMBER, list(offsets)), name, *parts])


def _offsets(frame: bytes, number: struct.Struct, *, least: int) -> list[int]:
    """The table at the beginning, once it is sure that the frame has room for what it claims."""
    room = len(frame) // number.size - 1
    count = number.unpack_from(frame)[0] if room >= 0 else 0
    if not least <= count <= room:
        raise MalformedMessage(f"a frame of {len(frame)} bytes cannot have {count} offsets")
    table = frame[number.size : number.size * (1 + count)]
    offsets = [offset for (offset,) in number.iter_unpack(table)]
    bounds = [number.size * (1 + count), *offsets, len(frame)]
    if any(start > stop for start, stop in pairwise(bounds)):
        raise MalformedMessage("offsets must rise from the end of their table to that of the frame")
    return offsets


def _parts(frame: bytes, starts: Sequence[int], *, end: int) -> list[bytes]:
    return [frame[start:stop] for start, stop in pairwise([*starts, end])]


def _table(number: struct.Struct, offsets: Sequence[int]) -> bytes:
    return b"".join(map(number.pack, [len(offsets), *offsets]))


def _of_object(raw: dict[str, Json], buffers: tuple[bytes, ...]) -> Message:
    fields = (_object(raw, name) for name in ("header", "parent_header", "metadata", "content"))
    return _message(raw.get("channel"), *fields, buffers=buffers)


def _object(raw: dict[str, Json], name: str) -> dict[str, Json]:
    value = raw.get(name) or {}
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be an object")
    return value


def _message(
    channel: object,
    header: dict[str, Json],
    parent: dict[str, Json],
    metadata: dict[str, Json],
    content: dict[str, Json],
    *,
    buffers: tuple[bytes, ...],
) -> Message:
    if not isinstance(channel, str) or channel not in _CHANNELS:
        raise MalformedMessage(f"there is no channel {str(channel)[:50]!r}")
    return Message(
        channel=Channel(channel),
        header=Header.of(header),
        parent=Header.of(parent) if parent else None,
        metadata=metadata,
        content=content,
        buffers=buffers,
    )


_CHANNELS = frozenset(channel.value for channel in Channel)
