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
from kernel_gateway.messaging.message import Channel
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.strict_json import Json, decode_object, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.messaging.raw import Parts

#: The name of the second framing, as it is offered and chosen when a socket opens.
V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"

_LEGACY_NUMBER, _V1_NUMBER = struct.Struct(">I"), struct.Struct("<Q")
_V1_PARTS = 5  # channel, header, parent header, metadata, content
_V1_PLAIN = struct.Struct("<7Q")  # the table of a message without buffers, packed at once


def from_legacy(frame: str | bytes) -> RawMessage:
    """Raises `MalformedMessage`."""
    if isinstance(frame, str):
        return _of_object(decode_object(frame), ())
    text, *buffers = _parts(frame, _offsets(frame, _LEGACY_NUMBER, least=1), end=len(frame))
    return _of_object(decode_object(text), tuple(buffers))


def to_legacy(message: RawMessage) -> tuple[bytes, bool]:
    """And whether it is text: it is unless there are buffers. The parts must be strict JSON."""
    header, parent, metadata, content = message.parts
    text = b"".join(
        (
            b'{"header":', header,
            b',"msg_id":', encode(message.msg_id),
            b',"msg_type":', encode(message.msg_type),
            b',"parent_header":', parent,
            b',"metadata":', metadata,
            b',"content":', content,
            b',"buffers":[],"channel":"', message.channel.encode(), b'"}',
        )
    )  # fmt: skip
    if not message.buffers:
        return text, True
    parts = (text, *message.buffers)
    starts = accumulate((len(part) for part in parts[:-1]), initial=4 * (1 + len(parts)))
    return b"".join([_table(_LEGACY_NUMBER, list(starts)), *parts]), False


def from_v1(frame: bytes) -> RawMessage:
    """Raises `MalformedMessage`."""
    *starts, end = _offsets(frame, _V1_NUMBER, least=1 + _V1_PARTS)
    name, header, parent, metadata, content, *buffers = _parts(frame, starts, end=end)
    channel = _channel(name.decode(errors="replace"))
    return _read(channel, (header, parent, metadata, content), tuple(buffers))


def to_v1(message: RawMessage) -> tuple[Sequence[bytes], int]:
    """In pieces that belong together, and their size: whoever sends joins many messages at once."""
    header, parent, metadata, content = parts = message.parts
    channel, start = _V1_STARTS[message.channel]
    if message.buffers:
        sizes = (*map(len, parts), *map(len, message.buffers))
        start += 8 * len(message.buffers)
        offsets = [start - len(channel), *accumulate(sizes, initial=start)]
        return [_table(_V1_NUMBER, offsets), channel, *parts, *message.buffers], offsets[-1]
    at_parent = start + len(header)
    at_metadata = at_parent + len(parent)
    at_content = at_metadata + len(metadata)
    end = at_content + len(content)
    table = _V1_PLAIN.pack(6, start - len(channel), start, at_parent, at_metadata, at_content, end)
    return (table, channel, header, parent, metadata, content), end


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


def _of_object(raw: dict[str, Json], buffers: tuple[bytes, ...]) -> RawMessage:
    # jupyter_server's own client of a gateway names none, and its server takes that for shell.
    channel = Channel.SHELL if raw.get("channel") is None else _channel(raw["channel"])
    header, parent, metadata, content = (
        encode(_object(raw, name)) for name in ("header", "parent_header", "metadata", "content")
    )
    return _read(channel, (header, parent, metadata, content), buffers)


def _read(channel: Channel, parts: Parts, buffers: tuple[bytes, ...]) -> RawMessage:
    """With the type that the kernel will see, whatever else the header may show."""
    message = RawMessage.read(channel, parts, buffers)
    return message._replace(msg_type=message.header.msg_type)


def _object(raw: dict[str, Json], name: str) -> dict[str, Json]:
    value = raw.get(name) or {}
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be an object")
    return value


def _channel(name: object) -> Channel:
    if not isinstance(name, str) or name not in _CHANNELS:
        raise MalformedMessage(f"there is no channel {str(name)[:50]!r}")
    return Channel(name)


_CHANNELS = frozenset(channel.value for channel in Channel)
#: Of a message without buffers: the name of its channel, and where its header starts behind it.
_V1_STARTS = {
    channel: (channel.encode(), 8 * (2 + _V1_PARTS) + len(channel)) for channel in Channel
}
